use std::io::Write;
use std::path::Path;

use crate::PlotError;

/// A picture in memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    /// Width in pixels.
    pub width: u32,
    /// Height in pixels.
    pub height: u32,
    /// Red, green and blue of each pixel, row by row from the top left: `3 × width × height` bytes.
    pub pixels: Vec<u8>,
}

impl Image {
    /// Writes the picture as a PNG. The file appears whole or not at all; one that was there stays until
    /// the new one is complete.
    ///
    /// # Errors
    /// [`PlotError::LengthMismatch`] when `pixels` does not fit the size, [`PlotError::Encode`] for a size
    /// PNG cannot hold, [`PlotError::Write`] when the file cannot be written.
    pub fn write_png(&self, path: &Path) -> Result<(), PlotError> {
        self.check("the image")?;
        let bytes = self
            .encode_png()
            .map_err(|error| PlotError::Encode { path: path.to_owned(), reason: error.to_string() })?;
        write_atomic(path, &bytes)
    }

    /// The picture with white at its right and below, as far as it is smaller than `width` × `height` pixels: for
    /// the frames of an animation, which are all of one size.
    pub fn padded(mut self, width: u32, height: u32) -> Self {
        let (width, height) = (width.max(self.width), height.max(self.height));
        if (width, height) != (self.width, self.height) {
            let mut pixels = vec![255; 3 * width as usize * height as usize];
            let rows = self.pixels.chunks_exact((3 * self.width as usize).max(1));
            for (row, into) in rows.zip(pixels.chunks_exact_mut(3 * width as usize)) {
                into[..row.len()].copy_from_slice(row);
            }
            self = Self { width, height, pixels };
        }
        self
    }

    fn encode_png(&self) -> Result<Vec<u8>, png::EncodingError> {
        let mut bytes = Vec::new();
        let mut encoder = png::Encoder::new(&mut bytes, self.width, self.height);
        encoder.set_color(png::ColorType::Rgb);
        encoder.set_depth(png::BitDepth::Eight);
        let mut writer = encoder.write_header()?;
        writer.write_image_data(&self.pixels)?;
        writer.finish()?;
        Ok(bytes)
    }

    /// Refuses a picture whose `pixels` do not fit its size.
    pub(crate) fn check(&self, name: &str) -> Result<(), PlotError> {
        let expected = 3 * self.width as usize * self.height as usize;
        if self.pixels.len() == expected {
            return Ok(());
        }
        Err(PlotError::LengthMismatch {
            what: format!("`pixels` of {name} ({}×{})", self.width, self.height),
            expected,
            found: self.pixels.len(),
        })
    }
}

/// Writes beside `path`, then renames, so that a reader never sees half a file.
pub(crate) fn write_atomic(path: &Path, bytes: &[u8]) -> Result<(), PlotError> {
    let write = || {
        let folder = match path.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder,
            _ => Path::new("."),
        };
        let mut builder = tempfile::Builder::new();
        // as the other files of a run that a killed process has not finished, so that the next one clears it away
        builder.prefix(".unfinished-");
        // pictures are for sharing: as readable as any other new file, not private like most temporary ones
        #[cfg(unix)]
        builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
        let mut file = builder.tempfile_in(folder)?;
        file.write_all(bytes)?;
        file.as_file().sync_all()?;
        file.persist(path)?;
        Ok(())
    };
    write().map_err(|source| PlotError::Write { path: path.to_owned(), source })
}
