//! CAMoE: a mixture of experts, one for each stream of the caption, under a single gate.
//!
//! ```text
//! h_e = unit(aggregate_e(x, m))                 every expert has its own aggregator, see [`aggregators`]
//! s^e = t_e · h_e                               t_e = the unit vector of the caption's stream e
//! G   = softmax(W x̄ + b)                        one gate, from the video alone, see [`gate`]
//! s   = Σ_e G_e a_e s^e / Σ_e G_e a_e
//! ```
//!
//! | symbol | meaning | shape |
//! |---|---|---|
//! | `x`, `m` | frame features, adapted where asked for, and their mask | `[videos, frames, width]`, `[videos, frames]` |
//! | `t_e` | a stream of the text: its entities, its actions, its scene, all of it | `[texts, width]` |
//! | `G` | shares of the experts | `[videos, experts]` |
//! | `a` | 1, or whether the text has stream `e` | `[texts, experts]` |
//!
//! A stream's vector stands in [`TextStream::pooled`](crate::TextStream): from the same text encoder, either the mean
//! over the states of the stream's words in the whole caption, or these words encoded as a text of their own. Where a
//! text has no such words, `available` is false, and what `pooled` holds there is never read: the caption's own
//! vector takes its place (`missing = "fallback"`), or the stream's weight goes to the others (`"drop"`).
//!
//! Source: Cheng et al. 2021 (CAMoE), arXiv 2109.04290: the streams, the mixture, the single gate. The network was
//! never published; aggregators, gate and fusion are ours.

pub mod aggregators;
pub mod gate;

use burn::prelude::*;
use serde::{Deserialize, Serialize};
use tvr_nn::{Block, masked_mean, unit_rows};

use crate::adapter::{FrameAdapter, FrameAdapterConfig};
use crate::codes::{TextCodes, VideoCodes};
use crate::error::{HeadError, at_least_one};
use crate::features::{TextFeatures, VideoFeatures};
use crate::head::{Head, Needs, Similarity, StreamSimilarity};
use crate::mean_pooling::{adapted, quiet_padding};
use crate::seq_transf::SeqTransfConfig;
use crate::vectors::Vectors;
use aggregators::{Aggregator, AggregatorConfig, SelfAttentionConfig, SqueezeExciteConfig};
use gate::{Gate, weighed};

/// The rows of codes that hold the gate's shares.
const GATE: &str = "gate";

/// What a stream counts for a text that does not have it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Missing {
    /// As much as ever, and the caption stands in for it.
    #[default]
    Fallback,
    /// Nothing; its weight goes to the streams that are there.
    Drop,
}

/// Settings of [`Camoe`]. An expert that is left out takes its stream with it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CamoeConfig {
    /// The expert for who and what is there.
    #[serde(default)]
    pub entity: Option<AggregatorConfig>,
    /// The expert for what they do.
    #[serde(default)]
    pub action: Option<AggregatorConfig>,
    /// The expert for where.
    #[serde(default)]
    pub scene: Option<AggregatorConfig>,
    /// The expert for the whole caption.
    pub fusion: AggregatorConfig,
    /// What a stream counts for a text that does not have it.
    #[serde(default)]
    pub missing: Missing,
    /// What is done to every frame first; nothing by default.
    #[serde(default)]
    pub adapter: Option<FrameAdapterConfig>,
}

impl CamoeConfig {
    /// Four experts (ours): squeeze-excite for entities, self-attention with positions for actions, the mean for
    /// scenes, the temporal transformer for the whole, behind a frame adapter.
    pub fn ours(max_frames: usize) -> Self {
        let fusion = SeqTransfConfig { adapter: None, ..SeqTransfConfig::ours(max_frames) };
        let excite = SqueezeExciteConfig { reduction: 4, over: aggregators::Excites::Frames };
        Self {
            entity: Some(AggregatorConfig::SqueezeExcite(excite)),
            action: Some(AggregatorConfig::SelfAttention(SelfAttentionConfig {
                heads: 4,
                max_frames: Some(max_frames),
            })),
            scene: Some(AggregatorConfig::Mean {}),
            fusion: AggregatorConfig::SeqTransf(fusion),
            missing: Missing::Fallback,
            adapter: Some(FrameAdapterConfig::ours()),
        }
    }

