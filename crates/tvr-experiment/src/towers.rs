//! The built-in world's CLIP: trained once on stills, kept in the cache, and its features of every frame with it.
//!
//! Two stages, as the world asks for: first sentences that speak of places alone, then whole ones. Without the
//! first the tower never learns where things are, and no head could see motion.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use burn::module::Module;
use burn::optim::GradientsParams;
use burn::prelude::*;
use rayon::prelude::*;
use tvr_clip::{Clip, ClipConfig, Tokenizer};
use tvr_data::world::{FRAMES, SIDE};
use tvr_data::{Prefetch, Split, World};
use tvr_objectives::{Objective, Pairs, SymmetricConfig};

use crate::checkpoint::{load_weights, packed};
use crate::collective::weights_sha256;
use crate::error::ExperimentError;
use crate::files;
use crate::model::encode_pooled;
use crate::optimizer;
use crate::progress::{Event, Events};
use crate::recipe::{EncoderRecipe, OptimizerRecipe};

/// Values of a frame.
const IMAGE: usize = 3 * SIDE * SIDE;

/// A byte as the image tower takes it.
fn scaled(byte: u8) -> f32 {
    (f32::from(byte) - 118.0) / 64.0
}

/// Videos whose texts the tokenizer is trained on.
const TOKENIZER_VIDEOS: usize = 2000;

/// Captions of each of them; a still's sentence is the fifth text.
const TOKENIZER_CAPTIONS: usize = 4;

/// Merges of the world's BPE: about one token a word.
const MERGES: usize = 300;

/// Longest caption in tokens; the world's longest is well below.
const CONTEXT: usize = 48;

/// The world's towers and what is cached with them.
pub struct Towers {
    /// Both towers.
    pub clip: Clip,
    /// The tokenizer of the world's captions.
    pub tokenizer: Tokenizer,
    /// SHA-256 of the weights. Their file has another whenever they are trained: burn draws a name for each parameter.
    pub sha256: String,
    device: Device,
    folder: PathBuf,
}

/// What the towers depend on: the settings of their pretraining on stills.
#[derive(Clone, Copy)]
struct Pretraining {
    steps: usize,
    place_steps: usize,
    batch: usize,
    learning_rate: f64,
    seed: u64,
}

impl Pretraining {
    fn of(encoder: &EncoderRecipe) -> Result<Self, ExperimentError> {
        let &EncoderRecipe::World {
            pretrain_steps,
            place_steps,
            pretrain_batch,
            pretrain_learning_rate,
            tower_seed,
            ..
        } = encoder
        else {
            return Err(ExperimentError::request("encoder: the world's data needs encoder.kind = \"world\""));
        };
        Ok(Self {
            steps: pretrain_steps,
            place_steps,
            batch: pretrain_batch,
            learning_rate: pretrain_learning_rate,
            seed: tower_seed,
        })
    }
}

/// Unit features or pixels of frames.
#[derive(Clone, Debug)]
pub struct FrameValues {
    /// `[videos, frames, width]`.
    pub values: Vec<f32>,
    /// `[videos, frames]`.
    pub mask: Vec<bool>,
    /// Frames of a video.
    pub frames_per_video: usize,
    /// Values of a frame.
    pub width: usize,
}

