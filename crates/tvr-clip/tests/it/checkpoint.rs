//! Checkpoints in and out, and those that are broken.

use std::path::{Path, PathBuf};

use burn::prelude::*;
use burn::tensor::Distribution;
use proptest::prelude::*;
use tempfile::TempDir;
use tvr_clip::saver::{self, Towers};
use tvr_clip::{Clip, ClipCheckpoint, ClipConfig, ClipError, EosRule, Precision, Tokenizer};

use crate::properties::alone;

/// A small model with a text tower for the captions' tokenizer.
fn small() -> (Clip, ClipConfig, Tokenizer) {
    let captions = ["a red square moves left", "a blue circle grows"].map(String::from);
    let tokenizer = Tokenizer::train_world(captions, 40).unwrap();
    let mut config = ClipConfig::world(tokenizer.vocabulary(), 12);
    config.image.layers = 2;
    config.image.hidden = 100;
    config.text.heads = 2;
    config.text.eos = EosRule::First(tokenizer.end());
    let device = Device::flex();
    device.seed(11);
    (config.init(&device).unwrap(), config, tokenizer)
}

/// A folder with that model.
fn folder() -> TempDir {
    let (clip, config, tokenizer) = small();
    let folder = tempfile::tempdir().unwrap();
    saver::save(Towers::Both(&clip, &config), folder.path()).unwrap();
    tokenizer.save(&folder.path().join("tokenizer.json")).unwrap();
    folder
}

fn pixels() -> Tensor<4> {
    Tensor::random([2, 3, 32, 32], Distribution::Normal(0.0, 1.0), &Device::flex())
}

fn ids() -> Tensor<2, Int> {
    Tensor::from_data([[3, 5, 7, 2, 0], [4, 4, 1, 6, 9]], &Device::flex())
}

#[track_caller]
fn refusal(folder: &Path) -> String {
    let message = ClipCheckpoint::open(folder).unwrap_err().to_string();
    let shown = format!("{}/", folder.display());
    assert!(message.starts_with(&shown), "{message}");
    message[shown.len()..].to_owned()
}

/// Changes a folder's config by replacing text.
fn edit(folder: &Path, from: &str, to: &str) {
    let path = folder.join("config.json");
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(text.contains(from), "{from} is not in {text}");
    std::fs::write(&path, text.replacen(from, to, 1)).unwrap();
}

#[test]
fn what_is_saved_comes_back_bit_by_bit() {
    let _alone = alone();
    let (clip, config, tokenizer) = small();
    let folder = folder();
    let checkpoint = ClipCheckpoint::open(folder.path()).unwrap();
    let mut expected = config.clone();
    expected.image.positions = tvr_clip::PatchPositions::Normal; // how positions start is not part of a checkpoint
    assert_eq!(checkpoint.config().unwrap(), expected);
    let loaded = checkpoint.load(&Device::flex()).unwrap();
    let pixels = pixels();
    loaded
        .encode_images(pixels.clone())
        .into_data()
        .assert_eq(&clip.encode_images(pixels.clone()).into_data(), true);
    loaded.encode_texts(ids()).into_data().assert_eq(&clip.encode_texts(ids()).into_data(), true);
    loaded.logit_scale().into_data().assert_eq(&clip.logit_scale().into_data(), true);
    let found = checkpoint.tokenizer().unwrap().encode("a red circle", 12).unwrap();
    assert_eq!(found, tokenizer.encode("a red circle", 12).unwrap());

    // Each tower alone is a folder too.
    let one = tempfile::tempdir().unwrap();
    saver::save(Towers::Image(&clip.image, &config.image), one.path()).unwrap();
    saver::copy_beside(folder.path(), one.path()).unwrap();
    assert!(one.path().join("tokenizer.json").exists());
    let image =
        ClipCheckpoint::open(one.path()).unwrap().load_image(&Device::flex(), Precision::F32).unwrap();
    image.encode(pixels.clone()).into_data().assert_eq(&clip.encode_images(pixels).into_data(), true);
    saver::save(Towers::Text(&clip.text, &config.text), one.path()).unwrap();
    let text = ClipCheckpoint::open(one.path()).unwrap().load_text(&Device::flex(), Precision::F32).unwrap();
    let lengths = text.lengths(ids());
    text.encode(ids(), lengths).into_data().assert_eq(&clip.encode_texts(ids()).into_data(), true);
}

/// What `transformers` asks of a file.
#[test]
fn the_scale_is_a_scalar_and_the_format_is_named() {
    let _alone = alone();
    let folder = folder();
    let bytes = std::fs::read(folder.path().join("model.safetensors")).unwrap();
    let (_, header) = safetensors::SafeTensors::read_metadata(&bytes).unwrap();
    assert_eq!(header.metadata().as_ref().unwrap()["format"], "pt");
    assert!(header.info("logit_scale").unwrap().shape.is_empty());
    assert_eq!(header.info("vision_model.embeddings.patch_embedding.weight").unwrap().shape, [64, 3, 8, 8]);
}

