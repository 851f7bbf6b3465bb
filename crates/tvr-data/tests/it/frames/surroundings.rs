//! Odd names, links in a circle, no FFmpeg, no time, and what needs no FFmpeg.

use super::*;

#[test]
fn names_that_are_no_plain_words_are_opened() {
    let (Some(folder), Some(ffmpeg)) = (videos(), ffmpeg()) else { return };
    let scratch = tempfile::tempdir().unwrap();
    let names = [
        "with blank.mp4",
        "ünï✓.mp4",
        "new\nline.mp4",
        "-y.mp4",
        "http:x.mp4",
        "a'b\"c%d.mp4",
        "a|b;c&d.mp4",
    ];
    let files: Vec<_> = names.iter().map(|name| scratch.path().join(name)).collect();
    for file in &files {
        std::fs::copy(folder.join("unusual/two_frames.mp4"), file).unwrap();
    }
    for (name, found) in names.iter().zip(decode(Some(&ffmpeg), Sampler::All, &files)) {
        assert_eq!(found.unwrap().total, 2, "{name:?}");
    }
}

#[cfg(unix)]
#[test]
fn links_in_a_circle_and_missing_files_are_named() {
    let scratch = tempfile::tempdir().unwrap();
    let (a, b) = (scratch.path().join("a.mp4"), scratch.path().join("b.mp4"));
    std::os::unix::fs::symlink(&a, &b).unwrap();
    std::os::unix::fs::symlink(&b, &a).unwrap();
    for path in [&a, &scratch.path().join("none.mp4"), &scratch.path().join("nul\0.mp4")] {
        let fault = FrameSource::at(path).unwrap_err();
        assert_eq!(fault.kind(), "not there", "{fault}");
        assert!(fault.to_string().starts_with("cannot be opened: "), "{fault}");
    }
}

#[cfg(unix)]
#[test]
fn a_pipe_named_like_a_video_is_no_file_and_is_not_waited_for() {
    let scratch = tempfile::tempdir().unwrap();
    let pipe = scratch.path().join("pipe.mp4");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let fault = FrameSource::at(&pipe).unwrap_err();
    assert_eq!(fault.to_string(), "cannot be opened: it is a pipe or a device, and no file");
}

#[test]
fn a_missing_ffmpeg_is_one_error_with_the_line_that_installs_it() {
    let error = Ffmpeg::at(Path::new("no-such-ffmpeg")).unwrap_err();
    assert!(matches!(error, DataError::Ffmpeg { .. }));
    let text = error.to_string();
    assert!(text.starts_with("cannot run \"no-such-ffmpeg\", which decodes video files: "), "{text}");
    assert!(text.contains("apt-get install ffmpeg") && !text.contains('\n'), "{text}");
    // A program that is something else says so.
    let text = Ffmpeg::at(Path::new("true")).unwrap_err().to_string();
    assert!(text.contains("it does not say that it is FFmpeg"), "{text}");
}

/// An FFmpeg that says its version, and else does this.
#[cfg(unix)]
fn scripted(scratch: &Path, name: &str, script: &str) -> PathBuf {
    use std::os::unix::fs::PermissionsExt;
    let program = scratch.join(name);
    let version = "[ \"$2\" = -version ] && echo 'ffmpeg version 6.0 of a test' && exit";
    std::fs::write(&program, format!("#!/bin/sh\n{version}\n{script}\n")).unwrap();
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
    program
}

#[cfg(unix)]
#[test]
fn an_ffmpeg_that_is_killed_is_no_fault_of_its_file() {
    let scratch = tempfile::tempdir().unwrap();
    let files = ["a.mp4", "b.mp4"].map(|name| scratch.path().join(name));
    files.iter().for_each(|file| std::fs::write(file, "no matter what").unwrap());
    // By a signal of its own, behind a script, and as FFmpeg ends when it is asked to. HUP and INT behind a script alone:
    // whoever is started in the background, or by nohup, ignores them.
    for script in ["kill -9 $$", "kill -TERM $$", "exit 129", "exit 130", "exit 137", "exit 143", "exit 255"]
    {
        let ffmpeg = Ffmpeg::at(&scripted(scratch.path(), "killed", script)).unwrap();
        for found in decode(Some(&ffmpeg), Sampler::All, &files) {
            let fault = found.unwrap_err();
            assert_eq!(
                fault.to_string(),
                "was not decoded: FFmpeg was killed, by hand or because memory was short; run again",
                "{script}"
            );
            assert!(fault.kind() == "killed" && !fault.is_lasting());
        }
    }
    // One that breaks down over a file, or complains of it, would do so again.
    for script in ["kill -11 $$", "exit 139", "exit 1", "echo 'it is not permitted' >&2; exit 255"] {
        let ffmpeg = Ffmpeg::at(&scripted(scratch.path(), "broken", script)).unwrap();
        let fault = decode(Some(&ffmpeg), Sampler::All, &files[..1]).remove(0).unwrap_err();
        assert!(fault.is_lasting(), "{script}: {fault}");
    }
    // Killed in the middle of a file whose packets are known: no frame of it passes for all that there are.
    let (Some(folder), Some(_)) = (videos(), crate::shared::ffmpeg()) else { return };
    let real = std::env::var("TVR_FFMPEG").unwrap_or_else(|_| "ffmpeg".into());
    for end in ["kill -9 $$", "exit 255"] {
        let script = format!("case \"$*\" in *select=*) {real} \"$@\"; {end};; *) exec {real} \"$@\";; esac");
        let ffmpeg = Ffmpeg::at(&scripted(scratch.path(), "halfway", &script)).unwrap();
        let fault = decode(Some(&ffmpeg), centres(2), &[folder.join("unusual/two_frames.mp4")]).remove(0);
        assert_eq!(fault, Err(Fault::Killed), "{end}");
    }
}

