//! Hubness: occurrences and their skew against counting by hand.

use super::{BOTH, wide};
use crate::oracles;
use ndarray::Array2;
use proptest::prelude::*;
use tvr_metrics::{Direction, hubness};

/// Scores with many ties; both zeros are one score.
fn tied() -> impl Strategy<Value = Array2<f32>> {
    let cell = prop_oneof![4 => (-2i8..=2).prop_map(f32::from), 1 => Just(-0.0), 1 => -9f32..9.0];
    (1usize..9, 1usize..9).prop_flat_map(move |(n, m)| {
        prop::collection::vec(cell.clone(), n * m)
            .prop_map(move |cells| Array2::from_shape_vec((n, m), cells).unwrap())
    })
}

proptest! {
    #[test]
    fn every_figure_equals_the_oracle(s in tied(), pick in 0usize..100) {
        for (direction, rows) in [(BOTH[0], wide(&s)), (BOTH[1], oracles::transpose(&wide(&s)))] {
            let gallery = rows[0].len();
            let k = 1 + pick % gallery;
            let found = hubness(s.view(), direction, k).unwrap();
            let expected = oracles::occurrences(&rows, k);
            prop_assert_eq!(&found.occurrences, &expected);
            prop_assert_eq!(found.k, k);
            prop_assert_eq!(found.largest, *expected.iter().max().unwrap());
            let never = expected.iter().filter(|&&count| count == 0).count();
            prop_assert!((found.share_never - never as f64 / gallery as f64).abs() < 1e-15);
            let skewness = oracles::skewness(&expected);
            prop_assert!((found.skewness - skewness).abs() < 1e-9, "{} {skewness}", found.skewness);
        }
    }
}

#[test]
fn what_has_no_nearest_items_is_refused() {
    let says = |s: &Array2<f32>, k| hubness(s.view(), Direction::TextToVideo, k).unwrap_err().to_string();
    let domain = "at least 1 and at most the size of the gallery";
    assert_eq!(says(&Array2::zeros((3, 2)), 0), format!("k = 0, but it must be {domain}"));
    for shape in [(0, 2), (2, 0)] {
        let (texts, videos) = shape;
        let message = format!("the scores are [{texts}, {videos}]; both sides need at least one item");
        assert_eq!(says(&Array2::zeros(shape), 1), message);
    }
    let mut s = Array2::<f32>::zeros((3, 2));
    s[[1, 1]] = f32::NAN;
    assert_eq!(says(&s, 1), "scores[1, 1] is NaN; mend the model that made it");
}
