//! `encode --patches`: the reference's tokens without the class token, shards, going on, and a head that trains on them.

use super::*;

/// `image_tokens` of the reference without the class token: images, patches, width, and the values.
fn expected(path: &Path) -> ([usize; 3], Vec<f32>) {
    let (shape, tokens) = File::read(path).tensor("image_tokens");
    let [images, count, width] = <[usize; 3]>::try_from(shape).unwrap();
    let patches = tokens.chunks(count * width).flat_map(|image| &image[width..]).copied().collect();
    ([images, count - 1, width], patches)
}

fn match_the_reference(folder: &Path) {
    let ([images, patches, width], expected) = expected(&folder.join("expected.safetensors"));
    let pictures = folder.join("images");
    let (file, said) =
        encoded(folder, &["--frames", pictures.to_str().unwrap(), "--patches", "--batch", "2"]);
    let (shape, found) = file.tensor("frames");
    assert_eq!(shape, [1, images * patches, width], "three pictures are the frames of one video");
    close(&found, &expected, CLOSE);
    assert_eq!(file.tensor("mask"), (vec![1, images * patches], vec![1.0; images * patches]));
    let metadata = file.metadata();
    assert_eq!(metadata["tokens_per_frame"], patches.to_string());
    assert_eq!(metadata["frame_tokens"], "patches, without the class token");
    assert_eq!(metadata["unit_rows"], "false");
    let sentence =
        format!("out.safetensors: 3 frames of 1 video, {patches} patches a frame, width {width}, ");
    assert!(said.starts_with(&sentence), "{said}");

    let (file, _) = encoded(folder, &["--images", pictures.to_str().unwrap(), "--patches"]);
    let (shape, found) = file.tensor("frames");
    assert_eq!(shape, [images, patches, width], "every picture is an item");
    close(&found, &expected, CLOSE);
}

#[test]
fn patches_are_the_reference_s_tokens() {
    match_the_reference(&own());
    for name in ["quick_gelu", "gelu"] {
        let Some(folder) = shared(name) else { return };
        match_the_reference(&folder);
    }
}

#[test]
fn a_file_without_patches_says_nothing_of_them() {
    let images = own().join("images");
    let (file, _) = encoded(&own(), &["--frames", images.to_str().unwrap()]);
    let metadata = file.metadata();
    assert!(!metadata.contains_key("frame_tokens") && !metadata.contains_key("tokens_per_frame"));
}

