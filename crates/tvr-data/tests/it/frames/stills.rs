//! Single images and frames of folders: whole, or broken and said to be.

use tvr_data::Entry;
use tvr_data::prepare::contents;
use tvr_data::sampling::Cut;
use tvr_data::store::Seen;

use super::*;

/// A JPEG, most of which is no header.
fn jpeg(grey: u8) -> Vec<u8> {
    let mut bytes = std::io::Cursor::new(Vec::new());
    let pattern = image::RgbImage::from_fn(128, 96, |x, y| image::Rgb([grey, (x ^ y) as u8, (x * y) as u8]));
    pattern.write_to(&mut bytes, image::ImageFormat::Jpeg).unwrap();
    bytes.into_inner()
}

fn partial(verdict: &Verdict) -> &str {
    match verdict {
        Verdict::Partial { reason } => reason,
        Verdict::Whole => panic!("it passes for whole"),
    }
}

#[test]
fn a_jpeg_that_is_cut_off_is_no_clip() {
    let scratch = tempfile::tempdir().unwrap();
    let file = scratch.path().join("still.jpg");
    let bytes = jpeg(40);
    for part in [30, 60, 90, 99] {
        std::fs::write(&file, &bytes[..bytes.len() * part / 100]).unwrap();
        let fault = decode(None, Sampler::All, std::slice::from_ref(&file)).remove(0).unwrap_err();
        let expected = "cannot be read as a video: the picture is cut off: the JPEG has no end";
        assert_eq!(fault.to_string(), expected, "{part} %");
        assert!(fault.is_lasting());
    }
}

#[test]
fn several_jpegs_in_one_file_are_a_video_and_one_is_a_still_whatever_follows_it() {
    let scratch = tempfile::tempdir().unwrap();
    let file = |name: &str, parts: &[Vec<u8>]| {
        let path = scratch.path().join(name);
        std::fs::write(&path, parts.concat()).unwrap();
        path
    };
    let frames: Vec<Vec<u8>> = (0..3).map(|frame| jpeg(frame * 40)).collect();
    let stream = file("clip.mjpeg", &frames);
    assert_eq!(FrameSource::at(&stream), Ok(FrameSource::Video(stream.clone())));
    // A thumbnail lies in a segment, a note behind the end, and photographs of a telephone behind a photograph.
    let thumbnail =
        [&[0xff, 0xd8, 0xff, 0xe1, 0x00, 0x08][..], b"\xff\xd9\xff\xd8..", &frames[0][2..]].concat();
    let stills = [
        file("one.mjpeg", &frames[..1]),
        file("thumbnail.mjpeg", &[thumbnail]),
        file("noted.mjpeg", &[frames[0].clone(), b"a note".to_vec()]),
        file("cut.mjpeg", &[frames[0][..500].to_vec()]),
        file("photograph.JPG", &frames),
    ];
    for still in stills {
        assert_eq!(FrameSource::at(&still), Ok(FrameSource::Still(still.clone())));
    }
    let Some(ffmpeg) = ffmpeg() else { return };
    let footage = decode(Some(&ffmpeg), Sampler::All, &[stream]).remove(0).unwrap();
    assert_eq!((footage.total, footage.verdict), (3, Verdict::Whole));
}

