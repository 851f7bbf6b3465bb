//! Folders that are refused, each in one sentence, and bytes that never make a panic.

use super::*;

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
fn options_that_are_not_built_are_listed_at_once_for_both_towers() {
    let _alone = alone();
    let folder = folder();
    edit(folder.path(), "\"hidden_act\": \"quick_gelu\"", "\"hidden_act\": \"swish\"");
    for _tower in 0..2 {
        edit(folder.path(), "\"attention_dropout\": 0.0", "\"attention_dropout\": 0.1");
    }
    let quantized = "\"model_type\": \"clip\", \"quantization_config\": {\"bits\": 4}";
    edit(folder.path(), "\"model_type\": \"clip\"", quantized);
    assert_eq!(
        refusal(folder.path()),
        "config.json: quantization_config = {\"bits\":4}, vision_config.attention_dropout = 0.1, \
         text_config.attention_dropout = 0.1, text_config.hidden_act = \"swish\"; tvr builds CLIP's two transformers alone"
    );
}

/// A size that is not there has transformers' default; where that is not the weights', both are said.
#[test]
fn a_size_that_a_config_leaves_out_is_named() {
    let _alone = alone();
    for (lost, expected) in [
        (
            "\"projection_dim\": 96,",
            "model.safetensors: wrong: text_projection.weight is [96, 64], but the config asks for [512, 64], \
             visual_projection.weight is [96, 64], but the config asks for [512, 64]; left out of the config: \
             projection_dim (512 is taken)",
        ),
        (
            "\"patch_size\": 8,",
            "model.safetensors: wrong: vision_model.embeddings.patch_embedding.weight is [64, 3, 8, 8], but the config \
             asks for [64, 3, 32, 32], vision_model.embeddings.position_embedding.weight is [17, 64], but the config asks \
             for [2, 64]; left out of the config: vision_config.patch_size (32 is taken)",
        ),
        (
            "\"hidden_size\": 64,",
            "model.safetensors: wrong: text_model.embeddings.position_embedding.weight is [12, 64], but the config asks \
             for [12, 512], ",
        ),
    ] {
        let folder = folder();
        edit(folder.path(), lost, "");
        let found = refusal(folder.path());
        assert!(found.starts_with(expected), "{found}");
        assert!(found.contains("; left out of the config: ") && found.ends_with(" is taken)"), "{found}");
    }
    let folder = folder();
    edit(folder.path(), "\"hidden_size\": 64,", "");
    edit(folder.path(), "\"num_attention_heads\": 2", "\"num_attention_heads\": 3");
    assert_eq!(
        refusal(folder.path()),
        "config.json: the text tower's width 512 is not a multiple of its 3 heads; left out of it: \
         text_config.hidden_size (512 is taken)"
    );
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

/// As many tokens as the tower has, but one of them with an id that its embedding lacks.
#[test]
fn a_tokenizer_with_an_id_beyond_the_tower_is_refused() {
    let _alone = alone();
    let folder = folder();
    let path = folder.path().join("tokenizer.json");
    let mut file: serde_json::Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    let checkpoint = ClipCheckpoint::open(folder.path()).unwrap();
    let count = checkpoint.text_config().unwrap().vocabulary;
    assert_eq!(checkpoint.tokenizer().unwrap().vocabulary(), count);
    file["model"]["vocab"]["a</w>"] = count.into();
    std::fs::write(&path, file.to_string()).unwrap();
    let message = checkpoint.tokenizer().unwrap_err().to_string();
    let expected = format!("the tokenizer's vocabulary is {}, but the text tower has {count}", count + 1);
    assert!(message.ends_with(&expected), "{message}");
}

#[test]
fn a_tokenizer_without_clip_s_marks_is_refused_by_its_file() {
    let _alone = alone();
    let folder = folder();
    let sentence = |name: &str| {
        let path = folder.path().join(name);
        format!(
            "{}: tokenizer: no token <|startoftext|>; CLIP's texts begin and end with marks",
            path.display()
        )
    };
    let path = folder.path().join("tokenizer.json");
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, text.replace("startoftext", "s")).unwrap();
    assert_eq!(Tokenizer::open(folder.path()).unwrap_err().to_string(), sentence("tokenizer.json"));
    made::split_tokenizer(folder.path());
    assert_eq!(Tokenizer::open(folder.path()).unwrap_err().to_string(), sentence("vocab.json"));
}

