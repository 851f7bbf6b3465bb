//! What holds for any picture.

use proptest::prelude::*;
use tvr_clip::{Picture, PreprocessorConfig, Reference, Size};

use super::oracle::{Plain, cut, exact, fixed_point};

/// Bytes from a seed, with long runs of 0 and 255: overshoot and clamps are where schemes differ.
fn plain(width: usize, height: usize, bands: usize, seed: u64) -> Plain {
    let mut state = seed | 1;
    let bytes = (0..width * height * bands).map(|_| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        match state >> 62 {
            0 => 0,
            1 => 255,
            _ => (state >> 40) as u8,
        }
    });
    Plain { width, height, bands, bytes: bytes.collect() }
}

fn picture(plain: &Plain) -> Picture {
    let made = if plain.bands == 3 { Picture::from_rgb } else { Picture::from_rgba };
    made(plain.width, plain.height, plain.bytes.clone()).unwrap()
}

fn config(size: Size, crop: usize, reference: Reference) -> PreprocessorConfig {
    PreprocessorConfig { size, ..PreprocessorConfig::clip(crop, reference) }
}

fn long(short: usize, length: usize, least: usize) -> usize {
    (short as f64 * length as f64 / least as f64).floor() as usize
}

/// The offset in the words of Python: floor, or `round` of a half.
fn offset(rest: usize, reference: Reference) -> usize {
    match reference {
        Reference::HuggingFace => rest / 2,
        Reference::OpenAi => (rest as f64 / 2.0).round_ties_even() as usize,
    }
}

proptest! {
    #[test]
    fn p_px_1_the_crop_is_the_middle_of_pillow_s_whole_picture(
        width in 1usize..70, height in 1usize..70, short in 1usize..40, less in 0usize..8, seed in any::<u64>(),
        open_ai in any::<bool>(),
    ) {
        let reference = if open_ai { Reference::OpenAi } else { Reference::HuggingFace };
        let crop = short.saturating_sub(less).max(1);
        // Long pictures would make the slow way too slow.
        prop_assume!(width.max(height) <= 12 * width.min(height));
        let plain = plain(width, height, 3, seed);
        let least = width.min(height);
        let (to_width, to_height) = (long(short, width, least), long(short, height, least));
        let expected = cut(
            &fixed_point(&plain, to_width, to_height),
            offset(to_width - crop, reference),
            offset(to_height - crop, reference),
            crop,
        );
        let found = config(Size::Short(short), crop, reference).init().unwrap().crop(&picture(&plain));
        prop_assert_eq!(found.values(), &expected.bytes);
    }

    #[test]
    fn p_px_2_two_roundings_move_a_value_by_less_than_two_levels(
        width in 2usize..60, height in 2usize..60, side in 1usize..40, seed in any::<u64>(),
    ) {
        let plain = plain(width, height, 3, seed);
        let expected = exact(&plain, side, side);
        let found = config(Size::Exact([side, side]), side, Reference::HuggingFace).init().unwrap();
        let found = found.crop(&picture(&plain));
        for (found, expected) in found.values().iter().zip(&expected) {
            // Half a level after the first pass, widened by the negative lobes to at most 0.7, and half after the second.
            prop_assert!((f64::from(*found) - expected).abs() < 1.25, "{found} is not {expected}");
        }
    }

    #[test]
    fn p_px_3_one_colour_stays_one_colour(
        width in 1usize..300, height in 1usize..300, side in 1usize..64, colour in any::<[u8; 3]>(),
    ) {
        let picture = Picture::from_rgb(width, height, colour.repeat(width * height)).unwrap();
        let crop = PreprocessorConfig::clip(side, Reference::HuggingFace).init().unwrap().crop(&picture);
        prop_assert_eq!(crop.values(), &colour.repeat(side * side));
    }

    #[test]
    fn p_px_4_an_opaque_picture_is_the_same_under_both_rules_for_alpha(
        width in 1usize..60, height in 1usize..60, seed in any::<u64>(),
    ) {
        let plain = plain(width, height, 3, seed);
        let opaque = plain.bytes.chunks_exact(3).flat_map(|p| [p[0], p[1], p[2], 255]).collect();
        let opaque = Plain { bands: 4, bytes: opaque, ..plain.clone() };
        let preprocessor = PreprocessorConfig::clip(16, Reference::OpenAi).init().unwrap();
        prop_assert_eq!(preprocessor.crop(&picture(&plain)), preprocessor.crop(&picture(&opaque)));
    }

    #[test]
    fn p_px_7_a_transparent_picture_is_laid_on_white(
        width in 1usize..60, height in 1usize..60, seed in any::<u64>(),
    ) {
        let transparent = plain(width, height, 4, seed);
        let laid = transparent.bytes.chunks_exact(4).flat_map(|p| {
            // Twice the value, so that a half is a whole number; ties cannot occur, since 255 is odd.
            [0, 1, 2].map(|b| {
                let twice = 2 * (i32::from(p[b]) * i32::from(p[3]) + 255 * (255 - i32::from(p[3])));
                ((twice + 255) / 510) as u8
            })
        });
        let laid = Plain { bands: 3, bytes: laid.collect(), ..transparent.clone() };
        let preprocessor = PreprocessorConfig::clip(16, Reference::HuggingFace).init().unwrap();
        prop_assert_eq!(preprocessor.crop(&picture(&laid)), preprocessor.crop(&picture(&transparent)));
    }

    #[test]
    fn p_px_5_the_number_of_threads_does_not_show(
        width in 1usize..400, height in 1usize..400, seed in any::<u64>(),
    ) {
        let picture = picture(&plain(width, height, 3, seed));
        let preprocessor = PreprocessorConfig::clip(48, Reference::HuggingFace).init().unwrap();
        let in_pool = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| preprocessor.crop(&picture))
        };
        prop_assert_eq!(in_pool(1), in_pool(3));
    }

    #[test]
    fn p_px_6_values_are_the_reference_s_formula_in_f64(bytes in proptest::collection::vec(any::<u8>(), 12)) {
        let config = PreprocessorConfig::clip(2, Reference::HuggingFace);
        let picture = Picture::from_rgb(2, 2, bytes.clone()).unwrap();
        let preprocessor = config.clone().init().unwrap();
        let values = preprocessor.normalise(&preprocessor.crop(&picture));
        for (place, &byte) in bytes.iter().enumerate() {
            let (pixel, band) = (place / 3, place % 3);
            let expected = (f64::from(byte) / 255.0 - config.mean[band]) / config.std[band];
            let found = f64::from(values[band * 4 + pixel]);
            prop_assert!((found - expected).abs() < 1e-6, "{found} is not {expected}"); // f32 near 2.6
        }
    }
}

#[test]
fn a_line_of_sixty_thousand_pixels_is_never_resized_as_a_whole() {
    // Its short side 1 becomes 224: the whole would have 224 x 13,440,000 pixels.
    let picture = Picture::from_rgb(60_000, 1, vec![7; 180_000]).unwrap();
    let crop = PreprocessorConfig::clip(224, Reference::HuggingFace).init().unwrap().crop(&picture);
    assert_eq!((crop.width(), crop.height()), (224, 224));
    assert!(crop.values().iter().all(|&value| value == 7));
}
