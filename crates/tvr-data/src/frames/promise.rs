//! What the header of a container promises of its frames, read before FFmpeg is started: how many there are, how far
//! apart, how large.
//!
//! ```text
//! MP4, MOV   moov.trak.mdia: mdhd (clock), stbl.stsz (frames), stbl.stts (distances), stbl.stsd (size)
//! AVI        hdrl.strl: strh (clock, frames), strf (size)
//! Matroska   Tracks (size), and the head of every Block (its time)
//! ```
//!
//! It is a guess and never more. Containers err, so whoever decodes by it lists the packets in the same run and compares;
//! a wrong guess costs a second run. There is none where much speaks against it: several video streams, an edit list that
//! hides frames, fragments, laced blocks.
//!
//! Source: ISO/IEC 14496-12 (2015) §8; Microsoft's AVI RIFF file reference; RFC 9559 (Matroska).

use std::fs::File;
use std::io::{BufReader, Read, Seek};
use std::path::Path;

use super::packets::Stream;

/// Longest header that is read, bytes: an hour of frames has less.
const HEADER: u64 = 16 << 20;

/// Most frames of a promise that is believed.
const FRAMES: usize = 200_000;

/// Most elements of Matroska that are walked over.
const ELEMENTS: usize = 4 * FRAMES;

/// Longest side that is believed, pixels.
const SIDE: usize = 1 << 16;

/// What a file promises; `None` if its container is another, or says nothing that is likely to be true.
pub(super) fn promised(path: &Path) -> Option<Stream> {
    let mut file = BufReader::new(File::open(path).ok()?);
    let mut start = [0; 12];
    file.read_exact(&mut start).ok()?;
    file.rewind().ok()?;
    let mut stream = match (&start[..4], &start[4..8], &start[8..]) {
        (_, b"ftyp", _) => mp4(&mut file),
        (b"RIFF", _, b"AVI ") => avi(&mut file),
        ([0x1a, 0x45, 0xdf, 0xa3], ..) => matroska(&mut file),
        _ => None,
    }?;
    stream.size = stream.size.map(|side| side.min(SIDE));
    (stream.frames > 0 && stream.frames <= FRAMES).then_some(stream)
}

fn mp4(file: &mut BufReader<File>) -> Option<Stream> {
    let movie = loop {
        let mut head = [0; 8];
        file.read_exact(&mut head).ok()?;
        let size = match u64::from(u32_at(&head, 0)?) {
            1 => {
                let mut long = [0; 8];
                file.read_exact(&mut long).ok()?;
                u64::from_be_bytes(long).checked_sub(16)?
            }
            size => size.checked_sub(8)?,
        };
        if &head[4..] == b"moov" {
            let mut movie = Vec::new();
            file.take(size.min(HEADER)).read_to_end(&mut movie).ok()?;
            break movie;
        }
        file.seek_relative(i64::try_from(size).ok()?).ok()?;
    };
    let is_video = |track: &&[u8]| {
        find(track, &[b"mdia", b"hdlr"]).is_some_and(|handler| handler.get(8..12) == Some(b"vide"))
    };
    let mut tracks = boxes(&movie).filter(|(kind, _)| kind == b"trak").map(|(_, body)| body).filter(is_video);
    let (track, None) = (tracks.next()?, tracks.next()) else { return None };
    if find(&movie, &[b"mvex"]).is_some() {
        return None;
    }
    let table = |name: &[u8; 4]| find(track, &[b"mdia", b"minf", b"stbl", name]);
    let header = find(track, &[b"mdia", b"mdhd"])?;
    let clock = u32_at(header, if header.first()? == &1 { 20 } else { 12 })?;
    let sizes = table(b"stsz")?;
    let frames = u32_at(sizes, 8)? as usize;
    // Every frame has its size in the table, so a number that is made up ends here.
    if u32_at(sizes, 4)? != 0 || sizes.len() < frames.checked_mul(4)?.checked_add(12)? {
        return None;
    }
    let (mut times, mut time) = (Vec::new(), 0i64);
    let distances = table(b"stts")?;
    for entry in 0..u32_at(distances, 4)? as usize {
        let (count, step) = (u32_at(distances, 8 + 8 * entry)?, u32_at(distances, 12 + 8 * entry)?);
        for _ in 0..count.min(u32::try_from(frames - times.len()).ok()?) {
            times.push(time);
            time += i64::from(step);
        }
    }
    let delay = table(b"ctts").and_then(|offsets| u32_at(offsets, 12)).unwrap_or(0);
    if find(track, &[b"edts", b"elst"]).is_some_and(|edits| !shows_all(edits, delay)) {
        return None;
    }
    let sample = table(b"stsd")?.get(16..)?;
    let size = [24, 26]
        .map(|place| sample.get(place..place + 2).map_or(0, |b| usize::from(b[0]) << 8 | usize::from(b[1])));
    Some(Stream { place: 0, size, frames, tick: 1.0 / f64::from(clock), times })
}

/// Whether an edit list begins with the first frame: at most with a pause, then from where that is shown.
fn shows_all(edits: &[u8], delay: u32) -> bool {
    let long = edits.first() == Some(&1);
    let start = |entry: u32| {
        let place = 8 + entry as usize * if long { 20 } else { 12 };
        if long {
            Some(i64::from(u32_at(edits, place + 8)? as i32) << 32 | i64::from(u32_at(edits, place + 12)?))
        } else {
            u32_at(edits, place + 4).map(|start| i64::from(start as i32))
        }
    };
    let count = u32_at(edits, 4).unwrap_or(0);
    let shown = (0..count.min(3)).map_while(start).filter(|&start| start >= 0);
    let shown: Vec<i64> = shown.collect();
    count <= 2 && shown.len() == 1 && shown[0] <= i64::from(delay)
}

