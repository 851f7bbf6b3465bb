//! What must hold for any matrix.

use ndarray::{Array2, Axis};
use proptest::prelude::*;
use tvr_metrics::{
    Direction, NonFinite, Policy, Ranks, Ties, Truth, hubness, judge, ranks, video_to_text_best,
};

use crate::oracles;

mod captions;
mod hubness;
mod representation;

const BOTH: [Direction; 2] = [Direction::TextToVideo, Direction::VideoToText];

fn policy(ties: Ties) -> Policy {
    Policy { ties, non_finite: NonFinite::Miss, cutoffs: vec![1, 2, 5, 1000] }
}

/// Scores on a grid of seven values, so that ties occur.
fn grid(texts: usize, videos: usize) -> impl Strategy<Value = Array2<f32>> {
    prop::collection::vec(-3i8..=3, texts * videos).prop_map(move |cells| {
        Array2::from_shape_vec((texts, videos), cells.iter().map(|&c| f32::from(c)).collect()).unwrap()
    })
}

/// The same with NaN, both infinities and both zeros.
fn rough(texts: usize, videos: usize) -> impl Strategy<Value = Array2<f32>> {
    let odd = prop_oneof![
        6 => (-3i8..=3).prop_map(f32::from),
        1 => Just(f32::NAN), 1 => Just(f32::INFINITY), 1 => Just(f32::NEG_INFINITY), 1 => Just(-0.0),
    ];
    prop::collection::vec(odd, texts * videos)
        .prop_map(move |cells| Array2::from_shape_vec((texts, videos), cells).unwrap())
}

/// Groups over `videos` videos, each with a text.
fn groups() -> impl Strategy<Value = (usize, Vec<usize>)> {
    (1usize..7).prop_flat_map(|videos| {
        prop::collection::vec(0..videos, 0..14).prop_flat_map(move |more| {
            let all: Vec<usize> = (0..videos).chain(more).collect();
            (Just(videos), Just(all).prop_shuffle())
        })
    })
}

fn grouped(rough_scores: bool) -> impl Strategy<Value = (Array2<f32>, Vec<usize>)> {
    groups().prop_flat_map(move |(videos, groups)| {
        let scores = if rough_scores {
            rough(groups.len(), videos).boxed()
        } else {
            grid(groups.len(), videos).boxed()
        };
        (scores, Just(groups))
    })
}

fn wide(scores: &Array2<f32>) -> Vec<Vec<f64>> {
    scores.rows().into_iter().map(|row| row.iter().map(|&x| f64::from(x)).collect()).collect()
}

fn counts(ranks: &Ranks) -> oracles::Counts {
    let pairs = ranks.greater().iter().zip(ranks.equal());
    pairs.map(|(&g, &e)| (e > 0).then_some((g as usize, e as usize))).collect()
}

fn one(scores: &Array2<f32>, direction: Direction, ties: Ties) -> Ranks {
    ranks(scores.view(), &Truth::diagonal(scores.nrows()), direction, &policy(ties)).unwrap()
}

