//! `encode` on tiny checkpoints, against the reference's tensors; bad input, shards, and going on after a stop.

mod bad_input;
mod left_behind;
mod lists;
mod long;
mod patches;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::Output;

use safetensors::{Dtype, SafeTensors};

use crate::{fails, stderr, stdout, xtask};

/// f32 through three blocks: the bound, ten times what the reference itself differs from f64.
const CLOSE: f32 = 1e-4;

/// What another JPEG decoder may move.
const JPEG: f32 = 0.03;

/// `<repository>/../shared/data/clip_tiny/NAME`.
fn shared(name: &str) -> Option<PathBuf> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data/clip_tiny").join(name);
    if path.is_dir() {
        return Some(path.canonicalize().unwrap());
    }
    eprintln!("skipped: {} is not there", path.display());
    None
}

/// The checkpoint of this repository.
fn own() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../crates/tvr-clip/tests/fixtures/clip")
        .canonicalize()
        .unwrap()
}

/// A feature file, or the reference's tensors.
struct File {
    bytes: Vec<u8>,
}

impl File {
    fn read(path: &Path) -> Self {
        Self { bytes: std::fs::read(path).unwrap() }
    }

    fn metadata(&self) -> HashMap<String, String> {
        SafeTensors::read_metadata(&self.bytes).unwrap().1.metadata().clone().unwrap()
    }

    fn names(&self, key: &str) -> Vec<String> {
        serde_json::from_str(&self.metadata()[key]).unwrap()
    }

    fn has(&self, name: &str) -> bool {
        SafeTensors::deserialize(&self.bytes).unwrap().tensor(name).is_ok()
    }

    /// Shape and values, as f32.
    fn tensor(&self, name: &str) -> (Vec<usize>, Vec<f32>) {
        let file = SafeTensors::deserialize(&self.bytes).unwrap();
        let tensor = file.tensor(name).unwrap_or_else(|_| panic!("no {name}"));
        let data = tensor.data();
        let values = match tensor.dtype() {
            Dtype::F32 => data.chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect(),
            Dtype::I64 => {
                data.chunks_exact(8).map(|b| i64::from_le_bytes(b.try_into().unwrap()) as f32).collect()
            }
            Dtype::U8 => data.iter().map(|&b| f32::from(b)).collect(),
            other => panic!("{name} is {other:?}"),
        };
        (tensor.shape().to_vec(), values)
    }
}

#[track_caller]
fn close(found: &[f32], expected: &[f32], tolerance: f32) {
    assert_eq!(found.len(), expected.len());
    let gaps = found.iter().zip(expected).map(|(a, b)| (a - b).abs());
    let largest = gaps.fold(0.0, |most: f32, gap| if gap <= most { most } else { gap }); // NaN is the largest
    assert!(largest <= tolerance, "{largest} is more than {tolerance}");
}

/// `encode --weights W ARGUMENTS --out out.safetensors`, in an empty folder.
fn encode(folder: &Path, weights: &Path, arguments: &[&str]) -> Output {
    let weights = weights.to_str().unwrap();
    xtask(folder, &[&["encode", "--weights", weights], arguments, &["--out", "out.safetensors"]].concat())
}

#[track_caller]
fn encoded(weights: &Path, arguments: &[&str]) -> (File, String) {
    let folder = tempfile::tempdir().unwrap();
    let output = encode(folder.path(), weights, arguments);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert!(!folder.path().join("out.safetensors.parts").exists(), "the parts are gone");
    (File::read(&folder.path().join("out.safetensors")), stdout(&output))
}

/// Weights that come without tokenizer and pixels take those of the folder where the data are.
fn processor<'a>(weights: &Path, data: &'a Path) -> Vec<&'a str> {
    if weights == data { Vec::new() } else { vec!["--processor", data.to_str().unwrap()] }
}

fn frames_match(weights: &Path, data: &Path, expected: &Path) {
    let images = data.join("images");
    let (file, said) =
        encoded(weights, &[processor(weights, data), vec!["--frames", images.to_str().unwrap()]].concat());
    let (shape, expected) = File::read(expected).tensor("image");
    let (found_shape, found) = file.tensor("frames");
    assert_eq!(found_shape, [1, 3, shape[1]], "three pictures are the frames of one video");
    close(&found, &expected, CLOSE);
    assert_eq!(file.tensor("mask"), (vec![1, 3], vec![1.0; 3]));
    assert_eq!(file.names("video_ids"), ["images"]);
    let metadata = file.metadata();
    assert_eq!(metadata["format"], "tvr-features/1");
    assert_eq!(metadata["unit_rows"], "false");
    assert!(metadata["pixels"].contains("Pillow's bicubic"), "{}", metadata["pixels"]);
    assert!(metadata["encoder"].starts_with("clip, image "), "{}", metadata["encoder"]);
    assert!(said.starts_with("out.safetensors: 3 frames of 1 video, width "), "{said}");
}

