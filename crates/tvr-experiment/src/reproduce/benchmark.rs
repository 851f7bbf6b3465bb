//! `reproduce PAPER --dataset NAME`: a paper's models on a benchmark as it is on this disk, from a CLIP checkpoint, with
//! the published figures beside them.
//!
//! ```text
//! doctor ─▶ table of the protocol ─┐
//! checkpoint ──────────────────────┴▶ recipes/clip-*.toml, fitted ─▶ plan ─▶ train, judge ─▶ rows
//!                                                             published figures with their band ─▶ beside them
//! ```
//!
//! A row is judged by a published one only where the gallery is the one that published figures are of, the training clips
//! are complete, and the checkpoint has the shape of ViT-B/32; else it says why not, and so do published rows that were
//! measured on other clips. Everything runs on what is there.

mod fit;
mod recipes;
mod verdict;

use std::path::PathBuf;
use std::sync::atomic::AtomicBool;

use serde::Serialize;
use tvr_clip::{ClipCheckpoint, Preprocessor};
use tvr_data::Sampler;
use tvr_data::benchmarks::protocols::Protocol;
use tvr_data::galleries::Match;

use super::papers::Paper;
use super::published::{self, Published};
use crate::doctor::{self, Benchmark, Examination, Examined};
use crate::error::ExperimentError;
use crate::experiment;
use crate::own::Own;
use crate::plan::{Plan, Surroundings, plan};
use crate::prepare::{Crop, LIMIT_SECONDS};
use crate::pretrained::preprocessor;
use crate::progress::{Event, Events};
use crate::recipe::Recipe;
use crate::record::Record;
use crate::{files, lock, weights};

pub use verdict::{Beside, Verdict};

/// What is asked for.
#[derive(Clone, Debug)]
pub struct Request {
    /// The benchmark; its first protocol is run.
    pub benchmark: Benchmark,
    /// One paper alone.
    pub paper: Option<Paper>,
    /// The folder below which its videos are; `None` where the user named none.
    pub data_root: Option<PathBuf>,
    /// The folder of its annotation files.
    pub annotations: Option<PathBuf>,
    /// A list of ids to leave out.
    pub quarantine: Option<PathBuf>,
    /// The checkpoint: a folder, or a name on the Hugging Face hub; `None` where the user named none.
    pub weights: Option<String>,
    /// The store of frames.
    pub store: PathBuf,
}

/// A benchmark before anything is trained on it.
pub struct Prospect {
    /// What is there of it; `None` where not even its annotation files are.
    pub examined: Option<Examined>,
    /// What must be there before anything can run, each with the mend.
    pub missing: Vec<String>,
    /// What papers report on it.
    pub published: Vec<&'static Published>,
    request: Request,
    protocol: &'static Protocol,
    sampler: Sampler,
    checkpoint: Option<(ClipCheckpoint, Preprocessor)>,
    out: PathBuf,
}

/// How much of a protocol is there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Size {
    /// Clips that are trained on.
    pub train: usize,
    /// Clips that are looked at while training.
    pub val: usize,
    /// Clips that are judged.
    pub test: usize,
    /// Captions of the clips that are trained on.
    pub train_captions: usize,
    /// Captions of the training clip that has the most.
    pub most_captions: usize,
    /// Clips of the training list.
    pub train_listed: usize,
    /// Clips of the test list.
    pub test_listed: usize,
    /// Whether val was held out of the training list, since the protocol has none.
    pub val_held_out: bool,
    /// Pairs of a test clip and a training clip that show the same.
    pub copies: Vec<[String; 2]>,
    /// What the test clips are known as.
    pub known_as: String,
}

/// A model before it is trained.
#[derive(Clone, Debug, Serialize)]
pub struct Planned {
    /// The recipe.
    pub recipe: String,
    /// Steps of a run.
    pub steps: usize,
    /// Pairs in a step.
    pub batch: usize,
    /// Seeds.
    pub seeds: Vec<u64>,
    /// Measured seconds of a step; `None` for runs so short that a measurement would take as long.
    pub step_seconds: Option<f64>,
    /// What was changed in the recipe so that it fits, in words.
    pub fitted: Vec<String>,
}

/// What came of it, as `reproduce.json` holds it.
#[derive(Clone, Debug, Serialize)]
pub struct Outcome {
    /// `tvr-reproduce-benchmark/1`.
    pub schema: &'static str,
    /// The benchmark.
    pub benchmark: Benchmark,
    /// The protocol.
    pub protocol: &'static str,
    /// How much of it was there.
    pub size: Size,
    /// The checkpoint, in words.
    pub weights: String,
    /// The models.
    pub planned: Vec<Planned>,
    /// Each row of each run with the published figures that belong beside it.
    pub rows: Vec<Beside>,
    /// Published figures of models that are not trained here.
    pub others: Vec<&'static Published>,
    /// Each run's record.
    pub runs: Vec<Record>,
}

