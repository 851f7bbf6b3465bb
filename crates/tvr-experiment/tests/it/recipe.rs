//! Recipes: every one in the repository parses and plans; wrong ones say what to mend.

mod domains;

use std::path::{Path, PathBuf};

use tvr_experiment::recipe::{EmclScope, EmclSimilarity};
use tvr_experiment::{Recipe, Surroundings, plan};
use tvr_heads::EmclConfig;

fn recipes() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../recipes");
    let mut paths: Vec<PathBuf> =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths
}

fn example() -> String {
    std::fs::read_to_string(
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../recipes/world-mean-pooling.toml"),
    )
    .unwrap()
}

#[test]
fn every_recipe_parses_and_survives_being_written_out() {
    for path in recipes() {
        let recipe = Recipe::read(&path).unwrap();
        assert_eq!(path.file_stem().unwrap().to_str().unwrap(), recipe.name);
        assert_eq!(Recipe::parse(&recipe.to_toml().unwrap()).unwrap(), recipe);
    }
}

#[test]
fn every_world_recipe_plans() {
    for path in recipes() {
        let recipe = Recipe::read(&path).unwrap();
        if recipe.name.starts_with("world") {
            let plan = plan(&recipe, &path, &Surroundings::default()).unwrap();
            assert!(plan.steps > 0);
        }
    }
}

/// What a recipe's first line says of the paper or of the authors' code is written out in it; a key that is left out has
/// the default of all recipes, and not theirs.
#[test]
fn recipes_with_em_have_the_settings_that_they_name() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../recipes");
    let read = |name: &str| Recipe::read(&folder.join(format!("{name}.toml"))).unwrap();
    for (name, expected) in [
        ("world-emcl", EmclConfig::reference()),
        ("world-emcl-net", EmclConfig::reference()),
        ("world-emcl-net-paper", EmclConfig::paper()),
        ("world-emcl-net-global", EmclConfig::global()),
        ("clip-emcl-net", EmclConfig::reference()),
        ("msrvtt476-emcl", EmclConfig::reference()),
        ("msrvtt476-emcl-paper", EmclConfig::paper()),
        ("msrvtt476-conditioned-emcl", EmclConfig::reference()),
        ("msrvtt476-experts-emcl", EmclConfig::experts()),
    ] {
        assert_eq!(read(name).head.emcl, Some(expected), "{name}");
    }
    let published = read("world-emcl-inference").eval.emcl.unwrap();
    assert_eq!((published.scope, published.similarity), (EmclScope::Tiles, EmclSimilarity::Product));
    // There is no gradient.
    let detach = published.layer.detach;
    assert_eq!(published.layer, EmclConfig { detach, ..EmclConfig::inference() });
}

#[track_caller]
fn refused(text: &str, expected: &str) {
    let planned = |recipe| plan(&recipe, Path::new("recipes/x.toml"), &Surroundings::default());
    let error = Recipe::parse(text).and_then(planned).unwrap_err();
    assert!(error.to_string().contains(expected), "{error}");
    assert_eq!(error.exit_code(), 2, "{error}");
}

/// A recipe with one key of another value.
fn with(recipe: &str, key: &str, value: &str) -> String {
    let mut recipe = Recipe::parse(recipe).unwrap();
    recipe.set(key, value).unwrap();
    recipe.to_toml().unwrap()
}

#[test]
fn a_mistyped_key_is_answered_with_the_nearest_name() {
    refused(
        &example().replace("learning_rate = 3e-3", "learnin_rate = 3e-3"),
        "did you mean \"learning_rate\"?",
    );
    refused(&example().replace("batch = 96", "bach = 128"), "did you mean \"batch\"?");
    refused(&example().replace("kind = \"symmetric\"", "kind = \"symetric\""), "did you mean \"symmetric\"?");
}

