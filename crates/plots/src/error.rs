use std::path::PathBuf;

/// What keeps a picture from being drawn or written.
#[derive(Debug, thiserror::Error)]
pub enum PlotError {
    /// Two lists that go together have different lengths.
    #[error("{what} has {found} values where {expected} are needed; give one value for each")]
    LengthMismatch {
        /// Which list, by name.
        what: String,
        /// How many values it should have.
        expected: usize,
        /// How many it has.
        found: usize,
    },
    /// There is nothing to draw.
    #[error("{what} is empty; {remedy}")]
    Empty {
        /// What is empty, by name.
        what: String,
        /// What to do about it.
        remedy: &'static str,
    },
    /// A value lies where it cannot be drawn.
    #[error("{what} is {value}, which is not in {allowed}; correct it before drawing")]
    OutOfRange {
        /// Which value, by name.
        what: String,
        /// The value.
        value: String,
        /// What would be accepted.
        allowed: String,
    },
    /// The picture would not fit into memory or onto a screen.
    #[error("the picture would be {}×{} pixels; use fewer panels, series, cells or images, or shorter texts", size.0, size.1)]
    TooLarge {
        /// Width and height it would have.
        size: (u64, u64),
    },
    /// A frame of an animation differs in size from the first.
    #[error(
        "frame {index} is {}×{} pixels, the first is {}×{}; draw all frames at one size",
        found.0, found.1, expected.0, expected.1
    )]
    FrameSize {
        /// The number of the frame, from 0.
        index: usize,
        /// Width and height of the first frame.
        expected: (u32, u32),
        /// Width and height of this frame.
        found: (u32, u32),
    },
    /// The picture could not be turned into bytes.
    #[error("cannot encode {}: {reason}; draw a smaller picture", path.display())]
    Encode {
        /// The file that was to be written.
        path: PathBuf,
        /// What the encoder said.
        reason: String,
    },
    /// The file could not be written. The old file, if there was one, is unharmed.
    #[error("cannot write {}; check that its folder exists, is writable and has room", path.display())]
    Write {
        /// The file that was to be written.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
}
