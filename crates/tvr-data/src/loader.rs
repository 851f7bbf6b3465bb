//! Batches: which captions and videos a step sees, as a function of seed and step alone.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use crate::error::DataError;
use crate::random::stream;

/// What a step sees. A video with several captions in a batch stands in it once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    /// The pass over the data, from 0.
    pub epoch: u64,
    /// Captions.
    pub texts: Vec<usize>,
    /// Videos, each once.
    pub videos: Vec<usize>,
    /// For each caption the place of its video in `videos`.
    pub text_video: Vec<usize>,
}

/// How captions are drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Draw {
    /// One caption of each video in an epoch.
    OnePerVideo,
    /// Every caption in an epoch.
    All,
}

/// Draws batches. It holds no position: batch `step` is the same whoever asks, and whenever.
#[derive(Debug)]
pub struct Loader {
    captions: Vec<Vec<usize>>,
    batch: usize,
    seed: u64,
    draw: Draw,
    items: usize,
    /// The epoch that was asked for last, with its pairs in their order: the next step is mostly of the same.
    last: Mutex<Option<(u64, Vec<(usize, usize)>)>>,
}

impl Loader {
    /// A loader over videos with their captions.
    ///
    /// # Errors
    /// A batch of 0 or larger than an epoch, or a video without captions.
    pub fn new(captions: Vec<Vec<usize>>, batch: usize, seed: u64, draw: Draw) -> Result<Self, DataError> {
        if let Some(video) = captions.iter().position(Vec::is_empty) {
            let domain = "every video must have a caption; leave this one out".to_string();
            return Err(DataError::Setting { setting: "captions of video", value: video, domain });
        }
        let items = match draw {
            Draw::OnePerVideo => captions.len(),
            Draw::All => captions.iter().map(Vec::len).sum(),
        };
        if batch == 0 || batch > items {
            let domain = format!("it must be from 1 to {items}, the items of an epoch");
            return Err(DataError::Setting { setting: "batch", value: batch, domain });
        }
        Ok(Self { captions, batch, seed, draw, items, last: Mutex::new(None) })
    }

    /// Batches of an epoch; an incomplete last one is dropped.
    pub fn batches(&self) -> usize {
        self.items / self.batch
    }

    /// Batch `step`, counted over all epochs.
    pub fn batch(&self, step: usize) -> Batch {
        let (epoch, place) = ((step / self.batches()) as u64, step % self.batches());
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let known = last.take().filter(|(of, _)| *of == epoch);
        let (_, pairs) = last.insert(known.unwrap_or_else(|| (epoch, self.epoch(epoch))));
        let mut batch = Batch { epoch, texts: Vec::new(), videos: Vec::new(), text_video: Vec::new() };
        let mut places = HashMap::new();
        for &(text, video) in &pairs[place * self.batch..(place + 1) * self.batch] {
            let place = *places.entry(video).or_insert_with(|| {
                batch.videos.push(video);
                batch.videos.len() - 1
            });
            batch.texts.push(text);
            batch.text_video.push(place);
        }
        batch
    }

    /// All pairs of an epoch in their order.
    fn epoch(&self, epoch: u64) -> Vec<(usize, usize)> {
        let mut random = stream(self.seed, "captions", epoch);
        let mut pairs: Vec<(usize, usize)> = match self.draw {
            Draw::OnePerVideo => self
                .captions
                .iter()
                .enumerate()
                .map(|(video, texts)| (texts[random.below(texts.len() as u64) as usize], video))
                .collect(),
            Draw::All => self
                .captions
                .iter()
                .enumerate()
                .flat_map(|(video, texts)| texts.iter().map(move |&text| (text, video)))
                .collect(),
        };
        let mut random = stream(self.seed, "order", epoch);
        for last in (1..pairs.len()).rev() {
            pairs.swap(last, random.below(last as u64 + 1) as usize);
        }
        pairs
    }
}
