//! The seam: the gradient of a batch does not depend on the parts it is encoded in.

use burn::module::{Module, ModuleVisitor, Param};
use burn::nn;
use burn::optim::GradientsParams;
use burn::prelude::*;
use tvr_experiment::collective::Single;
use tvr_experiment::corpus::{Corpus, FrameRows, Texts};
use tvr_experiment::model::{Model, TextEncoder, VideoEncoder};
use tvr_experiment::recipe::FrameTokens;
use tvr_experiment::step::{Batch, Way, after_step, gradients};
use tvr_heads::{Head, MeanPooling, MeanPoolingConfig, SeqLstmConfig, SeqTransfConfig, TightTransfConfig};
use tvr_objectives::{DualSoftmaxConfig, NclConfig, Objective, SymmetricConfig};

pub const WIDTH: usize = 8;

/// A small made-up split: `videos` videos of 3 frames (the first has 2), two captions each.
pub fn corpus(videos: usize) -> Corpus {
    let wave = |index: usize, turn: f32| ((index as f32 + 1.0) * turn).sin();
    let mut mask = vec![true; videos * 3];
    mask[2] = false;
    Corpus {
        video_ids: (0..videos).map(|video| format!("v{video}")).collect(),
        text_ids: (0..2 * videos).map(|text| format!("t{text}")).collect(),
        text_video: (0..2 * videos).map(|text| text / 2).collect(),
        queries: (0..videos).map(|video| 2 * video).collect(),
        frames: FrameRows::Values((0..videos * 3 * 5).map(|index| wave(index, 0.7)).collect()),
        frames_per_video: 3,
        width: 5,
        mask,
        texts: Texts::Features {
            values: (0..2 * videos * 6).map(|index| wave(index, 1.3)).collect(),
            width: 6,
        },
        sentences: Vec::new(),
        streams: Vec::new(),
        experts: Vec::new(),
        towers: None,
    }
}

pub fn model<H: Head, O: Objective>(head: H, objective: O, dropout: f64, device: &Device) -> Model<H, O> {
    device.seed(11);
    let linear = |input| nn::LinearConfig::new(input, WIDTH).with_bias(false).init(device);
    let dropout = || nn::DropoutConfig::new(dropout).init();
    let model = Model {
        text: TextEncoder { tower: None, words: None, projection: Some(linear(6)), dropout: dropout() },
        video: VideoEncoder {
            tower: None,
            projection: Some(linear(5)),
            dropout: dropout(),
            unit: false,
            frame_tokens: FrameTokens::Class,
        },
        head,
        objective,
        logit_scale: Param::from_data([2.0f32], device),
    };
    tvr_nn::touch(&model);
    model
}

/// One rank's way through a step.
pub fn way(chunk: usize, device: &Device, random: u64) -> Way<'_> {
    Way { ranks: &Single, chunk, device, random, draws: true }
}

/// All gradients of a model in module order; zeros where a parameter took no part.
pub fn flat<M: Module>(model: &M, gradients: &GradientsParams) -> Vec<f32> {
    struct Flat<'a>(&'a GradientsParams, Vec<f32>);
    impl ModuleVisitor for Flat<'_> {
        fn visit_float<const D: usize>(&mut self, parameter: &Param<Tensor<D>>) {
            match self.0.get::<D>(parameter.id) {
                Some(gradient) => self.1.extend(gradient.into_data().iter::<f32>()),
                None => self.1.extend(vec![0.0; parameter.val().shape().num_elements()]),
            }
        }
    }
    let mut flat = Flat(gradients, Vec::new());
    model.visit(&mut flat);
    flat.1
}

pub fn batch() -> Batch {
    // Seven captions of five videos: two videos have both of theirs.
    Batch {
        texts: vec![0, 2, 3, 4, 6, 7, 8],
        videos: vec![0, 1, 2, 3, 4],
        text_video: vec![0, 1, 1, 2, 3, 3, 4],
        shuffle: None,
    }
}

/// A batch of seven other captions of five other videos.
pub fn earlier() -> Batch {
    let other = batch();
    Batch {
        texts: other.texts.iter().map(|text| text + 12).collect(),
        videos: other.videos.iter().map(|video| video + 6).collect(),
        ..other
    }
}

fn check<H: Head>(head: H, name: &str) {
    let training = Device::flex().autodiff();
    check_model(&model(head, SymmetricConfig::ours().init().unwrap(), 0.0, &training), name);
}

