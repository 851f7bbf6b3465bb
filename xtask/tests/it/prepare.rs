//! `prepare` and `store` as a user runs them.

use std::path::Path;

use crate::{fails, stderr, stdout, xtask};

/// The smallest GIF: one white pixel.
pub const GIF: &[u8] = b"GIF89a\x01\x00\x01\x00\x80\x00\x00\xff\xff\xff\x00\x00\x00,\x00\x00\x00\x00\x01\x00\x01\x00\x00\x02\x02D\x01\x00;";

fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("clips")).unwrap();
    std::fs::write(folder.path().join("clips/a b.gif"), GIF).unwrap();
    std::fs::write(folder.path().join("clips/named.mp4"), [GIF, b"\0"].concat()).unwrap();
    std::fs::write(folder.path().join("clips/empty.mp4"), "").unwrap();
    let list = "id,path,caption,split\n../tvr-id-is-no-path,clips/a b.gif,a white dot,train\n../tvr-id-is-no-path,clips/a b.gif,\"white, small\",train\n\
                b,clips/named.mp4,,test\nc,clips/empty.mp4,nothing,test\nd,clips/none.mp4,nothing,test\n";
    std::fs::write(folder.path().join("clips.csv"), list).unwrap();
    folder
}

const SAID: &str =
    "clips.csv: 4 videos (test 3, train 1), 4 captions; 1 without a caption, 1 blank captions left out
store: frames of 2 videos, 0 of them partial; 2 failed
  \"c\", empty: is empty: 0 bytes
  \"d\", not there: cannot be opened: No such file or directory (os error 2)
";

#[track_caller]
fn says(folder: &Path, arguments: &[&str]) -> String {
    let output = xtask(folder, arguments);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    stdout(&output)
}

#[test]
fn a_list_is_prepared_once_and_every_failure_is_named() {
    let folder = folder();
    let folder = folder.path();
    assert_eq!(says(folder, &["prepare", "--manifest", "clips.csv"]), SAID);
    let stat = "store: 2 records in 1 shards, 0.3 MB; 2 with frames, 0 with features, 0 say why there are none; 0 doubled, 0 bytes torn\n";
    assert_eq!(says(folder, &["store", "stat"]), stat);
    assert_eq!(says(folder, &["prepare", "--manifest", "clips.csv"]), SAID);
    assert_eq!(says(folder, &["store", "stat"]), stat);
    assert_eq!(says(folder, &["store", "verify"]), "store: 2 records are whole\n");
    let shares: Vec<String> = ["0/2", "1/2"]
        .iter()
        .map(|shard| says(folder, &["prepare", "--manifest", "clips.csv", "--store", "s", "--shard", shard]))
        .collect();
    assert!(
        shares[0].contains("s: frames of 2 videos") && shares[1].contains("s: frames of 0 videos"),
        "{shares:?}"
    );
    std::fs::write(folder.join("one.csv"), "path\nclips/a b.gif\n").unwrap();
    let kept = says(folder, &["store", "gc", "--keep", "one.csv"]);
    assert_eq!(kept, "store: 1 records kept, 1 dropped; 0.3 MB before, 0.2 MB now\n");
    let json = says(folder, &["store", "stat", "--json", "-"]);
    assert_eq!(serde_json::from_str::<serde_json::Value>(&json).unwrap()["records"], 1);
    assert!(!folder.parent().unwrap().join("tvr-id-is-no-path").exists(), "an id is no path");
}

#[test]
fn damage_in_a_store_is_found() {
    let folder = folder();
    let folder = folder.path();
    says(folder, &["prepare", "--manifest", "clips.csv"]);
    let shard = folder.join("store/shards/00000.shard");
    let mut bytes = std::fs::read(&shard).unwrap();
    let last = bytes.len() - 100;
    bytes[last] ^= 1;
    std::fs::write(&shard, bytes).unwrap();
    let output = xtask(folder, &["store", "verify"]);
    assert_eq!(output.status.code(), Some(1));
    let said = stderr(&output);
    assert!(
        said.contains("error: 1 of 2 records are damaged; store/shards/00000.shard: \"record "),
        "{said}"
    );
}

#[test]
fn wrong_requests_are_one_sentence() {
    let folder = folder();
    let folder = folder.path();
    fails(
        &xtask(folder, &["prepare", "--manifest", "clips.csv", "--sampler", "often"]),
        2,
        "--sampler: unknown sampler \"often\"; known are rate:1,frames=12,cut=head|tail|uniform, \
         segments:12,offset=centre, segments:12,offset=random,seed=0, and all",
    );
    fails(&xtask(folder, &["store", "stat"]), 2, "store: is no store; cargo xtask prepare makes one");
    let output = xtask(folder, &["prepare", "--manifest", "clips.csv", "--store", "clips"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).ends_with("error: clips: is no store and not empty; name another folder\n"));
}

#[test]
fn a_missing_ffmpeg_is_one_sentence_with_the_line_that_installs_it() {
    let folder = folder();
    std::fs::write(folder.path().join("clips/real.mp4"), "not empty").unwrap();
    std::fs::write(folder.path().join("one.csv"), "path\nclips/real.mp4\n").unwrap();
    let output = std::process::Command::new(crate::XTASK)
        .args(["prepare", "--manifest", "one.csv"])
        .current_dir(folder.path())
        .env("TVR_FFMPEG", "no-such-ffmpeg")
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    let said = stderr(&output);
    assert!(said.contains("error: cannot run \"no-such-ffmpeg\", which decodes video files: "), "{said}");
    assert!(said.contains("apt-get install ffmpeg"), "{said}");
}
