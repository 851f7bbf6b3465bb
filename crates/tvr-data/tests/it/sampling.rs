//! Which frames are looked at, against the formulas and against numpy.

use proptest::prelude::*;
use tvr_data::sampling::{Cut, Offset, Sampler};

fn rate(per_second: usize, frames: usize, cut: Cut) -> Sampler {
    Sampler::Rate { per_second, frames, cut, until: None }
}

/// CLIP4Clip's loop, written as `rawvideo_util.py` runs: a reader that fails behind the last frame.
fn reader(frames: usize, fps: f64, per_second: usize, end_time: Option<i64>) -> Vec<usize> {
    let fps = fps.trunc() as i64;
    let total_duration = (frames as i64 + fps - 1) / fps;
    let mut interval = 1;
    if per_second > 0 {
        interval = fps / per_second as i64;
    }
    if interval == 0 {
        interval = 1;
    }
    let mut inds = Vec::new();
    let mut ind = 0;
    while ind < fps {
        inds.push(ind);
        ind += interval;
    }
    inds.truncate(per_second);
    let mut images = Vec::new();
    let mut ret = true;
    let end_sec = end_time.filter(|&end| end <= total_duration).unwrap_or(total_duration);
    for sec in 0..=end_sec {
        if !ret {
            break;
        }
        for ind in &inds {
            let place = sec * fps + ind;
            ret = place < frames as i64;
            if !ret {
                break;
            }
            images.push(place as usize);
        }
    }
    images
}

proptest! {
    #[test]
    fn a_rate_takes_the_frames_of_clip4clip_s_loop(
        frames in 1usize..2000, fps in 1.0f64..70.0, per_second in 1usize..8, until in 0usize..40,
    ) {
        let all = rate(per_second, usize::MAX, Cut::Head).indices(frames, fps, 0);
        prop_assert_eq!(all, reader(frames, fps, per_second, None));
        // As for DiDeMo, whose videos are read from second 0 to second 31.
        let sampler = Sampler::Rate { per_second, frames: usize::MAX, cut: Cut::Head, until: Some(until) };
        prop_assert_eq!(sampler.indices(frames, fps, 0), reader(frames, fps, per_second, Some(until as i64)));
        prop_assert_eq!(sampler.to_string().parse::<Sampler>().unwrap(), sampler);
    }

    #[test]
    fn indices_ascend_and_are_frames_of_the_clip(
        frames in 1usize..500, fps in 0.0f64..61.0, count in 1usize..40, seed: u64, clip: u64,
    ) {
        let samplers = [
            rate(1, count, Cut::Head), rate(1, count, Cut::Tail), rate(3, count, Cut::Uniform), Sampler::All,
            Sampler::Segments { frames: count, offset: Offset::Centre },
            Sampler::Segments { frames: count, offset: Offset::Random { seed } },
        ];
        for sampler in samplers {
            let indices = sampler.indices(frames, fps, clip);
            prop_assert!(indices.is_sorted(), "{sampler}: {indices:?}");
            prop_assert!(indices.iter().all(|&index| index < frames), "{sampler}: {indices:?}");
            prop_assert!(!indices.is_empty() && indices.len() <= sampler.frames().unwrap_or(frames));
            prop_assert_eq!(&indices, &sampler.indices(frames, fps, clip));
            prop_assert_eq!(sampler.to_string().parse::<Sampler>().unwrap(), sampler);
        }
    }

    #[test]
    fn random_offsets_stay_in_their_segments_and_reach_all_of_them(frames in 12usize..60, seed: u64) {
        let sampler = Sampler::Segments { frames: 5, offset: Offset::Random { seed } };
        let mut seen = vec![false; frames];
        for clip in 0..800u64 {
            for (part, index) in sampler.indices(frames, 25.0, clip * 7919).into_iter().enumerate() {
                prop_assert!(part * frames / 5 <= index && index < (part + 1) * frames / 5);
                seen[index] = true;
            }
        }
        prop_assert!(seen.iter().all(|&seen| seen), "{seen:?}");
    }
}

