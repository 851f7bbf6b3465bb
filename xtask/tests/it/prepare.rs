//! `prepare` and `store` as a user runs them.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::benchmark::real;
use crate::{XTASK, fails, shell, stderr, stdout, xtask};

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
    "clips.csv: 4 videos (test 3, train 1), 4 captions; 1 without a caption, 1 blank caption left out
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
    let output = xtask(folder, &["prepare", "--manifest", "clips.csv"]);
    assert_eq!((output.status.code(), &*stdout(&output)), (Some(0), SAID));
    // Progress: how many of how many, the time, the rate, and failures so far.
    let progress = stderr(&output);
    assert!(progress.starts_with("decode: 0/4\n") && progress.contains("\ndecode: 4/4, 0:0"), "{progress}");
    assert!(progress.ends_with("/s, 2 failed\n"), "{progress}");
    let stat = "store: 2 records in 1 shard, 0.3 MB; 2 with frames, 0 with features, 0 say why there are none; 0 doubled, 0 bytes torn\n";
    assert_eq!(says(folder, &["store", "stat"]), stat);
    assert_eq!(says(folder, &["prepare", "--manifest", "clips.csv"]), SAID);
    assert_eq!(says(folder, &["store", "stat"]), stat);
    assert_eq!(says(folder, &["store", "verify"]), "store: 2 records are whole\n");
    let shares: Vec<String> = ["0/2", "1/2"]
        .iter()
        .map(|shard| says(folder, &["prepare", "--manifest", "clips.csv", "--store", "s", "--shard", shard]))
        .collect();
    assert!(
        shares[0].contains(", 1 blank") && !shares[1].contains(", 1 blank"),
        "a share counts its own: {shares:?}"
    );
    assert!(
        shares[0].contains("s: frames of 2 videos") && shares[1].contains("s: frames of 0 videos"),
        "{shares:?}"
    );
    std::fs::write(folder.join("one.csv"), "path\nclips/a b.gif\n").unwrap();
    let kept = says(folder, &["store", "gc", "--keep", "one.csv"]);
    assert_eq!(kept, "store: 1 record kept, 1 dropped; 0.3 MB before, 0.2 MB now\n");
    let json = says(folder, &["store", "stat", "--json", "-"]);
    let stat: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!((&stat["schema"], &stat["records"]), (&"tvr-store-stat/1".into(), &1.into()));
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
        &xtask(folder, &["prepare", "--manifest", "clips.csv", "--size", "30000"]),
        2,
        "--size: pixels: size = 30000, but it must be at most 4096",
    );
    fails(&xtask(folder, &["store", "stat"]), 2, "store: is no store; cargo xtask prepare makes one");
    let output = xtask(folder, &["prepare", "--manifest", "clips.csv", "--store", "clips"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).ends_with("error: clips: is no store and not empty; name another folder\n"));
}

