//! What must hold for any batch.

mod dual_softmax;
mod hinge;
mod ncl;
mod refusals;
mod rows;
mod streams;
mod support_set;
mod weighted;

use burn::prelude::*;
use proptest::prelude::*;
use tvr_objectives::ncl::sinkhorn::{Start, potentials};
use tvr_objectives::{
    Askers, DualSoftmax, DualSoftmaxConfig, NclConfig, Objective, Pairs, Positives, Queue, Shares,
    SymmetricConfig,
};

use crate::common::{
    Draw, Rows, assert_close, diagonal, floats, gradient, indices, loss, matrix, parts, scale, transposed,
};
use crate::oracles;

fn spread(logits: &Rows) -> f64 {
    let range = |row: &Vec<f64>| {
        row.iter().copied().fold(f64::MIN, f64::max) - row.iter().copied().fold(f64::MAX, f64::min)
    };
    logits.iter().chain(&transposed(logits)).map(range).fold(0.0, f64::max)
}

fn largest(logits: &Rows) -> f64 {
    logits.iter().flatten().map(|x| x.abs()).fold(0.0, f64::max)
}

fn dual_softmax(temperature: f32, detach: bool) -> DualSoftmax {
    let positives = Positives::Diagonal;
    DualSoftmaxConfig { temperature, detach, positives, ..DualSoftmaxConfig::reference() }.init().unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn p_c4_3_symmetric_cross_entropy(n in 1usize..10, shift in -50f64..50.0, seed: u64) {
        let objective = SymmetricConfig::reference().init().unwrap();
        let mut draw = Draw::new(seed);
        let (logits, same) = (draw.scores(n, n, 20.0), diagonal(n));
        let value = loss(&objective, &logits, &same);
        prop_assert!(value >= -1e-12);
        let constant = vec![vec![shift; n]; n];
        assert_close(&[loss(&objective, &constant, &same)], &[(n as f64).ln()], 1e-9);
        assert_close(&[loss(&objective, &transposed(&logits), &same)], &[value], 1e-9);
        let order = draw.order(n);
        let moved: Rows = order.iter().map(|&i| order.iter().map(|&j| logits[i][j]).collect()).collect();
        assert_close(&[loss(&objective, &moved, &same)], &[value], 1e-9);
        let shifted: Rows = logits.iter().map(|row| row.iter().map(|x| x + shift).collect()).collect();
        assert_close(&[loss(&objective, &shifted, &same)], &[value], 1e-9);
        assert_close(&[gradient(&objective, &logits, &same).iter().sum::<f64>()], &[0.0], 1e-6);
        let mut grown = logits.clone();
        for (i, row) in grown.iter_mut().enumerate() {
            row[i] += 100.0;
        }
        assert_close(&[loss(&objective, &grown, &same)], &[0.0], 1e-9);
    }

    #[test]
    fn one_text_per_video_is_the_diagonal(n in 1usize..8, seed: u64) {
        let logits = Draw::new(seed).scores(n, n, 20.0);
        let [ours, diagonal] = [SymmetricConfig::ours(), SymmetricConfig::reference()].map(|config| {
            loss(&config.init().unwrap(), &logits, &crate::common::diagonal(n))
        });
        prop_assert_eq!(ours, diagonal);
    }

    #[test]
    fn related_says_whose_text_it_is(texts in 1usize..9, videos in 1usize..9, seed: u64) {
        let mut draw = Draw::new(seed);
        let same: Vec<usize> = (0..texts).map(|_| draw.below(videos)).collect();
        let (similarity, index) = (matrix(&draw.scores(texts, videos, 1.0)), indices(&same));
        let related = Positives::Same.related(&Pairs::new(&similarity, scale(1.0), &index));
        prop_assert_eq!(related.dims(), [texts, videos]);
        for (at, related) in related.to_data().iter::<bool>().enumerate() {
            prop_assert_eq!(related, same[at / videos] == at % videos);
        }
    }

    #[test]
    fn p_ds_1_the_prior_is_a_distribution_over_the_rows(
        rows in 1usize..9, columns in 1usize..9, log_temperature in -2f64..3.0, seed: u64,
    ) {
        let temperature = 10f64.powf(log_temperature) as f32;
        let objective = dual_softmax(temperature, false);
        for size in [20.0, 1e4] {
            // Above 0, so that the prior can be read back from what the loss compares.
            let logits = matrix(&Draw::new(seed).scores(rows, columns, size)) + 1.5 * size;
            for (over, items) in [(0, rows), (1, columns)] {
                let of = |logits: Tensor<2>| objective.revise(logits.clone(), over) / logits / items as f64;
                let prior = of(logits.clone());
                prop_assert!(floats(&prior).iter().all(|&share| (0.0..=1.0 + 1e-12).contains(&share)));
                let sums = floats(&prior.sum_dim(over));
                assert_close(&sums, &vec![1.0; sums.len()], 1e-6);
                // As training has it, at logits as large as the scale's limit lets them be.
                if size == 20.0 || temperature < 1.0 {
                    let sums = floats(&of(logits.clone().cast(burn::tensor::DType::F32)).sum_dim(over));
                    assert_close(&sums, &vec![1.0; sums.len()], 1e-5);
                }
            }
        }
    }

    #[test]
    fn p_ds_2_a_flat_prior_leaves_info_nce(n in 1usize..8, log_temperature in 0f64..6.0, seed: u64) {
        let temperature = 10f64.powf(log_temperature);
        let (z, same) = (Draw::new(seed).scores(n, n, 20.0), diagonal(n));
        let bound = 2.0 * largest(&z) * ((spread(&z) / temperature).exp() - 1.0) + 1e-5;
        let drift = (loss(&dual_softmax(temperature as f32, false), &z, &same) - oracles::symmetric(&z, &same)).abs();
        prop_assert!(drift <= bound, "{} > {}", drift, bound);
    }

    #[test]
    fn p_ds_4_the_loss_does_not_know_which_side_is_which(n in 1usize..8, log_temperature in 0f64..3.0, seed: u64) {
        let (z, same) = (Draw::new(seed).scores(n, n, 20.0), diagonal(n));
        let objective = dual_softmax(10f64.powf(log_temperature) as f32, false);
        let value = loss(&objective, &z, &same);
        assert_close(&[loss(&objective, &transposed(&z), &same)], &[value], 1e-6 * value.abs().max(1.0));
        let [there, back] = parts(&objective, &z, &same)[..] else { panic!("two parts") };
        assert_close(&parts(&objective, &transposed(&z), &same), &[back, there], 1e-6 * value.abs().max(1.0));
    }

    #[test]
    fn p_ds_7_a_detached_prior_is_a_constant_to_the_gradient(n in 2usize..7, log_temperature in 0f64..2.0, seed: u64) {
        let temperature = 10f64.powf(log_temperature) as f32;
        let (z, same) = (Draw::new(seed).scores(n, n, 20.0), diagonal(n));
        let one_side = |z: &Rows| -> Vec<f64> {
            let shares = transposed(z).into_iter().map(|column| {
                let most = column.iter().copied().fold(f64::MIN, f64::max);
                let terms: Vec<f64> =
                    column.iter().map(|z| ((z - most) / f64::from(temperature)).exp()).collect();
                let total: f64 = terms.iter().sum();
                terms.into_iter().map(|term| term / total).collect()
            });
            let prior = transposed(&shares.collect()).concat();
            let mut gradient = Vec::new();
            for (text, row) in z.iter().enumerate() {
                let share = &prior[text * n..][..n];
                let revised: Vec<f64> = row.iter().zip(share).map(|(z, a)| n as f64 * z * a).collect();
                let most = revised.iter().copied().fold(f64::MIN, f64::max);
                let total: f64 = revised.iter().map(|r| (r - most).exp()).sum();
                gradient.extend(revised.iter().enumerate().map(|(video, r)| {
                    share[video] * ((r - most).exp() / total - f64::from(u8::from(video == text)))
                }));
            }
            gradient
        };
        let (there, back) = (one_side(&z), one_side(&transposed(&z)));
        let expected: Vec<f64> =
            (0..n * n).map(|at| 0.5 * (there[at] + back[at % n * n + at / n])).collect();
        let detached = gradient(&dual_softmax(temperature, true), &z, &same);
        assert_close(&detached, &expected, 1e-5);
    }

    #[test]
    fn p_nc_1_column_sums_are_exact_after_any_sweep(
        rows in 1usize..9, columns in 1usize..9, sweeps in 1usize..6, seed: u64,
    ) {
        for size in [20.0, 4e3] {
            let scores = matrix(&Draw::new(seed).scores(rows, columns, size));
            for start in [Start::Row, Start::Column] {
                let found = potentials(scores.clone(), start, sweeps, None);
                let plan = (scores.clone() + found.rows + found.columns).exp();
                assert_close(&floats(&plan.sum_dim(0)), &vec![1.0 / columns as f64; columns], 1e-9);
            }
        }
    }

    #[test]
    fn p_nc_6_the_log_domain_stays_finite_in_f32(rows in 1usize..9, columns in 1usize..9, seed: u64) {
        let scores = matrix(&Draw::new(seed).scores(rows, columns, 4e3)).cast(burn::tensor::DType::F32);
        let found = potentials(scores.clone(), Start::Column, 4, None);
        prop_assert!(floats(&found.columns).iter().chain(&floats(&found.rows)).all(|x| x.is_finite()));
        let plan = (scores + found.rows + found.columns).exp().sum_dim(0) * columns as f32;
        assert_close(&floats(&plan), &vec![1.0; columns], 5e-3); // f32 potentials of size 4e3 have steps of 2e-4
    }

    #[test]
    fn p_nc_10_converged_directions_are_one(n in 1usize..7, seed: u64) {
        let (z, same) = (Draw::new(seed).scores(n, n, 3.0), diagonal(n));
        let objective =
            NclConfig { sweeps: 300, ..NclConfig::reference() }.init(1, &Device::flex()).unwrap();
        let found = potentials(matrix(&z), Start::Row, 300, None);
        let plan = floats(&(matrix(&z) + found.rows + found.columns));
        let expected = -(0..n).map(|i| plan[i * n + i] + (n as f64).ln()).sum::<f64>() / n as f64;
        assert_close(&parts(&objective, &z, &same), &[expected, expected], 1e-4);
        // No gradient is spent on an item's overall level.
        let gradient = gradient(&objective, &z, &same);
        for i in 0..n {
            assert_close(&[gradient[i * n..][..n].iter().sum::<f64>()], &[0.0], 1e-5);
            assert_close(&[(0..n).map(|j| gradient[j * n + i]).sum::<f64>()], &[0.0], 1e-5);
        }
    }

    #[test]
    fn p_nc_13_the_queue_holds_the_last_items_oldest_first(
        capacity in 1usize..9, pushes in proptest::collection::vec(1usize..5, 0..8),
    ) {
        let device = Device::flex();
        let mut queue = Queue::new(capacity, 2, &device);
        let (mut all, mut steps): (Vec<f64>, Vec<i64>) = (Vec::new(), Vec::new());
        for count in pushes {
            let start = all.len() / 2;
            let items: Rows = (start..start + count).map(|item| vec![item as f64, -(item as f64)]).collect();
            all.extend(items.concat());
            steps.extend(vec![steps.last().map_or(1, |step| step + 1); count]);
            let ids: Vec<usize> = (start..start + count).map(|item| 100 + item).collect();
            queue.push(matrix(&items).cast(burn::tensor::DType::F32), indices(&ids));
            let kept = capacity.min(all.len() / 2);
            prop_assert_eq!(queue.n_items(), kept);
            let entries = queue.entries().unwrap();
            prop_assert_eq!(floats(&entries.vectors), all[all.len() - 2 * kept..].to_vec());
            let expected: Vec<i64> = (all.len() / 2 - kept..all.len() / 2).map(|at| 100 + at as i64).collect();
            prop_assert_eq!(&entries.video_ids, &expected);
            let last = steps.last().unwrap();
            let expected: Vec<i64> = steps[steps.len() - kept..].iter().map(|step| last - step + 1).collect();
            prop_assert_eq!(&entries.ages, &expected);
            prop_assert_eq!(queue.vectors.val().dims(), [capacity, 2]);
        }
        if all.is_empty() {
            prop_assert!(queue.entries().is_none());
        }
    }
}

