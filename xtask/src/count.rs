//! A number with its noun: "1 text", "2 texts".

/// So many of them; the noun is one that takes an s.
pub fn count(number: usize, noun: &str) -> String {
    match number {
        1 => format!("1 {noun}"),
        _ => format!("{number} {noun}s"),
    }
}
