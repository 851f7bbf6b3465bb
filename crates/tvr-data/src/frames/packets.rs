//! What FFmpeg's `framecrc` format says of the packets of a file: which streams there are, how many frames will be
//! shown, and how far they lie apart. Nothing is decoded for it.
//!
//! ```text
//! #tb 0: 1/15360
//! #dimensions 0: 320x240
//! 0,      -1024,          0,      512,     5430, 0x50c7200c            stream, dts, pts, duration, bytes, checksum
//! 0,       -512,       1024,      512,     1215, 0x547567bd, F=0x4     flags where they are not 1 (a key frame)
//! ```
//!
//! Source: FFmpeg, `libavformat/framecrcenc.c`, `hashenc.c`, `avcodec.h` (`AV_PKT_FLAG_DISCARD` is 4: a packet that an
//! edit list hides is decoded and never shown).

use std::collections::BTreeMap;

/// The flag of a packet that is decoded and never shown.
const DISCARD: u32 = 4;

/// A time that the file does not state.
const NO_TIME: i64 = i64::MIN;

/// A video stream.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Stream {
    /// Its place among the video streams.
    pub place: usize,
    /// Width and height as coded, before any rotation.
    pub size: [usize; 2],
    /// Packets that ought to be shown.
    pub frames: usize,
    /// Seconds of a tick.
    pub tick: f64,
    /// Times of its packets, ticks: shown where stated, else decoded.
    pub times: Vec<i64>,
}

impl Stream {
    /// Frames a second, from the usual distance between two frames.
    ///
    /// A tick may be as coarse as a millisecond, so distances vary by one; their mean over all that are usual comes
    /// near to the rate. A whole rate, or a whole one over 1.001, that lies within its doubt is taken for it.
    pub fn rate(&self) -> f64 {
        let mut times = self.times.clone();
        times.sort_unstable();
        // A damaged file may state times at both ends of what a number holds.
        let steps = times.windows(2).map(|pair| pair[1].saturating_sub(pair[0]));
        let mut steps: Vec<i64> = steps.filter(|&step| step > 0).collect();
        steps.sort_unstable();
        let Some(&usual) = steps.get(steps.len() / 2) else { return 0.0 };
        let near: Vec<i64> = steps.iter().copied().filter(|step| (step - usual).abs() <= 1).collect();
        let mean = near.iter().map(|&step| step as f64).sum::<f64>() / near.len() as f64;
        let rate = 1.0 / (mean * self.tick);
        // Where distances vary, the mean may be off by half a tick over the whole run; where not, by nothing.
        let varies = near.iter().any(|&step| step != usual);
        let doubt = if varies { 0.5 / (mean * near.len() as f64) } else { 2e-5 };
        let off = |known: f64| (rate / known - 1.0).abs();
        let (whole, less) = (rate.round(), (rate * 1.001).round() / 1.001);
        let known = if off(less) < off(whole) { less } else { whole };
        if known > 0.0 && off(known) <= doubt { known } else { rate }
    }
}

/// Reads a listing. The video streams in their order.
pub(super) fn parse(text: &str) -> Vec<Stream> {
    let mut streams: BTreeMap<usize, Stream> = BTreeMap::new();
    for line in text.lines() {
        if let Some((index, size)) = header(line, "#dimensions ") {
            let size = size.split_once('x').and_then(|(w, h)| Some([w.parse().ok()?, h.parse().ok()?]));
            streams.entry(index).or_default().size = size.unwrap_or_default();
        } else if let Some((index, tick)) = header(line, "#tb ") {
            let tick = tick.split_once('/').and_then(|(a, b)| Some((a.parse().ok()?, b.parse().ok()?)));
            let (above, below): (f64, f64) = tick.unwrap_or((0.0, 1.0));
            streams.entry(index).or_default().tick = above / below;
        } else if let Some((index, time)) = packet(line) {
            let stream = streams.entry(index).or_default();
            stream.frames += 1;
            if time != NO_TIME {
                stream.times.push(time);
            }
        }
    }
    let mut streams: Vec<Stream> = streams.into_values().collect();
    for (place, stream) in streams.iter_mut().enumerate() {
        stream.place = place;
    }
    streams
}

/// The stream of that place; without one that which a viewer would show: the largest that moves, else the largest. A
/// cover picture has one packet.
pub(super) fn chosen(streams: &[Stream], place: Option<usize>) -> Option<&Stream> {
    let key =
        |stream: &&Stream| (stream.frames > 1, stream.size[0] * stream.size[1], usize::MAX - stream.place);
    place.map_or_else(|| streams.iter().max_by_key(key), |place| streams.get(place))
}

fn header<'a>(line: &'a str, name: &str) -> Option<(usize, &'a str)> {
    let (index, value) = line.strip_prefix(name)?.split_once(": ")?;
    Some((index.parse().ok()?, value))
}

/// Stream and time of a packet that will be shown.
fn packet(line: &str) -> Option<(usize, i64)> {
    let mut cells = line.split(',').map(str::trim);
    let mut number = || cells.next()?.parse::<i64>().ok();
    let (stream, decoded, shown, _, bytes) = (number()?, number()?, number()?, number()?, number()?);
    let flags = cells.find_map(|cell| u32::from_str_radix(cell.strip_prefix("F=0x")?, 16).ok()).unwrap_or(1);
    let visible = bytes > 0 && flags & DISCARD == 0;
    let time = if shown == NO_TIME { decoded } else { shown };
    visible.then_some((usize::try_from(stream).ok()?, time))
}
