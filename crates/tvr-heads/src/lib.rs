//! From frame and text features to similarities.
