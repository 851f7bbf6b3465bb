//! A small feature folder in which texts and videos share a hidden vector.

use std::path::Path;

use safetensors::tensor::{Dtype, TensorView};

/// Values of a frame, and of a step of an expert.
pub const HIDDEN: usize = 6;
const FRAMES: usize = 3;

/// A number in [-1, 1), a function of its place.
fn noise(index: usize, key: u64) -> f32 {
    let mut bits = (index as u64 + 1_000_003 * key).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    ((bits ^ (bits >> 31)) >> 40) as f32 / (1u64 << 23) as f32 - 1.0
}

/// What a caption of a video says in words: each hidden value's sign.
fn sentence(video: usize, number: usize) -> String {
    let said = |axis: &usize| (axis + number) % HIDDEN != 0;
    let words = (0..HIDDEN).filter(said).map(|axis| {
        let sign = if noise(video * HIDDEN + axis, 1) > 0.0 { "rises" } else { "falls" };
        format!("x{axis}{sign}")
    });
    words.collect::<Vec<_>>().join(" ")
}

/// Writes `features.safetensors`, `captions.jsonl` and `splits.json` of `train + val + test` videos, two captions
/// each, with two experts: "motion" has seen every video, "sound" is silent about every third.
pub fn write(folder: &Path, train: usize, val: usize, test: usize) {
    std::fs::create_dir_all(folder).unwrap();
    let videos = train + val + test;
    let hidden = |video: usize, axis: usize| noise(video * HIDDEN + axis, 1);
    let frames: Vec<u8> = (0..videos * FRAMES * HIDDEN)
        .flat_map(|index| {
            let video = index / (FRAMES * HIDDEN);
            (hidden(video, index % HIDDEN) + 0.1 * noise(index, 2)).to_le_bytes()
        })
        .collect();
    let texts: Vec<u8> = (0..videos * 2 * HIDDEN)
        .flat_map(|index| {
            let video = index / (2 * HIDDEN);
            (hidden(video, HIDDEN - 1 - index % HIDDEN) + 0.1 * noise(index, 3)).to_le_bytes()
        })
        .collect();
    let mask = vec![1u8; videos * FRAMES];
    let text_video: Vec<u8> = (0..videos * 2).flat_map(|text| ((text / 2) as i64).to_le_bytes()).collect();
    let video_ids: Vec<String> = (0..videos).map(|video| format!("v{video}")).collect();
    let text_ids: Vec<String> = (0..videos * 2).map(|text| format!("t{text}")).collect();
    let metadata = [
        ("format".to_string(), "tvr-features/1".to_string()),
        ("encoder".to_string(), "made up".to_string()),
        ("video_ids".to_string(), serde_json::to_string(&video_ids).unwrap()),
        ("text_ids".to_string(), serde_json::to_string(&text_ids).unwrap()),
    ];
    let tensors = [
        ("frames", TensorView::new(Dtype::F32, vec![videos, FRAMES, HIDDEN], &frames).unwrap()),
        ("mask", TensorView::new(Dtype::U8, vec![videos, FRAMES], &mask).unwrap()),
        ("text", TensorView::new(Dtype::F32, vec![videos * 2, HIDDEN], &texts).unwrap()),
        ("text_video", TensorView::new(Dtype::I64, vec![videos * 2], &text_video).unwrap()),
    ];
    let expert = |steps: usize, key: u64| -> Vec<u8> {
        let values = (0..videos * steps * HIDDEN)
            .map(|index| hidden(index / (steps * HIDDEN), index % HIDDEN) + 0.1 * noise(index, key));
        values.flat_map(f32::to_le_bytes).collect()
    };
    let (motion, sound) = (expert(1, 4), expert(2, 5));
    let seen = vec![1u8; videos];
    let heard: Vec<u8> = (0..videos * 2).map(|step| u8::from((step / 2) % 3 != 0)).collect();
    let tensors = tensors.into_iter().chain([
        ("experts.motion", TensorView::new(Dtype::F32, vec![videos, 1, HIDDEN], &motion).unwrap()),
        ("experts.motion.mask", TensorView::new(Dtype::U8, vec![videos, 1], &seen).unwrap()),
        ("experts.sound", TensorView::new(Dtype::F32, vec![videos, 2, HIDDEN], &sound).unwrap()),
        ("experts.sound.mask", TensorView::new(Dtype::U8, vec![videos, 2], &heard).unwrap()),
    ]);
    let bytes = safetensors::serialize(tensors, Some(metadata.into_iter().collect())).unwrap();
    std::fs::write(folder.join("features.safetensors"), bytes).unwrap();
    let captions: String = (0..videos * 2)
        .map(|text| {
            let (video, said) = (text / 2, sentence(text / 2, text % 2));
            format!("{{\"id\": \"t{text}\", \"video\": \"v{video}\", \"text\": \"{said}\"}}\n")
        })
        .collect();
    std::fs::write(folder.join("captions.jsonl"), captions).unwrap();
    let (val_start, test_start) = (train, train + val);
    let queries =
        |range: std::ops::Range<usize>| range.map(|video| format!("t{}", 2 * video)).collect::<Vec<_>>();
    let splits = serde_json::json!({
        "train": video_ids[..val_start], "val": video_ids[val_start..test_start], "test": video_ids[test_start..],
        "val_queries": queries(val_start..test_start), "test_queries": queries(test_start..videos),
    });
    std::fs::write(folder.join("splits.json"), splits.to_string()).unwrap();
}
