//! Padding, causality, and the block at one position.

use burn::prelude::*;
use burn::tensor::Tolerance;
use proptest::prelude::*;
use tvr_nn::{
    Activation, Block, BlockConfig, attention, log_sum_exp, masked_mean, masked_softmax, sum, unit_rows,
};

use crate::kernels::numbers;

fn block(depth_seed: u64) -> Block {
    let config = BlockConfig {
        width: 12,
        heads: 3,
        hidden: 48,
        layer_norm_epsilon: 1e-5,
        activation: if depth_seed.is_multiple_of(2) { Activation::QuickGelu } else { Activation::Gelu },
    };
    let block = config.init(1, &Device::flex()).unwrap();
    tvr_nn::touch(&block);
    block
}

#[track_caller]
fn assert_close<const D: usize>(found: Tensor<D>, expected: Tensor<D>, tolerance: f64) {
    found
        .into_data()
        .assert_approx_eq::<f32>(&expected.into_data(), Tolerance::rel_abs(tolerance, tolerance));
}

fn first_real(items: usize, tokens: usize, real: usize) -> Tensor<2, Bool> {
    let mask: Vec<bool> = (0..items * tokens).map(|index| index % tokens < real).collect();
    Tensor::from_data(TensorData::new(mask, [items, tokens]), &Device::flex())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn a_linear_layer_is_that_of_burn_whatever_the_leading_axes(
        items in 1usize..4, steps in prop::sample::select(vec![1usize, 2, 5, 31, 32, 64]), inputs in 1usize..7,
    ) {
        let device = Device::flex().autodiff();
        let layer = burn::nn::LinearConfig::new(inputs, 3).init(&device);
        tvr_nn::touch(&layer);
        let x = Tensor::<3>::random([items, steps, inputs], burn::tensor::Distribution::Default, &device);
        let gradients = |of: fn(&burn::nn::Linear, Tensor<3>) -> Tensor<3>| {
            let x = x.clone().require_grad();
            let y = of(&layer, x.clone());
            let gradients = (y.clone() * y.clone()).sum().backward();
            let weight = layer.weight.val();
            (y.inner(), x.grad(&gradients).unwrap(), weight.grad(&gradients).unwrap())
        };
        let ours = gradients(tvr_nn::linear::<3>);
        let burns = gradients(|layer, x| layer.forward(x));
        assert_close(ours.0, burns.0, 1e-5);
        assert_close(ours.1, burns.1, 1e-5);
        assert_close(ours.2, burns.2, 1e-5);
    }

    #[test]
    fn padding_never_changes_a_block(items in 1usize..4, real in 1usize..9, more in 0usize..40, causal: bool, seed: u64) {
        let tokens = real + more;
        let (block, x) = (block(seed), numbers([items, tokens, 12], seed));
        let mask = first_real(items, tokens, real);
        let padded = block.forward(x.clone(), Some(mask), causal).narrow(1, 0, real);
        assert_close(padded, block.forward(x.narrow(1, 0, real), None, causal), 2e-5); // sums of 48 terms, other blocks
    }

    #[test]
    fn one_position_is_that_row_of_the_block(items in 1usize..5, tokens in 1usize..9, causal: bool, seed: u64) {
        let (block, x) = (block(seed), numbers([items, tokens, 12], seed));
        let positions: Vec<i64> = (0..items).map(|item| ((seed >> item) % tokens as u64) as i64).collect();
        let positions = Tensor::<1, Int>::from_data(TensorData::new(positions, [items]), &Device::flex());
        let mask = first_real(items, tokens, tokens.div_ceil(2));
        let rows = tvr_nn::block::rows_at(block.forward(x.clone(), Some(mask.clone()), causal), positions.clone());
        assert_close(block.forward_at(x, positions, Some(mask), causal), rows, 2e-5);
    }

    #[test]
    fn a_causal_block_never_looks_ahead(tokens in 2usize..40, seed: u64) {
        let (block, x) = (block(seed), numbers([2, tokens, 12], seed));
        let seen = 1 + seed as usize % (tokens - 1);
        let other = numbers([2, tokens - seen, 12], seed ^ 1);
        let changed = Tensor::cat(vec![x.clone().narrow(1, 0, seen), other], 1);
        let (x, changed) = (block.forward(x, None, true), block.forward(changed, None, true));
        assert_close(changed.narrow(1, 0, seen), x.narrow(1, 0, seen), 1e-6);
    }

    #[test]
    fn padding_never_changes_a_masked_mean(items in 1usize..4, real in 1usize..9, more in 1usize..9, seed: u64) {
        let x = numbers([items, real, 5], seed);
        let padding = Tensor::full([items, more, 5], f32::NAN, &Device::flex());
        let padded = masked_mean(Tensor::cat(vec![x.clone(), padding], 1), first_real(items, real + more, real));
        assert_close(padded, x.mean_dim(1).reshape([items, 5]), 1e-6);
    }
}

