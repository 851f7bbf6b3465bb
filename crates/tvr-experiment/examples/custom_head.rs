//! A head from outside: a video is the largest value of each coordinate over its frames. It trains and is judged
//! like a built-in one, and no crate of tvr is touched.
//!
//! ```sh
//! cargo run -p tvr-experiment --example custom_head -- recipes/msrvtt476-mean-pooling.toml
//! ```
//!
//! Its test, at the end, asks it the laws of heads; an example's own tests run with `cargo test --example`, this one with
//! those of the crate too.
#![allow(clippy::print_stdout, reason = "an example shows its figures")]

use std::path::Path;
use std::sync::atomic::AtomicBool;

use burn::module::Module;
use burn::nn::{Linear, LinearConfig};
use tvr_experiment::experiment::{self, Outcome};
use tvr_experiment::{ExperimentError, Own, Recipe, Surroundings, plan};
use tvr_heads::{Head, Needs, Similarity, TextCodes, TextFeatures, VideoCodes, VideoFeatures, cosine};

/// The largest value of each coordinate over a video's real frames, after a linear map.
#[derive(Module, Debug)]
pub struct MaxPooling {
    /// Applied to every frame.
    pub linear: Linear,
}

impl Head for MaxPooling {
    fn needs(&self) -> Needs {
        Needs { frames: true, ..Needs::default() }
    }

    fn code_videos(&self, videos: VideoFeatures) -> VideoCodes {
        let [items, frames, width] = videos.frames.dims();
        let hidden = videos.mask.bool_not().unsqueeze_dim::<3>(2).expand([items, frames, width]);
        let frames = self.linear.forward(videos.frames).mask_fill(hidden, -1e9);
        VideoCodes::new(tvr_nn::unit_rows(frames.max_dim(1).squeeze_dim::<2>(1)))
    }

    fn code_texts(&self, texts: TextFeatures) -> TextCodes {
        TextCodes::new(tvr_nn::unit_rows(texts.pooled))
    }

    fn similarity(&self, texts: &TextCodes, videos: &VideoCodes) -> Similarity {
        Similarity::of(cosine(texts, videos))
    }
}

/// Trains the head on a recipe's data, with the recipe's encoder and objective.
///
/// # Errors
/// What the recipe, the data or the head's needs say.
pub fn run(recipe: &Recipe, surroundings: &Surroundings) -> Result<Outcome, ExperimentError> {
    let mut recipe = recipe.clone();
    recipe.name = "custom-head".into();
    let plan = plan(&recipe, Path::new("custom-head"), surroundings)?;
    let own = Own::new("max pooling after a linear map", |parts| {
        let width = parts.plan.offer.width;
        Ok((MaxPooling { linear: LinearConfig::new(width, width).init(parts.device) }, parts.objective()?))
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
    use burn::nn::Linear;
    use burn::prelude::*;
    use proptest::prelude::*;
    use tvr_heads::laws::{self, Draw, Expected};

    use super::MaxPooling;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(8))]

        #[test]
        fn it_keeps_the_laws_of_heads(seed: u64) {
            let (expected, device) = (Expected::PLAIN, Device::default());
            // Not by burn's generator, which is one for the process.
            let weight = Draw::new(seed).tensor([expected.width, expected.width], &device) * 0.5;
            let head = MaxPooling { linear: Linear { weight: Param::from_tensor(weight), bias: None } };
            prop_assert_eq!(laws::check(&head, &expected, seed), Ok(()));
        }
    }
}
