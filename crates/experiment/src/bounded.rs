//! Reading files that others may have put there.
use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

/// The content of a file of at most `most` bytes. No more than that is held in memory, whatever stands at `path`.
///
/// # Errors
/// Those of the system; and [`io::ErrorKind::FileTooLarge`] for a longer file.
pub fn read_at_most(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(most + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > most {
        let fault = format!("it is longer than {most} bytes, which no such file is");
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, fault));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_longer_file_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        std::fs::write(&path, "12345").unwrap();
        assert_eq!(read_at_most(&path, 5).unwrap(), b"12345");
        let error = read_at_most(&path, 4).unwrap_err();
        assert_eq!(error.to_string(), "it is longer than 4 bytes, which no such file is");
        assert!(read_at_most(folder.path(), 5).is_err(), "a folder is no file");
    }

    #[cfg(unix)]
    #[test]
    fn a_file_without_an_end_is_refused() {
        assert!(read_at_most(Path::new("/dev/zero"), 1 << 10).is_err());
    }
}
