//! The certificate: the repository's own checkpoint, the shared ones, and checkpoints that are wrong.

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
    certify(&checkpoint, &Golden::open(golden).unwrap(), &Device::flex(), precision).unwrap()
}

/// Stages with tensors compared and errors.
fn stages(certificate: &Certificate) -> Vec<(&str, usize)> {
    certificate.lines.iter().map(|line| (line.stage, line.tensors)).collect()
}

#[track_caller]
fn assert_parity(certificate: &Certificate) {
    for line in &certificate.lines {
        assert!(line.holds(), "{line:?}");
        assert!(line.largest <= 1e-4 || line.stage.contains("lossy"), "{line:?}"); // the bound, absolute
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
            ("normalised pixels", 1),
            ("pixels, lossy files", 1),
            ("image tower", 9),
            ("text tower", 8),
            ("logits", 2),
            ("from words", 1),
            ("from pictures", 1),
            ("from lossy pictures", 1),
        ]
    );
    assert!(certificate.left_out.is_empty(), "{:?}", certificate.left_out);
    assert_eq!(certificate.reference["image_processor"], "CLIPImageProcessorPil");
}

/// Every tensor of `shared/data/clip_tiny`, in every layout.
#[test]
fn every_tensor_of_the_shared_checkpoints_is_at_parity() {
    let Some(root) = shared("clip_tiny") else { return };
    for (folder, towers) in [("quick_gelu", [10, 9]), ("gelu", [9, 10])] {
        let certificate = certificate(&root.join(folder), &root.join(folder), Precision::F32);
        assert_parity(&certificate);
        let found = stages(&certificate);
        for stage in [("image tower", towers[0]), ("text tower", towers[1]), ("logits", 2), ("tokenizer", 1)]
        {
            assert!(found.contains(&stage), "{folder}: {stage:?} is not in {found:?}");
        }
        assert_eq!(found.len(), 10, "{folder}: {found:?}"); // OpenAI's crop is not in these files
    }
    for (folder, left_out) in [("sharded", 0), ("text_only", 2), ("vision_only", 2)] {
        let weights = root.join("variants").join(folder);
        let certificate = certificate(&weights, &root.join("quick_gelu"), Precision::F32);
        assert_parity(&certificate);
        assert!(certificate.left_out.len() > left_out, "{folder}: {:?}", certificate.left_out);
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
    let message = certify(&checkpoint, &golden, &Device::flex(), Precision::F32).unwrap_err().to_string();
    assert!(
        message.ends_with("expected.safetensors: input_ids is missing; scripts/reference/clip.py makes it"),
        "{message}"
    );
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
