//! The examples of methods from outside, run as a reader would run them.

use tvr_experiment::{Recipe, Surroundings};

#[allow(dead_code, reason = "its main is the example's")]
#[path = "../../examples/custom_head.rs"]
mod custom_head;

#[allow(dead_code, reason = "its main is the example's")]
#[path = "../../examples/custom_objective.rs"]
mod custom_objective;

#[test]
fn a_head_and_an_objective_from_outside_run_in_an_experiment() {
    let _alone = crate::run::generator();
    let folder = tempfile::tempdir().unwrap();
    crate::made_up::write(&folder.path().join("data"), 24, 8, 8);
    let text = crate::run::RECIPE.replace("DATA", folder.path().join("data").to_str().unwrap());
    let mut recipe = Recipe::parse(&text).unwrap();
    recipe.train.epochs = 30;
    let surroundings = Surroundings {
        runs: folder.path().join("runs"),
        cache: folder.path().join("cache"),
        device: "flex".into(),
    };
    let outcomes = [
        ("custom-head", custom_head::run(&recipe, &surroundings)),
        ("custom-objective", custom_objective::run(&recipe, &surroundings)),
    ];
    for (name, outcome) in outcomes {
        let outcome = outcome.unwrap();
        assert_eq!(outcome.record.recipe, name);
        let recall = outcome.record.metric("raw.text_to_video.R@1").unwrap();
        assert!(recall >= 50.0, "{name}: chance is 12.5, found {recall}");
    }
}
