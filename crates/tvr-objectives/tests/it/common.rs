//! Batches drawn on the host, and losses of them in f64.

use burn::module::{Module, ModuleMapper, Param};
use burn::prelude::*;
use burn::tensor::DType;
use tvr_objectives::{CaptionTokens, DecoderConfig, Objective, Pairs, Stream};

/// Width of the vectors of a [`Batch`] that has no more videos.
pub const WIDTH: usize = 8;

/// Tokens that captions of a [`Batch`] are made of.
pub const VOCABULARY: usize = 11;

pub type Rows = Vec<Vec<f64>>;

/// Splitmix64, and the normal numbers made of it.
pub struct Draw(u64);

impl Draw {
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x2545_F491_4F6C_DD1D).wrapping_add(1))
    }

    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// In [0, 1).
    pub fn uniform(&mut self) -> f64 {
        (self.bits() >> 11) as f64 / (1u64 << 53) as f64
    }

    pub fn below(&mut self, bound: usize) -> usize {
        (self.bits() % bound as u64) as usize
    }

    /// Scores in ±`size`.
    pub fn scores(&mut self, rows: usize, columns: usize, size: f64) -> Rows {
        (0..rows).map(|_| (0..columns).map(|_| size * (2.0 * self.uniform() - 1.0)).collect()).collect()
    }

    /// Every text with one of the videos; every video has a text where there are enough.
    pub fn same(&mut self, texts: usize, videos: usize) -> Vec<usize> {
        let mut same: Vec<usize> =
            (0..texts).map(|text| if text < videos { text } else { self.below(videos) }).collect();
        same.sort_by_key(|_| self.bits());
        same
    }

    pub fn order(&mut self, items: usize) -> Vec<usize> {
        let mut order: Vec<usize> = (0..items).collect();
        order.sort_by_key(|_| self.bits());
        order
    }
}

pub fn matrix(rows: &Rows) -> Tensor<2> {
    let shape = [rows.len(), rows[0].len()];
    Tensor::from_data(TensorData::new(rows.concat(), shape), (&Device::flex(), DType::F64))
}

pub fn indices(same: &[usize]) -> Tensor<1, Int> {
    let values: Vec<i64> = same.iter().map(|&video| video as i64).collect();
    Tensor::from_data(TensorData::new(values, [same.len()]), &Device::flex())
}

pub fn scale(value: f64) -> Tensor<1> {
    Tensor::from_data(TensorData::new(vec![value], [1]), (&Device::flex(), DType::F64))
}

pub fn floats<const D: usize>(tensor: &Tensor<D>) -> Vec<f64> {
    tensor.to_data().iter::<f64>().collect()
}

pub fn diagonal(items: usize) -> Vec<usize> {
    (0..items).collect()
}

pub fn transposed(rows: &Rows) -> Rows {
    (0..rows[0].len()).map(|column| rows.iter().map(|row| row[column]).collect()).collect()
}

/// A batch with all that an objective may ask for.
pub struct Batch {
    pub similarity: Tensor<2>,
    pub same: Tensor<1, Int>,
    pub scale: Tensor<1>,
    pub texts: Tensor<2>,
    pub videos: Tensor<2>,
    pub captions: CaptionTokens,
    pub video_ids: Tensor<1, Int>,
    pub streams: Vec<Stream>,
}

impl Batch {
    /// Vectors whose products are the similarities: a text is the row of its similarities, a video an axis.
    /// `names` says for each text which caption it is.
    pub fn new(similarity: Tensor<2>, same: &[usize], names: &[usize]) -> Self {
        let [texts, videos] = similarity.dims();
        let (device, dtype) = (similarity.device(), similarity.dtype());
        let padding = |rows, columns| Tensor::<2>::zeros([rows, columns], (&device, dtype));
        let width = WIDTH.max(videos);
        let rows = Tensor::cat(vec![similarity.clone(), padding(texts, width - videos)], 1);
        let axes = Tensor::<2>::eye(videos, &device).cast(dtype);
        let axes = Tensor::cat(vec![axes, padding(videos, width - videos)], 1);
        Self {
            scale: scale(1.0).cast(similarity.dtype()).to_device(&device),
            same: indices(same).to_device(&device),
            captions: captions(names, &device),
            video_ids: indices(&(10..10 + videos).collect::<Vec<_>>()).to_device(&device),
            texts: rows,
            videos: axes,
            streams: streams(&similarity, names),
            similarity,
        }
    }

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

/// Four streams that agree with the whole; the caption called 1 tells of no action.
fn streams(similarity: &Tensor<2>, names: &[usize]) -> Vec<Stream> {
    let stream = |name: &'static str| {
        let available: Vec<bool> = names.iter().map(|&caption| name != "action" || caption != 1).collect();
        let available = TensorData::new(available, [names.len()]);
        let available = Tensor::from_data(available, &similarity.device());
        Stream { name, similarity: similarity.clone(), available }
    };
    ["entity", "action", "scene", "fusion"].map(stream).to_vec()
}