/// A batch with vectors of its own.
struct Batch {
    texts: Tensor<2>,
    videos: Tensor<2>,
    similarity: Tensor<2>,
    same: Tensor<1, Int>,
    video_ids: Tensor<1, Int>,
}

impl Batch {
    /// Videos that no other seed has.
    fn new(seed: u64) -> Self {
        let mut draw = Draw::new(seed);
        let mut vectors = || matrix(&draw.scores(3, 4, 1.0)).cast(burn::tensor::DType::F32);
        let (texts, videos) = (vectors(), vectors());
        let similarity = texts.clone().matmul(videos.clone().transpose());
        let ids: Vec<usize> = (0..3).map(|video| 3 * seed as usize + video).collect();
        Self { texts, videos, similarity, same: indices(&diagonal(3)), video_ids: indices(&ids) }
    }

    fn pairs(&self) -> Pairs<'_> {
        let mut pairs =
            Pairs::new(&self.similarity, Tensor::from_data([5.0f32], &Device::flex()), &self.same);
        (pairs.texts, pairs.videos) = (Some(&self.texts), Some(&self.videos));
        pairs.video_ids = Some(&self.video_ids);
        pairs
    }
}

#[test]
fn p_nc_13_a_saved_queue_goes_on_as_if_never_stopped() {
    let make = || NclConfig::with_queue(5).init(4, &Device::flex()).unwrap();
    let run = |objective: &mut tvr_objectives::Ncl, seeds: std::ops::Range<u64>| -> Vec<f32> {
        seeds
            .map(|seed| {
                let batch = Batch::new(seed);
                batch.pairs().check(&objective.needs()).unwrap();
                let value = objective.loss(&batch.pairs()).total.into_scalar::<f32>();
                objective.after_step(&batch.pairs());
                value
            })
            .collect()
    };
    let (mut whole, mut first) = (make(), make());
    let expected = run(&mut whole, 0..6);
    run(&mut first, 0..3);
    let bytes = first.into_record().into_bytes().unwrap();
    let mut resumed = make().try_load_record(burn::store::ModuleRecord::from_bytes(bytes).unwrap()).unwrap();
    assert_eq!(run(&mut resumed, 3..6), expected[3..]);
    assert!(expected.windows(2).any(|pair| pair[0] != pair[1]));
}