fn texts_match(weights: &Path, data: &Path, expected: &Path) {
    let texts = data.join("texts.txt");
    let arguments = vec!["--texts", texts.to_str().unwrap(), "--batch", "3"];
    let (file, _) = encoded(weights, &[processor(weights, data), arguments].concat());
    let (shape, expected) = File::read(expected).tensor("text");
    close(&file.tensor("text").1, &expected, CLOSE);
    assert_eq!(file.names("text_ids"), (0..shape[0]).map(|line| line.to_string()).collect::<Vec<_>>());
    assert!(!file.has("frames") && !file.has("text_video"));
}

#[test]
fn the_repository_s_own_checkpoint_matches_the_reference() {
    frames_match(&own(), &own(), &own().join("expected.safetensors"));
    texts_match(&own(), &own(), &own().join("expected.safetensors"));
}

#[test]
fn quick_gelu_and_gelu_match_the_reference() {
    for name in ["quick_gelu", "gelu"] {
        let Some(folder) = shared(name) else { return };
        frames_match(&folder, &folder, &folder.join("expected.safetensors"));
        texts_match(&folder, &folder, &folder.join("expected.safetensors"));
    }
}

#[test]
fn open_clip_s_own_file_matches_the_reference() {
    let (Some(open_clip), Some(gelu)) = (shared("open_clip"), shared("gelu")) else { return };
    frames_match(&open_clip, &gelu, &gelu.join("expected.safetensors"));
    texts_match(&open_clip, &gelu, &gelu.join("expected.safetensors"));
}

#[test]
fn every_variant_matches_the_reference() {
    let Some(base) = shared("quick_gelu") else { return };
    for (name, own) in [
        ("float16", true),
        ("bfloat16", true),
        ("sharded", false),
        ("text_only", false),
        ("vision_only", false),
    ] {
        let Some(variant) = shared(&format!("variants/{name}")) else { return };
        let expected = if own { &variant } else { &base }.join("expected.safetensors");
        if name != "text_only" {
            frames_match(&variant, &base, &expected);
        }
        if name != "vision_only" {
            texts_match(&variant, &base, &expected);
        }
    }
}

#[test]
fn other_pictures_match_within_what_a_jpeg_decoder_may_move() {
    for name in ["quick_gelu", "gelu"] {
        let Some(folder) = shared(name) else { return };
        let (file, _) = encoded(&folder, &["--images", folder.join("images_other").to_str().unwrap()]);
        let (shape, expected) = File::read(&folder.join("expected.safetensors")).tensor("other.image");
        let (found_shape, found) = file.tensor("frames");
        assert_eq!(found_shape, [3, 1, shape[1]], "every picture is an item");
        let ids = file.names("video_ids");
        assert_eq!(ids, ["0_photo_208x120.jpg", "1_gray_208x120.jpg", "2_rgba_101x57.png"]);
        for ((id, found), expected) in ids.iter().zip(found.chunks(shape[1])).zip(expected.chunks(shape[1])) {
            close(found, expected, if id.ends_with("png") { CLOSE } else { JPEG });
        }
    }
}

#[test]
fn tokens_match_where_they_are_real() {
    for name in ["quick_gelu", "gelu"] {
        let Some(folder) = shared(name) else { return };
        let (file, _) =
            encoded(&folder, &["--texts", folder.join("texts.txt").to_str().unwrap(), "--tokens"]);
        let reference = File::read(&folder.join("expected.safetensors"));
        let (mask_shape, mask) = file.tensor("text_mask");
        assert_eq!((mask_shape, mask.clone()), reference.tensor("attention_mask"));
        let (shape, found) = file.tensor("text_tokens");
        let expected = reference.tensor("text_tokens").1;
        for (place, real) in mask.into_iter().enumerate() {
            let own = place * shape[2]..(place + 1) * shape[2];
            if real > 0.0 {
                close(&found[own.clone()], &expected[own], CLOSE);
            } else {
                assert!(found[own].iter().all(|&value| value == 0.0), "padding is zero");
            }
        }
    }
}

