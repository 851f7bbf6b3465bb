//! One table of all heads, one battery for each. A new head adds a row at the end of this file.

use burn::prelude::*;
use tvr_heads::{
    Head, TextCodes, TextFeatures, TextStream, Tile, Tokens, VideoCodes, VideoFeatures, code_all_texts,
    code_all_videos, score_all, score_tiles,
};

use crate::common::{
    Draw, MAX_FRAMES, WIDTH, assert_close, floats, largest_gap, mask_tensor, refused, scores, texts_of,
    videos_of,
};

/// Sizes of the batteries: unequal numbers of texts and videos, one of each, one frame.
const SIZES: [[usize; 3]; 5] = [[5, 3, 4], [2, 6, 7], [1, 1, 1], [1, 4, 3], [7, 1, 5]]; // texts, videos, frames

/// f32 sums of a few hundred terms, in another order where a matrix is cut.
const EQUAL: f64 = 1e-5;

fn inputs(seed: u64, [texts, videos, frames]: [usize; 3]) -> (TextFeatures, VideoFeatures) {
    let mut draw = Draw::new(seed);
    (draw.texts(texts), draw.videos(videos, frames))
}

fn select_texts(texts: &TextFeatures, order: &[usize]) -> TextFeatures {
    let rows: Vec<TextFeatures> = order.iter().map(|&text| texts.rows(text..text + 1)).collect();
    let mut joined =
        TextFeatures::pooled(Tensor::cat(rows.iter().map(|row| row.pooled.clone()).collect(), 0));
    if texts.tokens.is_some() {
        let tokens: Vec<&Tokens> = rows.iter().filter_map(|row| row.tokens.as_ref()).collect();
        joined.tokens = Some(Tokens {
            features: Tensor::cat(tokens.iter().map(|tokens| tokens.features.clone()).collect(), 0),
            mask: Tensor::cat(tokens.iter().map(|tokens| tokens.mask.clone()).collect(), 0),
        });
    }
    for (place, stream) in texts.streams.iter().enumerate() {
        joined.streams.push(TextStream {
            name: stream.name,
            pooled: Tensor::cat(rows.iter().map(|row| row.streams[place].pooled.clone()).collect(), 0),
            available: Tensor::cat(rows.iter().map(|row| row.streams[place].available.clone()).collect(), 0),
        });
    }
    joined
}

fn row(matrix: &[f64], columns: usize, row: usize) -> &[f64] {
    &matrix[row * columns..(row + 1) * columns]
}

pub fn shapes_are_texts_by_videos<H: Head>(head: &H) {
    for size @ [n_texts, n_videos, _] in SIZES {
        let (texts, videos) = inputs(1, size);
        let (texts, videos) = (head.code_texts(texts), head.code_videos(videos));
        assert_eq!((texts.n_items(), videos.n_items()), (n_texts, n_videos));
        let similarity = head.similarity(&texts, &videos);
        assert_eq!(similarity.fused.dims(), [n_texts, n_videos]);
        let names: Vec<&str> = similarity.streams.iter().map(|stream| stream.name).collect();
        assert_eq!(names, head.streams());
        for stream in similarity.streams {
            assert_eq!(stream.similarity.dims(), [n_texts, n_videos], "{}", stream.name);
            assert_eq!(stream.available.dims(), [n_texts], "{}", stream.name);
        }
        if head.unit() == tvr_heads::Unit::Cosine {
            let cosines = floats(&similarity.fused);
            assert!(cosines.iter().all(|cosine| cosine.abs() <= 1.0 + 1e-5), "{cosines:?}");
        }
    }
}

pub fn extremes_stay_finite<H: Head>(head: &H) {
    for scale in [0.0, 1e-20, 1e-6, 1e4, 1e8] {
        let (texts, videos) = inputs(2, [3, 4, 5]);
        let texts = texts_of(texts.pooled * scale);
        let videos = videos_of(videos.frames * scale, videos.mask);
        let found = floats(&scores(head, &texts, &videos));
        assert!(found.iter().all(|score| score.is_finite()), "at {scale}: {found:?}");
    }
}