#[test]
fn p_nc_13_the_queue_is_idle_where_the_batch_asks_and_survives_training() {
    let config = NclConfig::with_queue(5);
    let mut objective = config.init(4, &Device::flex()).unwrap().train();
    let (earlier, batch) = (Batch::new(1), Batch::new(2));
    objective.after_step(&earlier.pairs());
    assert!(!objective.texts.as_ref().unwrap().vectors.val().is_require_grad());
    assert_eq!(objective.valid().texts.unwrap().n_items(), 3);
    let alone = NclConfig::reference().init(4, &Device::flex()).unwrap();
    let value = |objective: &dyn Fn(&Pairs) -> f32| objective(&batch.pairs());
    let with_queue = value(&|pairs| objective.valid().loss(pairs).total.into_scalar());
    let without = value(&|pairs| alone.loss(pairs).total.into_scalar());
    assert_ne!(with_queue, without);
    // An empty queue asks nothing.
    let empty = NclConfig { askers: Askers::Queue, ..config }.init(4, &Device::flex()).unwrap();
    assert_eq!(value(&|pairs| empty.loss(pairs).total.into_scalar()), without);
}

#[test]
fn a_video_without_a_text_is_left_out_of_the_mean() {
    let (logits, same) = (vec![vec![2.0, 0.0], vec![0.0, f64::NEG_INFINITY]], [0, 0]);
    let [_, video_to_text] = parts(&SymmetricConfig::ours().init().unwrap(), &logits, &same)[..] else {
        panic!("two parts")
    };
    // The two texts of the first video share it; the second video has none.
    assert_close(&[video_to_text], &[(1.0 + (-2f64).exp()).ln() + 1.0], 1e-12);
}

