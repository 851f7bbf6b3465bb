//! Every legal encoder, head and objective take steps together; every illegal meeting is refused, with its reason.

mod normalisers;

use burn::module::Param;
use burn::nn;
use burn::optim::AdamWConfig;
use burn::prelude::*;
use tvr_clip::ClipConfig;
use tvr_experiment::corpus::streams::{self, Parts};
use tvr_experiment::corpus::{Corpus, ExpertRows, FrameRows, StreamTexts, Texts};
use tvr_experiment::model::{Model, TextEncoder, VideoEncoder};
use tvr_experiment::recipe::{FrameTokens, HeadKind, HeadRecipe, ObjectiveRecipe, StreamsRecipe, TermRecipe};
use tvr_experiment::step::{Batch, after_step, gradients};
use tvr_experiment::{Offer, Recipe};
use tvr_heads::camoe::aggregators::AggregatorConfig;
use tvr_heads::emcl::Detach;
use tvr_heads::experts::mmt::TransformerConfig;
use tvr_heads::experts::{ExpertInput, Mixing};
use tvr_heads::{
    CamoeConfig, ConditionedConfig, EmclConfig, ExpertsConfig, FrameAdapterConfig, MeanPoolingConfig,
    SeqLstmConfig, SeqTransfConfig, TightTransfConfig, TokenWiseConfig, XPoolConfig,
};
use tvr_objectives::{
    DecoderConfig, DualSoftmaxConfig, HingeConfig, NclConfig, StreamsConfig, SupportSetConfig,
    SymmetricConfig,
};

use crate::step::{flat, way};

const WIDTH: usize = 8;
pub const VIDEOS: usize = 8;
const WORDS: usize = 20;

/// The encoders: what they offer, and data in their form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoder {
    /// Vectors of captions and frames, and two experts.
    Projection,
    /// Words, frames and two experts.
    Words,
    /// Tokens of a tower; frames, and no expert.
    World,
    /// Tokens and pictures of two towers that are trained, and no expert.
    Clip,
    /// The same, and every picture as its patches.
    Patches,
}

pub const ENCODERS: [Encoder; 5] =
    [Encoder::Projection, Encoder::Words, Encoder::World, Encoder::Clip, Encoder::Patches];

/// Side of [`Encoder::Clip`]'s pictures, in two by two patches.
const SIDE: usize = 4;

impl Encoder {
    pub fn corpus(self) -> Corpus {
        let wave = |index: usize, turn: f32| ((index as f32 + 1.0) * turn).sin();
        let bare = crate::step::corpus(VIDEOS);
        let expert = |name: &str, steps: usize| ExpertRows {
            name: name.into(),
            values: (0..VIDEOS * steps * 4).map(|index| wave(index, 0.9)).collect(),
            // The first expert has seen every video, the second is silent about every third.
            mask: (0..VIDEOS * steps).map(|step| steps == 1 || (step / steps) % 3 != 1).collect(),
            steps,
            width: 4,
        };
        let experts = vec![expert("motion", 1), expert("sound", 2)];
        if self == Self::Projection {
            return Corpus { experts, ..bare };
        }
        let tokens: Vec<Vec<u32>> = (0..2 * VIDEOS as u32)
            .map(|text| {
                let words = (0..4 + text % 3).map(|place| 3 + (text * 5 + place * 7) % (WORDS as u32 - 4));
                std::iter::once(0).chain(words).chain([WORDS as u32 - 1]).collect()
            })
            .collect();
        let stream = |(number, name): (usize, &'static str)| StreamTexts {
            name,
            parts: match number {
                0 => Parts::Places((0..tokens.len()).map(|text| vec![1 + (text % 3) as u32]).collect()),
                1 => Parts::Tokens(
                    (0..tokens.len())
                        .map(|t| if t % 4 == 0 { vec![] } else { vec![0, 3 + t as u32, 1] })
                        .collect(),
                ),
                _ => Parts::Whole,
            },
        };
        let streams = streams::names().into_iter().enumerate().map(stream).collect();
        let bare = Corpus { texts: Texts::Tokens(tokens), streams, ..bare };
        match self {
            Self::Words => Corpus { experts, ..bare },
            Self::Projection | Self::World | Self::Clip | Self::Patches => {
                let width = if self.sees_pictures() { 3 * SIDE * SIDE } else { WIDTH };
                let values = (0..VIDEOS * 3 * width).map(|index| wave(index, 0.7)).collect();
                Corpus { frames: FrameRows::Values(values), width, ..bare }
            }
        }
    }

