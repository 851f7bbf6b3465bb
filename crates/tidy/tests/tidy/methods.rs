//! Every method has all its rooms: module doc, recipe, property test, conformance row, README row.
//!
//! The list of methods is read from the sources: whoever implements `Head`, `Objective` or `Normalizer`.

use crate::repository::{assert_none, files, read, sources};
use crate::source::{Source, names, small_words};

/// Types that implement a trait and are no method of their own.
const NO_METHODS: [(&str, &str); 3] = [
    ("Raw", "scores as they are: no formula, no source"),
    ("Family", "the table of normalisers, which hands on to its entries"),
    ("Chain", "normalisers one after the other"),
];

/// Methods that no recipe can name, and why.
const NO_RECIPE: &[(&str, &str)] = &[];

/// A trait, the crate whose files implement it, and what its methods are called.
const KINDS: [(&str, &str, &str); 3] = [
    ("Head", "tvr-heads", "head"),
    ("Objective", "tvr-objectives", "objective"),
    ("Normalizer", "tvr-normalize", "normaliser"),
];

/// A built-in method.
struct Method {
    kind: &'static str,
    krate: &'static str,
    /// `DualSoftmax`
    type_name: String,
    /// `dual-softmax`
    name: String,
    source: Source,
    line: usize,
}

impl Method {
    fn snake(&self) -> String {
        self.name.replace('-', "_")
    }

    fn complaint(&self, text: &str) -> String {
        format!("{}:{}: the {} {:?} {text}", self.source.path, self.line, self.kind, self.name)
    }
}

/// The type in `impl<..> Trait for Type<..> {`.
fn implementor(line: &str, wanted: &str) -> Option<String> {
    let line = line.trim_start();
    if !line.starts_with("impl") {
        return None;
    }
    let (before, after) = line.split_once(" for ")?;
    let named = before.rsplit([' ', '>', ':']).next()?;
    if named != wanted {
        return None;
    }
    let name: String = after.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
    (!name.is_empty()).then_some(name)
}

fn methods() -> Vec<Method> {
    let mut found = Vec::new();
    for (wanted, krate, kind) in KINDS {
        for source in sources(&format!("crates/{krate}/src")) {
            let here: Vec<(usize, String)> = source
                .live_code()
                .filter_map(|(line, code)| implementor(code, wanted).map(|name| (line, name)))
                .filter(|(_, name)| !NO_METHODS.iter().any(|(other, _)| other == name))
                .collect();
            for (line, type_name) in here {
                let name = small_words(&type_name).join("-");
                let source = Source::new(&source.path, &read(&source.path).unwrap_or_default());
                found.push(Method { kind, krate, type_name, name, source, line });
            }
        }
    }
    found
}

/// The recipes, by path.
fn recipes() -> Vec<(String, Result<toml::Table, String>)> {
    files("recipes", ".toml")
        .into_iter()
        .map(|path| {
            let parsed =
                read(&path).unwrap_or_default().parse().map_err(|error: toml::de::Error| error.to_string());
            (path, parsed)
        })
        .collect()
}

/// Whether a recipe uses a method.
fn uses(recipe: &toml::Table, kind: &str, name: &str) -> bool {
    match kind {
        "normaliser" => recipe
            .get("eval")
            .and_then(|eval| eval.get("normalize")?.as_array())
            .into_iter()
            .flatten()
            .filter_map(toml::Value::as_str)
            .flat_map(|spec| spec.split('+'))
            .any(|spec| spec.split(':').next() == Some(name)),
        // A wrapper such as `[head.emcl]` is a table of its own name.
        kind => recipe.get(kind).is_some_and(|table| mentions(table, name)),
    }
}

fn mentions(value: &toml::Value, name: &str) -> bool {
    match value {
        toml::Value::Table(table) => table.iter().any(|(key, value)| {
            key == name
                || key == "kind" && value.as_str() == Some(name)
                || !value.is_str() && mentions(value, name)
        }),
        toml::Value::Array(values) => values.iter().any(|value| mentions(value, name)),
        _ => false,
    }
}

#[test]
fn a_method_is_a_file_of_its_own_name() {
    let complaints: Vec<String> = methods()
        .iter()
        .filter(|method| method.source.stem() != method.snake())
        .map(|method| {
            method.complaint(&format!(
                "lives in another file; move it to crates/{}/src/{}.rs (or list {} in tidy's NO_METHODS with a reason)",
                method.krate,
                method.snake(),
                method.type_name
            ))
        })
        .collect();
    assert_none("One stem everywhere: file, type, recipe key.", &complaints);
}

#[test]
fn a_method_says_its_formula_its_symbols_and_its_source() {
    let mut complaints = Vec::new();
    for method in methods() {
        let doc = method.source.module_doc();
        let formula = doc.split("```text").nth(1).and_then(|rest| rest.split("```").next()).unwrap_or("");
        if !formula.contains(['=', '←', '∝']) {
            complaints.push(
                method.complaint("has no formula; open the module doc with a ```text block that holds it"),
            );
        }
        // A table, or a sentence that gives each symbol its shape.
        if !doc.contains("| symbol |") && !doc.contains("`[") {
            complaints.push(method.complaint(
                "does not explain its symbols; add a table `| symbol | meaning | shape, unit |`, or their shapes in a sentence",
            ));
        }
        let source = doc.split("Source:").nth(1).unwrap_or("");
        if !["arXiv", "doi", "code:", "ours"].iter().any(|word| source.contains(word)) {
            complaints.push(method.complaint("names no source; add a line `Source: authors, year, arXiv number; code: owner/repository, file`"));
        }
    }
    assert_none("A method's module doc has formula, symbols and source.", &complaints);
}