pub fn padding_changes_nothing<H: Head>(head: &H) {
    for (seed, garbage) in [(3, 1.0f32), (4, 1e4), (5, 1e30), (6, f32::MAX), (7, 0.0)] {
        let [n_texts, n_videos, frames] = [4, 3, 5];
        let (texts, videos) = inputs(seed, [n_texts, n_videos, frames]);
        let expected = floats(&scores(head, &texts, &videos));
        // Two more frames, masked; and other content in those that were masked already.
        let more = Tensor::<3>::full([n_videos, 2, WIDTH], garbage, &Device::flex());
        let masked = mask_tensor(&vec![vec![false; 2]; n_videos]);
        let hidden = videos.mask.clone().bool_not().unsqueeze_dim::<3>(2).expand([n_videos, frames, WIDTH]);
        let padded = videos_of(
            Tensor::cat(vec![videos.frames.mask_fill(hidden, garbage), more], 1),
            Tensor::cat(vec![videos.mask, masked], 1),
        );
        assert_close(&floats(&scores(head, &texts, &padded)), &expected, EQUAL);
    }
}

pub fn chunks_give_the_same_codes<H: Head>(head: &H) {
    for size @ [n_texts, n_videos, _] in SIZES {
        let (texts, videos) = inputs(8, size);
        let whole = scores(head, &texts, &videos);
        for chunk in [1, 2, 3] {
            let texts = code_all_texts(head, &texts, chunk).unwrap();
            let videos = code_all_videos(head, &videos, chunk).unwrap();
            assert_eq!((texts.n_items(), videos.n_items()), (n_texts, n_videos));
            let found = score_all(head, &texts, &videos, Tile::DEFAULT).unwrap();
            assert_close(&floats(&found), &floats(&whole), EQUAL);
        }
    }
}

pub fn tiles_give_the_same_scores<H: Head>(head: &H) {
    if head.needs().mixes_items {
        return;
    }
    let (texts, videos) = inputs(9, [7, 5, 4]);
    let (texts, videos) = (head.code_texts(texts), head.code_videos(videos));
    let whole = floats(&score_all(head, &texts, &videos, Tile::DEFAULT).unwrap());
    for tile in [[1, 1], [2, 3], [7, 2], [3, 5], [100, 1]] {
        let tile = Tile { texts: tile[0], videos: tile[1] };
        assert_close(&floats(&score_all(head, &texts, &videos, tile).unwrap()), &whole, EQUAL);
        score_tiles(head, &texts, &videos, tile, |rows, columns, similarity| {
            assert!(rows.len() <= tile.texts && columns.len() <= tile.videos, "a tile is too large");
            assert_eq!(similarity.fused.dims(), [rows.len(), columns.len()]);
        })
        .unwrap();
    }
}

pub fn a_batch_of_one_is_a_row_of_many<H: Head>(head: &H) {
    if head.needs().mixes_items {
        return;
    }
    let (texts, videos) = inputs(10, [4, 3, 5]);
    let whole = floats(&scores(head, &texts, &videos));
    for text in 0..4 {
        for video in 0..3 {
            let alone = scores(head, &texts.rows(text..text + 1), &videos.rows(video..video + 1));
            assert_close(&floats(&alone), &whole[text * 3 + video..][..1], EQUAL);
        }
    }
}

pub fn the_record_restores_the_head<H: Head>(head: &H, other: H) {
    let (texts, videos) = inputs(11, [4, 3, 5]);
    let expected = scores(head, &texts, &videos).into_data();
    let bytes = head.clone().into_record().into_bytes().unwrap();
    let record = burn::store::ModuleRecord::from_bytes(bytes).unwrap();
    let restored = other.try_load_record(record).unwrap();
    scores(&restored, &texts, &videos).into_data().assert_eq(&expected, true);
}

pub fn permuted_captions_permute_rows_only<H: Head>(head: &H) {
    let (texts, videos) = inputs(12, [6, 4, 5]);
    let whole = floats(&scores(head, &texts, &videos));
    let order = [3, 0, 5, 1, 4, 2];
    let found = floats(&scores(head, &select_texts(&texts, &order), &videos));
    for (place, &text) in order.iter().enumerate() {
        assert_close(row(&found, 4, place), row(&whole, 4, text), EQUAL);
    }
}

