//! Which frames of a clip are looked at.
//!
//! ```text
//! rate       f = max(trunc(fps), 1),  interval = max(f div r, 1)
//!            frames s·f + o  for seconds s = 0, 1, …  and the first r offsets o = 0, interval, 2·interval, … < f
//!            where a last second u is named, s = 0 … u alone
//!            of c frames at most m are kept:  head 0 … m−1 · tail c−m … c−1 · uniform trunc(linspace(0, c−1, m))
//! segments   frame trunc((i + ½)·n / k)  of segment i,  or one drawn from  trunc(i·n/k) … trunc((i+1)·n/k) − 1
//! all        every frame
//! ```
//!
//! | symbol | meaning |
//! |---|---|
//! | `n`, `fps` | frames of the clip, and its frames a second |
//! | `r`, `m` | frames wanted a second; frames kept at most |
//! | `u` | last second that is looked at: 31 on DiDeMo, whose captions are of the first half minute |
//! | `k` | segments |
//!
//! Source: `rate` is CLIP4Clip's rule (arXiv 2104.08860; ArrowLuo/CLIP4Clip, `dataloaders/rawvideo_util.py` and
//! `dataloader_*_retrieval.py`), which divides by zero where `trunc(fps)` is 0. `segments` with centres is TSN's test
//! rule (arXiv 1608.00859; open-mmlab/mmaction2, `SampleFrames`) in whole numbers: in its floats a centre that is whole may
//! come out one frame lower, of 12 segments in one length of 24. Its random rule cuts segments to whole numbers of
//! frames, so that the last `n mod k` frames are never seen; ours draws from the segments of the formula above.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::error::DataError;
use crate::random::stream;

/// Most segments: an hour of film has as many frames.
const SEGMENTS: usize = 100_000;

/// Which frames of a clip are looked at. Written as `rate:1,frames=12,cut=uniform`, with `until=31` behind it where a last
/// second is named, `segments:12,offset=centre`, `segments:12,offset=random,seed=0` or `all`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub enum Sampler {
    /// CLIP4Clip's rule.
    Rate {
        /// Frames a second; 1 in every published command.
        per_second: usize,
        /// Frames kept at most.
        frames: usize,
        /// Which ones are kept where there are more.
        cut: Cut,
        /// The last second that is looked at, counted from 0; the whole clip if absent.
        until: Option<usize>,
    },
    /// A frame of each of so many equal parts; a clip with fewer frames shows some of them again.
    Segments {
        /// Parts.
        frames: usize,
        /// Which frame of a part.
        offset: Offset,
    },
    /// Every frame.
    All,
}

/// Which frames are kept where there are more than wanted: `slice_framepos` 0, 1 and 2 of CLIP4Clip.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Cut {
    /// The first.
    Head,
    /// The last.
    Tail,
    /// Equally far from one another, the first and the last among them.
    Uniform,
}

/// Which frame of a segment is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Offset {
    /// The middle one.
    Centre,
    /// One drawn from `(seed, clip)`.
    Random {
        /// The seed.
        seed: u64,
    },
}

impl Sampler {
    /// CLIP4Clip's published setting: one frame a second, 12 at most, spread over the clip.
    pub fn clip4clip() -> Self {
        Self::Rate { per_second: 1, frames: 12, cut: Cut::Uniform, until: None }
    }

    /// Most frames of a clip; `None` where that depends on the clip.
    pub fn frames(&self) -> Option<usize> {
        match *self {
            Self::Rate { frames, .. } | Self::Segments { frames, .. } => Some(frames),
            Self::All => None,
        }
    }

    /// Indices of the chosen frames, ascending; one may stand there more than once.
    ///
    /// - `frames`: frames that the clip has
    /// - `rate`: its frames a second; what is below 1 or no number counts as 1
    /// - `clip`: a number of the clip for random offsets, such as the first bytes of its hash
    pub fn indices(&self, frames: usize, rate: f64, clip: u64) -> Vec<usize> {
        match *self {
            _ if frames == 0 => Vec::new(),
            Self::Rate { per_second, frames: most, cut, until } => {
                keep(&by_rate(frames, rate, per_second, until), most, cut)
            }
            Self::Segments { frames: parts, offset } => {
                (0..parts).map(|part| in_segment(part, parts, frames, offset, clip)).collect()
            }
            Self::All => (0..frames).collect(),
        }
    }
}

/// CLIP4Clip's frames before the cut.
fn by_rate(frames: usize, rate: f64, per_second: usize, until: Option<usize>) -> Vec<usize> {
    let second = if rate >= 1.0 { rate as usize } else { 1 };
    let interval = (second / per_second.max(1)).max(1);
    let offsets: Vec<usize> = (0..second).step_by(interval).take(per_second).collect();
    let seconds = until.map_or(usize::MAX, |last| last.saturating_add(1));
    (0..frames.div_ceil(second).min(seconds))
        .flat_map(|number| offsets.iter().map(move |offset| number * second + offset))
        .take_while(|&index| index < frames)
        .collect()
}

