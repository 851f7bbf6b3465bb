//! Settings of normalisers that a recipe leaves open.

use std::path::Path;
use std::sync::atomic::AtomicBool;

use tvr_experiment::recipe::EmclRecipe;
use tvr_experiment::recipe::{EmclScope, EmclSimilarity};
use tvr_experiment::{Own, Plan, Recipe, Surroundings, experiment, plan, select};
use tvr_heads::EmclConfig;

fn planned(folder: &Path, normalize: &str) -> Plan {
    let text = crate::run::RECIPE.replace("DATA", folder.join("data").to_str().unwrap());
    let eval = "[eval]\nbank = { texts = 20, videos = 20 }";
    let mut recipe = Recipe::parse(&format!("{text}\n{eval}")).unwrap();
    recipe.eval.normalize = normalize.split(' ').map(String::from).collect();
    let surroundings =
        Surroundings { runs: folder.join("runs"), cache: folder.join("cache"), device: "flex".into() };
    plan(&recipe, Path::new("x.toml"), &surroundings).unwrap()
}

#[test]
fn a_setting_is_chosen_on_val_and_judged_on_test() {
    let _alone = crate::run::generator();
    let folder = tempfile::tempdir().unwrap();
    crate::made_up::write(&folder.path().join("data"), 24, 8, 8);
    let never = AtomicBool::new(false);
    let candidates = ["0.02", "1", "30"].map(|value| format!("inverted-softmax:temperature={value}"));
    let open = "inverted-softmax:temperature=0.02|1|30";
    let plan = planned(folder.path(), &format!("raw {open} nnn:k=1|2"));
    let opened = experiment::open(&plan, &never, &mut |_| ()).unwrap();
    let record =
        experiment::run(&plan, &opened, &Own::built_in(), 0, false, &never, &mut |_| ()).unwrap().record;
    // By hand: each candidate on val.
    let judge = |normalize: &str, on_val: bool| {
        let plan = planned(folder.path(), normalize);
        experiment::judge_again(&plan, &opened, &Own::built_in(), 0, on_val).unwrap().rows.remove(0).judgement
    };
    let sums = candidates.each_ref().map(|spec| select::score(&judge(spec, true)));
    let most = sums.iter().copied().fold(f64::MIN, f64::max);
    let best = &candidates[sums.iter().position(|&sum| sum == most).unwrap()];
    assert_eq!(&record.test[1].normalize, best, "{sums:?}");
    assert_eq!(&record.val[1].normalize, best);
    assert_eq!(record.chosen[best], open);
    assert_eq!(record.chosen[&record.test[2].normalize], "nnn:k=1|2");
    assert_eq!(record.chosen.len(), 2);
    let on_test = judge(best, false);
    assert_eq!(record.test[1].text_to_video["MnR"], on_test.text_to_video.mean_rank);
    assert_eq!(record.test[1].video_to_text["MnR"], on_test.video_to_text.mean_rank);
    let card = std::fs::read_to_string(folder.path().join("runs/small-0/card.md")).unwrap();
    assert!(card.contains(&format!("| chosen on val | {best}, among {open} |")), "{card}");
    // What is judged again is chosen again.
    let again = experiment::judge_again(&plan, &opened, &Own::built_in(), 0, false).unwrap();
    assert_eq!((&again.chosen, &again.rows[1].normalize), (&record.chosen, best));
    let warning = "settings were chosen on val, which is what is judged here".to_owned();
    assert!(!again.warnings.contains(&warning));
    assert!(
        experiment::judge_again(&plan, &opened, &Own::built_in(), 0, true)
            .unwrap()
            .warnings
            .contains(&warning)
    );
}

#[test]
fn an_alternative_that_no_method_takes_is_refused_when_planned() {
    let folder = tempfile::tempdir().unwrap();
    crate::made_up::write(&folder.path().join("data"), 24, 8, 8);
    let text = crate::run::RECIPE.replace("DATA", folder.path().join("data").to_str().unwrap());
    let refused = |normalize: &str| {
        let recipe = Recipe::parse(&format!("{text}\n[eval]\nnormalize = [\"{normalize}\"]")).unwrap();
        let surroundings = Surroundings { runs: "runs".into(), cache: "cache".into(), device: "flex".into() };
        plan(&recipe, Path::new("x.toml"), &surroundings).unwrap_err().to_string()
    };
    assert_eq!(
        refused("dual-softmax:temperature=1|0"),
        "x.toml: eval.normalize: dual-softmax: temperature = 0, but it must be a number above 0"
    );
    assert!(refused("sinkhorn:tau=1|2+nnn:k=1|2").contains("nnn: there is no query bank"));
}

#[test]
fn emcl_in_one_word_is_the_recipe_s() {
    let emcl: EmclRecipe = "tiles".parse().unwrap();
    assert_eq!(
        emcl,
        EmclRecipe {
            scope: EmclScope::Tiles,
            similarity: EmclSimilarity::Cosine,
            seed: 0,
            layer: EmclConfig::inference()
        }
    );
    let emcl: EmclRecipe =
        "bank: seed=7, similarity=product, mode=paper ,bases=32,sigma=1,residual=false".parse().unwrap();
    let layer = EmclConfig {
        mode: tvr_heads::emcl::Mode::Paper,
        bases: 32,
        sigma: 1.0,
        residual: false,
        ..EmclConfig::inference()
    };
    assert_eq!(
        emcl,
        EmclRecipe { scope: EmclScope::Bank, similarity: EmclSimilarity::Product, seed: 7, layer }
    );
    let refused = |spec: &str| spec.parse::<EmclRecipe>().unwrap_err().to_string();
    assert_eq!(refused("all"), "EMCL \"all\": unknown value \"all\"; known are tiles, everything, bank");
    assert_eq!(
        refused("tiles:base=3"),
        "EMCL \"tiles:base=3\": unknown key \"base\"; did you mean \"bases\"?"
    );
    assert_eq!(
        refused("tiles:bases=0"),
        "EMCL \"tiles:bases=0\": emcl: bases = 0, but it must be a number above 0"
    );
    assert_eq!(refused("tiles:bases"), "EMCL \"tiles:bases\": \"bases\" has no value; write KEY=VALUE");
}
