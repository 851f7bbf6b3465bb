//! The world, bit for bit: the values that the prototype prints.

use tvr_data::{Split, World};

#[track_caller]
fn check(split: Split, index: usize, length: usize, crc: u32, captions: [&str; 2]) {
    let world = World::default();
    for (number, caption) in captions.into_iter().enumerate() {
        assert_eq!(world.caption(split, index, number).text(), caption);
    }
    let clip = world.clip(split, index);
    assert_eq!((clip.length, world.length(split, index)), (length, length));
    assert_eq!(clip.frames.len(), length * 32 * 32 * 3);
    assert_eq!(format!("{:08x}", crc32fast::hash(&clip.frames)), format!("{crc:08x}"));
}

#[test]
fn clips_and_their_captions_are_those_of_the_prototype() {
    check(
        Split::Train,
        0,
        8,
        0x9591_ebff,
        [
            "on the grass a yellow cross trades places with a green circle",
            "something trades places with a green ball",
        ],
    );
    check(
        Split::Train,
        1,
        8,
        0x4901_fd67,
        [
            "an orange diamond moves to the left and a blue object stays still",
            "an orange diamond moves to the left",
        ],
    );
    check(
        Split::Val,
        0,
        8,
        0x2bb8_4188,
        ["in the forest an orange object disappears", "a big orange box vanishes in the forest"],
    );
    check(
        Split::Test,
        0,
        7,
        0x288d_4da0,
        [
            "a yellow moon leaves a white diamond",
            "a yellow moon moves away from a spotted pale shape in the desert",
        ],
    );
    check(
        Split::Test,
        1,
        6,
        0x2656_3268,
        ["in the desert a little white box fades in", "a white box appears on the sand"],
    );
    check(
        Split::Test,
        999,
        8,
        0x8003_b272,
        [
            "a banded blue triangle moves to the left on the snow",
            "a striped triangle goes from right to left on the snow",
        ],
    );
}

#[test]
fn stills_are_those_of_the_prototype() {
    let left = Some("a photo of something at the left");
    let two = "a picture of a yellow ball at the right and a small blue diamond at the bottom left";
    let expected = [
        ("354b5087", "there is a white stick on the water", left),
        ("cdc02d17", two, None),
        ("409d63c0", "a photo of a small green diamond at the left", left),
    ];
    for (index, (crc, caption, place)) in expected.into_iter().enumerate() {
        let still = World::default().still(index);
        assert_eq!((still.caption.as_str(), still.place.as_deref()), (caption, place), "still {index}");
        assert_eq!(still.pixels.len(), 32 * 32 * 3);
        assert_eq!(format!("{:08x}", crc32fast::hash(&still.pixels)), crc, "still {index}");
    }
}

#[test]
fn all_captions_of_all_splits_are_those_of_the_prototype() {
    let world = World::default();
    for (split, videos, crc) in
        [(Split::Train, 6000, "46b3cbaa"), (Split::Val, 512, "612e4545"), (Split::Test, 1000, "6bc0c8ea")]
    {
        assert_eq!(World::size(split), videos);
        let captions: Vec<String> = (0..videos)
            .flat_map(|index| (0..5).map(move |number| world.caption(split, index, number).text()))
            .collect();
        let found = crc32fast::hash(captions.join("\n").as_bytes());
        assert_eq!(format!("{found:08x}"), crc, "{}", split.name());
    }
}

#[test]
fn the_order_of_time_matters_for_two_captions_in_three() {
    let world = World::default();
    for captions in [1, 5] {
        let bearing = (0..1000)
            .flat_map(|index| (0..captions).map(move |number| (index, number)))
            .filter(|&(index, number)| world.order_bearing(Split::Test, index, number))
            .count();
        let percent = bearing as f64 / (10 * captions) as f64;
        println!("order-bearing test captions, {captions} of each video: {percent:.1} %");
        assert!((60.0..=72.0).contains(&percent), "{percent} %");
    }
    assert!(world.order_bearing(Split::Test, 1, 0), "fades in");
    assert!(!world.order_bearing(Split::Train, 0, 0), "trades places");
}