pub fn one_query_at_a_time_is_the_whole<H: Head>(head: &H) {
    if head.needs().mixes_items {
        return;
    }
    let (texts, videos) = inputs(13, [5, 5, 4]); // square, where a leak through the diagonal would hide
    let whole = floats(&scores(head, &texts, &videos));
    for text in 0..5 {
        let found = floats(&scores(head, &texts.rows(text..text + 1), &videos));
        assert_close(&found, row(&whole, 5, text), EQUAL);
    }
}

pub fn columns_stay_when_queries_leave<H: Head>(head: &H) {
    if head.needs().mixes_items {
        return;
    }
    let (texts, videos) = inputs(14, [6, 4, 5]);
    let whole = floats(&scores(head, &texts, &videos));
    let found = floats(&scores(head, &select_texts(&texts, &[1, 4]), &videos));
    assert_close(row(&found, 4, 0), row(&whole, 4, 1), EQUAL);
    assert_close(row(&found, 4, 1), row(&whole, 4, 4), EQUAL);
    // And when videos leave.
    let found = floats(&scores(head, &texts, &videos.rows(1..3)));
    for text in 0..6 {
        assert_close(row(&found, 2, text), &row(&whole, 4, text)[1..3], EQUAL);
    }
}

pub fn broken_features_are_refused_by_name<H: Head>(head: &H) {
    let (texts, videos) = inputs(15, [2, 3, 4]);
    let mut mask = vec![vec![true; 4]; 3];
    mask[1] = vec![false; 4];
    let silent = VideoFeatures::new(videos.frames.clone(), mask_tensor(&mask));
    assert_eq!(
        refused(code_all_videos(head, &silent, 2)),
        "video 1 has no real step: its mask is false everywhere; leave it out"
    );
    let mut broken = VideoFeatures::unmasked(videos.frames.clone());
    broken.frames = broken.frames.slice_fill(s![2, 3, 0..1], f32::NAN);
    assert_eq!(refused(code_all_videos(head, &broken, 2)), "video 2 has a value that is NaN or infinite");
    // The same value at a masked frame harms nobody.
    let mut mask = vec![vec![true; 4]; 3];
    mask[2][3] = false;
    let broken = videos_of(broken.frames, mask_tensor(&mask));
    let found = floats(&scores(head, &texts, &broken));
    assert!(found.iter().all(|score| score.is_finite()), "{found:?}");
    let mut broken = texts;
    broken.pooled = broken.pooled.slice_fill(s![1, 2..3], f32::INFINITY);
    assert_eq!(refused(code_all_texts(head, &broken, 2)), "text 1 has a value that is NaN or infinite");
    if head.needs().max_frames == Some(MAX_FRAMES) {
        let long = VideoFeatures::unmasked(Tensor::ones([1, MAX_FRAMES + 1, WIDTH], &Device::flex()));
        assert_eq!(
            refused(code_all_videos(head, &long, 1)),
            "a video has 13 frames, but the head was made for at most 12; raise max_frames or sample fewer"
        );
    }
}

