//! P-EM-1 to P-EM-12, and what `global` adds.

use burn::module::Param;
use burn::prelude::*;
use burn::tensor::DType;
use proptest::prelude::*;
use tvr_heads::emcl::{
    Clusters, Detach, Em, Gram, Inference, Init, Items, Mode, Moments, Scale, Scope, Start,
};
use tvr_heads::{
    Emcl, EmclConfig, Head, MeanPooling, MeanPoolingConfig, TextCodes, Tile, VideoCodes, score_all,
};

use crate::common::{Draw, assert_close, emcl_reference, floats, mean_pooling, refused, tight_transf};
use crate::oracles::em::{Rows, Solved, distinct_columns, singular_values, solve};

const MODES: [Mode; 2] = [Mode::Paper, Mode::Reference];

/// What the generators of the properties draw.
#[derive(Clone, Debug)]
struct Case {
    items: usize,
    width: usize,
    bases: usize,
    iterations: usize,
    sigma: f64,
    x: Rows,
    start: Vec<f64>,
}

/// Normal rows times a scale, plus a common row; some rows twice.
fn case() -> impl Strategy<Value = Case> {
    let sizes = (1usize..32, 2usize..17, 1usize..7, 1usize..7);
    (sizes, 1.0..4.0f64, 0.1..3.0f64, any::<u64>()).prop_map(
        |((items, width, bases, iterations), sigma, scale, seed)| {
            let mut draw = Draw::new(seed);
            let common = draw.normals(width);
            let mut x: Rows = (0..items)
                .map(|_| draw.normals(width).iter().zip(&common).map(|(x, c)| x * scale + c).collect())
                .collect();
            if items > 2 && seed.is_multiple_of(3) {
                x[1] = x[0].clone();
            }
            let start = draw.normals(bases);
            Case { items, width, bases, iterations, sigma, x, start }
        },
    )
}

fn config(mode: Mode, case: &Case) -> EmclConfig {
    let base = if mode == Mode::Paper { EmclConfig::paper() } else { EmclConfig::reference() };
    EmclConfig { bases: case.bases, iterations: case.iterations, sigma: case.sigma, ..base }
}

fn em(mode: Mode, case: &Case) -> Em {
    config(mode, case).layer().unwrap().em().clone()
}

fn tensor(rows: &Rows) -> Tensor<2> {
    let data = TensorData::new(rows.concat(), [rows.len(), rows[0].len()]);
    Tensor::from_data(data, (&Device::flex(), DType::F64))
}

fn average(start: &[f64]) -> Start {
    Start::Average(tensor(&vec![start.to_vec()]))
}

fn rows(tensor: &Tensor<2>) -> Rows {
    let [_, width] = tensor.dims();
    floats(tensor).chunks(width).map(<[f64]>::to_vec).collect()
}

fn oracle(mode: Mode, case: &Case) -> Solved {
    solve(mode, &case.x, &case.start, case.iterations, case.sigma, 1e-6)
}

fn moments(x: &Tensor<2>) -> Gram {
    let [items, _] = x.dims();
    Gram { gram: x.clone().transpose().matmul(x.clone()), sum: x.clone().sum_dim(0), items: items as f64 }
}

fn solved(mode: Mode, case: &Case) -> (Clusters, Tensor<2>) {
    em(mode, case).direct(&tensor(&case.x), &average(&case.start))
}

fn norm(values: &[f64]) -> f64 {
    values.iter().map(|x| x * x).sum::<f64>().sqrt()
}

/// Relative to the larger of 1 and the expected value.
#[track_caller]
fn close(found: &[f64], expected: &[f64], tolerance: f64) {
    assert_eq!(found.len(), expected.len());
    for (place, (a, b)) in found.iter().zip(expected).enumerate() {
        assert!(
            (a - b).abs() <= tolerance * b.abs().max(1.0),
            "at {place}: {a} is not {b} within {tolerance}"
        );
    }
}

fn permuted<T: Clone>(values: &[T], order: &[usize]) -> Vec<T> {
    order.iter().map(|&place| values[place].clone()).collect()
}

