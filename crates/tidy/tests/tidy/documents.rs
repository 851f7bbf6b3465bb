//! What stands in the repository's files: commands beside numbers, and nothing of the machine they were written on.

use std::collections::BTreeSet;

use crate::repository::{assert_none, files, output, read, root};

/// How far from a table its command may stand, in lines.
const NEAR: usize = 12;

/// Documents whose tables of numbers need a command: the README, and what was measured.
fn with_numbers() -> Vec<String> {
    let named = ["README.md", "docs/results.md"].map(str::to_owned);
    named.into_iter().chain(files("docs/results", ".md")).collect()
}

/// Documents that a reader looks for.
const DOCUMENTS: [&str; 7] = [
    "README.md",
    "CHANGELOG.md",
    "LICENSE-MIT",
    "LICENSE-APACHE",
    "docs/ARCHITECTURE.md",
    "docs/deviations.md",
    ".ci/run",
];

/// All documents, each once.
fn documents() -> BTreeSet<String> {
    DOCUMENTS.iter().map(ToString::to_string).chain(files("docs", ".md")).collect()
}

/// Tables: first and last line, from 0.
fn tables(lines: &[&str]) -> Vec<(usize, usize)> {
    let mut found = Vec::new();
    let mut at = 0;
    while at < lines.len() {
        if !lines[at].trim_start().starts_with('|') {
            at += 1;
            continue;
        }
        let end =
            (at..lines.len()).find(|&line| !lines[line].trim_start().starts_with('|')).unwrap_or(lines.len());
        found.push((at, end - 1));
        at = end;
    }
    found
}

/// Whether a cell holds a figure: it begins with a number.
fn figure(cell: &str) -> bool {
    let cell = cell.trim().trim_matches(['*', '`', '~', '+', '−', '±', '≈', ' ']);
    let first = cell.split([' ', '%', '±', '/', '–', '[']).next().unwrap_or("");
    first.trim_end_matches(['s', 'x', '×', ',']).replace(',', "").parse::<f64>().is_ok()
        || cell.contains("@@FILL")
}

/// Whether a table is one of results: a row of it has two figures.
fn numbers(rows: &[&str]) -> bool {
    rows.iter()
        .skip(2)
        .any(|row| row.trim().trim_matches('|').split('|').filter(|cell| figure(cell)).count() >= 2)
}

fn command(line: &str) -> bool {
    ["cargo xtask", "cargo bench", "cargo test", "cargo build", "python"]
        .iter()
        .any(|word| line.contains(word))
}

fn tables_without_command(path: &str, text: &str) -> Vec<String> {
    let lines: Vec<&str> = text.lines().collect();
    tables(&lines)
        .into_iter()
        .filter(|&(first, last)| numbers(&lines[first..=last]))
        .filter(|&(first, last)| {
            let near = first.saturating_sub(NEAR)..(last + 1 + NEAR).min(lines.len());
            !lines[near].iter().any(|line| command(line))
        })
        .map(|(first, _)| {
            format!("{path}:{}: a table of numbers without the command that made it; write it within {NEAR} lines", first + 1)
        })
        .collect()
}

/// The text files that git tracks, or would add, with their text.
fn tracked() -> Vec<(String, String)> {
    output("git", &["ls-files", "--cached", "--others", "--exclude-standard"])
        .lines()
        .filter_map(|path| {
            let bytes = std::fs::read(root().join(path)).ok()?;
            Some((path.to_string(), String::from_utf8(bytes).ok()?))
        })
        .collect()
}

/// Starts of paths that name one machine. Written apart, so that this file has none.
fn machine_paths() -> Vec<String> {
    [["/wo", "rk/"], ["/ro", "ot/"], ["/ho", "me/"], ["/Us", "ers/"], ["C:", "\\Users"]]
        .iter()
        .map(|parts| parts.concat())
        .collect()
}

/// Words that name a registry or a mirror of one machine.
fn registries() -> Vec<String> {
    [
        ["artif", "actory"],
        ["index-", "url"],
        ["[regis", "tries"],
        ["replace-", "with"],
        ["trusted-", "host"],
        ["GOPR", "OXY"],
    ]
    .iter()
    .map(|parts| parts.concat())
    .collect()
}

fn foreign(path: &str, text: &str) -> Vec<String> {
    let mut complaints = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let mut complain = |what: String| complaints.push(format!("{path}:{}: {what}", index + 1));
        for start in machine_paths() {
            let absolute = line.match_indices(&start).any(|(at, _)| {
                !line[..at].ends_with(|c: char| {
                    c.is_alphanumeric() || matches!(c, '.' | '_' | '-' | '~' | '}' | '>')
                })
            });
            if absolute {
                complain(format!(
                    "names the path {start}… of one machine; write it relative to the repository"
                ));
            }
        }
        for word in registries().iter().filter(|word| line.contains(word.as_str())) {
            complain(format!("{word:?}: names a registry; leave that to the user's own settings"));
        }
        let source = line.strip_prefix("source = \"registry+");
        if source.is_some_and(|source| source != "https://github.com/rust-lang/crates.io-index\"") {
            complain("locks a package to a registry other than crates.io; run `cargo update -p` with the default source".into());
        }
        if ["<<<<<<<", ">>>>>>>", "|||||||"]
            .iter()
            .any(|marker| line == *marker || line.starts_with(&format!("{marker} ")))
        {
            complain("a conflict marker; finish the merge".into());
        }
    }
    complaints
}

