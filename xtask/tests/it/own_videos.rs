//! One's own videos end to end: a list, frames, features, similarities. First with the README's own lines.

use std::path::Path;

use safetensors::{Dtype, SafeTensors};

use crate::benchmark::real;
use crate::prepare::GIF;
use crate::{figures, matrix, shell, stderr, stdout, xtask};

/// The checkpoint of this repository.
fn weights() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates/tvr-clip/tests/fixtures/clip");
    path.canonicalize().unwrap().to_str().unwrap().to_owned()
}

/// The fenced blocks of a section of the README, by their language.
fn blocks(section: &str, language: &str) -> Vec<String> {
    let readme = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../README.md")).unwrap();
    let section = readme.split(&format!("## {section}\n")).nth(1).unwrap();
    let section = section.split("\n## ").next().unwrap();
    let begin = format!("```{language}\n");
    section.split(&begin).skip(1).map(|rest| rest.split("```").next().unwrap().to_owned()).collect()
}

/// Values of a tensor as f32, and its shape.
fn tensor(bytes: &[u8], name: &str) -> (Vec<usize>, Vec<f32>) {
    let file = SafeTensors::deserialize(bytes).unwrap();
    let tensor = file.tensor(name).unwrap();
    let data = tensor.data();
    let values = match tensor.dtype() {
        Dtype::F32 => data.chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect(),
        Dtype::I64 => {
            data.chunks_exact(8).map(|b| i64::from_le_bytes(b.try_into().unwrap()) as f32).collect()
        }
        _ => data.iter().map(|&byte| f32::from(byte)).collect(),
    };
    (tensor.shape().to_vec(), values)
}

#[test]
fn the_readme_s_two_commands_turn_a_folder_and_a_table_into_features() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    std::fs::write(folder.join("clips.csv"), &blocks("Your own videos", "csv")[0]).unwrap();
    std::fs::create_dir(folder.join("videos")).unwrap();
    for (number, name) in ["cook.mp4", "goal.avi", "dog.webm"].iter().enumerate() {
        // What a file is stands in its bytes, and a GIF needs no FFmpeg.
        std::fs::write(folder.join("videos").join(name), [GIF, &[0, number as u8]].concat()).unwrap();
    }
    let lines = blocks("Your own videos", "sh")[0]
        .replace("cargo xtask", "$XTASK")
        .replace("CLIP-FOLDER", &weights());
    assert_eq!(lines.lines().count(), 2, "{lines}");
    let output = shell(folder, &format!("set -e\n{lines}"));
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let said = stdout(&output);
    assert!(said.contains("features/features.safetensors: 3 frames of 3 videos, 4 texts, width "), "{said}");
    let bytes = std::fs::read(folder.join("features/features.safetensors")).unwrap();
    assert_eq!(tensor(&bytes, "text_video"), (vec![4], vec![0.0, 0.0, 1.0, 2.0]));
    assert_eq!(tensor(&bytes, "mask").1, [1.0; 3]);
    let captions = std::fs::read_to_string(folder.join("features/captions.jsonl")).unwrap();
    assert_eq!(captions.lines().count(), 4);
    assert!(
        captions.contains(r#"{"id":"cook#1","text":"somebody prepares dinner","video":"cook"}"#),
        "{captions}"
    );
    let splits: serde_json::Value =
        serde_json::from_slice(&std::fs::read(folder.join("features/splits.json")).unwrap()).unwrap();
    assert_eq!(splits, serde_json::json!({ "train": ["cook"], "val": ["goal"], "test": ["dog"] }));

    // Features lie in the store beside the frames: they are encoded once, wherever they are wanted. Each video has its
    // frames twice, since this checkpoint wants smaller pictures than CLIP's.
    let stat = stdout(&shell(folder, "$XTASK store stat"));
    assert!(
        stat.contains(" 9 records in 1 shard, ") && stat.contains(" 6 with frames, 3 with features, "),
        "{stat}"
    );
    assert!(stderr(&output).contains("pictures: "), "{}", stderr(&output));
    let again = shell(folder, &lines.lines().nth(1).unwrap().replace("features/f", "again/f"));
    assert_eq!(again.status.code(), Some(0), "{}", stderr(&again));
    assert!(!stderr(&again).contains("pictures: "), "nothing is encoded again: {}", stderr(&again));
    assert!(std::fs::read(folder.join("again/features.safetensors")).unwrap() == bytes);
    assert_eq!(stdout(&shell(folder, "$XTASK store stat")), stat);
    let kept = stdout(&shell(folder, "$XTASK store gc --keep clips.csv && $XTASK store verify"));
    assert!(kept.contains("9 records kept, 0 dropped") && kept.contains("9 records are whole"), "{kept}");

    // A list whose val is misspelt is encoded, with a word about what is missing, and why.
    let list = std::fs::read_to_string(folder.join("clips.csv")).unwrap();
    let misspelt = |line: &str| match line.starts_with("goal") {
        true => line.replace(",val", ",valid"),
        false => line.to_owned(),
    };
    let two: Vec<String> = list.lines().map(misspelt).collect();
    std::fs::write(folder.join("two.csv"), two.join("\n")).unwrap();
    let line = lines.lines().nth(1).unwrap().replace("clips.csv", "two.csv").replace("features/f", "two/f");
    let output = shell(folder, &line);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let word = "splits.json: the list has no video with captions in val; a recipe needs all three splits";
    assert!(stderr(&output).contains(word), "{}", stderr(&output));
    let word =
        "two.csv: recipes know the splits train, val and test, and leave out the videos of \"valid\" (1)\n";
    assert!(stderr(&output).contains(word), "{}", stderr(&output));
    assert!(!stderr(&again).contains("splits.json"), "{}", stderr(&again));

    // Captions of somebody else are not written over.
    std::fs::write(folder.join("features/captions.jsonl"), "mine\n").unwrap();
    let output = shell(folder, lines.lines().nth(1).unwrap());
    assert_eq!(output.status.code(), Some(2));
    assert!(
        stderr(&output).ends_with(
            "error: features/captions.jsonl: is there and says something else than the list; remove it, or give --out in another folder\n"
        ),
        "{}",
        stderr(&output)
    );
    assert_eq!(std::fs::read_to_string(folder.join("features/captions.jsonl")).unwrap(), "mine\n");
}