fn order(count: usize, seed: u64) -> Vec<usize> {
    let mut draw = Draw::new(seed);
    let mut order: Vec<usize> = (0..count).collect();
    order.sort_by_cached_key(|_| draw.bits());
    order
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn em_follows_the_published_loop(case in case()) {
        for mode in MODES {
            let (clusters, bases) = solved(mode, &case);
            let expected = oracle(mode, &case);
            // The iteration amplifies rounding, in paper mode the more: P-EM-3's tolerance.
            close(&floats(&clusters.softmax), &expected.softmax.concat(), 1e-6);
            close(&floats(&clusters.responsibilities), &expected.responsibilities.concat(), 1e-6);
            close(&floats(&bases), &expected.bases.concat(), 1e-6);
            close(&floats(&clusters.rebuild(bases)), &expected.reconstruction.concat(), 1e-6);
            let sum = tensor(&case.x).sum_dim(0);
            close(&floats(&clusters.mean_base(sum, case.items as f64)), &expected.mean_base, 1e-6);
        }
    }

    #[test]
    fn p_em_1_responsibilities_of_a_channel_sum_to_one(case in case()) {
        for mode in MODES {
            let x = tensor(&case.x).cast(DType::F32);
            let start = Start::Average(tensor(&vec![case.start.clone()]).cast(DType::F32));
            let (clusters, _) = em(mode, &case).direct(&x, &start);
            let softmax = rows(&clusters.softmax);
            for channel in &softmax {
                prop_assert!(channel.iter().all(|y| (0.0..=1.0).contains(y)));
                prop_assert!((channel.iter().sum::<f64>() - 1.0).abs() <= 1e-5);
            }
            for (k, sum) in floats(&clusters.responsibilities.sum_dim(0)).iter().enumerate() {
                let count: f64 = softmax.iter().map(|channel| channel[k]).sum();
                prop_assert!((sum - count / (count + 1e-6)).abs() <= 1e-5 && (0.0..=1.0 + 1e-6).contains(sum));
            }
        }
    }

    #[test]
    fn p_em_2_the_reconstruction_is_a_projection_of_low_rank(case in case()) {
        for mode in MODES {
            let (clusters, bases) = solved(mode, &case);
            let rebuilt = clusters.rebuild(bases);
            let values = singular_values(&rows(&rebuilt));
            let rank = case.bases.min(case.width).min(case.items);
            for &value in values.iter().skip(rank) {
                prop_assert!(value <= 1e-10 * values[0], "{values:?}");
            }
            let x = tensor(&case.x);
            let projection = em(mode, &case).gram(&moments(&x), &average(&case.start)).projection();
            let found = floats(&x.clone().matmul(projection.clone()));
            let size = norm(&floats(&rebuilt));
            let off: Vec<f64> = found.iter().zip(floats(&rebuilt)).map(|(a, b)| a - b).collect();
            prop_assert!(norm(&off) <= 1e-6 * size, "{} of {size}", norm(&off));
            let p = rows(&clusters.projection());
            for (j, row) in p.iter().enumerate() {
                for (l, value) in row.iter().enumerate() {
                    prop_assert!((value - p[l][j]).abs() <= 1e-12);
                    prop_assert!(*value >= 0.0);
                }
            }
            // A shift makes every eigenvalue positive, so that singular values are eigenvalues.
            let shift = 1.0 + norm(&p.concat());
            let shifted: Rows = (0..case.width)
                .map(|j| (0..case.width).map(|l| p[j][l] + if j == l { shift } else { 0.0 }).collect())
                .collect();
            let least = singular_values(&shifted)[case.width - 1] - shift;
            prop_assert!(least >= -1e-12 * shift.max(1.0), "{least}");
            if mode == Mode::Paper {
                let sums: Vec<f64> = p.iter().map(|row| row.iter().sum()).collect();
                close(&sums, &vec![1.0; case.width], 1e-5);
                let trace: f64 = (0..case.width).map(|j| p[j][j]).sum();
                prop_assert!(trace <= case.bases as f64 + 1e-6);
                prop_assert!(size <= (1.0 + 1e-6) * norm(&case.x.concat()));
                let sums = |rows: &Rows| -> Vec<f64> { rows.iter().map(|row| row.iter().sum()).collect() };
                // The guard takes ε / (c + ε) of a base of c channels: of a row sum at most K ε times the row's largest
                // entry, which is 1e-5 of it only where no base is nearly empty.
                for ((rebuilt, row), sum) in sums(&rows(&rebuilt)).iter().zip(&case.x).zip(sums(&case.x)) {
                    let largest = row.iter().fold(0.0, |largest: f64, value| largest.max(value.abs()));
                    let bound = case.bases as f64 * 1e-6 * largest + 1e-9 * sum.abs().max(1.0);
                    prop_assert!((rebuilt - sum).abs() <= bound, "{rebuilt} is not {sum} within {bound}");
                }
            }
        }
    }

    #[test]
    fn p_em_3_permuted_items_permute_rows_and_nothing_else(case in case(), seed: u64) {
        let order = order(case.items, seed);
        let turned = Case { x: permuted(&case.x, &order), ..case.clone() };
        for mode in MODES {
            let ((a, bases), (b, turned_bases)) = (solved(mode, &case), solved(mode, &turned));
            close(&floats(&b.responsibilities), &floats(&a.responsibilities), 1e-6);
            let mean = |clusters: &Clusters| {
                floats(&clusters.mean_base(tensor(&case.x).sum_dim(0), case.items as f64))
            };
            close(&mean(&b), &mean(&a), 1e-6);
            let expected = permuted(&rows(&a.rebuild(bases)), &order);
            close(&floats(&b.rebuild(turned_bases)), &expected.concat(), 1e-6);
        }
    }

    #[test]
    fn p_em_4_permuted_channels_permute_columns_and_nothing_else(case in case(), seed: u64) {
        let order = order(case.width, seed);
        let turned = Case { x: case.x.iter().map(|row| permuted(row, &order)).collect(), ..case.clone() };
        for mode in MODES {
            let ((a, bases), (b, turned_bases)) = (solved(mode, &case), solved(mode, &turned));
            close(&floats(&turned_bases), &floats(&bases), 1e-6);
            let expected: Rows = rows(&a.rebuild(bases)).iter().map(|row| permuted(row, &order)).collect();
            close(&floats(&b.rebuild(turned_bases)), &expected.concat(), 1e-6);
        }
    }

    #[test]
    fn p_em_5_a_permuted_start_permutes_bases_and_nothing_else(case in case(), seed: u64) {
        let order = order(case.bases, seed);
        let turned = Case { start: permuted(&case.start, &order), ..case.clone() };
        for mode in MODES {
            let ((a, bases), (b, turned_bases)) = (solved(mode, &case), solved(mode, &turned));
            let expected: Rows = rows(&bases).iter().map(|row| permuted(row, &order)).collect();
            close(&floats(&turned_bases), &expected.concat(), 1e-6);
            close(&floats(&b.rebuild(turned_bases)), &floats(&a.rebuild(bases)), 1e-6);
        }
    }

    #[test]
    fn p_em_6_scale_laws(case in case(), factor in 0.1..3.0f64) {
        // At most 3 iterations: more amplify rounding beyond 1e-9.
        let case = Case { iterations: case.iterations.min(3), ..case };
        let reconstruction = |mode: Mode, scale: f64, sigma: f64, start: f64| {
            let config = EmclConfig { sigma: case.sigma * sigma, epsilon: 0.0, ..config(mode, &case) };
            let em = config.layer().unwrap().em().clone();
            let start = average(&case.start.iter().map(|m| m * start).collect::<Vec<_>>());
            let (clusters, bases) = em.direct(&(tensor(&case.x) * scale), &start);
            floats(&clusters.rebuild(bases))
        };
        let found = reconstruction(Mode::Reference, factor, factor, 1.0);
        close(&found, &reconstruction(Mode::Reference, 1.0, 1.0, 1.0), 1e-9);
        let found = reconstruction(Mode::Paper, factor, factor * factor, factor);
        let expected: Vec<f64> =
            reconstruction(Mode::Paper, 1.0, 1.0, 1.0).iter().map(|x| x * factor).collect();
        close(&found, &expected, 1e-9);
    }

    #[test]
    fn p_em_8_any_blocks_give_the_moments_of_the_whole(case in case(), cut in 1usize..9) {
        let mut parts = Moments::new(case.width);
        for block in case.x.chunks(cut) {
            parts.add(&tensor(&block.to_vec())).unwrap();
        }
        prop_assert_eq!(parts.n_items(), case.items);
        let streamed = parts.gram(&Device::flex(), DType::F64).unwrap();
        for mode in MODES {
            let (direct, _) = solved(mode, &case);
            let found = em(mode, &case).gram(&streamed, &average(&case.start));
            close(&floats(&found.responsibilities), &floats(&direct.responsibilities), 1e-6);
            let x = tensor(&case.x);
            let rebuilt = floats(&direct.reconstruct(x.clone()));
            let off: Vec<f64> =
                floats(&found.reconstruct(x.clone())).iter().zip(&rebuilt).map(|(a, b)| a - b).collect();
            prop_assert!(norm(&off) <= 1e-6 * norm(&rebuilt));
            let mean = |clusters: &Clusters| floats(&clusters.mean_base(x.clone().sum_dim(0), case.items as f64));
            close(&mean(&found), &mean(&direct), 1e-6);
        }
    }

    #[test]
    fn p_em_12_one_base_has_a_closed_form(case in case()) {
        let case = Case { bases: 1, start: vec![case.start[0]], ..case };
        let means: Vec<f64> = case.x.iter().map(|row| row.iter().sum::<f64>() / case.width as f64).collect();
        let length = norm(&means);
        for mode in MODES {
            let (clusters, bases) = solved(mode, &case);
            prop_assert!(floats(&clusters.softmax).iter().all(|y| *y == 1.0));
            let found = rows(&clusters.rebuild(bases));
            for (row, mean) in found.iter().zip(&means) {
                let expected = match mode {
                    Mode::Paper => *mean,
                    Mode::Reference => mean / (length * case.width as f64),
                };
                close(row, &vec![expected; case.width], 1e-5);
            }
        }
    }

    #[test]
    fn p_em_12_iterations_can_be_interrupted(case in case(), first in 1usize..4) {
        for mode in MODES {
            let case = Case { iterations: first, ..case.clone() };
            let (_, bases) = solved(mode, &case);
            // The next step's responsibilities, by hand from the bases.
            let logits = tensor(&case.x).transpose().matmul(bases) / case.sigma;
            let next = Start::Responsibilities(burn::tensor::activation::softmax(logits, 1));
            let rest = Case { iterations: 2, ..case.clone() };
            let (found, _) = em(mode, &rest).direct(&tensor(&case.x), &next);
            let (expected, _) = solved(mode, &Case { iterations: first + 2, ..case });
            close(&floats(&found.softmax), &floats(&expected.softmax), 1e-12);
        }
    }

    #[test]
    fn p_em_12_extremes_stay_finite(case in case(), exponent in -30f64..3.0) {
        let size = case.x.concat().iter().fold(0f64, |top, x| top.max(x.abs()));
        for scale in [0.0, 10f64.powf(exponent) / size] {
            for mode in MODES {
                let x = (tensor(&case.x) * scale).cast(DType::F32);
                let start = Start::Average(tensor(&vec![case.start.clone()]).cast(DType::F32));
                let em = em(mode, &case);
                let (clusters, bases) = em.direct(&x, &start);
                let rebuilt = floats(&clusters.rebuild(bases));
                prop_assert!(rebuilt.iter().all(|x| x.is_finite()), "{mode:?}");
                if scale == 0.0 {
                    prop_assert!(rebuilt.iter().all(|x| *x == 0.0));
                }
                let streamed = em.gram(&moments(&x), &start).reconstruct(x);
                prop_assert!(floats(&streamed).iter().all(|x| x.is_finite()), "{mode:?}, moments");
            }
        }
    }

    #[test]
    fn p_em_global_repeated_items_change_nothing(case in case(), times in 2usize..4) {
        let repeated = |times: usize| tensor(&case.x.iter().flat_map(|row| vec![row.clone(); times]).collect());
        for mode in MODES {
            let case = Case { iterations: case.iterations.min(3), ..case.clone() };
            let em = EmclConfig { scale: Scale::Mean, ..config(mode, &case) }.layer().unwrap().em().clone();
            let projection = |times: usize| {
                floats(&em.gram(&moments(&repeated(times)), &average(&case.start)).projection())
            };
            close(&projection(times), &projection(1), 1e-9);
        }
    }
}

