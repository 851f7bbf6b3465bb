use crate::oracles::{
    assert_close, column_lse, dual_softmax, matrix, noise, of_shape, over, share, with_bank,
};
use ndarray::{Array2, Axis, array, concatenate};
use proptest::prelude::*;
use tvr_normalize::{
    DualSoftmax, InvertedSoftmax, MatrixSource, Mutual, Normalizer, Prior, Regime, Scores, Side, Sources,
    Warning,
};

fn apply(s: &Array2<f32>, temperature: f32) -> Array2<f32> {
    DualSoftmax::new(temperature).unwrap().apply(&Scores::new(s.view())).unwrap()
}

proptest! {
    #[test]
    fn p_ds_1_the_share_is_a_distribution(s in matrix(2..20usize, 1..20usize, 30.0), power in -2f32..3.0) {
        let s = s.mapv(|value| value + 31.0); // positive, so that the share can be read back
        let revised = apply(&s, 10f32.powf(power));
        for column in (revised / &s).columns() {
            let sum: f32 = column.sum();
            prop_assert!((sum - 1.0).abs() < 2e-6, "{sum}");
            prop_assert!(column.iter().all(|&share| (0.0..=1.000_001).contains(&share)));
        }
    }

    #[test]
    fn dual_softmax_is_its_formula((s, bank) in with_bank(20.0), temperature in 0.5f32..50.0) {
        assert_close(apply(&s, temperature).view(), &dual_softmax(&s, None, temperature), 2e-6);
        let scores = Scores::new(s.view()).with_query_bank(bank.view());
        let revised = DualSoftmax::new(temperature).unwrap().apply(&scores).unwrap();
        assert_close(revised.view(), &dual_softmax(&s, Some(&bank), temperature), 2e-6);
    }

    #[test]
    fn p_ds_3_permuting_queries_and_items_permutes_the_result(
        (s, rows, columns) in (2..40usize, 2..9usize).prop_flat_map(|(n, m)| (
            of_shape(n, m, 10.0),
            Just((0..n).collect::<Vec<_>>()).prop_shuffle(),
            Just((0..m).collect::<Vec<_>>()).prop_shuffle(),
        ))
    ) {
        let turned = apply(&s.select(Axis(0), &rows).select(Axis(1), &columns), 1.0);
        let expected = apply(&s, 1.0).select(Axis(0), &rows).select(Axis(1), &columns);
        assert_close(turned.view(), &expected.mapv(f64::from), 1e-6);
    }

    #[test]
    fn p_ds_4_the_other_direction_is_the_transpose(s in matrix(2..9usize, 2..9usize, 10.0)) {
        let copied = s.t().as_standard_layout().into_owned();
        let by_view = DualSoftmax::new(1.0).unwrap().apply(&Scores::new(s.t())).unwrap();
        prop_assert_eq!(by_view, apply(&copied, 1.0));
    }

    #[test]
    fn p_ds_5_the_factor_n_moves_no_order(s in matrix(2..30usize, 2..9usize, 10.0), temperature in 0.2f32..20.0) {
        // Published code multiplies by the number of queries; this is that formula, in f64 and apart from ours.
        let n = s.nrows() as f64;
        let published = dual_softmax(&s, None, temperature) * n;
        let revised = apply(&s, temperature);
        for (ours, theirs) in revised.rows().into_iter().zip(published.rows()) {
            for j in 0..ours.len() {
                for k in 0..j {
                    let gap = theirs[j] - theirs[k];
                    let size = theirs[j].abs().max(theirs[k].abs());
                    // Nearer than f32 can tell, the order of two scores means nothing.
                    if gap.abs() > 1e-5 * size && size > 1e-30 {
                        prop_assert_eq!(ours[j] > ours[k], gap > 0.0, "{} {} {}", ours[j], ours[k], gap);
                    }
                }
            }
        }
    }

    #[test]
    fn p_ds_6_the_order_inside_a_column_stays(s in matrix(2..9usize, 2..9usize, 10.0)) {
        let s = s.mapv(|value| value + 10.5);
        let revised = apply(&s, 1.0);
        for (raw, revised) in s.columns().into_iter().zip(revised.columns()) {
            for i in 0..raw.len() {
                for k in 0..raw.len() {
                    prop_assert!(raw[i] > raw[k] || revised[i] <= revised[k] * 1.000_001);
                }
            }
        }
    }

    #[test]
    fn p_ds_8_repeated_queries_leave_the_order(s in matrix(2..9usize, 2..9usize, 10.0), times in 2..5usize) {
        let s = s.mapv(|value| value + 10.5);
        let repeated = concatenate(Axis(0), &vec![s.view(); times]).unwrap();
        let (once, many) = (apply(&s, 1.0), apply(&repeated, 1.0));
        for i in 0..s.nrows() {
            for j in 0..s.ncols() {
                let expected = once[[i, j]] / times as f32;
                prop_assert!((many[[i, j]] - expected).abs() <= 2e-6 * expected);
            }
        }
    }

    #[test]
    fn p_ds_8_one_more_query_raises_no_share(s in matrix(3..9usize, 2..9usize, 10.0)) {
        let s = s.mapv(|value| value + 10.5);
        let fewer = s.slice(ndarray::s![..-1, ..]).to_owned();
        let (few, all) = (apply(&fewer, 1.0), apply(&s, 1.0));
        for ((i, j), value) in few.indexed_iter() {
            prop_assert!(all[[i, j]] <= value * 1.000_001);
        }
    }
}

