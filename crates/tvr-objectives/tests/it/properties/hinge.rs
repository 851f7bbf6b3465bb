//! The hinge loss.

use proptest::prelude::*;
use tvr_objectives::{Hinge, HingeConfig, Negatives, Positives};

use crate::common::{Draw, Rows, assert_close, diagonal, gradient, loss};
use crate::oracles;

fn hinge(margin: f32, negatives: Negatives) -> Hinge {
    HingeConfig { margin, negatives, ..HingeConfig::paper() }.init().unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn p_ss_6_hinge_is_zero_where_every_margin_holds_and_positive_elsewhere(
        texts in 1usize..8, videos in 1usize..6, seed: u64,
    ) {
        let mut draw = Draw::new(seed);
        let (mut s, same) = (draw.scores(texts, videos, 1.0), draw.same(texts, videos));
        for negatives in [Negatives::Hardest, Negatives::All] {
            let value = loss(&hinge(0.25, negatives), &s, &same);
            let expected = oracles::hinge(&s, &s, &same, 0.25, negatives == Negatives::Hardest);
            assert_close(&[value], &[expected], 1e-9);
            prop_assert!(value >= 0.0);
            prop_assert_eq!(value == 0.0, oracles::every_margin_holds(&s, &same, 0.25));
        }
        for (text, &video) in same.iter().enumerate() {
            s[text][video] += 3.0;
        }
        prop_assert!(oracles::every_margin_holds(&s, &same, 0.25));
        prop_assert_eq!(loss(&hinge(0.25, Negatives::Hardest), &s, &same), 0.0);
    }

    #[test]
    fn p_ss_6_the_hardest_negative_costs_at_most_what_all_do(n in 2usize..8, seed: u64) {
        let (s, same) = (Draw::new(seed).scores(n, n, 1.0), diagonal(n));
        let [hardest, mean] =
            [Negatives::Hardest, Negatives::All].map(|negatives| loss(&hinge(0.25, negatives), &s, &same));
        // `All` is a mean over n − 1 negatives and two directions.
        let all = mean * 2.0 * (n as f64 - 1.0);
        prop_assert!(hardest <= all + 1e-9, "{} > {}", hardest, all);
    }

    #[test]
    fn p_ss_6_hinge_knows_differences_alone_and_scales(
        n in 1usize..7, shift in -5f64..5.0, power in -2i32..4, seed: u64,
    ) {
        let (s, same) = (Draw::new(seed).scores(n, n, 1.0), diagonal(n));
        // A power of two, so that the margin is exact in f32.
        let factor = 2f64.powi(power);
        let by = |f: &dyn Fn(f64) -> f64| -> Rows {
            s.iter().map(|row| row.iter().map(|&x| f(x)).collect()).collect()
        };
        for negatives in [Negatives::Hardest, Negatives::All] {
            let value = loss(&hinge(0.25, negatives), &s, &same);
            assert_close(&[loss(&hinge(0.25, negatives), &by(&|x| x + shift), &same)], &[value], 1e-9);
            let scaled = loss(&hinge(0.25 * factor as f32, negatives), &by(&|x| x * factor), &same);
            assert_close(&[scaled], &[factor * value], 1e-9 * factor.max(1.0));
        }
    }

    #[test]
    fn same_axis_judges_scores_times_their_share_of_what_they_are_ranked_among(
        texts in 1usize..8, videos in 1usize..6, seed: u64,
    ) {
        let mut draw = Draw::new(seed);
        let (s, same) = (draw.scores(texts, videos, 1.0), draw.same(texts, videos));
        let share = |t: usize, v: usize, along: &dyn Fn(usize) -> f64, n: usize| {
            s[t][v] * s[t][v].exp() / (0..n).map(|k| along(k).exp()).sum::<f64>()
        };
        // Row by row, and column by column as rows of a matrix of their own.
        let of_texts: Rows = (0..texts)
            .map(|t| (0..videos).map(|v| share(t, v, &|k| s[t][k], videos)).collect())
            .collect();
        let of_videos: Rows = (0..texts)
            .map(|t| (0..videos).map(|v| share(t, v, &|k| s[k][v], texts)).collect())
            .collect();
        for negatives in [Negatives::Hardest, Negatives::All] {
            let config = HingeConfig { margin: 0.25, negatives, positives: Positives::Same, same_axis: true };
            let expected = oracles::hinge(&of_texts, &of_videos, &same, 0.25, negatives == Negatives::Hardest);
            assert_close(&[loss(&config.init().unwrap(), &s, &same)], &[expected], 1e-9);
        }
    }

    #[test]
    fn p_ss_6_own_pairs_are_never_negatives(texts in 2usize..8, seed: u64) {
        // Two videos; whatever a caption's own pair and its video's other captions score, only pairs across count.
        let mut draw = Draw::new(seed);
        let (mut s, same) = (draw.scores(texts, 2, 1.0), draw.same(texts, 2));
        for (text, &video) in same.iter().enumerate() {
            s[text][1 - video] = -9.0;
        }
        for negatives in [Negatives::Hardest, Negatives::All] {
            prop_assert_eq!(loss(&hinge(0.25, negatives), &s, &same), 0.0);
            prop_assert!(gradient(&hinge(0.25, negatives), &s, &same).iter().all(|&slope| slope == 0.0));
        }
    }
}

#[test]
fn a_margin_outside_its_domain_is_refused_by_name() {
    for (margin, shown) in [(0.0, "0"), (-0.5, "-0.5"), (f32::NAN, "NaN")] {
        let config = HingeConfig { margin, ..HingeConfig::paper() };
        assert_eq!(
            config.init().unwrap_err().to_string(),
            format!("hinge: margin = {shown}, but it must be a number above 0")
        );
    }
}
