//! NCL's gradients, marginals and queue.

use burn::prelude::*;
use burn::tensor::DType;
use burn::tensor::activation::log_softmax;
use proptest::prelude::*;
use tvr_objectives::ncl::sinkhorn::{Start, potentials};
use tvr_objectives::{NclConfig, Objective, Pairs, Shares};

use crate::common::{
    Draw, Rows, assert_close, diagonal, floats, gradient, indices, loss, matrix, transposed,
};
use crate::oracles;

fn ncl(config: NclConfig) -> tvr_objectives::Ncl {
    config.init(4, &Device::flex()).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn p_nc_11_the_gradient_is_the_oracle_s_slope(texts in 1usize..6, videos in 1usize..6, seed: u64) {
        let mut draw = Draw::new(seed);
        let (z, same) = (draw.scores(texts, videos, 4.0), draw.same(texts, videos));
        for start in [Start::Row, Start::Column] {
            let found = gradient(&ncl(NclConfig { start, ..NclConfig::reference() }), &z, &same);
            let largest = found.iter().fold(1e-3f64, |most, slope| most.max(slope.abs()));
            for text in 0..texts {
                for video in 0..videos {
                    let at = |by: f64| {
                        let mut z = z.clone();
                        z[text][video] += by;
                        oracles::ncl(&z, &same, 4, start)
                    };
                    let slope = (at(1e-5) - at(-1e-5)) / 2e-5;
                    assert_close(&[found[text * videos + video]], &[slope], 1e-4 * largest);
                }
            }
        }
    }

    #[test]
    fn p_nc_11_converged_no_gradient_moves_an_item_s_level(n in 2usize..7, seed: u64) {
        let (z, same) = (Draw::new(seed).scores(n, n, 3.0), diagonal(n));
        for marginals in [Shares::Uniform, Shares::Targets] {
            let config = NclConfig { sweeps: 300, marginals, ..NclConfig::reference() };
            let found = gradient(&ncl(config), &z, &same);
            for i in 0..n {
                assert_close(&[found[i * n..][..n].iter().sum::<f64>()], &[0.0], 1e-5);
                assert_close(&[(0..n).map(|j| found[j * n + i]).sum::<f64>()], &[0.0], 1e-5);
            }
        }
    }

    #[test]
    fn p_nc_11_detached_biases_are_constants(texts in 1usize..6, videos in 1usize..6, seed: u64) {
        let mut draw = Draw::new(seed);
        let (z, same) = (draw.scores(texts, videos, 4.0), draw.same(texts, videos));
        let config = NclConfig { detach: true, ..NclConfig::reference() };
        let bias = |z: &Rows| potentials(matrix(z), config.start, config.sweeps, None).columns;
        let (of_videos, of_texts) = (bias(&z), bias(&transposed(&z)));
        let leaf = Tensor::from_inner(matrix(&z)).require_grad();
        // Mean over the rows that have a positive, whose positives share its mass.
        let cross_entropy = |logits: Tensor<2>, right: Rows| {
            let mass = right.iter().map(|row| row.iter().sum::<f64>()).collect::<Vec<_>>();
            let judged = mass.iter().filter(|&&mass| mass > 0.0).count() as f64;
            // Not by a division of the sum: burn's gradient of that takes the number's inverse in f32.
            let share = |row: &Vec<f64>, mass: &f64| row.iter().map(|x| x / mass.max(1.0) / judged).collect();
            let shares: Rows = right.iter().zip(&mass).map(|(row, mass)| share(row, mass)).collect();
            -(log_softmax(logits, 1) * Tensor::from_inner(matrix(&shares))).sum()
        };
        let right: Rows =
            same.iter().map(|&own| (0..videos).map(|video| f64::from(u8::from(video == own))).collect()).collect();
        let there = cross_entropy(leaf.clone() + Tensor::from_inner(of_videos), right.clone());
        let back = cross_entropy(leaf.clone().transpose() + Tensor::from_inner(of_texts), transposed(&right));
        let expected = floats(&leaf.grad(&((there + back) / 2.0).backward()).unwrap());
        assert_close(&gradient(&ncl(config), &z, &same), &expected, 1e-12);
    }

    /// With one caption per video the two marginals are one.
    #[test]
    fn uniform_marginals_are_those_of_a_one_to_one_batch(n in 1usize..8, seed: u64) {
        let (z, same) = (Draw::new(seed).scores(n, n, 20.0), Draw::new(seed).order(n));
        let [uniform, targets] = [Shares::Uniform, Shares::Targets]
            .map(|marginals| loss(&ncl(NclConfig { marginals, ..NclConfig::reference() }), &z, &same));
        assert_close(&[uniform], &[targets], 1e-9);
    }
}