#[test]
fn the_documents_are_there() {
    let complaints: Vec<String> = DOCUMENTS
        .iter()
        .filter(|path| read(path).is_none_or(|text| text.trim().is_empty()))
        .map(|path| format!("{path}: missing or empty; write it"))
        .collect();
    assert_none("A newcomer finds what every repository has.", &complaints);
}

/// What links to the headings of a Markdown document end in, as hosts of repositories make it.
fn headings(text: &str) -> Vec<String> {
    let mut code = false;
    let heading = |line: &&str| {
        code ^= line.starts_with("```");
        !code && line.starts_with('#')
    };
    let kept = |c: char| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_');
    let slug = |line: &str| {
        line.trim_start_matches('#').trim().to_lowercase().chars().filter(|&c| kept(c)).collect::<String>()
    };
    text.lines().filter(heading).map(|line| slug(line).replace(' ', "-")).collect()
}

/// Links of a Markdown document to files beside it, and to headings, that are not there.
fn broken_links(path: &str, text: &str) -> Vec<String> {
    let folder = root().join(path).parent().map(std::path::Path::to_path_buf).unwrap_or_default();
    let mut complaints = Vec::new();
    for (index, line) in text.lines().enumerate() {
        for link in line.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let (file, heading) = link.split_once('#').unwrap_or((link, ""));
            let mut complain = |what: &str| {
                complaints.push(format!(
                    "{path}:{}: links to {what}, which is not there; write it, or mend the link",
                    index + 1
                ));
            };
            if file.contains("://") {
                continue;
            }
            if !file.is_empty() && !folder.join(file).exists() {
                complain(file);
            } else if !heading.is_empty() {
                let other = std::fs::read_to_string(folder.join(file)).unwrap_or_default();
                let inside = if file.is_empty() { text } else { &other };
                if !headings(inside).iter().any(|there| there == heading) {
                    complain(&format!("{file}#{heading}"));
                }
            }
        }
    }
    complaints
}

#[test]
fn every_link_to_a_file_or_a_heading_leads_somewhere() {
    let complaints: Vec<String> = documents()
        .iter()
        .filter(|path| path.ends_with(".md"))
        .filter_map(|path| read(path).map(|text| broken_links(path, &text)))
        .flatten()
        .collect();
    assert_none("A link leads somewhere.", &complaints);
}

#[test]
fn every_table_of_numbers_stands_beside_its_command() {
    let measured = with_numbers();
    assert!(measured.len() > 2, "docs/results has no document: {measured:?}");
    let complaints: Vec<String> = measured
        .iter()
        .filter_map(|path| read(path).map(|text| tables_without_command(path, &text)))
        .flatten()
        .collect();
    assert_none("A number stands beside the command that made it.", &complaints);
}

#[test]
fn no_number_of_the_documents_waits_to_be_measured() {
    let word = ["@@FI", "LL"].concat();
    let mut complaints = Vec::new();
    for path in documents() {
        for (index, line) in read(&path).unwrap_or_default().lines().enumerate() {
            if line.contains(&word) {
                complaints.push(format!(
                    "{path}:{}: {} still stands for a number; measure it",
                    index + 1,
                    word
                ));
            }
        }
    }
    assert_none("Every number is measured.", &complaints);
}

#[test]
fn the_repository_names_no_machine_no_registry_and_no_conflict() {
    let complaints: Vec<String> = tracked().iter().flat_map(|(path, text)| foreign(path, text)).collect();
    assert_none("The repository reads the same on every machine.", &complaints);
}

#[test]
fn the_documents_scans_see_what_they_look_for() {
    let table = "| head | R@1 | MnR |\n|---|---|---|\n| mean | 48.0 | 13.65 |\n";
    assert_eq!(tables_without_command("a.md", table).len(), 1);
    assert!(tables_without_command("a.md", &format!("{table}\n```\ncargo xtask score\n```\n")).is_empty());
    assert!(tables_without_command("a.md", "| code | means |\n|---|---|\n| 0 | done |\n").is_empty());
    assert!(tables_without_command("a.md", "| head | paper |\n|---|---|\n| x | 2104.08860 |\n").is_empty());
    assert_eq!(
        broken_links("README.md", "see [a](docs/nowhere.md#x), [b](Cargo.toml), [c](https://a.b)").len(),
        1
    );
    let path = machine_paths()[0].clone();
    assert_eq!(foreign("a.md", &format!("see {path}main\n")).len(), 1);
    assert!(foreign("a.md", &format!("see the frame{path}\n")).is_empty());
    assert_eq!(foreign("a.md", &format!("{} HEAD\n=======\n", "<".repeat(7))).len(), 1);
}