#[test]
fn a_folder_with_broken_frames_is_partial_and_chosen_among_the_others() {
    let scratch = tempfile::tempdir().unwrap();
    for frame in 0..6u8 {
        std::fs::write(scratch.path().join(format!("f_{frame}.jpg")), jpeg(frame * 40)).unwrap();
    }
    let files = [scratch.path().to_path_buf()];
    let whole = decode(None, Sampler::All, &files).remove(0).unwrap();
    assert_eq!((whole.total, &whole.verdict), (6, &Verdict::Whole));
    let cut = jpeg(80);
    std::fs::write(scratch.path().join("f_2.jpg"), &cut[..cut.len() / 2]).unwrap();
    std::fs::write(scratch.path().join("f_4.jpg"), "no picture").unwrap();
    let rest: Vec<Picture> = [0, 1, 3, 5].map(|frame| whole.pictures[frame].clone()).into();
    // All of them, the first of which is broken first; and a choice that begins anew with four frames.
    let footage = decode(None, Sampler::All, &files).remove(0).unwrap();
    assert_eq!((footage.total, &footage.indices), (4, &vec![0, 1, 2, 3]));
    assert!(footage.pictures == rest);
    assert_eq!(partial(&footage.verdict), "f_2.jpg: the picture is cut off: the JPEG has no end");
    let twice = decode(None, centres(8), &files).remove(0).unwrap();
    assert_eq!(twice.indices, centres(8).indices(4, 1.0, 0));
    assert!(twice.pictures.iter().zip(&twice.indices).all(|(picture, &index)| *picture == rest[index]));
    assert!(matches!(twice.verdict, Verdict::Partial { .. }));
    // A frame that nobody asks for is not opened.
    let head = Sampler::Rate { per_second: 1, frames: 2, cut: Cut::Head, until: None };
    let first = decode(None, head, &files);
    assert_eq!(first[0].as_ref().unwrap().verdict, Verdict::Whole);
    // Nothing left: the first complaint.
    for frame in [0, 1, 3, 5] {
        std::fs::write(scratch.path().join(format!("f_{frame}.jpg")), "no picture").unwrap();
    }
    let fault = decode(None, Sampler::All, &files).remove(0).unwrap_err();
    assert_eq!(
        fault.to_string(),
        "cannot be read as a video: f_0.jpg: the picture is no PNG, JPEG, GIF or WebP; convert it to PNG"
    );
}

/// `encode --frames` asks the same of a name. A frame in a format that is not read is missing, and not passed over.
#[test]
fn frames_are_known_by_every_ending_of_pictures() {
    let scratch = tempfile::tempdir().unwrap();
    for (place, name) in ["f_0.jpg", "f_1.JFIF", "f_3.jpeg"].into_iter().enumerate() {
        std::fs::write(scratch.path().join(name), jpeg(place as u8 * 40)).unwrap();
    }
    std::fs::write(scratch.path().join("notes.txt"), "no frame").unwrap();
    let files = [scratch.path().to_path_buf()];
    let whole = decode(None, Sampler::All, &files).remove(0).unwrap();
    assert_eq!((whole.total, whole.verdict), (3, Verdict::Whole));
    std::fs::write(scratch.path().join("f_2.bmp"), b"BM").unwrap();
    let without = decode(None, Sampler::All, &files).remove(0).unwrap();
    assert_eq!(without.total, 3);
    let expected =
        "f_2.bmp: the picture cannot be decoded: The image format Bmp is not supported; convert it to PNG";
    assert_eq!(partial(&without.verdict), expected);
}

#[cfg(unix)]
#[test]
fn a_frame_whose_link_leads_nowhere_is_missed_by_name() {
    let scratch = tempfile::tempdir().unwrap();
    for frame in [0, 2] {
        std::fs::write(scratch.path().join(format!("f_{frame}.jpg")), jpeg(frame * 40)).unwrap();
    }
    // A folder of that name is none.
    std::fs::create_dir(scratch.path().join("f_3.jpg")).unwrap();
    let files = [scratch.path().to_path_buf()];
    assert_eq!(decode(None, Sampler::All, &files).remove(0).unwrap().total, 2);
    std::os::unix::fs::symlink("gone.jpg", scratch.path().join("f_1.jpg")).unwrap();
    let fault = decode(None, Sampler::All, &files).remove(0).unwrap_err();
    let sentence = "cannot be opened: f_1.jpg: No such file or directory (os error 2)";
    assert_eq!((fault.to_string().as_str(), fault.is_lasting()), (sentence, false));
    // Where the frames are hashed before.
    let entry = Entry { id: "clip".into(), path: files[0].clone(), captions: Vec::new(), split: None };
    let store = tempfile::tempdir().unwrap();
    let found = contents(&[entry], &Seen::open(store.path())).remove(0);
    assert_eq!(found.unwrap_err(), fault);
}

