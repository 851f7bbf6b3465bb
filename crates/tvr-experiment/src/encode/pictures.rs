//! Pictures to codes: decodes ahead, runs the image tower.

use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Instant;

use burn::prelude::*;
use tvr_clip::{ImageTower, Picture, Preprocessor};
use tvr_data::{Key, Store};

use super::parts::{Kind, Part, Parts};
use super::{Job, Pace};
use crate::error::ExperimentError;
use crate::files;
use crate::progress::Events;

/// Pictures of a part, at least, and fewer than twice as many: a longer video goes on in the next part.
const PART: usize = 512;

/// The same where patches are kept. Of the largest towers (576 patches, 768 wide) they are 113 MB.
const PART_OF_PATCHES: usize = 64;

/// Batches that are ready before the tower wants them.
const AHEAD: usize = 2;

/// A video: its name and its frames in order. A single picture is a video of one frame.
#[derive(Clone, Debug)]
pub(super) struct Video {
    pub id: String,
    pub frames: Vec<Frame>,
    /// Whether it is the rest of the one before it, see [`in_pieces`].
    pub goes_on: bool,
}

/// A frame of a video.
#[derive(Clone, Debug)]
pub(super) enum Frame {
    /// A picture's file.
    File(PathBuf),
    /// One of the frames of a record, resized and cropped.
    Kept {
        /// Where.
        store: Arc<Store>,
        /// The record.
        key: Key,
        /// The frame.
        index: usize,
    },
    /// What stands where a picture might be and cannot be opened, such as a link in a circle: why.
    Lost(String),
}

impl Frame {
    /// Its pixels as the tower takes them.
    fn pixels(&self, preprocessor: &Preprocessor) -> Pixels {
        match self {
            Self::File(path) => match Picture::read(path) {
                Ok(picture) => Ok(preprocessor.normalise(&preprocessor.crop(&picture))),
                Err(error) => Err(error.to_string()),
            },
            Self::Kept { store, key, index } => {
                let lost =
                    || format!("record {key} is no longer in the store; run cargo xtask prepare again");
                let record = store.get(key).map_err(|error| error.to_string())?.ok_or_else(lost)?;
                let side = preprocessor.side();
                let bytes = record.bytes.chunks_exact(3 * side * side).nth(*index).ok_or_else(lost)?;
                let crop =
                    Picture::from_rgb(side, side, bytes.to_vec()).map_err(|error| error.to_string())?;
                Ok(preprocessor.normalise(&crop))
            }
            Self::Lost(reason) => Err(reason.clone()),
        }
    }

    /// What a resumed run compares.
    fn name(&self) -> String {
        match self {
            Self::File(path) => path.to_string_lossy().into_owned(),
            Self::Kept { key, index, .. } => format!("{key} {index}"),
            Self::Lost(reason) => reason.clone(),
        }
    }
}

/// SHA-256 of all names, for a resumed run to compare.
pub(super) fn digest(videos: &[Video]) -> String {
    let mut names = String::new();
    for video in videos {
        names.push_str(&video.id);
        for frame in &video.frames {
            names.push('\n');
            names.push_str(&frame.name());
        }
        names.push('\0');
    }
    files::sha256(names.as_bytes())
}

fn pictures_of_a_part(patches: Option<usize>) -> usize {
    if patches.is_some() { PART_OF_PATCHES } else { PART }
}

/// Videos of more pictures than a part has become several. Each but the last is as long as a part, and so ends one: what
/// goes on is the first of its part.
pub(super) fn in_pieces(videos: Vec<Video>, patches: Option<usize>) -> Vec<Video> {
    let most = pictures_of_a_part(patches);
    let mut pieces = Vec::with_capacity(videos.len());
    for mut video in videos {
        while video.frames.len() > most {
            let rest = video.frames.split_off(most);
            let id = video.id.clone();
            pieces.push(std::mem::replace(&mut video, Video { id, frames: rest, goes_on: true }));
        }
        pieces.push(video);
    }
    pieces
}

/// Runs of whole videos with about [`PART`] or [`PART_OF_PATCHES`] pictures.
pub(super) fn cut(videos: &[Video], patches: Option<usize>) -> Vec<Range<usize>> {
    let most = pictures_of_a_part(patches);
    let (mut parts, mut first, mut pictures) = (Vec::new(), 0, 0);
    for (index, video) in videos.iter().enumerate() {
        pictures += video.frames.len();
        if pictures >= most || index + 1 == videos.len() {
            parts.push(first..index + 1);
            (first, pictures) = (index + 1, 0);
        }
    }
    parts
}

fn pictures_of(videos: &[Video]) -> usize {
    videos.iter().map(|video| video.frames.len()).sum()
}

/// A picture's pixels, or why there are none.
type Pixels = Result<Vec<f32>, String>;

/// The image tower, what it takes, and where it runs.
#[derive(Clone, Copy)]
pub(super) struct Viewer<'a> {
    pub tower: &'a ImageTower,
    pub preprocessor: &'a Preprocessor,
    /// Patches of a frame, where those are wanted and not the class token.
    pub patches: Option<usize>,
    pub device: &'a Device,
}

