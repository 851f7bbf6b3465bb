//! The plan: every check that can be made before data is read in full, and every choice written out.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use burn::prelude::*;
use tvr_clip::Precision;
use tvr_clip::model::{INITIAL_SCALE, LARGEST_SCALE};
use tvr_data::{Split, World};
use tvr_heads::{Head, Needs};
use tvr_objectives::Objective;

use crate::checkpoint::is_finished;
use crate::error::ExperimentError;
use crate::offer::Offer;
use crate::own::{Own, Parts};
use crate::pretrained::Pretrained;
use crate::recipe::{BuiltHead, DataRecipe, EncoderRecipe, FrameTokens, Frames, Recipe, TrainRecipe};
use crate::step::Judging;
use crate::{banks, clips, device};

/// Most looks at val: no run is so long that more tell anything, so a larger number is a slip of the finger.
const LOOKS: usize = 1_000_000;

/// The widest joint space or word vector that a recipe may ask for.
const WIDEST: usize = 65_536;

/// The most stills in a step of the world's pretraining: CLIP's own batch.
const LARGEST_BATCH: usize = 32_768;

/// What surrounds a run: folders and the device.
#[derive(Clone, Debug)]
pub struct Surroundings {
    /// Where runs are written.
    pub runs: PathBuf,
    /// Where towers and features are cached.
    pub cache: PathBuf,
    /// The device's name, as `--device` takes it; several for training, as `--devices` takes them. In the plan of one process
    /// among several, as a record shows them: with the number of processes.
    pub device: String,
}

impl Default for Surroundings {
    fn default() -> Self {
        Self { runs: "runs".into(), cache: "cache".into(), device: device::DEFAULT_DEVICE.into() }
    }
}

/// How long ranks wait for one another unless told otherwise: longer than a look at a large val takes, and judging at the end.
pub const PATIENCE: Duration = Duration::from_secs(600);

/// A checked recipe with everything resolved.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The recipe.
    pub recipe: Recipe,
    /// The file it came from, for messages.
    pub source: PathBuf,
    /// Folders and device.
    pub surroundings: Surroundings,
    /// The first of the opened devices: whatever is not training runs there.
    pub device: Device,
    /// The opened devices; each has a rank in training.
    pub devices: Vec<Device>,
    /// How long ranks wait for one another; longer than a look at val takes, and, of several processes, judging at the end.
    pub patience: Duration,
    /// Who judges a batch that several ranks hold.
    pub judging: Judging,
    /// Steps of a run.
    pub steps: usize,
    /// What data and encoder offer.
    pub offer: Offer,
    /// What the head takes: data are opened with as much, and no more.
    pub needs: Needs,
}

