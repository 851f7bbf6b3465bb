//! Where in a recipe its reader's complaint belongs.
//!
//! The reader of TOML knows the place of most faults, but not of one in a table that `kind` tells apart: such a table
//! is read whole before any key of it is looked at. So the key is found by leaving keys out until the complaint is
//! another.

use toml::{Table, Value};

use super::{Recipe, unknown_key};

/// Characters of a line that a message repeats, at most.
const SHOWN: usize = 60;

/// What is wrong with a recipe's text, after the line that it is about, where there is one.
pub(super) fn explain(text: &str, error: &toml::de::Error) -> String {
    let why = unknown_key::explain(error.message());
    let number = match text.parse::<Table>() {
        Ok(table) if !error.message().starts_with("missing field") => line_of(text, &at_fault(table)),
        // The table that lacks the key, which for the recipe as a whole has no line, or where TOML ends.
        _ => error.span().filter(|span| span.end > 0).map(|span| text[..span.start].matches('\n').count()),
    };
    let line = number.and_then(|number| Some((number, text.lines().nth(number)?)));
    match line {
        Some((number, line)) => format!("line {} ({}): {why}", number + 1, shown(line)),
        None => why,
    }
}

/// The parts of the dotted key without which the complaint is another; empty if it is about the recipe as a whole.
fn at_fault(mut table: Table) -> Vec<String> {
    let mut path = Vec::new();
    let Some(complaint) = complaint(&table) else { return path };
    while let Some(inner) = at(&mut table, &path) {
        let mut keys: Vec<String> = inner.keys().cloned().collect();
        // Without its kind a table is nothing, so that comes last.
        keys.sort_by_key(|key| key == "kind");
        let mut found = None;
        for key in keys {
            let Some(value) = at(&mut table, &path).and_then(|inner| inner.remove(&key)) else { break };
            if self::complaint(&table).as_deref() != Some(complaint.as_str()) {
                found = Some((key, value));
                break;
            }
        }
        let Some((key, value)) = found else { break };
        if let Some(inner) = at(&mut table, &path) {
            inner.insert(key.clone(), value);
        }
        path.push(key);
    }
    path
}

fn complaint(table: &Table) -> Option<String> {
    table.clone().try_into::<Recipe>().err().map(|error| error.message().to_owned())
}

/// The table at a path.
fn at<'a>(table: &'a mut Table, path: &[String]) -> Option<&'a mut Table> {
    path.iter().try_fold(table, |table, key| table.get_mut(key).and_then(Value::as_table_mut))
}

/// The line, from 0, that names most of the key.
fn line_of(text: &str, path: &[String]) -> Option<usize> {
    let (mut header, mut best) = (Vec::new(), (0, None));
    for (number, line) in text.lines().enumerate() {
        let line = line.trim();
        let full = if line.starts_with('[') && line.ends_with(']') && !line.contains('=') {
            header = parts(line.trim_matches(['[', ']']));
            header.clone()
        } else if let (Some((key, _)), false) = (line.split_once('='), line.starts_with('#')) {
            [header.clone(), parts(key)].concat()
        } else {
            continue;
        };
        if full.len() > best.0 && path.starts_with(&full) {
            best = (full.len(), Some(number));
        }
    }
    best.1
}

/// The parts of a dotted key.
fn parts(key: &str) -> Vec<String> {
    match format!("{key} = 0").parse::<Table>() {
        Ok(mut table) => {
            let mut parts = Vec::new();
            while let Some((key, value)) = table.into_iter().next() {
                parts.push(key);
                table = match value {
                    Value::Table(inner) => inner,
                    _ => break,
                };
            }
            parts
        }
        Err(_) => vec![key.to_owned()],
    }
}

/// The beginning of a line or a name, without what a terminal would obey.
pub(super) fn shown(line: &str) -> String {
    let mut shown: String = line.trim().chars().filter(|c| !c.is_control()).take(SHOWN + 1).collect();
    if shown.chars().count() > SHOWN {
        shown.pop();
        shown.push('…');
    }
    shown
}
