//! The built-in heads, and EMCL around any of them.

use burn::module::Module;
use burn::prelude::*;
use serde::{Deserialize, Serialize};
use tvr_clip::TextTower;
use tvr_heads::{
    Camoe, CamoeConfig, Conditioned, ConditionedConfig, Emcl, EmclConfig, Experts, ExpertsConfig, Head,
    HeadError, MeanPooling, MeanPoolingConfig, Needs, SeqLstm, SeqLstmConfig, SeqTransf, SeqTransfConfig,
    Similarity, TextCodes, TextFeatures, TightTransf, TightTransfConfig, TokenWise, TokenWiseConfig, Unit,
    Vectors, VideoCodes, VideoFeatures, XPool, XPoolConfig,
};

use crate::error::ExperimentError;
use crate::offer::Offer;

/// Features to similarities.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct HeadRecipe {
    /// Which head, and its settings.
    #[serde(flatten)]
    pub kind: HeadKind,
    /// EM between the head's vectors and their cosine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub emcl: Option<EmclConfig>,
}

/// A head by name.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum HeadKind {
    /// CLIP4Clip's meanP.
    MeanPooling(MeanPoolingConfig),
    /// CLIP4Clip's seqLSTM.
    SeqLstm(SeqLstmConfig),
    /// CLIP4Clip's seqTransf.
    SeqTransf(SeqTransfConfig),
    /// CLIP4Clip's tightTransf.
    TightTransf(TightTransfConfig),
    /// EMCL-Net's text-conditioned pooling.
    Conditioned(ConditionedConfig),
    /// X-Pool.
    #[serde(rename = "xpool")]
    XPool(XPoolConfig),
    /// DRL's token-wise interaction, weighted or not.
    TokenWise(TokenWiseConfig),
    /// CAMoE's mixture of experts.
    Camoe(CamoeConfig),
    /// A host of feature experts.
    Experts(ExpertsConfig),
}

/// A built-in head with nothing around it.
#[derive(Module, Debug)]
pub enum PlainHead {
    /// CLIP4Clip's meanP.
    MeanPooling(MeanPooling),
    /// CLIP4Clip's seqLSTM.
    SeqLstm(SeqLstm),
    /// CLIP4Clip's seqTransf.
    SeqTransf(SeqTransf),
    /// CLIP4Clip's tightTransf.
    TightTransf(TightTransf),
    /// EMCL-Net's text-conditioned pooling.
    Conditioned(Conditioned),
    /// X-Pool.
    XPool(XPool),
    /// DRL's token-wise interaction.
    TokenWise(TokenWise),
    /// CAMoE's mixture of experts.
    Camoe(Camoe),
    /// A host of feature experts.
    Experts(Experts),
}

/// What a recipe's `[head]` builds.
#[derive(Module, Debug)]
pub enum BuiltHead {
    /// The head alone.
    Plain(PlainHead),
    /// EMCL around it.
    Emcl(Emcl<PlainHead>),
}

impl HeadRecipe {
    /// A head with nothing around it.
    pub fn plain(kind: HeadKind) -> Self {
        Self { kind, emcl: None }
    }

    /// Makes the head for what data and encoder offer.
    ///
    /// # Errors
    /// The first setting outside its domain.
    pub fn init(&self, offer: &Offer, device: &Device) -> Result<BuiltHead, ExperimentError> {
        self.wrapped(self.kind.init(offer.width, device).map_err(wrong)?, offer, device)
    }

    /// As [`init`](Self::init), with positions and blocks of every temporal transformer as copies of a text tower's, as
    /// CLIP4Clip does; what else a head has starts as it always does.
    ///
    /// # Errors
    /// As [`init`](Self::init), or a tower of other sizes.
    pub fn init_from_tower(
        &self,
        offer: &Offer,
        tower: &TextTower,
        device: &Device,
    ) -> Result<BuiltHead, ExperimentError> {
        let (positions, blocks) = (tower.positions.val(), &tower.blocks);
        let head = match self.kind.init(offer.width, device).map_err(wrong)? {
            PlainHead::SeqTransf(head) => head.start_from_tower(&positions, blocks).map(PlainHead::SeqTransf),
            PlainHead::TightTransf(head) => {
                head.start_from_tower(&positions, blocks).map(PlainHead::TightTransf)
            }
            PlainHead::Conditioned(head) => {
                head.start_from_tower(&positions, blocks).map(PlainHead::Conditioned)
            }
            PlainHead::TokenWise(head) => head.start_from_tower(&positions, blocks).map(PlainHead::TokenWise),
            PlainHead::Camoe(head) => head.start_from_tower(&positions, blocks).map(PlainHead::Camoe),
            head => Ok(head),
        };
        let way_out = "encoder.start_from_tower = false starts it at random";
        let head = head.map_err(|error| ExperimentError::request(format!("[head] {error}; {way_out}")))?;
        self.wrapped(head, offer, device)
    }

