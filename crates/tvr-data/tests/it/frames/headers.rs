//! Heads of containers, made by hand: what they promise is a guess, and broken ones are no end of the program.

use proptest::prelude::*;

use super::*;

fn boxed(kind: &[u8; 4], body: &[u8]) -> Vec<u8> {
    [&(body.len() as u32 + 8).to_be_bytes()[..], kind, body].concat()
}

fn words(words: &[u32]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_be_bytes()).collect()
}

/// An MP4 of three frames at 25 a second, 64 x 48, without any frame in it.
fn mp4() -> Vec<u8> {
    let sizes = boxed(b"stsz", &words(&[0, 0, 3, 9, 9, 9]));
    let distances = boxed(b"stts", &words(&[0, 1, 3, 40]));
    let sample = boxed(b"stsd", &[words(&[0, 1, 80]), vec![0; 28], vec![0, 64, 0, 48]].concat());
    let tables = boxed(b"stbl", &[sample, distances, sizes].concat());
    let handler = boxed(b"hdlr", &[&[0; 8][..], b"vide"].concat());
    let media = [boxed(b"mdhd", &words(&[0, 0, 0, 1000, 120])), handler, boxed(b"minf", &tables)].concat();
    let edits = boxed(b"edts", &boxed(b"elst", &words(&[0, 1, 120, 0, 0x1_0000])));
    let movie = boxed(b"trak", &[edits, boxed(b"mdia", &media)].concat());
    [boxed(b"ftyp", b"isom"), boxed(b"moov", &movie)].concat()
}

/// An AVI of the same.
fn avi() -> Vec<u8> {
    let chunk = |kind: &[u8], body: &[u8]| [kind, &(body.len() as u32).to_le_bytes(), body].concat();
    let little = |words: &[u32]| words.iter().flat_map(|word| word.to_le_bytes()).collect::<Vec<u8>>();
    let header = [&b"vidsXVID"[..], &little(&[0, 0, 0, 1, 25, 0, 3, 0, 0, 0])].concat();
    let form = little(&[40, 64, 48]);
    let list = [&b"strl"[..], &chunk(b"strh", &header), &chunk(b"strf", &form)].concat();
    let lists = [chunk(b"LIST", &[&b"hdrl"[..], &chunk(b"LIST", &list)].concat()), chunk(b"LIST", b"movi")];
    [&b"RIFF"[..], &[0; 4], b"AVI ", &lists.concat()].concat()
}

/// An element of Matroska: its name, its length in eight bytes, and what is in it.
fn element(id: &[u8], body: &[u8]) -> Vec<u8> {
    [id, &(1 << 56 | body.len() as u64).to_be_bytes(), body].concat()
}

/// A Matroska file with blocks at these times: of the cluster, and from there.
fn matroska(blocks: &[(u64, i16)]) -> Vec<u8> {
    let size = [element(&[0xb0], &[64]), element(&[0xba], &[48])].concat();
    let track = [element(&[0xd7], &[1]), element(&[0x83], &[1]), element(&[0xe0], &size)].concat();
    let mut segment = element(&[0x16, 0x54, 0xae, 0x6b], &element(&[0xae], &track));
    for (cluster, time) in blocks {
        let block = [&[0x81u8][..], &time.to_be_bytes(), &[0x80]].concat();
        let inside = [element(&[0xe7], &cluster.to_be_bytes()), element(&[0xa3], &block)].concat();
        segment.extend(element(&[0x1f, 0x43, 0xb6, 0x75], &inside));
    }
    [element(&[0x1a, 0x45, 0xdf, 0xa3], &[]), element(&[0x18, 0x53, 0x80, 0x67], &segment)].concat()
}

fn sound() -> [Vec<u8>; 3] {
    [mp4(), avi(), matroska(&[(0, 0), (0, 40), (80, 0)])]
}

/// An FFmpeg that notes what it is asked for and reads nothing.
fn deaf(scratch: &Path) -> (Ffmpeg, PathBuf) {
    use std::os::unix::fs::PermissionsExt;
    let (program, asked) = (scratch.join("deaf"), scratch.join("asked"));
    let script = format!(
        "#!/bin/sh\n[ \"$2\" = -version ] && echo 'ffmpeg version 6.0' && exit\nprintf '%s\\n' \"$*\" >> '{}'\necho broken >&2\nexit 1\n",
        asked.display()
    );
    std::fs::write(&program, script).unwrap();
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
    (Ffmpeg::at(&program).unwrap(), asked)
}

/// Every file is a fault, as nothing can be decoded.
fn all_fail(ffmpeg: &Ffmpeg, scratch: &Path, heads: &[Vec<u8>]) {
    let file = |(place, head): (usize, &Vec<u8>)| {
        let path = scratch.join(format!("{place}.video"));
        std::fs::write(&path, head).unwrap();
        path
    };
    let files: Vec<PathBuf> = heads.iter().enumerate().map(file).collect();
    let found = decode(Some(ffmpeg), Sampler::clip4clip(), &files);
    assert!(found.len() == files.len() && found.iter().all(Result::is_err), "{found:?}");
}

#[test]
fn sound_heads_are_believed_and_decoded_at_once() {
    for (name, head) in ["mp4", "avi", "matroska"].iter().zip(sound()) {
        let scratch = tempfile::tempdir().unwrap();
        let (ffmpeg, asked) = deaf(scratch.path());
        all_fail(&ffmpeg, scratch.path(), &[head]);
        let asked = std::fs::read_to_string(asked).unwrap();
        let first = asked.lines().next().unwrap();
        // Three frames at 25 a second are less than a second: CLIP4Clip takes the first.
        assert!(first.contains("select=between(n\\,0\\,0)"), "{name}: {first}");
    }
}

#[test]
fn a_head_with_times_at_both_ends_of_a_number_is_a_fault_of_the_file() {
    let scratch = tempfile::tempdir().unwrap();
    let (ffmpeg, _) = deaf(scratch.path());
    let (most, half) = (i64::MAX as u64, (i64::MAX as u64 - 32_768) / 2);
    // Neighbours that lie further apart than a number holds; two equal steps of which the sum is none.
    all_fail(&ffmpeg, scratch.path(), &[matroska(&[(most, 0), (0, i16::MIN)])]);
    all_fail(&ffmpeg, scratch.path(), &[matroska(&[(most, 0), (half, 0), (0, i16::MIN)])]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn heads_of_any_bytes_are_read_or_passed_over(
        changes in prop::collection::vec(
            prop::collection::vec((any::<prop::sample::Index>(), prop::sample::select(&[0u8, 1, 0x7f, 0x80, 0xfe, 0xff][..]), 1usize..9), 1..5),
            12,
        ),
        noise in prop::collection::vec(any::<u8>(), 0..200),
        cut: prop::sample::Index,
    ) {
        let scratch = tempfile::tempdir().unwrap();
        let (ffmpeg, _) = deaf(scratch.path());
        let mut heads = Vec::new();
        for (number, changes) in changes.into_iter().enumerate() {
            let mut head = sound()[number % 3].clone();
            for (place, byte, length) in changes {
                let start = place.index(head.len());
                let end = (start + length).min(head.len());
                head[start..end].fill(byte);
            }
            match number {
                // Plain noise behind a sound beginning; one that is cut off.
                0..3 => {
                    head.truncate(12);
                    head.extend(&noise);
                }
                3..6 => head.truncate(1 + cut.index(head.len())),
                _ => {}
            }
            heads.push(head);
        }
        all_fail(&ffmpeg, scratch.path(), &heads);
    }
}
