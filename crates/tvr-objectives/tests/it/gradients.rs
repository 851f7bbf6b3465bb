//! Central differences in f64.

use burn::prelude::*;
use tvr_objectives::{
    DualSoftmaxConfig, HingeConfig, NclConfig, Negatives, Objective, Pairs, Shares, Support,
    SupportSetConfig, SymmetricConfig,
};

use crate::common::{
    Batch, Draw, VOCABULARY, WIDTH, cast, diagonal, floats, gradient, loss, matrix, scale, small_decoder,
};

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
    let leaf = Tensor::from_inner(scale(1.3)).require_grad();
    let batch = |similarity| Batch::new(similarity, same, &diagonal(same.len()));
    let lifted = batch(Tensor::from_inner(matrix(cosines)));
    let pairs = Pairs { scale: leaf.clone(), ..lifted.pairs() };
    let total = objective.clone().train().loss(&pairs).total;
    // Where the scale takes no part there may be nothing to go back through.
    let found = if total.is_tracked() {
        leaf.grad(&total.backward()).map_or(0.0, |slope| floats(&slope)[0])
    } else {
        0.0
    };
    let plain = batch(matrix(cosines));
    let value =
        |at: f64| objective.loss(&Pairs { scale: scale(at), ..plain.pairs() }).total.into_scalar::<f64>();
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

#[test]
fn p_nc_11_ncl_with_the_targets_marginals_has_the_gradient_of_its_value() {
    check(
        NclConfig { marginals: Shares::Targets, ..NclConfig::reference() }.init(1, &Device::flex()).unwrap(),
    );
}

#[test]
fn hinge_has_the_gradient_of_its_value() {
    for negatives in [Negatives::Hardest, Negatives::All] {
        for same_axis in [false, true] {
            check(HingeConfig { margin: 0.7, negatives, same_axis, ..HingeConfig::paper() }.init().unwrap());
        }
    }
}

/// Through the weights into the texts, whose vectors are the rows of the similarities.
#[test]
fn support_set_has_the_gradient_of_its_value() {
    let device = Device::flex();
    for support in [Support::Full, Support::Hybrid, Support::Cross] {
        let config = SupportSetConfig {
            support,
            temperature: 0.5,
            decoder: small_decoder(),
            ..SupportSetConfig::paper()
        };
        let alone = crate::generator();
        device.seed(3);
        let objective = config.init(WIDTH, VOCABULARY, &device).unwrap();
        tvr_nn::touch(&objective);
        drop(alone);
        check(cast(&objective, burn::tensor::DType::F64));
    }
}

/// By every weight of the decoder.
#[test]
fn the_decoder_has_the_gradient_of_its_value() {
    use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
    use burn::tensor::{DType, Gradients};
    struct Slopes<'a>(&'a Gradients, Vec<f64>);
    impl ModuleVisitor for Slopes<'_> {
        fn visit_float<const D: usize>(&mut self, parameter: &Param<Tensor<D>>) {
            self.1.extend(floats(&parameter.val().grad(self.0).unwrap()));
        }
    }
    /// Moves the value of one index over all parameters.
    struct Move(usize, f64, usize);
    impl ModuleMapper for Move {
        fn map_float<const D: usize>(&mut self, parameter: Param<Tensor<D>>) -> Param<Tensor<D>> {
            let (index, by, start) = (self.0, self.1, self.2);
            self.2 += parameter.val().shape().num_elements();
            let end = self.2;
            parameter.map(|value| {
                if index < start || index >= end {
                    return value;
                }
                let (shape, device) = (value.dims(), value.device());
                let mut values: Vec<f64> = floats(&value);
                values[index - start] += by;
                Tensor::from_data(TensorData::new(values, shape), (&device, DType::F64))
            })
        }
    }
    let device = Device::flex();
    let config = SupportSetConfig {
        decoder: tvr_objectives::DecoderConfig { layers: 1, width: 4, ..small_decoder() },
        ..SupportSetConfig::paper()
    };
    let alone = crate::generator();
    device.seed(4);
    let objective = config.init(WIDTH, VOCABULARY, &device).unwrap();
    tvr_nn::touch(&objective);
    drop(alone);
    let objective = cast(&objective, DType::F64);
    let batch = Batch::new(matrix(&Draw::new(4).scores(4, 4, 1.0)), &diagonal(4), &diagonal(4));
    let codes = || objective.told(&batch.pairs()).unwrap().codes;
    let loss = |decoder: &tvr_objectives::support_set::Decoder, codes: Tensor<2>, captions| {
        decoder.loss(codes, captions, &[true; 4], tvr_objectives::support_set::Captions::Mean)
    };
    let training = objective.decoder.clone().train();
    let lifted = crate::common::captions(&diagonal(4), &device.clone().autodiff());
    let gradients = loss(&training, Tensor::from_inner(codes()), &lifted).backward();
    let mut slopes = Slopes(&gradients, Vec::new());
    training.visit(&mut slopes);
    for index in (0..slopes.1.len()).step_by(7) {
        let at = |by: f64| {
            let moved = objective.decoder.clone().map(&mut Move(index, by, 0));
            loss(&moved, codes(), &batch.captions).into_scalar::<f64>()
        };
        let slope = (at(1e-5) - at(-1e-5)) / 2e-5;
        let found = slopes.1[index];
        assert!((slope - found).abs() <= 1e-6 * slope.abs().max(1.0), "{index}: {found} is not {slope}");
    }
}

#[test]
fn streams_have_the_gradient_of_their_value() {
    let term = DualSoftmaxConfig::paper().init().unwrap();
    check(tvr_objectives::StreamsConfig::ours().init(term.clone(), term).unwrap());
}