impl Towers {
    /// The towers of a recipe: from the cache, or trained and put there.
    ///
    /// # Errors
    /// A file that cannot be read or written, a loss that is not finite, or an interruption.
    pub fn open(
        encoder: &EncoderRecipe,
        cache: &Path,
        device: &Device,
        stop: &AtomicBool,
        events: Events<'_>,
    ) -> Result<Self, ExperimentError> {
        let pretraining = Pretraining::of(encoder)?;
        let Pretraining { steps, place_steps, batch, learning_rate, seed } = pretraining;
        // What the towers do not depend on (where frames come from, how streams are made) is no part of the key.
        let key = format!(
            "{} {} own stills {steps} {place_steps} {batch} {learning_rate} {seed}",
            tvr_data::WORLD_VERSION,
            env!("CARGO_PKG_VERSION")
        );
        let key = files::sha256(key.as_bytes());
        let folder = cache.join(format!("world-{}", &key[..16]));
        let tokenizer = tokenizer()?;
        let fresh = init(seed, &tokenizer, device)?;
        let weights = folder.join("towers.bpk");
        let clip = if weights.exists() {
            load_weights(fresh, &weights, files::read(&weights)?).map_err(|error| {
                ExperimentError::work(format!("{error}; remove the file to train the towers anew"))
            })?
        } else {
            // Before minutes of training, and not after them.
            std::fs::create_dir_all(&folder).map_err(ExperimentError::file(&folder, "create the folder"))?;
            let trained = pretrain(fresh, pretraining, &tokenizer, device, stop, events)?;
            let bytes = packed(trained.clone().into_record().into_bytes(), &weights)?;
            files::write_whole(&weights, &bytes)?;
            trained
        };
        let sha256 = weights_sha256(&clip);
        Ok(Self { clip, tokenizer, sha256, device: device.clone(), folder })
    }

    /// The joint width.
    pub fn width(&self) -> usize {
        ClipConfig::world(self.tokenizer.vocabulary(), CONTEXT).joint
    }

    /// Pixels of every frame, as the image tower takes them: `[videos, frames, 3 · 32 · 32]`.
    pub fn frame_pixels(&self, split: Split, videos: usize) -> FrameValues {
        let world = World::default();
        let clips: Vec<(Vec<f32>, usize)> = (0..videos)
            .into_par_iter()
            .map(|video| {
                let clip = world.clip(split, video);
                let mut values = vec![0.0; FRAMES * IMAGE];
                for (place, &byte) in clip.frames.iter().enumerate() {
                    // From [frame, y, x, channel] to [frame, channel, y, x].
                    let (frame, rest) = (place / IMAGE, place % IMAGE);
                    let (pixel, channel) = (rest / 3, rest % 3);
                    values[frame * IMAGE + channel * (IMAGE / 3) + pixel] = scaled(byte);
                }
                (values, clip.length)
            })
            .collect();
        let mask =
            clips.iter().flat_map(|(_, length)| (0..FRAMES).map(move |frame| frame < *length)).collect();
        let values = clips.into_iter().flat_map(|(values, _)| values).collect();
        FrameValues { values, mask, frames_per_video: FRAMES, width: IMAGE }
    }

    /// Tokens of captions, start and end included.
    ///
    /// # Errors
    /// A caption that the tokenizer cannot take.
    pub fn tokens(&self, captions: &[String]) -> Result<Vec<Vec<u32>>, ExperimentError> {
        captions.iter().map(|caption| encode(&self.tokenizer, caption)).collect()
    }

    /// Tokens of a caption as [`tokens`](Self::tokens), with the bytes of it that each stands for.
    ///
    /// # Errors
    /// A caption that the tokenizer cannot take.
    pub fn token_spans(&self, caption: &str) -> Result<(Vec<u32>, Vec<Range<usize>>), ExperimentError> {
        self.tokenizer.encode_spans(caption, CONTEXT).map_err(ExperimentError::because)
    }

    /// Unit features of every frame of a split's first `videos` videos, from the cache where they lie there.
    ///
    /// # Errors
    /// A file that cannot be written.
    pub fn frame_features(&self, split: Split, videos: usize) -> Result<FrameValues, ExperimentError> {
        let path = self.folder.join(format!("{}-{videos}-{}.f32", split.name(), &self.sha256[..8]));
        let width = self.width();
        let (lengths, cached) = (lengths(split, videos), std::fs::read(&path).ok());
        let expected = videos * FRAMES * width * size_of::<f32>();
        let values = match cached.filter(|bytes| bytes.len() == expected) {
            Some(bytes) => {
                bytes.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect()
            }
            None => {
                let values = self.encode_split(split, videos);
                let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
                files::write_whole(&path, &bytes)?;
                values
            }
        };
        let mask = lengths.iter().flat_map(|&length| (0..FRAMES).map(move |frame| frame < length)).collect();
        Ok(FrameValues { values, mask, frames_per_video: FRAMES, width })
    }

