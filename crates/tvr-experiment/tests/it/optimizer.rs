//! P-C4-5 and the global norm: every parameter has one group, and the groups are the ones named.

use std::collections::BTreeSet;

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::optim::GradientsParams;
use burn::prelude::*;
use tvr_experiment::clip_norm::clip_global_norm;
use tvr_experiment::model::Model;
use tvr_experiment::optimizer::{Group, build, grouped};
use tvr_experiment::recipe::{Groups, OptimizerRecipe};
use tvr_experiment::schedule::Schedule;
use tvr_experiment::step::gradients;
use tvr_heads::SeqTransfConfig;
use tvr_objectives::SymmetricConfig;

use crate::mixing::{ENCODERS, heads, objectives, reason};
use crate::step::{WIDTH, corpus, flat, model, way};

fn head(device: &Device) -> tvr_heads::SeqTransf {
    let config = SeqTransfConfig { heads: 2, ..SeqTransfConfig::ours(3) };
    config.init(WIDTH, device).unwrap()
}

#[test]
fn p_c4_5_ours_decays_matrices_alone() {
    let _alone = crate::run::generator();
    let device = Device::flex().autodiff();
    let model = model(head(&device), SymmetricConfig::ours().init().unwrap(), 0.0, &device);
    let groups = grouped(&model, Groups::Ours);
    assert!(groups.len() > 10);
    for (path, group) in groups {
        let spared = path.contains("bias")
            || path.contains("norm")
            || path.contains("position")
            || path == "logit_scale";
        assert_eq!(group.decays, !spared, "{path}");
        assert_eq!(group.tower, path == "logit_scale", "{path}");
    }
}

/// Every parameter becomes ones, so that what a step leaves of it tells what was done to it.
struct Ones;

impl ModuleMapper for Ones {
    fn map_float<const D: usize>(&mut self, parameter: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let learned = parameter.is_require_grad();
        parameter.map(|value| value.ones_like().detach()).set_require_grad(learned)
    }
}

/// Gradients of zero for everything that learns.
struct Zeros(GradientsParams);

impl ModuleVisitor for Zeros {
    fn visit_float<const D: usize>(&mut self, parameter: &Param<Tensor<D>>) {
        if parameter.is_require_grad() {
            self.0.register(parameter.id, parameter.val().without_autodiff().zeros_like());
        }
    }
}

/// The value of every parameter's first element, and whether it learns.
struct Firsts(Vec<(f32, bool)>);

impl ModuleVisitor for Firsts {
    fn visit_float<const D: usize>(&mut self, parameter: &Param<Tensor<D>>) {
        let values: Vec<f32> = parameter.val().into_data().iter::<f32>().collect();
        assert!(values.iter().all(|value| *value == values[0]), "a group is a parameter's, not an element's");
        self.0.push((values[0], parameter.is_require_grad()));
    }
}

#[test]
fn adamw_of_one_rate_is_the_recipe_that_says_no_more() {
    let recipe: OptimizerRecipe = toml::from_str("kind = \"adamw\"\nlearning_rate = 0.5").unwrap();
    assert_eq!(recipe, OptimizerRecipe::adamw(0.5));
}

/// Without gradients a step of AdamW leaves `1 - rate · decay` of a one: a second group would leave less of it, and
/// none all of it.
#[test]
fn p_c4_5_every_parameter_of_every_model_is_in_exactly_one_group() {
    let _alone = crate::run::generator();
    let device = Device::flex().autodiff();
    let text = "kind = \"adamw\"\nlearning_rate = 0.5\ntower_learning_rate = 0.25\nweight_decay = 0.5";
    let recipe: OptimizerRecipe = toml::from_str(text).unwrap();
    let OptimizerRecipe::Adamw { groups, .. } = recipe else { panic!("{recipe:?}") };
    let mut stepped = BTreeSet::new();
    let mut models = 0;
    for encoder in ENCODERS {
        let offer = encoder.offer();
        for head_recipe in heads() {
            for objective_recipe in objectives() {
                if reason(encoder, &head_recipe, &objective_recipe).is_some() {
                    continue;
                }
                models += 1;
                let name = format!("{encoder:?}, {head_recipe:?}, {objective_recipe:?}");
                let (text, video) = encoder.encoders(&device);
                let head = head_recipe.init(&offer, &device).unwrap();
                let objective = objective_recipe.init(&offer, &device).unwrap();
                let logit_scale = Param::from_data([2.0f32], &device);
                let model = Model { text, video, head, objective, logit_scale };
                let members = grouped(&model, groups);
                // A group names its members by their paths, so a path that two parameters share would be in both.
                let paths: BTreeSet<&str> = members.iter().map(|(path, _)| path.as_str()).collect();
                assert_eq!(paths.len(), members.len(), "{name}");
                // Steps are for every encoder with every head, and with every objective.
                let head_is_new = stepped.insert(format!("{encoder:?} {head_recipe:?}"));
                if !stepped.insert(format!("{encoder:?} {objective_recipe:?}")) && !head_is_new {
                    continue;
                }
                let model = model.map(&mut Ones);
                let mut zeros = Zeros(GradientsParams::new());
                model.visit(&mut zeros);
                let mut optimizer = build(&recipe, &model, 10).unwrap();
                let mut firsts = Firsts(Vec::new());
                optimizer.step(1.0, model, zeros.0).visit(&mut firsts);
                assert_eq!(firsts.0.len(), members.len(), "{name}");
                for ((path, group), (value, learned)) in members.iter().zip(&firsts.0) {
                    let rate = if group.tower { 0.25 } else { 0.5 };
                    let expected = if *learned && group.decays { 1.0 - 0.5 * rate } else { 1.0 };
                    assert_eq!(*value, expected, "{path} of {name}");
                }
            }
        }
    }
    assert!(models > 300, "{models}");
}