    fn sees_pictures(self) -> bool {
        matches!(self, Self::Clip | Self::Patches)
    }

    pub fn offer(self) -> Offer {
        let experts = vec![("motion".to_string(), 4), ("sound".to_string(), 4)];
        let (train_videos, train_texts) = (VIDEOS, 2 * VIDEOS);
        let counts = Offer { width: WIDTH, frames: 3, train_videos, train_texts, ..Offer::default() };
        let words =
            Offer { tokens: true, streams: streams::names(), vocabulary: Some(WORDS), ..counts.clone() };
        match self {
            Self::Projection => Offer { experts, ..counts },
            Self::Words => Offer { experts, ..words },
            Self::World | Self::Clip => words,
            Self::Patches => Offer { frames: 3 * 4, patches: Some(4), ..words },
        }
    }

    pub fn encoders(self, device: &Device) -> (TextEncoder, VideoEncoder) {
        let linear = |input| nn::LinearConfig::new(input, WIDTH).with_bias(false).init(device);
        let dropout = || nn::DropoutConfig::new(0.0).init();
        let text = |projection| TextEncoder { tower: None, words: None, projection, dropout: dropout() };
        let frame_tokens = if self == Self::Patches { FrameTokens::Patches } else { FrameTokens::Class };
        let video = |projection| VideoEncoder {
            tower: None,
            projection,
            dropout: dropout(),
            unit: false,
            frame_tokens,
        };
        match self {
            Self::Projection => (text(Some(linear(6))), video(Some(linear(5)))),
            Self::Words => {
                let words = Some(nn::EmbeddingConfig::new(WORDS, 6).init(device));
                (TextEncoder { words, ..text(Some(linear(6))) }, video(Some(linear(5))))
            }
            Self::World | Self::Clip | Self::Patches => {
                let mut config = ClipConfig::world(WORDS, 10);
                (config.joint, config.text.width, config.text.layers) = (WIDTH, 8, 1);
                let image = &mut config.image;
                (image.size, image.patch, image.width, image.hidden, image.layers) =
                    (SIDE, SIDE / 2, 8, 16, 1);
                let clip = config.init(device).unwrap();
                let tower = self.sees_pictures().then_some(clip.image);
                (TextEncoder { tower: Some(clip.text), ..text(None) }, VideoEncoder { tower, ..video(None) })
            }
        }
    }

    fn recipe(self) -> Recipe {
        let (data, encoder) = match self {
            Self::Projection => ("kind = \"features\"\npath = \"x\"", "kind = \"projection\"\nwidth = 8"),
            Self::Words => ("kind = \"features\"\npath = \"x\"", "kind = \"words\"\nwidth = 8"),
            Self::World => ("kind = \"world\"", "kind = \"world\""),
            Self::Clip => (
                "kind = \"videos\"\nmanifest = \"x\"",
                "kind = \"clip\"\nweights = \"x\"\nframes = \"trained\"",
            ),
            Self::Patches => (
                "kind = \"videos\"\nmanifest = \"x\"",
                "kind = \"clip\"\nweights = \"x\"\nframes = \"trained\"\nframe_tokens = \"patches\"",
            ),
        };
        let rest = "[head]\nkind = \"mean-pooling\"\n[objective]\nkind = \"symmetric\"\n[train]\nbatch = 4\n\
                    [train.optimizer]\nkind = \"adamw\"\nlearning_rate = 1e-3";
        Recipe::parse(&format!("name = \"x\"\n[data]\n{data}\n[encoder]\n{encoder}\n{rest}")).unwrap()
    }
}

fn experts() -> Vec<ExpertInput> {
    ["motion", "sound"].map(|name| ExpertInput { name: name.into(), width: 4 }).to_vec()
}