#[test]
fn p_ds_1_the_share_is_finite_at_the_edge() {
    let s = array![[1e4, -1e4], [-1e4, 1e4]];
    for temperature in [0.001, 0.01, 1.0, 1000.0] {
        let revised = apply(&s, temperature);
        assert!(revised.iter().all(|value| value.is_finite()));
        assert_close(revised.view(), &dual_softmax(&s, None, temperature), 1e-5);
    }
}

#[test]
fn p_ds_6_a_shared_prior_read_the_other_way_is_raw() {
    // TS2-Net and CLIP-ViP read V2T off the matrix that was revised for T2V.
    let s = noise(12, 7, 5.0, 3).mapv(|value| value + 5.5);
    let shared = DualSoftmax::new(1.0).unwrap().with_prior(Prior::Shared);
    let text_to_video = Scores::new(s.view());
    let video_to_text = Scores::new(s.t()).with_queries(Side::Videos);
    let once = shared.apply(&text_to_video).unwrap();
    assert_eq!(once, apply(&s, 1.0));
    // One matrix for both directions, up to a rounding: sums run along rows here and along columns there.
    let other = shared.apply(&video_to_text).unwrap();
    assert_close(other.t(), &once.mapv(f64::from), 1e-6);
    let warmer = DualSoftmax::new(2.0).unwrap().with_prior(Prior::Shared).apply(&video_to_text).unwrap();
    assert_close(warmer.t(), &dual_softmax(&s, None, 2.0), 2e-6);
    let order = |row: ndarray::ArrayView1<f32>| {
        let mut items: Vec<usize> = (0..row.len()).collect();
        items.sort_by(|&a, &b| row[b].total_cmp(&row[a]));
        items
    };
    for (raw, revised) in s.columns().into_iter().zip(other.rows()) {
        assert_eq!(order(raw), order(revised), "every video keeps its raw order");
    }
    // Prepared with a bank alone it is raw as well: the share is the query's own.
    let bank = noise(9, 12, 5.0, 4);
    let bank = MatrixSource::new(bank.view());
    let sources = Sources { query_bank: Some(&bank), queries: Side::Videos, ..Sources::default() };
    assert_eq!(shared.prepare(&sources).unwrap().apply(s.t()).unwrap(), other);
    assert_eq!(shared.regime(&text_to_video), Regime::Transductive);
    assert_eq!(shared.regime(&video_to_text), Regime::Raw);
    // A prior of its own does re-rank.
    let own = DualSoftmax::new(1.0).unwrap().apply(&video_to_text).unwrap();
    assert!(s.columns().into_iter().zip(own.rows()).any(|(raw, revised)| order(raw) != order(revised)));
}

