//! Optimisers over parameter groups: burn's AdamW, and CLIP4Clip's BertAdam.
//!
//! The rate of a step is a function of the step alone, and a group's share of it lies in the group's optimiser
//! value; so nothing of a schedule needs saving.

use burn::module::{Module, ModuleVisitor, Param, ParamGroup};
use burn::optim::{AdamWConfig, ModuleOptimizer, Optimizer};
use burn::prelude::*;

use crate::bert_adam::BertAdam;
use crate::error::ExperimentError;
use crate::recipe::{Groups, OptimizerRecipe};

/// Which group a parameter belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Group {
    /// A tower's parameter or the logit scale, as against a new module's.
    pub tower: bool,
    /// Whether it decays.
    pub decays: bool,
}

impl Group {
    /// The group of the parameter at `path`, whose value has `rank` axes.
    ///
    /// Towers are the fields `text` and `video` of the model where they hold CLIP's; projections are new modules.
    pub fn of(path: &str, rank: usize, groups: Groups) -> Self {
        let tower =
            path.starts_with("text.tower.") || path.starts_with("video.tower.") || path == "logit_scale";
        let decays = match groups {
            Groups::Clip4clip => !path.contains("bias") && !path.ends_with(".beta"),
            // Tables of vectors, of which a step moves few: of tokens, places, words (`text.words`), experts (MMT's `types`).
            Groups::Ours => {
                let table = path.contains("embedding") || path.contains("position");
                rank >= 2 && !table && !path.starts_with("text.words.") && !path.ends_with(".types")
            }
        };
        Self { tower, decays }
    }
}

/// All parameters of a module with their groups, in module order.
pub fn grouped<M: Module>(module: &M, groups: Groups) -> Vec<(String, Group)> {
    struct Visit {
        path: Vec<String>,
        groups: Groups,
        found: Vec<(String, Group)>,
    }
    impl ModuleVisitor for Visit {
        fn enter_module(&mut self, name: &str, _container: &str) {
            self.path.push(name.to_string());
        }
        fn exit_module(&mut self, _name: &str, _container: &str) {
            self.path.pop();
        }
        fn visit_float<const D: usize>(&mut self, _parameter: &Param<Tensor<D>>) {
            let path = self.path.join(".");
            let group = Group::of(&path, D, self.groups);
            self.found.push((path, group));
        }
    }
    let mut visit = Visit { path: Vec::new(), groups, found: Vec::new() };
    module.visit(&mut visit);
    visit.found
}

/// An optimiser with a rate of its own, multiplied by the step's.
#[derive(Clone)]
struct Rated<O> {
    inner: O,
    rate: f64,
}

impl<O: Optimizer> Optimizer for Rated<O> {
    type State<const D: usize> = O::State<D>;

    fn step<const D: usize>(
        &self,
        rate: f64,
        tensor: Tensor<D>,
        gradient: Tensor<D>,
        state: Option<Self::State<D>>,
    ) -> (Tensor<D>, Option<Self::State<D>>) {
        self.inner.step(rate * self.rate, tensor, gradient, state)
    }

    fn to_device<const D: usize>(state: Self::State<D>, device: &Device) -> Self::State<D> {
        O::to_device(state, device)
    }
}

/// The optimiser of a model; its step takes [`factor`].
///
/// # Errors
/// A path that cannot be matched, which would be our bug.
pub fn build<M: Module>(
    recipe: &OptimizerRecipe,
    model: &M,
    steps: usize,
) -> Result<ModuleOptimizer, ExperimentError> {
    let groups = match recipe {
        OptimizerRecipe::Adamw { groups, .. } | OptimizerRecipe::BertAdam { groups, .. } => *groups,
    };
    let members = grouped(model, groups);
    let mut optimizer: Option<ModuleOptimizer> = None;
    for tower in [false, true] {
        for decays in [true, false] {
            let group = Group { tower, decays };
            let paths: Vec<String> =
                members.iter().filter(|(_, of)| *of == group).map(|(path, _)| path.clone()).collect();
            if optimizer.is_some() && paths.is_empty() {
                continue;
            }
            let exactly: Vec<String> =
                paths.iter().map(|path| format!("^{}$", path.replace('.', r"\."))).collect();
            let members = ParamGroup::from_any_regexes(exactly)
                .map_err(|error| ExperimentError::work(format!("parameter groups: {error:?}")))?;
            let decay = |weight_decay: f64| if decays { weight_decay } else { 0.0 };
            optimizer = Some(match recipe {
                OptimizerRecipe::Adamw {
                    learning_rate,
                    tower_learning_rate,
                    weight_decay,
                    betas,
                    epsilon,
                    ..
                } => {
                    let inner = AdamWConfig::new()
                        .with_beta_1(betas[0] as f32)
                        .with_beta_2(betas[1] as f32)
                        .with_epsilon(*epsilon as f32)
                        .with_weight_decay(decay(*weight_decay) as f32)
                        .build();
                    let rate = tower_learning_rate.filter(|_| tower).unwrap_or(*learning_rate);
                    add(optimizer, members, Rated { inner, rate })
                }
                OptimizerRecipe::BertAdam {
                    learning_rate,
                    tower_coefficient,
                    weight_decay,
                    warmup_share,
                    schedule,
                    ..
                } => {
                    let adam = BertAdam {
                        learning_rate: if tower { learning_rate * tower_coefficient } else { *learning_rate },
                        schedule: *schedule,
                        warmup: *warmup_share,
                        total: Some(steps as f64),
                        beta_1: 0.9,
                        beta_2: 0.98,
                        epsilon: 1e-6,
                        weight_decay: decay(*weight_decay),
                        max_gradient_norm: Some(1.0),
                    };
                    add(optimizer, members, adam)
                }
            });
        }
    }
    optimizer.ok_or_else(|| ExperimentError::work("the model has no parameters"))
}

fn add<O: Optimizer>(optimizer: Option<ModuleOptimizer>, members: ParamGroup, group: O) -> ModuleOptimizer
where
    O: burn::optim::DynOptimizer,
{
    match optimizer {
        // The first is also the fallback; every parameter is matched by its own group below.
        None => ModuleOptimizer::from(group.clone()).with_group(members, group, None),
        Some(optimizer) => optimizer.with_group(members, group, None),
    }
}

/// What a step of [`build`]'s optimiser takes as its rate: the schedule's factor at `step` of `steps`. BertAdam keeps its own
/// count per parameter, and so takes 1.
pub fn factor(recipe: &OptimizerRecipe, step: usize, steps: usize) -> f64 {
    match recipe {
        OptimizerRecipe::Adamw { .. } => recipe.factor(step, steps),
        OptimizerRecipe::BertAdam { .. } => 1.0,
    }
}
