//! Batches with all that an objective may ask for.

use burn::prelude::*;
use burn::tensor::DType;
use tvr_nn::laws::select_flags;

use super::{Draw, Expected};
use crate::objective::{CaptionTokens, Needs, Pairs, Stream};

/// Numbers row by row.
pub type Rows = Vec<Vec<f64>>;

/// Streams that every batch has.
const STREAMS: [&str; 4] = ["entity", "action", "scene", "fusion"];

/// A batch that has all that an objective may ask for.
#[derive(Clone, Debug)]
pub struct Batch {
    /// `[texts, videos]`
    pub similarity: Tensor<2>,
    /// For every text the index of its video. `[texts]`
    pub same: Tensor<1, Int>,
    /// 1, so that similarities are logits. `[1]`
    pub scale: Tensor<1>,
    /// A text is the row of its similarities. `[texts, width]`
    pub texts: Tensor<2>,
    /// A video is an axis, so that products with texts are the similarities. `[videos, width]`
    pub videos: Tensor<2>,
    /// One to [`Expected::caption_tokens`] tokens each.
    pub captions: CaptionTokens,
    /// From 10. `[videos]`
    pub video_ids: Tensor<1, Int>,
    /// They agree with the whole; the caption called 1 tells of no action.
    pub streams: Vec<Stream>,
}

impl Batch {
    /// A batch of some similarities, `[texts, videos]`. `same` gives each text's video, `names` says which caption each
    /// text is: a batch in another order has the same names in that order.
    pub fn new(similarity: Tensor<2>, same: &[usize], names: &[usize]) -> Self {
        Self::of(similarity, same, names, &Needs::default(), &Expected::PLAIN)
    }

    /// The same, with the streams that an objective needs and in the sizes that its author expects.
    pub fn of(
        similarity: Tensor<2>,
        same: &[usize],
        names: &[usize],
        needs: &Needs,
        expected: &Expected,
    ) -> Self {
        let [texts, videos] = similarity.dims();
        let (device, dtype) = (similarity.device(), similarity.dtype());
        let padding = |rows, columns| Tensor::<2>::zeros([rows, columns], (&device, dtype));
        let width = expected.width.max(videos);
        let rows = Tensor::cat(vec![similarity.clone(), padding(texts, width - videos)], 1);
        let axes = Tensor::<2>::eye(videos, &device).cast(dtype);
        let axes = Tensor::cat(vec![axes, padding(videos, width - videos)], 1);
        Self {
            scale: Tensor::ones([1], (&device, dtype)),
            same: indices(same.iter().copied(), &device),
            captions: captions(names, expected, &device),
            video_ids: indices(10..10 + videos, &device),
            texts: rows,
            videos: axes,
            streams: streams(&similarity, names, needs),
            similarity,
        }
    }

    /// The same texts and videos in another order, each with all that is its own.
    pub fn reordered(&self, texts: &[usize], videos: &[usize]) -> Self {
        let device = self.similarity.device();
        let rows = indices(texts.iter().copied(), &device);
        let columns = indices(videos.iter().copied(), &device);
        let mut places = vec![0; videos.len()];
        for (place, &video) in videos.iter().enumerate() {
            places[video] = place;
        }
        let own: Vec<usize> = self.same.to_data().iter::<i64>().map(|video| video as usize).collect();
        let both = |tensor: &Tensor<2>| tensor.clone().select(0, rows.clone()).select(1, columns.clone());
        let stream = |stream: &Stream| Stream {
            name: stream.name,
            similarity: both(&stream.similarity),
            available: select_flags(&stream.available, 0, texts),
        };
        Self {
            similarity: both(&self.similarity),
            same: indices(texts.iter().map(|&text| places[own[text]]), &device),
            scale: self.scale.clone(),
            texts: self.texts.clone().select(0, rows.clone()),
            videos: self.videos.clone().select(0, columns.clone()),
            captions: CaptionTokens {
                ids: self.captions.ids.clone().select(0, rows.clone()),
                mask: select_flags(&self.captions.mask, 0, texts),
            },
            video_ids: self.video_ids.clone().select(0, columns.clone()),
            streams: self.streams.iter().map(stream).collect(),
        }
    }

    /// What an objective sees of it.
    pub fn pairs(&self) -> Pairs<'_> {
        Pairs {
            texts: Some(&self.texts),
            videos: Some(&self.videos),
            captions: Some(&self.captions),
            video_ids: Some(&self.video_ids),
            streams: &self.streams,
            ..Pairs::new(&self.similarity, self.scale.clone(), &self.same)
        }
    }
}

fn streams(similarity: &Tensor<2>, names: &[usize], needs: &Needs) -> Vec<Stream> {
    let others = needs.streams.iter().copied().filter(|name| !STREAMS.contains(name));
    let stream = |name: &'static str| {
        let available: Vec<bool> = names.iter().map(|&caption| name != "action" || caption != 1).collect();
        let available = TensorData::new(available, [names.len()]);
        let available = Tensor::from_data(available, &similarity.device());
        Stream { name, similarity: similarity.clone(), available }
    };
    STREAMS.into_iter().chain(others).map(stream).collect()
}

/// Captions by name, of one token or more.
fn captions(names: &[usize], expected: &Expected, device: &Device) -> CaptionTokens {
    let (longest, vocabulary) = (expected.caption_tokens.max(1), expected.vocabulary.max(1));
    let length = |name: usize| 1 + name % longest;
    let ids: Vec<i64> = names
        .iter()
        .flat_map(|&name| (0..longest).map(move |at| ((3 * name + 2 * at + at * name) % vocabulary) as i64))
        .collect();
    let mask: Vec<bool> =
        names.iter().flat_map(|&name| (0..longest).map(move |at| at < length(name))).collect();
    let shape = [names.len(), longest];
    CaptionTokens {
        ids: Tensor::from_data(TensorData::new(ids, shape), device),
        mask: Tensor::from_data(TensorData::new(mask, shape), device),
    }
}

/// Numbers in ±`size`. `[rows, columns]`
pub fn scores(draw: &mut Draw, rows: usize, columns: usize, size: f64) -> Rows {
    (0..rows).map(|_| (0..columns).map(|_| size * (2.0 * draw.uniform() - 1.0)).collect()).collect()
}

/// For every text one of the videos; every video has a text where there are enough.
pub fn owners(draw: &mut Draw, texts: usize, videos: usize) -> Vec<usize> {
    let own: Vec<usize> =
        (0..texts).map(|text| if text < videos { text } else { draw.below(videos) }).collect();
    draw.order(texts).into_iter().map(|text| own[text]).collect()
}

/// Rows of one length as a tensor in f64. `[rows, columns]`
pub fn matrix(rows: &Rows, device: &Device) -> Tensor<2> {
    let shape = [rows.len(), rows.first().map_or(0, Vec::len)];
    Tensor::from_data(TensorData::new(rows.concat(), shape), (device, DType::F64))
}

fn indices(values: impl Iterator<Item = usize>, device: &Device) -> Tensor<1, Int> {
    let values: Vec<i64> = values.map(|value| value as i64).collect();
    let count = values.len();
    Tensor::from_data(TensorData::new(values, [count]), device)
}