#[test]
fn p_c4_5_clip4clip_spares_only_what_is_called_bias() {
    for (path, rank, tower, decays) in [
        ("text.tower.blocks.0.query.weight", 2, true, true),
        ("text.tower.blocks.0.query.bias", 1, true, false),
        ("text.tower.final_norm.gamma", 1, true, true),
        ("text.tower.final_norm.beta", 1, true, false),
        ("text.tower.token_embedding.weight", 2, true, true),
        ("logit_scale", 1, true, true),
        ("head.positions", 2, false, true),
        ("head.blocks.0.query.bias", 1, false, false),
    ] {
        assert_eq!(Group::of(path, rank, Groups::Clip4clip), Group { tower, decays }, "{path}");
    }
}

#[test]
fn the_global_norm_is_that_of_all_parameters_together() {
    let _alone = crate::run::generator();
    let device = Device::flex();
    let training = device.clone().autodiff();
    let model = model(head(&training), SymmetricConfig::ours().init().unwrap(), 0.0, &training);
    let batch = tvr_experiment::step::Batch {
        texts: vec![0, 2, 4],
        videos: vec![0, 1, 2],
        text_video: vec![0, 1, 2],
        shuffle: None,
    };
    let (mut found, ..) = gradients(&model, &corpus(4), &batch, &way(0, &device, 0)).unwrap();
    let norm = |gradients: &GradientsParams| {
        flat(&model, gradients).iter().map(|&value| f64::from(value).powi(2)).sum::<f64>().sqrt()
    };
    let before = norm(&found);
    assert!((clip_global_norm(&model, &mut found, None) - before).abs() < 1e-9 * before);
    assert!((norm(&found) - before).abs() < 1e-9 * before);
    clip_global_norm(&model, &mut found, Some(before / 2.0));
    assert!((norm(&found) - before / 2.0).abs() < 1e-4 * before);
}

#[test]
fn the_warm_up_ends_where_the_cosine_begins() {
    let factors: Vec<f64> = (0..100).map(|step| Schedule::WarmupCosine.factor(step, 100, 0.1)).collect();
    assert!((factors[9] - 1.0).abs() < 1e-12 && (factors[10] - 1.0).abs() < 1e-12);
    assert!(factors[..10].windows(2).all(|pair| pair[0] < pair[1]));
    assert!(factors[10..].windows(2).all(|pair| pair[0] > pair[1]));
    assert!(factors[0] > 0.0 && factors[99] < 1e-2);
}

#[test]
fn a_constant_schedule_stays_where_its_warm_up_ends() {
    let text = "kind = \"adamw\"\nlearning_rate = 0.5\nwarmup_share = 0.4\nschedule = \"warmup-constant\"";
    let recipe: OptimizerRecipe = toml::from_str(text).unwrap();
    // Four of ten steps warm up: the first has a quarter of the rate, the fourth all of it.
    for (step, factor) in [(0, 0.25), (1, 0.5), (2, 0.75), (3, 1.0), (4, 1.0), (5, 1.0), (9, 1.0)] {
        assert_eq!(Schedule::WarmupConstant.factor(step, 10, 0.4), factor, "step {step}");
        assert_eq!(recipe.rate_at(step, 10), 0.5 * factor, "step {step}");
    }
    assert_eq!(Schedule::WarmupConstant.factor(0, 10, 0.0), 1.0, "without warm-up");
}