/// Captions of one to five tokens, by name.
pub fn captions(names: &[usize], device: &Device) -> CaptionTokens {
    let longest = 5;
    let length = |name: usize| 1 + name % longest;
    let ids: Vec<i64> = names
        .iter()
        .flat_map(|&name| (0..longest).map(move |at| ((3 * name + 2 * at + at * name) % VOCABULARY) as i64))
        .collect();
    let mask: Vec<bool> =
        names.iter().flat_map(|&name| (0..longest).map(move |at| at < length(name))).collect();
    let shape = [names.len(), longest];
    CaptionTokens {
        ids: Tensor::from_data(TensorData::new(ids, shape), device),
        mask: Tensor::from_data(TensorData::new(mask, shape), device),
    }
}

/// A decoder for captions of a [`Batch`].
pub fn small_decoder() -> DecoderConfig {
    DecoderConfig { layers: 2, width: 8, heads: 2, prefix: 2, max_tokens: 5 }
}

/// The same module in another number type.
pub fn cast<M: Module>(module: &M, dtype: DType) -> M {
    struct Cast(DType);
    impl ModuleMapper for Cast {
        fn map_float<const D: usize>(&mut self, parameter: Param<Tensor<D>>) -> Param<Tensor<D>> {
            parameter.map(|value| value.cast(self.0))
        }
    }
    module.clone().map(&mut Cast(dtype))
}

/// The loss of logits at scale 1, and its parts.
pub fn judged<O: Objective>(
    objective: &O,
    logits: &Rows,
    same: &[usize],
    names: &[usize],
) -> (f64, Vec<f64>) {
    let batch = Batch::new(matrix(logits), same, names);
    batch.pairs().check(&objective.needs()).unwrap();
    let loss = objective.loss(&batch.pairs());
    (loss.total.into_scalar(), loss.parts.into_iter().map(|(_, part)| part.into_scalar()).collect())
}

pub fn loss<O: Objective>(objective: &O, logits: &Rows, same: &[usize]) -> f64 {
    judged(objective, logits, same, &diagonal(same.len())).0
}

pub fn parts<O: Objective>(objective: &O, logits: &Rows, same: &[usize]) -> Vec<f64> {
    judged(objective, logits, same, &diagonal(same.len())).1
}

/// The gradient of that loss with respect to the logits, row by row.
pub fn gradient<O: Objective>(objective: &O, logits: &Rows, same: &[usize]) -> Vec<f64> {
    named_gradient(objective, logits, same, &diagonal(same.len()))
}

pub fn named_gradient<O: Objective>(
    objective: &O,
    logits: &Rows,
    same: &[usize],
    names: &[usize],
) -> Vec<f64> {
    let similarity = Tensor::from_inner(matrix(logits)).require_grad();
    let batch = Batch::new(similarity.clone(), same, names);
    let gradients = objective.clone().train().loss(&batch.pairs()).total.backward();
    floats(&similarity.grad(&gradients).unwrap())
}

#[track_caller]
pub fn assert_close(found: &[f64], expected: &[f64], tolerance: f64) {
    assert_eq!(found.len(), expected.len(), "sizes differ");
    for (place, (&a, &b)) in found.iter().zip(expected).enumerate() {
        // Written so that NaN fails.
        assert!((a - b).abs() <= tolerance, "at {place}: {a} is not within {tolerance} of {b}");
    }
}