#[test]
fn loaded_towers_learn() {
    let _alone = alone();
    let folder = folder();
    let device = Device::flex().autodiff();
    let clip = ClipCheckpoint::open(folder.path()).unwrap().load(&device).unwrap();
    let images = clip.encode_images(Tensor::from_inner(pixels()));
    let texts = clip.encode_texts(Tensor::from_data([[3, 5, 7, 2, 0], [4, 4, 1, 6, 9]], &device));
    let loss = (texts.matmul(images.transpose()) * clip.logit_scale().reshape([1, 1])).square().sum();
    let gradients = burn::optim::GradientsParams::from_grads(loss.backward(), &clip);
    assert_eq!(gradients.len(), burn::module::list_param_ids(&clip).len());
}

#[test]
fn three_d_patches_start_as_two_d_and_are_not_saved() {
    let _alone = alone();
    let (clip, config, _) = small();
    let videos = Tensor::<5>::random([2, 3, 3, 32, 32], Distribution::Normal(0.0, 1.0), &Device::flex());
    let flat = clip.image.encode_videos(videos.clone());
    let clip = Clip { image: clip.image.into_3d(), ..clip };
    let temporal = clip.image.encode_videos(videos.clone());
    temporal
        .into_data()
        .assert_approx_eq::<f32>(&flat.clone().into_data(), burn::tensor::Tolerance::absolute(1e-5));
    let one = clip.image.encode_videos(videos.slice([0..1, 1..2]));
    one.into_data().assert_approx_eq::<f32>(
        &flat.slice([0..1, 1..2]).into_data(),
        burn::tensor::Tolerance::absolute(1e-5),
    );
    let folder = tempfile::tempdir().unwrap();
    let error = saver::save(Towers::Both(&clip, &config), folder.path()).unwrap_err();
    assert!(matches!(error, ClipError::TemporalPatches));
    assert!(!folder.path().join("model.safetensors").exists());
}

/// General weights: frame `f` depends on frames `f-1`, `f` and `f+1` alone.
#[test]
fn p_c4_2_a_3d_frame_sees_its_neighbours_and_nobody_else() {
    let _alone = alone();
    let mut config = ClipConfig::world(50, 16);
    config.image.patches = tvr_clip::PatchMode::Temporal;
    config.image.layers = 1;
    let clip = config.init(&Device::flex()).unwrap();
    let frames = 5;
    let videos = Tensor::<5>::random([1, frames, 3, 32, 32], Distribution::Normal(0.0, 1.0), &Device::flex());
    let before = clip.image.encode_videos(videos.clone());
    for changed in 0..frames {
        let other = Tensor::<5>::ones([1, 1, 3, 32, 32], &Device::flex());
        let videos = videos.clone().slice_assign([0..1, changed..changed + 1], other);
        let moved = (clip.image.encode_videos(videos) - before.clone()).abs().max_dim(2);
        let moved: Vec<f32> = moved.into_data().iter::<f32>().collect();
        for (frame, moved) in moved.into_iter().enumerate() {
            assert_eq!(moved > 0.0, frame.abs_diff(changed) <= 1, "frame {frame}, changed {changed}");
        }
    }
}

#[test]
fn half_precision_keeps_norms_and_codes_in_f32() {
    let _alone = alone();
    let folder = folder();
    let checkpoint = ClipCheckpoint::open(folder.path()).unwrap();
    let device = Device::flex();
    let exact = checkpoint.load(&device).unwrap();
    let pixels = pixels();
    // Rounding of 2^-11 and 2^-8 through two blocks, on codes near 1.
    for (precision, tolerance) in [(Precision::F16, 1e-2), (Precision::Bf16, 8e-2)] {
        let clip = checkpoint.load_as(&device, precision).unwrap();
        assert_eq!(clip.image.projection.weight.val().dtype(), precision.dtype());
        assert_eq!(clip.text.blocks[0].query.weight.val().dtype(), precision.dtype());
        for norm in [&clip.image.pre_norm, &clip.text.blocks[1].mlp_norm] {
            assert_eq!(norm.gamma.val().dtype(), burn::tensor::DType::F32);
        }
        let images = clip.encode_images(pixels.clone());
        assert_eq!(images.dtype(), burn::tensor::DType::F32);
        let error = (images - exact.encode_images(pixels.clone())).abs().max().into_scalar::<f32>();
        assert!(error > 0.0 && error < tolerance, "{precision:?}: {error}");
        let error = (clip.encode_texts(ids()) - exact.encode_texts(ids())).abs().max().into_scalar::<f32>();
        assert!(error > 0.0 && error < tolerance, "{precision:?}: {error}");
    }
}