    fn encode_split(&self, split: Split, videos: usize) -> Vec<f32> {
        const CHUNK: usize = 64;
        let world = World::default();
        let clip = self.clip.valid();
        let device = &self.device;
        let mut values = Vec::new();
        for start in (0..videos).step_by(CHUNK) {
            let end = (start + CHUNK).min(videos);
            let frames: Vec<Vec<u8>> = (start..end)
                .into_par_iter()
                .map(|video| {
                    let mut frames = world.clip(split, video).frames;
                    frames.resize(FRAMES * IMAGE, 0);
                    frames
                })
                .collect();
            let pixels = pixels(&frames, (end - start) * FRAMES, device);
            let features = tvr_nn::unit_rows(clip.encode_images(pixels));
            values.extend(features.into_data().convert::<f32>().iter::<f32>());
        }
        values
    }
}

fn lengths(split: Split, videos: usize) -> Vec<usize> {
    let world = World::default();
    (0..videos).into_par_iter().map(|video| world.length(split, video)).collect()
}

/// The tokenizer of the world's captions: learned once in a process, always the same.
///
/// # Errors
/// The tokenizer library's refusal.
pub(crate) fn tokenizer() -> Result<Tokenizer, ExperimentError> {
    static LEARNED: OnceLock<Tokenizer> = OnceLock::new();
    if let Some(learned) = LEARNED.get() {
        return Ok(learned.clone());
    }
    let learned = learn_tokenizer()?;
    Ok(LEARNED.get_or_init(|| learned).clone())
}

fn learn_tokenizer() -> Result<Tokenizer, ExperimentError> {
    const TEXTS: usize = TOKENIZER_CAPTIONS + 1;
    let world = World::default();
    let captions: Vec<String> = (0..TOKENIZER_VIDEOS * TEXTS)
        .into_par_iter()
        .map(|index| match (index / TEXTS, index % TEXTS) {
            (video, TOKENIZER_CAPTIONS) => world.still(video).caption,
            (video, caption) => world.caption(Split::Train, video, caption).text(),
        })
        .collect();
    Tokenizer::train_world(captions, MERGES).map_err(ExperimentError::because)
}

fn encode(tokenizer: &Tokenizer, caption: &str) -> Result<Vec<u32>, ExperimentError> {
    tokenizer.encode(caption, CONTEXT).map_err(ExperimentError::because)
}

fn init(seed: u64, tokenizer: &Tokenizer, device: &Device) -> Result<Clip, ExperimentError> {
    let training = device.clone().autodiff();
    training.seed(tvr_data::stream(seed, "towers", 0).next());
    let config = ClipConfig::world(tokenizer.vocabulary(), CONTEXT);
    config.init(&training).map_err(|error| ExperimentError::request(error.to_string()))
}

/// `[images, 3, side, side]` from u8 `[images, side, side, 3]`.
fn pixels(images: &[Vec<u8>], count: usize, device: &Device) -> Tensor<4> {
    let values: Vec<f32> = images.iter().flatten().map(|&byte| scaled(byte)).collect();
    Tensor::<4>::from_data(TensorData::new(values, [count, SIDE, SIDE, 3]), device).permute([0, 3, 1, 2])
}

