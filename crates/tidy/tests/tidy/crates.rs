//! Who may know whom: the arrows of the house.

use std::collections::{BTreeMap, BTreeSet};

use crate::repository::{assert_none, cargo};

/// The arrows, exactly: every crate with the crates of this workspace that it depends on.
const ARROWS: [(&str, &[&str]); 12] = [
    ("tvr-metrics", &[]),
    ("tvr-normalize", &[]),
    ("tvr-picture", &[]),
    ("tvr-data", &["tvr-picture"]),
    ("tvr-nn", &[]),
    ("tvr-clip", &["tvr-nn", "tvr-picture"]),
    ("tvr-heads", &["tvr-nn"]),
    ("tvr-objectives", &["tvr-nn"]),
    (
        "tvr-experiment",
        &["tvr-clip", "tvr-data", "tvr-heads", "tvr-metrics", "tvr-nn", "tvr-normalize", "tvr-objectives"],
    ),
    ("xtask", &["tvr-experiment"]),
    ("tidy", &[]),
    ("benches", &[]),
];

/// Crates that run without burn, and in seconds.
const WITHOUT_BURN: [&str; 5] = ["tvr-metrics", "tvr-normalize", "tvr-data", "tvr-picture", "tidy"];

/// Name, normal dependencies, development dependencies; of the workspace's own crates alone.
type Dependencies = BTreeMap<String, [BTreeSet<String>; 2]>;

fn dependencies() -> Dependencies {
    let text = cargo(&["metadata", "--no-deps", "--format-version", "1"]);
    let metadata: serde_json::Value = serde_json::from_str(&text).expect("cargo metadata is JSON");
    let packages = metadata["packages"].as_array().expect("packages");
    let name = |value: &serde_json::Value| value["name"].as_str().unwrap_or_default().to_string();
    let ours: BTreeSet<String> = packages.iter().map(name).collect();
    let mut found = Dependencies::new();
    for package in packages {
        let mut kinds = [BTreeSet::new(), BTreeSet::new()];
        for dependency in package["dependencies"].as_array().expect("dependencies") {
            let other = name(dependency);
            if ours.contains(&other) {
                kinds[usize::from(dependency["kind"].as_str() == Some("dev"))].insert(other);
            }
        }
        found.insert(name(package), kinds);
    }
    found
}

#[test]
fn crates_depend_on_one_another_exactly_as_drawn() {
    let found = dependencies();
    let mut complaints = Vec::new();
    for (name, arrows) in ARROWS {
        let Some([normal, development]) = found.get(name) else {
            complaints
                .push(format!("Cargo.toml: the crate {name} is gone; bring it back, or redraw the house"));
            continue;
        };
        let drawn: BTreeSet<String> = arrows.iter().map(ToString::to_string).collect();
        for extra in normal.difference(&drawn) {
            complaints.push(format!(
                "{name}/Cargo.toml: depends on {extra}, which the house does not draw; pass a plain type of burn or ndarray, or move what both share to tvr-nn"
            ));
        }
        for missing in drawn.difference(normal) {
            complaints
                .push(format!("{name}/Cargo.toml: does not depend on {missing}, but the house draws it"));
        }
        if name != "benches" {
            for extra in development {
                complaints.push(format!(
                    "{name}/Cargo.toml: [dev-dependencies] names {extra}; a test over two crates belongs to tvr-experiment"
                ));
            }
        }
    }
    for name in found.keys().filter(|name| !ARROWS.iter().any(|(drawn, _)| drawn == name)) {
        complaints.push(format!("{name}: not drawn; add it to docs/ARCHITECTURE.md and to tidy's ARROWS"));
    }
    assert_none("Crates depend on one another exactly as docs/ARCHITECTURE.md draws them.", &complaints);
}

#[test]
fn metrics_normalisers_data_pictures_and_tidy_have_no_burn_in_their_tree() {
    let mut complaints = Vec::new();
    for name in WITHOUT_BURN {
        let tree = cargo(&["tree", "-p", name, "--prefix", "none", "-f", "{p}"]);
        for package in tree.lines().filter_map(|line| line.split(' ').next()) {
            if package == "burn" || package.starts_with("burn-") || package.starts_with("cubecl") {
                complaints.push(format!(
                    "{name}: {package} is in its tree; `cargo tree -p {name} -i {package}` says which dependency brings it"
                ));
            }
        }
    }
    complaints.sort();
    complaints.dedup();
    assert_none(
        "tvr-metrics, tvr-normalize, tvr-data, tvr-picture and tidy compile without burn.",
        &complaints,
    );
}

#[test]
fn videos_and_pictures_compile_without_c_and_without_ffmpeg() {
    let mut complaints = Vec::new();
    for name in ["tvr-data", "tvr-picture"] {
        let tree = cargo(&["tree", "-p", name, "-e", "normal,build", "--prefix", "none", "-f", "{p}"]);
        for package in tree.lines().filter_map(|line| line.split(' ').next()) {
            if ["cc", "cmake", "bindgen", "pkg-config"].contains(&package) || package.starts_with("ffmpeg") {
                complaints.push(format!(
                    "{name}: {package} is in its tree; `cargo tree -p {name} -i {package}` says which dependency brings it"
                ));
            }
        }
    }
    complaints.sort();
    complaints.dedup();
    assert_none(
        "Videos are decoded by a program, pictures in Rust: tvr-data and tvr-picture build no C.",
        &complaints,
    );
}