/// Retrieval of two captions of one video and one of another that is right already: the marginals of the targets
/// leave it alone, and uniform ones drive one of the two captions away from its video.
#[test]
fn the_targets_marginals_do_not_punish_a_video_for_its_captions() {
    let same = [0, 0, 1];
    let z: Rows =
        same.iter().map(|&own| (0..2).map(|v| if v == own { 6.0 } else { 0.0 }).collect()).collect();
    let value =
        |marginals| loss(&ncl(NclConfig { sweeps: 2000, marginals, ..NclConfig::reference() }), &z, &same);
    // What is left is the choice among the first video's two captions.
    let floor = 0.25 * std::f64::consts::LN_2;
    let (targets, uniform) = (value(Shares::Targets), value(Shares::Uniform));
    assert!(targets < floor + 0.01, "{targets}");
    assert!(uniform > targets + 0.05, "{uniform} {targets}");
}

/// Two texts and videos in f32, as a model's vectors are.
struct Batch {
    texts: Tensor<2>,
    videos: Tensor<2>,
    similarity: Tensor<2>,
    same: Tensor<1, Int>,
    video_ids: Tensor<1, Int>,
}

impl Batch {
    fn new(seed: u64, ids: &[usize]) -> Self {
        let mut draw = Draw::new(seed);
        let mut vectors = || matrix(&draw.scores(ids.len(), 4, 1.0)).cast(DType::F32);
        let (texts, videos) = (vectors(), vectors());
        let similarity = texts.clone().matmul(videos.clone().transpose());
        Self { texts, videos, similarity, same: indices(&diagonal(ids.len())), video_ids: indices(ids) }
    }

    fn pairs(&self) -> Pairs<'_> {
        Pairs {
            texts: Some(&self.texts),
            videos: Some(&self.videos),
            video_ids: Some(&self.video_ids),
            ..Pairs::new(&self.similarity, Tensor::from_data([5.0f32], &Device::flex()), &self.same)
        }
    }
}

fn value(objective: &tvr_objectives::Ncl, batch: &Batch) -> f32 {
    objective.loss(&batch.pairs()).total.into_scalar()
}

fn age(objective: &tvr_objectives::Ncl, batch: &Batch) -> f32 {
    let parts = objective.loss(&batch.pairs()).parts;
    parts.into_iter().find(|(name, _)| name == "queue_age").unwrap().1.into_scalar()
}

#[test]
fn p_nc_13_earlier_versions_of_the_batch_s_items_do_not_ask_again() {
    let batch = Batch::new(1, &[7, 8]);
    let alone = ncl(NclConfig::reference());
    let mut queued = ncl(NclConfig::with_queue(6));
    // The batch's own videos, older, with other captions; nothing else is queued.
    queued.after_step(&Batch::new(2, &[8, 7]).pairs());
    assert_eq!(value(&queued, &batch), value(&alone, &batch));
    // Beside strangers they change nothing either.
    let strangers = Batch::new(3, &[1, 2]);
    let mut without = ncl(NclConfig::with_queue(6));
    [&mut queued, &mut without].into_iter().for_each(|objective| objective.after_step(&strangers.pairs()));
    assert_eq!(value(&queued, &batch), value(&without, &batch));
    assert_ne!(value(&queued, &batch), value(&alone, &batch));
}

#[test]
fn p_nc_13_the_log_shows_the_queue_s_age() {
    let batch = Batch::new(1, &[7, 8]);
    let mut objective = ncl(NclConfig::with_queue(4));
    assert_eq!(age(&objective, &batch), 0.0);
    for (step, expected) in [1.0, 1.5, 1.5, 1.5].into_iter().enumerate() {
        objective.after_step(&Batch::new(9, &[10 + 2 * step, 11 + 2 * step]).pairs());
        assert_eq!(age(&objective, &batch), expected, "after step {step}");
    }
    assert!(ncl(NclConfig::reference()).loss(&batch.pairs()).parts.len() == 2);
}