/// The seam of a training step: encode by parts, judge the leaves, pull every part by its share.
pub fn parts_give_the_gradient_of_the_whole<H: Head>(head: &H) {
    let head = head.clone().train();
    let device = Device::flex().autodiff();
    let (texts, videos) = inputs(16, [6, 4, 5]);
    let weight = Tensor::from_inner(Draw::new(17).tensor::<2>([6, 4]));
    let gradient = |parts: usize| -> Vec<Vec<f64>> {
        let leaf = Tensor::from_inner(texts.pooled.clone()).require_grad();
        let frames = Tensor::from_inner(videos.frames.clone()).require_grad();
        let mask = videos.mask.clone().to_device(&device);
        let all_texts = texts_of(leaf.clone());
        let all_videos = videos_of(frames.clone(), mask);
        let (text_chunk, video_chunk) = (6usize.div_ceil(parts), 4usize.div_ceil(parts));
        let text_parts: Vec<TextCodes> =
            all_texts_parts(&all_texts, text_chunk).map(|part| head.code_texts(part)).collect();
        let video_parts: Vec<VideoCodes> =
            all_videos_parts(&all_videos, video_chunk).map(|part| head.code_videos(part)).collect();
        let text_leaves = TextCodes::cat(text_parts.clone()).unwrap().leaves();
        let video_leaves = VideoCodes::cat(video_parts.clone()).unwrap().leaves();
        let loss = (head.similarity(&text_leaves, &video_leaves).fused * weight.clone()).sum();
        let mut upstream = loss.backward();
        let (text_gradients, video_gradients) =
            (text_leaves.gradients(&mut upstream), video_leaves.gradients(&mut upstream));
        let mut pulls = Vec::new();
        let mut start = 0;
        for part in &text_parts {
            let rows = start..start + part.n_items();
            start = rows.end;
            pulls.extend(part.pull(&text_gradients.rows(rows)));
        }
        start = 0;
        for part in &video_parts {
            let rows = start..start + part.n_items();
            start = rows.end;
            pulls.extend(part.pull(&video_gradients.rows(rows)));
        }
        let mut gradients = pulls.into_iter().reduce(|sum, pull| sum + pull).unwrap().backward();
        vec![
            floats(&leaf.grad_remove(&mut gradients).unwrap()),
            floats(&frames.grad_remove(&mut gradients).unwrap()),
        ]
    };
    let direct = {
        let leaf = Tensor::from_inner(texts.pooled.clone()).require_grad();
        let frames = Tensor::from_inner(videos.frames.clone()).require_grad();
        let mask = videos.mask.clone().to_device(&device);
        let codes = head.code_videos(videos_of(frames.clone(), mask));
        let similarity = head.similarity(&head.code_texts(texts_of(leaf.clone())), &codes);
        let gradients = (similarity.fused * weight.clone()).sum().backward();
        vec![floats(&leaf.grad(&gradients).unwrap()), floats(&frames.grad(&gradients).unwrap())]
    };
    for parts in [1, 2, 4] {
        for (found, expected) in gradient(parts).iter().zip(&direct) {
            assert_close(found, expected, EQUAL);
        }
    }
    // No gradient reaches what is masked.
    let real: Vec<bool> = videos.mask.to_data().iter::<bool>().collect();
    for (frame, &real) in real.iter().enumerate() {
        assert!(real || direct[1][frame * WIDTH..(frame + 1) * WIDTH].iter().all(|&x| x == 0.0));
    }
}

fn all_texts_parts(texts: &TextFeatures, chunk: usize) -> impl Iterator<Item = TextFeatures> {
    let n = texts.n_texts();
    (0..n).step_by(chunk).map(move |start| texts.rows(start..(start + chunk).min(n)))
}

fn all_videos_parts(videos: &VideoFeatures, chunk: usize) -> impl Iterator<Item = VideoFeatures> {
    let n = videos.n_videos();
    (0..n).step_by(chunk).map(move |start| videos.rows(start..(start + chunk).min(n)))
}

pub fn training_and_inference_agree<H: Head>(head: &H) {
    let (texts, videos) = inputs(18, [5, 4, 6]);
    let expected = floats(&scores(head, &texts, &videos));
    let head = head.clone().train();
    let texts = texts_of(Tensor::from_inner(texts.pooled));
    let mask = videos.mask.to_device(&Device::flex().autodiff());
    let videos = videos_of(Tensor::from_inner(videos.frames), mask);
    let found = head.similarity(&head.code_texts(texts), &head.code_videos(videos)).fused.inner();
    assert_close(&floats(&found), &expected, EQUAL);
}

/// Real frames in another order: the same to a head that takes a set, another to one that reads time.
pub fn frames_are_a_set_unless_read_in_time<H: Head>(head: &H) {
    let [n_texts, n_videos, frames] = [4, 3, 6];
    let (texts, videos) = inputs(19, [n_texts, n_videos, frames]);
    let expected = floats(&scores(head, &texts, &videos));
    let order = Tensor::<1, Int>::from_data([4, 2, 5, 0, 3, 1], &Device::flex());
    let moved = VideoFeatures {
        frames: videos.frames.select(1, order.clone()),
        mask: videos.mask.select(1, order),
        experts: videos.experts, // other networks' steps stay
    };
    let found = floats(&scores(head, &texts, &moved));
    if head.needs().in_time {
        let apart = largest_gap(&found, &expected);
        assert!(apart > 1e-4, "the order makes no difference: {apart}");
    } else {
        assert_close(&found, &expected, EQUAL);
    }
}

