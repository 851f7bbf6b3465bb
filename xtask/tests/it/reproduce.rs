//! `reproduce PAPER --dataset NAME`: on a few real clips and a tiny checkpoint, and where something is missing.

use std::path::{Path, PathBuf};

use crate::benchmark::real;
use crate::prepare::GIF;
use crate::{stderr, stdout, xtask};

/// The tiny checkpoint; a test without it says why it skips.
fn tiny() -> Option<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data/clip_tiny/quick_gelu");
    if !folder.is_dir() {
        eprintln!("skipped: {} is not there", folder.display());
        return None;
    }
    Some(folder.canonicalize().unwrap())
}

#[test]
fn every_paper_runs_on_nineteen_clips_and_says_how_small_that_was() {
    let (Some(clips), Some(weights)) = (real(), tiny()) else { return };
    let folder = tempfile::tempdir().unwrap();
    let arguments = [
        "reproduce",
        "--dataset",
        "msrvtt",
        "--data-root",
        clips.to_str().unwrap(),
        "--weights",
        weights.to_str().unwrap(),
        "--json",
        "r.json",
    ];
    let output = xtask(folder.path(), &arguments);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let said = stdout(&output);
    for part in [
        "test-1k-a: video7202 shows what video9769 shows, which is trained on\n",
        "msrvtt 1k-a: 15 of 9000 training clips, 2 val clips held out of train, since the protocol has no val, 4 of \
         1000 test clips: no known gallery: compare its figures with nobody's\n",
        "1 test clip shows what a training clip shows\n",
        "clip-mean-pooling: 10 steps of 128 pairs, seeds [42]\n",
        "the temporal transformer starts at random: features are 24 wide, the text tower 32",
        "[S] GARE (Rebalancing Contrastive Alignment), tables 1, 2",
        "not comparable: 4 of 1000 test clips",
        "± 49.0",
    ] {
        assert!(said.contains(part), "{part:?} is not in\n{said}");
    }
    let json: serde_json::Value =
        serde_json::from_slice(&std::fs::read(folder.path().join("r.json")).unwrap()).unwrap();
    assert_eq!(json["size"]["test"], 4);
    let trained: Vec<&str> =
        json["planned"].as_array().unwrap().iter().map(|model| model["recipe"].as_str().unwrap()).collect();
    assert_eq!(
        trained,
        [
            "clip-mean-pooling",
            "clip-seq-transf",
            "clip-emcl-net",
            "clip-camoe",
            "clip-camoe-dsl",
            "clip-ncl",
            "clip-support-set"
        ]
    );
    for row in json["rows"].as_array().unwrap() {
        let recall = row["text_to_video"][0].as_f64().unwrap();
        assert!((0.0..=100.0).contains(&recall), "{row}");
        let judged =
            row["published"].as_array().unwrap().iter().flat_map(|known| known["said"].as_array().unwrap());
        assert!(judged.clone().all(|said| said != "inside" && said != "outside"), "{row}");
    }
    // What a row sees is as published: EMCL-Net mixes the items of a test, NCL looks at training queries alone.
    for (recipe, normalize, regime) in [
        ("clip-mean-pooling", "raw", "raw"),
        ("clip-emcl-net", "raw", "transductive"),
        ("clip-camoe-dsl", "dual-softmax:temperature=1", "transductive"),
        ("clip-ncl", "sinkhorn:tau=1,iterations=50", "bank"),
    ] {
        let rows = json["rows"].as_array().unwrap();
        let row = rows.iter().find(|row| row["recipe"] == recipe && row["normalize"] == normalize).unwrap();
        assert_eq!(row["regime"], regime, "{recipe}");
        assert!(!row["published"].as_array().unwrap().is_empty(), "{recipe}, {normalize}");
    }
    let beside =
        json["rows"].as_array().unwrap().iter().find(|row| row["recipe"] == "clip-seq-transf").unwrap();
    assert_eq!(beside["published"][0]["row"]["text_to_video"][0], 44.5);
    let card = folder.path().join("runs/reproduce/msrvtt-clip-seq-transf-42/card.md");
    let card = std::fs::read_to_string(card).unwrap();
    assert!(
        card.contains("| the gallery is | 4 of 1000 videos of msrvtt test-1k-a: no known gallery"),
        "{card}"
    );
}

