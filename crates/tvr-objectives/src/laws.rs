//! What any objective keeps to, as functions that a test of one's own can call.
//!
//! Every function here states one law, draws its batches from a seed, and answers `Ok` or [`Broken`]: the law's name and
//! a sentence with what was found and what was expected. [`check`] asks all of them. No law panics; a panic of the
//! objective breaks the law that met it. What a law cannot know of an objective stands in [`Expected`]; what the
//! objective needs ([`Needs`](crate::Needs)) it says itself, and a batch then has it: vectors, captions, streams, a
//! square, enough videos.
//!
//! Numbers are f64, so that a tolerance is one of rounding and of nothing else, apart from
//! [`extremes_stay_finite_in_f32`]. Laws run where the parameters of the objective are, or on burn's default device
//! where it has none; the device has to know f64. Random parts (dropout) are off, except where gradients are taken.
//!
//! ```
//! use burn::prelude::*;
//! use tvr_objectives::laws::{self, Expected};
//! use tvr_objectives::{Loss, Objective, Pairs, SymmetricConfig};
//!
//! // How its parts make the total is known, so it is asked for too.
//! let expected = Expected { total: Some(|parts| (parts[0] + parts[1]) / 2.0), ..Expected::PLAIN };
//! for seed in 0..3 { // or as an argument of a proptest
//!     laws::check(&SymmetricConfig::ours().init().unwrap(), &expected, seed).unwrap();
//! }
//!
//! /// Pulls every pair of the batch together, also those that do not belong together.
//! #[derive(burn::module::Module, Debug)]
//! struct Pull;
//!
//! impl Objective for Pull {
//!     fn loss(&self, pairs: &Pairs) -> Loss {
//!         Loss { total: pairs.logits().mean().neg(), parts: Vec::new() }
//!     }
//! }
//!
//! let broken = laws::check(&Pull, &Expected::PLAIN, 0).unwrap_err();
//! assert_eq!(broken.law, "a_single_pair_costs_nothing");
//! ```

mod batch;
mod order;
mod values;

use burn::prelude::*;
use burn::tensor::DType;
use tvr_nn::laws::{cast, device_of};

use crate::objective::{Needs, Objective};

pub use batch::{Batch, Rows, matrix, owners, scores};
pub use order::{
    permuted_texts_change_nothing, permuted_videos_change_nothing, scale_and_cosines_make_the_logits,
    shares_of_rows_add_up,
};
pub use tvr_nn::laws::{Broken, Draw};
pub use values::{
    a_single_pair_costs_nothing, broken_batches_are_refused_by_name, doubled_captions_are_no_negatives,
    extremes_stay_finite_in_f32, the_loss_is_one_number_made_of_its_parts,
    the_optimiser_may_step_without_state,
};

/// What an author says of an objective, since no law can know it.
#[derive(Clone, Debug)]
pub struct Expected {
    /// The total, of the parts in their order; `None` where parts are for the log alone.
    pub total: Option<fn(&[f64]) -> f64>,
    /// Of the total and the parts, what holds right pairs against wrong ones: the total, where nothing stands beside.
    pub contrastive: fn(f64, &[f64]) -> f64,
    /// Whether it judges cosines times scale. Otherwise it judges cosines, and no scale may matter.
    pub scaled: bool,
    /// Whether a text and a video that are alone cost nothing, as there is nothing to tell them from.
    pub free_alone: bool,
    /// The most that `contrastive` may be in [`doubled_captions_are_no_negatives`]; `f64::INFINITY` for a loss that holds
    /// captions of one video against each other on purpose. Nats
    pub doubled: f64,
    /// Whether what it keeps of a batch ([`Objective::after_step`]) counts when the same batch comes again.
    pub remembers: bool,
    /// How far two numbers may be apart that are equal in exact arithmetic, relative to a loss above 1. Ten times as far
    /// for gradients.
    pub tolerance: f64,
    /// Width of the vectors of texts and videos, at least the number of videos of a batch (6).
    pub width: usize,
    /// Number of tokens that captions are made of.
    pub vocabulary: usize,
    /// Tokens of the longest caption.
    pub caption_tokens: usize,
}

impl Expected {
    /// A loss of logits that takes several captions of a video as such, and nothing of its parts. The bound on doubled
    /// captions is that of half of two cross-entropies.
    pub const PLAIN: Self = Self {
        total: None,
        contrastive: |total, _| total,
        scaled: true,
        free_alone: true,
        doubled: 0.25 * std::f64::consts::LN_2 + 1e-6,
        remembers: false,
        tolerance: 1e-9,
        width: 8,
        vocabulary: 11,
        caption_tokens: 5,
    };
}