/// A folder with videos, captions and a checkpoint to encode them with.
fn scene() -> (PathBuf, tempfile::TempDir) {
    let weights = own();
    let folder = tempfile::tempdir().unwrap();
    for (video, frames) in [("v2", 2), ("v10", 3), ("v1", 1)] {
        std::fs::create_dir_all(folder.path().join("videos").join(video)).unwrap();
        for frame in 0..frames {
            let from = weights.join("images").join(["0_wide_106x60.png", "2_small_13x11.png"][frame % 2]);
            // Natural order: frame 2 comes before frame 10.
            std::fs::copy(from, folder.path().join(format!("videos/{video}/f{}.png", [2, 10, 30][frame])))
                .unwrap();
        }
    }
    let line = |id: &str, video: &str, text: &str| {
        format!("{{\"id\":\"{id}\",\"video\":\"{video}\",\"text\":\"{text}\"}}\n")
    };
    let captions =
        line("a", "v10", "a cat") + &line("b", "v1", "a dog runs away") + &line("c", "v10", "the sea");
    std::fs::write(folder.path().join("captions.jsonl"), captions).unwrap();
    (weights, folder)
}

const WHOLE: [&str; 4] = ["--frames", "videos", "--texts", "captions.jsonl"];

#[test]
fn pictures_and_captions_together_are_a_whole_feature_file() {
    let (weights, folder) = scene();
    let output = encode(folder.path(), &weights, &WHOLE);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let file = File::read(&folder.path().join("out.safetensors"));
    assert_eq!(file.names("video_ids"), ["v1", "v2", "v10"]);
    assert_eq!(file.names("text_ids"), ["a", "b", "c"]);
    assert_eq!(file.tensor("text_video"), (vec![3], vec![2.0, 0.0, 2.0]));
    assert_eq!(file.tensor("mask"), (vec![3, 3], vec![1.0, 0.0, 0.0, 1.0, 1.0, 0.0, 1.0, 1.0, 1.0]));
    let (shape, frames) = file.tensor("frames");
    let width = shape[2];
    let frame =
        |video: usize, frame: usize| &frames[(video * 3 + frame) * width..(video * 3 + frame + 1) * width];
    assert_eq!(frame(0, 1), vec![0.0; width], "padding is zero");
    close(frame(0, 0), frame(2, 2), 1e-5); // the same picture in another batch
    close(frame(0, 0), frame(2, 0), 1e-5); // f2, which is before f10 and not after it
    assert!(frame(2, 0) != frame(2, 1), "f2 is the wide one, f10 the small one");
}

#[test]
fn shards_in_order_are_the_whole() {
    let (weights, folder) = scene();
    let run = |more: &[&str]| {
        let output = encode(folder.path(), &weights, &[&WHOLE, more].concat());
        assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
        File::read(&folder.path().join("out.safetensors"))
    };
    let whole = run(&[]);
    let shards = ["0/2", "1/2"].map(|shard| run(&["--shard", shard]));
    for key in ["video_ids", "text_ids", "text_videos"] {
        assert_eq!(
            shards.iter().flat_map(|shard| shard.names(key)).collect::<Vec<_>>(),
            whole.names(key),
            "{key}"
        );
    }
    let joined: Vec<f32> = shards.iter().flat_map(|shard| shard.tensor("text").1).collect();
    close(&joined, &whole.tensor("text").1, 1e-5); // other batches, other sums
    assert_eq!(shards[0].metadata()["shard"], "0/2");
    fails(
        &encode(folder.path(), &weights, &[&WHOLE[..], &["--shard", "0/9"]].concat()),
        2,
        "--shard 0/9: of 3 items none is left for it; take fewer shards",
    );
}