/// Checks a recipe against its surroundings.
///
/// # Errors
/// The first thing that cannot work, with the key to mend.
pub fn plan(recipe: &Recipe, source: &Path, surroundings: &Surroundings) -> Result<Plan, ExperimentError> {
    let named = |error: ExperimentError| match error {
        ExperimentError::Request { message } => {
            ExperimentError::request(format!("{}: {message}", source.display()))
        }
        other => other,
    };
    check(recipe).map_err(named)?;
    let devices = device::open_all(&surroundings.device)?;
    let device = devices[0].clone();
    if devices.len() > recipe.train.batch {
        return Err(named(ExperimentError::request(format!(
            "train.batch = {}, but there are {} devices; a device must have at least one pair: raise it, or take fewer devices",
            recipe.train.batch,
            devices.len()
        ))));
    }
    let dtype = recipe.train.precision.dtype();
    if devices.iter().any(|device| !device.supports_dtype(dtype)) {
        return Err(named(ExperimentError::request(format!(
            "train.precision = {:?}, in which {} cannot compute; take \"f32\"",
            recipe.train.precision.name(),
            surroundings.device
        ))));
    }
    let pretrained = Pretrained::open(&recipe.encoder, &mut |_| ()).map_err(named)?;
    let offer = Offer::of(recipe, pretrained.as_ref()).map_err(named)?;
    let mut recipe = recipe.clone();
    if recipe.train.initial_scale.is_none() {
        let own = pretrained.as_ref().map(Pretrained::scale).transpose().map_err(named)?.flatten();
        recipe.train.initial_scale = Some(own.unwrap_or(INITIAL_SCALE));
    }
    // Building head and objective once checks their settings; no weights are ever drawn.
    let head = head(&recipe, &offer, pretrained.as_ref(), &device).map_err(named)?;
    // Before a queue is made: one of a thousand times the data would fill the memory.
    let items = offer.items(recipe.train.captions);
    let remembered = recipe.objective.remembers("objective");
    for (what, count) in [("train.batch".into(), recipe.train.batch), remembered] {
        if count > items {
            return Err(named(ExperimentError::request(format!(
                "{what} = {count}, but the training split has {items}; lower it"
            ))));
        }
    }
    let objective = recipe.objective.init(&offer, &device).map_err(named)?;
    offer.check(&recipe, &head, &objective).map_err(named)?;
    banks::check(&recipe.eval, &offer, !head.needs().judges_pairs).map_err(named)?;
    let batches = items / recipe.train.batch;
    let whole = batches.checked_mul(recipe.train.epochs).ok_or_else(|| {
        named(ExperimentError::request(format!(
            "train.epochs = {} of {batches} steps each are more steps than can be counted; lower it",
            recipe.train.epochs
        )))
    })?;
    let steps = recipe.train.steps.map_or(whole, |cap| cap.min(whole));
    if steps == 0 {
        return Err(named(ExperimentError::request(
            "train.epochs and train.steps must leave at least one step",
        )));
    }
    Ok(Plan {
        recipe,
        source: source.to_path_buf(),
        surroundings: surroundings.clone(),
        device,
        devices,
        patience: PATIENCE,
        judging: Judging::of(&head, &objective),
        steps,
        offer,
        needs: head.needs(),
    })
}