#[test]
fn a_setting_outside_its_domain_is_refused_by_name() {
    refused(&example().replace("batch = 96", "batch = 1"), "train.batch = 1");
    refused(&example().replace("batch = 96", "batch = 100000"), "lower it");
    refused(&example().replace("sinkhorn:tau=1", "sinkhorn:tau=0"), "tau");
    refused(&example().replace("seeds = [0, 1, 2]", "seeds = []"), "seeds is empty");
    refused(&example().replace("seeds = [0, 1, 2]", "seeds = [1, 0, 1]"), "seeds holds 1 twice");
    refused(&example().replace("name = \"world-mean-pooling\"", "name = \"../out\""), "plain file name");
    for name in [".", " ", "a\\nb", "a "] {
        let named = format!("name = \"{name}\"");
        refused(&example().replace("name = \"world-mean-pooling\"", &named), "plain file name");
    }
    refused(&example().replace("hidden_factor = 2", "hidden_factor = 0"), "hidden_factor");
    let settings = [
        ("train.optimizer.learning_rate", "0.0", "= 0, but it must be a number above 0"),
        ("train.optimizer.tower_learning_rate", "-1.0", "= -1, but it must be a number above 0"),
        ("train.optimizer.warmup_share", "1.0", "= 1, but it must be at least 0 and below 1"),
        ("encoder.place_steps", "1401", "= 1401, but it must be at most encoder.pretrain_steps = 1400"),
        ("encoder.pretrain_batch", "1", "= 1, but it must be at least 2"),
    ];
    for (key, value, expected) in settings {
        refused(&with(&example(), key, value), &format!("recipes/x.toml: {key} {expected}"));
    }
    let words = std::fs::read_to_string(
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../recipes/msrvtt476-words.toml"),
    )
    .unwrap();
    for (key, value, expected) in [
        ("encoder.width", "0", "= 0, but it must be above 0"),
        ("encoder.least", "0", "= 0, but it must be above 0"),
        ("encoder.dropout", "1.0", "= 1, but it must be at least 0 and below 1"),
    ] {
        refused(&with(&words, key, value), &format!("recipes/x.toml: {key} {expected}"));
    }
    let objective = |text: &str| example().replace("kind = \"symmetric\"", text);
    let queue = "kind = \"ncl\"\nsweeps = 4\naskers = \"queue\"\nqueue = 6001";
    refused(&objective(queue), "objective.queue = 6001, but the training split has 6000; lower it");
    // Before anything of that size is made.
    let queue = queue.replace("6001", "1000000000000000");
    refused(
        &objective(&queue),
        "objective.queue = 1000000000000000, but the training split has 6000; lower it",
    );
    refused(&objective("kind = \"hinge\"\nmargin = 0.0"), "[objective] hinge: margin = 0");
    refused(
        &objective("kind = \"dual-softmax\"\ntemperature = 0.0\nscale_by_batch = true"),
        "recipes/x.toml: [objective] dual-softmax: temperature = 0, but it must be a number above 0",
    );
    refused(
        &objective("kind = \"ncl\"\nsweeps = 0"),
        "recipes/x.toml: [objective] ncl: sweeps = 0, but it must be a number above 0",
    );
    let emcl = "[head.emcl]\nmode = \"reference\"\nbases = 32\niterations = 0\nsigma = 1.0\nweight = 3.0\n\n[objective]";
    refused(
        &example().replace("[objective]", emcl),
        "recipes/x.toml: [head] emcl: iterations = 0, but it must be a number above 0",
    );
    let normaliser = |spec: &str| example().replace("sinkhorn:tau=1,iterations=50", spec);
    refused(
        &normaliser("sinkhorn:tau=1,iterations=0"),
        "eval.normalize: sinkhorn: iterations = 0, but it must be a whole number of at least 1",
    );
    for method in ["csls", "nnn", "qb-norm"] {
        let message = format!("eval.normalize: {method}: k = 0, but it must be a whole number of at least 1");
        refused(&normaliser(&format!("{method}:k=0")), &message);
    }
    let support = |settings: &str, batch: &str| {
        objective(&format!("kind = \"support-set\"\n{settings}")).replace("batch = 96", batch)
    };
    refused(
        &support("bank = 6001", "batch = 96"),
        "objective.bank = 6001, but the training split has 6000; lower it",
    );
    refused(&support("bank = 1000000000000000", "batch = 96"), "objective.bank = 1000000000000000");
    refused(
        &support("temperature = 0.0", "batch = 96"),
        "recipes/x.toml: [objective] support-set: temperature = 0, but it must be a number above 0",
    );
    // Of the world's videos each has five captions, and five of one video support none of one another.
    refused(
        &support("", "batch = 5\ncaptions = \"all\""),
        "recipes/x.toml: train.batch = 5 may hold captions of as few videos as 1, but [objective] needs at least 2 in a \
         batch; raise it above 5",
    );
    for planned in [support("", "batch = 5"), support("", "batch = 6\ncaptions = \"all\"")] {
        let recipe = Recipe::parse(&planned).unwrap();
        plan(&recipe, Path::new("recipes/x.toml"), &Surroundings::default()).unwrap();
    }
    refused(
        &objective("kind = \"weighted\"\nterms = []"),
        "[objective] weighted: terms = 0, but it must be at least one with a weight above 0",
    );
}