    /// Attention heads of the experts that are temporal transformers.
    pub fn block_heads(&self) -> Vec<usize> {
        let parts = [self.entity.as_ref(), self.action.as_ref(), self.scene.as_ref(), Some(&self.fusion)];
        let heads = |expert: &AggregatorConfig| match expert {
            AggregatorConfig::SeqTransf(config) => Some(config.heads),
            _ => None,
        };
        parts.into_iter().flatten().filter_map(heads).collect()
    }

    /// Checks every setting and makes the head for features of one width.
    ///
    /// # Errors
    /// [`HeadError`] names the first setting outside its domain.
    pub fn init(&self, width: usize, device: &Device) -> Result<Camoe, HeadError> {
        at_least_one("camoe", "width", width)?;
        let adapter = self.adapter.as_ref().map(|adapter| adapter.init(width, device)).transpose()?;
        let experts = [
            ("entity", self.entity.as_ref()),
            ("action", self.action.as_ref()),
            ("scene", self.scene.as_ref()),
            ("fusion", Some(&self.fusion)),
        ];
        let (mut streams, mut aggregators) = (Vec::new(), Vec::new());
        for (name, aggregator) in experts {
            if let Some(aggregator) = aggregator {
                streams.push(name);
                aggregators.push(aggregator.init(width, device)?);
            }
        }
        let gate = Gate::new(width, streams.len(), device);
        Ok(Camoe { adapter, experts: aggregators, gate, streams, missing: self.missing })
    }
}

/// The mixture of experts. Only [`CamoeConfig::init`] makes one.
#[derive(Module, Debug)]
pub struct Camoe {
    /// Applied to every frame first.
    pub adapter: Option<FrameAdapter>,
    /// The experts, in the order of [`Head::streams`]; the last one takes the whole caption.
    pub experts: Vec<Aggregator>,
    /// How much each of them counts.
    pub gate: Gate,
    #[module(skip)]
    streams: Vec<&'static str>,
    #[module(skip)]
    missing: Missing,
}

impl Camoe {
    /// Starts positions and blocks of the experts that are temporal transformers as copies of a text tower's, as the host,
    /// CLIP4Clip, does. The copies are parameters of their own.
    ///
    /// # Errors
    /// [`HeadError::Shape`] where the tower is narrower, wider, shorter or shallower than an expert.
    pub fn start_from_tower(mut self, positions: &Tensor<2>, blocks: &[Block]) -> Result<Self, HeadError> {
        let started = |expert: Aggregator| match expert {
            Aggregator::SeqTransf(head) => {
                head.start_from_tower(positions, blocks).map(Aggregator::SeqTransf)
            }
            other => Ok(other),
        };
        self.experts = self.experts.into_iter().map(started).collect::<Result<_, _>>()?;
        Ok(self)
    }

    /// How much each stream counts for each text. `[texts, experts]`
    fn counts(&self, texts: &TextCodes) -> Tensor<2> {
        let steps = texts.steps();
        let counts = steps.mask.clone().float().cast(steps.features.dtype());
        match self.missing {
            Missing::Fallback => counts.ones_like(),
            Missing::Drop => counts,
        }
    }
}

impl Head for Camoe {
    fn needs(&self) -> Needs {
        let (_, parts) = self.streams.split_last().unwrap_or((&"fusion", &[]));
        let max_frames = self.experts.iter().filter_map(Aggregator::max_frames).min();
        Needs {
            frames: true,
            streams: parts.to_vec(),
            judges_pairs: true,
            max_frames,
            // An aggregator sees time by its positions alone.
            in_time: max_frames.is_some(),
            ..Needs::default()
        }
    }

