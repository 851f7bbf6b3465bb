//! From a plan to its model before the first step: encoders, head, objective and scale, drawn from a seed.

use burn::module::Param;
use burn::nn;
use burn::prelude::*;
use tvr_clip::model::INITIAL_SCALE;
use tvr_heads::Head;
use tvr_objectives::Objective;

use super::{Model, TextEncoder, VideoEncoder};
use crate::corpus::{Corpus, Texts};
use crate::error::ExperimentError;
use crate::plan::{self, Plan};
use crate::recipe::{BuiltHead, BuiltObjective, EncoderRecipe, Frames};
use crate::sources::Sources;

/// The recipe's own head and objective, drawn from the seed.
pub(crate) fn own_parts(
    plan: &Plan,
    sources: &Sources,
    seed: u64,
) -> Result<(BuiltHead, BuiltObjective), ExperimentError> {
    seed_parameters(plan, seed);
    let device = plan.device.clone().autodiff();
    let head = plan::head(&plan.recipe, &plan.offer, sources.pretrained.as_ref(), &device)?;
    Ok((head, plan.recipe.objective.init(&plan.offer, &device)?))
}

/// The model of a plan before its first step.
///
/// - `train`: the training split, whose widths a map from features has
/// - `seed`: of whatever is drawn here; head and objective are drawn already
pub(crate) fn build<H: Head, O: Objective>(
    plan: &Plan,
    sources: &Sources,
    train: &Corpus,
    head: H,
    objective: O,
    seed: u64,
) -> Result<Model<H, O>, ExperimentError> {
    seed_parameters(plan, seed);
    let device = plan.device.clone().autodiff();
    let (text, video) = encoders(plan, sources, train, &device)?;
    let scale = (plan.recipe.train.initial_scale.unwrap_or(INITIAL_SCALE) as f32).ln();
    let logit_scale = Param::from_data([scale], &device);
    let model = Model { text, video, head, objective, logit_scale };
    tvr_nn::touch(&model);
    Ok(model)
}

/// Parameters are drawn from one generator of the process, so it is seeded before a model is built.
fn seed_parameters(plan: &Plan, seed: u64) {
    plan.device.clone().autodiff().seed(tvr_data::stream(seed, "parameters", 0).next());
}

fn encoders(
    plan: &Plan,
    sources: &Sources,
    train: &Corpus,
    device: &Device,
) -> Result<(TextEncoder, VideoEncoder), ExperimentError> {
    let linear =
        |input: usize, width: usize| nn::LinearConfig::new(input, width).with_bias(false).init(device);
    let dropout = |share: f64| nn::DropoutConfig::new(share).init();
    let Sources { world, pretrained, .. } = sources;
    let precision = plan.recipe.train.precision;
    let frame_tokens = plan.recipe.encoder.frame_tokens();
    let (text, frames) = match (&plan.recipe.encoder, world, &train.texts) {
        (EncoderRecipe::Projection { width, dropout: share }, _, Texts::Features { width: input, .. }) => {
            let text = TextEncoder {
                tower: None,
                words: None,
                projection: Some(linear(*input, *width)),
                dropout: dropout(*share),
            };
            (text, (*width, *share))
        }
        (EncoderRecipe::Words { width, embedding, dropout: share, .. }, _, Texts::Tokens(_)) => {
            let vocabulary = plan.offer.vocabulary.unwrap_or_default();
            let text = TextEncoder {
                tower: None,
                words: Some(nn::EmbeddingConfig::new(vocabulary, *embedding).init(device)),
                projection: Some(linear(*embedding, *width)),
                dropout: dropout(*share),
            };
            (text, (*width, *share))
        }
        (EncoderRecipe::World { frames, .. }, Some(towers), _) => {
            let text = TextEncoder {
                tower: Some(towers.clip.text.clone().with_stream(precision)),
                words: None,
                projection: None,
                dropout: dropout(0.0),
            };
            let tower =
                (*frames == Frames::Trained).then(|| towers.clip.image.clone().with_stream(precision));
            let video =
                VideoEncoder { tower, projection: None, dropout: dropout(0.0), unit: true, frame_tokens };
            return Ok((text, video));
        }
        (EncoderRecipe::Clip { .. }, None, Texts::Tokens(_)) => {
            let pretrained =
                pretrained.as_ref().ok_or_else(|| ExperimentError::work("the checkpoint was not opened"))?;
            let text = TextEncoder {
                tower: Some(pretrained.text_tower(device)?.with_stream(precision)),
                words: None,
                projection: None,
                dropout: dropout(0.0),
            };
            let tower = pretrained.image_tower(device)?.map(|tower| tower.with_stream(precision));
            let video =
                VideoEncoder { tower, projection: None, dropout: dropout(0.0), unit: false, frame_tokens };
            return Ok((text, video));
        }
        _ => return Err(ExperimentError::work("the encoder and the data do not fit")),
    };
    let (width, share) = frames;
    let projection = Some(linear(train.width, width));
    Ok((text, VideoEncoder { tower: None, projection, dropout: dropout(share), unit: false, frame_tokens }))
}
