//! Features that are refused, by name.

use burn::prelude::*;
use tvr_heads::{TextFeatures, VideoFeatures};

use crate::common::{Draw, WIDTH, mask_tensor, refused};

fn mask(rows: usize, steps: usize) -> Tensor<2, Bool> {
    mask_tensor(&vec![vec![true; steps]; rows])
}

#[test]
fn videos_whose_parts_do_not_fit_are_refused_by_name() {
    let broken = |change: &dyn Fn(&mut VideoFeatures)| {
        let mut videos = Draw::new(1).videos(3, 4);
        videos.check().unwrap();
        change(&mut videos);
        refused(videos.check())
    };
    let zeros = |shape: [usize; 3]| Tensor::<3>::zeros(shape, &Device::flex());
    let cases: [(&dyn Fn(&mut VideoFeatures), &str); 8] = [
        (&|videos| videos.frames = zeros([0, 4, WIDTH]), "there are no videos; at least one is needed"),
        (
            &|videos| videos.frames = zeros([3, 0, WIDTH]),
            "there are no frame features; at least one is needed",
        ),
        (&|videos| videos.frames = zeros([3, 4, 0]), "there are no frame features; at least one is needed"),
        (&|videos| videos.mask = mask(3, 5), "the frame mask is [3, 5], but [3, 4] is needed"),
        (&|videos| videos.mask = mask(2, 4), "the frame mask is [2, 4], but [3, 4] is needed"),
        (&|videos| videos.experts[0].mask = mask(3, 5), "an expert's mask is [3, 5], but [3, 4] is needed"),
        (
            &|videos| videos.experts[1].features = zeros([2, 4, 3]),
            "the features is [2, 4], but [3, 4] is needed",
        ),
        (
            &|videos| {
                let motion = &mut videos.experts[0].features;
                *motion = motion.clone().slice_fill(s![2, 0, 1..2], f32::NAN); // the first step is real
            },
            "the expert features of video 2 has a value that is NaN or infinite",
        ),
    ];
    for (change, message) in cases {
        assert_eq!(broken(change), message);
    }
}

#[test]
fn texts_whose_parts_do_not_fit_are_refused_by_name() {
    let broken = |change: &dyn Fn(&mut TextFeatures)| {
        let mut texts = Draw::new(2).texts(4);
        texts.check().unwrap();
        change(&mut texts);
        refused(texts.check())
    };
    let zeros = |rows: usize, width: usize| Tensor::<2>::zeros([rows, width], &Device::flex());
    let mut silent = vec![vec![true; 4]; 4];
    silent[1] = vec![false; 4];
    let silent = mask_tensor(&silent);
    let cases: [(&dyn Fn(&mut TextFeatures), &str); 8] = [
        (&|texts| texts.pooled = zeros(0, WIDTH), "there are no texts; at least one is needed"),
        (&|texts| texts.pooled = zeros(4, 0), "there are no text features; at least one is needed"),
        (
            &|texts| texts.tokens.as_mut().unwrap().mask = mask(4, 3),
            "the token mask is [4, 3], but [4, 4] is needed",
        ),
        (
            &|texts| texts.tokens.as_mut().unwrap().mask = silent.clone(),
            "text 1 has no real step: its mask is false everywhere; leave it out",
        ),
        (
            &|texts| {
                let tokens = &mut texts.tokens.as_mut().unwrap().features;
                *tokens = tokens.clone().slice_fill(s![2, 0, 1..2], f32::INFINITY);
            },
            "the tokens of text 2 has a value that is NaN or infinite",
        ),
        (&|texts| texts.streams[0].pooled = zeros(3, WIDTH), "a text stream is [3], but [4] is needed"),
        (
            &|texts| texts.streams[1].available = Tensor::<1, Int>::ones([3], &Device::flex()).bool(),
            "a text stream's availability is [3], but [4] is needed",
        ),
        (
            &|texts| {
                let stream = &mut texts.streams[2].pooled;
                *stream = stream.clone().slice_fill(s![3, 1..2], f32::NAN);
            },
            "a stream of text 3 has a value that is NaN or infinite",
        ),
    ];
    for (change, message) in cases {
        assert_eq!(broken(change), message);
    }
}
