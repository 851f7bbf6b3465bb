//! Intervals against tables, closed forms and a slow bootstrap.

use tvr_metrics::{
    Interval, Resampling, Verdict, bootstrap, clustered_bootstrap, hierarchical_bootstrap, paired_bootstrap,
    paired_student, student_quantile,
};

use crate::oracles;

#[track_caller]
fn close(found: f64, expected: f64, tolerance: f64) {
    assert!((found - expected).abs() <= tolerance, "{found} is not {expected} within {tolerance}");
}

fn noise(count: usize, salt: u64) -> Vec<f64> {
    (0..count as u64).map(|i| ((i + salt).wrapping_mul(2_654_435_761) % 1000) as f64 / 1000.0).collect()
}

#[test]
fn student_quantiles_are_those_of_the_table() {
    // scipy.stats.t.ppf; printed with six decimals
    let table = [
        (1, 0.95, 12.706_205),
        (2, 0.95, 4.302_653),
        (3, 0.95, 3.182_446),
        (4, 0.95, 2.776_445),
        (9, 0.95, 2.262_157),
        (30, 0.95, 2.042_272),
        (120, 0.95, 1.979_930),
        (2, 0.99, 9.924_843),
        (10, 0.5, 0.699_812),
    ];
    for (freedom, level, t) in table {
        close(student_quantile(freedom, level).unwrap(), t, 1e-6);
    }
    close(student_quantile(1_000_000, 0.95).unwrap(), 1.959_966, 1e-6); // nearly normal
}

#[test]
fn student_quantiles_of_one_and_two_degrees_are_their_closed_forms() {
    for level in [0.05, 0.3, 0.7, 0.95, 0.999] {
        let one = (std::f64::consts::FRAC_PI_2 * level).tan();
        let two = level * (2.0 / ((1.0 - level) * (1.0 + level))).sqrt();
        for (freedom, expected) in [(1, one), (2, two)] {
            let found = student_quantile(freedom, level).unwrap();
            // ln Γ is good to 12 digits, and a level near an end leaves fewer of them.
            close(found, expected, 4e-12 * expected / (level * (1.0 - level)));
        }
    }
}

#[test]
fn paired_student_is_the_formula() {
    let found = paired_student(&[10.0, 11.0, 12.0], &[11.0, 13.0, 15.0], 0.95).unwrap();
    close(found.mean, 2.0, 1e-12);
    close(found.high - found.mean, 4.302_653 / 3f64.sqrt(), 1e-6); // deviation 1
    close(found.mean - found.low, found.high - found.mean, 1e-12);
    let same = paired_student(&[1.0, 2.0], &[2.0, 3.0], 0.95).unwrap();
    assert_eq!(same, Interval { mean: 1.0, low: 1.0, high: 1.0 });
}

/// Captions of a video that are always right or wrong together say no more than one of them.
#[test]
fn clusters_are_drawn_whole() {
    let values: Vec<f64> = (0..60).map(|query| f64::from(u8::from(query * 7 % 10 < 4)) * 100.0).collect();
    let resampling = Resampling { draws: 1500, ..Resampling::default() };
    let alone: Vec<usize> = (0..60).collect();
    let one = bootstrap(&values, &resampling).unwrap();
    assert_eq!(clustered_bootstrap(&values, &alone, &resampling).unwrap(), one);
    let tenfold: Vec<f64> = values.iter().flat_map(|&value| [value; 10]).collect();
    let videos: Vec<usize> = (0..60).flat_map(|video| [video; 10]).collect();
    let together = clustered_bootstrap(&tenfold, &videos, &resampling).unwrap();
    for (found, expected) in [(together.mean, one.mean), (together.low, one.low), (together.high, one.high)] {
        assert!((found - expected).abs() < 1e-9, "{found} {expected}");
    }
    let apart = bootstrap(&tenfold, &resampling).unwrap();
    assert!(apart.high - apart.low < 0.5 * (one.high - one.low), "as if there were ten times the videos");
    // A slow one, over clusters of unequal size.
    let (values, videos) = ([10.0, 20.0, 60.0, 0.0], [0, 0, 1, 2]);
    let found = clustered_bootstrap(&values, &videos, &Resampling { draws: 20_000, ..resampling }).unwrap();
    assert_eq!(found.mean, 22.5);
    // The least of all 27 draws is three times the third video, the most three times the second.
    assert_eq!((found.low, found.high), (0.0, 60.0));
    let error = clustered_bootstrap(&values, &[0, 0, 2, 2], &resampling).unwrap_err().to_string();
    assert!(error.contains('1'), "{error}");
}

#[test]
fn bootstrap_is_as_wide_as_the_normal_interval_of_a_large_sample() {
    let values = noise(2000, 1);
    let mean = values.iter().sum::<f64>() / 2000.0;
    let deviation = (values.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / 2000.0).sqrt();
    let half = 1.96 * deviation / 2000f64.sqrt();
    let found = bootstrap(&values, &Resampling::default()).unwrap();
    close(found.mean, mean, 1e-12);
    close(found.low, mean - half, 0.1 * half); // 4,000 draws place a 2.5 % quantile within some 5 %
    close(found.high, mean + half, 0.1 * half);
}

