//! From a plan to its model before the first step: encoders, head, objective and scale, drawn from a seed.

use burn::module::{Module, ModuleVisitor, Param};
use burn::nn;
use burn::prelude::*;
use tvr_clip::model::INITIAL_SCALE;
use tvr_heads::Head;
use tvr_objectives::Objective;

use super::{Model, TextEncoder, VideoEncoder};
use crate::corpus::{Corpus, Texts};
use crate::error::ExperimentError;
use crate::own::Parts;
use crate::plan::Plan;
use crate::recipe::{EncoderRecipe, Frames};
use crate::sources::Sources;

/// The model of a plan before its first step.
///
/// - `train`: the training split, whose widths a map from features has
/// - `make`: head and objective
/// - `seed`: of whatever is drawn
///
/// # Errors
/// What `make` says; a parameter of it that would not train; data that were opened without what the head asks for.
pub(crate) fn build<H: Head, O: Objective>(
    plan: &Plan,
    sources: &Sources,
    train: &Corpus,
    make: impl FnOnce(&Parts<'_>) -> Result<(H, O), ExperimentError>,
    seed: u64,
) -> Result<Model<H, O>, ExperimentError> {
    let device = plan.device.clone().autodiff();
    seed_parameters(plan, seed);
    let (head, objective) = make(&Parts { plan, device: &device, sources: Some(sources) })?;
    opened_for(&head, train)?;
    // Most parameters are drawn when they are touched below, and then as if nothing had been drawn before.
    seed_parameters(plan, seed);
    let (text, video) = encoders(plan, sources, train, &device)?;
    let scale = (plan.recipe.train.initial_scale.unwrap_or(INITIAL_SCALE) as f32).ln();
    let logit_scale = Param::from_data([scale], &device);
    let model = Model { text, video, head, objective, logit_scale };
    tvr_nn::touch(&model);
    trains(&model)?;
    Ok(model)
}

/// Whether data were opened with what a head asks for: a stream that is not there would pass for one that no text has.
fn opened_for<H: Head>(head: &H, train: &Corpus) -> Result<(), ExperimentError> {
    let needs = head.needs();
    let stream = needs.streams.iter().find(|name| train.streams.iter().all(|stream| stream.name != **name));
    let expert =
        needs.experts.iter().find(|needed| train.experts.iter().all(|expert| expert.name != needed.name));
    let missing = stream.map(|name| format!("stream {name:?}"));
    match missing.or(expert.map(|expert| format!("expert {:?}", expert.name))) {
        None => Ok(()),
        Some(missing) => Err(ExperimentError::request(format!(
            "[head] asks for the {missing}, but the data were opened without it; open them with the plan of this head \
             (Plan::with)"
        ))),
    }
}

/// Whether every parameter is on a device that trains: another would stay as it was drawn, in silence.
fn trains<M: Module>(model: &M) -> Result<(), ExperimentError> {
    #[derive(Default)]
    struct Plain {
        path: Vec<String>,
        found: Option<String>,
    }
    impl ModuleVisitor for Plain {
        fn enter_module(&mut self, name: &str, _container: &str) {
            self.path.push(name.to_owned());
        }
        fn exit_module(&mut self, _name: &str, _container: &str) {
            self.path.pop();
        }
        fn visit_float<const D: usize>(&mut self, parameter: &Param<Tensor<D>>) {
            if !parameter.val().is_autodiff() {
                self.found.get_or_insert_with(|| self.path.join("."));
            }
        }
    }
    let mut plain = Plain::default();
    model.visit(&mut plain);
    match plain.found {
        None => Ok(()),
        Some(path) => Err(ExperimentError::request(format!(
            "the parameter {path} is on a device that does not train; make head and objective on Parts::device"
        ))),
    }
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
