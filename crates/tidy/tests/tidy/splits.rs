//! The test split is the evaluator's: training chooses on val and never sees test.

use crate::repository::{Exception, assert_none, sources, without_exceptions};
use crate::source::{Source, names};

/// The evaluator, which opens test.
const EVALUATOR: &str = "crates/tvr-experiment/src/evaluate.rs";

/// Lines that name the test split outside the evaluator, each with the reason why nothing is opened there.
const NAMED: [Exception; 2] = [
    Exception {
        path: "crates/tvr-experiment/src/corpus.rs",
        line: "Split::Test => *gallery",
        reason: "cuts the gallery of a split that the evaluator asked for",
    },
    Exception {
        path: "crates/tvr-experiment/src/plan.rs",
        line: "World::size(Split::Test)",
        reason: "the number of its videos, known without opening it",
    },
];

/// Lines that ask the evaluator for test: after training, in the file that wires a run together.
const ASKED: [Exception; 3] = [
    Exception {
        path: "crates/tvr-experiment/src/experiment.rs",
        line: "evaluate::test(",
        reason: "judges a run whose weights were chosen on val",
    },
    Exception {
        path: "crates/tvr-experiment/src/experiment/share.rs",
        line: "evaluate::test_share(",
        reason: "a share of the same, of a finished run",
    },
    Exception {
        path: "crates/tvr-experiment/src/experiment.rs",
        line: "evaluate::order_accuracy(",
        reason: "a figure of the record, after training",
    },
];

type Finding = (String, usize, String, String);

fn finding(source: &Source, number: usize, line: &str, complaint: &str) -> Finding {
    (source.path.clone(), number, line.to_string(), complaint.to_string())
}

/// Lines that name the test split, or a way round its name.
fn named(source: &Source) -> Vec<Finding> {
    let mut found = Vec::new();
    for (number, line) in source.live_code() {
        let opens = [
            "Split::Test",
            "Split::ALL",
            "Split::all",
            "split_test",
            "test_split",
            "open_test",
            "test_corpus",
        ];
        if opens.iter().any(|name| names(line, name)) {
            found.push(finding(
                source,
                number,
                line,
                "names the test split; only evaluate.rs opens it, ask evaluate::test",
            ));
        }
        let hidden = names(line, "Split")
            && (line.contains("Split::*") || line.contains("Split::{") || line.contains("Split as "));
        if hidden {
            found.push(finding(
                source,
                number,
                line,
                "imports the splits under other names; write Split::Train, Split::Val in full",
            ));
        }
    }
    found
}

/// Lines that ask the evaluator to open test.
fn asked(source: &Source) -> Vec<Finding> {
    source
        .live_code()
        .filter(|(_, line)| {
            line.contains("evaluate::test")
                || line.contains("evaluate::order_accuracy")
                || line.contains("evaluate::{")
                || line.contains("evaluate::*")
        })
        .filter(|(_, line)| {
            !line.contains("evaluate::{") || names(line, "test") || names(line, "order_accuracy")
        })
        .map(|(number, line)| {
            finding(
                source,
                number,
                line,
                "has test opened; training and selection look at val (evaluate::judge_raw)",
            )
        })
        .collect()
}

fn scanned() -> Vec<Source> {
    let mut all = sources("crates/tvr-experiment/src");
    all.extend(sources("crates/tvr-experiment/examples"));
    all.extend(sources("xtask/src"));
    all.retain(|source| source.path != EVALUATOR);
    all
}

#[test]
fn the_test_split_is_named_by_the_evaluator_only() {
    let findings = scanned().iter().flat_map(named).collect();
    assert_none(
        "The test split is opened by evaluate.rs and nowhere else.",
        &without_exceptions(findings, &NAMED),
    );
}

#[test]
fn the_evaluator_is_asked_for_test_after_training_only() {
    let findings = scanned().iter().flat_map(asked).collect();
    assert_none(
        "Only the wire of a finished run (experiment.rs) asks for test.",
        &without_exceptions(findings, &ASKED),
    );
}

#[test]
fn ways_round_the_name_of_the_test_split_are_seen() {
    let seen = |line: &str| named(&Source::new("a.rs", line)).len();
    assert_eq!(seen("let c = Corpus::open(plan, Split::Test, None)?;"), 1);
    assert_eq!(seen("use tvr_data::Split::{Test, Val};"), 1);
    assert_eq!(seen("for split in Split::ALL {"), 1);
    assert_eq!(seen("let c = Corpus::open(plan, Split::Val, None)?; // never Split::Test"), 0);
    assert_eq!(asked(&Source::new("a.rs", "use crate::evaluate::{self, test};")).len(), 1);
    assert_eq!(asked(&Source::new("a.rs", "use crate::evaluate::{self, Judged};")).len(), 0);
}