#[cfg(target_os = "linux")]
#[test]
fn frames_whose_names_are_no_utf_8_are_frames() {
    use std::os::unix::ffi::OsStrExt;
    let scratch = tempfile::tempdir().unwrap();
    for (place, name) in [&b"bild_1\xe4.jpg"[..], b"bild_2.jpg"].into_iter().enumerate() {
        let path = scratch.path().join(std::ffi::OsStr::from_bytes(name));
        std::fs::write(path, jpeg(place as u8 * 40)).unwrap();
    }
    let found = decode(None, Sampler::All, &[scratch.path().to_path_buf()]).remove(0).unwrap();
    assert_eq!((found.total, found.verdict), (2, Verdict::Whole));
}

#[test]
fn transparent_pictures_come_to_what_is_done_to_them_with_their_alpha() {
    let scratch = tempfile::tempdir().unwrap();
    let file = scratch.path().join("still.png");
    image::RgbaImage::from_pixel(2, 2, image::Rgba([200, 100, 0, 128])).save(&file).unwrap();
    let laid = decode(None, Sampler::All, std::slice::from_ref(&file)).remove(0).unwrap().pictures.remove(0);
    assert_eq!((laid.bands(), &laid.values()[..3]), (3, &[227, 177, 127][..]), "laid on white");
    // In a GIF, where a pixel is there or is not.
    let mut encoder = image::codecs::gif::GifEncoder::new(std::fs::File::create(&file).unwrap());
    for alpha in [255, 0] {
        let frame = image::RgbaImage::from_pixel(2, 2, image::Rgba([200, 100, 0, alpha]));
        encoder.encode_frame(image::Frame::new(frame)).unwrap();
    }
    drop(encoder);
    let footage = decode(None, Sampler::All, &[file]).remove(0).unwrap();
    assert_eq!((footage.total, footage.pictures[0].bands()), (2, 3));
    assert_eq!(footage.pictures[0].values()[..3], [200, 100, 0]);
}

#[test]
fn every_odd_image_has_its_verdict() {
    // (FFmpeg, for what is no image by its first bytes.)
    let Some((folder, ffmpeg)) = both() else { return };
    let folder = folder.join("torchcodec/images");
    let expected = [
        ("animated.gif", "4 x 64 x 48"),
        ("bad_huffman.jpg", "1 x 1024 x 768"), // odd codes, all of them there: libjpeg reads it as well
        ("cmyk.jpg", "1 x 1280 x 720"),
        ("corrupt.jpg", "the picture is cut off: the JPEG has no end"),
        ("frame_exceeds_screen.gif", "1 x 4 x 4"), // what lies on the screen; Pillow makes the screen larger
        ("gradient.gif", "1 x 1280 x 720"),
        ("gradient_16bit.png", "1 x 64 x 48"),
        ("gradient_interlaced.png", "1 x 64 x 48"),
        (
            "grayscale_16bit.png",
            "the picture is grey with 16 bits, of which the reference makes a white picture; convert it to 8 bits",
        ),
        ("grayscale_alpha.png", "1 x 1280 x 720"),
        ("heapbof.png", "Invalid"),
        ("rgba.webp", "1 x 1280 x 720"),
        ("sigsegv.png", "the picture cannot be decoded: "),
        ("transparent.gif", "1 x 64 x 48"),
    ];
    assert_eq!(names(&folder), expected.map(|(name, _)| name));
    for (name, expected) in expected {
        let found = match decode(Some(&ffmpeg), Sampler::All, &[folder.join(name)]).remove(0) {
            Ok(Footage { pictures, total, verdict: Verdict::Whole, .. }) => {
                // The same bytes as a single image of `encode --images` has.
                let alone = Picture::read(&folder.join(name)).unwrap();
                assert!(pictures[0] == *alone.on_white(), "{name}");
                format!("{total} x {} x {}", alone.width(), alone.height())
            }
            Ok(Footage { total, verdict: Verdict::Partial { reason }, .. }) => {
                format!("{total}, then {reason}")
            }
            Err(Fault::Unreadable { reason } | Fault::NoPicture { reason }) => reason,
            Err(other) => other.to_string(),
        };
        assert!(found.starts_with(expected), "{name}: {found}");
    }
}
