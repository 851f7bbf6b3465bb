//! Pillow's own bytes: fixtures of this repository, and the published ones beside it.

use std::path::{Path, PathBuf};

use safetensors::{Dtype, SafeTensors};
use tvr_clip::{Picture, Preprocessor, PreprocessorConfig, Reference, Size};

/// Largest difference of two JPEG decoders, in levels.
const JPEG: u8 = 4;

fn shared(below: &str) -> Option<PathBuf> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data").join(below);
    if path.exists() {
        return Some(path);
    }
    eprintln!("skipped: {} is not there", path.display());
    None
}

fn bytes(file: &SafeTensors<'_>, name: &str) -> Vec<u8> {
    let tensor = file.tensor(name).unwrap();
    assert_eq!(tensor.dtype(), Dtype::U8, "{name}");
    tensor.data().to_vec()
}

fn floats(data: &[u8]) -> Vec<f32> {
    data.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect()
}

/// `[height, width, 3]` to `[3, height, width]`.
fn planes(picture: &Picture) -> Vec<u8> {
    (0..3).flat_map(|band| picture.values().iter().skip(band).step_by(3).copied()).collect()
}

/// Largest difference in levels, and the share of values that differ, in per cent.
fn levels(found: &[u8], expected: &[u8]) -> (u8, f64) {
    assert_eq!(found.len(), expected.len());
    let differences = || found.iter().zip(expected).map(|(a, b)| a.abs_diff(*b));
    let share = differences().filter(|&d| d > 0).count() as f64 / found.len() as f64;
    (differences().max().unwrap_or(0), 100.0 * share)
}

#[track_caller]
fn same(name: &str, found: &[u8], expected: &[u8]) {
    let (largest, share) = levels(found, expected);
    assert_eq!(largest, 0, "{name}: {share:.2} % of the values differ, by up to {largest} levels");
}

#[track_caller]
fn close(name: &str, found: &[f32], expected: &[f32], tolerance: f32) {
    assert_eq!(found.len(), expected.len(), "{name}");
    let gaps = found.iter().zip(expected).map(|(a, b)| (a - b).abs());
    let largest = gaps.fold(0.0, |most: f32, gap| if gap <= most { most } else { gap }); // NaN is the largest
    assert!(largest <= tolerance, "{name}: {largest} is more than {tolerance}");
}

#[test]
fn every_kind_of_file_becomes_pillow_s_picture_and_pillow_s_crop() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/pictures");
    let file = std::fs::read(folder.join("expected.safetensors")).unwrap();
    let file = SafeTensors::deserialize(&file).unwrap();
    let preprocessor =
        PreprocessorConfig { size: Size::Short(51), ..PreprocessorConfig::clip(48, Reference::HuggingFace) };
    let preprocessor = preprocessor.init().unwrap();
    let mut seen = 0;
    for name in file.names().into_iter().filter(|name| !name.starts_with("crop.")) {
        let picture = Picture::read(&folder.join(name)).unwrap();
        let expected = bytes(&file, name);
        let [height, width, bands] = [0, 1, 2].map(|axis| file.tensor(name).unwrap().shape()[axis]);
        assert_eq!([picture.height(), picture.width()], [height, width], "{name}: no orientation is applied");
        let pixels = picture.values().chunks_exact(picture.bands());
        if picture.bands() > bands {
            assert!(pixels.clone().all(|pixel| pixel[3] == 255), "{name} is opaque");
        }
        let found: Vec<u8> = pixels.flat_map(|pixel| &pixel[..bands]).copied().collect();
        let crop = preprocessor.crop(&picture);
        let expected_crop = bytes(&file, &format!("crop.{name}"));
        let lossless = !name.ends_with(".jpg") && name != "lossy.webp";
        if lossless {
            same(name, &found, &expected);
            same(&format!("crop of {name}"), crop.values(), &expected_crop);
        } else {
            let (largest, share) = levels(&found, &expected);
            let (of_crop, _) = levels(crop.values(), &expected_crop);
            eprintln!(
                "{name}: {largest} levels at most, {share:.1} % differ; after resize and crop {of_crop}"
            );
            assert!(largest <= JPEG && of_crop <= JPEG, "{name}: {largest} levels, after the crop {of_crop}");
        }
        seen += 1;
    }
    assert!(seen >= 20, "{seen} pictures");
}