/// Looks what is there, and decodes it where there is a checkpoint to decode it for.
///
/// # Errors
/// A store that cannot be written, FFmpeg that is missing although a video needs it, a wish to stop. What else is missing
/// stands in the prospect.
pub fn look(
    request: &Request,
    surroundings: &Surroundings,
    stop: &AtomicBool,
    events: Events<'_>,
) -> Result<Prospect, ExperimentError> {
    let name = request.benchmark.name();
    let protocol = Protocol::of(request.benchmark)
        .next()
        .ok_or_else(|| ExperimentError::request(format!("{name} has no protocol")))?;
    let sampler = fit::sampler(request.benchmark);
    let out = surroundings.runs.join(name);
    let papers = Paper::asked(request.paper);
    let mut prospect = Prospect {
        examined: None,
        missing: Vec::new(),
        published: papers.iter().flat_map(|paper| published::of(*paper, name)).collect(),
        request: request.clone(),
        protocol,
        sampler,
        checkpoint: None,
        out: out.clone(),
    };
    match open(request.weights.as_deref(), &mut *events) {
        Ok(checkpoint) => prospect.checkpoint = Some(checkpoint),
        Err(reason) => prospect.missing.push(reason),
    }
    let Some(data_root) = request.data_root.clone() else {
        let origin = request.benchmark.origin();
        prospect.missing.push(format!(
            "no videos are named; {name} comes from {origin}; --data-root names the folder below which they are"
        ));
        return Ok(prospect);
    };
    let to_doctor = doctor::Request {
        benchmark: request.benchmark,
        data_root,
        annotations: request.annotations.clone(),
        quarantine: request.quarantine.clone(),
        out,
        store: request.store.clone(),
        sampler,
        limit_seconds: LIMIT_SECONDS,
        shard: None,
    };
    let examined = match (doctor::look(&to_doctor), &prospect.checkpoint) {
        (Ok(examined), Some((_, pixels))) => {
            Some(examined.decode(&to_doctor, &Crop::new(pixels.clone())?, stop, events)?)
        }
        (Ok(examined), None) => Some(examined),
        (Err(error), _) => {
            prospect.missing.push(error.to_string());
            None
        }
    };
    prospect.examined = examined;
    prospect.complain();
    Ok(prospect)
}

/// The checkpoint with its pixels, or why there is none.
fn open(weights: Option<&str>, events: Events<'_>) -> Result<(ClipCheckpoint, Preprocessor), String> {
    const FROM: &str = "the papers start from CLIP's ViT-B/32, huggingface.co/openai/clip-vit-base-patch32; --weights \
                        names its folder";
    let weights = weights.ok_or_else(|| format!("no weights are named; {FROM}"))?;
    let opened = weights::folder(weights, events).and_then(|folder| {
        let checkpoint = ClipCheckpoint::open(&folder).map_err(ExperimentError::because)?;
        let pixels = preprocessor(&checkpoint).map_err(ExperimentError::because)?;
        checkpoint.tokenizer().map_err(ExperimentError::because)?;
        Ok((checkpoint, pixels))
    });
    opened.map_err(|error| format!("{error}; {FROM}"))
}

impl Prospect {
    /// What is there of the benchmark.
    pub fn examination(&self) -> Option<&Examination> {
        self.examined.as_ref().map(|examined| &examined.examination)
    }

