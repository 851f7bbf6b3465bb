//! The certificate: the repository's own checkpoint, the shared ones, and checkpoints that are wrong.

mod golden_folder;

use std::path::{Path, PathBuf};

use burn::prelude::*;
use tvr_clip::parity::{Certificate, Golden, certify};
use tvr_clip::saver::{self, Towers};
use tvr_clip::{ClipCheckpoint, Precision};

use crate::golden::shared;

/// Made by `scripts/reference/clip.py --fixture`.
fn fixture() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/clip")
}

fn certificate(weights: &Path, golden: &Path, precision: Precision) -> Certificate {
    let checkpoint = ClipCheckpoint::open(weights).unwrap();
    certify(&checkpoint, &Golden::open(golden).unwrap(), &Device::flex(), "flex", precision).unwrap()
}

/// Stages with tensors compared and errors.
fn stages(certificate: &Certificate) -> Vec<(&str, usize)> {
    certificate.lines.iter().map(|line| (line.stage, line.tensors)).collect()
}

/// No tensor of any stage is farther than 1e-4 from the reference's, whatever its size. Lossy pictures may be, whose
/// decoder is another.
#[track_caller]
fn assert_parity(certificate: &Certificate) {
    for line in &certificate.lines {
        assert!(line.holds(), "{line:?}");
        let bound = match line.stage {
            "pixels, lossy files" => 4.0,
            "from lossy pictures" => 0.03,
            _ => 1e-4,
        };
        assert!(line.largest <= bound, "{line:?}");
    }
    assert!(certificate.holds());
}

/// The certificate of the repository's own checkpoint, with nothing installed but Rust.
#[test]
fn our_own_checkpoint_is_at_parity_with_the_reference() {
    let certificate = certificate(&fixture(), &fixture(), Precision::F32);
    assert_parity(&certificate);
    assert_eq!(
        stages(&certificate),
        [
            ("tokenizer", 1),
            ("pixels, Hugging Face's crop", 1),
            ("pixels, OpenAI's crop", 1),
            ("normalised pixels", 2),
            ("pixels, lossy files", 1),
            ("image tower", 11),
            ("text tower", 9),
            ("logits", 2),
            ("from words", 1),
            ("from pictures", 1),
            ("from lossy pictures", 2),
        ]
    );
    assert!(certificate.left_out.is_empty(), "no tensor is left out: {:?}", certificate.left_out);
    assert_eq!(certificate.device, "flex");
    assert_eq!(certificate.reference["image_processor"], "CLIPImageProcessorPil");
}

/// Every tensor of `shared/data/clip_tiny`, in every layout; `float16` and `bfloat16` hold codes alone, see `golden.rs`.
#[test]
fn every_tensor_of_the_shared_checkpoints_is_at_parity() {
    let Some(root) = shared("clip_tiny") else { return };
    for (folder, towers) in [("quick_gelu", [12, 10]), ("gelu", [11, 11])] {
        let certificate = self::certificate(&root.join(folder), &root.join(folder), Precision::F32);
        assert_parity(&certificate);
        let found = stages(&certificate);
        for stage in [
            ("image tower", towers[0]),
            ("text tower", towers[1]),
            ("logits", 2),
            ("tokenizer", 1),
            ("normalised pixels", 2),
            ("from lossy pictures", 2),
        ] {
            assert!(found.contains(&stage), "{folder}: {stage:?} is not in {found:?}");
        }
        assert_eq!(found.len(), 10, "{folder}: {found:?}");
        // Every tensor of the file has been compared; OpenAI's crop is not in it.
        let left_out = "pixels, OpenAI's crop: the golden folder has no openai.pixels_u8";
        assert_eq!(certificate.left_out, [left_out], "{folder}");
    }
    // Weights without tokenizer and pixels take those of the folder whose tensors they must give.
    let checkpoint =
        ClipCheckpoint::open(&root.join("open_clip")).unwrap().with_processor(&root.join("gelu"));
    let golden = Golden::open(&root.join("gelu")).unwrap();
    let certificate = certify(&checkpoint, &golden, &Device::flex(), "flex", Precision::F32).unwrap();
    assert_parity(&certificate);
    assert_eq!((certificate.lines.len(), certificate.left_out.len()), (10, 1), "{certificate:?}");
    for (folder, left_out) in [("sharded", 0), ("text_only", 2), ("vision_only", 2)] {
        let weights = root.join("variants").join(folder);
        let certificate = self::certificate(&weights, &root.join("quick_gelu"), Precision::F32);
        assert_parity(&certificate);
        assert!(certificate.left_out.len() > left_out, "{folder}: {:?}", certificate.left_out);
    }
}

