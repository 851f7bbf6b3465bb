//! Pictures of real files: the right frames, in the right order, the right way up.

mod headers;
mod published;
mod stills;
mod surroundings;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde::Deserialize;
use tvr_data::frames::ffmpeg::Ffmpeg;
use tvr_data::frames::{AsDecoded, Decoder, Fault, Footage, FrameSource, Picture, Verdict};
use tvr_data::{DataError, Sampler};

use crate::shared::{LIMIT, both, centres, decode, ffmpeg, videos};

/// A line of `frame_md5.jsonl`: every frame's time, and the hash of its planes.
#[derive(Deserialize)]
struct Golden {
    path: String,
    frames: Vec<(f64, String)>,
}

/// What the table of decoders says of a file.
#[derive(Deserialize)]
struct Reference {
    path: String,
    #[serde(default)]
    video_streams: Vec<HashMap<String, serde_json::Value>>,
}

impl Reference {
    fn rate(&self, stream: usize) -> f64 {
        let text = self.video_streams[stream]["r_frame_rate"].as_str().unwrap();
        let (above, below) = text.split_once('/').unwrap();
        above.parse::<f64>().unwrap() / below.parse::<f64>().unwrap()
    }
}

fn lines<T: for<'a> Deserialize<'a>>(path: &Path) -> Vec<T> {
    let text = std::fs::read_to_string(path).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// What lies in a folder, by name.
fn names(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).unwrap();
    let mut names: Vec<String> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn picture(path: &Path) -> Picture {
    let image = image::open(path).unwrap().into_rgb8();
    Picture::from_rgb(image.width() as usize, image.height() as usize, image.into_raw()).unwrap()
}

/// Every frame of a stream of some files in one plain run of FFmpeg: hashes of its planes, and CRC-32 of its RGB bytes.
fn plain(files: &[(&Path, usize)]) -> Vec<(Vec<String>, Vec<u32>)> {
    let scratch = tempfile::tempdir().unwrap();
    let file = |place: usize, what: &str| scratch.path().join(format!("{place}.{what}"));
    let mut command = Command::new("ffmpeg");
    command.args(["-nostdin", "-v", "quiet", "-y"]);
    for (path, _) in files {
        command.args(["-threads", "1", "-autorotate", "0", "-i"]).arg(path);
    }
    for (place, (_, stream)) in files.iter().enumerate() {
        let stream = format!("{place}:v:{stream}");
        let passed = ["-map", &stream, "-fps_mode", "passthrough"];
        command.args(passed).args(["-f", "framemd5"]).arg(file(place, "hashes"));
        command.args(passed).args(["-f", "framehash", "-hash", "CRC32", "-pix_fmt", "rgb24"]);
        command.arg(file(place, "pixels"));
    }
    command.stdin(Stdio::null()).status().unwrap();
    let read = |place: usize| {
        let last_cells = |what: &str| -> Vec<String> {
            let text = std::fs::read_to_string(file(place, what)).unwrap();
            let lines = text.lines().filter(|line| !line.starts_with('#'));
            lines.map(|line| line.rsplit(", ").next().unwrap().trim().to_owned()).collect()
        };
        let planes = last_cells("hashes").into_iter().map(|hash| hash[..12].to_owned()).collect();
        let pixels = last_cells("pixels").iter().map(|sum| u32::from_str_radix(sum, 16).unwrap()).collect();
        (planes, pixels)
    };
    (0..files.len()).map(read).collect()
}

#[test]
fn the_frames_are_those_that_their_hashes_say() {
    // The chain: the hashes of a plain run are those of frame_md5.jsonl, so the order and the number of its frames
    // are right; our pictures at an index have the checksum of the plain run's RGB at that index.
    let Some((folder, ffmpeg)) = both() else { return };
    let mut goldens: Vec<Golden> = lines(&folder.join("frame_md5.jsonl"));
    // Turned frames have a test of their own.
    let apart = ["damaged/", "rotate_", "decord/video_"];
    // Of two streams the hashes are of the larger, which is the second.
    let stream =
        |path: &str| usize::from(["two_video_streams", "nasa_13013"].iter().any(|name| path.contains(name)));
    goldens.retain(|golden| {
        let source = FrameSource::at(&folder.join(&golden.path));
        let plain = apart.iter().all(|part| !golden.path.contains(part));
        plain && source.is_ok_and(|source| source.is_video())
    });
    // The long ones, MSVD's AVI files without times among them.
    for (path, frames) in
        [("clips/msvd/3qqEKTPxLNs_1_15.avi", 421), ("clips/msvd/UXs3eq68ZjE_250_255.avi", 150)]
    {
        assert!(goldens.iter().any(|golden| golden.path == path && golden.frames.len() == frames), "{path}");
    }
    // What the table of decoders says of the rate.
    let rates: HashMap<String, Reference> = lines::<Reference>(&folder.join("reference_decoders.jsonl"))
        .into_iter()
        .map(|reference| (reference.path.clone(), reference))
        .collect();
    let (mut compared, mut other_rates) = (0, Vec::new());
    for group in goldens.chunks(12) {
        let files: Vec<PathBuf> = group.iter().map(|golden| folder.join(&golden.path)).collect();
        let ours = decode(Some(&ffmpeg), centres(5), &files);
        let streams = files.iter().zip(group).map(|(file, golden)| (file.as_path(), stream(&golden.path)));
        let plain = plain(&streams.collect::<Vec<_>>());
        for ((golden, footage), (hashes, pixels)) in group.iter().zip(ours).zip(plain) {
            let name = &golden.path;
            let expected: Vec<&String> = golden.frames.iter().map(|(_, hash)| hash).collect();
            if name != "unusual/size_changes.ts" {
                // (There the plain run scales what the hashes were made of without scaling.)
                assert_eq!(hashes.iter().collect::<Vec<_>>(), expected, "{name}");
            }
            let footage = footage.unwrap_or_else(|fault| panic!("{name}: {fault}"));
            assert_eq!(footage.total, expected.len(), "{name}");
            assert_eq!(footage.indices, centres(5).indices(expected.len(), 1.0, 0), "{name}");
            // OpenCV's frames a second, of which CLIP4Clip takes the whole part.
            let rate = rates[name].rate(stream(name));
            if footage.total >= 3 && footage.rate as usize != rate as usize {
                other_rates.push(format!("{name}: {} for {rate}", footage.rate));
            }
            assert_eq!(pixels.len(), expected.len(), "{name}");
            for (picture, &index) in footage.pictures.iter().zip(&footage.indices) {
                assert_eq!(crc32fast::hash(picture.values()), pixels[index], "{name} frame {index}");
                compared += 1;
            }
        }
    }
    println!("{compared} pictures of {} files compared", goldens.len());
    assert!(compared >= 300 && goldens.len() >= 85, "{compared} of {}", goldens.len());
    // A rate that varies has no number of its own: FFmpeg guesses the mean there, we the usual distance.
    assert_eq!(other_rates, ["unusual/variable_rate.mkv: 30 for 17.24137931034483"]);
}

#[test]
fn files_decoded_together_are_as_decoded_alone() {
    let Some((folder, ffmpeg)) = both() else { return };
    let names = [
        "clips/msvd/j2Dhf-xFUxU_13_20.avi",
        "damaged/bitflips.mp4",
        "unusual/rotate_90.mp4",
        "damaged/text.mp4",
        "unusual/variable_rate.mkv",
        "unusual/animation.gif",
        "unusual/edit_list_cut.mp4",
        "damaged/audio_only.mp4",
    ];
    let files: Vec<_> = names.iter().map(|name| folder.join(name)).collect();
    let together = decode(Some(&ffmpeg), centres(4), &files);
    for ((file, name), found) in files.iter().zip(names).zip(together) {
        let alone = decode(Some(&ffmpeg), centres(4), std::slice::from_ref(file)).remove(0);
        assert!(found == alone, "{name}");
    }
}

#[test]
fn frames_are_turned_as_their_file_asks() {
    let Some((folder, ffmpeg)) = both() else { return };
    let first = |name: &str| {
        let footage = decode(Some(&ffmpeg), centres(1), &[folder.join(name)]).remove(0).unwrap();
        footage.pictures.into_iter().next().unwrap()
    };
    for group in ["unusual/rotate_{}.mp4", "decord/video_{}.mov"] {
        for angle in ["90", "180", "270"] {
            let name = group.replace("{}", angle);
            let path = folder.join(&name);
            let turned = first(&name);
            // The same frame as it lies in the file, turned by hand.
            let output = Command::new("ffmpeg")
                .args(["-nostdin", "-v", "error", "-autorotate", "0", "-i"])
                .arg(&path)
                .args(["-f", "rawvideo", "-pix_fmt", "rgb24", "-fps_mode", "passthrough", "-"])
                .output()
                .unwrap();
            let (width, height) = match angle {
                "180" => (turned.width(), turned.height()),
                _ => (turned.height(), turned.width()),
            };
            let total = output.stdout.len() / (width * height * 3);
            let start = centres(1).indices(total, 1.0, 0)[0] * width * height * 3;
            let lying = &output.stdout[start..start + width * height * 3];
            let at = |row: usize, column: usize| {
                let (row, column) = match angle {
                    "90" => (height - 1 - column, row),
                    "180" => (height - 1 - row, width - 1 - column),
                    _ => (column, width - 1 - row),
                };
                &lying[(row * width + column) * 3..][..3]
            };
            // A file states its angle in one direction or in the other: one of both must fit all pixels.
            let opposite = |row: usize, column: usize| {
                let (row, column) = match angle {
                    "90" => (column, width - 1 - row),
                    "180" => (height - 1 - row, width - 1 - column),
                    _ => (height - 1 - column, row),
                };
                &lying[(row * width + column) * 3..][..3]
            };
            let fits = |of: &dyn Fn(usize, usize) -> Vec<u8>| {
                (0..turned.height() * turned.width()).all(|place| {
                    let (row, column) = (place / turned.width(), place % turned.width());
                    of(row, column) == turned.values()[place * 3..place * 3 + 3]
                })
            };
            let clockwise = fits(&|row, column| at(row, column).to_vec());
            let counter = fits(&|row, column| opposite(row, column).to_vec());
            assert!(clockwise || counter, "{name}");
            if angle != "180" {
                assert_eq!(turned.width() < turned.height(), width > height, "{name} lies on its side");
            }
        }
    }
}

#[test]
fn sound_files_are_whole_with_the_right_number_of_frames() {
    let Some((folder, ffmpeg)) = both() else { return };
    let expected = [
        ("unusual/edit_list_cut.mp4", 62),
        ("torchcodec/discard_first_keyframe.mp4", 25),
        ("unusual/first_key_frame_later.mkv", 90),
        ("unusual/raw_stream.h264", 60),
        ("unusual/mpeg4_b_frames.avi", 60),
        ("unusual/size_changes.ts", 60),
        ("unusual/interlaced.mpg", 30),
        ("torchcodec/av1_video.mkv", 125),
        ("unusual/audio_longer_than_video.mp4", 60),
        ("unusual/video_starts_late.mp4", 75),
        ("unusual/starts_at_7s.mkv", 30),
        ("unusual/one_frame.mp4", 1),
        ("unusual/two_frames.mp4", 2),
        ("unusual/animation.gif", 20),
        ("unusual/animation.webp", 20),
        ("unusual/gif_named_mp4.mp4", 20),
        ("unusual/jpeg_named_mp4.mp4", 1),
        ("unusual/still.png", 1),
        ("unusual/wide_4096x16.mp4", 30),
        ("unusual/tiny_16x16.mp4", 30),
        ("decord/unordered.mov", 4),
        ("unusual/frames_unpadded", 11),
    ];
    let files: Vec<_> = expected.iter().map(|(name, _)| folder.join(name)).collect();
    for ((name, total), found) in expected.iter().zip(decode(Some(&ffmpeg), centres(3), &files)) {
        let footage = found.unwrap_or_else(|fault| panic!("{name}: {fault}"));
        assert_eq!((footage.total, &footage.verdict), (*total, &Verdict::Whole), "{name}");
    }
}

#[test]
fn every_damaged_file_has_its_verdict() {
    let Some((folder, ffmpeg)) = both() else { return };
    let damaged = folder.join("damaged");
    let faults = [
        ("zero_bytes.mp4", "empty"),
        ("text.mp4", "unreadable"),
        ("html_error_page.mp4", "unreadable"),
        ("zeros_4k.mp4", "unreadable"),
        ("truncated_no_moov.mp4", "unreadable"),
        ("truncated_in_moov.mp4", "unreadable"),
        ("audio_only.mp4", "no video stream"),
        ("sound_named_avi.avi", "no video stream"),
        ("subtitles_only.mkv", "no video stream"),
        ("zero_frames.mp4", "no video stream"),
        ("unknown_codec.mp4", "no picture"),
        ("directory.mp4", "empty folder"),
    ];
    for (name, kind) in faults {
        let fault = decode(Some(&ffmpeg), centres(12), &[damaged.join(name)]).remove(0).unwrap_err();
        assert_eq!(fault.kind(), kind, "{name}: {fault}");
        assert!(!fault.to_string().contains("0x"), "{name}: an address is no reason: {fault}");
    }
    let partial = [
        ("truncated_faststart.mp4", 65),
        ("truncated_real.mkv", 42),
        ("truncated.webm", 50),
        ("truncated.mkv", 43),
        ("truncated.gif", 6),
        ("bitflips.mp4", 177),
        ("garbage_in_middle.mp4", 152),
    ];
    let mut known: Vec<&str> = faults.iter().map(|(name, _)| *name).collect();
    known.extend(partial.iter().map(|(name, _)| *name).chain(["truncated_animation.webp"]));
    known.sort_unstable();
    assert_eq!(names(&damaged), known, "every file of the folder has its verdict");
    for (name, total) in partial {
        let footage = decode(Some(&ffmpeg), centres(12), &[damaged.join(name)]).remove(0).unwrap();
        assert_eq!(footage.pictures.len(), 12, "{name}");
        assert!(matches!(&footage.verdict, Verdict::Partial { reason } if !reason.is_empty()), "{name}");
        // FFmpeg conceals more or less from version to version.
        assert!(footage.total.abs_diff(total) <= total / 20, "{name}: {} frames", footage.total);
    }
    let webp = decode(None, centres(12), &[damaged.join("truncated_animation.webp")]).remove(0);
    assert!(!matches!(&webp, Ok(footage) if footage.verdict == Verdict::Whole), "{webp:?}");
    // A stream that was joined in the middle: 20 of its 110 pictures refer to a key frame that is not there, and FFmpeg
    // says of each that it cannot be decoded. They are missing, whatever the reason; the other 90 are those of the copy in
    // a container whose header lets FFmpeg pass over them in silence.
    let both = ["first_key_frame_later_ts_named.mp4", "first_key_frame_later.mkv"].map(|name| {
        decode(Some(&ffmpeg), centres(12), &[folder.join("unusual").join(name)]).remove(0).unwrap()
    });
    assert!(
        matches!(&both[0].verdict, Verdict::Partial { reason } if reason.contains("PPS")),
        "{:?}",
        both[0].verdict
    );
    assert_eq!((both[0].total, &both[0].indices), (90, &both[1].indices));
    assert!(both[0].pictures == both[1].pictures);
    let real = decode(Some(&ffmpeg), centres(12), &[folder.join("decord/corrupted.mp4")]).remove(0).unwrap();
    assert!(matches!(real.verdict, Verdict::Partial { .. }), "{:?}", real.verdict);
}