#[test]
fn shards_are_joined_to_the_file_of_the_whole() {
    let (weights, folder) = scene();
    let path = |name: &str| folder.path().join(name);
    let run = |more: &[&str], name: &str| {
        let output = encode(folder.path(), &weights, &[&WHOLE, more].concat());
        assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
        std::fs::rename(path("out.safetensors"), path(name)).unwrap();
    };
    // One item a batch: then the sums of a shard are those of the whole, and so are the bytes.
    run(&["--batch", "1"], "whole.safetensors");
    for (shard, name) in [("0/3", "a"), ("1/3", "b"), ("2/3", "c")] {
        run(&["--batch", "1", "--shard", shard], name);
    }
    let output = xtask(folder.path(), &["merge", "c", "a", "b", "--out", "joined.safetensors"]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let [joined, whole] =
        ["joined.safetensors", "whole.safetensors"].map(|name| std::fs::read(path(name)).unwrap());
    assert!(joined == whole, "the joined file has other bytes");
    assert!(!path("joined.safetensors.parts").exists(), "nothing is left behind");

    let merge = |files: &[&str]| xtask(folder.path(), &[&["merge"], files, &["--out", "again"]].concat());
    fails(&merge(&["a", "c"]), 2, "shard 1/3 is missing; make it, or name its file");
    fails(&merge(&["a", "b", "a"]), 2, "a and a are both shard 0/3; name each once");
    fails(
        &merge(&["a", "whole.safetensors"]),
        2,
        "whole.safetensors: was encoded without --shard; there is nothing to join it with",
    );
    // With one more of either side the last third begins elsewhere: something would be lost or doubled.
    let different =
        "are shards of different collections: pictures or texts have come or gone; encode all shards of one";
    let captions = std::fs::read_to_string(path("captions.jsonl")).unwrap();
    let more = captions.replace("\"id\":", "\"was\":"); // those are named by their lines
    std::fs::write(path("captions.jsonl"), format!("{captions}{more}")).unwrap();
    run(&["--batch", "1", "--shard", "2/3"], "d");
    fails(&merge(&["a", "b", "d"]), 2, &format!("a and d {different}"));
    std::fs::write(path("captions.jsonl"), captions).unwrap();
    std::fs::create_dir(path("videos/v11")).unwrap();
    std::fs::copy(path("videos/v1/f2.png"), path("videos/v11/f2.png")).unwrap();
    run(&["--batch", "1", "--shard", "2/3"], "e");
    fails(&merge(&["e", "b", "a"]), 2, &format!("e and b {different}"));
    assert!(!path("again").exists() && !path("again.parts").exists());
}

#[test]
fn a_bad_picture_is_named_and_with_skip_bad_left_out() {
    let (weights, folder) = scene();
    std::fs::write(folder.path().join("videos/v2/f10.png"), b"no picture").unwrap();
    let bad = "videos/v2/f10.png: is no PNG, JPEG, GIF or WebP; convert it to PNG";
    let output = encode(folder.path(), &weights, &["--frames", "videos"]);
    assert_eq!(output.status.code(), Some(1));
    let sentence = format!("error: {bad}; mend or remove it, or go on with --resume --skip-bad\n");
    assert!(stderr(&output).contains(&sentence), "{}", stderr(&output));
    assert!(!folder.path().join("out.safetensors").exists(), "nothing half-written");

    let output = encode(folder.path(), &weights, &["--frames", "videos", "--resume", "--skip-bad"]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert!(stderr(&output).contains(&format!("left out: {bad}\n")), "{}", stderr(&output));
    assert!(stdout(&output).ends_with("1 left out\n"), "{}", stdout(&output));
    let file = File::read(&folder.path().join("out.safetensors"));
    assert_eq!(file.tensor("mask").1, [1.0, 0.0, 0.0, 1.0, 0.0, 0.0, 1.0, 1.0, 1.0], "v2 has one frame left");
    assert_eq!(file.names("skipped"), [bad]);
}

#[test]
fn a_stopped_run_goes_on_where_it_was() {
    let (weights, folder) = scene();
    // More pictures than a part has, the last one bad at first: one part is done when the run fails.
    let many = folder.path().join("many");
    std::fs::create_dir(&many).unwrap();
    let picture = std::fs::read(weights.join("images/2_small_13x11.png")).unwrap();
    for index in 0..520 {
        std::fs::write(many.join(format!("{index}.png")), &picture).unwrap();
    }
    std::fs::write(many.join("519.png"), b"").unwrap();
    let run = |more: &[&str]| {
        encode(folder.path(), &weights, &[&["--images", "many", "--batch", "64"], more].concat())
    };
    let output = run(&[]);
    assert!(
        stderr(&output).contains(
            "error: many/519.png: is empty; mend or remove it, or go on with --resume --skip-bad\n"
        ),
        "{}",
        stderr(&output)
    );
    std::fs::write(many.join("519.png"), &picture).unwrap();

    fails(
        &run(&[]),
        2,
        "out.safetensors.parts: an unfinished run is there; go on with --resume, or delete the folder",
    );
    fails(
        &run(&["--resume", "--dtype", "f16"]),
        2,
        "out.safetensors.parts: the unfinished run has other --dtype; give its arguments again, or delete the folder",
    );
    let output = run(&["--resume"]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert!(stderr(&output).starts_with("pictures: 512/520\n"), "{}", stderr(&output));
    let (shape, values) = File::read(&folder.path().join("out.safetensors")).tensor("frames");
    assert_eq!(shape[..2], [520, 1]);
    for row in values.chunks(shape[2]) {
        close(row, &values[..shape[2]], 1e-5); // one picture, batches of 64 and of 8
    }
}
