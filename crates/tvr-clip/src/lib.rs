//! CLIP: tokenizer, pixels, towers, checkpoints.
