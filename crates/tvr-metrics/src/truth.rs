//! Which text belongs to which video.

use crate::MetricError;

/// The true pairs: every text has one video, every video has at least one text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Truth {
    /// For each text its video.
    video_of: Vec<usize>,
    /// Texts, video by video, in the order of the texts within a video.
    order: Vec<usize>,
    /// The texts of video `v` are `order[starts[v]..starts[v + 1]]`.
    starts: Vec<usize>,
}

impl Truth {
    /// Text `i` belongs to video `i`: the one-to-one sets.
    pub fn diagonal(items: usize) -> Self {
        Self { video_of: (0..items).collect(), order: (0..items).collect(), starts: (0..=items).collect() }
    }

    /// Text `t` belongs to video `video_of[t]`: several captions per video.
    ///
    /// # Errors
    /// [`MetricError::GroupRange`] or [`MetricError::GroupHole`] names the text or the video that leaves a video
    /// without a text, [`MetricError::NoGroups`] an empty list.
    pub fn groups(video_of: Vec<usize>) -> Result<Self, MetricError> {
        let texts = video_of.len();
        if texts == 0 {
            return Err(MetricError::NoGroups);
        }
        if let Some((text, &video)) = video_of.iter().enumerate().find(|(_, video)| **video >= texts) {
            return Err(MetricError::GroupRange { text, video, texts, last: texts - 1 });
        }
        let videos = video_of.iter().max().map_or(0, |largest| largest + 1);
        let mut starts = vec![0; videos + 1];
        for &video in &video_of {
            starts[video + 1] += 1;
        }
        if let Some(video) = starts[1..].iter().position(|&count| count == 0) {
            return Err(MetricError::GroupHole { video, videos });
        }
        for video in 0..videos {
            starts[video + 1] += starts[video];
        }
        let mut next = starts.clone();
        let mut order = vec![0; texts];
        for (text, &video) in video_of.iter().enumerate() {
            order[next[video]] = text;
            next[video] += 1;
        }
        Ok(Self { video_of, order, starts })
    }

    /// Number of texts.
    pub fn texts(&self) -> usize {
        self.video_of.len()
    }

    /// Number of videos.
    pub fn videos(&self) -> usize {
        self.starts.len() - 1
    }

    /// The video of each text.
    pub fn video_of(&self) -> &[usize] {
        &self.video_of
    }

    /// The texts of a video, ascending. The video must be below [`Truth::videos`].
    pub fn texts_of(&self, video: usize) -> &[usize] {
        &self.order[self.starts[video]..self.starts[video + 1]]
    }

    /// Whether every video has exactly one text, so that both V2T rules are one.
    pub fn is_one_to_one(&self) -> bool {
        self.texts() == self.videos()
    }

    /// The texts of a range of videos, video by video.
    pub(crate) fn texts_of_range(&self, videos: std::ops::Range<usize>) -> &[usize] {
        &self.order[self.starts[videos.start]..self.starts[videos.end]]
    }

    /// All texts, video by video.
    pub(crate) fn order(&self) -> &[usize] {
        &self.order
    }
}