/// As `CLIPConfig` of transformers 5.24 reads it: what the older table leaves out has its default.
#[test]
fn the_older_table_of_a_tower_holds_alone() {
    let _alone = alone();
    let folder = folder();
    let path = folder.path().join("config.json");
    let mut config: serde_json::Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    let older = config["text_config"].clone();
    config["text_config"]["hidden_act"] = "gelu".into();
    config["text_config"]["layer_norm_eps"] = 1e-6.into();
    let write = |config: &serde_json::Value| std::fs::write(&path, config.to_string()).unwrap();
    let text = || ClipCheckpoint::open(folder.path()).unwrap().text_config().unwrap().clone();
    config["text_config_dict"] = serde_json::Value::Null;
    write(&config);
    assert_eq!((text().activation, text().layer_norm_epsilon), (tvr_nn::Activation::Gelu, 1e-6));
    config["text_config_dict"] = older;
    let table = config["text_config_dict"].as_object_mut().unwrap();
    for left_out in ["hidden_act", "layer_norm_eps", "eos_token_id"] {
        table.remove(left_out).unwrap();
    }
    write(&config);
    assert_eq!((text().activation, text().layer_norm_epsilon), (tvr_nn::Activation::QuickGelu, 1e-5));
    assert_eq!(text().eos, EosRule::First(49_407));
    config.as_object_mut().unwrap().remove("text_config");
    write(&config);
    assert_eq!(text().layers, 2, "nothing but the older table");
    config["text_config_dict"]["num_hidden_layers"] = "two".into();
    write(&config);
    assert!(refusal(folder.path()).starts_with("config.json: text_config_dict.num_hidden_layers = \"two\""));
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

/// `folder()` with its weights in two shards and an index; the names in each.
fn sharded() -> (TempDir, [Vec<String>; 2]) {
    let folder = folder();
    let names = made::shards(folder.path());
    (folder, names)
}

#[test]
fn faults_of_shards_name_the_shard_and_the_tensor() {
    let _alone = alone();
    let (folder, names) = sharded();
    ClipCheckpoint::open(folder.path()).unwrap();
    let [first, second] = made::SHARDS.map(|name| folder.path().join(name));
    let index = folder.path().join(made::INDEX);

    std::fs::rename(&second, folder.path().join("away")).unwrap();
    let sentence = format!("{}: the shard {} is missing; fetch it again", made::INDEX, made::SHARDS[1]);
    assert_eq!(refusal(folder.path()), sentence);

    // A shard that lacks a tensor which the index says it has.
    let lost = &names[1][3];
    made::without(&folder.path().join("away"), lost, &second);
    let sentence = format!("{}: {lost} is in none of the shards; fetch them again", made::INDEX);
    assert_eq!(refusal(folder.path()), sentence);

    std::fs::copy(&first, &second).unwrap();
    let found = refusal(folder.path());
    let doubled = |name: &String| found == format!("{}: {name} is in two shards", made::SHARDS[1]);
    assert!(names[0].iter().any(doubled), "{found}");

    let text = std::fs::read_to_string(&index).unwrap();
    std::fs::write(&index, text.replace(made::SHARDS[1], "../elsewhere.safetensors")).unwrap();
    let sentence = format!("{}: shard \"../elsewhere.safetensors\" is no plain file name", made::INDEX);
    assert_eq!(refusal(folder.path()), sentence);
    std::fs::write(&index, "{\"metadata\": {}}").unwrap();
    let found = refusal(folder.path());
    assert!(found.starts_with(&format!("{}: not the JSON it should be: ", made::INDEX)), "{found}");
}

/// A folder under OpenCLIP's names whose config is changed by replacing text.
#[test]
fn options_of_open_clip_that_tvr_does_not_build_are_listed() {
    let folder = tempfile::tempdir().unwrap();
    made::open_clip(folder.path());
    ClipCheckpoint::open(folder.path()).unwrap();
    let path = folder.path().join("open_clip_config.json");
    let text = std::fs::read_to_string(&path).unwrap();
    for (from, to, listed) in [
        (
            "\"patch_size\": 8",
            "\"patch_size\": 8, \"timm_model_name\": \"vit\", \"ls_init_value\": 0.1, \"patch_dropout\": 0.0",
            "model_cfg.vision_cfg.ls_init_value = 0.1, model_cfg.vision_cfg.timm_model_name = \"vit\"",
        ),
        (
            "\"heads\": 2",
            "\"heads\": 2, \"hf_model_name\": \"roberta-base\", \"no_causal_mask\": true, \"embed_cls\": false",
            "model_cfg.text_cfg.hf_model_name = \"roberta-base\", model_cfg.text_cfg.no_causal_mask = true",
        ),
        ("\"embed_dim\": 12", "\"embed_dim\": 12, \"multimodal_cfg\": {}", "model_cfg.multimodal_cfg = {}"),
    ] {
        assert!(text.contains(from), "{from}");
        std::fs::write(&path, text.replacen(from, to, 1)).unwrap();
        let sentence = format!("open_clip_config.json: {listed}; tvr builds CLIP's two transformers alone");
        assert_eq!(refusal(folder.path()), sentence);
    }
}