#[test]
fn the_cuts_are_those_of_clip4clip() {
    // 11.0 s at 30 frames a second: frames 0, 30, …, 300 (11), then cut.
    let eleven: Vec<usize> = (0..11).map(|second| 30 * second).collect();
    assert_eq!(Sampler::clip4clip().indices(330, 30.0, 0), eleven);
    assert_eq!(rate(1, 4, Cut::Head).indices(330, 30.0, 0), [0, 30, 60, 90]);
    assert_eq!(rate(1, 4, Cut::Tail).indices(330, 30.0, 0), [210, 240, 270, 300]);
    assert_eq!(rate(1, 4, Cut::Uniform).indices(330, 30.0, 0), [0, 90, 180, 300]);
    assert_eq!(rate(1, 1, Cut::Uniform).indices(330, 30.0, 0), [0]);
    // 29.97 counts as 29, so the grid drifts as the reference's does.
    assert_eq!(rate(1, 99, Cut::Head).indices(100, 29.97, 0), [0, 29, 58, 87]);
    // Of 40 seconds at 30, DiDeMo's reader takes those from 0 to 31, and cuts afterwards.
    let didemo = Sampler::Rate { per_second: 1, frames: 3, cut: Cut::Tail, until: Some(31) };
    assert_eq!(didemo.indices(1200, 30.0, 0), [870, 900, 930]);
    assert_eq!(didemo.indices(100, 30.0, 0), rate(1, 3, Cut::Tail).indices(100, 30.0, 0));
    // Two a second at 25: interval 12, offsets 0 and 12; the third offset, 24, is beyond the first two.
    assert_eq!(rate(2, 99, Cut::Head).indices(60, 25.0, 0), [0, 12, 25, 37, 50]);
    // Where the reference divides by zero, every frame is a second.
    assert_eq!(rate(1, 99, Cut::Head).indices(3, 0.5, 0), [0, 1, 2]);
    assert_eq!(rate(1, 99, Cut::Head).indices(3, f64::NAN, 0), [0, 1, 2]);
    assert!(Sampler::clip4clip().indices(0, 30.0, 0).is_empty());
}

#[test]
fn the_uniform_cut_is_numpy_s_linspace_bit_by_bit() {
    // np.linspace(0, n - 1, num=m, dtype=int) for n in 1..=300, m in 1..=64 where n > m, else arange(n); zlib.crc32
    // of all of them as little-endian u32, numpy 2.4.
    let mut crc = crc32fast::Hasher::new();
    for frames in 1..=300 {
        for most in 1..=64 {
            for index in rate(1, most, Cut::Uniform).indices(frames, 1.0, 0) {
                crc.update(&(index as u32).to_le_bytes());
            }
        }
    }
    assert_eq!(format!("{:08x}", crc.finalize()), "e5e1ae62");
}

#[test]
fn segments_are_those_of_tsn() {
    let centres = |frames, count| crate::shared::centres(frames).indices(count, 30.0, 0);
    assert_eq!(centres(12, 120), [5, 15, 25, 35, 45, 55, 65, 75, 85, 95, 105, 115]);
    assert_eq!(centres(3, 10), [1, 5, 8]); // trunc(1.67), trunc(5.0), trunc(8.33)
    assert_eq!(centres(4, 2), [0, 0, 1, 1]); // shorter than wanted: frames are shown again
    assert_eq!(centres(3, 1), [0, 0, 0]);
}

#[test]
fn random_offsets_are_the_same_on_every_machine() {
    // SplitMix64 by hand (Python): what a store holds under a seed must not change with the code.
    let random = |seed, clip| {
        Sampler::Segments { frames: 4, offset: Offset::Random { seed } }.indices(100, 25.0, clip)
    };
    assert_eq!(random(0, 0), [4, 45, 61, 86]);
    assert_eq!(random(7, 0xfeed_beef), [12, 38, 73, 80]);
}

#[test]
fn a_sampler_that_is_none_is_refused_with_those_that_are() {
    let known = "samplers are rate:1,frames=12,cut=head|tail|uniform[,until=31], segments:12,offset=centre, \
                 segments:12,offset=random,seed=0, and all, with a rate and counts above 0";
    for text in [
        "",
        "rate",
        "rate:0",
        "rate:1,frames=0",
        "rate:1,cut=middle",
        "rate:1,cut=head,cut=tail",
        "segments:-1",
        "segments:3,offset=centre,seed=1",
        "segments:3,frames=2",
        "all:1",
        "uniform",
        "rate:1,frames",
        "rate:1,until=-1",
        "rate:1,until=",
        "segments:3,until=31",
    ] {
        let error = text.parse::<Sampler>().unwrap_err().to_string();
        assert_eq!(error, format!("{text:?} is no sampler; {known}"));
    }
    let error = "segments:18446744073709551615".parse::<Sampler>().unwrap_err().to_string();
    assert_eq!(error, "segments = 18446744073709551615, but at most 100000 frames of a clip are taken");
    assert_eq!("segments:100000".parse::<Sampler>().unwrap().frames(), Some(100_000));
    assert_eq!("rate:1".parse::<Sampler>().unwrap(), Sampler::clip4clip());
    // What is in stores already keeps its key.
    assert_eq!(Sampler::clip4clip().to_string(), "rate:1,frames=12,cut=uniform");
    let until = "rate:1,frames=64,cut=head,until=31";
    assert_eq!(until.parse::<Sampler>().unwrap().to_string(), until);
    assert_eq!("segments:12".parse::<Sampler>().unwrap(), crate::shared::centres(12));
    assert_eq!("all".parse::<Sampler>().unwrap(), Sampler::All);
}
