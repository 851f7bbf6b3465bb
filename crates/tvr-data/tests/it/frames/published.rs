//! The 36 frames that torchcodec publishes, all of them, and the stream that each is of.

use super::*;

/// Every frame of one video stream, or of that which a player shows.
fn all(ffmpeg: &Ffmpeg, file: &Path, stream: Option<usize>) -> Footage {
    let source = match stream {
        Some(place) => FrameSource::Stream(file.to_path_buf(), place),
        None => FrameSource::at(file).unwrap(),
    };
    let decoder = Decoder { sampler: Sampler::All, finish: &AsDecoded, limit: LIMIT, ffmpeg: Some(ffmpeg) };
    let footage = decoder.decode(&[(source, 0)]).unwrap().remove(0).unwrap();
    assert_eq!(footage.verdict, Verdict::Whole, "{}", file.display());
    footage
}

/// A published frame: what its name says it is, and how it is found again.
#[derive(Clone, Copy, Debug)]
enum Named {
    /// By its number.
    Index(usize),
    /// The first that begins at these seconds or later.
    Time(f64),
    /// By its number, in half the size.
    Half(usize),
}

/// `FILE.stream3.frame000005.png`, `FILE.time6.000000.png`, `FILE.scale_….stream3.frame000017.png`, by file and stream.
fn named(name: &str) -> (String, Option<usize>, Named) {
    let name = name.strip_suffix(".png").unwrap();
    let video = |rest: &str| rest.trim_end_matches(".scale_240_135_flags_bilinear").to_owned();
    if let Some((file, seconds)) = name.split_once(".time") {
        return (video(file), None, Named::Time(seconds.parse().unwrap()));
    }
    let (file, rest) = name.split_once(".stream").unwrap();
    let (stream, frame) = rest.split_once(".frame").unwrap();
    let frame = frame.parse().unwrap();
    let kind = if file.contains(".scale_") { Named::Half(frame) } else { Named::Index(frame) };
    // torchcodec counts streams of sound too: its 3 is the second of video, and that which a player shows.
    let place = match stream {
        "0" => Some(0),
        "3" => None,
        other => panic!("{other}"),
    };
    (video(file), place, kind)
}

#[test]
fn every_published_frame_is_the_one_that_it_says() {
    let Some((folder, ffmpeg)) = both() else { return };
    let resources = folder.join("torchcodec");
    let mut streams: HashMap<(String, Option<usize>), Vec<(String, Named)>> = HashMap::new();
    for name in names(&resources.join("frames")) {
        let (file, stream, kind) = named(&name);
        streams.entry((file, stream)).or_default().push((name, kind));
    }
    let mut compared = [0; 3];
    for ((file, stream), published) in &streams {
        let footage = all(&ffmpeg, &resources.join(file), *stream);
        let halves: Vec<Vec<f32>> = if published.iter().any(|(_, kind)| matches!(kind, Named::Half(_))) {
            footage.pictures.iter().map(half).collect()
        } else {
            Vec::new()
        };
        for (name, kind) in published {
            let wanted = picture(&resources.join("frames").join(name));
            let equal = || -> Vec<usize> {
                (0..footage.total).filter(|&frame| footage.pictures[frame] == wanted).collect()
            };
            match *kind {
                // Bit by bit, and no other frame is the same.
                Named::Index(frame) => assert_eq!(equal(), [frame], "{name}"),
                Named::Time(seconds) => {
                    assert_eq!(equal(), [begins(&resources, file, seconds, footage.total)], "{name}");
                }
                // swscale's halves: the mean of four pixels is nearest at the frame that they were made of.
                Named::Half(frame) => {
                    let errors: Vec<f64> = halves.iter().map(|half| error(half, &wanted)).collect();
                    let nearest = (0..errors.len()).min_by(|&a, &b| errors[a].total_cmp(&errors[b])).unwrap();
                    let decibels = 10.0 * (255.0 * 255.0 / errors[frame]).log10();
                    assert!(nearest == frame && decibels > 38.0, "{name}: {nearest}, {decibels} dB");
                }
            }
            compared[match kind {
                Named::Index(_) => 0,
                Named::Time(_) => 1,
                Named::Half(_) => 2,
            }] += 1;
        }
    }
    assert_eq!(compared, [29, 4, 3], "36 in all");
}