    fn streams(&self) -> Vec<&'static str> {
        self.streams.clone()
    }

    fn code_videos(&self, videos: VideoFeatures) -> VideoCodes {
        let VideoFeatures { frames, mask, .. } = videos;
        let frames = quiet_padding(adapted(self.adapter.as_ref(), quiet_padding(frames, &mask)), &mask);
        let gate = self.gate.forward(masked_mean(frames.clone(), mask.clone()));
        let experts =
            self.experts.iter().map(|expert| unit_rows(expert.forward(frames.clone(), mask.clone())));
        let experts: Tensor<3> = Tensor::stack(experts.collect(), 1);
        let [n_videos, n_experts, _] = experts.dims();
        let real = Tensor::<2, Int>::ones([n_videos, n_experts], &mask.device()).bool();
        let whole = stream_of(&experts, n_experts - 1);
        VideoCodes::new(whole).with_sequence(experts, real).with_extra(GATE, gate)
    }

    fn code_texts(&self, texts: TextFeatures) -> TextCodes {
        let whole = unit_rows(texts.pooled);
        let (mut vectors, mut available) = (Vec::new(), Vec::new());
        let [n_texts, width] = whole.dims();
        for &name in &self.streams {
            match texts.streams.iter().find(|stream| stream.name == name) {
                Some(stream) => {
                    let absent = stream.available.clone().bool_not().unsqueeze_dim::<2>(1);
                    let absent = absent.expand([n_texts, width]);
                    let vector = unit_rows(stream.pooled.clone().mask_fill(absent.clone(), 0.0));
                    vectors.push(match self.missing {
                        Missing::Fallback => vector.mask_where(absent, whole.clone()),
                        Missing::Drop => vector,
                    });
                    available.push(stream.available.clone().unsqueeze_dim::<2>(1));
                }
                None => {
                    vectors.push(whole.clone());
                    available.push(Tensor::<2, Int>::ones([n_texts, 1], &whole.device()).bool());
                }
            }
        }
        TextCodes::new(whole).with_sequence(Tensor::stack(vectors, 1), Tensor::cat(available, 1))
    }

    fn n_cosines(&self) -> usize {
        self.streams.len()
    }

    fn vectors(&self, texts: &TextCodes, videos: &VideoCodes) -> Vec<Vectors> {
        stream_vectors(texts, videos)
    }

    fn fuse(&self, texts: &TextCodes, videos: &VideoCodes, cosines: Vec<Tensor<2>>) -> Similarity {
        let gate = match videos.extra(GATE) {
            Some(gate) => gate,
            None => unreachable!("codes of another head: they have no gate"),
        };
        let fused = weighed(&self.counts(texts), gate, cosines.clone());
        let [n_texts, _] = texts.steps().mask.dims();
        let streams = self.streams.iter().zip(cosines).enumerate().map(|(place, (&name, similarity))| {
            let available = texts.steps().mask.clone().slice_dim(1, place..place + 1).reshape([n_texts]);
            StreamSimilarity { name, similarity, available }
        });
        Similarity { fused, streams: streams.collect() }
    }

    fn similarity(&self, texts: &TextCodes, videos: &VideoCodes) -> Similarity {
        let cosines = stream_vectors(texts, videos).into_iter().map(Vectors::product);
        self.fuse(texts, videos, cosines.collect())
    }
}

/// One stream's vectors. `[items, streams, width]` to `[items, width]`
fn stream_of(features: &Tensor<3>, stream: usize) -> Tensor<2> {
    let [items, _, width] = features.dims();
    features.clone().slice_dim(1, stream..stream + 1).reshape([items, width])
}

/// Every stream's vectors on both sides, unit rows or zeros.
pub(crate) fn stream_vectors(texts: &TextCodes, videos: &VideoCodes) -> Vec<Vectors> {
    let (texts, videos) = (&texts.steps().features, &videos.steps().features);
    let [_, streams, _] = texts.dims();
    (0..streams)
        .map(|stream| Vectors::of_items(stream_of(texts, stream), stream_of(videos, stream)))
        .collect()
}