/// Encodes every part that is not there yet.
pub(super) fn run(
    job: &Job<'_>,
    parts: &Parts,
    viewer: &Viewer<'_>,
    videos: &[Video],
    events: Events<'_>,
) -> Result<(), ExperimentError> {
    let all = cut(videos, viewer.patches).into_iter().map(|range| &videos[range]).enumerate();
    let (there, wanted): (Vec<_>, Vec<_>) = all.partition(|(number, _)| parts.has(Kind::Frames, *number));
    let done = there.iter().map(|(_, videos)| pictures_of(videos)).sum();
    view(job, viewer, &wanted, done, events, &mut |number, part| {
        parts.write(Kind::Frames, number, &part.in_patches(viewer.patches))
    })
}

/// Encodes groups of videos, each with its number, and hands each to `keep` as soon as it is done; a row is all that is
/// kept of a picture. `done` pictures were encoded before.
pub(super) fn view(
    job: &Job<'_>,
    viewer: &Viewer<'_>,
    groups: &[(usize, &[Video])],
    done: usize,
    events: Events<'_>,
    keep: &mut dyn FnMut(usize, Part) -> Result<(), ExperimentError>,
) -> Result<(), ExperimentError> {
    let total = done + groups.iter().map(|(_, videos)| pictures_of(videos)).sum::<usize>();
    let mut pace = Pace::begin(events, "pictures", total, done);
    // Not the pool that multiplies matrices: a picture in it would make a product wait.
    let decoders = rayon::ThreadPoolBuilder::new()
        .build()
        .map_err(|cause| ExperimentError::work(format!("no threads to decode with: {cause}")))?;
    let (batch, preprocessor) = (job.batch, viewer.preprocessor);
    std::thread::scope(|scope| {
        let (sender, receiver) = sync_channel(AHEAD);
        scope.spawn(move || decoders.install(|| decode(groups, batch, preprocessor, &sender)));
        // The receiver is dropped with this closure, and the decoder's next message then ends it.
        groups.iter().try_for_each(|&(number, videos)| {
            keep(number, encode(job, viewer, videos, &receiver, &mut pace)?)
        })
    })?;
    pace.end();
    Ok(())
}

/// Decodes batch after batch, as long as somebody takes them.
fn decode(
    parts: &[(usize, &[Video])],
    batch: usize,
    preprocessor: &Preprocessor,
    sender: &SyncSender<Vec<Pixels>>,
) {
    use rayon::prelude::*;
    for (_, videos) in parts {
        let frames: Vec<&Frame> = videos.iter().flat_map(|video| &video.frames).collect();
        for frames in frames.chunks(batch) {
            let pixels = |frame: &&Frame| frame.pixels(preprocessor);
            if sender.send(frames.par_iter().map(pixels).collect()).is_err() {
                return;
            }
        }
    }
}

/// Codes of one part.
fn encode(
    job: &Job<'_>,
    viewer: &Viewer<'_>,
    videos: &[Video],
    receiver: &Receiver<Vec<Pixels>>,
    pace: &mut Pace<'_, '_>,
) -> Result<Part, ExperimentError> {
    let side = viewer.preprocessor.side();
    let mut part = Part::default();
    let mut good = Vec::with_capacity(pictures_of(videos)); // by picture
    let mut pictures = pictures_of(videos);
    while pictures > 0 {
        job.go_on()?;
        let began = Instant::now();
        let batch =
            receiver.recv().map_err(|_| ExperimentError::work("the decoding of pictures has ended early"))?;
        let count = batch.len();
        pictures -= count;
        let mut pixels = Vec::with_capacity(count * 3 * side * side);
        for picture in batch {
            good.push(picture.is_ok());
            match picture {
                Ok(values) => pixels.extend(values),
                Err(reason) if job.skip_bad => {
                    pace.note(&format!("left out: {reason}"));
                    part.names.skipped.push(reason);
                }
                Err(reason) => {
                    return Err(ExperimentError::work(format!(
                        "{reason}; mend or remove it, or go on with --resume --skip-bad"
                    )));
                }
            }
        }
        let whole = pixels.len() / (3 * side * side);
        if whole > 0 {
            let pixels =
                Tensor::<4>::from_data(TensorData::new(pixels, [whole, 3, side, side]), viewer.device);
            let name = |row: usize| {
                let picture = (good.len() - count..good.len()).filter(|&picture| good[picture]).nth(row);
                let frame = videos.iter().flat_map(|video| &video.frames).nth(picture.unwrap_or_default());
                frame.map_or_else(String::new, Frame::name)
            };
            part.rows.extend(match viewer.patches {
                None => super::values(viewer.tower.encode(pixels), name)?,
                Some(_) => super::values(viewer.tower.encode_patches(pixels.unsqueeze_dim(1)), name)?,
            });
        }
        pace.step(count, began);
    }
    let rows = good.iter().filter(|&&good| good).count();
    part.width = part.rows.len().checked_div(rows).unwrap_or(0);
    part.names.goes_on = videos.first().is_some_and(|video| video.goes_on);
    let mut good = good.into_iter();
    for video in videos {
        let frames = good.by_ref().take(video.frames.len()).filter(|&good| good).count();
        if frames > 0 {
            part.names.ids.push(video.id.clone());
            part.counts.push(frames);
        }
    }
    debug_assert_eq!(part.counts.iter().sum::<usize>(), rows);
    Ok(part)
}