fn check_model<H: Head, O: Objective>(model: &Model<H, O>, name: &str) {
    check_on(model, &corpus(6), name);
}

/// The gradient of a batch of six videos, whole and in parts.
pub fn check_on<H: Head, O: Objective>(model: &Model<H, O>, corpus: &Corpus, name: &str) {
    let device = Device::flex();
    let whole = gradients(model, corpus, &batch(), &way(0, &device, 5)).unwrap();
    let expected = flat(model, &whole.0);
    let largest = expected.iter().fold(0f32, |most, value| most.max(value.abs()));
    assert!(largest > 1e-3, "{name}: the whole gradient is nothing");
    // 1, 2, 3 (uneven: 3 + 3 + 1) and 4 chunks and one item at a time.
    for chunk in [7, 4, 3, 2, 1] {
        let parts = gradients(model, corpus, &batch(), &way(chunk, &device, 5)).unwrap();
        assert!((whole.1.loss - parts.1.loss).abs() < 1e-5, "{name}: {} {}", whole.1.loss, parts.1.loss);
        for (found, expected) in flat(model, &parts.0).iter().zip(&expected) {
            // f32 sums in another order.
            assert!(
                (found - expected).abs() <= 2e-6 * largest.max(1.0),
                "{name}, chunk {chunk}: {found} {expected}"
            );
        }
    }
}

#[test]
fn chunks_leave_the_gradient_of_mean_pooling() {
    let _alone = crate::run::generator();
    let device = Device::flex().autodiff();
    check(MeanPoolingConfig::reference().init(WIDTH, &device).unwrap(), "mean-pooling");
}

#[test]
fn chunks_leave_the_gradient_of_the_temporal_transformer() {
    let _alone = crate::run::generator();
    let device = Device::flex().autodiff();
    let config = SeqTransfConfig { heads: 2, ..SeqTransfConfig::ours(3) };
    device.seed(3);
    let head = config.init(WIDTH, &device).unwrap();
    check(head, "seq-transf");
}

#[test]
fn a_step_repeats_itself_bit_for_bit_with_dropout() {
    let _alone = crate::run::generator();
    let device = Device::flex();
    let training = device.clone().autodiff();
    let head = MeanPoolingConfig::reference().init(WIDTH, &training).unwrap();
    let model = model(head, SymmetricConfig::ours().init().unwrap(), 0.3, &training);
    let corpus = corpus(6);
    for chunk in [0, 2] {
        let first = gradients(&model, &corpus, &batch(), &way(chunk, &device, 9)).unwrap();
        let again = gradients(&model, &corpus, &batch(), &way(chunk, &device, 9)).unwrap();
        assert_eq!(flat(&model, &first.0), flat(&model, &again.0));
        let other = gradients(&model, &corpus, &batch(), &way(chunk, &device, 10)).unwrap();
        assert_ne!(flat(&model, &first.0), flat(&model, &other.0));
    }
}

#[test]
fn dropout_in_a_chunk_repeats_its_mask_in_the_second_pass() {
    // The first pass makes the loss and the second the gradient of the weights: they agree only if both drop the same.
    let _alone = crate::run::generator();
    let device = Device::flex();
    let training = device.clone().autodiff();
    let head = MeanPoolingConfig::reference().init(WIDTH, &training).unwrap();
    let model = model(head, SymmetricConfig::ours().init().unwrap(), 0.5, &training);
    let corpus = corpus(6);
    let loss_at = |texts: f32, videos: f32| {
        let mut moved = model.clone();
        for (layer, shift) in [(&mut moved.text.projection, texts), (&mut moved.video.projection, videos)] {
            let layer = layer.as_mut().unwrap();
            layer.weight = layer.weight.clone().map(|weight| {
                // No shift that the norms of codes would undo.
                let step = Tensor::arange(0..weight.dims()[0] as i64, &Device::flex()).float();
                let step = step.reshape([-1, 1]).expand(weight.dims()).tril(-1) * shift;
                Tensor::from_inner(weight.without_autodiff() + step).require_grad()
            });
        }
        gradients(&moved, &corpus, &batch(), &way(2, &device, 21)).unwrap().1.loss
    };
    let (of_parts, ..) = gradients(&model, &corpus, &batch(), &way(2, &device, 21)).unwrap();
    let flat = flat(&model, &of_parts);
    let (of_texts, of_videos) = flat[..(6 + 5) * WIDTH].split_at(6 * WIDTH);
    let along = |gradient: &[f32]| -> f32 {
        let rows = gradient.chunks(WIDTH).enumerate();
        rows.map(|(row, values)| row as f32 * values[..row].iter().sum::<f32>()).sum()
    };
    for (numerical, analytical) in [
        ((loss_at(1e-3, 0.0) - loss_at(-1e-3, 0.0)) / 2e-3, along(of_texts)),
        ((loss_at(0.0, 1e-3) - loss_at(0.0, -1e-3)) / 2e-3, along(of_videos)),
    ] {
        assert!(analytical.abs() > 0.1, "{analytical} says little");
        assert!((numerical - f64::from(analytical)).abs() < 5e-3, "{numerical} {analytical}");
    }
}