#[test]
fn patches_of_short_videos_are_filled_up_and_shards_are_joined() {
    let (weights, folder) = scene();
    let path = |name: &str| folder.path().join(name);
    let run = |more: &[&str], name: &str| {
        let output = encode(folder.path(), &weights, &[&WHOLE[..], &["--batch", "1"], more].concat());
        assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
        std::fs::rename(path("out.safetensors"), path(name)).unwrap();
    };
    run(&["--patches"], "whole");
    for (shard, name) in [("0/3", "a"), ("1/3", "b"), ("2/3", "c")] {
        run(&["--patches", "--shard", shard], name);
    }
    let file = File::read(&path("whole"));
    let (shape, frames) = file.tensor("frames");
    let patches: usize = file.metadata()["tokens_per_frame"].parse().unwrap();
    assert_eq!(shape[..2], [3, 3 * patches]);
    // Videos v1, v2 and v10 of one, two and three frames.
    let mask = file.tensor("mask").1;
    for (video, (mask, values)) in
        mask.chunks(3 * patches).zip(frames.chunks(3 * patches * shape[2])).enumerate()
    {
        let real = (video + 1) * patches;
        assert!(mask.iter().enumerate().all(|(row, &one)| one == f32::from(u8::from(row < real))));
        assert!(values[real * shape[2]..].iter().all(|&value| value == 0.0), "padding is zero");
    }
    let output = xtask(folder.path(), &["merge", "c", "a", "b", "--out", "joined"]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let sentence = format!("joined: 6 frames of 3 videos, {patches} patches a frame, 3 texts, ");
    assert!(stdout(&output).starts_with(&sentence), "{}", stdout(&output));
    assert!(std::fs::read(path("joined")).unwrap() == std::fs::read(path("whole")).unwrap());

    run(&["--shard", "1/3"], "class");
    let output = xtask(folder.path(), &["merge", "a", "class", "c", "--out", "again"]);
    assert_eq!(output.status.code(), Some(2));
    let sentence = "were not encoded alike: checkpoint, tokenizer, pixels, --dtype, --patches, texts and pictures must be the \
                    same\n";
    assert!(stderr(&output).ends_with(sentence), "{}", stderr(&output));
}

#[test]
fn a_stopped_run_of_patches_goes_on_and_loses_at_most_one_part() {
    let (weights, folder) = scene();
    let many = folder.path().join("many");
    std::fs::create_dir(&many).unwrap();
    let picture = std::fs::read(weights.join("images/2_small_13x11.png")).unwrap();
    for index in 0..135 {
        std::fs::write(many.join(format!("{index}.png")), &picture).unwrap();
    }
    std::fs::write(many.join("134.png"), b"").unwrap();
    let run = |more: &[&str]| {
        encode(folder.path(), &weights, &[&["--images", "many", "--batch", "48"], more].concat())
    };
    assert_eq!(run(&["--patches"]).status.code(), Some(1));
    std::fs::write(many.join("134.png"), &picture).unwrap();
    fails(
        &run(&["--resume"]),
        2,
        "out.safetensors.parts: the unfinished run has other --patches; give its arguments again, or delete the folder",
    );
    let output = run(&["--patches", "--resume"]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert!(stderr(&output).starts_with("pictures: 128/135\n"), "{}", stderr(&output));
    let (shape, values) = File::read(&folder.path().join("out.safetensors")).tensor("frames");
    assert_eq!(shape[0], 135);
    for item in values.chunks(shape[1] * shape[2]) {
        close(item, &values[..shape[1] * shape[2]], 1e-5); // one picture, batches of 48, 16 and 7
    }
}

#[test]
fn a_head_trains_on_a_data_set_of_patches() {
    let (weights, folder) = scene();
    let weights = weights.to_str().unwrap();
    let row = |(number, split): (usize, &&str)| {
        let path = ["videos/v1", "videos/v2", "videos/v10"][number % 3];
        format!(
            "{{\"id\":\"w{number}\",\"path\":\"{path}\",\"split\":\"{split}\",\"captions\":[\"a dog {number}\"]}}\n"
        )
    };
    let list: String = ["train", "train", "train", "train", "val", "val", "test", "test"]
        .iter()
        .enumerate()
        .map(row)
        .collect();
    std::fs::write(folder.path().join("clips.jsonl"), list).unwrap();
    let arguments = ["encode", "--weights", weights, "--videos", "clips.jsonl", "--patches"];
    let output = xtask(folder.path(), &[&arguments[..], &["--out", "data/features.safetensors"]].concat());
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let recipe = format!(
        "name = \"x\"\nseeds = [1]\n[data]\nkind = \"features\"\npath = \"data\"\n[encoder]\nkind = \"clip\"\n\
         weights = {weights:?}\nframe_tokens = \"patches\"\ncontext = 16\n[head]\nkind = \"token-wise\"\n\
         weight_layers = 0\nmask = \"exclude\"\n[objective]\nkind = \"symmetric\"\n[train]\nbatch = 2\nepochs = 2\n\
         evaluations = 1\n[train.optimizer]\nkind = \"adamw\"\nlearning_rate = 1e-3\n"
    );
    std::fs::write(folder.path().join("x.toml"), &recipe).unwrap();
    let output = xtask(folder.path(), &["train", "x.toml", "--json", "-"]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let records: serde_json::Value = serde_json::from_str(&stdout(&output)).unwrap();
    assert_eq!(records[0]["steps"], 4);
    let losses = std::fs::read_to_string(folder.path().join("runs/x-1/steps.jsonl")).unwrap();
    assert_eq!(losses.lines().count(), 4);

    let lines = "kind = \"token-wise\"\nweight_layers = 0\nmask = \"exclude\"";
    std::fs::write(folder.path().join("y.toml"), recipe.replace(lines, "kind = \"seq-lstm\"")).unwrap();
    fails(
        &xtask(folder.path(), &["train", "y.toml"]),
        2,
        "y.toml: [head] reads the order of frames as time, but a frame is given as its 4 patches, which have no order \
         in time; choose a head that takes a set, such as \"token-wise\", or one vector a frame",
    );
}
