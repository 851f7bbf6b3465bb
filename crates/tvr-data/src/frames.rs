//! Pictures of a clip: from a video file, an animation, a folder of frames or one image.
//!
//! What a file is says its content, never its name: somebody's `clip.mp4` may be a GIF. GIF, WebP, PNG and JPEG are
//! read here ([`animation`], [`image`], [`folder`]), single ones by the same rules as `encode --images` ([`tvr_picture`]:
//! alpha is laid on white, a JPEG without its end is none); everything else goes to the programs of FFmpeg ([`ffmpeg`]),
//! and so do several JPEGs in one file, unless it is named as a picture: photographs may carry others behind them, and by
//! such a name FFmpeg reads the first alone.
//!
//! Frames are decoded forward from the start, in the order in which they are shown, and counted as they come out:
//! containers err about their number, and files without times (H.264 in AVI) cannot be entered in the middle.
//!
//! A damaged file gives what can be decoded and says that it is [`Verdict::Partial`]; a file that gives nothing is a
//! [`Fault`] with a name. No picture is ever made up.

pub mod animation;
pub mod ffmpeg;
pub mod folder;
pub mod image;
mod packets;
mod pictures;
mod process;
mod promise;

use std::borrow::Cow;
use std::fs::File;
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};
use std::time::Duration;

use ::image::ImageFormat;
use serde::{Deserialize, Serialize};
pub use tvr_picture::Picture;

use crate::error::DataError;
use crate::sampling::Sampler;
use ffmpeg::Ffmpeg;

/// What is done to a picture before it is kept, such as CLIP's resize and crop.
pub trait Finish: Sync {
    /// Part of a store's key: one name stands for one result, bit by bit.
    fn name(&self) -> String;

    /// The finished picture, RGB; what comes in may have alpha (stills and animations: FFmpeg drops a video's).
    fn finish(&self, picture: Picture) -> Picture;
}

/// Pictures stay as they were decoded, transparent ones laid on white.
#[derive(Clone, Copy, Debug)]
pub struct AsDecoded;

impl Finish for AsDecoded {
    fn name(&self) -> String {
        "as decoded".into()
    }

    fn finish(&self, picture: Picture) -> Picture {
        match picture.on_white() {
            Cow::Borrowed(_) => picture,
            Cow::Owned(laid) => laid,
        }
    }
}

/// The chosen pictures of a clip.
#[derive(Clone, Debug, PartialEq)]
pub struct Footage {
    /// The chosen pictures, finished; as many as `indices`.
    pub pictures: Vec<Picture>,
    /// Which frames they are, ascending.
    pub indices: Vec<usize>,
    /// Frames that the clip really has.
    pub total: usize,
    /// Its frames a second.
    pub rate: f64,
    /// Whether something is missing.
    pub verdict: Verdict,
}

/// Whether a clip is all there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// Nothing was complained of.
    Whole,
    /// Something is damaged or missing; what is there was decoded.
    Partial {
        /// The decoder's first complaint.
        reason: String,
    },
}

/// Why a clip gives no picture.
#[derive(Clone, Debug, PartialEq, Eq, Hash, thiserror::Error, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Fault {
    /// There is no such file, or it may not be read, or its links go in a circle.
    #[error("cannot be opened: {reason}")]
    Closed {
        /// The system's word.
        reason: String,
    },
    /// Zero bytes.
    #[error("is empty: 0 bytes")]
    Empty,
    /// A folder in which no picture lies.
    #[error("is a folder without pictures")]
    EmptyFolder,
    /// Neither a video nor an image.
    #[error("cannot be read as a video: {reason}")]
    Unreadable {
        /// The decoder's first complaint.
        reason: String,
    },
    /// Sound or subtitles alone.
    #[error("has no video stream")]
    NoVideo,
    /// A stream that was asked for by its place, and is not among them.
    #[error("has no such video stream: it has {streams}, counted from 0")]
    NoStream {
        /// Video streams that it has.
        streams: usize,
    },
    /// A video of which nothing can be decoded.
    #[error("has a video stream, but no picture of it can be decoded: {reason}")]
    NoPicture {
        /// The decoder's first complaint.
        reason: String,
    },
    /// The time limit for one clip.
    #[error("was not decoded within {seconds} s; raise the limit if the file is sound")]
    TimeLimit {
        /// The limit, seconds.
        seconds: u64,
    },
    /// FFmpeg did not come to its end.
    #[error("was not decoded: FFmpeg was killed, by hand or because memory was short; run again")]
    Killed,
    /// Frames of a folder that cannot lie in one array.
    #[error("has pictures of different sizes: {first} and {other}; give them one size")]
    Sizes {
        /// Width and height of the first.
        first: String,
        /// Another.
        other: String,
    },
}