#[test]
fn p_ds_1_the_loss_is_finite_at_the_edge() {
    let z = vec![vec![1e4, -1e4], vec![-1e4, 1e4]];
    assert!(loss(&dual_softmax(0.01, false), &z, &[0, 1]).is_finite());
    // In f32, at the lowest temperature that is taken.
    let coldest = dual_softmax(1e-20, false);
    let logits = matrix(&z).cast(burn::tensor::DType::F32);
    let (same, scale) = (indices(&[0, 1]), Tensor::from_data([1.0f32], &Device::flex()));
    let total = coldest.loss(&Pairs::new(&logits, scale, &same)).total.into_scalar::<f32>();
    assert!(total.is_finite(), "{total}");
}

#[test]
fn settings_outside_their_domain_are_refused_by_name() {
    for (temperature, shown) in [(0.0, "0"), (-1.0, "-1"), (f32::NAN, "NaN"), (f32::INFINITY, "inf")] {
        let config = DualSoftmaxConfig { temperature, ..DualSoftmaxConfig::paper() };
        assert_eq!(
            config.init().unwrap_err().to_string(),
            format!("dual-softmax: temperature = {shown}, but it must be a number above 0")
        );
    }
    // The quotient of a logit by such a number is infinite, and the loss NaN.
    let config = DualSoftmaxConfig { temperature: 1e-38, ..DualSoftmaxConfig::paper() };
    let message = config.init().unwrap_err().to_string();
    assert!(message.starts_with("dual-softmax: temperature = 0.0000"), "{message}");
    assert!(message.ends_with(", but it must be a number of at least 1e-20"), "{message}");
    let refuse = |config: NclConfig| config.init(4, &Device::flex()).map(|_| ()).unwrap_err().to_string();
    assert_eq!(
        refuse(NclConfig { sweeps: 0, ..NclConfig::reference() }),
        "ncl: sweeps = 0, but it must be a number above 0"
    );
    assert_eq!(
        refuse(NclConfig { queue: 8, ..NclConfig::reference() }),
        "ncl: queue = 8, but it must be 0 where askers = \"batch\""
    );
    assert_eq!(
        refuse(NclConfig::with_queue(0)),
        "ncl: queue = 0, but it must be a number above 0 where askers names the queue"
    );
}

#[test]
fn recipes_name_settings_in_kebab_case_and_unknown_keys_are_refused() {
    let text = r#"{"sweeps": 4, "start": "row", "askers": "batch-and-queue", "queue": 16}"#;
    let config: NclConfig = serde_json::from_str(text).unwrap();
    assert_eq!((config.start, config.askers, config.queue), (Start::Row, Askers::BatchAndQueue, 16));
    assert_eq!(config.marginals, Shares::Targets);
    let config: SymmetricConfig = serde_json::from_str(r#"{"positives": "diagonal"}"#).unwrap();
    assert_eq!(config, SymmetricConfig::reference());
    let error = serde_json::from_str::<DualSoftmaxConfig>(r#"{"tempreture": 1.0}"#).unwrap_err();
    assert!(error.to_string().contains("unknown field `tempreture`"), "{error}");
}