fn preprocessor(reference: Reference) -> Preprocessor {
    PreprocessorConfig::clip(224, reference).init().unwrap()
}

#[test]
fn openai_s_published_pixels_come_out_bit_by_bit() {
    let Some(folder) = shared("golden/openai_transform") else { return };
    let file = std::fs::read(folder.join("pixels.safetensors")).unwrap();
    let file = SafeTensors::deserialize(&file).unwrap();
    let kafka = Picture::read(&folder.join("franz-kafka.png")).unwrap();
    let crop = preprocessor(Reference::OpenAi).crop(&kafka);
    same("franz_kafka", &planes(&crop), &bytes(&file, "franz_kafka.u8"));
    let published = std::fs::read(folder.join("expected_preprocessed_image.npy")).unwrap();
    let header = 10 + usize::from(u16::from_le_bytes([published[8], published[9]]));
    let values = preprocessor(Reference::OpenAi).normalise(&crop);
    close("published values", &values, &floats(&published[header..]), 1e-6); // the bound; 0 is found

    for (name, picture) in [("crop", "crop_428x250.png"), ("clip_png", "../clip_vit_b32/CLIP.png")] {
        let picture = Picture::read(&folder.join(picture)).unwrap();
        for (rule, reference) in [("openai", Reference::OpenAi), ("hf", Reference::HuggingFace)] {
            let key = format!("{name}.{rule}.u8");
            same(&key, &planes(&preprocessor(reference).crop(&picture)), &bytes(&file, &key));
        }
    }
}

#[test]
fn our_jpeg_decoder_stays_within_four_levels_of_libjpeg_turbo() {
    let Some(folder) = shared("golden/openai_transform") else { return };
    let [jpeg, png] = ["jpg", "png"].map(|kind| {
        let picture = Picture::read(&folder.join(format!("franz-kafka.{kind}"))).unwrap();
        let crop = preprocessor(Reference::OpenAi).crop(&picture);
        (picture, crop)
    });
    let (decoded, share) = levels(jpeg.0.values(), png.0.values());
    let (cropped, cropped_share) = levels(jpeg.1.values(), png.1.values());
    eprintln!(
        "franz-kafka.jpg: {decoded} levels at most, {share:.2} % of the values differ; after resize and crop \
         {cropped} levels, {cropped_share:.2} %"
    );
    assert!(decoded <= JPEG && cropped <= JPEG, "{decoded} and {cropped} levels");
}

#[test]
fn the_tiny_checkpoints_pixels_come_out_bit_by_bit() {
    for name in ["quick_gelu", "gelu"] {
        let Some(folder) = shared(&format!("clip_tiny/{name}")) else { return };
        let preprocessor = PreprocessorConfig::read(&folder).unwrap().init().unwrap();
        let file = std::fs::read(folder.join("expected.safetensors")).unwrap();
        let file = SafeTensors::deserialize(&file).unwrap();
        for (images, prefix) in [("images", ""), ("images_other", "other.")] {
            let mut paths: Vec<PathBuf> =
                std::fs::read_dir(folder.join(images)).unwrap().map(|entry| entry.unwrap().path()).collect();
            paths.sort();
            let expected = bytes(&file, &format!("{prefix}pixels_u8"));
            let values = floats(file.tensor(&format!("{prefix}pixel_values")).unwrap().data());
            let count = 3 * preprocessor.side() * preprocessor.side();
            for (index, path) in paths.iter().enumerate() {
                let crop = preprocessor.crop(&Picture::read(path).unwrap());
                let own = index * count..(index + 1) * count;
                let expected = &expected[own.clone()];
                if path.extension().is_some_and(|kind| kind == "jpg") {
                    let (largest, share) = levels(&planes(&crop), expected);
                    eprintln!("{}: {largest} levels at most, {share:.1} % differ", path.display());
                    assert!(largest <= JPEG, "{}: {largest} levels", path.display());
                    continue;
                }
                same(&path.display().to_string(), &planes(&crop), expected);
                close(&path.display().to_string(), &preprocessor.normalise(&crop), &values[own], 1e-6);
            }
        }
    }
}