impl Fault {
    /// A short name to count by.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Closed { .. } => "not there",
            Self::Empty => "empty",
            Self::EmptyFolder => "empty folder",
            Self::Unreadable { .. } => "unreadable",
            Self::NoVideo => "no video stream",
            Self::NoStream { .. } => "no such stream",
            Self::NoPicture { .. } => "no picture",
            Self::TimeLimit { .. } => "time limit",
            Self::Killed => "killed",
            Self::Sizes { .. } => "sizes",
        }
    }

    /// Whether the same bytes would fail again, so that a store may remember it.
    pub fn is_lasting(&self) -> bool {
        !matches!(self, Self::Closed { .. } | Self::TimeLimit { .. } | Self::Killed)
    }
}

/// Where the pictures of a clip come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FrameSource {
    /// A file for FFmpeg; of several video streams the one that a player shows, the largest that moves.
    Video(PathBuf),
    /// One video stream of such a file, by its place among them, from 0: another angle, a smaller copy.
    Stream(PathBuf, usize),
    /// An animated GIF or WebP.
    Animation(PathBuf, ImageFormat),
    /// One image.
    Still(PathBuf),
    /// Images of a folder in natural order: one frame a second, as CLIP4Clip extracts them.
    Folder(Vec<PathBuf>),
}

impl FrameSource {
    /// What lies at a path, by its content.
    ///
    /// # Errors
    /// A path that cannot be opened, an empty file, a folder without pictures.
    pub fn at(path: &Path) -> Result<Self, Fault> {
        let closed = |cause: std::io::Error| Fault::Closed { reason: cause.to_string() };
        let kind = std::fs::metadata(path).map_err(closed)?.file_type();
        if kind.is_dir() {
            return folder::list(path).map(Self::Folder);
        }
        if !kind.is_file() {
            // Opening a pipe would wait for whoever writes into it.
            return Err(Fault::Closed { reason: "it is a pipe or a device, and no file".into() });
        }
        let mut start = Vec::new();
        File::open(path).and_then(|file| file.take(64).read_to_end(&mut start)).map_err(closed)?;
        if start.is_empty() {
            return Err(Fault::Empty);
        }
        if start.starts_with(b"\xff\xd8") && !Picture::is_named_as_one(path) {
            let several = File::open(path).and_then(|file| tvr_picture::is_motion_jpeg(BufReader::new(file)));
            if several.map_err(closed)? {
                return Ok(Self::Video(path.to_path_buf()));
            }
        }
        Ok(match ::image::guess_format(&start).ok().filter(|format| image::FORMATS.contains(format)) {
            Some(format @ ImageFormat::Gif) => Self::Animation(path.to_path_buf(), format),
            Some(format @ ImageFormat::WebP) if animation::webp_moves(&start) => {
                Self::Animation(path.to_path_buf(), format)
            }
            Some(_) => Self::Still(path.to_path_buf()),
            None => Self::Video(path.to_path_buf()),
        })
    }

    /// The files that its pictures lie in.
    pub fn files(&self) -> &[PathBuf] {
        match self {
            Self::Video(path) | Self::Stream(path, _) | Self::Animation(path, _) | Self::Still(path) => {
                std::slice::from_ref(path)
            }
            Self::Folder(files) => files,
        }
    }