/// Unit rows of `count` items, in f64.
fn unit_items(draw: &mut Draw, count: usize, width: usize) -> Tensor<2> {
    let rows: Rows = (0..count)
        .map(|_| {
            let row = draw.normals(width);
            let length = norm(&row);
            row.iter().map(|x| x / length).collect()
        })
        .collect();
    tensor(&rows)
}

/// The module at inference with a start in f64.
fn in_f64(config: &EmclConfig, width: usize, start: &[f64]) -> Inference {
    let inference = config.at_inference(width, 0, &Device::flex()).unwrap();
    let mut average = inference.average().clone();
    average.values = Param::from_tensor(tensor(&vec![start.to_vec()])).set_require_grad(false);
    inference.with_average(average)
}

fn tile(size: usize) -> Tile {
    Tile { texts: size, videos: size }
}

#[test]
fn p_em_7_global_bases_do_not_depend_on_the_tile() {
    let mut draw = Draw::new(1);
    let (texts, videos) = (unit_items(&mut draw, 9, 8), unit_items(&mut draw, 7, 8));
    let start = draw.normals(7);
    for mode in MODES {
        let config = EmclConfig { mode, scale: Scale::Mean, ..EmclConfig::inference() };
        let inference = in_f64(&config, 8, &start);
        let bank = inference.bank([texts.clone(), videos.clone()]).unwrap();
        let whole = floats(&inference.cosines(&texts, &videos, Scope::Bank(&bank)).unwrap());
        // The same items in other blocks, and query by query.
        let blocks = (0..9).map(|row| texts.clone().slice_dim(0, row..row + 1));
        let bank = inference.bank(blocks.chain([videos.clone()])).unwrap();
        for row in 0..9 {
            let alone = texts.clone().slice_dim(0, row..row + 1);
            let found = floats(&inference.cosines(&alone, &videos, Scope::Bank(&bank)).unwrap());
            close(&found, &whole[row * 7..][..7], 1e-8);
        }
        let everything = inference.cosines(&texts, &videos, Scope::Everything).unwrap();
        close(&floats(&everything), &whole, 1e-8);
    }
}