#[test]
fn intervals_repeat_with_the_seed_and_move_with_it() {
    let values = noise(300, 5);
    let at = |seed| bootstrap(&values, &Resampling { seed, ..Resampling::default() }).unwrap();
    assert_eq!(at(3), at(3));
    assert_ne!(at(3), at(4));
}

#[test]
fn an_interval_can_be_made_again_from_its_seed_alone() {
    assert_eq!(Resampling::default(), Resampling { draws: 4000, seed: 0, level: 0.95 });
    // The first numbers of the published generator from 1234567.
    let mut state = 1_234_567;
    let first = [6_457_827_717_110_365_317_u64, 3_203_168_211_198_807_973, 9_817_491_932_198_370_423];
    assert_eq!(first.map(|_| oracles::splitmix64(&mut state)), first);
    for seeds in [vec![noise(37, 3)], (0..4).map(|salt| noise(23, 40 * salt)).collect()] {
        // 41 draws at level 0.9: the ends are the order statistics 2 and 38.
        let resampling = Resampling { draws: 41, seed: 77, level: 0.9 };
        let found = hierarchical_bootstrap(&seeds, &resampling).unwrap();
        let means = oracles::resampled_means(&seeds, 41, 77);
        close(found.low, means[2], 1e-12);
        close(found.high, means[38], 1e-12);
        // Between order statistics the ends are linear: 12 draws at 0.9 lie at 0.55 and 10.45.
        let resampling = Resampling { draws: 12, ..resampling };
        let found = hierarchical_bootstrap(&seeds, &resampling).unwrap();
        let means = oracles::resampled_means(&seeds, 12, 77);
        close(found.low, 0.45 * means[0] + 0.55 * means[1], 1e-12);
        close(found.high, 0.55 * means[10] + 0.45 * means[11], 1e-12);
    }
}

#[test]
fn a_paired_difference_that_is_constant_has_no_width() {
    let (before, after) = (noise(100, 0), noise(100, 0).iter().map(|x| x + 1.0).collect::<Vec<_>>());
    let found = paired_bootstrap(&before, &after, &Resampling::default()).unwrap();
    close(found.low, 1.0, 1e-12);
    close(found.high, 1.0, 1e-12);
}

#[test]
fn one_seed_is_the_plain_bootstrap_and_equal_seeds_keep_its_width() {
    let values = noise(400, 9);
    let plain = bootstrap(&values, &Resampling::default()).unwrap();
    assert_eq!(hierarchical_bootstrap(std::slice::from_ref(&values), &Resampling::default()).unwrap(), plain);
    let thrice = hierarchical_bootstrap(&vec![values; 3], &Resampling::default()).unwrap();
    close(thrice.high - thrice.low, plain.high - plain.low, 0.1 * (plain.high - plain.low)); // draws differ
}

#[test]
fn seeds_that_disagree_widen_the_hierarchical_interval() {
    let seeds: Vec<Vec<f64>> = [0.0, 5.0, 10.0].iter().map(|&level| vec![level; 50]).collect();
    let found = hierarchical_bootstrap(&seeds, &Resampling::default()).unwrap();
    // A mean of three draws from {0, 5, 10} is 0 or 10 with probability 1/27 each, above the 2.5 % tails.
    assert_eq!(found, Interval { mean: 5.0, low: 0.0, high: 10.0 });
}

#[test]
fn verdicts_need_both_intervals() {
    let at = |low: f64, high: f64| Interval { mean: (low + high) / 2.0, low, high };
    let cases = [
        (at(0.1, 3.0), at(0.2, 2.0), Verdict::Holds),
        (at(0.1, 0.4), at(0.1, 0.4), Verdict::Holds),
        (at(-0.1, 3.0), at(0.2, 2.0), Verdict::Undecided),
        (at(-3.0, -0.1), at(-2.0, -1.0), Verdict::DoesNotHold),
        (at(-0.5, 0.5), at(-0.2, 0.3), Verdict::DoesNotHold),
        (at(-0.5, 0.5), at(-2.0, -0.3), Verdict::DoesNotHold),
        (at(-0.5, 0.6), at(-0.2, 0.3), Verdict::Undecided),
        (at(-0.6, 0.5), at(-0.2, 0.3), Verdict::Undecided),
        // An end at 0 is neither above nor below it.
        (at(0.0, 3.0), at(0.2, 2.0), Verdict::Undecided),
        (at(-3.0, 0.0), at(-2.0, -1.0), Verdict::Undecided),
    ];
    for (student, resampled, verdict) in cases {
        assert_eq!(Verdict::of(&student, &resampled), verdict, "{student:?} {resampled:?}");
    }
    assert_eq!(serde_json::to_string(&Verdict::DoesNotHold).unwrap(), "\"does not hold\"");
}