    /// Whether FFmpeg is needed.
    pub fn is_video(&self) -> bool {
        matches!(self, Self::Video(_) | Self::Stream(..))
    }
}

/// A video file on its way to FFmpeg.
#[derive(Clone, Copy, Debug)]
struct Wanted<'a> {
    path: &'a Path,
    /// One of its video streams, else the one that a player shows.
    stream: Option<usize>,
    /// For random offsets.
    number: u64,
}

/// Decodes clips.
pub struct Decoder<'a> {
    /// Which frames are taken.
    pub sampler: Sampler,
    /// What is done to them.
    pub finish: &'a dyn Finish,
    /// The time limit for one clip.
    pub limit: Duration,
    /// FFmpeg; needed for video files alone.
    pub ffmpeg: Option<&'a Ffmpeg>,
}

impl Decoder<'_> {
    /// The pictures of some clips, in their order; with each source goes its number for random offsets, such as the
    /// first bytes of its hash. Video files share the start of FFmpeg, which takes as long as ten seconds of a small
    /// video: hand in several (8 to 16) at a time.
    ///
    /// # Errors
    /// FFmpeg that is missing, or cannot be run. What is wrong with a clip is its own [`Fault`].
    pub fn decode(&self, clips: &[(FrameSource, u64)]) -> Result<Vec<Result<Footage, Fault>>, DataError> {
        let mut results: Vec<Option<Result<Footage, Fault>>> = vec![None; clips.len()];
        let mut videos = Vec::new();
        for (place, (source, number)) in clips.iter().enumerate() {
            let mut video = |path, stream| videos.push((place, Wanted { path, stream, number: *number }));
            let footage = match source {
                FrameSource::Video(path) => {
                    video(path.as_path(), None);
                    continue;
                }
                FrameSource::Stream(path, stream) => {
                    video(path.as_path(), Some(*stream));
                    continue;
                }
                FrameSource::Animation(path, format) => animation::decode(path, *format, self, *number),
                FrameSource::Still(path) => image::decode(path, self, *number),
                FrameSource::Folder(files) => folder::decode(files, self, *number),
            };
            results[place] = Some(footage.and_then(Footage::of_one_size));
        }
        if !videos.is_empty() {
            let ffmpeg = self.ffmpeg.ok_or_else(|| Ffmpeg::missing())?;
            let (places, files): (Vec<usize>, Vec<Wanted<'_>>) = videos.into_iter().unzip();
            for (place, footage) in places.into_iter().zip(ffmpeg.decode(&files, self)?) {
                results[place] = Some(footage.and_then(Footage::of_one_size));
            }
        }
        Ok(results.into_iter().flatten().collect())
    }
}

impl Footage {
    /// The chosen frames of a clip of which `frame` hands out any one.
    fn choose(
        total: usize,
        rate: f64,
        verdict: Verdict,
        (decoder, number): (&Decoder<'_>, u64),
        mut frame: impl FnMut(usize) -> Result<Picture, Fault>,
    ) -> Result<Self, Fault> {
        let indices = decoder.sampler.indices(total, rate, number);
        let mut pictures: Vec<Picture> = Vec::with_capacity(indices.len());
        for (place, &index) in indices.iter().enumerate() {
            let picture = match place.checked_sub(1).filter(|&before| indices[before] == index) {
                Some(before) => pictures[before].clone(),
                None => decoder.finish.finish(frame(index)?),
            };
            pictures.push(picture);
        }
        Ok(Self { pictures, indices, total, rate, verdict })
    }

    fn of_one_size(self) -> Result<Self, Fault> {
        let size = |picture: &Picture| [picture.width(), picture.height()];
        let first = self.pictures.first().map_or([0, 0], size);
        match self.pictures.iter().map(size).find(|&other| other != first) {
            None => Ok(self),
            Some(other) => {
                let shown = |size: [usize; 2]| format!("{} x {}", size[0], size[1]);
                Err(Fault::Sizes { first: shown(first), other: shown(other) })
            }
        }
    }
}
