//! `preprocessor_config.json`: both forms, defaults, and what is not supported.

use tvr_clip::{PreprocessorConfig, Reference, Size};

fn read(name: &str, text: &str) -> Result<PreprocessorConfig, String> {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join(name), text).unwrap();
    let prefix = format!("{}/{name}: ", folder.path().display());
    PreprocessorConfig::read(folder.path())
        .map_err(|error| error.to_string().strip_prefix(&prefix).unwrap().to_owned())
}

fn hugging_face(text: &str) -> Result<PreprocessorConfig, String> {
    read("preprocessor_config.json", text)
}

#[track_caller]
fn refuses(text: &str, sentence: &str) {
    assert_eq!(hugging_face(text).unwrap_err(), sentence);
}

#[test]
fn an_empty_object_is_clip_s_own_settings() {
    assert_eq!(hugging_face("{}").unwrap(), PreprocessorConfig::clip(224, Reference::HuggingFace));
}

#[test]
fn flat_numbers_and_objects_say_the_same() {
    let flat = hugging_face(r#"{"size": 55, "crop_size": 48, "resample": 3}"#).unwrap();
    let objects =
        hugging_face(r#"{"size": {"shortest_edge": 55}, "crop_size": {"height": 48, "width": 48}}"#).unwrap();
    assert_eq!(flat, objects);
    assert_eq!((flat.size, flat.crop), (Size::Short(55), 48));
}

#[test]
fn height_and_width_do_not_keep_the_aspect() {
    let config = hugging_face(
        r#"{"size": {"height": 32, "width": 32}, "do_center_crop": false, "do_normalize": false,
            "image_processor_type": "CLIPImageProcessor"}"#,
    );
    let config = config.unwrap();
    assert_eq!(
        (config.size, config.crop, config.mean, config.std),
        (Size::Exact([32, 32]), 32, [0.0; 3], [1.0; 3])
    );
}

/// Found by `CLIPImageProcessorPil` of transformers 5.24 with the same files.
#[test]
fn options_that_change_pixels_are_followed_or_refused() {
    let squashed = hugging_face(r#"{"size": 48, "crop_size": 48, "default_to_square": true}"#).unwrap();
    assert_eq!(squashed.size, Size::Exact([48, 48]));
    for kept in [
        r#"{"size": 48, "crop_size": 48, "default_to_square": false, "do_pad": null, "pad_size": null}"#,
        r#"{"size": {"shortest_edge": 48, "longest_edge": null}, "crop_size": 48, "default_to_square": true}"#,
        r#"{"size": 48, "crop_size": 48, "use_square_size": false, "do_pad": true}"#,
    ] {
        assert_eq!(hugging_face(kept).unwrap().size, Size::Short(48), "{kept}");
    }
    refuses(r#"{"use_square_size": true}"#, "use_square_size = true, but it must be false");
    refuses(
        r#"{"do_pad": true, "pad_size": {"height": 240, "width": 240}}"#,
        "do_pad = true, but it must be false",
    );
    refuses(
        r#"{"size": {"longest_edge": 60, "shortest_edge": 48}, "crop_size": 48}"#,
        "size = {\"longest_edge\":60,\"shortest_edge\":48}, but it must be a number, a shortest_edge, or height and width",
    );
}

#[test]
fn null_switches_a_step_off() {
    let bytes = hugging_face(r#"{"do_rescale": null, "do_normalize": null}"#).unwrap();
    assert_eq!((bytes.rescale, bytes.mean, bytes.std), (1.0, [0.0; 3], [1.0; 3]));
    refuses(
        r#"{"do_resize": null, "do_convert_rgb": null}"#,
        "do_resize = null, but it must be true; do_convert_rgb = null, but it must be true",
    );
}

#[test]
fn all_that_is_not_supported_is_told_at_once() {
    refuses(
        r#"{"do_resize": false, "resample": 2, "image_std": [1, 2], "feature_extractor_type": "ViTFeatureExtractor"}"#,
        "feature_extractor_type = \"ViTFeatureExtractor\", but it must be one of CLIPFeatureExtractor, \
         CLIPImageProcessor, CLIPImageProcessorFast, CLIPImageProcessorPil; do_resize = false, but it must be true; \
         resample = 2, but it must be 3 (bicubic); image_std = [1,2], but it must be three numbers",
    );
}

#[test]
fn sizes_that_do_not_fit_are_refused() {
    refuses(r#"{"size": 32, "crop_size": 48}"#, "crop = 48 is more than size = 32; the rest would be black");
    refuses(r#"{"crop_size": 0}"#, "crop = 0, but it must be above 0");
    refuses(
        r#"{"size": "large"}"#,
        "size = \"large\", but it must be a number, a shortest_edge, or height and width",
    );
    refuses(
        r#"{"crop_size": {"height": 4, "width": 5}}"#,
        "crop_size = {\"height\":4,\"width\":5}, but it must be a square",
    );
    refuses(r#"{"image_std": [1, 0, 1]}"#, "std = [1.0, 0.0, 1.0], but it must be three numbers above 0");
    refuses(r#"{"size": 30000, "crop_size": 30000}"#, "size = 30000, but it must be at most 4096");
    // Numbers, but of f64 alone: pixels would be NaN or infinite.
    let refuses_beyond = |text: &str| {
        let message = hugging_face(text).unwrap_err();
        assert!(message.ends_with(" together make pixels that f32 does not hold"), "{message}");
    };
    refuses_beyond(r#"{"rescale_factor": 1e308}"#);
    refuses_beyond(r#"{"image_mean": [0, 1e308, 0]}"#);
    refuses_beyond(r#"{"image_std": [1, 1, 1e-320]}"#);
    refuses("[]", "is no JSON object");
}

#[test]
fn open_clip_s_file_means_openai_s_rules() {
    let config = read(
        "open_clip_config.json",
        r#"{"model_cfg": {"vision_cfg": {"image_size": 48}}, "preprocess_cfg": {"mean": [0.5, 0.4, 0.3]}}"#,
    );
    let config = config.unwrap();
    assert_eq!((config.size, config.crop, config.reference), (Size::Short(48), 48, Reference::OpenAi));
    assert_eq!(config.mean, [0.5, 0.4, 0.3]);
    let squash =
        read("open_clip_config.json", r#"{"preprocess_cfg": {"size": [64, 64], "resize_mode": "squash"}}"#);
    assert_eq!(squash.unwrap().size, Size::Exact([64, 64]));
    let other = read("open_clip_config.json", r#"{"preprocess_cfg": {"interpolation": "bilinear"}}"#);
    assert_eq!(other.unwrap_err(), "interpolation = \"bilinear\", but it must be \"bicubic\"");
}

/// What `CLIPProcessor.save_pretrained` of transformers 5.24 writes.
const PROCESSOR: &str = r#"{"image_processor": {"crop_size": {"height": 48, "width": 48}, "do_center_crop": true,
    "do_convert_rgb": true, "do_normalize": true, "do_rescale": true, "do_resize": true, "image_mean": [0.5, 0.45, 0.4],
    "image_processor_type": "CLIPImageProcessor", "image_std": [0.25, 0.3, 0.28], "resample": 3,
    "rescale_factor": 0.00392156862745098, "size": {"shortest_edge": 55}}, "processor_class": "CLIPProcessor"}"#;

#[test]
fn the_file_of_transformers_5_goes_before_the_older_one_if_it_speaks_of_images() {
    let config = read("processor_config.json", PROCESSOR).unwrap();
    assert_eq!((config.size, config.crop, config.reference), (Size::Short(55), 48, Reference::HuggingFace));
    assert_eq!((config.mean, config.std), ([0.5, 0.45, 0.4], [0.25, 0.3, 0.28]));
    let broken = PROCESSOR.replace("\"resample\": 3", "\"resample\": 2");
    let sentence = "resample = 2, but it must be 3 (bicubic)";
    assert_eq!(read("processor_config.json", &broken).unwrap_err(), sentence);

    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    write("preprocessor_config.json", r#"{"size": 36, "crop_size": 32}"#);
    write("processor_config.json", PROCESSOR);
    assert_eq!(PreprocessorConfig::read(folder.path()).unwrap(), config);
    write("processor_config.json", r#"{"processor_class": "CLIPProcessor"}"#);
    assert_eq!(PreprocessorConfig::read(folder.path()).unwrap().crop, 32);
}

#[test]
fn a_folder_without_settings_names_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let error = PreprocessorConfig::read(folder.path()).unwrap_err().to_string();
    let path = folder.path().join("preprocessor_config.json");
    assert!(error.starts_with(&format!("{}: cannot be read: ", path.display())), "{error}");
}