#[test]
fn a_folder_without_weights_or_config_says_what_it_needs() {
    let _alone = alone();
    let empty = tempfile::tempdir().unwrap();
    let message = ClipCheckpoint::open(empty.path()).unwrap_err().to_string();
    assert_eq!(
        message,
        format!(
            "{}: no checkpoint; a folder needs model.safetensors, shards with model.safetensors.index.json, or \
             open_clip_model.safetensors",
            empty.path().display()
        )
    );
    let folder = folder();
    std::fs::remove_file(folder.path().join("config.json")).unwrap();
    let message = ClipCheckpoint::open(folder.path()).unwrap_err().to_string();
    assert!(message.ends_with(": no checkpoint; a folder needs config.json"), "{message}");
    std::fs::remove_file(folder.path().join("tokenizer.json")).unwrap();
    let message = Tokenizer::open(folder.path()).unwrap_err().to_string();
    assert!(message.ends_with("a folder needs tokenizer.json, or vocab.json and merges.txt"), "{message}");
}

#[test]
fn a_config_is_refused_by_the_field_that_is_wrong() {
    let _alone = alone();
    let cases = [
        (
            "\"model_type\": \"clip\"",
            "\"model_type\": \"siglip\"",
            "config.json: model_type = \"siglip\"; tvr builds CLIP's two transformers alone",
        ),
        ("\"model_type\": \"clip\",", "", "config.json: model_type is missing"),
        ("\"vision_config\"", "\"visual_config\"", "config.json: vision_config is missing"),
        (
            "\"num_channels\": 3",
            "\"num_channels\": 1",
            "config.json: vision_config.num_channels = 1; tvr builds CLIP's two transformers alone",
        ),
        (
            "\"hidden_act\": \"quick_gelu\"",
            "\"hidden_act\": \"swish\"",
            "config.json: text_config.hidden_act = \"swish\"; tvr builds CLIP's two transformers alone",
        ),
        (
            "\"attention_dropout\": 0.0",
            "\"attention_dropout\": 0.1",
            "config.json: text_config.attention_dropout = 0.1; tvr builds CLIP's two transformers alone",
        ),
        (
            "\"num_attention_heads\": 2,",
            "",
            "config.json: text_config.num_attention_heads is missing; only a tower of width 512 may leave it out",
        ),
        (
            "\"num_attention_heads\": 2",
            "\"num_attention_heads\": 5",
            "config.json: the text tower's width 64 is not a multiple of its 5 heads",
        ),
        (
            "\"num_hidden_layers\": 2",
            "\"num_hidden_layers\": 900000",
            "config.json: 900000 layers of the text tower, but the weights are 78 tensors",
        ),
        (
            "\"hidden_size\": 64",
            "\"hidden_size\": -64",
            "config.json: text_config.hidden_size = -64, but it must be a whole number up to 1048576",
        ),
        (
            "{",
            "[",
            "config.json: not the JSON it should be: invalid type: sequence, expected a map at line 1 column 0",
        ),
    ];
    for (from, to, expected) in cases {
        let folder = folder();
        edit(folder.path(), from, to);
        let found = refusal(folder.path());
        assert!(
            found == expected || (from == "{" && found.starts_with("config.json: not the JSON")),
            "{found}"
        );
    }
}

#[test]
fn tensors_that_do_not_fit_are_listed_in_one_error() {
    let _alone = alone();
    let folder = folder();
    edit(folder.path(), "\"num_hidden_layers\": 2", "\"num_hidden_layers\": 1");
    edit(folder.path(), "\"projection_dim\": 96", "\"projection_dim\": 95");
    let found = refusal(folder.path());
    assert_eq!(
        found,
        "model.safetensors: not part of the model: text_model.encoder.layers.1.layer_norm1.bias, \
         text_model.encoder.layers.1.layer_norm1.weight, text_model.encoder.layers.1.layer_norm2.bias, \
         text_model.encoder.layers.1.layer_norm2.weight, text_model.encoder.layers.1.mlp.fc1.bias, \
         text_model.encoder.layers.1.mlp.fc1.weight, text_model.encoder.layers.1.mlp.fc2.bias, \
         text_model.encoder.layers.1.mlp.fc2.weight and 8 more; wrong: text_projection.weight is [96, 64], but the \
         config asks for [95, 64], visual_projection.weight is [96, 64], but the config asks for [95, 64]"
    );
    let folder = self::folder();
    edit(folder.path(), "\"num_hidden_layers\": 2", "\"num_hidden_layers\": 3");
    let found = refusal(folder.path());
    assert!(
        found.starts_with("model.safetensors: missing: text_model.encoder.layers.2.layer_norm1.bias, "),
        "{found}"
    );
}