impl Plan {
    /// The same plan for a head and an objective; data are opened with it.
    ///
    /// # Errors
    /// What data and encoder of the recipe do not offer; what `make` says; the recipe's own parts for a plan of others.
    pub fn with<F, H, O>(&self, own: &Own<F>) -> Result<Self, ExperimentError>
    where
        F: Fn(&Parts<'_>) -> Result<(H, O), ExperimentError>,
        H: Head,
        O: Objective,
    {
        let Some(name) = &own.name else {
            // The recipe's own were checked when it was planned, and are what the plan is of.
            return match &self.recipe.own {
                None => Ok(self.clone()),
                Some(outside) => Err(ExperimentError::request(format!(
                    "the plan is of {outside:?}, whose head and objective come from outside; hand them over in place of \
                     Own::built_in()"
                ))),
            };
        };
        let device = self.device.clone().autodiff();
        let (head, objective) = (own.make)(&Parts { plan: self, device: &device, sources: None })?;
        self.offer.check(&self.recipe, &head, &objective)?;
        banks::check(&self.recipe.eval, &self.offer, !head.needs().judges_pairs)?;
        let recipe = Recipe { own: Some(name.clone()), ..self.recipe.clone() };
        Ok(Self { recipe, needs: head.needs(), judging: Judging::of(&head, &objective), ..self.clone() })
    }

    /// The plan of one process among `size`, made for the one device that it takes ([`device::of_place`]) of those `named`.
    ///
    /// # Errors
    /// More ranks than pairs in a batch.
    pub fn of_process(&self, size: usize, named: &str) -> Result<Self, ExperimentError> {
        let batch = self.recipe.train.batch;
        if size > batch {
            return Err(ExperimentError::request(format!(
                "{}: train.batch = {batch}, but there are {size} ranks; a rank must have at least one pair: raise it, or start fewer",
                self.source.display()
            )));
        }
        let surroundings =
            Surroundings { device: format!("{named}, {size} processes"), ..self.surroundings.clone() };
        Ok(Self { surroundings, ..self.clone() })
    }

    /// The run folder of a seed.
    pub fn run_folder(&self, seed: u64) -> PathBuf {
        self.surroundings.runs.join(format!("{}-{seed}", self.recipe.name))
    }

    /// Whether the run of a seed was trained and judged.
    pub(crate) fn is_finished(&self, seed: u64) -> bool {
        is_finished(&self.run_folder(seed))
    }
}

/// The recipe's head; its temporal transformers start from the checkpoint's text tower unless the recipe says otherwise.
pub(crate) fn head(
    recipe: &Recipe,
    offer: &Offer,
    pretrained: Option<&Pretrained>,
    device: &Device,
) -> Result<BuiltHead, ExperimentError> {
    match (&recipe.encoder, pretrained, &recipe.head.block_heads()[..]) {
        (EncoderRecipe::Clip { start_from_tower: true, .. }, Some(pretrained), temporal @ [_, ..]) => {
            let tower = pretrained.text_heads()?;
            if let Some(heads) = temporal.iter().find(|heads| **heads != tower) {
                return Err(ExperimentError::request(format!(
                    "[head] its temporal transformer has heads = {heads}, but the text tower that its blocks start as has \
                     {tower}; encoder.start_from_tower = false starts them at random"
                )));
            }
            recipe.head.init_from_tower(offer, &pretrained.text_tower(device)?, device)
        }
        _ => recipe.head.init(offer, device),
    }
}

fn check(recipe: &Recipe) -> Result<(), ExperimentError> {
    let name = &recipe.name;
    let odd = |c: char| c.is_control() || matches!(c, '/' | '\\');
    if name.is_empty() || name == "." || name.trim() != name || name.contains(odd) || name.contains("..") {
        return refuse(format!("name = {name:?}, but it must be a plain file name"));
    }
    if let Some(own) = &recipe.own {
        return refuse(format!(
            "own = {own:?}: head or objective of this run came from outside tvr, and no command has them; train and judge it \
             by the program that it came from (experiment::run, experiment::judge_again)"
        ));
    }
    if recipe.seeds.is_empty() {
        return refuse("seeds is empty; name at least one, as in seeds = [0]");
    }
    let mut before = HashSet::new();
    if let Some(seed) = recipe.seeds.iter().find(|seed| !before.insert(**seed)) {
        return refuse(format!("seeds holds {seed} twice; each seed has one run, so leave one out"));
    }
    check_train(&recipe.train)?;
    recipe.train.optimizer.check()?;
    check_pair(&recipe.data, &recipe.encoder)?;
    if recipe.eval.normalize.is_empty() {
        return refuse("eval.normalize is empty; name at least one row, as in eval.normalize = [\"raw\"]");
    }
    recipe.eval.check_bands()
}

fn check_train(train: &TrainRecipe) -> Result<(), ExperimentError> {
    if train.batch < 2 {
        return refuse(format!(
            "train.batch = {}, but a contrastive batch must hold at least 2 pairs",
            train.batch
        ));
    }
    if train.evaluations > LOOKS {
        return refuse(format!("train.evaluations = {}, but it must be at most {LOOKS}", train.evaluations));
    }
    if train.clip_norm.is_nan() || train.clip_norm < 0.0 {
        return refuse(format!(
            "train.clip_norm = {}, but it must be 0 (no clipping) or above",
            train.clip_norm
        ));
    }
    if train.precision == Precision::F16 {
        return refuse(
            "train.precision = \"f16\", in which small gradients vanish; take \"bf16\" or \"f32\"",
        );
    }
    if let Some(scale) = train.initial_scale.filter(|scale| !(*scale > 0.0 && *scale <= LARGEST_SCALE)) {
        return refuse(format!(
            "train.initial_scale = {scale}, but it must be above 0 and at most {LARGEST_SCALE}"
        ));
    }
    Ok(())
}

fn check_pair(data: &DataRecipe, encoder: &EncoderRecipe) -> Result<(), ExperimentError> {
    match (data, encoder) {
        (
            DataRecipe::World { .. },
            EncoderRecipe::World { frames: Frames::Cached, frame_tokens: FrameTokens::Patches, .. },
        ) => refuse(
            "encoder.frame_tokens = \"patches\", but the world's cache holds one vector a frame; use \
             encoder.frames = \"trained\"",
        ),
        (
            DataRecipe::World { gallery, .. },
            EncoderRecipe::World {
                place_steps,
                pretrain_steps,
                pretrain_batch,
                pretrain_learning_rate: rate,
                ..
            },
        ) => {
            if !(rate.is_finite() && *rate > 0.0) {
                return refuse(format!(
                    "encoder.pretrain_learning_rate = {rate}, but it must be a number above 0"
                ));
            }
            check_world(*gallery, *place_steps, *pretrain_steps, *pretrain_batch)
        }
        (DataRecipe::Features { .. }, EncoderRecipe::Projection { width, dropout }) => {
            width_of("width", *width)?;
            share("dropout", *dropout)
        }
        (DataRecipe::Features { .. }, EncoderRecipe::Words { width, embedding, least, dropout, .. }) => {
            width_of("width", *width)?;
            width_of("embedding", *embedding)?;
            above_zero("least", *least)?;
            share("dropout", *dropout)
        }
        (DataRecipe::Features { .. }, EncoderRecipe::Clip { frames: Frames::Trained, .. }) => refuse(
            "encoder.frames = \"trained\" needs pictures, and data.kind = \"features\" has none; use data.kind = \"videos\"",
        ),
        (DataRecipe::Features { .. }, EncoderRecipe::Clip { .. }) => Ok(()),
        (DataRecipe::Videos { sampler, .. }, EncoderRecipe::Clip { .. }) => {
            clips::frames_of(sampler).map(|_| ())
        }
        (DataRecipe::World { .. }, _) => refuse("data.kind = \"world\" needs encoder.kind = \"world\""),
        (DataRecipe::Features { .. }, EncoderRecipe::World { .. }) => {
            refuse("data.kind = \"features\" needs encoder.kind = \"projection\", \"words\" or \"clip\"")
        }
        (DataRecipe::Videos { .. }, _) => refuse("data.kind = \"videos\" needs encoder.kind = \"clip\""),
    }
}

fn check_world(
    gallery: usize,
    place_steps: usize,
    pretrain_steps: usize,
    pretrain_batch: usize,
) -> Result<(), ExperimentError> {
    if gallery < 2 || gallery > World::size(Split::Test) {
        return refuse(format!(
            "data.gallery = {gallery}, but it must be from 2 to {}",
            World::size(Split::Test)
        ));
    }
    if place_steps > pretrain_steps {
        return refuse(format!(
            "encoder.place_steps = {place_steps}, but it must be at most encoder.pretrain_steps = {pretrain_steps}"
        ));
    }
    if pretrain_batch < 2 {
        return refuse(format!("encoder.pretrain_batch = {pretrain_batch}, but it must be at least 2"));
    }
    ExperimentError::beyond("encoder.pretrain_batch", pretrain_batch, LARGEST_BATCH)
}

fn refuse(reason: impl Into<String>) -> Result<(), ExperimentError> {
    Err(ExperimentError::request(reason))
}

fn width_of(setting: &str, value: usize) -> Result<(), ExperimentError> {
    above_zero(setting, value)?;
    ExperimentError::beyond(&format!("encoder.{setting}"), value, WIDEST)
}

fn above_zero(setting: &str, value: usize) -> Result<(), ExperimentError> {
    if value == 0 {
        return refuse(format!("encoder.{setting} = 0, but it must be above 0"));
    }
    Ok(())
}

fn share(setting: &str, value: f64) -> Result<(), ExperimentError> {
    if !(0.0..1.0).contains(&value) {
        return refuse(format!("encoder.{setting} = {value}, but it must be at least 0 and below 1"));
    }
    Ok(())
}