proptest! {
    #[test]
    fn p_m_1_policies_are_ordered_and_equal_without_ties(s in (1usize..12).prop_flat_map(|n| grid(n, n))) {
        for direction in BOTH {
            let [low, middle, high] = [Ties::Optimistic, Ties::Average, Ties::Pessimistic].map(|t| one(&s, direction, t));
            for q in 0..s.nrows() {
                let [l, m, h] = [&low, &middle, &high].map(|r| r.per_query()[q]);
                prop_assert!(l <= m && m <= h);
                prop_assert!(middle.equal()[q] > 1 || (l == m && m == h));
            }
        }
    }

    #[test]
    fn p_m_1_recall_grows_with_the_cutoff_to_one_hundred(s in (1usize..12).prop_flat_map(|n| grid(n, n))) {
        let n = s.nrows();
        for ties in Ties::ALL {
            let all = Policy { cutoffs: (1..=n).collect(), ..policy(ties) };
            let judged = judge(s.view(), &Truth::diagonal(n), &all).unwrap();
            for summary in [judged.text_to_video, judged.video_to_text] {
                prop_assert!(summary.recalls.windows(2).all(|w| w[0].percent <= w[1].percent + 1e-12)); // a sum of thirds
                prop_assert!((summary.recall_percent(n).unwrap() - 100.0).abs() < 1e-12);
            }
        }
    }

    #[test]
    fn p_m_1_rising_maps_and_joint_permutations_change_nothing(
        (s, order, steps) in (1usize..10).prop_flat_map(|n| (
            grid(n, n), Just((0..n).collect::<Vec<_>>()).prop_shuffle(), prop::collection::vec((0.5f32..4.0, -9i8..9), n)
        ))
    ) {
        let n = s.nrows();
        let mapped = s.mapv(|x| x.exp() * 3.0 + x);
        let by_row = Array2::from_shape_fn((n, n), |(i, j)| s[[i, j]] * steps[i].0 + f32::from(steps[i].1));
        let moved = s.select(Axis(0), &order).select(Axis(1), &order);
        for ties in Ties::ALL {
            for direction in BOTH {
                let here = one(&s, direction, ties);
                prop_assert_eq!(&here, &one(&mapped, direction, ties));
                let there = counts(&one(&moved, direction, ties));
                prop_assert_eq!(there, order.iter().map(|&q| counts(&here)[q]).collect::<Vec<_>>());
            }
            prop_assert_eq!(one(&s, BOTH[0], ties), one(&by_row, BOTH[0], ties));
        }
    }

    #[test]
    fn p_m_1_transposing_swaps_the_directions(s in (1usize..12).prop_flat_map(|n| rough(n, n))) {
        let turned = s.t().as_standard_layout().into_owned();
        for ties in Ties::ALL {
            prop_assert_eq!(counts(&one(&s, BOTH[0], ties)), counts(&one(&turned, BOTH[1], ties)));
            prop_assert_eq!(counts(&one(&s, BOTH[1], ties)), counts(&one(&turned, BOTH[0], ties)));
            // A view that lies column by column gives what its copy gives.
            let truth = Truth::diagonal(s.nrows());
            let view = ranks(s.t(), &truth, BOTH[0], &policy(ties)).unwrap();
            prop_assert_eq!(counts(&view), counts(&one(&turned, BOTH[0], ties)));
        }
    }

    #[test]
    fn p_m_1_a_constant_matrix_scores_chance(n in 1usize..40, value in -5f32..5.0) {
        let constant = Array2::from_elem((n, n), value);
        let all = Policy { cutoffs: (1..=n).collect(), ..Policy::default() };
        let judged = judge(constant.view(), &Truth::diagonal(n), &all).unwrap();
        for summary in [judged.text_to_video, judged.video_to_text] {
            for recall in &summary.recalls {
                prop_assert!((recall.percent - 100.0 * recall.cutoff as f64 / n as f64).abs() < 1e-10); // n equal terms
            }
            prop_assert!((summary.mean_rank - (n as f64 + 1.0) / 2.0).abs() < 1e-10);
        }
    }

    #[test]
    fn p_m_1_ranks_recall_and_median_equal_the_oracle(s in (1usize..12).prop_flat_map(|n| rough(n, n))) {
        let n = s.nrows();
        let own: Vec<usize> = (0..n).collect();
        for (direction, matrix) in [(BOTH[0], wide(&s)), (BOTH[1], oracles::transpose(&wide(&s)))] {
            let expected = oracles::count_miss(&matrix, &own);
            prop_assert_eq!(counts(&one(&s, direction, Ties::Average)), expected.clone());
            let judged = judge(s.view(), &Truth::diagonal(n), &policy(Ties::Average)).unwrap();
            let summary = if direction == BOTH[0] { judged.text_to_video } else { judged.video_to_text };
            let pairs: Vec<(usize, usize)> = expected.into_iter().flatten().collect();
            for k in [1, 2, 5] {
                let hits: f64 = pairs.iter().map(|&(g, e)| oracles::average_hit(g, e, k)).sum();
                prop_assert!((summary.recall_percent(k).unwrap() - 100.0 * hits / n as f64).abs() < 1e-10);
                let mean = summary.ranks.hits_percent(k).iter().sum::<f64>() / n as f64;
                prop_assert!((summary.recall_percent(k).unwrap() - mean).abs() < 1e-10);
            }
            let places: Vec<f64> = pairs.iter().map(|&(g, e)| g as f64 + (e as f64 + 1.0) / 2.0).collect();
            prop_assert!((summary.mean_rank - places.iter().sum::<f64>() / n as f64).abs() < 1e-10);
            prop_assert_eq!(summary.median_rank, oracles::median(places));
        }
    }

    #[test]
    fn p_m_2_reference_is_the_published_list_on_any_matrix(s in (1usize..12).prop_flat_map(|n| rough(n, n))) {
        prop_assert_eq!(one(&s, BOTH[0], Ties::Reference).reference_entries(), oracles::reference_list(&wide(&s)));
        let turned = oracles::transpose(&wide(&s));
        prop_assert_eq!(one(&s, BOTH[1], Ties::Reference).reference_entries(), oracles::reference_list(&turned));
    }

    #[test]
    fn p_m_2_reference_grouped_is_the_stable_argsort((s, groups) in grouped(true)) {
        let truth = Truth::groups(groups.clone()).unwrap();
        prop_assume!(!truth.is_one_to_one());
        let found = ranks(s.view(), &truth, BOTH[0], &policy(Ties::Reference)).unwrap();
        prop_assert_eq!(counts(&found), oracles::reference_grouped(&wide(&s), &groups));
        let without_nan = s.mapv(|x| if x.is_nan() { f32::NEG_INFINITY } else { x });
        let maxima = oracles::group_maxima_miss(&wide(&without_nan), &groups);
        let found = ranks(s.view(), &truth, BOTH[1], &policy(Ties::Reference)).unwrap();
        prop_assert_eq!(found.reference_entries(), oracles::reference_list(&maxima));
    }

    #[test]
    fn p_m_2_without_ties_every_policy_gives_the_same_ranks(
        order in (1usize..8).prop_flat_map(|n| Just((0..n * n).collect::<Vec<_>>()).prop_shuffle())
    ) {
        let n = (order.len() as f64).sqrt() as usize;
        let s = Array2::from_shape_fn((n, n), |(i, j)| order[i * n + j] as f32);
        for direction in BOTH {
            let reference = one(&s, direction, Ties::Reference);
            for ties in Ties::ALL {
                prop_assert_eq!(one(&s, direction, ties).per_query(), reference.per_query());
            }
        }
    }

    #[test]
    fn p_m_3_one_caption_per_video_is_one_to_one(
        (s, order) in (1usize..10).prop_flat_map(|n| (rough(n, n), Just((0..n).collect::<Vec<_>>()).prop_shuffle()))
    ) {
        let truth = Truth::groups(order.clone()).unwrap();
        let sorted = s.select(Axis(1), &order); // column i is text i's video
        for ties in Ties::ALL {
            let grouped = ranks(s.view(), &truth, BOTH[0], &policy(ties)).unwrap();
            prop_assert_eq!(&grouped, &one(&sorted, BOTH[0], ties));
            let plain = counts(&one(&sorted, BOTH[1], ties));
            let groups = counts(&ranks(s.view(), &truth, BOTH[1], &policy(ties)).unwrap());
            let best = counts(&video_to_text_best(s.view(), &truth, &policy(ties)).unwrap());
            for (text, &video) in order.iter().enumerate() {
                prop_assert_eq!(groups[video], plain[text]);
                prop_assert_eq!(best[video], plain[text]);
            }
        }
    }

    #[test]
    fn p_m_3_both_rules_equal_their_oracles_and_judge_equals_ranks((s, groups) in grouped(true)) {
        let truth = Truth::groups(groups.clone()).unwrap();
        let own: Vec<usize> = (0..truth.videos()).collect();
        let policy = policy(Ties::Average);
        let [text, grouped] = BOTH.map(|d| ranks(s.view(), &truth, d, &policy).unwrap());
        let best = video_to_text_best(s.view(), &truth, &policy).unwrap();
        prop_assert_eq!(counts(&text), oracles::count_miss(&wide(&s), &groups));
        prop_assert_eq!(counts(&grouped), oracles::count_miss(&oracles::group_maxima_miss(&wide(&s), &groups), &own));
        prop_assert_eq!(counts(&best), oracles::count_best_miss(&wide(&s), &groups));
        for (g, b) in grouped.per_query().iter().zip(best.per_query()) {
            prop_assert!(*g <= b, "grouped {g} is worse than best {b}");
        }
        let judged = judge(s.view(), &truth, &policy).unwrap();
        prop_assert_eq!(judged.text_to_video.ranks, text);
        prop_assert_eq!(judged.video_to_text.ranks, grouped);
        prop_assert_eq!(judged.video_to_text_best.map(|s| s.ranks), (!truth.is_one_to_one()).then_some(best));
    }

    #[test]
    fn p_m_3_a_caption_that_scores_minus_infinity_changes_no_video_to_text_figure(
        (s, groups) in grouped(false), pick in 0usize..100
    ) {
        let truth = Truth::groups(groups.clone()).unwrap();
        let mut more = s.clone();
        more.push_row(Array2::from_elem((1, s.ncols()), f32::NEG_INFINITY).row(0)).unwrap();
        let mut longer = groups;
        longer.push(pick % s.ncols());
        let longer = Truth::groups(longer).unwrap();
        for ties in Ties::ALL {
            let policy = policy(ties);
            let before = ranks(s.view(), &truth, BOTH[1], &policy).unwrap();
            prop_assert_eq!(before, ranks(more.view(), &longer, BOTH[1], &policy).unwrap());
            let before = video_to_text_best(s.view(), &truth, &policy).unwrap();
            prop_assert_eq!(counts(&before), counts(&video_to_text_best(more.view(), &longer, &policy).unwrap()));
        }
    }

    #[test]
    fn p_m_3_permuting_captions_changes_no_figure(
        ((s, groups), order) in grouped(true).prop_flat_map(|(s, groups)| {
            let order: Vec<usize> = (0..groups.len()).collect();
            (Just((s, groups)), Just(order).prop_shuffle())
        })
    ) {
        let truth = Truth::groups(groups.clone()).unwrap();
        let moved = Truth::groups(order.iter().map(|&t| groups[t]).collect()).unwrap();
        let moved_scores = s.select(Axis(0), &order);
        for ties in Ties::ALL {
            let policy = policy(ties);
            let (a, b) = (judge(s.view(), &truth, &policy), judge(moved_scores.view(), &moved, &policy));
            let (Ok(a), Ok(b)) = (&a, &b) else {
                prop_assert_eq!(a.is_err(), b.is_err());
                continue;
            };
            prop_assert_eq!(&a.video_to_text, &b.video_to_text);
            prop_assert_eq!(&a.video_to_text_best, &b.video_to_text_best);
            prop_assert_eq!(a.text_to_video.median_rank, b.text_to_video.median_rank);
            prop_assert!((a.text_to_video.mean_rank - b.text_to_video.mean_rank).abs() < 1e-10); // order of the sum
            for (x, y) in a.text_to_video.recalls.iter().zip(&b.text_to_video.recalls) {
                prop_assert!((x.percent - y.percent).abs() < 1e-10);
            }
        }
    }

    #[test]
    fn occurrences_sum_to_k_per_query(
        (s, k) in (1usize..9, 1usize..9).prop_flat_map(|(n, m)| (grid(n, m), 1..=n.min(m)))
    ) {
        for direction in BOTH {
            let (queries, gallery) = if direction == BOTH[0] { s.dim() } else { (s.ncols(), s.nrows()) };
            let hubs = hubness(s.view(), direction, k).unwrap();
            prop_assert_eq!(hubs.occurrences.iter().sum::<u32>() as usize, k * queries);
            prop_assert_eq!(hubs.occurrences.len(), gallery);
        }
    }
}