#[test]
fn set_changes_one_key_and_refuses_one_that_is_not_there() {
    let mut recipe = Recipe::parse(&example()).unwrap();
    recipe.set("train.steps", "20").unwrap();
    recipe.set("name", "short").unwrap();
    assert_eq!((recipe.train.steps, recipe.name.as_str()), (Some(20), "short"));
    let message = recipe.set("train.setps", "20").unwrap_err().to_string();
    assert!(message.contains("did you mean \"steps\"?"), "{message}");
    assert_eq!(recipe.train.steps, Some(20));
    // Not the first of several, with the rest dropped.
    let message = recipe.set("train.batch", "4\n[head]\nkind = \"xpool\"").unwrap_err().to_string();
    assert!(message.ends_with("there is more than one value; write one KEY=VALUE at a time"), "{message}");
    let emcl = "tiles:iterations=4\nsigma=2".parse::<tvr_experiment::recipe::EmclRecipe>();
    assert!(emcl.unwrap_err().to_string().contains("more than one value"));
}

#[test]
fn the_hash_forgets_name_and_seeds_alone() {
    let recipe = Recipe::parse(&example()).unwrap();
    let mut other = recipe.clone();
    other.name = "other".into();
    other.seeds = vec![7];
    assert_eq!(recipe.hash().unwrap(), other.hash().unwrap());
    other.set("train.batch", "64").unwrap();
    assert_ne!(recipe.hash().unwrap(), other.hash().unwrap());
}

#[test]
fn an_absent_backend_is_named_with_its_feature() {
    let message = tvr_experiment::device::open("cuda:0").unwrap_err().to_string();
    if !tvr_experiment::device::features().contains(&"cuda") {
        assert!(message.contains("--features cuda"), "{message}");
    }
    let message = tvr_experiment::device::open("gpu").unwrap_err().to_string();
    assert!(message.contains("unknown device \"gpu\""), "{message}");
}

/// Where a kind has no key of its own, or a list alone, too.
#[test]
fn a_key_that_a_kind_does_not_have_is_refused_by_name() {
    let bare = example().replace("[head.adapter]\nhidden_factor = 2\n", "");
    let with = |from: &str, to: &str| Recipe::parse(&bare.replace(from, to)).unwrap_err().to_string();
    let head = "kind = \"mean-pooling\"";
    let experts = "kind = \"experts\"\nwidth = 8\nexperts = []\nmixing = { kind = \"gating\", layers = 2 }";
    let message =
        "line 15 (mixing = { kind = \"gating\", layers = 2 }): unknown key \"layers\"; none belongs there";
    assert_eq!(with(head, experts), message);
    let camoe = "kind = \"camoe\"\nfusion = { kind = \"mean\", heads = 2 }";
    let message =
        "line 13 (fusion = { kind = \"mean\", heads = 2 }): unknown key \"heads\"; none belongs there";
    assert_eq!(with(head, camoe), message);
    let term = "terms = [{ weight = 1.0, objective = { kind = \"symmetric\" } }]";
    let weighted = format!("kind = \"weighted\"\nqueue = 4\n{term}");
    let message = "line 17 (queue = 4): unknown key \"queue\"; known are terms";
    assert_eq!(with("kind = \"symmetric\"", &weighted), message);
}

