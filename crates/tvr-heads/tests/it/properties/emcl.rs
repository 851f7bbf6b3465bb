//! P-EM-1 to P-EM-12, and what `global` adds.

mod tiles;
mod gradients;
mod means;
mod state;

use burn::module::Param;
use burn::prelude::*;
use burn::tensor::DType;
use proptest::prelude::*;
use tvr_heads::emcl::{
    Clusters, Detach, Em, Gram, Inference, Init, Items, Mode, Moments, Scale, Scope, Start, effective_rank,
};
use tvr_heads::{
    Emcl, EmclConfig, Head, MeanPooling, MeanPoolingConfig, TextCodes, Tile, VideoCodes, score_all,
};

use crate::common::{
    Draw, assert_close, emcl_reference, floats, largest_gap, mean_pooling, refused, tight_transf,
};
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

/// What moves `M`.
fn mean_base(clusters: &Clusters, case: &Case) -> Vec<f64> {
    floats(&clusters.mean_base(tensor(&case.x).sum_dim(0), case.items as f64))
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

fn tile(size: usize) -> Tile {
    Tile { texts: size, videos: size }
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
            close(&mean_base(&b, &turned), &mean_base(&a, &case), 1e-6);
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
            close(&mean_base(&b, &turned), &mean_base(&a, &case), 1e-6);
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
            close(&mean_base(&b, &turned), &permuted(&mean_base(&a, &case), &order), 1e-6);
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
            close(&mean_base(&found, &case), &mean_base(&direct, &case), 1e-6);
        }
    }

    #[test]
    fn p_em_12_one_base_has_a_closed_form(case in case()) {
        let case = Case { bases: 1, start: vec![case.start[0]], ..case };
        // Every channel belongs to the one base, by a share that the divisor's guard makes a little smaller than 1 / D.
        let guard = 1e-6;
        let share = 1.0 / (case.width as f64 + guard);
        let means: Vec<f64> = case.x.iter().map(|row| row.iter().sum::<f64>() * share).collect();
        let length = norm(&means) + guard;
        for mode in MODES {
            let (clusters, bases) = solved(mode, &case);
            prop_assert!(floats(&clusters.softmax).iter().all(|y| *y == 1.0));
            let found = rows(&clusters.rebuild(bases));
            for (row, mean) in found.iter().zip(&means) {
                let expected = match mode {
                    Mode::Paper => *mean,
                    Mode::Reference => mean / length * share,
                };
                close(row, &vec![expected; case.width], 1e-9);
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
    fn either_form_finds_the_same(case in case()) {
        for (mode, scale) in MODES.into_iter().flat_map(|mode| [(mode, Scale::Sum), (mode, Scale::Mean)]) {
            let em = EmclConfig { scale, ..config(mode, &case) }.layer().unwrap().em().clone();
            let (x, start) = (tensor(&case.x), average(&case.start));
            let ((direct, bases), (chosen, again)) = (em.direct(&x, &start), em.of_items(&x, &start));
            let (found, wanted) = (floats(&chosen.rebuild(again)), floats(&direct.rebuild(bases)));
            let off: Vec<f64> = found.iter().zip(&wanted).map(|(a, b)| a - b).collect();
            prop_assert!(norm(&off) <= 1e-6 * norm(&wanted), "{} of {}", norm(&off), norm(&wanted));
        }
    }

    #[test]
    fn second_moments_of_wide_items_are_their_product(items in 1usize..6, width in 120usize..400) {
        let x: Vec<Vec<f64>> = (0..items).map(|i| (0..width).map(|j| ((i * 7 + j * 3) % 11) as f64).collect()).collect();
        let found = floats(&Gram::of(&tensor(&x)).gram);
        for (at, found) in found.into_iter().enumerate() {
            let wanted: f64 = x.iter().map(|row| row[at / width] * row[at % width]).sum();
            prop_assert_eq!(found, wanted);
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

#[test]
fn responsibilities_are_never_subnormal() {
    // Logits of one step with one item: the item times the start.
    let item: Vec<f64> = (0..120).map(f64::from).collect();
    let start = Start::Average(tensor(&vec![vec![1.0, 0.0]]).cast(DType::F32));
    let config = EmclConfig { bases: 2, iterations: 1, sigma: 1.0, ..EmclConfig::reference() };
    let (clusters, _) = config.layer().unwrap().em().direct(&tensor(&vec![item]).cast(DType::F32), &start);
    let small: Vec<f64> = floats(&clusters.softmax).into_iter().filter(|y| *y < 1e-20).collect();
    assert!(small.contains(&0.0) && small.iter().any(|y| *y > 0.0), "{small:?}");
    assert!(small.iter().all(|y| !(*y as f32).is_subnormal()), "{small:?}");
}
