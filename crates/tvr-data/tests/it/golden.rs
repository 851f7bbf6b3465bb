//! The world, bit for bit: the values that the prototype prints.

use tvr_data::{Split, Still, Tag, World};

#[track_caller]
fn check(split: Split, index: usize, length: usize, crc: u32, captions: [&str; 2]) {
    let world = World::default();
    let clip = world.clip(split, index);
    assert_eq!(clip.length, length);
    assert_eq!(clip.frames.len(), length * 32 * 32 * 3);
    assert_eq!(world.length(split, index), length);
    for (number, caption) in captions.into_iter().enumerate() {
        assert_eq!(world.caption(split, index, number).text(), caption);
    }
    assert_eq!(format!("{:08x}", crc32fast::hash(&clip.frames)), format!("{crc:08x}"));
}

#[test]
fn videos_and_their_captions_are_those_of_the_prototype() {
    check(Split::Train, 0, 8, 0x9591_ebff, ["on the grass a yellow cross trades places with a green circle", "something trades places with a green ball"]);
    check(Split::Train, 1, 8, 0x4901_fd67, ["an orange diamond moves to the left and a blue object stays still", "an orange diamond moves to the left"]);
    check(Split::Val, 0, 8, 0x2bb8_4188, ["in the forest an orange object disappears", "a big orange box vanishes in the forest"]);
    check(Split::Test, 0, 7, 0x288d_4da0, ["a yellow moon leaves a white diamond", "a yellow moon moves away from a spotted pale shape in the desert"]);
    check(Split::Test, 1, 6, 0x2656_3268, ["in the desert a little white box fades in", "a white box appears on the sand"]);
    check(Split::Test, 999, 8, 0x8003_b272, ["a banded blue triangle moves to the left on the snow", "a striped triangle goes from right to left on the snow"]);
}

#[test]
fn stills_are_those_of_the_prototype() {
    let seen: Vec<_> = World::default()
        .stills(0..3)
        .into_iter()
        .map(|Still { pixels, caption, place }| (format!("{:08x}", crc32fast::hash(&pixels)), caption, place))
        .collect();
    let left = Some("a photo of something at the left".to_owned());
    assert_eq!(
        seen,
        [
            ("354b5087".to_owned(), "there is a white stick on the water".to_owned(), left.clone()),
            (
                "cdc02d17".to_owned(),
                "a picture of a yellow ball at the right and a small blue diamond at the bottom left".to_owned(),
                None
            ),
            ("409d63c0".to_owned(), "a photo of a small green diamond at the left".to_owned(), left),
        ]
    );
}

#[test]
fn all_captions_of_all_splits_are_those_of_the_prototype() {
    for (split, crc) in [(Split::Train, 0x46b3_cbaa), (Split::Val, 0x612e_4545), (Split::Test, 0x6bc0_c8ea)] {
        let captions: Vec<String> =
            World::default().captions(split, 0..World::size(split)).iter().map(tvr_data::Sentence::text).collect();
        assert_eq!(crc32fast::hash(captions.join("\n").as_bytes()), crc, "{split:?}");
    }
}

#[test]
fn tags_and_order_have_the_shares_of_the_design() {
    let captions = World::default().captions(Split::Train, 0..6000);
    let words: Vec<_> = captions.iter().flat_map(|caption| &caption.words).collect();
    for (tag, percent) in [(Tag::Entity, 32.0), (Tag::Action, 22.0), (Tag::Scene, 28.0), (Tag::Other, 18.0)] {
        let share = 100.0 * words.iter().filter(|word| word.tag == tag).count() as f64 / words.len() as f64;
        assert!((share - percent).abs() < 1.0, "{tag:?}: {share}"); // the design gives whole per cent
    }
    let world = World::default();
    let bearing = (0..1000).filter(|&video| world.order_bearing(Split::Test, video, 0)).count();
    println!("order-bearing test captions: {bearing} of 1000");
    assert!((640..=680).contains(&bearing), "{bearing} of 1000, the design says 66 %");
    assert!(world.caption(Split::Test, 1, 0).order_bearing && !world.caption(Split::Train, 0, 0).order_bearing);
}

#[test]
fn drawing_everything_takes_seconds() {
    let world = World::default();
    let begin = std::time::Instant::now();
    let stills: usize = world.stills(0..40_000).iter().map(|still| still.pixels.len()).sum();
    let stills_seconds = begin.elapsed().as_secs_f64();
    let begin = std::time::Instant::now();
    let clips: usize = [Split::Train, Split::Val, Split::Test]
        .map(|split| world.clips(split, 0..World::size(split)).len())
        .iter()
        .sum();
    println!("40,000 stills {stills_seconds:.2} s, {clips} clips {:.2} s", begin.elapsed().as_secs_f64());
    assert_eq!((stills, clips), (40_000 * 3072, 7512));
}