#[test]
fn a_list_of_which_nothing_can_be_decoded_ends_with_exit_code_1() {
    let folder = folder();
    let folder = folder.path();
    std::fs::write(folder.join("lost.csv"), "path\nelsewhere/a.gif\nclips/empty.mp4\n").unwrap();
    let output = xtask(folder, &["prepare", "--manifest", "lost.csv"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(stdout(&output).contains("store: frames of 0 videos, 0 of them partial; 2 failed\n"));
    let error =
        "error: lost.csv: none of its videos can be decoded (2 videos); paths are relative to the list\n";
    assert!(stderr(&output).ends_with(error), "{}", stderr(&output));
    // A share of a list may be such by itself.
    says(folder, &["prepare", "--manifest", "lost.csv", "--shard", "0/2"]);
}

#[test]
fn a_missing_ffmpeg_is_one_sentence_with_the_line_that_installs_it() {
    let folder = folder();
    std::fs::write(folder.path().join("clips/real.mp4"), "not empty").unwrap();
    std::fs::write(folder.path().join("one.csv"), "path\nclips/real.mp4\n").unwrap();
    let output = Command::new(XTASK)
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

/// Some hundred stills, each of its own bytes, and a list of them.
fn stills(clips: usize) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("clips")).unwrap();
    let mut list = String::from("path\n");
    for clip in 0..clips as u32 {
        // Behind its end a GIF may hold anything.
        let name = format!("clips/{clip}.gif");
        std::fs::write(folder.path().join(&name), [GIF, &[0], &clip.to_le_bytes()].concat()).unwrap();
        list.push_str(&format!("{name}\n"));
    }
    std::fs::write(folder.path().join("clips.csv"), list).unwrap();
    folder
}

const PREPARE: [&str; 5] = ["prepare", "--manifest", "clips.csv", "--size", "96"];

fn begun(folder: &Path) -> Child {
    let mut command = Command::new(XTASK);
    command
        .args(PREPARE)
        .current_dir(folder)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    command.spawn().unwrap()
}

fn counted(folder: &Path, what: &str) -> u64 {
    let stat = says(folder, &["store", "stat", "--json", "-"]);
    serde_json::from_str::<serde_json::Value>(&stat).unwrap()[what].as_u64().unwrap()
}

#[cfg(unix)]
#[test]
fn many_clips_at_once_need_no_more_open_files_than_the_system_gives_at_first() {
    let Some(videos) = real() else { return };
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let clip = std::fs::read(videos.join("unusual/two_frames.mp4")).unwrap();
    let mut list = String::from("path\n");
    for number in 0..12u8 {
        // Behind its boxes an MP4 may hold a free one.
        let free = [0, 0, 0, 9, b'f', b'r', b'e', b'e', number];
        std::fs::write(folder.join(format!("{number}.mp4")), [&clip[..], &free].concat()).unwrap();
        list.push_str(&format!("{number}.mp4\n"));
    }
    std::fs::write(folder.join("clips.csv"), list).unwrap();
    // One worker's pipes for twelve clips alone are more than the limit that the shell leaves.
    let line = "ulimit -Sn 24; exec \"$XTASK\" prepare --manifest clips.csv --size 32";
    let output = shell(folder, line);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert!(stdout(&output).contains("store: frames of 12 videos, 0 of them partial; 0 failed\n"));
}

#[cfg(unix)]
#[test]
fn a_preparation_killed_in_the_middle_goes_on_and_loses_and_doubles_nothing() {
    use std::os::unix::process::ExitStatusExt;
    const CLIPS: usize = 1200;
    let folder = stills(CLIPS);
    let folder = folder.path();
    let shard = folder.join("store/shards/00000.shard");
    let (mut known, mut killed) = (0, 0);
    for share in [1, 3, 6] {
        let mut child = begun(folder);
        let began = Instant::now();
        let enough = (share * CLIPS * 96 * 96 * 3 / 10) as u64;
        while !std::fs::metadata(&shard).is_ok_and(|shard| shard.len() > enough) {
            assert!(began.elapsed() < Duration::from_secs(60), "nothing is written");
            std::thread::sleep(Duration::from_micros(200));
        }
        child.kill().unwrap(); // SIGKILL
        // On a busy machine it may have ended before.
        killed += usize::from(child.wait().unwrap().signal() == Some(9));
        let records = counted(folder, "records");
        assert!(known <= records && records > 0, "{known}, then {records}");
        assert!(share > 1 || records < CLIPS as u64, "the first has nine tenths left");
        known = records;
    }
    assert!(killed > 0, "none of them was killed");
    let said = says(folder, &PREPARE);
    assert!(said.contains("store: frames of 1200 videos, 0 of them partial; 0 failed\n"), "{said}");
    for (what, number) in [("records", CLIPS as u64), ("doubled", 0), ("torn_bytes", 0), ("shards", 1)] {
        assert_eq!(counted(folder, what), number, "{what}");
    }
    assert_eq!(says(folder, &["store", "verify"]), "store: 1200 records are whole\n");
}

#[test]
fn two_preparations_at_once_leave_one_whole_store() {
    let folder = stills(400);
    let folder = folder.path();
    for mut child in [begun(folder), begun(folder)] {
        assert!(child.wait().unwrap().success());
    }
    assert_eq!(counted(folder, "records"), 400);
    // What both decoded stands there twice, until it is collected.
    let whole = 400 + counted(folder, "doubled");
    assert_eq!(says(folder, &["store", "verify"]), format!("store: {whole} records are whole\n"));
    assert!(says(folder, &["store", "gc"]).starts_with("store: 400 records kept, "));
    assert_eq!((counted(folder, "records"), counted(folder, "doubled")), (400, 0));
    assert!(says(folder, &PREPARE).contains("frames of 400 videos"));
    assert_eq!(counted(folder, "records"), 400, "nothing was decoded again");
}

#[cfg(unix)]
#[test]
fn frames_of_another_ffmpeg_are_other_frames() {
    use std::os::unix::fs::PermissionsExt;
    let Some(videos) = real() else { return };
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    std::fs::copy(videos.join("unusual/two_frames.mp4"), folder.join("clip.mp4")).unwrap();
    std::fs::write(folder.join("clips.csv"), "path\nclip.mp4\n").unwrap();
    for version in ["98.1", "99.2"] {
        let script = format!(
            "#!/bin/sh\n[ \"$2\" = -version ] && echo 'ffmpeg version {version} of a test' && exit\nexec ffmpeg \"$@\"\n"
        );
        std::fs::write(folder.join(version), script).unwrap();
        std::fs::set_permissions(folder.join(version), std::fs::Permissions::from_mode(0o755)).unwrap();
    }
    for (version, records) in [("98.1", 1), ("99.2", 2), ("98.1", 2)] {
        let mut command = Command::new(XTASK);
        command.args(PREPARE).current_dir(folder).env("TVR_FFMPEG", folder.join(version));
        let output = command.output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
        assert!(stdout(&output).contains("frames of 1 video, "), "{}", stdout(&output));
        assert_eq!(counted(folder, "records"), records, "{version}");
    }
}