#[test]
fn p_em_7_global_with_sums_is_the_reference_called_once_on_everything() {
    let mut draw = Draw::new(2);
    let (texts, videos) = (unit_items(&mut draw, 9, 8), unit_items(&mut draw, 7, 8));
    let start = draw.normals(7);
    for mode in MODES {
        // At sigma 0.1 and 10 iterations two orders of summation part by up to 1e-6 of the value.
        let config = EmclConfig { mode, sigma: 0.5, ..EmclConfig::inference() };
        let inference = in_f64(&config, 8, &start);
        let once = inference.products(&texts, &videos, Scope::Tiles(tile(usize::MAX))).unwrap();
        let global = inference.products(&texts, &videos, Scope::Everything).unwrap();
        close(&floats(&global), &floats(&once), 1e-8);
    }
}

#[test]
fn p_em_7_fails_in_reference_mode_where_the_tile_decides() {
    let mut draw = Draw::new(3);
    let (texts, videos) = (unit_items(&mut draw, 12, 8), unit_items(&mut draw, 12, 8));
    let inference = in_f64(&EmclConfig::inference(), 8, &draw.normals(7));
    let [whole, halves] =
        [12, 6].map(|size| floats(&inference.products(&texts, &videos, Scope::Tiles(tile(size))).unwrap()));
    let largest = whole.iter().zip(&halves).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
    assert!(largest > 0.01, "{largest}"); // scale 100: more than 1 logit
}