#[cfg(unix)]
#[test]
fn a_full_disk_ends_the_work_and_is_blamed_on_no_clip() {
    let (Some(folder), Some(_)) = (videos(), crate::shared::ffmpeg()) else { return };
    let scratch = tempfile::tempdir().unwrap();
    let real = std::env::var("TVR_FFMPEG").unwrap_or_else(|_| "ffmpeg".into());
    // No file may grow; pipes may.
    let script = format!("trap '' XFSZ\nulimit -f 0\nexec {real} \"$@\"");
    let ffmpeg = Ffmpeg::at(&scripted(scratch.path(), "full", &script)).unwrap();
    for name in ["clips/msrvtt/video9770.mp4", "unusual/two_frames.mp4", "unusual/raw_stream.h264"] {
        let source = FrameSource::at(&folder.join(name)).unwrap();
        let decoder =
            Decoder { sampler: centres(2), finish: &AsDecoded, limit: LIMIT, ffmpeg: Some(&ffmpeg) };
        let error = decoder.decode(&[(source, 0)]).unwrap_err().to_string();
        let place = format!("{}: cannot write in: ", std::env::temp_dir().display());
        assert!(
            error.starts_with(&place) && error.ends_with("; TMPDIR names another folder"),
            "{name}: {error}"
        );
    }
}

#[cfg(unix)]
#[test]
fn a_clip_that_takes_too_long_is_given_up() {
    let scratch = tempfile::tempdir().unwrap();
    let clip = scratch.path().join("clip.mp4");
    std::fs::write(&clip, "no matter what").unwrap();
    // The program itself, and behind a script that waits for it.
    for script in ["exec sleep 30", "sleep 30; exit 0"] {
        let ffmpeg = Ffmpeg::at(&scripted(scratch.path(), "slow", script)).unwrap();
        assert_eq!(ffmpeg.version(), "6.0");
        let (limit, start) = (Duration::from_secs(1), Instant::now());
        let decoder = Decoder { sampler: Sampler::All, finish: &AsDecoded, limit, ffmpeg: Some(&ffmpeg) };
        let fault = decoder.decode(&[(FrameSource::at(&clip).unwrap(), 0)]).unwrap().remove(0).unwrap_err();
        assert_eq!(fault, Fault::TimeLimit { seconds: 1 });
        assert_eq!(fault.to_string(), "was not decoded within 1 s; raise the limit if the file is sound");
        assert!(!fault.is_lasting() && LIMIT > limit);
        assert!(start.elapsed() < Duration::from_secs(15), "{script}: {:?}", start.elapsed());
    }
}

/// A GIF of grey squares, 0, 40, 80, …
fn gif(path: &Path, frames: u8) {
    let file = std::fs::File::create(path).unwrap();
    let mut encoder = image::codecs::gif::GifEncoder::new(file);
    for frame in 0..frames {
        let grey = image::RgbaImage::from_pixel(8, 6, image::Rgba([frame * 40, frame * 40, frame * 40, 255]));
        let delay = image::Delay::from_numer_denom_ms(500, 1);
        encoder.encode_frame(image::Frame::from_parts(grey, 0, 0, delay)).unwrap();
    }
}

