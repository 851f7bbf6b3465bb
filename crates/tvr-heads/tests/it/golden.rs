//! Outputs of published code: `shared/data/golden/reference/heads.safetensors`.

use std::path::Path;

use burn::module::Param;
use burn::nn::Linear;
use burn::prelude::*;
use safetensors::SafeTensors;
use tvr_heads::{
    Head, MeanPoolingConfig, SeqLstmConfig, SeqTransf, SeqTransfConfig, TextFeatures, TightTransfConfig,
    Unit, VideoFeatures,
};
use tvr_nn::{Block, LayerNorm};

use crate::common::{assert_close, floats, scores};

mod emcl;
mod pairwise;
mod camoe;
mod experts;

struct Golden(Vec<u8>);

/// The file, or `None` with the reason on stderr.
fn open(name: &str) -> Option<Golden> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data/golden/reference").join(name);
    match std::fs::read(&path) {
        Ok(bytes) => Some(Golden(bytes)),
        Err(error) => {
            eprintln!("skipped: {}: {error}", path.display());
            None
        }
    }
}

impl Golden {
    fn data(&self, key: &str) -> TensorData {
        let file = SafeTensors::deserialize(&self.0).unwrap();
        let view = file.tensor(key).unwrap_or_else(|error| panic!("{key}: {error}"));
        let shape = view.shape().to_vec();
        match view.dtype() {
            safetensors::Dtype::F32 => {
                let bytes = view.data().chunks_exact(4);
                TensorData::new(bytes.map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect(), shape)
            }
            safetensors::Dtype::F64 => {
                let bytes = view.data().chunks_exact(8);
                TensorData::new(bytes.map(|b| f64::from_le_bytes(b.try_into().unwrap())).collect(), shape)
            }
            safetensors::Dtype::I64 => {
                let bytes = view.data().chunks_exact(8);
                TensorData::new(bytes.map(|b| i64::from_le_bytes(b.try_into().unwrap())).collect(), shape)
            }
            other => panic!("{key} is {other:?}"),
        }
    }

    /// In the precision of the file.
    fn tensor<const D: usize>(&self, key: &str) -> Tensor<D> {
        let data = self.data(key);
        let dtype = data.dtype();
        Tensor::from_data(data, (&Device::flex(), dtype))
    }

    fn mask(&self, key: &str) -> Tensor<2, Bool> {
        Tensor::<2, Int>::from_data(self.data(key), &Device::flex()).bool()
    }

    fn scalar(&self, key: &str) -> f64 {
        self.data(key).iter::<f64>().next().unwrap()
    }
}

fn linear(weight: Tensor<2>, bias: Tensor<1>) -> Linear {
    Linear { weight: Param::from_tensor(weight.transpose()), bias: Some(Param::from_tensor(bias)) }
}

fn load_norm(norm: &mut LayerNorm, golden: &Golden, key: &str) {
    norm.gamma = Param::from_tensor(golden.tensor(&format!("{key}.weight")));
    norm.beta = Param::from_tensor(golden.tensor(&format!("{key}.bias")));
}

fn load_blocks(blocks: &mut [Block], golden: &Golden, key: &str) {
    for (index, block) in blocks.iter_mut().enumerate() {
        let key = format!("{key}.resblocks.{index}");
        let weight = golden.tensor::<2>(&format!("{key}.attn.in_proj_weight"));
        let [_, width] = weight.dims();
        let bias = golden.tensor::<1>(&format!("{key}.attn.in_proj_bias"));
        let part = |part: usize| {
            let cut = part * width..(part + 1) * width;
            linear(weight.clone().slice_dim(0, cut.clone()), bias.clone().slice_dim(0, cut))
        };
        let layer = |name: &str| {
            linear(
                golden.tensor(&format!("{key}.{name}.weight")),
                golden.tensor(&format!("{key}.{name}.bias")),
            )
        };
        (block.query, block.key, block.value) = (part(0), part(1), part(2));
        block.output = layer("attn.out_proj");
        block.expand = layer("mlp.c_fc");
        block.contract = layer("mlp.c_proj");
        load_norm(&mut block.attention_norm, golden, &format!("{key}.ln_1"));
        load_norm(&mut block.mlp_norm, golden, &format!("{key}.ln_2"));
    }
}