#[test]
fn p_em_7_a_trained_global_head_judges_every_pair_by_itself() {
    let mut draw = Draw::new(4);
    let config = EmclConfig { bases: 4, ..EmclConfig::global() };
    let mut head = config.init(mean_pooling(), 8, &Device::flex()).unwrap();
    head.average.values = Param::from_tensor(tensor(&vec![draw.normals(4)])).set_require_grad(false);
    let running = head.running.as_mut().unwrap();
    running.gram = Param::from_tensor(running.gram.val().cast(DType::F64)).set_require_grad(false);
    running.sum = Param::from_tensor(running.sum.val().cast(DType::F64)).set_require_grad(false);
    let (texts, videos) =
        (TextCodes::new(unit_items(&mut draw, 9, 8)), VideoCodes::new(unit_items(&mut draw, 7, 8)));
    // Without a step there is no base, and nothing changes.
    let plain = floats(&score_all(&mean_pooling(), &texts, &videos, tile(9)).unwrap());
    close(&floats(&score_all(&head, &texts, &videos, tile(9)).unwrap()), &plain, 1e-12);
    head.after_step(&texts, &videos);
    assert!(!head.needs().mixes_items && head.needs().tile.is_none());
    let whole = floats(&score_all(&head, &texts, &videos, tile(9)).unwrap());
    assert!(whole.iter().zip(&plain).any(|(a, b)| (a - b).abs() > 1e-3), "the layer does nothing");
    for size in [1, 2, 5] {
        close(&floats(&score_all(&head, &texts, &videos, tile(size)).unwrap()), &whole, 1e-8);
    }
}

fn leaf(rows: &Rows) -> Tensor<2> {
    Tensor::from_inner(tensor(rows)).require_grad()
}

/// A case for gradients: sigma of at least 1, at most 4 iterations.
fn gradient_case(seed: u64) -> Case {
    let mut draw = Draw::new(seed);
    let x: Rows = (0..6).map(|_| draw.normals(5)).collect();
    let start = draw.normals(3);
    Case { items: 6, width: 5, bases: 3, iterations: 4, sigma: 1.5, x, start }
}

fn gradient(mode: Mode, detach: Detach, case: &Case, weight: &Rows) -> Vec<f64> {
    let layer = EmclConfig { detach, residual: true, weight: 3.0, ..config(mode, case) }.layer().unwrap();
    let x = leaf(&case.x);
    let out = layer.of_call(x.clone(), &average(&case.start));
    let gradients = (out * Tensor::from_inner(tensor(weight))).sum().backward();
    floats(&x.grad(&gradients).unwrap())
}

#[test]
fn p_em_9_a_detached_layer_passes_the_gradient_straight_through() {
    for seed in 0..4 {
        let case = gradient_case(seed);
        let weight: Rows = (0..6).map(|_| Draw::new(seed + 9).normals(5)).collect();
        for mode in MODES {
            assert_eq!(gradient(mode, Detach::All, &case, &weight), weight.concat());
        }
    }
}

#[test]
fn p_em_9_a_fixed_projection_passes_the_gradient_through_itself() {
    for seed in 0..4 {
        let case = gradient_case(seed);
        let mut draw = Draw::new(seed + 9);
        let weight: Rows = (0..6).map(|_| draw.normals(5)).collect();
        for mode in MODES {
            let projection = solved(mode, &case).0.projection();
            let w = tensor(&weight);
            let expected = floats(&(w.clone() + w.matmul(projection) * 3.0));
            close(&gradient(mode, Detach::Projection, &case, &weight), &expected, 1e-9);
        }
    }
}