    /// The protocol that is run.
    pub fn protocol(&self) -> &'static Protocol {
        self.protocol
    }

    /// How much of the protocol is there; `None` without its lists.
    pub fn size(&self) -> Option<Size> {
        let (examined, protocol) = (self.examined.as_ref()?, self.protocol);
        let table = examined.table(protocol)?;
        let of = |split: &str| table.iter().filter(|entry| entry.split.as_deref() == Some(split)).count();
        let test = examined.listing(protocol.test)?;
        let train = table.iter().filter(|entry| entry.split.as_deref() == Some("train"));
        let captions: Vec<usize> = train.map(|entry| entry.captions.len()).collect();
        Some(Size {
            train_captions: captions.iter().sum(),
            most_captions: captions.into_iter().max().unwrap_or(0),
            train: of("train"),
            val: of("val"),
            test: of("test"),
            train_listed: examined.listing(protocol.train).map_or(0, |train| train.videos),
            test_listed: test.videos,
            val_held_out: protocol.val.is_none(),
            copies: test.copies.clone(),
            known_as: test.present_gallery.to_string(),
        })
    }

    fn complain(&mut self) {
        if self.examined.is_none() {
            return;
        }
        let Some(size) = self.size() else {
            self.missing.push(format!("the list of {}; without it nothing is tested", self.protocol.test));
            return;
        };
        for (listing, count, least) in [
            (self.protocol.train, size.train, 2),
            (self.protocol.val.unwrap_or("val, held out of train"), size.val, 1),
            (self.protocol.test, size.test, 2),
        ] {
            if count < least {
                let (benchmark, origin) = (self.request.benchmark, self.request.benchmark.origin());
                self.missing.push(format!(
                    "clips with captions of {listing}: {count} are here, and {least} are the least; {benchmark} comes from {origin}"
                ));
            }
        }
    }

    /// Plans, trains and judges every model, and sets the published figures beside it.
    ///
    /// # Errors
    /// What is missing, or as [`experiment::run`].
    pub fn run(
        &self,
        surroundings: &Surroundings,
        stop: &AtomicBool,
        events: Events<'_>,
    ) -> Result<Outcome, ExperimentError> {
        let (Some((checkpoint, _)), Some(size), true) =
            (&self.checkpoint, self.size(), self.missing.is_empty())
        else {
            return Err(ExperimentError::work(format!("nothing can run: {}", self.missing.join("; "))));
        };
        let _held = lock::hold(&surroundings.runs)?;
        let papers = Paper::asked(self.request.paper);
        let (mut planned, mut plans) = (Vec::new(), Vec::new());
        for (name, text) in recipes::of(&papers) {
            let mut recipe = Recipe::parse(text)?;
            let fitted = self.fitted(&mut recipe, checkpoint, &size)?;
            let plan = plan(&recipe, std::path::Path::new(&format!("recipes/{name}.toml")), surroundings)?;
            planned.push(Planned {
                recipe: name.to_owned(),
                steps: plan.steps,
                batch: plan.recipe.train.batch,
                seeds: plan.recipe.seeds.clone(),
                step_seconds: None,
                fitted,
            });
            plans.push((name, plan));
        }
        let (mut rows, mut runs) = (Vec::new(), Vec::new());
        let comparable = self.comparable(checkpoint, &size);
        for ((name, plan), planned) in plans.iter().zip(&mut planned) {
            let records = train(plan, planned, stop, &mut *events)?;
            for record in &records {
                let beside = |row| Beside::new(name, row, &self.published, record.gallery_size, &comparable);
                rows.extend(record.test.iter().map(beside));
            }
            runs.extend(records);
        }
        let trained: Vec<&str> = plans.iter().map(|(name, _)| *name).collect();
        let others = self
            .published
            .iter()
            .filter(|row| row.beside.is_none_or(|(recipe, ..)| !trained.contains(&recipe)));
        let outcome = Outcome {
            schema: "tvr-reproduce-benchmark/1",
            benchmark: self.request.benchmark,
            protocol: self.protocol.name,
            others: others.copied().collect(),
            weights: fit::described(checkpoint),
            planned,
            rows,
            size,
            runs,
        };
        files::write_json(&surroundings.runs.join("reproduce.json"), &outcome)?;
        Ok(outcome)
    }

    /// The recipe on this benchmark and this checkpoint; what had to change, in words.
    fn fitted(
        &self,
        recipe: &mut Recipe,
        checkpoint: &ClipCheckpoint,
        size: &Size,
    ) -> Result<Vec<String>, ExperimentError> {
        let table = doctor::table_path(&self.out, self.protocol);
        fit::epochs(recipe, self.request.benchmark);
        recipe.name = format!("{}-{}", self.request.benchmark, recipe.name);
        fit::data(recipe, table, self.request.store.clone(), self.sampler);
        fit::encoder(recipe, checkpoint, self.request.benchmark, size)
    }

    /// Whether figures may be set beside published ones, or why not.
    fn comparable(&self, checkpoint: &ClipCheckpoint, size: &Size) -> Result<(), String> {
        let Some(examined) = &self.examined else { return Err("nothing was looked at".into()) };
        let test = examined.listing(self.protocol.test);
        match test.map(|test| test.present_gallery) {
            Some(Match::Same(known)) if known.name == published::gallery(self.request.benchmark) => {}
            Some(Match::Same(known)) => return Err(format!("another gallery, {}", known.name)),
            _ => return Err(format!("{} of {} test clips", size.test, size.test_listed)),
        }
        let train = examined.listing(self.protocol.train);
        if let Some(train) = train.filter(|train| train.present.len() < train.videos) {
            return Err(format!("{} of {} training clips", train.present.len(), train.videos));
        }
        if !fit::is_vit_b_32(checkpoint) {
            return Err("other towers than ViT-B/32".into());
        }
        Ok(())
    }
}

/// Steps above which a step is measured before the first one.
const MEASURED: usize = 100;

fn train(
    plan: &Plan,
    planned: &mut Planned,
    stop: &AtomicBool,
    events: Events<'_>,
) -> Result<Vec<Record>, ExperimentError> {
    let opened = experiment::open(plan, stop, &mut *events)?;
    let mut time = String::new();
    if plan.steps > MEASURED && planned.seeds.iter().any(|&seed| !plan.is_finished(seed)) {
        let seconds = experiment::measure_step(plan, &opened, stop)?;
        planned.step_seconds = Some(seconds);
        let hours = seconds * plan.steps as f64 * planned.seeds.len() as f64 / 3600.0;
        time = format!(", {seconds:.1} s a step, {hours:.1} h in all");
    }
    events(Event::Note(format!(
        "{}: {} steps of {} pairs, seeds {:?}{time}",
        plan.recipe.name, plan.steps, planned.batch, planned.seeds
    )));
    let mut records = Vec::new();
    for &seed in &plan.recipe.seeds {
        // One that was stopped goes on, and one that is finished is judged again.
        records
            .push(experiment::run(plan, &opened, &Own::built_in(), seed, true, stop, &mut *events)?.record);
    }
    Ok(records)
}
