//! Batches that are refused, by name.

use burn::prelude::*;
use tvr_objectives::{CaptionTokens, Needs, Objective, Pairs, Stream, SymmetricConfig};

use crate::common::{Batch, Draw, captions, diagonal, indices, matrix, scale};

#[test]
fn broken_batches_are_refused_by_name() {
    let (wide, same) = (matrix(&vec![vec![0.0; 3]; 2]), indices(&[0, 1]));
    let pairs = Pairs::new(&wide, scale(1.0), &same);
    let refuse = |needs: Needs| pairs.check(&needs).unwrap_err().to_string();
    assert_eq!(
        refuse(SymmetricConfig::reference().init().unwrap().needs()),
        "positives = \"diagonal\" needs as many texts as videos, but the batch has 2 and 3; use positives = \"same\""
    );
    assert_eq!(
        refuse(Needs { codes: true, ..Needs::default() }),
        "the objective needs text vectors, but the batch carries none"
    );
    assert_eq!(
        refuse(Needs { streams: vec!["action"], ..Needs::default() }),
        "the objective needs action, but the batch carries none"
    );
    assert_eq!(
        refuse(Needs { captions: true, ..Needs::default() }),
        "the objective needs caption tokens, but the batch carries none"
    );
}

/// Every part of a batch in another shape than the three texts and two videos have.
#[test]
fn parts_that_do_not_fit_are_refused_by_name() {
    let whole = || Batch::new(matrix(&Draw::new(1).scores(3, 2, 1.0)), &[0, 1, 1], &diagonal(3));
    let needs =
        Needs { streams: vec!["action"], codes: true, captions: true, video_ids: true, ..Needs::default() };
    whole().pairs().check(&needs).unwrap();
    let device = Device::flex();
    let numbers = |rows: usize, columns: usize| Tensor::<2>::zeros([rows, columns], &device);
    let stream = |similarity, available: usize| {
        let available = Tensor::<1, Int>::ones([available], &device).bool();
        vec![Stream { name: "action", similarity, available }]
    };
    let tokens = |ids: usize, mask: usize, length: usize| CaptionTokens {
        ids: captions(&diagonal(ids), &device).ids,
        mask: captions(&diagonal(mask), &device).mask.slice_dim(1, 0..length),
    };
    for (broken, message) in [
        (Batch { streams: stream(numbers(2, 2), 3), ..whole() }, "action has 2 rows, but the batch has 3"),
        (
            Batch { streams: stream(numbers(3, 1), 3), ..whole() },
            "the number of a stream's videos is 1, but it must be 2",
        ),
        (
            Batch { streams: stream(numbers(3, 2), 2), ..whole() },
            "a stream's availability has 2 rows, but the batch has 3",
        ),
        (Batch { texts: numbers(2, 8), ..whole() }, "the text vectors has 2 rows, but the batch has 3"),
        (Batch { videos: numbers(3, 8), ..whole() }, "the video vectors has 3 rows, but the batch has 2"),
        (Batch { videos: numbers(2, 5), ..whole() }, "the width of the video vectors is 5, but it must be 8"),
        (
            Batch { captions: tokens(2, 3, 5), ..whole() },
            "the caption tokens has 2 rows, but the batch has 3",
        ),
        (
            Batch { captions: tokens(3, 2, 5), ..whole() },
            "the mask of the caption tokens has 2 rows, but the batch has 3",
        ),
        (
            Batch { captions: tokens(3, 3, 4), ..whole() },
            "the length of the caption tokens' mask is 4, but it must be 5",
        ),
        (
            Batch { video_ids: indices(&[1, 2, 3]), ..whole() },
            "the video numbers has 3 rows, but the batch has 2",
        ),
        (
            Batch { same: Tensor::from_data([0i64, -1, 1], &device), ..whole() },
            "text 1 belongs to video -1, but the batch has videos 0 to 1",
        ),
        (
            Batch { similarity: numbers(0, 2), ..whole() },
            "the batch has 0 texts and 2 videos; it needs at least one of each",
        ),
        (
            Batch { similarity: numbers(3, 0), ..whole() },
            "the batch has 3 texts and 0 videos; it needs at least one of each",
        ),
    ] {
        assert_eq!(broken.pairs().check(&needs).unwrap_err().to_string(), message);
    }
}