#[test]
fn nothing_real_gives_zeros() {
    let nothing = first_real(2, 3, 0);
    let x = numbers([2, 3, 4], 1);
    assert_close(masked_mean(x.clone(), nothing.clone()), Tensor::zeros([2, 4], &Device::flex()), 0.0);
    assert_close(
        masked_softmax(numbers([2, 3], 2), nothing.clone()),
        Tensor::zeros([2, 3], &Device::flex()),
        0.0,
    );
    let x = x.reshape([2, 1, 3, 4]);
    let out = attention(x.clone(), x.clone(), x, 0.5, false, Some(nothing));
    assert_close(out, Tensor::zeros([2, 1, 3, 4], &Device::flex()), 0.0);
}

#[test]
fn a_zero_row_stays_zero_and_log_sum_exp_stays_finite() {
    let x = Tensor::<2>::from_data([[3.0, 4.0], [0.0, 0.0]], &Device::flex());
    assert_close(unit_rows(x), Tensor::from_data([[0.6, 0.8], [0.0, 0.0]], &Device::flex()), 1e-6);
    let x = Tensor::<2>::from_data([[1e4, 1e4], [-1e4, -1e4]], &Device::flex());
    let expected = Tensor::from_data([[1e4 + 2f32.ln()], [-1e4 + 2f32.ln()]], &Device::flex());
    assert_close(log_sum_exp(x, 1), expected, 1e-6);
}

#[test]
fn a_long_sum_counts_every_value() {
    // Whole rows alone too: 1,024 by 1,024 is a batch that people train with.
    for count in [1, 65_535, 65_536, 65_537, 2 * 65_536, 3 * 65_536 + 17, 1024 * 1024] {
        let x = Tensor::<1>::ones([count], &Device::flex());
        assert_eq!(sum(x).into_scalar::<f32>(), count as f32);
    }
}

#[test]
fn a_block_starts_with_clip_s_deviations() {
    let activation = Activation::QuickGelu;
    let config = BlockConfig { width: 256, heads: 4, hidden: 512, layer_norm_epsilon: 1e-5, activation };
    let block = config.init(3, &Device::flex()).unwrap();
    let (of_width, inside, deep) = (256f64.powf(-0.5), 512f64.powf(-0.5), (6.0 * 256f64).powf(-0.5));
    for (name, layer, expected) in [
        ("query", &block.query, of_width),
        ("key", &block.key, of_width),
        ("value", &block.value, of_width),
        ("output", &block.output, deep),
        ("expand", &block.expand, inside),
        ("contract", &block.contract, deep),
    ] {
        let deviation = layer.weight.val().square().mean().sqrt().into_scalar::<f64>();
        // 65,536 numbers at least: 18 standard errors.
        assert!((deviation / expected - 1.0).abs() < 0.05, "{name}: {deviation} is not {expected}");
        assert!(
            layer.bias.as_ref().unwrap().val().into_data().iter::<f32>().all(|bias| bias == 0.0),
            "{name}"
        );
    }
}

#[test]
fn a_block_refuses_heads_that_do_not_divide_its_width() {
    let activation = Activation::Gelu;
    let config = BlockConfig { width: 10, heads: 3, hidden: 4, layer_norm_epsilon: 1e-5, activation };
    let error = config.init(1, &Device::flex()).unwrap_err();
    assert_eq!(error.to_string(), "block: width = 10 is not a multiple of heads = 3");
}