fn published_seq_transf(golden: &Golden) -> SeqTransf {
    let key = "heads.seqtransf.weights";
    let positions = golden.tensor::<2>(&format!("{key}.frame_position_embeddings"));
    let [max_frames, width] = positions.dims();
    let heads = golden.scalar("heads.seqtransf.heads") as usize;
    let config = SeqTransfConfig { layers: 2, heads, max_frames, ..SeqTransfConfig::reference(width) };
    let mut head = config.init(width, &Device::flex()).unwrap();
    head.positions = Param::from_tensor(positions);
    load_blocks(&mut head.blocks, golden, key);
    head
}

fn inputs(golden: &Golden, group: &str) -> (TextFeatures, VideoFeatures) {
    let frames = golden.tensor(&format!("heads.{group}.frames"));
    let mask = golden.mask(&format!("heads.{group}.mask"));
    (TextFeatures::pooled(golden.tensor("heads.common.texts")), VideoFeatures::new(frames, mask))
}

fn check<H: Head>(golden: &Golden, head: &H, name: &str) {
    let scale = match head.unit() {
        Unit::Cosine => golden.scalar("heads.common.logit_scale").exp(),
        Unit::Logit => 1.0,
    };
    for (group, key) in
        [("common", format!("heads.{name}.logits")), ("padded", format!("heads.padded.{name}.logits"))]
    {
        let (texts, videos) = inputs(golden, group);
        let logits: Vec<f64> = floats(&scores(head, &texts, &videos)).iter().map(|x| x * scale).collect();
        assert_close(&logits, &floats(&golden.tensor::<2>(&key)), 5e-6); // both sides f32, times a scale of 7.4
    }
}

#[test]
fn mean_pooling_is_the_published_mean_p() {
    let Some(golden) = open("heads.safetensors") else { return };
    check(&golden, &MeanPoolingConfig::reference().init(32, &Device::flex()).unwrap(), "meanp");
}

#[test]
fn seq_transf_is_the_published_seq_transf() {
    let Some(golden) = open("heads.safetensors") else { return };
    let head = published_seq_transf(&golden);
    check(&golden, &head, "seqtransf");
    let (_, videos) = inputs(&golden, "common");
    let hidden = floats(&head.contextualise(videos.frames, videos.mask.clone()));
    let expected = floats(&golden.tensor::<3>("heads.seqtransf.hidden"));
    let real: Vec<bool> = videos.mask.into_data().iter::<bool>().collect();
    for frame in (0..real.len()).filter(|&frame| real[frame]) {
        let cut = frame * 32..(frame + 1) * 32;
        assert_close(&hidden[cut.clone()], &expected[cut], 5e-5); // entries up to 17
    }
}

#[test]
fn seq_lstm_is_the_published_seq_lstm() {
    let Some(golden) = open("heads.safetensors") else { return };
    let mut head = SeqLstmConfig::reference().init(32, &Device::flex()).unwrap();
    let layer = |name: &str| {
        let key = |part: &str| format!("heads.seqlstm.weights.{part}_{name}_l0");
        linear(golden.tensor(&key("weight")), golden.tensor(&key("bias")))
    };
    (head.input, head.state) = (layer("ih"), layer("hh"));
    check(&golden, &head, "seqlstm");
}

#[test]
fn tight_transf_is_the_published_tight_transf() {
    let Some(golden) = open("heads.safetensors") else { return };
    let key = "heads.tighttransf.weights";
    let positions = golden.tensor::<2>(&format!("{key}.embeddings.position_embeddings.weight"));
    let max_frames = positions.dims()[0] - 1;
    let config = TightTransfConfig { layers: 2, heads: 4, max_frames, ..TightTransfConfig::reference(32) };
    let mut head = config.init(32, &Device::flex()).unwrap();
    head.positions = Param::from_tensor(positions);
    load_blocks(&mut head.blocks, &golden, &format!("{key}.transformer"));
    let layer = |name: &str| {
        linear(golden.tensor(&format!("{key}.{name}.weight")), golden.tensor(&format!("{key}.{name}.bias")))
    };
    head.pooler = layer("pooler.dense");
    head.output = layer("similarity_dense");
    load_norm(&mut head.norm, &golden, &format!("{key}.pooler.ln_pool"));
    check(&golden, &head, "tighttransf");
}
