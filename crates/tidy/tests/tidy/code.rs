//! What no source file does: name a backend, panic, print, read the clock, grow without end, stay undocumented.

use crate::repository::{
    Exception, assert_none, crates, library_sources, read, shipped_sources, without_exceptions,
};
use crate::source::{Source, names, small_words};

type Finding = (String, usize, String, String);

/// Lines of a source file, its tests apart.
const LONGEST: usize = 400;

/// Files that are longer, with the reason why they hold one idea all the same.
const LONG: [Exception; 0] = [];

/// Where a backend may be named outside Cargo features.
const BACKENDS: [Exception; 2] = [
    Exception {
        path: "crates/tvr-experiment/src/device.rs",
        line: "",
        reason: "the one place that chooses a backend",
    },
    Exception {
        path: "crates/tvr-nn/src/kernels*",
        line: "",
        reason: "a custom operation is implemented for a backend's own type; every other backend takes its default body",
    },
];

/// Where the clock or the number of threads may be read: nothing computed depends on it.
const CLOCKS: [Exception; 14] = [
    Exception {
        path: "crates/tvr-nn/src/kernels/product.rs",
        line: "current_num_threads",
        reason: "into how many tiles a product is cut: their values do not depend on it, which tests say for 1 to 16 threads",
    },
    Exception {
        path: "crates/tvr-experiment/src/reproduce/jobs.rs",
        line: "Instant",
        reason: "how long processes may take to stop, and the progress events",
    },
    Exception {
        path: "crates/tvr-experiment/src/reproduce/again.rs",
        line: "Instant",
        reason: "seconds of a judgement, for the progress events",
    },
    Exception {
        path: "crates/tvr-experiment/src/encode*",
        line: "Instant",
        reason: "seconds of a batch, for the progress events",
    },
    Exception {
        path: "crates/tvr-data/src/prepare.rs",
        line: "available_parallelism",
        reason: "clips decoded at a time: what comes out of one is the same whoever decodes it",
    },
    Exception {
        path: "crates/tvr-experiment/src/train.rs",
        line: "Instant",
        reason: "seconds of a step, for log and record",
    },
    Exception {
        path: "crates/tvr-experiment/src/towers.rs",
        line: "Instant",
        reason: "seconds of a step, for the progress events",
    },
    Exception {
        path: "crates/tvr-experiment/src/reproduce.rs",
        line: "Instant",
        reason: "the budget: steps are planned from a measured step time and written down before the first one",
    },
    Exception {
        path: "crates/tvr-experiment/src/collective/threads.rs",
        line: "current_num_threads",
        reason: "ranks share the threads there are: no result depends on how many a rank has",
    },
    Exception {
        path: "crates/tvr-experiment/src/collective/in_turn.rs",
        line: "Instant",
        reason: "how often a rank tells the others that it still opens its data",
    },
    Exception {
        path: "crates/tvr-experiment/src/collective/waited.rs",
        line: "Instant",
        reason: "how long a rank waits for the others before the run fails",
    },
    Exception {
        path: "crates/tvr-experiment/src/record.rs",
        line: "current_num_threads",
        reason: "the record names the machine",
    },
    Exception {
        path: "crates/tvr-experiment/src/reproduce.rs",
        line: "current_num_threads",
        reason: "the report names the machine",
    },
    Exception {
        path: "crates/tvr-metrics/src/count.rs",
        line: "current_num_threads",
        reason: "shares of a pass that counts: integers have the same sum for any share",
    },
];

const BACKEND_WORDS: [&str; 8] = ["flex", "cuda", "vulkan", "tch", "libtorch", "wgpu", "rocm", "metal"];

const PANICS: [&str; 8] = [
    ".unwrap()",
    ".expect(",
    ".unwrap_err()",
    ".expect_err(",
    "panic!(",
    "todo!(",
    "unimplemented!(",
    "dbg!(",
];

const PRINTS: [&str; 4] = ["println!(", "print!(", "eprintln!(", "eprint!("];

const LINTS: [&str; 8] = [
    "unwrap_used",
    "expect_used",
    "panic",
    "todo",
    "unimplemented",
    "dbg_macro",
    "print_stdout",
    "print_stderr",
];

const IMPURE: [&str; 9] = [
    "SystemTime",
    "Instant",
    "UNIX_EPOCH",
    "thread_rng",
    "OsRng",
    "from_os_rng",
    "from_entropy",
    "current_num_threads",
    "available_parallelism",
];

fn finding(source: &Source, number: usize, line: &str, complaint: String) -> Finding {
    (source.path.clone(), number, line.to_string(), complaint)
}