#[test]
fn a_file_that_was_cut_short_is_refused_by_its_name() {
    let _alone = alone();
    let folder = folder();
    let path = folder.path().join("model.safetensors");
    let whole = std::fs::read(&path).unwrap();
    for length in [0, 4, 8, 100, whole.len() / 2, whole.len() - 3] {
        std::fs::write(&path, &whole[..length]).unwrap();
        let found = refusal(folder.path());
        assert!(
            found.starts_with("model.safetensors: ") && found.ends_with("fetch it again"),
            "{length}: {found}"
        );
    }
}

#[test]
fn a_weight_that_is_not_finite_is_refused_with_its_place() {
    let _alone = alone();
    let folder = folder();
    let path = folder.path().join("model.safetensors");
    let mut bytes = std::fs::read(&path).unwrap();
    let (header, places) = safetensors::SafeTensors::read_metadata(&bytes).unwrap();
    let start = 8 + header + places.info("text_projection.weight").unwrap().data_offsets.0;
    bytes[start + 4 * 70..start + 4 * 71].copy_from_slice(&f32::NAN.to_le_bytes());
    std::fs::write(&path, bytes).unwrap();
    let checkpoint = ClipCheckpoint::open(folder.path()).unwrap();
    let message = checkpoint.load(&Device::flex()).unwrap_err().to_string();
    assert!(message.ends_with("model.safetensors: text_projection.weight: value 70 is NaN"), "{message}");
}

#[test]
fn a_tokenizer_of_another_model_is_refused() {
    let _alone = alone();
    let folder = folder();
    let other = tempfile::tempdir().unwrap();
    let tokenizer = Tokenizer::train_world(["an other sentence".to_owned()], 10).unwrap();
    tokenizer.save(&other.path().join("tokenizer.json")).unwrap();
    let checkpoint = ClipCheckpoint::open(folder.path()).unwrap();
    let text = checkpoint.text_config().unwrap().vocabulary;
    let message = checkpoint.with_processor(other.path()).tokenizer().unwrap_err().to_string();
    let expected = format!(
        "{}: the tokenizer's vocabulary is {}, but the text tower has {text}",
        other.path().display(),
        tokenizer.vocabulary()
    );
    assert_eq!(message, expected);
    edit(folder.path(), &format!("\"eos_token_id\": {}", text - 1), "\"eos_token_id\": 3");
    let message = ClipCheckpoint::open(folder.path()).unwrap().tokenizer().unwrap_err().to_string();
    assert!(message.ends_with("but the text tower has 3"), "{message}");
}

/// Older exports say 2 and mean the largest id; MetaCLIP 2 means it.
#[test]
fn an_end_of_text_of_2_is_the_largest_id_for_clip_and_itself_for_metaclip_2() {
    let _alone = alone();
    let folder = folder();
    let rule = || ClipCheckpoint::open(folder.path()).unwrap().text_config().unwrap().eos;
    let EosRule::First(end) = rule() else { panic!("another rule") };
    edit(folder.path(), &format!("\"eos_token_id\": {end}"), "\"eos_token_id\": 2");
    assert_eq!(rule(), EosRule::LargestId);
    edit(folder.path(), "\"model_type\": \"clip\"", "\"model_type\": \"metaclip_2\"");
    assert_eq!(rule(), EosRule::First(2));
}

/// A folder whose file is changed in one place, opened and, if that works, loaded. Errors are fine, panics are not.
fn survives(file: &str, change: impl Fn(&mut Vec<u8>)) {
    static WHOLE: std::sync::OnceLock<PathBuf> = std::sync::OnceLock::new();
    let whole = WHOLE.get_or_init(|| {
        let _alone = alone();
        folder().keep()
    });
    let folder = tempfile::tempdir().unwrap();
    for name in ["config.json", "model.safetensors", "tokenizer.json"] {
        let mut bytes = std::fs::read(whole.join(name)).unwrap();
        if name == file {
            change(&mut bytes);
        }
        std::fs::write(folder.path().join(name), bytes).unwrap();
    }
    if let Ok(checkpoint) = ClipCheckpoint::open(folder.path()) {
        let _ = checkpoint.load(&Device::flex());
        if let Ok(tokenizer) = checkpoint.tokenizer() {
            let _ = tokenizer.encode("a red square", 12);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn mutated_bytes_never_panic(
        file in prop::sample::select(vec!["config.json", "model.safetensors", "tokenizer.json"]),
        edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        cut in prop::option::weighted(0.2, any::<prop::sample::Index>()),
    ) {
        survives(file, |bytes| {
            // Most of the weights are plain numbers; the header is where a change can do harm.
            let reach = bytes.len().min(9000);
            for (place, byte) in &edits {
                bytes[place.index(reach)] = *byte;
            }
            if let Some(cut) = &cut {
                let length = cut.index(bytes.len());
                bytes.truncate(length);
            }
        });
    }
}
