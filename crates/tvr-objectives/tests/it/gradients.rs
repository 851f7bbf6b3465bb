//! Central differences in f64.

use burn::prelude::*;
use tvr_objectives::{DualSoftmaxConfig, NclConfig, Objective, Pairs, SymmetricConfig};

use crate::common::{Draw, floats, gradient, indices, loss, matrix, scale};

fn check<O: Objective>(objective: O) {
    for seed in 0..4 {
        let mut draw = Draw::new(seed);
        let (texts, videos) = (2 + draw.below(5), 2 + draw.below(5));
        let (logits, same) = (draw.scores(texts, videos, 5.0), draw.same(texts, videos));
        let found = gradient(&objective, &logits, &same);
        let step = 1e-5;
        for text in 0..texts {
            for video in 0..videos {
                let moved = |by: f64| {
                    let mut logits = logits.clone();
                    logits[text][video] += by;
                    loss(&objective, &logits, &same)
                };
                let slope = (moved(step) - moved(-step)) / (2.0 * step);
                let gradient = found[text * videos + video];
                let tolerance = 1e-6 * slope.abs().max(1.0);
                assert!(
                    (slope - gradient).abs() <= tolerance,
                    "[{text}, {video}]: {gradient} is not {slope}"
                );
            }
        }
        check_scale(&objective, &logits, &same);
    }
}

fn check_scale<O: Objective>(objective: &O, cosines: &Vec<Vec<f64>>, same: &[usize]) {
    let same = indices(same);
    let leaf = Tensor::from_inner(scale(1.3)).require_grad();
    let similarity = Tensor::from_inner(matrix(cosines));
    let total = objective.clone().train().loss(&Pairs::new(&similarity, leaf.clone(), &same)).total;
    let found = floats(&leaf.grad(&total.backward()).unwrap())[0];
    let similarity = matrix(cosines);
    let value =
        |at: f64| objective.loss(&Pairs::new(&similarity, scale(at), &same)).total.into_scalar::<f64>();
    let slope = (value(1.3 + 1e-5) - value(1.3 - 1e-5)) / 2e-5;
    assert!((slope - found).abs() <= 1e-6 * slope.abs().max(1.0), "scale: {found} is not {slope}");
}

#[test]
fn symmetric_has_the_gradient_of_its_value() {
    check(SymmetricConfig::ours().init().unwrap());
}

#[test]
fn dual_softmax_has_the_gradient_of_its_value() {
    let positives = tvr_objectives::Positives::Same;
    for config in
        [DualSoftmaxConfig::paper(), DualSoftmaxConfig { positives, ..DualSoftmaxConfig::reference() }]
    {
        check(config.init().unwrap());
    }
}

#[test]
fn p_nc_11_ncl_has_the_gradient_of_its_value() {
    check(NclConfig::reference().init(1, &Device::flex()).unwrap());
}
