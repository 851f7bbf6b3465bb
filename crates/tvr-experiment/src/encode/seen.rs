//! What is looked at: pictures of files, or frames of a store.

use std::sync::atomic::AtomicBool;

use super::feature_file::Side;
use super::folder::{self, Grouped};
use super::kept::Encoder;
use super::listed::Listed;
use super::parts::{Kind, Parts};
use super::pictures::{self, Video};
use super::told::Told;
use super::{Job, Pictures, Request};
use crate::error::ExperimentError;
use crate::progress::Events;

/// The items of a request.
#[derive(Debug)]
pub(super) enum Seen {
    /// Pictures of files, or a shard of them; and the SHA-256 of the names of all.
    Files(Vec<Video>, String),
    /// Frames of a store.
    Kept(Box<Listed>),
}

impl Seen {
    /// Lists what is asked for; videos of a list are decoded first.
    ///
    /// # Errors
    /// As [`folder::list`] and [`Listed::open`].
    pub fn open(
        pictures: &Pictures,
        request: &Request,
        encoder: &Encoder<'_>,
        stop: &AtomicBool,
        events: Events<'_>,
    ) -> Result<Self, ExperimentError> {
        let files = |folder, grouped| {
            folder::list(folder, grouped, request.shard).map(|(videos, names)| Self::Files(videos, names))
        };
        match pictures {
            Pictures::Images(folder) => files(folder, Grouped::Alone),
            Pictures::Frames(folder) => files(folder, Grouped::ByFolder),
            Pictures::Videos { manifest, store, sampler } => {
                let listed = Listed::open((manifest, store, *sampler), request, encoder, stop, events)?;
                Ok(Self::Kept(Box::new(listed)))
            }
        }
    }

    /// What a list says of its videos, if it says anything; of those of a shard that may be nothing.
    pub fn told(&self) -> Option<Told> {
        match self {
            Self::Files(..) => None,
            Self::Kept(listed) => listed.has_captions.then(|| Told::of(&listed.path, &listed.entries)),
        }
    }

    /// SHA-256 of all names, for a resumed run to compare.
    pub fn digest(&self) -> String {
        match self {
            Self::Files(videos, _) => pictures::digest(videos),
            Self::Kept(listed) => listed.digest(),
        }
    }

    /// SHA-256 of what shards share out: the same in each of them.
    pub fn collection(&self) -> &str {
        match self {
            Self::Files(_, names) => names,
            Self::Kept(listed) => &listed.list,
        }
    }

    /// Encodes what is not encoded yet: files into parts, frames of a store into the store.
    ///
    /// # Errors
    /// What a picture says, unless bad ones are skipped; a file that cannot be written; a wish to stop.
    pub fn encode<'a>(
        self,
        job: &Job<'_>,
        parts: &'a Parts,
        encoder: &Encoder<'_>,
        events: Events<'_>,
    ) -> Result<Box<dyn Side + 'a>, ExperimentError> {
        let videos = match self {
            Self::Kept(listed) => return Ok(Box::new(listed.encode(encoder, job.stop, events)?)),
            Self::Files(videos, _) => videos,
        };
        let tower = encoder
            .checkpoint
            .load_image(encoder.device, encoder.precision)
            .map_err(ExperimentError::because)?;
        let viewer = encoder.viewer(&tower)?;
        let videos = pictures::in_pieces(videos, viewer.patches);
        pictures::run(job, parts, &viewer, &videos, events)?;
        Ok(Box::new((parts, Kind::Frames)))
    }
}
