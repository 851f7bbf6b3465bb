//! What a list says of its videos, in shards, and texts whose videos are not in the file.

use super::*;

/// A folder with videos `a` to `d` and `lists/clips.csv`, of the given captions. A GIF may hold anything behind its end:
/// these are files of different hashes.
fn listed(captions: [&str; 4]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("lists")).unwrap();
    let mut list = "id,path,caption,split\n".to_owned();
    for (number, (id, caption)) in ["a", "b", "c", "d"].into_iter().zip(captions).enumerate() {
        let video = [crate::prepare::GIF, &[0, number as u8]].concat();
        std::fs::write(folder.path().join(format!("{id}.gif")), video).unwrap();
        list.push_str(&format!("{id},../{id}.gif,{caption},train\n"));
    }
    std::fs::write(folder.path().join("lists/clips.csv"), list).unwrap();
    folder
}

/// One text a batch: then the sums of a shard are those of the whole.
fn run(folder: &Path, more: &[&str]) -> Output {
    encode(folder, &own(), &[&["--videos", "lists/clips.csv", "--batch", "1"], more].concat())
}

/// Two shards, joined, are the bytes of the whole; returns the second of them.
#[track_caller]
fn joined(folder: &Path, more: &[&str]) -> File {
    let named = |arguments: &[&str], name: &str| {
        let output = run(folder, &[more, arguments].concat());
        assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
        std::fs::rename(folder.join("out.safetensors"), folder.join(name)).unwrap();
        stderr(&output)
    };
    let word = "captions.jsonl and splits.json are not written beside a shard; ";
    for shard in ["0/2", "1/2"] {
        let said = named(&["--shard", shard], &shard[..1]);
        assert!(said.contains(word), "{said}");
        assert!(!folder.join("captions.jsonl").exists());
    }
    assert!(!named(&[], "whole").contains(word));
    assert!(folder.join("captions.jsonl").exists() && folder.join("splits.json").exists());
    let output = xtask(folder, &["merge", "0", "1", "--out", "joined"]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let [joined, whole] = ["joined", "whole"].map(|name| std::fs::read(folder.join(name)).unwrap());
    assert!(joined == whole, "the joined file has other bytes");
    File::read(&folder.join("1"))
}

/// Otherwise shards of one list would not be alike.
#[test]
fn a_shard_whose_videos_have_no_caption_joins_one_whose_videos_have() {
    let folder = listed(["a white dot", "white", "", ""]);
    let second = joined(folder.path(), &["--tokens"]);
    assert_eq!(second.names("video_ids"), ["c", "d"]);
    assert_eq!(second.tensor("text"), (vec![0, 0], vec![]));
    assert_eq!(second.tensor("text_tokens"), (vec![0, 0, 0], vec![]));
}

#[test]
fn a_shard_of_dead_videos_alone_joins_the_others() {
    let folder = listed(["a white dot", "white", "a dead one", ""]);
    for dead in ["c.gif", "d.gif"] {
        std::fs::write(folder.path().join(dead), "").unwrap();
    }
    let second = joined(folder.path(), &["--skip-bad"]);
    assert_eq!(second.names("video_ids"), [""; 0]);
    assert_eq!(second.names("skipped").len(), 2);
}

#[test]
fn texts_that_a_list_cannot_give_are_refused() {
    let folder = listed([""; 4]);
    let refused = |folder: &tempfile::TempDir, more: &[&str], code: i32, sentence: &str| {
        let output = run(folder.path(), more);
        assert_eq!(output.status.code(), Some(code));
        assert!(stderr(&output).ends_with(&format!("error: {sentence}\n")), "{}", stderr(&output));
        assert!(!folder.path().join("out.safetensors").exists());
    };
    refused(&folder, &["--tokens"], 2, "--tokens: the list has no caption; encode without it");
    assert_eq!(run(folder.path(), &[]).status.code(), Some(0));
    assert!(!File::read(&folder.path().join("out.safetensors")).has("text"));

    let folder = listed(["a white dot", "", "", ""]);
    std::fs::write(folder.path().join("a.gif"), "").unwrap();
    let sentence =
        "lists/clips.csv: every video with a caption was bad; mend one, or take the captions from the list";
    refused(&folder, &["--skip-bad"], 1, sentence);
    let output = run(folder.path(), &["--skip-bad", "--shard", "0/1"]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let sentence = "joined: no text is left: each, or its video, was bad";
    fails(&xtask(folder.path(), &["merge", "out.safetensors", "--out", "joined"]), 1, sentence);
}

#[test]
fn a_gallery_of_another_list_is_not_written_over() {
    let folder = listed(["a white dot", "white", "", ""]);
    let path = |name: &str| folder.path().join(name);
    std::fs::write(path("lists/gallery.json"), "{}").unwrap();
    std::fs::write(path("gallery.json"), "mine").unwrap();
    let output = run(folder.path(), &[]);
    assert_eq!(output.status.code(), Some(2));
    let sentence = "error: gallery.json: is there and says something else than the list's; remove it, or give --out in \
                    another folder\n";
    assert!(stderr(&output).ends_with(sentence), "{}", stderr(&output));
    assert_eq!(std::fs::read_to_string(path("gallery.json")).unwrap(), "mine");
    assert!(!path("captions.jsonl").exists());
    std::fs::remove_file(path("gallery.json")).unwrap();
    assert_eq!(run(folder.path(), &[]).status.code(), Some(0));
    assert_eq!(std::fs::read_to_string(path("gallery.json")).unwrap(), "{}");
}

/// One such text, and the file says of no text which video is its own.
#[test]
fn texts_of_videos_that_have_no_frames_are_told() {
    let (weights, folder) = scene();
    let path = folder.path().join("captions.jsonl");
    let captions = std::fs::read_to_string(&path).unwrap();
    let more = "{\"id\":\"d\",\"video\":\"all/v1\",\"text\":\"the sea\"}\n";
    std::fs::write(&path, captions + more).unwrap();
    let note = "text_video is left out: 1 of 4 texts are of videos without frames here, 1 in all, such as \"all/v1\"; \
                take those texts out, or name the videos as their frames are\n";
    let output = encode(folder.path(), &weights, &WHOLE);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert!(stderr(&output).contains(note), "{}", stderr(&output));
    assert!(!File::read(&folder.path().join("out.safetensors")).has("text_video"));

    // A shard's texts may be of the videos of another; what all of them make is judged where they are joined.
    let output = encode(folder.path(), &weights, &[&WHOLE[..], &["--shard", "0/1"]].concat());
    assert!(!stderr(&output).contains("text_video"), "{}", stderr(&output));
    let output = xtask(folder.path(), &["merge", "out.safetensors", "--out", "joined"]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert!(stderr(&output).contains(note), "{}", stderr(&output));
}
