//! `encode`: a checkpoint over texts and pictures, into a feature file.

use std::path::PathBuf;
use std::sync::atomic::AtomicBool;

use tvr_experiment::ExperimentError;
use tvr_experiment::device::{DEFAULT_DEVICE, DEVICE_HELP};
use tvr_experiment::encode::{Captions, Pictures, Report, Request, encode};
use tvr_experiment::prepare::Sampler;
use tvr_experiment::recipe::FrameTokens;
use tvr_experiment::shard::Shard;
use tvr_experiment::verify::Precision;

use crate::count::count;
use crate::draw::draw;
use crate::exit;

const EXAMPLES: &str = "\
Examples:
  cargo xtask encode --weights clip-vit-base-patch32 --frames videos/ --out frames.safetensors
  cargo xtask encode --weights clip-vit-base-patch32 --texts captions.jsonl --out texts.safetensors
  cargo xtask encode --weights W --frames videos/ --texts captions.jsonl --out features.safetensors --skip-bad
  cargo xtask encode --weights W --images photos/ --out 0.safetensors --shard 0/4
  cargo xtask encode --weights W --videos clips.csv --patches --out patches/features.safetensors

A line of captions.jsonl is {\"id\": \"c0\", \"video\": \"v0\", \"text\": \"a dog runs\"}; id and video may be absent. Codes are not
of unit length; the file's metadata says so, and how pixels were made. Stopped or killed, the same command with
--resume goes on.";

/// What may be asked.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// The checkpoint: a Hugging Face or OpenCLIP folder, or OWNER/NAME on the hub (feature `hub`)
    #[arg(long, value_name = "DIR|NAME")]
    weights: String,
    /// A folder with tokenizer and preprocessor_config.json, for weights that come without [default: that of --weights]
    #[arg(long, value_name = "DIR")]
    processor: Option<PathBuf>,
    /// Texts: .txt with one a line, or .jsonl; for --videos the list's captions if absent
    #[arg(long, value_name = "FILE")]
    texts: Option<PathBuf>,
    /// Pictures: every one below the folder is an item of its own
    #[arg(long, value_name = "DIR", conflicts_with_all = ["frames", "videos"])]
    images: Option<PathBuf>,
    /// Videos: every folder below that holds pictures is one, its frames in natural order of their names
    #[arg(long, value_name = "DIR")]
    frames: Option<PathBuf>,
    /// Videos: a list as prepare takes it; what is not in the store is decoded into it first. Its captions and splits
    /// are written beside the features, though not with --shard
    #[arg(long, value_name = "MANIFEST", conflicts_with = "frames")]
    videos: Option<PathBuf>,
    /// The store of frames, for --videos
    #[arg(long, value_name = "DIR", default_value = "store")]
    store: PathBuf,
    /// Frames of a clip, for --videos; as prepare takes them
    #[arg(long, value_name = "SPEC", default_value = "rate:1,frames=12,cut=uniform")]
    sampler: Sampler,
    /// The feature file to write
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Pictures or texts that pass a tower at once
    #[arg(long, value_name = "N", default_value_t = 32, allow_negative_numbers = true)]
    batch: usize,
    #[arg(long, value_name = "D", default_value = DEFAULT_DEVICE, help = format!("The device: {DEVICE_HELP}"))]
    pub(super) device: String,
    /// Type of the weights in memory: f32, f16 or bf16; codes are f32 in every case
    #[arg(long, value_name = "TYPE", default_value = "f32")]
    dtype: Precision,
    /// Write every token of a text beside its code
    #[arg(long)]
    tokens: bool,
    /// Write every patch of a picture in place of its one code: a patch is then a frame to heads that take a set of them
    #[arg(long)]
    patches: bool,
    /// List what cannot be read and leave it out
    #[arg(long)]
    skip_bad: bool,
    /// Encode one share of N neighbouring ones; I counts from 0
    #[arg(long, value_name = "I/N")]
    shard: Option<Shard>,
    /// Go on with a run that was stopped
    #[arg(long)]
    resume: bool,
}

/// Encodes, and says what was written.
///
/// # Errors
/// As [`encode`].
pub fn run(args: Args, stop: &'static AtomicBool) -> Result<(), ExperimentError> {
    let out = args.out.clone();
    let (store, sampler) = (args.store, args.sampler);
    let of_list = args.videos.is_some().then_some(Captions::OfList);
    let videos = args.videos.map(|manifest| Pictures::Videos { manifest, store, sampler });
    let request = Request {
        weights: args.weights,
        processor: args.processor,
        texts: args.texts.map(Captions::File).or(of_list),
        pictures: args.images.map(Pictures::Images).or(args.frames.map(Pictures::Frames)).or(videos),
        out: args.out,
        batch: args.batch,
        device: args.device,
        precision: args.dtype,
        tokens: args.tokens,
        frame_tokens: if args.patches { FrameTokens::Patches } else { FrameTokens::Class },
        skip_bad: args.skip_bad,
        shard: args.shard,
        resume: args.resume,
    };
    let report = encode(&request, stop, &mut draw())?;
    exit::print(&format!("{}: {}\n", out.display(), said(&report)))
}

/// What a feature file holds, in words.
pub fn said(report: &Report) -> String {
    let Report { videos, frames, patches, texts, width, skipped } = report;
    let mut words = Vec::new();
    if *videos > 0 {
        words.push(format!("{} of {}", count(*frames, "frame"), count(*videos, "video")));
    }
    if let Some(patches) = patches {
        words.push(format!("{patches} patches a frame"));
    }
    if *texts > 0 {
        words.push(count(*texts, "text"));
    }
    words.push(format!("width {width}, not of unit length"));
    if !skipped.is_empty() {
        words.push(format!("{} left out", skipped.len()));
    }
    words.join(", ")
}
