//! Golden folders that fit no tower, hold nothing, or hold what is no number.

use safetensors::SafeTensors;
use safetensors::tensor::TensorView;

use super::*;

/// What is done to a tensor: its name, shape and bytes.
type Change<'a> = &'a dyn Fn(&str, &mut Vec<usize>, &mut Vec<u8>);

/// The certificate of the repository's checkpoint against its golden folder with some tensors changed, and one folder of
/// pictures empty.
fn against(change: Change<'_>, without: &str) -> Result<Certificate, String> {
    let golden = tempfile::tempdir().unwrap();
    for name in ["images", "images_other"] {
        let here = golden.path().join(name);
        match name == without {
            true => std::fs::create_dir(here).unwrap(),
            false => std::os::unix::fs::symlink(fixture().join(name), here).unwrap(),
        }
    }
    std::fs::copy(fixture().join("texts.txt"), golden.path().join("texts.txt")).unwrap();
    let bytes = std::fs::read(fixture().join("expected.safetensors")).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let tensors: Vec<_> = (file.tensors().into_iter())
        .map(|(name, view)| {
            let (mut shape, mut data) = (view.shape().to_vec(), view.data().to_vec());
            change(&name, &mut shape, &mut data);
            (name, view.dtype(), shape, data)
        })
        .collect();
    let views = tensors
        .iter()
        .map(|(name, dtype, shape, data)| (name, TensorView::new(*dtype, shape.clone(), data).unwrap()));
    let path = golden.path().join("expected.safetensors");
    std::fs::write(path, safetensors::serialize(views, None).unwrap()).unwrap();
    let checkpoint = ClipCheckpoint::open(&fixture()).unwrap();
    let golden = Golden::open(golden.path()).unwrap();
    certify(&checkpoint, &golden, &Device::flex(), "flex", Precision::F32).map_err(|error| error.to_string())
}

#[track_caller]
fn refused(change: Change<'_>, without: &str, sentence: &str) {
    let message = against(change, without).unwrap_err();
    assert!(message.ends_with(sentence), "{message}");
}

/// Nothing to compare is a fault of the golden folder, not of the towers.
#[test]
fn golden_tensors_and_pictures_that_are_none_are_refused() {
    for folder in ["images", "images_other"] {
        let sentence = format!("the folder {folder} holds no picture; scripts/reference/clip.py fills it");
        refused(&|_, _, _| {}, folder, &sentence);
    }
    for emptied in ["pixel_values", "other.pixel_values"] {
        let change = |name: &str, shape: &mut Vec<usize>, data: &mut Vec<u8>| {
            if name == emptied {
                shape[0] = 0;
                data.clear();
            }
        };
        let sentence =
            format!("{emptied} has the shape [0, 3, 16, 16], but it must be at least one row of [3, 16, 16]");
        refused(&change, "", &sentence);
    }
    let change = |name: &str, shape: &mut Vec<usize>, data: &mut Vec<u8>| {
        if name == "attention_mask" {
            data.truncate(data.len() / shape[0]);
            shape[0] = 1;
        }
    };
    let sentence = "attention_mask has the shape [1, 20], but input_ids has [7, 20]; both must be alike";
    refused(&change, "", sentence);
}

/// Those of a checkpoint with more positions or more tokens.
#[test]
fn golden_ids_that_the_text_tower_has_no_row_for_are_refused() {
    let checkpoint = ClipCheckpoint::open(&fixture()).unwrap();
    let config = checkpoint.text_config().unwrap();
    let wider = |name: &str, shape: &mut Vec<usize>, data: &mut Vec<u8>| {
        if ["input_ids", "attention_mask"].contains(&name) {
            let row = data.len() / shape[0];
            let bytes = data.chunks(row).flat_map(|row| [row, &[0; 800]].concat()).collect();
            (shape[1], *data) = (shape[1] + 100, bytes);
        }
    };
    let sentence = format!(
        "input_ids has the shape [7, 120], but the checkpoint takes {} tokens; name the golden folder of this checkpoint",
        config.context
    );
    refused(&wider, "", &sentence);
    for id in [config.vocabulary as i64, -1] {
        let change = |name: &str, _: &mut Vec<usize>, data: &mut Vec<u8>| {
            if name == "input_ids" {
                data[8..16].copy_from_slice(&id.to_le_bytes());
            }
        };
        let sentence = format!(
            "input_ids has the id {id}, but the checkpoint knows {} tokens; name the golden folder of this checkpoint",
            config.vocabulary
        );
        refused(&change, "", &sentence);
    }
}

/// A tolerance grows with the largest value of a tensor, and would be infinite with it.
#[test]
fn an_infinite_golden_value_is_beyond_every_tolerance() {
    for value in [f32::INFINITY, f32::NEG_INFINITY, f32::NAN] {
        let change = |name: &str, _: &mut Vec<usize>, data: &mut Vec<u8>| {
            if name == "vision_hidden.1" {
                data[..4].copy_from_slice(&value.to_le_bytes());
            }
        };
        let certificate = against(&change, "").unwrap();
        let beyond: Vec<_> = certificate.lines.iter().filter(|line| !line.holds()).collect();
        assert_eq!(beyond.len(), 1, "{value}: {beyond:?}");
        let line = beyond[0];
        assert_eq!((line.stage, line.nearest.as_str()), ("image tower", "vision_hidden.1"));
        assert!(line.error.is_infinite() && line.tolerance < 1e-2, "{line:?}");
    }
}
