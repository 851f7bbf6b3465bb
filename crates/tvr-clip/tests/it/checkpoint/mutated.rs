//! Files with changed bytes: an error or a model, never a panic.

use std::sync::OnceLock;

use super::*;
use tvr_clip::{Picture, PreprocessorConfig};

/// Every file that a loader reads, by the layout it belongs to. The weights of shards are those of the plain layout.
const FILES: [(Layout, &str); 10] = [
    (Layout::Plain, "config.json"),
    (Layout::Plain, "model.safetensors"),
    (Layout::Plain, "tokenizer.json"),
    (Layout::Plain, "preprocessor_config.json"),
    (Layout::Sharded, made::INDEX),
    (Layout::Sharded, made::SHARDS[1]),
    (Layout::Sharded, "vocab.json"),
    (Layout::Sharded, "merges.txt"),
    (Layout::OpenClip, "open_clip_config.json"),
    (Layout::OpenClip, "open_clip_pytorch_model.safetensors"),
];

#[derive(Clone, Copy, Debug)]
enum Layout {
    Plain,
    Sharded,
    OpenClip,
}

/// What `preprocessor_config.json` says beside the defaults.
const PIXELS: &str = r#"{"size": {"shortest_edge": 36}, "crop_size": {"height": 32, "width": 32}, "resample": 3,
"do_resize": true, "do_center_crop": true, "do_rescale": true, "rescale_factor": 0.00392156862745098,
"do_normalize": true, "image_mean": [0.5, 0.5, 0.4], "image_std": [0.3, 0.3, 0.3], "do_convert_rgb": true}"#;

/// A sound folder of each layout, made once.
fn sound(layout: Layout) -> &'static Path {
    static FOLDERS: OnceLock<[TempDir; 3]> = OnceLock::new();
    let folders = FOLDERS.get_or_init(|| {
        let _alone = alone();
        let (plain, sharded, open_clip) = (folder(), folder(), tempfile::tempdir().unwrap());
        std::fs::write(plain.path().join("preprocessor_config.json"), PIXELS).unwrap();
        made::shards(sharded.path());
        made::split_tokenizer(sharded.path());
        made::open_clip(open_clip.path());
        [plain, sharded, open_clip]
    });
    folders[layout as usize].path()
}

/// What a folder holds: weights loaded, a text encoded, a picture cut, each as far as it goes.
fn read(folder: &Path) -> [bool; 3] {
    let mut worked = [false; 3];
    if let Ok(checkpoint) = ClipCheckpoint::open(folder) {
        worked[0] = checkpoint.load(&Device::flex()).is_ok();
        let tokenizer = checkpoint.tokenizer();
        worked[1] = tokenizer.is_ok_and(|tokenizer| tokenizer.encode("a red square", 12).is_ok());
    }
    if let Ok(preprocessor) = PreprocessorConfig::read(folder).and_then(PreprocessorConfig::init) {
        let picture = Picture::from_rgb(13, 11, vec![90; 13 * 11 * 3]).unwrap();
        let pixels = preprocessor.normalise(&preprocessor.crop(&picture));
        worked[2] = pixels.len() == 3 * preprocessor.side() * preprocessor.side();
    }
    worked
}

/// A folder with one file changed is read. The others are links to the sound ones.
fn survives((layout, file): (Layout, &str), change: impl Fn(&mut Vec<u8>)) {
    let folder = tempfile::tempdir().unwrap();
    for entry in std::fs::read_dir(sound(layout)).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap();
        if name != file {
            std::os::unix::fs::symlink(&path, folder.path().join(name)).unwrap();
            continue;
        }
        let mut bytes = std::fs::read(&path).unwrap();
        change(&mut bytes);
        std::fs::write(folder.path().join(name), bytes).unwrap();
    }
    read(folder.path());
}

/// Otherwise mutations would be tried on what is refused anyway.
#[test]
fn every_layout_is_read_as_it_is() {
    assert_eq!(read(sound(Layout::Plain)), [true, true, true]);
    assert_eq!(read(sound(Layout::Sharded)), [true, true, false]);
    assert_eq!(read(sound(Layout::OpenClip)), [true, false, true]);
}

/// The library that reads it panicked at this one.
#[test]
fn a_tokenizer_whose_decoder_is_no_json_is_refused() {
    survives((Layout::Plain, "tokenizer.json"), |bytes| {
        let word = b"\"decoder\": ";
        let found = bytes.windows(word.len()).position(|window| window == word);
        bytes[found.unwrap() + word.len()] = 0;
    });
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn mutated_bytes_never_panic(
        file in prop::sample::select(FILES.to_vec()),
        edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        cut in prop::option::weighted(0.2, any::<prop::sample::Index>()),
    ) {
        survives(file, |bytes| {
            // Most of the weights are plain numbers; the header is where a change can do harm.
            let reach = bytes.len().min(9000);
            for (place, byte) in &edits {
                bytes[place.index(reach)] = *byte;
            }
            if let Some(cut) = &cut {
                let length = cut.index(bytes.len());
                bytes.truncate(length);
            }
        });
    }
}