macro_rules! conformance {
    ($($head:ident: $make:expr, $other:expr;)*) => { $(
        mod $head {
            use crate::common;
            use crate::conformance as battery;
            #[test]
            fn shapes_are_texts_by_videos() { battery::shapes_are_texts_by_videos(&$make); }
            #[test]
            fn extremes_stay_finite() { battery::extremes_stay_finite(&$make); }
            #[test]
            fn padding_changes_nothing() { battery::padding_changes_nothing(&$make); }
            #[test]
            fn chunks_give_the_same_codes() { battery::chunks_give_the_same_codes(&$make); }
            #[test]
            fn tiles_give_the_same_scores() { battery::tiles_give_the_same_scores(&$make); }
            #[test]
            fn a_batch_of_one_is_a_row_of_many() { battery::a_batch_of_one_is_a_row_of_many(&$make); }
            #[test]
            fn the_record_restores_the_head() { battery::the_record_restores_the_head(&$make, $other); }
            #[test]
            fn permuted_captions_permute_rows_only() { battery::permuted_captions_permute_rows_only(&$make); }
            #[test]
            fn one_query_at_a_time_is_the_whole() { battery::one_query_at_a_time_is_the_whole(&$make); }
            #[test]
            fn columns_stay_when_queries_leave() { battery::columns_stay_when_queries_leave(&$make); }
            #[test]
            fn broken_features_are_refused_by_name() { battery::broken_features_are_refused_by_name(&$make); }
            #[test]
            fn parts_give_the_gradient_of_the_whole() { battery::parts_give_the_gradient_of_the_whole(&$make); }
            #[test]
            fn frames_are_a_set_unless_read_in_time() {
                battery::frames_are_a_set_unless_read_in_time(&$make);
            }
            #[test]
            fn training_and_inference_agree() { battery::training_and_inference_agree(&$make); }
            #[test]
            fn f32_has_the_gradient_of_f64() { crate::gradients::f32_has_the_gradient_of_f64(&$make); }
        }
    )* };
}

// name: a head, and another of the same settings with other weights.
conformance! {
    mean_pooling: common::mean_pooling(), common::mean_pooling();
    mean_pooling_adapted: common::adapted_mean_pooling(1), common::adapted_mean_pooling(2);
    seq_lstm: common::seq_lstm(1), common::seq_lstm(2);
    seq_lstm_adapted: common::adapted_seq_lstm(1), common::adapted_seq_lstm(2);
    seq_transf: common::seq_transf(1), common::seq_transf(2);
    seq_transf_adapted: common::adapted_seq_transf(1), common::adapted_seq_transf(2);
    tight_transf: common::tight_transf(1), common::tight_transf(2);
    conditioned: common::conditioned(1), common::conditioned(2);
    conditioned_temporal: common::temporal_conditioned(1), common::temporal_conditioned(2);
    xpool: common::xpool(1), common::xpool(2);
    xpool_adapted: common::adapted_xpool(1), common::adapted_xpool(2);
    token_wise: common::token_wise(0, 1), common::token_wise(0, 2);
    token_wise_weighted: common::token_wise(2, 1), common::token_wise(2, 2);
    emcl: common::emcl_paper(1), common::emcl_paper(2);
    emcl_reference: common::emcl_reference(1), common::emcl_reference(2);
    emcl_global: common::emcl_global(1), common::emcl_global(2);
    camoe: common::camoe(1), common::camoe(2);
    camoe_dropping: common::dropping_camoe(1), common::dropping_camoe(2);
    experts: common::experts(1), common::experts(2);
    experts_gated: common::gated_experts(1), common::gated_experts(2);
    experts_mixed: common::mixed_experts(1), common::mixed_experts(2);
    experts_mixed_with_frames: common::mixed_experts_and_frames(1), common::mixed_experts_and_frames(2);
}
