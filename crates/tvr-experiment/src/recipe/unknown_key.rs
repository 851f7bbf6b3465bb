//! The nearest known name for a mistyped one.

/// Turns "unknown field `a`, expected one of `b`, `c`" into a sentence with the nearest known name.
pub(super) fn explain(message: &str) -> String {
    let first = message.lines().next().unwrap_or(message);
    let names: Vec<&str> = first.split('`').skip(1).step_by(2).collect();
    let known = names.get(1..).unwrap_or_default();
    match names.first() {
        Some(found) if first.starts_with("unknown field") || first.starts_with("unknown variant") => {
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
        _ => first.to_string(),
    }
}