#[test]
fn every_recipe_is_toml_and_bears_its_file_s_name() {
    let mut complaints = Vec::new();
    let recipes = recipes();
    if recipes.is_empty() {
        complaints.push("recipes/: there is none; the README's commands need them".into());
    }
    for (path, recipe) in recipes {
        let stem = path.trim_start_matches("recipes/").trim_end_matches(".toml").to_string();
        match recipe {
            Err(error) => {
                complaints.push(format!("{path}: is not TOML: {}", error.trim().replace('\n', " ")))
            }
            Ok(recipe) => {
                let name = recipe.get("name").and_then(toml::Value::as_str).unwrap_or("");
                if name != stem {
                    complaints.push(format!(
                        "{path}:1: name = {name:?}, but the file is called {stem:?}; make them equal"
                    ));
                }
            }
        }
    }
    assert_none("A recipe's name is its file's name.", &complaints);
}

#[test]
fn every_method_has_a_recipe() {
    let recipes = recipes();
    let complaints: Vec<String> = methods()
        .iter()
        .filter(|method| !NO_RECIPE.iter().any(|(other, _)| *other == method.name))
        .filter(|method| {
            !recipes
                .iter()
                .flat_map(|(_, recipe)| recipe)
                .any(|recipe| uses(recipe, method.kind, &method.name))
        })
        .map(|method| {
            let key = if method.kind == "normaliser" {
                "[eval] normalize"
            } else {
                &format!("[{}] kind", method.kind)
            };
            method.complaint(&format!(
                "is in no recipe; write recipes/world-{}.toml that names it under {key}",
                method.name
            ))
        })
        .collect();
    assert_none("Every built-in method has a recipe.", &complaints);
}

#[test]
fn every_method_has_a_property_test_and_a_conformance_row() {
    let mut complaints = Vec::new();
    for method in methods() {
        let folder = format!("crates/{}/tests", method.krate);
        let tests = sources(&folder);
        let speaks = |source: &Source| {
            source.worded.iter().any(|line| {
                names(line, &method.type_name)
                    || names(line, &method.snake())
                    || names(line, &format!("{}Config", method.type_name))
                    || line.contains(&format!("\"{}", method.name))
            })
        };
        let properties = tests.iter().filter(|source| source.path.contains("propert"));
        if !properties
            .clone()
            .any(|source| source.code.iter().any(|line| line.contains("fn p_")) && speaks(source))
        {
            complaints.push(method.complaint(&format!(
                "has no property test; write one `fn p_…` in {folder}/it/properties.rs or properties/{}.rs",
                method.snake()
            )));
        }
        // Tests over the one table of normalisers run every entry of it.
        let over_all = method.kind == "normaliser"
            && tests.iter().any(|source| source.code.iter().any(|line| line.contains("Family::ALL")));
        if !over_all && !tests.iter().filter(|source| source.path.contains("conformance")).any(speaks) {
            complaints.push(method.complaint(&format!(
                "has no row in {folder}/it/conformance.rs; add one and it gets the whole battery"
            )));
        }
    }
    assert_none("Every built-in method is tested by properties and by the conformance battery.", &complaints);
}

#[test]
fn every_method_has_a_row_in_the_readme() {
    let readme = read("README.md").unwrap_or_default();
    let complaints: Vec<String> = methods()
        .iter()
        .filter(|method| {
            let name = format!("`{}`", method.name);
            !readme.lines().any(|line| line.trim_start().starts_with('|') && line.contains(&name))
        })
        .map(|method| {
            method.complaint(&format!(
                "has no row in README.md; add one to the table of {}s, with `{}`",
                method.kind, method.name
            ))
        })
        .collect();
    assert_none("Every built-in method stands in a table of the README.", &complaints);
}

#[test]
fn the_sources_hold_methods_of_every_kind() {
    let found = methods();
    let complaints: Vec<String> = KINDS
        .iter()
        .filter(|(_, _, kind)| !found.iter().any(|method| method.kind == *kind))
        .map(|(wanted, krate, kind)| {
            format!("crates/{krate}/src: no `impl {wanted} for …` found, so no {kind} is checked; is the trait renamed?")
        })
        .collect();
    assert_none("The scan for methods finds some of each kind.", &complaints);
}

#[test]
fn implementors_are_read_off_their_line() {
    assert_eq!(implementor("impl Head for MeanPooling {", "Head").as_deref(), Some("MeanPooling"));
    assert_eq!(implementor("impl<H: Head> Head for Emcl<H> {", "Head").as_deref(), Some("Emcl"));
    assert_eq!(implementor("impl crate::Head for A {", "Head").as_deref(), Some("A"));
    assert_eq!(implementor("impl<H: Head> Display for Emcl<H> {", "Head"), None);
    assert_eq!(implementor("fn head() {}", "Head"), None);
    let recipe: toml::Table = "[head]\nkind = \"seq-transf\"\n[head.emcl]\npreset = \"paper\"\n[eval]\nnormalize = [\"raw\", \"csls:k=10+sinkhorn:tau=1\"]".parse().unwrap();
    assert!(
        uses(&recipe, "head", "seq-transf")
            && uses(&recipe, "head", "emcl")
            && !uses(&recipe, "head", "paper")
    );
    assert!(uses(&recipe, "normaliser", "sinkhorn") && !uses(&recipe, "normaliser", "dual-softmax"));
}