fn avi(file: &mut BufReader<File>) -> Option<Stream> {
    let mut start = Vec::new();
    file.take(1 << 16).read_to_end(&mut start).ok()?;
    let mut found = Vec::new();
    let mut place = 12;
    while let (Some(kind), Some(size)) = (start.get(place..place + 4), start.get(place + 4..place + 8)) {
        let size = u32::from_le_bytes(size.try_into().ok()?) as usize;
        match kind {
            // Lists of headers are walked into; that of the pictures ends them.
            b"LIST" if start.get(place + 8..place + 12)? == b"movi" => break,
            b"LIST" => place += 12,
            _ => {
                let body = start.get(place + 8..).map(|body| &body[..body.len().min(size)])?;
                let word = |at: usize| Some(u32::from_le_bytes(body.get(at..at + 4)?.try_into().ok()?));
                if kind == b"strh" && body.starts_with(b"vids") {
                    found.push(Stream {
                        frames: word(32)? as usize,
                        tick: f64::from(word(20)?) / f64::from(word(24)?),
                        ..Stream::default()
                    });
                } else if kind == b"strf"
                    && let Some(stream) = found.last_mut()
                {
                    if stream.size == [0, 0] {
                        stream.size = [word(4)? as usize, word(8)?.cast_signed().unsigned_abs() as usize];
                    }
                }
                place = place.checked_add(8 + size + size % 2)?;
            }
        }
    }
    let (Some(mut stream), true) = (found.pop(), found.is_empty()) else { return None };
    if stream.frames > FRAMES {
        return None;
    }
    stream.times = (0..stream.frames as i64).collect();
    Some(stream)
}

/// Walks over all elements; those that hold others are entered and need no end.
fn matroska(file: &mut BufReader<File>) -> Option<Stream> {
    let (mut track, mut kind, mut video) = (0, 0, None);
    let mut stream = Stream { tick: 1e-3, ..Stream::default() };
    let mut cluster = 0i64;
    for left in (0..ELEMENTS).rev() {
        let Some((id, size)) = element(file) else { break };
        if left == 0 {
            return None;
        }
        match id {
            // Segment, Info, Tracks, Cluster, BlockGroup, a track's Video.
            0x1853_8067 | 0x1549_a966 | 0x1654_ae6b | 0x1f43_b675 | 0xa0 | 0xe0 => {}
            0xae => (track, kind) = (0, 0),
            0xd7 | 0x83 | 0xb0 | 0xba | 0x002a_d7b1 | 0xe7 if size <= 8 => {
                let mut bytes = [0; 8];
                file.read_exact(&mut bytes[8 - size as usize..]).ok()?;
                let value = u64::from_be_bytes(bytes);
                match id {
                    0xd7 => track = value,
                    0x83 => kind = value,
                    0xb0 => stream.size[0] = usize::try_from(value).ok()?,
                    0xba => stream.size[1] = usize::try_from(value).ok()?,
                    0xe7 => cluster = i64::try_from(value).ok()?,
                    _ => stream.tick = value as f64 / 1e9,
                }
                if track != 0 && kind == 1 && video != Some(track) && matches!(id, 0xd7 | 0x83) {
                    if video.is_some() {
                        return None;
                    }
                    video = Some(track);
                }
            }
            // SimpleBlock, Block: number of the track, time from the cluster's, flags.
            0xa3 | 0xa1 if size >= 4 => {
                let mut head = [0; 4];
                file.read_exact(&mut head).ok()?;
                if video == Some(u64::from(head[0] & 0x7f)) {
                    if head[0] & 0x80 == 0 || head[3] & 6 != 0 || stream.frames >= FRAMES {
                        return None;
                    }
                    stream.frames += 1;
                    stream
                        .times
                        .push(cluster.checked_add(i64::from(i16::from_be_bytes([head[1], head[2]])))?);
                }
                file.seek_relative(i64::try_from(size).ok()? - 4).ok()?;
            }
            _ => file.seek_relative(i64::try_from(size).ok()?).ok()?,
        }
    }
    Some(stream)
}

/// Name and length of the next element; `None` at the end.
fn element(file: &mut BufReader<File>) -> Option<(u32, u64)> {
    let mut number = |keep: bool, most: u32| {
        let mut byte = [0];
        file.read_exact(&mut byte).ok()?;
        let more = byte[0].leading_zeros();
        let mut value = u64::from(if keep { byte[0] } else { byte[0] & (0x7f >> more.min(7)) });
        for _ in 0..(more < most).then_some(more)? {
            file.read_exact(&mut byte).ok()?;
            value = value << 8 | u64::from(byte[0]);
        }
        Some(value)
    };
    let id = u32::try_from(number(true, 4)?).ok()?;
    Some((id, number(false, 8)?))
}

/// The boxes that lie one behind the other: their names and what is in them.
fn boxes(mut rest: &[u8]) -> impl Iterator<Item = ([u8; 4], &[u8])> {
    std::iter::from_fn(move || {
        let size = u32_at(rest, 0)? as usize;
        let (kind, body) = (rest.get(4..8)?.try_into().ok()?, rest.get(8..size)?);
        rest = &rest[size..];
        Some((kind, body))
    })
}

fn find<'a>(within: &'a [u8], path: &[&[u8; 4]]) -> Option<&'a [u8]> {
    path.iter()
        .try_fold(within, |body, name| boxes(body).find(|(kind, _)| kind == *name).map(|(_, inner)| inner))
}

fn u32_at(bytes: &[u8], place: usize) -> Option<u32> {
    Some(u32::from_be_bytes(bytes.get(place..place.checked_add(4)?)?.try_into().ok()?))
}