#[test]
fn chunks_leave_the_gradient_of_the_lstm() {
    let _alone = crate::run::generator();
    let device = Device::flex().autodiff();
    device.seed(3);
    check(SeqLstmConfig::reference().init(WIDTH, &device).unwrap(), "seq-lstm");
}

#[test]
fn chunks_leave_the_gradient_of_the_pairwise_transformer() {
    let _alone = crate::run::generator();
    let device = Device::flex().autodiff();
    let config = TightTransfConfig { layers: 2, heads: 2, max_frames: 3, epsilon: 1e-5, dropout: 0.0 };
    device.seed(3);
    check(config.init(WIDTH, &device).unwrap(), "tight-transf");
}

fn pooled(device: &Device) -> MeanPooling {
    MeanPoolingConfig::reference().init(WIDTH, device).unwrap()
}

#[test]
fn chunks_leave_the_gradient_of_the_dual_softmax_loss() {
    let _alone = crate::run::generator();
    let device = Device::flex().autodiff();
    for detach in [false, true] {
        let objective = DualSoftmaxConfig { detach, ..DualSoftmaxConfig::paper() }.init().unwrap();
        check_model(&model(pooled(&device), objective, 0.0, &device), "dual-softmax");
    }
}

#[test]
fn chunks_leave_the_gradient_of_the_normalised_loss_and_of_its_queue() {
    let _alone = crate::run::generator();
    let device = Device::flex().autodiff();
    for (queue, detach) in [(0, false), (0, true), (4, false), (32, true)] {
        let config = if queue == 0 { NclConfig::reference() } else { NclConfig::with_queue(queue) };
        let objective = NclConfig { detach, ..config }.init(WIDTH, &device).unwrap();
        let mut model = model(pooled(&device), objective, 0.0, &device);
        // Of two batches a queue of 4 keeps the last items, and one of 32 has room left.
        for chunk in [0, 3] {
            let device = Device::flex();
            let (_, _, seen) = gradients(&model, &corpus(12), &earlier(), &way(chunk, &device, 5)).unwrap();
            after_step(&mut model, &seen);
        }
        if let Some(texts) = &model.objective.texts {
            assert_eq!(texts.n_items(), queue.min(2 * batch().texts.len()));
            let loss =
                |model| gradients(model, &corpus(6), &batch(), &way(0, &Device::flex(), 5)).unwrap().1.loss;
            let mut forgetful = model.clone();
            (forgetful.objective.texts, forgetful.objective.videos) = (None, None);
            assert_ne!(loss(&model), loss(&forgetful), "the queue takes no part");
        }
        check_model(&model, "ncl");
    }
}

#[test]
fn the_scale_is_not_applied_to_similarities_that_are_logits() {
    let _alone = crate::run::generator();
    let device = Device::flex().autodiff();
    let config = TightTransfConfig { layers: 1, heads: 2, max_frames: 3, epsilon: 1e-5, dropout: 0.0 };
    let model =
        model(config.init(WIDTH, &device).unwrap(), SymmetricConfig::ours().init().unwrap(), 0.0, &device);
    let loss = |scale: f32| {
        let mut model = model.clone();
        model.logit_scale = Param::from_data([scale], &device);
        let (gradients, judged, _) =
            gradients(&model, &corpus(6), &batch(), &way(0, &Device::flex(), 5)).unwrap();
        (judged.loss, flat(&model, &gradients).last().copied())
    };
    assert_eq!(loss(0.0), loss(3.0));
    assert_eq!(loss(3.0).1, Some(0.0), "a scale that is not applied has no gradient");
}
