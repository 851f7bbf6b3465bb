//! One build of burn: `cargo test`, `cargo test -p CRATE` and `cargo xtask` agree on every package below burn.

use std::collections::{BTreeMap, BTreeSet};

use crate::repository::{assert_none, cargo};

/// What is compared with `cargo test`: what one types, and the tree that it builds.
const BUILDS: [(&str, &[&str]); 9] = [
    ("cargo xtask", &["-p", "xtask", "-e", "no-dev"]),
    ("cargo test -p tvr-nn", &["-p", "tvr-nn"]),
    ("cargo test -p tvr-clip", &["-p", "tvr-clip"]),
    ("cargo test -p tvr-heads", &["-p", "tvr-heads"]),
    ("cargo test -p tvr-objectives", &["-p", "tvr-objectives"]),
    ("cargo test -p tvr-experiment", &["-p", "tvr-experiment"]),
    ("cargo test -p xtask", &["-p", "xtask"]),
    // What bindgen is built with is built beside burn's tree, for build scripts alone.
    ("cargo test -p xtask --features mpi", &["-p", "xtask", "--features", "mpi", "-e", "no-build"]),
    ("cargo bench -p benches", &["-p", "benches"]),
];

/// Feature sets of every package of a tree. One package may stand there twice, for the target and for the host.
type Features = BTreeMap<String, BTreeSet<String>>;

fn listing(arguments: &[&str]) -> Features {
    let mut all = vec!["tree", "-f", "{p}|{f}", "--prefix", "none"];
    all.extend(arguments);
    parse(&cargo(&all))
}

fn parse(listing: &str) -> Features {
    let mut found = Features::new();
    for line in listing.lines() {
        if let Some((package, features)) = line.trim_end_matches(" (*)").split_once('|') {
            found.entry(package.into()).or_default().insert(features.trim().into());
        }
    }
    found
}

/// Where `here` builds a package of `below` with other features than `there`.
fn differences(what: &str, here: &Features, there: &Features, below: &BTreeSet<String>) -> Vec<String> {
    let mut complaints = Vec::new();
    for (package, sets) in here.iter().filter(|(package, _)| below.contains(*package)) {
        let Some(known) = there.get(package) else {
            complaints.push(format!("{what} builds {package}, which `cargo test` does not"));
            continue;
        };
        for set in sets.difference(known) {
            let names = |set: &str| set.split(',').map(String::from).collect::<BTreeSet<_>>();
            let other = known
                .iter()
                .map(|known| names(known))
                .min_by_key(|other| names(set).symmetric_difference(other).count());
            let other = other.unwrap_or_default();
            let missing: Vec<String> = other.difference(&names(set)).cloned().collect();
            let extra: Vec<String> = names(set).difference(&other).cloned().collect();
            complaints.push(format!(
                "{package}: `{what}` lacks the features [{}] and has [{}] beside those of `cargo test`; name them in the workspace's Cargo.toml and the package in crates/tvr-nn/Cargo.toml",
                missing.join(", "),
                extra.join(", ")
            ));
        }
    }
    complaints
}

#[test]
fn every_command_shares_one_build_of_burn() {
    let below: BTreeSet<String> = listing(&["-p", "burn"]).into_keys().collect();
    assert!(
        below.iter().any(|package| package.starts_with("burn-core ")),
        "cargo tree -p burn lists no burn-core"
    );
    let test = listing(&["--workspace", "--exclude", "benches"]);
    let complaints: Vec<String> = BUILDS
        .iter()
        .flat_map(|(what, arguments)| differences(what, &listing(arguments), &test, &below))
        .collect();
    assert_none(
        "After `cargo test`, no command compiles burn again: the features below burn agree.",
        &complaints,
    );
}

#[test]
fn a_feature_that_only_tests_switch_on_is_named() {
    let test = parse("serde_json v1.0.1|default,preserve_order,std\nregex v1.0.0|std");
    let xtask = parse("serde_json v1.0.1|default,std (*)\nregex v1.0.0|std");
    let below = ["serde_json v1.0.1".to_string(), "regex v1.0.0".to_string()].into();
    let complaints = differences("cargo xtask", &xtask, &test, &below);
    assert_eq!(complaints.len(), 1, "{complaints:?}");
    assert!(
        complaints[0].contains("serde_json") && complaints[0].contains("[preserve_order]"),
        "{complaints:?}"
    );
    assert!(differences("cargo xtask", &test, &test, &below).is_empty());
}