/// One tensor beyond its tolerance and another with a larger error that is within its own: both are told.
#[test]
fn a_stage_tells_its_largest_error_and_the_one_nearest_to_its_tolerance() {
    let certificate = certificate(&fixture(), &fixture(), Precision::Bf16);
    let line = certificate.lines.iter().find(|line| line.stage == "text tower").unwrap();
    assert!(line.largest >= line.error && line.error / line.tolerance > 0.0, "{line:?}");
    assert!(certificate.lines.iter().any(|line| line.worst != line.nearest), "{certificate:?}");
}

/// A golden tensor that no stage knows is named, so that nobody takes it for compared.
#[test]
fn a_golden_tensor_without_a_stage_is_named() {
    let golden = tempfile::tempdir().unwrap();
    for name in ["images", "images_other"] {
        std::os::unix::fs::symlink(fixture().join(name), golden.path().join(name)).unwrap();
    }
    std::fs::copy(fixture().join("texts.txt"), golden.path().join("texts.txt")).unwrap();
    let bytes = std::fs::read(fixture().join("expected.safetensors")).unwrap();
    let file = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let renamed = file.tensors().into_iter().map(|(name, view)| match name.as_str() {
        "vision_hidden.1" => ("vision_hidden.one".to_owned(), view),
        _ => (name, view),
    });
    let bytes = safetensors::serialize(renamed, None).unwrap();
    std::fs::write(golden.path().join("expected.safetensors"), bytes).unwrap();
    let certificate = certificate(&fixture(), golden.path(), Precision::F32);
    let count = file.names().len();
    let sentence = format!("of {count} golden tensors: vision_hidden.one");
    assert_eq!(certificate.left_out, [sentence]);
    assert_parity(&certificate); // the states after the one that is missing are compared as ever
}

/// The tokenizer takes the end's mark in a text for the end, and the tower pools at the first one, as the reference.
#[test]
fn a_text_with_the_mark_of_the_end_inside_is_compared_by_the_tower_s_rule() {
    let golden = tempfile::tempdir().unwrap();
    for name in ["images", "images_other"] {
        std::os::unix::fs::symlink(fixture().join(name), golden.path().join(name)).unwrap();
    }
    let text = "a man <|endoftext|> drives a car";
    std::fs::write(golden.path().join("texts.txt"), format!("{text}\n")).unwrap();
    let (checkpoint, device) = (ClipCheckpoint::open(&fixture()).unwrap(), Device::flex());
    let ids = checkpoint.tokenizer().unwrap().encode(text, 20).unwrap();
    let (count, end) = (ids.len(), *ids.last().unwrap());
    assert!(ids[..count - 1].contains(&end), "the mark is inside: {ids:?}");
    let clip = checkpoint.load(&device).unwrap();
    let tensor = Tensor::<2, Int>::from_data(
        TensorData::new(ids.iter().map(|&id| i64::from(id)).collect::<Vec<_>>(), [1, count]),
        &device,
    );
    let codes = clip.encode_texts(tensor.clone());
    let whole = Tensor::<1, Int>::from_data([count as i64], &device);
    let states = clip.text.encode_tokens(tensor, whole).states;

    let bytes = std::fs::read(fixture().join("expected.safetensors")).unwrap();
    let file = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let of_texts =
        |name: &str| name.starts_with("text") || ["input_ids", "attention_mask", "logits"].contains(&name);
    let mut tensors: Vec<(String, safetensors::Dtype, Vec<usize>, Vec<u8>)> = (file.tensors().into_iter())
        .filter(|(name, _)| !of_texts(name))
        .map(|(name, view)| (name, view.dtype(), view.shape().to_vec(), view.data().to_vec()))
        .collect();
    let whole = |values: Vec<i64>| values.into_iter().flat_map(i64::to_le_bytes).collect::<Vec<u8>>();
    let float = |values: Vec<f32>| values.into_iter().flat_map(f32::to_le_bytes).collect::<Vec<u8>>();
    let (integers, floats) = (safetensors::Dtype::I64, safetensors::Dtype::F32);
    let ids = whole(ids.into_iter().map(i64::from).collect());
    tensors.push(("input_ids".into(), integers, vec![1, count], ids));
    tensors.push(("attention_mask".into(), integers, vec![1, count], whole(vec![1; count])));
    let (of_codes, of_states) = (codes.dims().to_vec(), states.dims().to_vec());
    tensors.push(("text".into(), floats, of_codes, float(codes.into_data().iter().collect())));
    tensors.push(("text_tokens".into(), floats, of_states, float(states.into_data().iter().collect())));
    let views = tensors.iter().map(|(name, dtype, shape, bytes)| {
        (name, safetensors::tensor::TensorView::new(*dtype, shape.clone(), bytes).unwrap())
    });
    let bytes = safetensors::serialize(views, None).unwrap();
    std::fs::write(golden.path().join("expected.safetensors"), bytes).unwrap();
    let certificate = certificate(&fixture(), golden.path(), Precision::F32);
    assert_parity(&certificate);
    for stage in ["tokenizer", "text tower", "from words"] {
        assert!(certificate.lines.iter().any(|line| line.stage == stage), "{stage}");
    }
}