#[test]
fn animations_folders_and_stills_are_read_without_ffmpeg() {
    let scratch = tempfile::tempdir().unwrap();
    let animation = scratch.path().join("clip.mp4"); // its content says what it is
    gif(&animation, 5);
    let frames = scratch.path().join("frames");
    std::fs::create_dir(&frames).unwrap();
    for (name, grey) in [("f_10.png", 200), ("f_2.png", 100), ("f_1.png", 50)] {
        image::RgbImage::from_pixel(4, 4, image::Rgb([grey; 3])).save(frames.join(name)).unwrap();
    }
    for extra in ["notes.txt", ".hidden.png"] {
        std::fs::write(frames.join(extra), "no picture").unwrap();
    }
    let still = frames.join("f_2.png");
    let found = decode(None, Sampler::All, &[animation.clone(), frames.clone(), still]);
    let greys = |place: usize| -> Vec<u8> {
        found[place].as_ref().unwrap().pictures.iter().map(|picture| picture.values()[0]).collect()
    };
    assert_eq!(greys(0), [0, 40, 80, 120, 160]);
    assert_eq!(greys(1), [50, 100, 200], "natural order");
    assert_eq!(greys(2), [100]);
    let rates: Vec<f64> = found.iter().map(|footage| footage.as_ref().unwrap().rate).collect();
    assert_eq!(rates, [2.0, 1.0, 1.0]);
    let cut = std::fs::read(&animation).unwrap();
    std::fs::write(&animation, &cut[..cut.len() * 2 / 3]).unwrap();
    let footage = decode(None, Sampler::All, &[animation]).remove(0).unwrap();
    assert!(matches!(footage.verdict, Verdict::Partial { .. }) && footage.total < 5, "{footage:?}");
    // Sizes that differ cannot lie in one array.
    image::RgbImage::new(5, 4).save(frames.join("f_3.png")).unwrap();
    let fault = decode(None, Sampler::All, &[frames]).remove(0).unwrap_err();
    assert_eq!(fault.to_string(), "has pictures of different sizes: 4 x 4 and 5 x 4; give them one size");
}

/// FFmpeg behind a script that notes each start, and how often it was started since it was made.
#[cfg(unix)]
fn counted(scratch: &Path) -> (Ffmpeg, impl Fn() -> usize) {
    use std::os::unix::fs::PermissionsExt;
    let (program, starts) = (scratch.join("counted"), scratch.join("starts"));
    let real = std::env::var("TVR_FFMPEG").unwrap_or_else(|_| "ffmpeg".into());
    let script = format!("#!/bin/sh\necho start >> '{}'\nexec {real} \"$@\"\n", starts.display());
    std::fs::write(&program, script).unwrap();
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
    let ffmpeg = Ffmpeg::at(&program).unwrap();
    std::fs::write(&starts, "").unwrap();
    (ffmpeg, move || std::fs::read_to_string(&starts).unwrap().lines().count())
}

#[cfg(unix)]
#[test]
fn sound_clips_whose_headers_are_right_share_one_start_of_ffmpeg() {
    let (Some(folder), Some(_)) = (videos(), ffmpeg()) else { return };
    let scratch = tempfile::tempdir().unwrap();
    let (counted, starts) = counted(scratch.path());
    // Several clocks, more frames than a second holds, and fewer chosen than there are.
    let names = [
        "clips/msrvtt/video9770.mp4",
        "clips/msrvtt/video7500.mp4",
        "clips/msvd/j2Dhf-xFUxU_13_20.avi",
        "decord/flipping_a_pancake.mkv",
    ];
    let files = names.map(|name| folder.join(name));
    for found in decode(Some(&counted), centres(12), &files) {
        assert!(matches!(found.unwrap().verdict, Verdict::Whole));
    }
    assert_eq!(starts(), 1);
    // Without a promise, a second process lists the packets.
    let file = folder.join("unusual/raw_stream.h264");
    assert!(matches!(
        decode(Some(&counted), centres(12), &[file]).remove(0).unwrap().verdict,
        Verdict::Whole
    ));
    assert_eq!(starts(), 3);
}

#[cfg(unix)]
#[test]
fn a_header_that_errs_costs_a_start_and_no_frame() {
    let (Some(folder), Some(_)) = (videos(), ffmpeg()) else { return };
    let scratch = tempfile::tempdir().unwrap();
    let (counted, starts) = counted(scratch.path());
    let file = folder.join("clips/msvd/j2Dhf-xFUxU_13_20.avi");
    let right = decode(Some(&counted), centres(12), std::slice::from_ref(&file)).remove(0).unwrap();
    assert_eq!((right.total, starts()), (106, 1));
    let bytes = std::fs::read(&file).unwrap();
    // The stream header's number of frames stands 32 bytes behind its kind.
    let place = bytes.windows(4).position(|word| word == b"vids").unwrap() + 32;
    assert_eq!(bytes[place..place + 4], 106u32.to_le_bytes());
    let wrong = scratch.path().join("wrong.avi");
    for (round, promised) in [40u32, 5_000, 0, u32::MAX].into_iter().enumerate() {
        let mut bytes = bytes.clone();
        bytes[place..place + 4].copy_from_slice(&promised.to_le_bytes());
        std::fs::write(&wrong, &bytes).unwrap();
        let found = decode(Some(&counted), centres(12), std::slice::from_ref(&wrong)).remove(0).unwrap();
        assert!(found == right, "{promised}");
        // A number that cannot be is no promise: then the packets are listed first.
        assert_eq!(starts(), 3 + 2 * round, "{promised}");
    }
}
