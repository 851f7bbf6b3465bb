//! The reader's complaint in a recipe's words, with the nearest known name for a mistyped one.

use super::place::shown;

/// Turns "unknown field `a`, expected one of `b`, `c`" into a sentence with the nearest known name, and names of Rust's
/// types into words.
pub(super) fn explain(message: &str) -> String {
    let first = message.lines().next().unwrap_or(message);
    let names: Vec<&str> = first.split('`').skip(1).step_by(2).collect();
    let known = names.get(1..).unwrap_or_default();
    match names.first() {
        Some(found) if first.starts_with("unknown field") || first.starts_with("unknown variant") => {
            let found = &shown(found);
            let what = if first.starts_with("unknown field") { "key" } else { "value" };
            let nearest = known
                .iter()
                .max_by(|a, b| strsim::jaro_winkler(found, a).total_cmp(&strsim::jaro_winkler(found, b)));
            match nearest {
                Some(nearest) if strsim::jaro_winkler(found, nearest) > 0.7 => {
                    format!("unknown {what} {found:?}; did you mean {nearest:?}?")
                }
                _ if known.is_empty() => format!("unknown {what} {found:?}; none belongs there"),
                _ => format!("unknown {what} {found:?}; known are {}", known.join(", ")),
            }
        }
        _ => plain(first),
    }
}

/// The sentence without names of Rust's types.
fn plain(message: &str) -> String {
    if let Some(key) = message.strip_prefix("missing field ") {
        return format!("the key {key} is missing");
    }
    let Some((found, expected)) = message.rsplit_once(", expected ") else {
        return message.replace("wanted string or table", "expected a name in quotes");
    };
    let found = found.replace(" as i128", "").replace("type: map", "type: table");
    let expected = match expected {
        "usize" | "u64" => "a whole number of at least 0",
        "f64" | "f32" => "a number",
        "a sequence" => "a list",
        "a boolean" => "true or false",
        "variant identifier" => "a name in quotes",
        table if ["struct ", "internally tagged enum "].iter().any(|kind| table.starts_with(kind)) => {
            "a table"
        }
        other => other,
    };
    format!("{found}, expected {expected}")
}