/// Half precision has a tolerance of its own, and needs it.
#[test]
fn half_precision_is_within_its_own_tolerance_and_beyond_that_of_f32() {
    for precision in [Precision::F16, Precision::Bf16] {
        let certificate = certificate(&fixture(), &fixture(), precision);
        for line in &certificate.lines {
            assert!(line.holds(), "{precision:?}: {line:?}");
            if ["image tower", "text tower", "logits"].contains(&line.stage) {
                assert!(line.largest > 1e-4, "{precision:?}: {line:?}");
            }
        }
        assert_eq!(certificate.dtype, precision.name());
    }
}

/// The fixture's folder with one file changed.
fn changed(name: &str, change: impl FnOnce(String) -> String) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for entry in std::fs::read_dir(fixture()).unwrap() {
        let path = entry.unwrap().path();
        if path.is_file() && path.file_name().unwrap() != "expected.safetensors" {
            std::fs::copy(&path, folder.path().join(path.file_name().unwrap())).unwrap();
        }
    }
    let path = folder.path().join(name);
    std::fs::write(&path, change(std::fs::read_to_string(&path).unwrap())).unwrap();
    folder
}

fn beyond(folder: &Path) -> Vec<&'static str> {
    let certificate = certificate(folder, &fixture(), Precision::F32);
    certificate.lines.iter().filter(|line| !line.holds()).map(|line| line.stage).collect()
}

/// What the certificate is for: each of these mistakes is one that published code has made.
#[test]
fn a_mistake_shows_in_its_stage() {
    let other_gelu = changed("config.json", |text| text.replace("quick_gelu", "gelu"));
    assert_eq!(
        beyond(other_gelu.path()),
        ["image tower", "text tower", "logits", "from words", "from pictures"]
    );
    let other_mean = changed("preprocessor_config.json", |text| text.replace("0.48145466", "0.5"));
    assert_eq!(beyond(other_mean.path()), ["normalised pixels", "from pictures", "from lossy pictures"]);
    let other_size = changed("preprocessor_config.json", |text| {
        text.replace("\"shortest_edge\": 19", "\"shortest_edge\": 16")
    });
    assert_eq!(
        beyond(other_size.path()),
        [
            "pixels, Hugging Face's crop",
            "pixels, OpenAI's crop",
            "normalised pixels",
            "pixels, lossy files",
            "from pictures",
            "from lossy pictures"
        ]
    );
    let other_case =
        changed("tokenizer.json", |text| text.replace("\"type\": \"Lowercase\"", "\"type\": \"NFC\""));
    assert_eq!(beyond(other_case.path()), ["tokenizer", "from words"]);
    // Pixels that the tower cannot take are wrong in their own stages, and nothing is made of them.
    let other_crop = changed("preprocessor_config.json", |text| text.replace(": 16", ": 14"));
    assert_eq!(
        beyond(other_crop.path()),
        ["pixels, Hugging Face's crop", "pixels, OpenAI's crop", "normalised pixels", "pixels, lossy files"]
    );
    let reason = "preprocessor_config.json crops to 14 pixels, but the tower takes 16";
    assert_eq!(
        certificate(other_crop.path(), &fixture(), Precision::F32).left_out,
        ["from pictures", "from lossy pictures"].map(|stage| format!("{stage}: {reason}"))
    );
}