fn keep(indices: &[usize], most: usize, cut: Cut) -> Vec<usize> {
    let count = indices.len();
    if count <= most {
        return indices.to_vec();
    }
    match cut {
        Cut::Head => indices[..most].to_vec(),
        Cut::Tail => indices[count - most..].to_vec(),
        Cut::Uniform => {
            // numpy's linspace in its own order of operations: trunc(2.9999…) is 2 there as well.
            let step = (count - 1) as f64 / (most - 1).max(1) as f64;
            let place = |number: usize| {
                if number + 1 == most && most > 1 { count - 1 } else { (number as f64 * step) as usize }
            };
            (0..most).map(|number| indices[place(number)]).collect()
        }
    }
}

fn in_segment(part: usize, parts: usize, frames: usize, offset: Offset, clip: u64) -> usize {
    match offset {
        Offset::Centre => (2 * part + 1) * frames / (2 * parts),
        Offset::Random { seed } => {
            let (start, end) = (part * frames / parts, (part + 1) * frames / parts);
            let width = end.saturating_sub(start).max(1) as u64;
            start + stream(seed, "segment offset", clip.wrapping_add(part as u64)).below(width) as usize
        }
    }
}

impl fmt::Display for Sampler {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rate { per_second, frames, cut, until } => {
                let cut = match cut {
                    Cut::Head => "head",
                    Cut::Tail => "tail",
                    Cut::Uniform => "uniform",
                };
                write!(out, "rate:{per_second},frames={frames},cut={cut}")?;
                until.map_or(Ok(()), |last| write!(out, ",until={last}"))
            }
            Self::Segments { frames, offset: Offset::Centre } => {
                write!(out, "segments:{frames},offset=centre")
            }
            Self::Segments { frames, offset: Offset::Random { seed } } => {
                write!(out, "segments:{frames},offset=random,seed={seed}")
            }
            Self::All => out.write_str("all"),
        }
    }
}

impl FromStr for Sampler {
    type Err = DataError;

    fn from_str(text: &str) -> Result<Self, DataError> {
        let wrong = || DataError::Sampler { text: text.to_owned() };
        let (name, rest) = text.split_once(':').unwrap_or((text, ""));
        let mut words = rest.split(',');
        let count = words.next().unwrap_or("").parse::<usize>().ok().filter(|&count| count > 0);
        let settings: Vec<(&str, &str)> =
            words.map(|word| word.split_once('=').ok_or_else(wrong)).collect::<Result<_, _>>()?;
        let known: &[&str] = match name {
            "rate" => &["frames", "cut", "until"],
            "segments" => &["offset", "seed"],
            "all" if rest.is_empty() => return Ok(Self::All),
            _ => return Err(wrong()),
        };
        let twice = |index: usize| settings[..index].iter().any(|(key, _)| *key == settings[index].0);
        if settings.iter().enumerate().any(|(index, (key, _))| !known.contains(key) || twice(index)) {
            return Err(wrong());
        }
        let get = |key: &str| settings.iter().find(|(name, _)| *name == key).map(|(_, value)| *value);
        let count = count.ok_or_else(wrong)?;
        if name == "rate" {
            let frames =
                get("frames").unwrap_or("12").parse::<usize>().ok().filter(|&n| n > 0).ok_or_else(wrong)?;
            let cut = match get("cut").unwrap_or("uniform") {
                "head" => Cut::Head,
                "tail" => Cut::Tail,
                "uniform" => Cut::Uniform,
                _ => return Err(wrong()),
            };
            let until = get("until").map(|last| last.parse::<usize>().map_err(|_| wrong())).transpose()?;
            return Ok(Self::Rate { per_second: count, frames, cut, until });
        }
        if count > SEGMENTS {
            let domain = format!("at most {SEGMENTS} frames of a clip are taken");
            return Err(DataError::Setting { setting: "segments", value: count, domain });
        }
        let offset = match (get("offset").unwrap_or("centre"), get("seed")) {
            ("centre", None) => Offset::Centre,
            ("random", seed) => Offset::Random { seed: seed.unwrap_or("0").parse().map_err(|_| wrong())? },
            _ => return Err(wrong()),
        };
        Ok(Self::Segments { frames: count, offset })
    }
}

impl TryFrom<String> for Sampler {
    type Error = DataError;

    fn try_from(text: String) -> Result<Self, DataError> {
        text.parse()
    }
}

impl From<Sampler> for String {
    fn from(sampler: Sampler) -> Self {
        sampler.to_string()
    }
}