#[test]
fn p_em_9_the_whole_layer_has_the_gradient_of_its_value() {
    for seed in 0..4 {
        let case = gradient_case(seed);
        let mut draw = Draw::new(seed + 9);
        let weight: Rows = (0..6).map(|_| draw.normals(5)).collect();
        for mode in MODES {
            let found = gradient(mode, Detach::None, &case, &weight);
            let value = |x: &Rows| -> f64 {
                let reconstruction =
                    solve(mode, x, &case.start, case.iterations, case.sigma, 1e-6).reconstruction;
                let out = x
                    .concat()
                    .iter()
                    .zip(reconstruction.concat())
                    .map(|(x, r)| x + 3.0 * r)
                    .collect::<Vec<_>>();
                out.iter().zip(weight.concat()).map(|(x, w)| x * w).sum()
            };
            for (place, found) in found.iter().enumerate() {
                let moved = |by: f64| {
                    let mut x = case.x.clone();
                    x[place / 5][place % 5] += by;
                    value(&x)
                };
                let slope = (moved(1e-5) - moved(-1e-5)) / 2e-5;
                assert!(
                    (found - slope).abs() <= 1e-5 * slope.abs().max(1.0),
                    "at {place}: {found} is not {slope}"
                );
            }
        }
    }
}

#[test]
fn p_em_9_the_start_never_receives_a_gradient() {
    for detach in [Detach::All, Detach::Projection, Detach::None] {
        let config = EmclConfig { detach, bases: 3, ..EmclConfig::reference() };
        let head = config.init(mean_pooling(), 8, &Device::flex()).unwrap().train();
        let mut draw = Draw::new(5);
        let texts = Tensor::from_inner(draw.tensor::<2>([4, 8])).require_grad();
        let videos = Tensor::from_inner(draw.tensor::<2>([3, 8]));
        let similarity = head.similarity(&TextCodes::new(texts.clone()), &VideoCodes::new(videos));
        let gradients = similarity.fused.sum().backward();
        assert!(texts.grad(&gradients).is_some());
        assert!(head.average.values.val().grad(&gradients).is_none(), "{detach:?}");
        assert!(!head.average.values.is_require_grad(), "{detach:?}");
    }
}

/// A head of mean pooling with EM, and codes to judge.
fn stateful(config: &EmclConfig, seed: u64) -> (Emcl<MeanPooling>, TextCodes, VideoCodes) {
    let head = config.init(mean_pooling(), 8, &Device::flex()).unwrap();
    let mut draw = Draw::new(seed);
    let (texts, videos) = (head.code_texts(draw.texts(5)), head.code_videos(draw.videos(6, 3)));
    (head, texts, videos)
}

#[test]
fn p_em_10_the_average_moves_after_a_step_and_nowhere_else() {
    for mode in MODES {
        let config = EmclConfig { mode, bases: 4, iterations: 3, ..EmclConfig::reference() };
        let (mut head, texts, videos) = stateful(&config, 6);
        let before = floats(&head.average.values.val());
        let evaluated = floats(&head.similarity(&texts, &videos).fused);
        assert_eq!(floats(&head.average.values.val()), before);
        // A training call of the same head has the same output, and leaves M as it is.
        let training = head.clone().train();
        let found = training.similarity(&texts.leaves(), &videos.leaves()).fused;
        assert_close(&floats(&found.inner()), &evaluated, 1e-6);
        assert_eq!(floats(&training.average.values.val()), before);
        head.after_step(&texts, &videos);
        let items: Rows = [rows(&videos.pooled), rows(&texts.pooled)].concat();
        let mean = solve(mode, &items, &before, 3, 1.0, 1e-6).mean_base;
        let moved: Vec<f64> = before.iter().zip(&mean).map(|(m, mean)| 0.9 * m + 0.1 * mean).collect();
        let after = floats(&head.average.values.val());
        assert_close(&after, &moved, 1e-5);
        if mode == Mode::Reference {
            for (after, before) in after.iter().zip(&before) {
                assert!(after.abs() <= 0.9 * before.abs() + 0.1 / (items.len() as f64).sqrt() + 1e-6);
            }
        }
    }
}