/// Whether `pattern` stands in `line` and does not end a longer name, as `print!(` ends `eprint!(`.
fn calls(line: &str, pattern: &str) -> bool {
    line.match_indices(pattern).any(|(at, _)| {
        pattern.starts_with('.') || !line[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_')
    })
}

fn backends(source: &Source) -> Vec<Finding> {
    let mut found = Vec::new();
    for (number, line) in source.live_words() {
        if let Some(word) = small_words(line).into_iter().find(|word| BACKEND_WORDS.contains(&word.as_str()))
        {
            found.push(finding(source, number, line, format!(
                "names the backend {word:?}; only tvr-experiment/src/device.rs does (take a Device, or a constant of device.rs)"
            )));
        }
    }
    found
}

fn panics(source: &Source, patterns: &[&str]) -> Vec<String> {
    let mut found = Vec::new();
    for (number, line) in source.live_code() {
        for pattern in patterns.iter().filter(|pattern| calls(line, pattern)) {
            found.push(format!(
                "{}:{number}: {pattern} in code that others call; return an error, or send an Event",
                source.path
            ));
        }
        if line.contains("allow(") || line.contains("expect(clippy") {
            for lint in
                LINTS.iter().filter(|lint| patterns.contains(&"println!(") || !lint.starts_with("print"))
            {
                if names(line, lint) && line.contains(&format!("clippy::{lint}")) {
                    found.push(format!(
                        "{}:{number}: allows clippy::{lint}; take the allowance away and return an error",
                        source.path
                    ));
                }
            }
        }
    }
    found
}

fn impure(source: &Source) -> Vec<Finding> {
    let mut found = Vec::new();
    for (number, line) in source.live_code() {
        let imported = line.trim_start().starts_with("use ");
        for name in IMPURE.iter().filter(|name| names(line, name)) {
            // The commands draw progress; what they draw is no result.
            if *name == "Instant" && source.path.starts_with("xtask/") {
                continue;
            }
            found.push(finding(source, number, line, format!(
                "{name}: {}; draw numbers from (seed, purpose, index), and list a mere timing in tidy's CLOCKS",
                if imported { "imports what depends on machine or moment" } else { "depends on machine or moment" }
            )));
        }
        if line.contains("rand::rng()") || line.contains("rand::random") {
            found.push(finding(
                source,
                number,
                line,
                "draws from the system's generator; draw from (seed, purpose, index)".into(),
            ));
        }
    }
    found
}

/// Public items without a doc comment, and files without a module doc.
fn undocumented(source: &Source) -> Vec<String> {
    let mut found = Vec::new();
    if !source.lines.first().is_some_and(|line| line.starts_with("//!")) {
        found.push(format!(
            "{}:1: does not open with a module doc (//!): one sentence on what the file is for",
            source.path
        ));
    }
    for (number, line) in source.live_code() {
        if !public_item(line.trim_start()) || !in_public_struct(source, number - 1) {
            continue;
        }
        if !documented(source, number - 1) {
            found.push(format!(
                "{}:{number}: {:?} is public and has no doc comment (///)",
                source.path,
                source.lines[number - 1].trim()
            ));
        }
    }
    found
}

fn public_item(line: &str) -> bool {
    let Some(item) = line.strip_prefix("pub ") else { return false };
    let first = item.split([' ', '<', '(', '{', ';', ':']).next().unwrap_or("");
    match first {
        // A module's doc stands in its file, a re-export's at its home.
        "use" | "mod" | "extern" | "in" => false,
        "fn" | "struct" | "enum" | "trait" | "type" | "const" | "static" | "union" | "unsafe" | "async" => {
            true
        }
        // A field.
        field => !field.is_empty() && item[field.len()..].starts_with(": "),
    }
}

/// Whether an item or field stands in nothing, or in a public item: a field of a private type is private too.
fn in_public_struct(source: &Source, index: usize) -> bool {
    let indent = |line: &str| line.len() - line.trim_start().len();
    let mine = indent(&source.code[index]);
    let around =
        source.code[..index].iter().rev().find(|line| !line.trim().is_empty() && indent(line) < mine);
    around.is_none_or(|line| {
        let line = line.trim_start();
        !line.contains("struct ") || line.starts_with("pub struct ")
    })
}

/// Whether a doc comment stands above a line, attributes between them apart.
fn documented(source: &Source, index: usize) -> bool {
    let mut at = index;
    while at > 0 {
        at -= 1;
        let line = source.lines[at].trim();
        if line.starts_with("///") || line.starts_with("#[doc") || line.ends_with("*/") {
            return true;
        }
        if line.starts_with("#[") && line.ends_with(']') || line.starts_with("//") {
            continue;
        }
        // The end of an attribute over several lines: go up to where it opens.
        let opens = (0..at).rev().take(20).find(|&above| source.lines[above].trim_start().starts_with("#["));
        match opens {
            Some(above) if line.ends_with(")]") && !line.contains(';') => at = above,
            _ => return false,
        }
    }
    false
}

fn length(source: &Source) -> usize {
    source.test.iter().filter(|test| !**test).count()
}

#[test]
fn a_backend_is_named_in_one_file() {
    let findings = shipped_sources().iter().flat_map(backends).collect();
    assert_none(
        "Backends are named in tvr-experiment/src/device.rs and in Cargo features.",
        &without_exceptions(findings, &BACKENDS),
    );
}

#[test]
fn a_library_returns_errors_and_never_panics_or_prints() {
    let both: Vec<&str> = PANICS.iter().chain(&PRINTS).copied().collect();
    let mut complaints: Vec<String> =
        library_sources().iter().flat_map(|source| panics(source, &both)).collect();
    // The commands print; they do not panic.
    let commands = crate::repository::sources("xtask/src");
    complaints.extend(commands.iter().flat_map(|source| panics(source, &PANICS)));
    assert_none("Library code answers with an error.", &complaints);
}

#[test]
fn every_crate_inherits_the_lints_of_the_workspace() {
    let mut complaints = Vec::new();
    let workspace: toml::Table = read("Cargo.toml").unwrap_or_default().parse().expect("Cargo.toml is TOML");
    let level = |table: &str, lint: &str| {
        workspace["workspace"]["lints"]
            .get(table)
            .and_then(|lints| lints.get(lint))
            .and_then(toml::Value::as_str)
    };
    for lint in LINTS {
        if level("clippy", lint) != Some("deny") {
            complaints.push(format!("Cargo.toml: [workspace.lints.clippy] must say {lint} = \"deny\""));
        }
    }
    if level("rust", "missing_docs").is_none() {
        complaints.push("Cargo.toml: [workspace.lints.rust] must name missing_docs".into());
    }
    let mut folders: Vec<String> = crates().iter().map(|name| format!("crates/{name}")).collect();
    folders.extend(["xtask".to_string(), "benches".to_string()]);
    for folder in folders {
        let path = format!("{folder}/Cargo.toml");
        let manifest: toml::Table = read(&path).unwrap_or_default().parse().expect("a manifest is TOML");
        let inherits =
            manifest.get("lints").and_then(|lints| lints.get("workspace")).and_then(toml::Value::as_bool);
        if inherits != Some(true) {
            complaints.push(format!("{path}: add [lints] with workspace = true"));
        }
    }
    assert_none("One set of lints holds everywhere.", &complaints);
}

#[test]
fn a_source_file_has_at_most_400_lines_without_its_tests() {
    let findings = shipped_sources()
        .iter()
        .filter(|source| length(source) > LONGEST)
        .map(|source| {
            let complaint = format!(
                "{} lines without tests, more than {LONGEST}; look for two ideas in it (name.rs + name/*.rs), or list it in tidy's LONG with a reason",
                length(source)
            );
            (source.path.clone(), length(source), String::new(), complaint)
        })
        .collect();
    assert_none("A file is one idea.", &without_exceptions(findings, &LONG));
}

#[test]
fn every_file_and_every_public_item_has_a_doc_comment() {
    let complaints: Vec<String> = shipped_sources().iter().flat_map(undocumented).collect();
    assert_none("A file says what it is for, and so does every public item.", &complaints);
}

#[test]
fn nothing_depends_on_the_clock_or_on_the_number_of_threads() {
    let findings = shipped_sources().iter().flat_map(impure).collect();
    assert_none(
        "Everything random comes from (seed, purpose, index).",
        &without_exceptions(findings, &CLOCKS),
    );
}

#[test]
fn the_scans_see_what_they_look_for_and_no_more() {
    let count = |text: &str| panics(&Source::new("a.rs", text), &[&PANICS[..], &PRINTS[..]].concat()).len();
    assert_eq!(count("let a = b.unwrap();"), 1);
    assert_eq!(count("    .expect(\"x\");\neprintln!(\"a\");"), 2);
    assert_eq!(count("let a = b.unwrap_or(1); catch_panic!(); /// x.unwrap()\n// panic!(\n\"todo!(\";"), 0);
    assert_eq!(count("#![allow(clippy::unwrap_used)]"), 1);
    assert_eq!(count("#[cfg(test)]\nmod tests { fn a() { b.unwrap(); } }"), 0);

    let count = |text: &str| backends(&Source::new("a.rs", text)).len();
    assert_eq!(count("device: \"cuda:0\""), 1);
    assert_eq!(count("Device::libtorch();\nlet x: FlexTensor;"), 2);
    assert_eq!(count("/// on flex\nlet flexible = 1;"), 0);

    let count = |text: &str| impure(&Source::new("a.rs", text)).len();
    assert_eq!(count("let t = Instant::now();\nlet n = rayon::current_num_threads();"), 2);

    let count = |text: &str| undocumented(&Source::new("a.rs", &format!("//! A.\n{text}"))).len();
    assert_eq!(count("pub fn a() {}\npub(crate) fn b() {}\npub use c::d;\npub mod e;"), 1);
    assert_eq!(count("/// A.\n#[cfg_attr(\n    a,\n    allow(b)\n)]\n#[must_use]\npub fn a() {}"), 0);
    assert_eq!(count("pub(crate) struct A {\n    pub b: u8,\n}"), 0);
    assert_eq!(count("/// A.\npub struct A {\n    pub b: u8,\n    /// C.\n    pub c: u8,\n}"), 1);
}
