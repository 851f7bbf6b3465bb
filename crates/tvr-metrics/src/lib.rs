//! Ranks, recall, intervals and representation of text-video retrieval.