#[test]
fn p_em_10_the_record_holds_all_state() {
    for config in [EmclConfig::reference(), EmclConfig { bases: 5, ..EmclConfig::global() }] {
        let (mut head, texts, videos) = stateful(&config, 7);
        head.after_step(&texts, &videos);
        head.after_step(&texts, &videos);
        let expected = head.similarity(&texts, &videos).fused.into_data();
        let bytes = head.into_record().into_bytes().unwrap();
        let (fresh, ..) = stateful(&config, 8);
        let loaded = fresh.try_load_record(burn::store::ModuleRecord::from_bytes(bytes).unwrap()).unwrap();
        loaded.similarity(&texts, &videos).fused.into_data().assert_eq(&expected, true);
        // Going to training and back keeps it as well.
        let found = loaded.train().valid().similarity(&texts, &videos).fused;
        found.into_data().assert_eq(&expected, true);
    }
}

fn fresh(init: Init, bases: usize) -> Vec<f64> {
    let config = EmclConfig { init, bases, ..EmclConfig::reference() };
    floats(&config.at_inference(8, 1, &Device::flex()).unwrap().average().values.val())
}

fn share_of_different_pairs(values: &[f64]) -> f64 {
    let (mut different, mut pairs) = (0.0, 0.0);
    for a in 0..values.len() {
        for b in 0..a {
            pairs += 1.0;
            different += f64::from(u8::from((values[a].abs() - values[b].abs()).abs() > 1e-3));
        }
    }
    different / pairs
}

#[test]
fn p_em_11_a_normal_start_has_different_values() {
    let values = fresh(Init::Normal, 32);
    let share = share_of_different_pairs(&values);
    assert!(share >= 0.9, "{share} of {values:?}");
    let deviation = (norm(&fresh(Init::Normal, 2000)).powi(2) / 2000.0).sqrt();
    assert!((deviation / (2.0f64 / 2000.0).sqrt() - 1.0).abs() < 0.08, "{deviation}"); // 5 standard errors
}

#[test]
fn p_em_11_fails_with_the_published_start() {
    let values = fresh(Init::Signs, 32);
    // All but rare draws below 1e-3, which have a chance of 3 in 1,000 each.
    let near = values.iter().filter(|value| (value.abs() - 1.0).abs() <= 1e-3).count();
    assert!(near >= 28, "{values:?}");
    assert!(share_of_different_pairs(&values) < 0.3);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn p_em_11_equal_values_give_equal_bases_and_signs_give_rank_two(case in case()) {
        let case = Case { iterations: case.iterations.min(3), ..case };
        let signs: Vec<f64> = (0..6).map(|k| if k % 2 == 0 { 1.0 } else { -1.0 }).collect();
        let case = Case { bases: 6, start: signs, ..case };
        for mode in MODES {
            let (clusters, bases) = solved(mode, &case);
            for base in rows(&bases) {
                close(&[base[2], base[4], base[3], base[5]], &[base[0], base[0], base[1], base[1]], 1e-7);
            }
            let values = singular_values(&rows(&clusters.rebuild(bases)));
            if let Some(third) = values.get(2) {
                prop_assert!(*third <= 1e-7 * values[0], "{values:?}");
            }
        }
    }

    #[test]
    fn p_em_11_centred_items_collapse_to_one_base(case in case()) {
        let mut x = case.x.clone();
        x.extend(case.x.iter().map(|row| row.iter().map(|x| -x).collect::<Vec<_>>()));
        let case = Case { items: 2 * case.items, iterations: case.iterations.min(3), x, ..case };
        for mode in MODES {
            let (_, bases) = solved(mode, &case);
            for base in rows(&bases) {
                close(&base, &vec![base[0]; case.bases], 1e-7);
            }
        }
    }
}

#[test]
fn p_em_11_drawn_responsibilities_part_the_bases_of_centred_items() {
    let mut draw = Draw::new(10);
    let half: Rows = (0..20).map(|_| draw.normals(12)).collect();
    let mut x = half.clone();
    x.extend(half.iter().map(|row| row.iter().map(|x| -x).collect::<Vec<_>>()));
    let config = EmclConfig { init: Init::Channels, bases: 4, iterations: 3, ..EmclConfig::reference() };
    let inference = config.at_inference(12, 1, &Device::flex()).unwrap();
    let Start::Responsibilities(first) = inference.average().start(0) else { panic!("no responsibilities") };
    let start = Start::Responsibilities(first.cast(DType::F64));
    let (_, bases) = config.layer().unwrap().em().direct(&tensor(&x), &start);
    assert_eq!(distinct_columns(&rows(&bases)), 4);
    // They stay as drawn.
    let mut average = inference.average().clone();
    average.update(vec![Tensor::ones([1, 4], &Device::flex())]);
    assert_eq!(floats(&average.values.val()), floats(&inference.average().values.val()));
}

