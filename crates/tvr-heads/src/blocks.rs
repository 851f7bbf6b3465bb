//! Residual blocks of the temporal heads: made, or started as copies of a text tower's.

use burn::module::Param;
use burn::nn::Linear;
use burn::prelude::*;
use tvr_nn::{Activation, Block, BlockConfig, LayerNorm};

use crate::error::HeadError;

/// CLIP's blocks at one width, four times that width inside.
pub(crate) fn make(
    head: &'static str,
    layers: usize,
    width: usize,
    heads: usize,
    epsilon: f64,
    device: &Device,
) -> Result<Vec<Block>, HeadError> {
    if !(epsilon.is_finite() && epsilon > 0.0) {
        return Err(HeadError::Setting {
            head,
            setting: "epsilon",
            value: epsilon,
            domain: "a number above 0",
        });
    }
    let config = BlockConfig {
        width,
        heads,
        hidden: 4 * width,
        layer_norm_epsilon: epsilon,
        activation: Activation::QuickGelu,
    };
    let blocks = (0..layers).map(|_| config.init(layers, device)).collect::<Result<Vec<_>, _>>();
    blocks.map_err(|cause| HeadError::Block { head, cause })
}

/// Copies a tower's first positions and first blocks, as CLIP4Clip does, with their activation. Norms keep their own epsilon.
pub(crate) fn start_from_tower(
    positions: &mut Param<Tensor<2>>,
    blocks: &mut [Block],
    tower_positions: &Tensor<2>,
    tower_blocks: &[Block],
) -> Result<(), HeadError> {
    let [n_positions, width] = positions.val().dims();
    let [found, tower_width] = tower_positions.dims();
    let shape = |what, expected: Vec<usize>, found: Vec<usize>| HeadError::Shape { what, expected, found };
    if found < n_positions || tower_width != width {
        let (needed, found) = (vec![n_positions, width], vec![found, tower_width]);
        return Err(shape("the table of the tower's positions", needed, found));
    }
    if tower_blocks.len() < blocks.len() {
        return Err(shape("the depth of the tower", vec![blocks.len()], vec![tower_blocks.len()]));
    }
    for (block, tower) in blocks.iter_mut().zip(tower_blocks) {
        let (ours, theirs) = (block.expand.weight.val().dims(), tower.expand.weight.val().dims());
        if ours != theirs {
            return Err(shape("the perceptron of a tower's block", ours.to_vec(), theirs.to_vec()));
        }
        block.set_activation(tower.activation());
        copy_norm(&mut block.attention_norm, &tower.attention_norm);
        copy_norm(&mut block.mlp_norm, &tower.mlp_norm);
        for (ours, theirs) in [
            (&mut block.query, &tower.query),
            (&mut block.key, &tower.key),
            (&mut block.value, &tower.value),
            (&mut block.output, &tower.output),
            (&mut block.expand, &tower.expand),
            (&mut block.contract, &tower.contract),
        ] {
            *ours = Linear { weight: copy(&theirs.weight), bias: theirs.bias.as_ref().map(copy) };
        }
    }
    // A parameter is a leaf, on a device with gradients too.
    *positions = Param::from_tensor(tower_positions.clone().slice_dim(0, 0..n_positions).detach());
    Ok(())
}

/// A parameter of its own with the same value: one that shared its id would share its gradient too.
fn copy<const D: usize>(param: &Param<Tensor<D>>) -> Param<Tensor<D>> {
    Param::from_tensor(param.val().detach())
}

fn copy_norm(ours: &mut LayerNorm, theirs: &LayerNorm) {
    ours.gamma = copy(&theirs.gamma);
    ours.beta = copy(&theirs.beta);
}