    /// Attention heads of the temporal transformers that can start as a text tower's, one number for each.
    pub fn block_heads(&self) -> Vec<usize> {
        let temporal = |config: &Option<SeqTransfConfig>| config.iter().map(|config| config.heads).collect();
        match &self.kind {
            HeadKind::SeqTransf(config) => vec![config.heads],
            HeadKind::TightTransf(config) => vec![config.heads],
            HeadKind::Conditioned(config) => temporal(&config.temporal),
            HeadKind::TokenWise(config) => temporal(&config.temporal),
            HeadKind::Camoe(config) => config.block_heads(),
            HeadKind::MeanPooling(_) | HeadKind::SeqLstm(_) | HeadKind::XPool(_) | HeadKind::Experts(_) => {
                Vec::new()
            }
        }
    }

    fn wrapped(&self, head: PlainHead, offer: &Offer, device: &Device) -> Result<BuiltHead, ExperimentError> {
        let Some(config) = &self.emcl else { return Ok(BuiltHead::Plain(head)) };
        let width = self.kind.vector_width(offer.width);
        config.init(head, width, device).map(BuiltHead::Emcl).map_err(wrong)
    }
}

fn wrong(error: HeadError) -> ExperimentError {
    ExperimentError::request(format!("[head] {error}"))
}

impl HeadKind {
    /// Width of the vectors whose cosines a head is made of, given that of the features.
    fn vector_width(&self, width: usize) -> usize {
        match self {
            Self::Experts(config) => config.width,
            _ => width,
        }
    }

    fn init(&self, width: usize, device: &Device) -> Result<PlainHead, HeadError> {
        match self {
            Self::MeanPooling(config) => config.init(width, device).map(PlainHead::MeanPooling),
            Self::SeqLstm(config) => config.init(width, device).map(PlainHead::SeqLstm),
            Self::SeqTransf(config) => config.init(width, device).map(PlainHead::SeqTransf),
            Self::TightTransf(config) => config.init(width, device).map(PlainHead::TightTransf),
            Self::Conditioned(config) => config.init(width, device).map(PlainHead::Conditioned),
            Self::XPool(config) => config.init(width, device).map(PlainHead::XPool),
            Self::TokenWise(config) => config.init(width, device).map(PlainHead::TokenWise),
            Self::Camoe(config) => config.init(width, device).map(PlainHead::Camoe),
            Self::Experts(config) => config.init(width, device).map(PlainHead::Experts),
        }
    }
}

/// A head that is one of several heads, and does what that one does.
macro_rules! one_of {
    ($several:ident: $($variant:ident),+) => {
        impl Head for $several {
            fn needs(&self) -> Needs {
                match self { $(Self::$variant(head) => head.needs()),+ }
            }

            fn unit(&self) -> Unit {
                match self { $(Self::$variant(head) => head.unit()),+ }
            }

            fn streams(&self) -> Vec<&'static str> {
                match self { $(Self::$variant(head) => head.streams()),+ }
            }

            fn code_videos(&self, videos: VideoFeatures) -> VideoCodes {
                match self { $(Self::$variant(head) => head.code_videos(videos)),+ }
            }

            fn code_texts(&self, texts: TextFeatures) -> TextCodes {
                match self { $(Self::$variant(head) => head.code_texts(texts)),+ }
            }

            fn n_cosines(&self) -> usize {
                match self { $(Self::$variant(head) => head.n_cosines()),+ }
            }

            fn vectors(&self, texts: &TextCodes, videos: &VideoCodes) -> Vec<Vectors> {
                match self { $(Self::$variant(head) => head.vectors(texts, videos)),+ }
            }

            fn fuse(&self, texts: &TextCodes, videos: &VideoCodes, cosines: Vec<Tensor<2>>) -> Similarity {
                match self { $(Self::$variant(head) => head.fuse(texts, videos, cosines)),+ }
            }

            fn similarity(&self, texts: &TextCodes, videos: &VideoCodes) -> Similarity {
                match self { $(Self::$variant(head) => head.similarity(texts, videos)),+ }
            }

            fn after_step(&mut self, texts: &TextCodes, videos: &VideoCodes) {
                match self { $(Self::$variant(head) => head.after_step(texts, videos)),+ }
            }

            fn effective_ranks(&self, texts: &TextCodes, videos: &VideoCodes) -> Option<[f64; 2]> {
                match self { $(Self::$variant(head) => head.effective_ranks(texts, videos)),+ }
            }
        }
    };
}

one_of!(PlainHead: MeanPooling, SeqLstm, SeqTransf, TightTransf, Conditioned, XPool, TokenWise, Camoe, Experts);
one_of!(BuiltHead: Plain, Emcl);