#[test]
fn p_em_12_a_single_item_a_single_channel_and_more_bases_than_channels_are_finite() {
    for (items, width, bases) in [(1, 6, 3), (5, 1, 3), (1, 1, 1), (4, 2, 8)] {
        let mut draw = Draw::new(11);
        let x: Rows = vec![draw.normals(width); items];
        let case = Case { items, width, bases, iterations: 4, sigma: 1.0, x, start: draw.normals(bases) };
        for mode in MODES {
            let (clusters, found) = solved(mode, &case);
            assert!(floats(&clusters.rebuild(found)).iter().all(|x| x.is_finite()));
        }
    }
}

#[test]
fn emcl_refuses_settings_and_heads_by_name() {
    let device = Device::flex();
    let refuse = |config: EmclConfig| refused(config.init(mean_pooling(), 8, &device).map(|_| ()));
    let base = EmclConfig::reference();
    let cases = [
        (EmclConfig { bases: 0, ..base.clone() }, "emcl: bases = 0, but it must be a number above 0"),
        (
            EmclConfig { iterations: 0, ..base.clone() },
            "emcl: iterations = 0, but it must be a number above 0",
        ),
        (EmclConfig { sigma: 0.0, ..base.clone() }, "emcl: sigma = 0, but it must be a number above 0"),
        (EmclConfig { sigma: -1.0, ..base.clone() }, "emcl: sigma = -1, but it must be a number above 0"),
        (
            EmclConfig { sigma: f64::NAN, ..base.clone() },
            "emcl: sigma = NaN, but it must be a number above 0",
        ),
        (
            EmclConfig { weight: f64::NAN, ..base.clone() },
            "emcl: weight = NaN, but it must be a finite number",
        ),
        (EmclConfig { momentum: 1.5, ..base.clone() }, "emcl: momentum = 1.5, but it must be from 0 to 1"),
        (
            EmclConfig { epsilon: -1.0, ..base.clone() },
            "emcl: epsilon = -1, but it must be a number of at least 0",
        ),
        (EmclConfig { tile: 0, ..base.clone() }, "emcl: tile = 0, but it must be a number above 0"),
        (
            EmclConfig { detach: Detach::None, ..EmclConfig::global() },
            "emcl: detach = \"none\" with items = \"global\": bases of earlier steps have no gradient; set detach = \
             \"projection\"",
        ),
        (
            EmclConfig { items: Items::Global, ..base.clone() },
            "emcl: scale = \"sum\" with items = \"global\": moving means have no number of items; set scale = \"mean\"",
        ),
    ];
    for (config, expected) in cases {
        assert_eq!(refuse(config), expected);
    }
    assert_eq!(
        refused(base.init(tight_transf(1), 8, &device).map(|_| ())),
        "emcl: the wrapped head judges pairs by no cosine of two vectors; leave [head.emcl] out or choose another head"
    );
    assert_eq!(
        refused(base.at_inference(0, 0, &device).map(|_| ())),
        "emcl: width = 0, but it must be a number above 0"
    );
}

#[test]
fn inference_refuses_features_by_name_and_names_its_regime() {
    let device = Device::flex();
    let inference = EmclConfig::inference().at_inference(4, 0, &device).unwrap();
    let items = |count: usize, width: usize| Tensor::<2>::ones([count, width], &device);
    let all = Scope::Everything;
    assert_eq!(
        refused(inference.cosines(&items(2, 3), &items(2, 4), all)),
        "a block of items is [2, 3], but [2, 4] is needed"
    );
    assert_eq!(
        refused(inference.cosines(&items(2, 4), &items(0, 4), all)),
        "there are no videos; at least one is needed"
    );
    let broken = items(3, 4).slice_fill(s![2, 1..2], f32::NAN);
    assert_eq!(
        refused(inference.cosines(&items(2, 4), &broken, all)),
        "video 2 has a value that is NaN or infinite"
    );
    assert_eq!(refused(inference.bank([items(2, 4), broken])), "item 4 has a value that is NaN or infinite");
    assert_eq!(
        refused(inference.cosines(&items(2, 4), &items(2, 4), Scope::Tiles(tile(0)))),
        "emcl: tile = 0, but it must be a number above 0"
    );
    let empty = Moments::new(4);
    assert_eq!(
        refused(inference.cosines(&items(2, 4), &items(2, 4), Scope::Bank(&empty))),
        "there are no items to find bases on; at least one is needed"
    );
    assert_eq!((all.regime(), Scope::Bank(&empty).regime()), ("transductive", "bank"));
    assert_eq!(Scope::Tiles(tile(64)).to_string(), "tiles of 64 texts x 64 videos");
}

#[test]
fn a_head_that_mixes_items_says_so_and_names_its_tile() {
    let needs = emcl_reference(1).needs();
    assert!(needs.mixes_items && needs.judges_pairs);
    assert_eq!(needs.tile, Some(tile(32)));
    let config = MeanPoolingConfig::reference();
    assert!(!config.init(8, &Device::flex()).unwrap().needs().judges_pairs);
}