#[test]
fn a_golden_file_without_a_tensor_names_it() {
    let golden = tempfile::tempdir().unwrap();
    let tensor = safetensors::tensor::TensorView::new(safetensors::Dtype::F32, vec![1], &[0; 4]).unwrap();
    let bytes = safetensors::serialize([("other", tensor)], None).unwrap();
    std::fs::write(golden.path().join("expected.safetensors"), bytes).unwrap();
    std::fs::write(golden.path().join("texts.txt"), "a car\n").unwrap();
    let checkpoint = ClipCheckpoint::open(&fixture()).unwrap();
    let golden = Golden::open(golden.path()).unwrap();
    let message =
        certify(&checkpoint, &golden, &Device::flex(), "flex", Precision::F32).unwrap_err().to_string();
    assert!(
        message.ends_with("expected.safetensors: input_ids is missing; scripts/reference/clip.py makes it"),
        "{message}"
    );
}

/// Otherwise an empty file of texts would show a tokenizer that is never wrong.
#[test]
fn texts_that_are_not_those_of_the_golden_ids_are_refused() {
    for (texts, count) in [("", 0), ("a man is driving a car\n", 1)] {
        let golden = tempfile::tempdir().unwrap();
        std::fs::copy(fixture().join("expected.safetensors"), golden.path().join("expected.safetensors"))
            .unwrap();
        std::fs::write(golden.path().join("texts.txt"), texts).unwrap();
        let (checkpoint, golden) =
            (ClipCheckpoint::open(&fixture()).unwrap(), Golden::open(golden.path()).unwrap());
        let message =
            certify(&checkpoint, &golden, &Device::flex(), "flex", Precision::F32).unwrap_err().to_string();
        let sentence = format!("input_ids has the shape [7, 20], but texts.txt has {count} texts");
        assert!(message.ends_with(&sentence), "{message}");
    }
}

/// The golden route of saving: load, save, reload, equal. What comes out is left in the build folder, where
/// `transformers` can be pointed at it.
#[test]
fn a_checkpoint_goes_out_as_it_came() {
    let checkpoint = ClipCheckpoint::open(&fixture()).unwrap();
    let clip = checkpoint.load(&Device::flex()).unwrap();
    let out = Path::new(env!("CARGO_TARGET_TMPDIR")).join("saved-clip");
    saver::save(Towers::Both(&clip, &checkpoint.config().unwrap()), &out).unwrap();
    saver::copy_beside(&fixture(), &out).unwrap();
    let [before, after] =
        [&fixture(), &out].map(|folder| std::fs::read(folder.join("model.safetensors")).unwrap());
    let [before, after] =
        [&before, &after].map(|bytes| safetensors::SafeTensors::deserialize(bytes).unwrap());
    let mut names = before.names();
    names.sort_unstable();
    let mut found = after.names();
    found.sort_unstable();
    assert_eq!(names, found);
    for name in names {
        let [before, after] = [&before, &after].map(|file| file.tensor(name).unwrap());
        assert_eq!(before.shape(), after.shape(), "{name}");
        assert!(before.data() == after.data(), "{name}");
    }
    assert_eq!(ClipCheckpoint::open(&out).unwrap().config().unwrap(), checkpoint.config().unwrap());
    assert_parity(&certificate(&out, &fixture(), Precision::F32));
}