#[test]
fn a_query_chooses_from_what_its_rule_ranks() {
    let (scores, policy) = (Array2::zeros((5, 3)), policy(Ties::Average));
    let truth = Truth::groups(vec![0, 0, 1, 2, 2]).unwrap();
    let [there, back] = BOTH.map(|direction| ranks(scores.view(), &truth, direction, &policy).unwrap());
    let best = video_to_text_best(scores.view(), &truth, &policy).unwrap();
    assert_eq!([there, back, best].map(|ranks| ranks.gallery()), [3, 3, 5]); // videos, groups, texts
}

/// Larger than the threshold for threads, so that merging is tested as well.
#[test]
fn p_m_3_threads_change_nothing_on_a_large_matrix() {
    let (texts, videos) = (1500, 130);
    let groups: Vec<usize> = (0..texts).map(|t| (t * 37) % videos).collect();
    let s = Array2::from_shape_fn((texts, videos), |(t, v)| ((t * 7919 + v * 104_729 + t * v) % 61) as f32);
    let truth = Truth::groups(groups.clone()).unwrap();
    let judged = judge(s.view(), &truth, &Policy::default()).unwrap();
    let own: Vec<usize> = (0..videos).collect();
    let slow = wide(&s);
    assert_eq!(counts(&judged.text_to_video.ranks), oracles::count_miss(&slow, &groups));
    let maxima = oracles::group_maxima_miss(&slow, &groups);
    assert_eq!(counts(&judged.video_to_text.ranks), oracles::count_miss(&maxima, &own));
    assert_eq!(counts(&judged.video_to_text_best.unwrap().ranks), oracles::count_best_miss(&slow, &groups));
}

