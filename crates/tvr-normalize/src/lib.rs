//! Re-scoring of similarity matrices.