#[test]
fn real_clips_become_frames_features_and_similarities() {
    let Some(clips) = real() else { return };
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let list = clips.join("manifest.jsonl");
    let list = list.to_str().unwrap();
    let prepared = xtask(folder, &["prepare", "--manifest", list, "--json", "report.json"]);
    assert_eq!(prepared.status.code(), Some(0), "{}", stderr(&prepared));
    let report: serde_json::Value =
        serde_json::from_slice(&std::fs::read(folder.join("report.json")).unwrap()).unwrap();
    assert_eq!((&report["videos"], &report["ready"]), (&30.into(), &30.into()), "{report}");
    assert_eq!((&report["schema"], &report["without_captions"]), (&"tvr-prepare/1".into(), &3.into()));
    let captions = report["captions"].as_u64().unwrap() as usize;

    let encoded = xtask(
        folder,
        &["encode", "--videos", list, "--weights", &weights(), "--out", "f/features.safetensors"],
    );
    assert_eq!(encoded.status.code(), Some(0), "{}", stderr(&encoded));
    let bytes = std::fs::read(folder.join("f/features.safetensors")).unwrap();
    let ([videos, frames, width], values) = match tensor(&bytes, "frames") {
        (shape, values) => (<[usize; 3]>::try_from(shape).unwrap(), values),
    };
    let (mask, (shape, texts)) = (tensor(&bytes, "mask").1, tensor(&bytes, "text"));
    assert_eq!((videos, frames, shape), (30, 12, vec![captions, width]));
    let owners = tensor(&bytes, "text_video").1;

    // CLIP4Clip's mean pooling, in loops: unit frames, their mean, a unit vector again.
    let unit = |vector: &[f32]| -> Vec<f32> {
        let length = vector.iter().map(|value| value * value).sum::<f32>().sqrt();
        vector.iter().map(|value| value / length).collect()
    };
    let pooled: Vec<Vec<f32>> = (0..videos)
        .map(|video| {
            let mut sum = vec![0.0; width];
            for frame in (0..frames).filter(|frame| mask[video * frames + frame] > 0.0) {
                let row = &values[(video * frames + frame) * width..][..width];
                sum.iter_mut().zip(unit(row)).for_each(|(sum, value)| *sum += value);
            }
            unit(&sum)
        })
        .collect();
    let cosine =
        |text: &[f32], video: usize| text.iter().zip(&pooled[video]).map(|(a, b)| a * b).sum::<f32>();
    // A gallery holds what is looked for: three clips have no caption.
    let gallery: Vec<usize> = (0..videos).filter(|&video| owners.contains(&(video as f32))).collect();
    assert_eq!(gallery.len(), 27);
    let scores: Vec<Vec<f32>> = texts
        .chunks_exact(width)
        .map(unit)
        .map(|text| gallery.iter().map(|&video| cosine(&text, video)).collect())
        .collect();
    assert!(scores.iter().flatten().all(|score| (-1.001..=1.001).contains(score)), "cosines");
    matrix(folder, "S.npy", [captions as u64, 27], &scores.concat());
    let own: Vec<usize> = owners
        .iter()
        .map(|&owner| gallery.iter().position(|&video| video == owner as usize).unwrap())
        .collect();
    let groups: String = own.iter().map(|owner| format!("{owner}\n")).collect();
    std::fs::write(folder.join("G.txt"), groups).unwrap();
    let figures = figures(folder, &["--similarity", "S.npy", "--groups", "G.txt"]);
    let row = &figures["rows"][0]["text_to_video"];
    assert_eq!(row["queries"], captions);
    let best = |text: &usize| scores[*text].iter().all(|&score| score <= scores[*text][own[*text]]);
    let first = (0..captions).filter(best).count();
    let recall = 100.0 * first as f64 / captions as f64;
    assert!((row["R@1"].as_f64().unwrap() - recall).abs() < 0.5, "{row} and {recall}: ties apart");
}