/// A query that the reference drops has no rank and no hit, in both readings of several captions and of one.
#[test]
fn p_m_2_a_dropped_query_has_no_rank_and_no_hit() {
    let row = |own: f32| [[own, 3.0, 0.0], [1.0, 2.0, 4.0], [0.0, 1.0, 2.0]];
    for own in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let s = Array2::from_shape_fn((3, 3), |(i, j)| row(own)[i][j]);
        let several = ndarray::concatenate(Axis(0), &[s.view(), s.view()]).unwrap();
        for (s, groups) in [(s, vec![0, 1, 2]), (several, vec![0, 1, 2, 0, 1, 2])] {
            let truth = Truth::groups(groups).unwrap();
            let found = ranks(s.view(), &truth, BOTH[0], &policy(Ties::Reference)).unwrap();
            assert_eq!((found.greater()[0], found.equal()[0]), (0, 0), "{own}");
            assert!(found.per_query()[0].is_nan());
            assert_eq!(&found.per_query()[1..3], [2.0, 1.0]);
            assert_eq!(&found.hits_percent(2)[..3], [0.0, 100.0, 100.0]);
        }
    }
}

#[test]
fn skewness_of_one_hub_in_four_is_the_textbook_value() {
    // Every query prefers item 0: occurrences 4, 0, 0, 0; third moment over deviation cubed is 2/√3.
    let s = Array2::from_shape_fn((4, 4), |(_, v)| if v == 0 { 1.0 } else { 0.0 });
    let hubs = hubness(s.view(), Direction::TextToVideo, 1).unwrap();
    assert_eq!(
        (hubs.occurrences.as_slice(), hubs.largest, hubs.share_never),
        ([4, 0, 0, 0].as_slice(), 4, 0.75)
    );
    assert!((hubs.skewness - 2.0 / 3f64.sqrt()).abs() < 1e-12);
}
