//! The built-in heads.

use burn::module::Module;
use burn::prelude::*;
use serde::{Deserialize, Serialize};
use tvr_heads::{
    Head, MeanPooling, MeanPoolingConfig, Needs, SeqLstm, SeqLstmConfig, SeqTransf, SeqTransfConfig,
    Similarity, TextCodes, TextFeatures, TightTransf, TightTransfConfig, Unit, VideoCodes, VideoFeatures,
};

use crate::error::ExperimentError;

/// Features to similarities.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum HeadRecipe {
    /// CLIP4Clip's meanP.
    MeanPooling(MeanPoolingConfig),
    /// CLIP4Clip's seqLSTM.
    SeqLstm(SeqLstmConfig),
    /// CLIP4Clip's seqTransf.
    SeqTransf(SeqTransfConfig),
    /// CLIP4Clip's tightTransf.
    TightTransf(TightTransfConfig),
}

/// A built-in head.
#[derive(Module, Debug)]
pub enum BuiltHead {
    /// CLIP4Clip's meanP.
    MeanPooling(MeanPooling),
    /// CLIP4Clip's seqLSTM.
    SeqLstm(SeqLstm),
    /// CLIP4Clip's seqTransf.
    SeqTransf(SeqTransf),
    /// CLIP4Clip's tightTransf.
    TightTransf(TightTransf),
}

impl HeadRecipe {
    /// Makes the head for features of one width.
    ///
    /// # Errors
    /// The first setting outside its domain.
    pub fn init(&self, width: usize, device: &Device) -> Result<BuiltHead, ExperimentError> {
        let head = match self {
            Self::MeanPooling(config) => config.init(width, device).map(BuiltHead::MeanPooling),
            Self::SeqLstm(config) => config.init(width, device).map(BuiltHead::SeqLstm),
            Self::SeqTransf(config) => config.init(width, device).map(BuiltHead::SeqTransf),
            Self::TightTransf(config) => config.init(width, device).map(BuiltHead::TightTransf),
        };
        head.map_err(|error| ExperimentError::request(format!("[head] {error}")))
    }
}

impl Head for BuiltHead {
    fn needs(&self) -> Needs {
        match self {
            Self::MeanPooling(head) => head.needs(),
            Self::SeqLstm(head) => head.needs(),
            Self::SeqTransf(head) => head.needs(),
            Self::TightTransf(head) => head.needs(),
        }
    }

    fn unit(&self) -> Unit {
        match self {
            Self::MeanPooling(head) => head.unit(),
            Self::SeqLstm(head) => head.unit(),
            Self::SeqTransf(head) => head.unit(),
            Self::TightTransf(head) => head.unit(),
        }
    }

    fn code_videos(&self, videos: VideoFeatures) -> VideoCodes {
        match self {
            Self::MeanPooling(head) => head.code_videos(videos),
            Self::SeqLstm(head) => head.code_videos(videos),
            Self::SeqTransf(head) => head.code_videos(videos),
            Self::TightTransf(head) => head.code_videos(videos),
        }
    }

    fn code_texts(&self, texts: TextFeatures) -> TextCodes {
        match self {
            Self::MeanPooling(head) => head.code_texts(texts),
            Self::SeqLstm(head) => head.code_texts(texts),
            Self::SeqTransf(head) => head.code_texts(texts),
            Self::TightTransf(head) => head.code_texts(texts),
        }
    }

    fn similarity(&self, texts: &TextCodes, videos: &VideoCodes) -> Similarity {
        match self {
            Self::MeanPooling(head) => head.similarity(texts, videos),
            Self::SeqLstm(head) => head.similarity(texts, videos),
            Self::SeqTransf(head) => head.similarity(texts, videos),
            Self::TightTransf(head) => head.similarity(texts, videos),
        }
    }

    fn after_step(&mut self, texts: &TextCodes, videos: &VideoCodes) {
        match self {
            Self::MeanPooling(head) => head.after_step(texts, videos),
            Self::SeqLstm(head) => head.after_step(texts, videos),
            Self::SeqTransf(head) => head.after_step(texts, videos),
            Self::TightTransf(head) => head.after_step(texts, videos),
        }
    }
}