/// Every kind of head.
fn kinds() -> Vec<HeadKind> {
    let adapter = Some(FrameAdapterConfig { hidden_factor: 2 });
    let kinds = vec![
        HeadKind::MeanPooling(MeanPoolingConfig::reference()),
        HeadKind::MeanPooling(MeanPoolingConfig { adapter: adapter.clone() }),
        HeadKind::SeqLstm(SeqLstmConfig { adapter }),
        HeadKind::SeqTransf(SeqTransfConfig { heads: 2, ..SeqTransfConfig::ours(3) }),
        HeadKind::TightTransf(TightTransfConfig {
            layers: 1,
            heads: 2,
            max_frames: 3,
            epsilon: 1e-5,
            dropout: 0.1,
        }),
        HeadKind::Conditioned(ConditionedConfig::ours()),
        HeadKind::XPool(XPoolConfig::reference()),
        HeadKind::TokenWise(TokenWiseConfig::ours(2)),
        HeadKind::Camoe(CamoeConfig { fusion: AggregatorConfig::Mean {}, ..CamoeConfig::ours(3) }),
        HeadKind::Experts(ExpertsConfig { width: WIDTH, frames: true, ..ExpertsConfig::ours(experts()) }),
        HeadKind::Experts(ExpertsConfig {
            width: WIDTH,
            mixing: Mixing::Gating {},
            ..ExpertsConfig::ours(experts())
        }),
        HeadKind::Experts(ExpertsConfig {
            width: WIDTH,
            mixing: Mixing::Transformer(TransformerConfig {
                layers: 1,
                heads: 2,
                hidden: 8,
                dropout: 0.0,
                positions: 2,
            }),
            ..ExpertsConfig::ours(experts())
        }),
    ];
    for kind in &kinds {
        // A new head does not compile here until it stands in the list above.
        match kind {
            HeadKind::MeanPooling(_)
            | HeadKind::SeqLstm(_)
            | HeadKind::SeqTransf(_)
            | HeadKind::TightTransf(_)
            | HeadKind::Conditioned(_)
            | HeadKind::XPool(_)
            | HeadKind::TokenWise(_)
            | HeadKind::Camoe(_)
            | HeadKind::Experts(_) => {}
        }
    }
    kinds
}

/// Each by itself, and with EMCL of each kind around it.
pub fn heads() -> Vec<HeadRecipe> {
    let emcl = [
        EmclConfig { bases: 3, ..EmclConfig::reference() },
        // Added to the features: three bases alone leave next to nothing of what tells these items apart.
        EmclConfig { bases: 3, residual: true, detach: Detach::Projection, ..EmclConfig::paper() },
        EmclConfig { bases: 3, ..EmclConfig::global() },
    ];
    let mut heads: Vec<HeadRecipe> = kinds().into_iter().map(HeadRecipe::plain).collect();
    for kind in kinds() {
        heads.extend(emcl.iter().map(|emcl| HeadRecipe { kind: kind.clone(), emcl: Some(emcl.clone()) }));
    }
    heads
}

pub fn objectives() -> Vec<ObjectiveRecipe> {
    let term = |weight, objective| TermRecipe { weight, name: None, objective };
    let decoder = DecoderConfig { layers: 1, width: 8, heads: 2, ..DecoderConfig::ours() };
    let objectives = vec![
        ObjectiveRecipe::Symmetric(SymmetricConfig::ours()),
        ObjectiveRecipe::Symmetric(SymmetricConfig::reference()),
        ObjectiveRecipe::DualSoftmax(DualSoftmaxConfig::paper()),
        ObjectiveRecipe::DualSoftmax(DualSoftmaxConfig::reference()),
        ObjectiveRecipe::Ncl(NclConfig::reference()),
        ObjectiveRecipe::Ncl(NclConfig::with_queue(6)),
        ObjectiveRecipe::Hinge(HingeConfig::paper()),
        ObjectiveRecipe::Hinge(HingeConfig::reference()),
        ObjectiveRecipe::SupportSet(SupportSetConfig { decoder, bank: 3, ..SupportSetConfig::paper() }),
        ObjectiveRecipe::Weighted {
            terms: vec![
                term(1.0, ObjectiveRecipe::Symmetric(SymmetricConfig::ours())),
                term(0.5, ObjectiveRecipe::Hinge(HingeConfig::paper())),
            ],
        },
        ObjectiveRecipe::Streams(StreamsRecipe {
            each: Box::new(ObjectiveRecipe::DualSoftmax(DualSoftmaxConfig::paper())),
            fused: None,
            terms: StreamsConfig::ours(),
        }),
    ];
    for objective in &objectives {
        match objective {
            ObjectiveRecipe::Symmetric(_)
            | ObjectiveRecipe::DualSoftmax(_)
            | ObjectiveRecipe::Ncl(_)
            | ObjectiveRecipe::Hinge(_)
            | ObjectiveRecipe::SupportSet(_)
            | ObjectiveRecipe::Weighted { .. }
            | ObjectiveRecipe::Streams(_) => {}
        }
    }
    objectives
}

