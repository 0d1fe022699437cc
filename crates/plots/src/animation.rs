use std::path::Path;

use crate::image::write_atomic;
use crate::{Image, PlotError};

/// Writes an animation that loops for ever. The file appears whole or not at all.
///
/// `frame_ms` is how long each frame stays, `last_frame_ms` how long the last one does, both in milliseconds,
/// rounded to the hundredths of a second that GIF counts in and never less than two of them (viewers slow
/// down shorter ones).
///
/// # Errors
/// [`PlotError::Empty`] without frames, [`PlotError::FrameSize`] when they differ in size,
/// [`PlotError::LengthMismatch`] when a frame's pixels do not fit its size, [`PlotError::Encode`] when a side
/// is 0 or over 65,535 pixels, [`PlotError::Write`] when the file cannot be written.
pub fn write_gif(path: &Path, frames: &[Image], frame_ms: u32, last_frame_ms: u32) -> Result<(), PlotError> {
    let Some(first) = frames.first() else {
        return Err(PlotError::Empty {
            what: "the animation".to_owned(),
            remedy: "give it at least one frame",
        });
    };
    for (index, frame) in frames.iter().enumerate() {
        frame.check(&format!("frame {index}"))?;
        let (expected, found) = ((first.width, first.height), (frame.width, frame.height));
        if expected != found {
            return Err(PlotError::FrameSize { index, expected, found });
        }
    }
    let unencodable = |reason: String| PlotError::Encode { path: path.to_owned(), reason };
    let side = |pixels: u32| match u16::try_from(pixels) {
        Ok(side) if side > 0 => Ok(side),
        _ => Err(unencodable(format!("a side of {pixels} pixels, where GIF takes 1 to 65535"))),
    };
    let (width, height) = (side(first.width)?, side(first.height)?);
    let bytes = encode(frames, width, height, centiseconds(frame_ms), centiseconds(last_frame_ms))
        .map_err(|error| unencodable(error.to_string()))?;
    write_atomic(path, &bytes)
}

fn encode(
    frames: &[Image],
    width: u16,
    height: u16,
    delay: u16,
    last_delay: u16,
) -> Result<Vec<u8>, gif::EncodingError> {
    let mut bytes = Vec::new();
    let mut encoder = gif::Encoder::new(&mut bytes, width, height, &[])?;
    encoder.set_repeat(gif::Repeat::Infinite)?;
    for (index, image) in frames.iter().enumerate() {
        let mut frame = gif::Frame::from_rgb_speed(width, height, &image.pixels, 10);
        frame.delay = if index + 1 == frames.len() { last_delay } else { delay };
        encoder.write_frame(&frame)?;
    }
    drop(encoder);
    Ok(bytes)
}

/// Milliseconds in the unit of GIF.
fn centiseconds(milliseconds: u32) -> u16 {
    u16::try_from((milliseconds.saturating_add(5) / 10).max(2)).unwrap_or(u16::MAX)
}