/// The first frame that begins at a time or later, by torchcodec's own table of the stream that a player shows.
fn begins(resources: &Path, file: &str, seconds: f64, total: usize) -> usize {
    let text =
        std::fs::read_to_string(resources.join(format!("{file}.stream3.all_frames_info.json"))).unwrap();
    let times: Vec<HashMap<String, String>> = serde_json::from_str(&text).unwrap();
    assert_eq!(times.len(), total);
    times.iter().position(|frame| frame["pts_time"].parse::<f64>().unwrap() >= seconds).unwrap()
}

fn error(half: &[f32], small: &Picture) -> f64 {
    let squares = half.iter().zip(small.values()).map(|(a, &b)| f64::from(a - f32::from(b)).powi(2));
    squares.sum::<f64>() / half.len() as f64
}

/// The mean of every two by two pixels.
fn half(picture: &Picture) -> Vec<f32> {
    let (width, height) = (picture.width() / 2, picture.height() / 2);
    let at = |row: usize, column: usize, band: usize| {
        f32::from(picture.values()[(row * picture.width() + column) * 3 + band])
    };
    let mut halves = Vec::with_capacity(width * height * 3);
    for (row, column) in (0..height).flat_map(|row| (0..width).map(move |column| (2 * row, 2 * column))) {
        for band in 0..3 {
            let sum = at(row, column, band) + at(row, column + 1, band);
            halves.push((sum + at(row + 1, column, band) + at(row + 1, column + 1, band)) / 4.0);
        }
    }
    halves
}

#[test]
fn the_largest_stream_that_moves_is_taken_unless_another_is_asked_for() {
    let Some((folder, ffmpeg)) = both() else { return };
    let first = |name: &str, stream: Option<usize>| {
        let file = folder.join(name);
        let source = stream.map_or_else(
            || FrameSource::at(&file).unwrap(),
            |place| FrameSource::Stream(file.clone(), place),
        );
        let decoder =
            Decoder { sampler: centres(2), finish: &AsDecoded, limit: LIMIT, ffmpeg: Some(&ffmpeg) };
        let footage = decoder.decode(&[(source, 0)]).unwrap().remove(0)?;
        let first = &footage.pictures[0];
        // Frames in a thousand seconds: 30000/1001 has a last bit that nobody states.
        let rate = (1000.0 * footage.rate).round() as usize;
        Ok::<_, Fault>(([first.width(), first.height()], footage.total, rate))
    };
    for (name, stream, size, total, rate) in [
        ("unusual/two_video_streams.mp4", None, [160, 120], 60, 30_000),
        ("unusual/two_video_streams.mp4", Some(0), [64, 48], 60, 30_000),
        ("unusual/two_video_streams.mp4", Some(1), [160, 120], 60, 30_000),
        ("unusual/cover_picture.mp4", None, [320, 240], 60, 30_000),
        ("torchcodec/nasa_13013.mp4", None, [480, 270], 390, 29_970),
        ("torchcodec/nasa_13013.mp4", Some(0), [320, 180], 325, 25_000),
        ("torchcodec/nasa_13013.mp4", Some(1), [480, 270], 390, 29_970),
        ("unusual/one_key_frame.mp4", Some(0), [160, 120], 330, 30_000),
        ("unusual/cover_picture.mp4", Some(1), [64, 48], 1, 0),
    ] {
        assert_eq!(first(name, stream), Ok((size, total, rate)), "{name}, {stream:?}");
    }
    let fault = first("torchcodec/nasa_13013.mp4", Some(2)).unwrap_err();
    assert_eq!(fault.to_string(), "has no such video stream: it has 2, counted from 0");
    assert_eq!((fault.kind(), fault.is_lasting()), ("no such stream", true));
    assert_eq!(first("damaged/audio_only.mp4", Some(0)), Err(Fault::NoVideo));
    // A stream is for FFmpeg, and so is everything else beside it.
    assert!(FrameSource::Stream(folder.join("unusual/two_frames.mp4"), 0).is_video());
}
