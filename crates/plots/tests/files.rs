//! PNG and GIF files: what they hold, and that none is left half-written.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop where it is")]

use std::fs::{self, File};
use std::io::BufReader;
use std::path::Path;

use plots::{Image, PlotError, write_gif};

fn stripes(shade: u8) -> Image {
    let pixels = (0..40 * 30).flat_map(|i| [shade, (i % 40) as u8, 7]).collect();
    Image { width: 40, height: 30, pixels }
}

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[test]
fn a_png_holds_the_picture_and_is_alike_each_time() {
    let folder = tempfile::tempdir().unwrap();
    let (first, second) = (folder.path().join("a.png"), folder.path().join("b.png"));
    let image = stripes(200);
    image.write_png(&first).unwrap();
    image.write_png(&second).unwrap();
    assert_eq!(fs::read(&first).unwrap(), fs::read(&second).unwrap());

    let mut reader = png::Decoder::new(BufReader::new(File::open(&first).unwrap())).read_info().unwrap();
    let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
    let info = reader.next_frame(&mut pixels).unwrap();
    assert_eq!((info.width, info.height, info.color_type), (40, 30, png::ColorType::Rgb));
    assert_eq!(pixels, image.pixels);
    assert_eq!(names(folder.path()), ["a.png", "b.png"]);
}

#[cfg(unix)]
#[test]
fn a_picture_may_be_read_by_whoever_may_read_other_new_files() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    stripes(1).write_png(&folder.path().join("a.png")).unwrap();
    fs::write(folder.path().join("b"), "").unwrap();
    let mode = |name: &str| fs::metadata(folder.path().join(name)).unwrap().permissions().mode();
    assert_eq!(mode("a.png"), mode("b"));
}

#[test]
fn a_gif_holds_every_frame_with_its_delay() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.gif");
    let frames = [stripes(0), stripes(100), stripes(250)];
    write_gif(&path, &frames, 305, 4).unwrap();

    let mut options = gif::DecodeOptions::new();
    options.set_color_output(gif::ColorOutput::RGBA);
    let mut decoder = options.read_info(BufReader::new(File::open(&path).unwrap())).unwrap();
    assert_eq!((decoder.width(), decoder.height()), (40, 30));
    let mut delays = Vec::new();
    while let Some(frame) = decoder.read_next_frame().unwrap() {
        let rgb: Vec<u8> = frame.buffer.chunks_exact(4).flat_map(|pixel| &pixel[..3]).copied().collect();
        assert_eq!(rgb, frames[delays.len()].pixels, "few colours are kept exactly");
        delays.push(frame.delay);
    }
    assert_eq!(delays, [31, 31, 2]);
    assert_eq!(decoder.repeat(), gif::Repeat::Infinite);
    assert_eq!(names(folder.path()), ["a.gif"]);
}

#[test]
fn padding_adds_white_at_the_right_and_below() {
    let image = Image { width: 1, height: 2, pixels: vec![1, 2, 3, 4, 5, 6] };
    assert_eq!(image.clone().padded(0, 2), image);
    let padded = image.padded(2, 3);
    assert_eq!((padded.width, padded.height), (2, 3));
    let white = 255;
    let pixels = [
        1, 2, 3, white, white, white, 4, 5, 6, white, white, white, white, white, white, white, white, white,
    ];
    assert_eq!(padded.pixels, pixels);
}

#[test]
fn frames_that_do_not_go_together_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.gif");
    let small = Image { width: 1, height: 1, pixels: vec![0; 3] };
    let error = write_gif(&path, &[stripes(0), small], 100, 100).unwrap_err();
    let text = "frame 1 is 1×1 pixels, the first is 40×30; draw all frames at one size";
    assert_eq!(error.to_string(), text);
    assert!(matches!(write_gif(&path, &[], 100, 100), Err(PlotError::Empty { .. })));
    let wrong = Image { pixels: vec![0; 5], ..stripes(0) };
    assert!(matches!(
        write_gif(&path, std::slice::from_ref(&wrong), 1, 1),
        Err(PlotError::LengthMismatch { .. })
    ));
    assert!(matches!(
        wrong.write_png(&path),
        Err(PlotError::LengthMismatch { expected: 3600, found: 5, .. })
    ));
    let wide = Image { width: 70_000, height: 1, pixels: vec![0; 210_000] };
    assert!(matches!(write_gif(&path, &[wide], 1, 1), Err(PlotError::Encode { .. })));
    let nothing = Image { width: 0, height: 0, pixels: Vec::new() };
    assert!(matches!(nothing.write_png(&path), Err(PlotError::Encode { .. })));
    assert!(names(folder.path()).is_empty());
}

#[test]
fn a_failed_write_leaves_nothing_behind_and_nothing_harmed() {
    let folder = tempfile::tempdir().unwrap();
    let missing = folder.path().join("missing").join("a.png");
    let error = stripes(0).write_png(&missing).unwrap_err();
    assert!(error.to_string().starts_with(&format!("cannot write {}", missing.display())));
    assert!(error.to_string().ends_with("check that its folder exists, is writable and has room"));

    // a folder in the way: the last step, the rename, fails
    let taken = folder.path().join("taken.png");
    fs::create_dir(&taken).unwrap();
    fs::write(taken.join("keep"), "kept").unwrap();
    assert!(matches!(stripes(0).write_png(&taken), Err(PlotError::Write { .. })));
    assert!(matches!(write_gif(&taken, &[stripes(0)], 1, 1), Err(PlotError::Write { .. })));
    assert_eq!(names(folder.path()), ["taken.png"]);
    assert_eq!(fs::read_to_string(taken.join("keep")).unwrap(), "kept");
}