#[test]
fn p_nc_13_a_queue_of_whatever_content_is_idle_where_the_batch_alone_asks() {
    let batch = Batch::new(1, &[7, 8]);
    let alone = ncl(NclConfig::reference());
    assert!(alone.texts.is_none() && alone.videos.is_none() && !alone.needs().codes);
    for seed in 2..6 {
        let mut queued = ncl(NclConfig::with_queue(4));
        queued.after_step(&Batch::new(seed, &[1, 2]).pairs());
        assert_ne!(value(&queued, &batch), value(&alone, &batch));
        // The same queue beside askers that do not name it, as no recipe can have it.
        let mut idle = ncl(NclConfig::reference());
        (idle.texts, idle.videos) = (queued.texts, queued.videos);
        assert_eq!(value(&idle, &batch), value(&alone, &batch));
    }
}

/// Two texts and videos with gradients, beside a queue with two strangers.
fn beside_strangers() -> (tvr_objectives::Ncl, Batch) {
    let mut objective = ncl(NclConfig::with_queue(4)).train();
    objective.after_step(&Batch::new(2, &[1, 2]).pairs());
    let mut batch = Batch::new(1, &[7, 8]);
    let lift = |x: &Tensor<2>| Tensor::from_inner(x.clone()).require_grad();
    (batch.texts, batch.videos) = (lift(&batch.texts), lift(&batch.videos));
    let device = batch.texts.device();
    (batch.same, batch.video_ids) = (batch.same.to_device(&device), batch.video_ids.to_device(&device));
    (objective, batch)
}

#[test]
fn p_nc_11_no_gradient_reaches_the_queue() {
    let (objective, mut batch) = beside_strangers();
    batch.similarity = batch.texts.clone().matmul(batch.videos.clone().transpose());
    let pairs = Pairs { scale: Tensor::from_data([5.0f32], &batch.texts.device()), ..batch.pairs() };
    let gradients = objective.loss(&pairs).total.backward();
    assert!(batch.texts.grad(&gradients).is_some() && batch.videos.grad(&gradients).is_some());
    for queue in [objective.texts.as_ref().unwrap(), objective.videos.as_ref().unwrap()] {
        assert!(!queue.vectors.val().is_require_grad());
        assert!(queue.vectors.val().grad(&gradients).is_none());
    }
}

/// What the strangers want depends on the batch's vectors, not on its similarities alone.
#[test]
fn p_nc_11_a_gradient_reaches_the_batch_s_vectors_through_the_queue() {
    let (objective, mut batch) = beside_strangers();
    batch.similarity = Tensor::from_inner(batch.similarity);
    let pairs = Pairs { scale: Tensor::from_data([5.0f32], &batch.texts.device()), ..batch.pairs() };
    let gradients = objective.loss(&pairs).total.backward();
    for vectors in [&batch.texts, &batch.videos] {
        let slopes = floats(&vectors.grad(&gradients).unwrap());
        assert!(slopes.iter().any(|slope| slope.abs() > 1e-3), "{slopes:?}");
    }
}

#[test]
fn p_nc_13_what_the_queue_wants_is_scaled_as_the_batch_is() {
    let mut objective = ncl(NclConfig::with_queue(4));
    objective.after_step(&Batch::new(2, &[1, 2]).pairs());
    let batch = Batch::new(1, &[7, 8]);
    let [texts, videos, similarity] =
        [&batch.texts, &batch.videos, &batch.similarity].map(|x| x.clone() * 5.0);
    let longer = Batch { texts, videos, similarity, ..Batch::new(1, &[7, 8]) };
    let pairs = Pairs { scale: Tensor::from_data([1.0f32], &Device::flex()), ..longer.pairs() };
    let found = objective.loss(&pairs).total.into_scalar::<f32>();
    assert_close(&[found.into()], &[value(&objective, &batch).into()], 1e-5); // f32 products in another order
}
