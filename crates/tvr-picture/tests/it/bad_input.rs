//! Files that are no pictures: one clear error each, and never a panic.

use std::io::Cursor;
use std::path::Path;

use image::{DynamicImage, ImageFormat};
use proptest::prelude::*;
use tvr_picture::{Picture, PictureError};

fn encoded(picture: &DynamicImage, format: ImageFormat) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    picture.write_to(&mut bytes, format).unwrap();
    bytes.into_inner()
}

fn small() -> DynamicImage {
    let picture =
        image::RgbImage::from_fn(9, 7, |x, y| image::Rgb([x as u8 * 20, y as u8 * 30, (x * y) as u8]));
    DynamicImage::ImageRgb8(picture)
}

#[track_caller]
fn refuses(bytes: &[u8], sentence: &str) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.png");
    std::fs::write(&path, bytes).unwrap();
    let error = Picture::read(&path).unwrap_err();
    assert_eq!(error.to_string(), format!("{}: {sentence}", path.display()));
}

/// A PNG of any claimed size: the header alone counts.
fn png_header(width: u32, height: u32) -> Vec<u8> {
    let mut body = b"IHDR".to_vec();
    body.extend(width.to_be_bytes());
    body.extend(height.to_be_bytes());
    body.extend([8, 2, 0, 0, 0]);
    let mut file = b"\x89PNG\r\n\x1a\n\0\0\0\x0d".to_vec();
    file.extend(&body);
    file.extend(crc(&body).to_be_bytes());
    file.extend(b"\0\0\0\0IDAT\x35\xaf\x06\x1e");
    file
}

/// PNG's checksum, bit by bit.
fn crc(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0u32, |sum, &byte| {
        (0..8).fold(
            sum ^ u32::from(byte),
            |sum, _| if sum & 1 == 1 { 0xedb8_8320 ^ (sum >> 1) } else { sum >> 1 },
        )
    })
}

#[test]
fn a_missing_file_is_named() {
    let error = Picture::read(Path::new("nowhere.png")).unwrap_err();
    assert!(error.to_string().starts_with("nowhere.png: cannot be read: "), "{error}");
}

#[test]
fn an_empty_file_is_empty() {
    refuses(&[], "is empty");
}

#[test]
fn other_files_are_no_pictures() {
    refuses(b"a caption, not a picture", "is no PNG, JPEG, GIF or WebP; convert it to PNG");
}

#[test]
fn a_bomb_is_refused_before_a_pixel_is_decoded() {
    refuses(&png_header(60_000, 60_000), "has 60000 x 60000 pixels, more than 178956970; make it smaller");
}

#[test]
fn a_jpeg_that_is_cut_off_is_refused_although_its_decoder_would_fill_it_in() {
    let mut bytes = encoded(&small(), ImageFormat::Jpeg);
    assert!(Picture::decode(&bytes).is_ok());
    bytes.truncate(bytes.len() - 20);
    refuses(&bytes, "is cut off: the JPEG has no end");
}

#[test]
fn a_png_that_is_cut_off_is_refused() {
    let mut bytes = encoded(&small(), ImageFormat::Png);
    bytes.truncate(bytes.len() / 2);
    let error = Picture::decode(&bytes).unwrap_err();
    assert!(error.to_string().starts_with("the picture cannot be decoded: "), "{error}");
}

#[test]
fn grey_with_16_bits_is_refused_because_the_reference_makes_it_white() {
    let picture = DynamicImage::ImageLuma16(image::ImageBuffer::from_pixel(3, 3, image::Luma([30_000u16])));
    refuses(
        &encoded(&picture, ImageFormat::Png),
        "is grey with 16 bits, of which the reference makes a white picture; convert it to 8 bits",
    );
}

#[test]
fn bytes_of_another_number_are_no_picture() {
    let error = Picture::from_rgb(4, 3, vec![0; 35]).unwrap_err();
    assert_eq!(error.to_string(), "35 bytes are no picture of 4 x 3 with 3 bands");
    assert!(matches!(Picture::from_rgba(0, 3, vec![]), Err(PictureError::Size { .. })));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn mutated_files_never_panic(
        kind in 0usize..4, places in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
        end in any::<prop::sample::Index>(), cut in any::<bool>(),
    ) {
        let format = [ImageFormat::Png, ImageFormat::Jpeg, ImageFormat::Gif, ImageFormat::WebP][kind];
        let picture = if format == ImageFormat::Gif { small().to_rgba8().into() } else { small() };
        let mut bytes = encoded(&picture, format);
        for (place, value) in places {
            let place = place.index(bytes.len());
            bytes[place] = value;
        }
        if cut {
            bytes.truncate(end.index(bytes.len()));
        }
        if let Ok(picture) = Picture::decode(&bytes) {
            prop_assert_eq!(picture.values().len(), picture.width() * picture.height() * picture.bands());
        }
    }
}