fn pretrain(
    mut clip: Clip,
    pretraining: Pretraining,
    tokenizer: &Tokenizer,
    device: &Device,
    stop: &AtomicBool,
    events: Events<'_>,
) -> Result<Clip, ExperimentError> {
    let Pretraining { steps, place_steps, batch, learning_rate, seed } = pretraining;
    // Every seed has stills of its own.
    let drawn = place_steps.saturating_mul(PLACE_STRIDE).saturating_add(steps).saturating_mul(batch);
    let first = (seed as usize).wrapping_mul(drawn);
    let settings = OptimizerRecipe::adamw(learning_rate);
    let training = device.clone().autodiff();
    let mut adam = optimizer::build(&settings, &clip, steps)?;
    events(Event::Begin { label: format!("towers on stills, seed {seed}"), total: steps, done: 0 });
    let symmetric = SymmetricConfig::ours().init().map_err(ExperimentError::because)?;
    let same: Vec<i32> = (0..batch as i32).collect();
    let same = Tensor::<1, Int>::from_data(TensorData::new(same, [batch]), &training);
    // Drawn ahead on a thread of its own, so that a step never waits for pictures.
    let tokenizer = tokenizer.clone();
    let ahead = Prefetch::new(0..steps, 1, 4, move |step| draw(step, first, batch, place_steps, &tokenizer));
    for (step, stills) in ahead.enumerate() {
        let begin = Instant::now();
        if stop.load(Ordering::Relaxed) {
            return Err(ExperimentError::work(
                "stopped while the towers were trained; the next run trains them from the start",
            ));
        }
        let stills = stills?;
        let images = clip.encode_images(pixels(&stills.pixels, batch, &training));
        let rows: Vec<&[u32]> = stills.tokens.iter().map(Vec::as_slice).collect();
        let texts = encode_pooled(&clip.text, &rows, &training);
        let cosines = tvr_nn::unit_rows(texts).matmul(tvr_nn::unit_rows(images).transpose());
        let loss = symmetric.loss(&Pairs::new(&cosines, clip.logit_scale(), &same)).total;
        let value = loss.clone().into_scalar::<f32>();
        if !value.is_finite() {
            return Err(ExperimentError::work(format!(
                "the towers' loss is {value} at step {}; lower encoder.pretrain_learning_rate",
                step + 1
            )));
        }
        let mut gradients = GradientsParams::from_grads(loss.backward(), &clip);
        crate::clip_norm::clip_global_norm(&clip, &mut gradients, Some(1.0));
        clip = adam.step(optimizer::factor(&settings, step, steps), clip, gradients);
        clip = clip.clamp_logit_scale();
        events(Event::Step {
            done: step + 1,
            loss: Some(f64::from(value)),
            seconds: begin.elapsed().as_secs_f64(),
        });
    }
    events(Event::End);
    Ok(clip)
}

/// Stills that are looked through in the place stage for one that is taken.
const PLACE_STRIDE: usize = 4;

/// One batch of stills.
struct Stills {
    pixels: Vec<Vec<u8>>,
    tokens: Vec<Vec<u32>>,
}

/// The stills of a step, of those from `first` on. In the place stage those alone that have a place sentence: a third of
/// them, found among [`PLACE_STRIDE`] times as many.
fn draw(
    step: usize,
    first: usize,
    batch: usize,
    place_steps: usize,
    tokenizer: &Tokenizer,
) -> Result<Stills, ExperimentError> {
    let world = World::default();
    let place = step < place_steps;
    let before = if place { step * PLACE_STRIDE } else { place_steps * PLACE_STRIDE + step - place_steps };
    let mut next = first.wrapping_add(before * batch);
    let mut stills = Stills { pixels: Vec::with_capacity(batch), tokens: Vec::with_capacity(batch) };
    while stills.pixels.len() < batch {
        let index = next;
        next = next.wrapping_add(1);
        if place && !world.still_has_place(index) {
            continue;
        }
        let still = world.still(index);
        let sentence = still.place.filter(|_| place).unwrap_or(still.caption);
        stills.tokens.push(encode(tokenizer, &sentence)?);
        stills.pixels.push(still.pixels);
    }
    Ok(stills)
}
