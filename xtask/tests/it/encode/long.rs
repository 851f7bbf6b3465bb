//! A video of more frames than a part has.

use super::*;

#[test]
fn a_video_of_several_parts_is_one_video_and_goes_on_where_it_was() {
    let (weights, folder) = scene();
    let long = folder.path().join("videos/v5");
    std::fs::create_dir(&long).unwrap();
    let [wide, small] = ["0_wide_106x60.png", "2_small_13x11.png"]
        .map(|name| std::fs::read(weights.join("images").join(name)).unwrap());
    let picture = |index: usize| if index.is_multiple_of(3) { &wide } else { &small };
    let write =
        |index: usize, bytes: &[u8]| std::fs::write(long.join(format!("{index}.png")), bytes).unwrap();
    (0..600).for_each(|index| write(index, picture(index)));
    write(599, b"");
    let run = |more: &[&str]| {
        encode(folder.path(), &weights, &[&["--frames", "videos", "--batch", "64"], more].concat())
    };
    assert_eq!(run(&[]).status.code(), Some(1));
    write(599, picture(599));
    let output = run(&["--resume"]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    // v1 and v2 have three frames, and 512 of v5 end the first part.
    assert!(stderr(&output).starts_with("pictures: 515/606\n"), "{}", stderr(&output));
    let counts = |file: &File, longest: usize| -> Vec<f32> {
        let (shape, mask) = file.tensor("mask");
        assert_eq!(shape, [4, longest]);
        mask.chunks(longest).map(|video| video.iter().sum()).collect()
    };
    let file = File::read(&folder.path().join("out.safetensors"));
    assert_eq!(file.names("video_ids"), ["v1", "v2", "v5", "v10"]);
    assert_eq!(counts(&file, 600), [1.0, 2.0, 600.0, 3.0]);
    let (shape, values) = file.tensor("frames");
    let row = |video: usize, frame: usize| {
        let start = (video * 600 + frame) * shape[2];
        &values[start..start + shape[2]]
    };
    for frame in 0..600 {
        close(row(2, frame), row(3, usize::from(!frame.is_multiple_of(3))), 1e-5); // v10: wide, small, wide
    }
    assert_eq!(
        (row(1, 2), row(3, 3)),
        (&vec![0.0; shape[2]][..], &vec![0.0; shape[2]][..]),
        "padding is zero"
    );

    // Of a video whose first parts are all bad the last ones are left, and they belong to nobody else.
    (0..512).for_each(|index| write(index, b""));
    let output = run(&["--skip-bad"]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let file = File::read(&folder.path().join("out.safetensors"));
    assert_eq!(counts(&file, 88), [1.0, 2.0, 88.0, 3.0]);
    assert_eq!(file.names("skipped").len(), 512);
    let output = run(&["--skip-bad", "--patches"]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let file = File::read(&folder.path().join("out.safetensors"));
    let patches = file.metadata()["tokens_per_frame"].parse::<usize>().unwrap();
    assert_eq!(counts(&file, 88 * patches), [1.0, 2.0, 88.0, 3.0].map(|frames| frames * patches as f32));
}