impl Default for Expected {
    fn default() -> Self {
        Self::PLAIN
    }
}

/// Every law of this module, one after the other.
///
/// # Errors
/// The first law that is broken.
pub fn check(objective: &impl Objective, expected: &Expected, seed: u64) -> Result<(), Broken> {
    the_loss_is_one_number_made_of_its_parts(objective, expected, seed)?;
    a_single_pair_costs_nothing(objective, expected, seed)?;
    extremes_stay_finite_in_f32(objective, expected, seed)?;
    permuted_texts_change_nothing(objective, expected, seed)?;
    permuted_videos_change_nothing(objective, expected, seed)?;
    scale_and_cosines_make_the_logits(objective, expected, seed)?;
    doubled_captions_are_no_negatives(objective, expected, seed)?;
    shares_of_rows_add_up(objective, expected, seed)?;
    broken_batches_are_refused_by_name(objective, expected, seed)?;
    the_optimiser_may_step_without_state(objective, expected, seed)
}

/// Texts and videos of the batches: as many, more, one of each, one video, not quite as many.
const SIZES: [[usize; 2]; 5] = [[4, 4], [7, 3], [1, 1], [5, 1], [6, 5]];

/// An objective before its laws, in f64.
struct Trial<'a, O> {
    objective: O,
    expected: &'a Expected,
    needs: Needs,
    device: Device,
}

impl<'a, O: Objective> Trial<'a, O> {
    fn new(objective: &O, expected: &'a Expected) -> Self {
        let device = device_of(objective);
        let objective = cast(&objective.valid().to_device(&device), DType::F64);
        let needs = objective.needs();
        Self { objective, expected, needs, device }
    }

    /// The sizes that the objective takes.
    fn sizes(&self) -> impl Iterator<Item = [usize; 2]> {
        let Needs { square, least_videos, .. } = self.needs;
        SIZES.into_iter().map(move |[texts, videos]| {
            let videos = videos.max(least_videos);
            [if square { videos } else { texts.max(videos) }, videos]
        })
    }

    /// Logits in ±`size`, and who belongs to whom.
    fn draw(&self, draw: &mut Draw, [texts, videos]: [usize; 2], size: f64) -> (Rows, Vec<usize>) {
        let logits = scores(draw, texts, videos, size);
        let same = if self.needs.square { (0..texts).collect() } else { owners(draw, texts, videos) };
        (logits, same)
    }

    /// Cosines that are these logits, at scale 1; every text is a caption of its own.
    fn batch(&self, logits: &Rows, same: &[usize]) -> Batch {
        self.of(matrix(logits, &self.device), same)
    }

    fn of(&self, similarity: Tensor<2>, same: &[usize]) -> Batch {
        let names: Vec<usize> = (0..same.len()).collect();
        Batch::of(similarity, same, &names, &self.needs, self.expected)
    }

    /// The loss of a batch and its parts.
    fn judge(&self, batch: &Batch) -> Result<(f64, Vec<f64>), String> {
        batch.pairs().check(&self.needs).map_err(|error| error.to_string())?;
        let loss = self.objective.loss(&batch.pairs());
        let number = |name: &str, value: Tensor<1>| match value.dims() {
            [1] => Ok(value.into_scalar::<f64>()),
            [found] => Err(format!("{name} has {found} numbers, but expected one")),
        };
        let total = number("the total", loss.total)?;
        let parts: Result<_, _> = loss.parts.into_iter().map(|(name, part)| number(&name, part)).collect();
        Ok((total, parts?))
    }

    /// The gradient of the total with respect to the similarities, row by row; zeros where there is none. The batch is
    /// reordered before it is judged.
    fn gradient(&self, logits: &Rows, same: &[usize], order: [&[usize]; 2]) -> Vec<f64> {
        let similarity = Tensor::from_inner(matrix(logits, &self.device)).require_grad();
        let batch = self.of(similarity.clone(), same).reordered(order[0], order[1]);
        let gradients = self.objective.clone().train().loss(&batch.pairs()).total.backward();
        match similarity.grad(&gradients) {
            Some(gradient) => tvr_nn::laws::floats(&gradient),
            None => vec![0.0; logits.iter().map(Vec::len).sum()],
        }
    }

    /// How far a number may be from one that it equals in exact arithmetic.
    fn rounding(&self, expected: f64) -> f64 {
        self.expected.tolerance * expected.abs().max(1.0)
    }
}
