//! An objective from outside: every pair of a batch is a yes-or-no question (Zhai et al. 2023, SigLIP, arXiv
//! 2303.15343). It trains and is judged like a built-in one, and no crate of tvr is touched.
//!
//! ```sh
//! cargo run -p tvr-experiment --example custom_objective -- recipes/msrvtt476-mean-pooling.toml
//! ```
//!
//! Its test, at the end, asks it the laws of objectives; an example's own tests run with `cargo test --example`, this one
//! with those of the crate too.
#![allow(clippy::print_stdout, reason = "an example shows its figures")]

use std::path::Path;
use std::sync::atomic::AtomicBool;

use burn::module::{Module, Param};
use burn::prelude::*;
use burn::tensor::activation::log_sigmoid;
use tvr_experiment::experiment::{self, Outcome};
use tvr_experiment::{ExperimentError, Own, Recipe, Surroundings, plan};
use tvr_objectives::{Loss, Objective, Pairs, Positives};

/// `−1/texts · Σ ln σ(±(logit + bias))`: plus for the pairs that belong together, minus for all others.
#[derive(Module, Debug)]
pub struct Sigmoid {
    /// Starts low, because most pairs do not belong together. `[1]`
    pub bias: Param<Tensor<1>>,
}

impl Objective for Sigmoid {
    fn loss(&self, pairs: &Pairs) -> Loss {
        let [texts, _] = pairs.similarity.dims();
        let logits = pairs.logits() + self.bias.val().unsqueeze::<2>();
        let targets = Positives::Same.related(pairs).float().cast(logits.dtype());
        let each = -log_sigmoid(logits * (targets.clone() * 2.0 - 1.0)) / texts as f32;
        let positives = tvr_nn::sum(each.clone() * targets);
        let total = tvr_nn::sum(each);
        Loss { parts: vec![("positives".into(), positives)], total }
    }
}

/// Trains a recipe's encoder and head with the objective.
///
/// # Errors
/// What the recipe, the data or the objective's needs say.
pub fn run(recipe: &Recipe, surroundings: &Surroundings) -> Result<Outcome, ExperimentError> {
    let mut recipe = recipe.clone();
    recipe.name = "custom-objective".into();
    let plan = plan(&recipe, Path::new("custom-objective"), surroundings)?;
    // What is recorded, and must be the same where the run goes on: the name with all settings.
    let own = Own::new("sigmoid, bias from -10", |parts| {
        Ok((parts.head()?, Sigmoid { bias: Param::from_data([-10.0f32], parts.device) }))
    });
    let plan = plan.with(&own)?;
    let (stop, seed) = (AtomicBool::new(false), 0);
    let opened = experiment::open(&plan, &stop, &mut |_| ())?;
    experiment::run(&plan, &opened, &own, seed, true, &stop, &mut |_| ())
}

fn main() -> Result<(), ExperimentError> {
    let path = std::env::args().nth(1).unwrap_or_else(|| "recipes/msrvtt476-mean-pooling.toml".into());
    let recipe = Recipe::read(Path::new(&path))?;
    // As the commands do: kernels of the processor share one pool of threads.
    let outcome = tvr_experiment::in_pool(|| run(&recipe, &Surroundings::default()))?;
    println!("T2V R@1: {:?}", outcome.record.metric("raw.text_to_video.R@1"));
    Ok(())
}

#[cfg(test)]
mod tests {
    use burn::module::Param;
    use burn::prelude::*;
    use proptest::prelude::*;
    use tvr_objectives::laws::{self, Expected};

    use super::Sigmoid;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(8))]

        #[test]
        fn it_keeps_the_laws_of_objectives(seed: u64, bias in -10f32..0.0) {
            // Its part is for the log alone; and a pair that belongs together costs something, alone or not.
            let expected = Expected { free_alone: false, ..Expected::PLAIN };
            let objective = Sigmoid { bias: Param::from_data([bias], &Device::default()) };
            prop_assert_eq!(laws::check(&objective, &expected, seed), Ok(()));
        }
    }
}