#[test]
fn captions_of_one_video_count_once_together() {
    // Texts 0 to 2 are captions of video 0, each as every other; text 3 belongs to video 1.
    let s = array![[4.0f32, 1.0], [4.0, 1.0], [4.0, 1.0], [3.0, 5.0]];
    let weights = [1.0 / 3.0, 1.0 / 3.0, 1.0 / 3.0, 1.0];
    let scores = Scores::new(s.view()).with_query_weights(&weights);
    let videos = DualSoftmax::new(1.0).unwrap().with_prior(Prior::Videos);
    let found = videos.apply(&scores).unwrap();
    // One caption a video: the same shares.
    let single = apply(&s.select(Axis(0), &[0, 3]), 1.0).mapv(f64::from);
    assert_close(found.select(Axis(0), &[0, 3]).view(), &single, 1e-6);
    assert_eq!(
        DualSoftmax::new(1.0).unwrap().apply(&scores).unwrap(),
        apply(&s, 1.0),
        "own asks for no weights"
    );
    assert_eq!(
        videos.apply(&Scores::new(s.view())).unwrap(),
        apply(&s, 1.0),
        "without weights each counts 1"
    );
    let wrong = |weights: &[f32]| {
        videos.apply(&Scores::new(s.view()).with_query_weights(weights)).unwrap_err().to_string()
    };
    assert_eq!(wrong(&[1.0]), "dual-softmax: 1 weights for 4 queries; give one for each");
    assert_eq!(
        wrong(&[1.0, 0.0, 1.0, 1.0]),
        "dual-softmax: the weight of query 1 is 0, but it must be a number above 0"
    );
}

#[test]
fn p_ds_9_one_pair_stays_raw() {
    for value in [3.25f32, -1e4, 0.0] {
        assert_eq!(apply(&array![[value]], 0.01), array![[value]]);
    }
}

#[test]
fn p_ds_10_negative_scores_flip_and_the_warning_fires() {
    // Row 0 prefers item 1 (−1 over −3), and item 0 is wanted more by row 1: fairness agrees with raw there.
    let s = array![[-3.0f32, -1.0], [9.0, -9.0]];
    let scores = Scores::new(s.view());
    let dual = DualSoftmax::new(1.0).unwrap();
    let revised = dual.apply(&scores).unwrap();
    let kept = InvertedSoftmax::new(1.0).unwrap().apply(&scores).unwrap();
    assert!(revised[[0, 0]] > revised[[0, 1]], "the flaw: a tiny share of −3 beats −1");
    assert!(kept[[0, 0]] < kept[[0, 1]]);
    let warnings = dual.warnings(&scores);
    assert_eq!(warnings, [Warning::NegativeScores { method: "dual-softmax", negative: 3, scores: 4 }]);
    assert_eq!(
        warnings[0].to_string(),
        "dual-softmax: 75.0 % of the scores are negative, and a small share of a negative score is large; \
         inverted-softmax and sinkhorn do not have this flaw"
    );
    assert!(dual.warnings(&Scores::new(array![[1.0f32]].view())).is_empty());
    // A share that one decimal would print as 0.0 % is told as a count.
    let mut rare = Array2::<f32>::ones((100, 100));
    rare[[3, 4]] = -0.5;
    assert!(
        dual.warnings(&Scores::new(rare.view()))[0]
            .to_string()
            .starts_with("dual-softmax: 1 of 10000 scores are negative, and a small share")
    );
}

/// What docs/deviations.md says of shares that f32 does not hold: items tie there, which methods in logs keep apart.
#[test]
fn shares_too_small_for_f32_tie_and_logs_do_not() {
    let s = array![[300.0f32, 100.0, 0.0], [0.0, 250.0, 180.0]];
    let mutual = Mutual::new(1.0).unwrap().apply(&Scores::new(s.view())).unwrap();
    let dual = apply(&s, 1.0);
    let logs = InvertedSoftmax::new(1.0).unwrap().apply(&Scores::new(s.view())).unwrap();
    assert_eq!((mutual[[0, 1]], mutual[[0, 2]]), (0.0, 0.0));
    assert_eq!((dual[[0, 1]], dual[[0, 2]]), (0.0, 0.0));
    assert!(logs[[0, 1]] > logs[[0, 2]], "{logs}");
}

#[test]
fn mutual_is_its_formula() {
    let (s, bank) = (noise(9, 6, 4.0, 5), noise(7, 6, 4.0, 6));
    let transposed = over(&s, 2.0).t().to_owned();
    for bank in [None, Some(&bank)] {
        let columns = share(&s, bank, 2.0);
        let expected = Array2::from_shape_fn(s.dim(), |(i, j)| {
            columns[[i, j]] * (transposed[[j, i]] - column_lse(&transposed, i)).exp()
        });
        let scores = Scores { query_bank: bank.map(|bank| bank.view()), ..Scores::new(s.view()) };
        assert_close(Mutual::new(2.0).unwrap().apply(&scores).unwrap().view(), &expected, 1e-6);
    }
}