/// Why three do not go together, written down by name; `None` where they do.
pub fn reason(encoder: Encoder, head: &HeadRecipe, objective: &ObjectiveRecipe) -> Option<&'static str> {
    let tight = matches!(head.kind, HeadKind::TightTransf(_));
    let token_wise = matches!(head.kind, HeadKind::TokenWise(_));
    if head.emcl.is_some() && (tight || token_wise) {
        return Some("judges pairs by no cosine of two vectors");
    }
    let by_vectors = head.emcl.is_none()
        && matches!(head.kind, HeadKind::MeanPooling(_) | HeadKind::SeqLstm(_) | HeadKind::SeqTransf(_));
    let keeps_vectors = match objective {
        ObjectiveRecipe::Ncl(config) => config.queue > 0,
        ObjectiveRecipe::SupportSet(_) => true,
        _ => false,
    };
    if keeps_vectors && !by_vectors {
        return Some("compares single vectors");
    }
    let camoe = matches!(head.kind, HeadKind::Camoe(_));
    if matches!(objective, ObjectiveRecipe::Streams(_)) && !camoe {
        return Some("needs the stream");
    }
    if token_wise && encoder == Encoder::Projection {
        return Some("needs a vector per token");
    }
    if camoe && encoder == Encoder::Projection {
        return Some("needs the text stream");
    }
    if matches!(head.kind, HeadKind::Experts(_))
        && matches!(encoder, Encoder::World | Encoder::Clip | Encoder::Patches)
    {
        return Some("needs the expert");
    }
    let sees_time =
        matches!(head.kind, HeadKind::SeqLstm(_) | HeadKind::SeqTransf(_) | HeadKind::TightTransf(_));
    // The CAMoE of this list has an expert for actions with positions.
    if encoder == Encoder::Patches && (sees_time || camoe) {
        return Some("have no order in time");
    }
    let tells_captions = matches!(objective, ObjectiveRecipe::SupportSet(_));
    if tells_captions && encoder == Encoder::Projection {
        return Some("needs the words of captions");
    }
    None
}

#[test]
fn every_legal_meeting_takes_steps_and_every_illegal_one_is_refused_with_its_reason() {
    let _alone = crate::run::generator();
    let device = Device::flex();
    let training = device.clone().autodiff();
    // As many texts as videos, pair by pair, so that an objective of the diagonal takes part.
    // Two batches of different videos: a queue leaves the batch's own out.
    let batches = [0, 4].map(|first| Batch {
        texts: [0, 3, 4, 7].map(|text| 2 * first + text).to_vec(),
        videos: (first..first + 4).collect(),
        text_video: vec![0, 1, 2, 3],
        shuffle: None,
    });
    let (mut legal, mut refused) = (0, 0);
    for encoder in ENCODERS {
        let (corpus, offer, recipe) = (encoder.corpus(), encoder.offer(), encoder.recipe());
        for head_recipe in heads() {
            for objective_recipe in objectives() {
                let name = format!("{encoder:?}, {head_recipe:?}, {objective_recipe:?}");
                training.seed(3);
                let found = head_recipe.init(&offer, &training).and_then(|head| {
                    let objective = objective_recipe.init(&offer, &training)?;
                    offer.check(&recipe, &head, &objective)?;
                    Ok((head, objective))
                });
                let (head, objective) = match (reason(encoder, &head_recipe, &objective_recipe), found) {
                    (None, Ok(parts)) => parts,
                    (Some(reason), Err(error)) => {
                        assert!(error.to_string().contains(reason), "{name}: {error}");
                        assert_eq!(error.exit_code(), 2);
                        refused += 1;
                        continue;
                    }
                    (None, Err(error)) => panic!("{name}: {error}"),
                    (Some(reason), Ok(_)) => panic!("{name} should be refused: {reason}"),
                };
                legal += 1;
                let (text, video) = encoder.encoders(&training);
                let logit_scale = Param::from_data([2.0f32], &training);
                let mut model = Model { text, video, head, objective, logit_scale };
                tvr_nn::touch(&model);
                let mut adam = AdamWConfig::new().init();
                // The second step is the first that a queue takes part in. Pieces of 3 and 1.
                for (step, batch) in (0..).zip(&batches) {
                    let (found, judged, seen) =
                        gradients(&model, &corpus, batch, &way(3, &device, step)).unwrap();
                    assert!(judged.loss.is_finite(), "{name}");
                    let values = flat(&model, &found);
                    assert!(values.iter().all(|value| value.is_finite()), "{name}");
                    assert!(values.iter().any(|value| value.abs() > 1e-6), "{name}: no gradient");
                    model = adam.step(1e-3, model, found).clamp_logit_scale();
                    after_step(&mut model, &seen);
                }
            }
        }
    }
    assert_eq!(legal + refused, ENCODERS.len() * heads().len() * objectives().len());
    assert!(refused > 0);
}
