//! A word as a shell takes it, for commands that are printed to be pasted.

/// A word as a shell takes it.
pub fn quoted(word: String) -> String {
    let plain = |letter: char| letter.is_ascii_alphanumeric() || "_-./:=,+@%".contains(letter);
    if !word.is_empty() && word.chars().all(plain) {
        word
    } else {
        format!("'{}'", word.replace('\'', "'\\''"))
    }
}