/// Also in tables that a kind tells apart, of which the reader of TOML knows no line.
#[test]
fn what_is_wrong_is_named_with_its_line() {
    let says = |from: &str, to: &str| Recipe::parse(&example().replace(from, to)).unwrap_err().to_string();
    let whole = "expected a whole number of at least 0";
    assert_eq!(
        says("batch = 96", "batch = 8.0"),
        format!("line 21 (batch = 8.0): invalid type: floating point `8.0`, {whole}")
    );
    assert_eq!(
        says("hidden_factor = 2", "hidden_factor = -1"),
        format!("line 15 (hidden_factor = -1): invalid value: integer `-1`, {whole}")
    );
    assert_eq!(
        says("learning_rate = 3e-3", "betas = [0.9]\nlearning_rate = 3e-3"),
        "line 28 (betas = [0.9]): invalid length 1, expected an array of length 2"
    );
    // Of two with one complaint, the first.
    let message = says("tower_learning_rate = 1e-3", "weight_decay = \"x\"\nepsilon = \"x\"");
    assert_eq!(message, "line 29 (weight_decay = \"x\"): invalid type: string \"x\", expected a number");
    assert_eq!(
        says("kind = \"symmetric\"", "kind = 3"),
        "line 18 (kind = 3): invalid type: integer `3`, expected a name in quotes"
    );
    let text = example().replace("[objective]\nkind = \"symmetric\"\n", "");
    let message =
        Recipe::parse(&text.replace("seeds = ", "objective = 3\nseeds = ")).unwrap_err().to_string();
    assert_eq!(message, "line 3 (objective = 3): invalid type: integer `3`, expected a table");
    assert_eq!(
        says("seeds = [0, 1, 2]", "seeds = 0"),
        "line 3 (seeds = 0): invalid type: integer `0`, expected a list"
    );
    assert_eq!(says("steps = 1000", "epochs = 2"), "line 24 (epochs = 2): duplicate key");
    assert_eq!(says("batch = 96\n", ""), "line 20 ([train]): the key `batch` is missing");
    assert_eq!(says("name = \"world-mean-pooling\"\n", ""), "the key `name` is missing");
    assert!(says("[eval]", "[eval").starts_with("line 31 ([eval): "));
    // A line of any length and of any characters.
    let long = "x".repeat(1000);
    let message = says("kind = \"symmetric\"", &format!("kind = \"\u{1b}{long}\""));
    assert!(message.chars().count() < 400 && !message.contains('\u{1b}'), "{message}");
}

#[test]
fn a_queue_of_vectors_is_refused_where_a_similarity_is_no_product_of_vectors() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../recipes");
    let recipe = std::fs::read_to_string(folder.join("world-tight-transf.toml")).unwrap();
    let ncl =
        |queue: &str| recipe.replace("kind = \"symmetric\"", &format!("kind = \"ncl\"\nsweeps = 4\n{queue}"));
    refused(&ncl("askers = \"batch-and-queue\"\nqueue = 256"), "set queue = 0 and askers = \"batch\"");
    refused(&ncl("queue = 256"), "[objective]");
    let recipe = Recipe::parse(&ncl("")).unwrap();
    assert!(plan(&recipe, Path::new("recipes/x.toml"), &Surroundings::default()).is_ok());
}

#[test]
fn emcl_is_a_table_around_any_head_and_answers_for_itself() {
    let emcl = "\n[head.emcl]\nmode = \"reference\"\nbases = 32\niterations = 9\nsigma = 1.0\nweight = 3.0\n\n[objective]";
    let wrapped = |emcl: &str| example().replace("\n[objective]", emcl);
    let recipe = Recipe::parse(&wrapped(emcl)).unwrap();
    assert!(recipe.head.emcl.is_some());
    assert_eq!(Recipe::parse(&recipe.to_toml().unwrap()).unwrap(), recipe);
    refused(&wrapped(&emcl.replace("bases = 32", "bases = 0")), "[head] emcl: bases = 0");
    refused(&wrapped(&emcl.replace("sigma = 1.0", "sigma = 0.0")), "[head] emcl: sigma = 0");
    refused(&wrapped(&emcl.replace("sigma", "sigmma")), "did you mean \"sigma\"?");
    refused(&wrapped(emcl).replace("kind = \"mean-pooling\"", "kind = \"mean-poling\""), "\"mean-pooling\"?");
    let tight = std::fs::read_to_string(
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../recipes/world-tight-transf.toml"),
    );
    refused(&tight.unwrap().replace("\n[objective]", emcl), "judges pairs by no cosine");
    // A queue scores kept items by their codes, which EMCL has not touched.
    let queue = wrapped(emcl).replace(
        "kind = \"symmetric\"",
        "kind = \"ncl\"\nsweeps = 4\naskers = \"batch-and-queue\"\nqueue = 256",
    );
    refused(&queue, "set queue = 0 and askers = \"batch\"");
}