#[test]
fn one_paper_runs_on_what_a_list_leaves_and_the_card_names_the_list() {
    let (Some(clips), Some(weights)) = (real(), tiny()) else { return };
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("dead.txt"), "video7500 # three frames a second\nno_such_clip\n")
        .unwrap();
    let (clips, weights) = (clips.to_str().unwrap(), weights.to_str().unwrap());
    let mut arguments = vec!["reproduce", "clip4clip", "--dataset", "msrvtt", "--data-root", clips];
    arguments.extend(["--weights", weights, "--quarantine", "dead.txt", "--json", "r.json"]);
    let output = xtask(folder.path(), &arguments);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let json: serde_json::Value =
        serde_json::from_slice(&std::fs::read(folder.path().join("r.json")).unwrap()).unwrap();
    assert_eq!(json["size"]["test"], 3, "of four");
    let planned: Vec<&str> =
        json["planned"].as_array().unwrap().iter().map(|model| model["recipe"].as_str().unwrap()).collect();
    assert_eq!(planned, ["clip-mean-pooling", "clip-seq-transf"]);
    for model in planned {
        let card = folder.path().join(format!("runs/reproduce/msrvtt-{model}-42/card.md"));
        let card = std::fs::read_to_string(card).unwrap();
        let gallery = "| the gallery is | 3 of 1000 videos of msrvtt test-1k-a: no known gallery: compare its figures with \
                       nobody's; left out by a list: video7500 |\n";
        assert!(card.contains(gallery), "{card}");
    }
}

#[test]
fn of_didemo_the_seconds_are_looked_at_that_are_told_of() {
    let Some(weights) = tiny() else { return };
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    std::fs::create_dir(folder.join("data")).unwrap();
    std::fs::write(folder.join("data/test_data.json"), r#"[{"video": "a.mov", "description": "a dot"}]"#)
        .unwrap();
    std::fs::write(folder.join("data/a.gif"), GIF).unwrap();
    let weights = weights.to_str().unwrap();
    let output = xtask(
        folder,
        &["reproduce", "clip4clip", "--dataset", "didemo", "--data-root", "data", "--weights", weights],
    );
    // One clip is no training, but it was decoded.
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    let shard = std::fs::read(folder.join("store/shards/00000.shard")).unwrap();
    let note = String::from_utf8_lossy(&shard);
    assert!(note.contains("\"sampler\":\"rate:1,frames=64,cut=uniform,until=31\""), "{}", stdout(&output));
}

#[test]
fn what_is_missing_is_named_beside_what_papers_report() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    std::fs::create_dir(folder.join("empty")).unwrap();
    let output = xtask(folder, &["reproduce", "ncl", "--dataset", "msvd", "--data-root", "empty"]);
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    let said = stdout(&output);
    assert!(
        said.contains("missing: no weights are named; the papers start from CLIP's ViT-B/32, "),
        "{said}"
    );
    assert!(said.contains("missing: empty: holds no annotation file of msvd; wanted are "), "{said}");
    assert!(said.contains("CLIP4Clip with NCL") && said.contains("69.6"), "{said}");
    assert_eq!(stderr(&output), "error: msvd: nothing can run: 2 things are missing, as listed\n");
    assert!(!folder.join("runs").exists());

    // Nothing but the name of a benchmark: the same list, and what each paper reports.
    let output = xtask(folder, &["reproduce", "clip4clip", "--dataset", "msrvtt"]);
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    let said = stdout(&output);
    let missing: Vec<&str> = said.lines().filter(|line| line.starts_with("missing: ")).collect();
    assert!(missing.len() == 2 && missing[0].ends_with("; --weights names its folder"), "{said}");
    assert_eq!(
        missing[1],
        "missing: no videos are named; msrvtt comes from ms-multimedia-challenge.com/2017/dataset; the package names no \
         licence, research use is customary; the clips are cut from YouTube; --data-root names the folder below which \
         they are"
    );
    assert!(said.contains("44.5"), "{said}");
    assert_eq!(stderr(&output), "error: msrvtt: nothing can run: 2 things are missing, as listed\n");
    let output = xtask(folder, &["reproduce", "--dataset", "msrvtt476"]);
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(
        stderr(&output),
        "error: no features are named; --data-root names the folder that holds features.safetensors, captions.jsonl \
         and splits.json\n"
    );
    assert!(!folder.join("runs").exists() && !folder.join("store").exists());

    std::fs::write(folder.join("empty/train_list.txt"), "a\nb\nc\n").unwrap();
    std::fs::write(folder.join("empty/test_list.txt"), "d\ne\n").unwrap();
    let output = xtask(
        folder,
        &["reproduce", "ncl", "--dataset", "msvd", "--data-root", "empty", "--weights", "nowhere"],
    );
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    let said = stdout(&output);
    assert!(said.contains("test: missing: \"d\", \"e\""), "{said}");
    assert!(
        said.contains(
            "missing: clips with captions of test: 0 are here, and 2 are the least; msvd comes from "
        ),
        "{said}"
    );

    let output = xtask(folder, &["reproduce", "--dataset", "coco"]);
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(
        stderr(&output),
        "error: unknown data set \"coco\"; --dataset takes msrvtt476, msrvtt, msvd, lsmdc, didemo, activitynet or vatex\n"
    );
}
