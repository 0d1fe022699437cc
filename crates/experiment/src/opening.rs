//! Opening and reading files that others may have put there.
use std::fs::{File, OpenOptions};
use std::io::{self, Read as _};
use std::path::Path;
#[cfg(unix)]
use std::sync::{Arc, Once};

#[cfg(unix)]
use rustix::fs::OFlags;

/// Opens a file to read it. What is no regular file, such as a pipe or a device, is refused: it may never end, and to
/// open it may wait for ever. A symbolic link is followed.
///
/// # Errors
/// Those of the system; and [`io::ErrorKind::InvalidInput`] for what is no regular file.
pub fn open_regular(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true);
    // a pipe would wait for its other end
    #[cfg(unix)]
    flags(&mut options, OFlags::NONBLOCK);
    regular(options.open(path)?)
}

/// Has a write beyond the size that the system allows a file be an error that can be told; unless told so, the process
/// is ended without a word. To be called before the first write.
pub(crate) fn outlive_size_limits() {
    #[cfg(unix)]
    {
        use signal_hook::consts::SIGXFSZ;

        static ONCE: Once = Once::new();
        ONCE.call_once(|| {
            // a handler that does nothing to be seen is enough for the write to return
            if let Err(error) = signal_hook::flag::register(SIGXFSZ, Arc::default()) {
                tracing::warn!("a file that grows beyond the system's limit will end this process: {error}");
            }
        });
    }
}

/// Opens a file of a run as `options` say, to write it: where a symbolic link or something that is no regular file
/// stands at its path, nothing is opened.
///
/// # Errors
/// Those of the system; and [`io::ErrorKind::InvalidInput`] for a link and for what is no regular file.
pub fn open_own(options: &mut OpenOptions, path: &Path) -> io::Result<File> {
    outlive_size_limits();
    #[cfg(unix)]
    flags(options, OFlags::NONBLOCK | OFlags::NOFOLLOW);
    let file = options.open(path).map_err(|error| match path.symlink_metadata() {
        Ok(about) if about.is_symlink() => refused("it is a symbolic link, which is not followed"),
        _ => error,
    })?;
    regular(file)
}

#[cfg(unix)]
fn flags(options: &mut OpenOptions, flags: OFlags) {
    std::os::unix::fs::OpenOptionsExt::custom_flags(options, flags.bits() as i32);
}

fn regular(file: File) -> io::Result<File> {
    if file.metadata()?.is_file() { Ok(file) } else { Err(refused("it is no regular file")) }
}

fn refused(fault: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, fault)
}

/// The content of a regular file of at most `most` bytes. No more than that is held in memory, whatever stands at
/// `path`.
///
/// # Errors
/// As [`open_regular`]; and [`io::ErrorKind::FileTooLarge`] for a longer file.
pub fn read_at_most(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    open_regular(path)?.take(most + 1).read_to_end(&mut bytes)?;
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
        assert_eq!(read_at_most(folder.path(), 5).unwrap_err().to_string(), "it is no regular file");
    }

    #[cfg(unix)]
    #[test]
    fn what_may_never_end_is_not_opened() {
        let folder = tempfile::tempdir().unwrap();
        let pipe = folder.path().join("pipe");
        let mode = rustix::fs::Mode::from_raw_mode(0o600);
        rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, mode, 0).unwrap();
        for path in [Path::new("/dev/zero"), &pipe] {
            assert_eq!(read_at_most(path, 1 << 10).unwrap_err().to_string(), "it is no regular file");
            let error = open_own(OpenOptions::new().read(true).write(true).create(true), path).unwrap_err();
            assert_eq!(error.to_string(), "it is no regular file");
        }
    }

    #[cfg(unix)]
    #[test]
    fn a_link_is_followed_to_read_and_not_to_write() {
        let folder = tempfile::tempdir().unwrap();
        let [file, link, nowhere] = ["file", "link", "nowhere"].map(|name| folder.path().join(name));
        std::fs::write(&file, "mine").unwrap();
        std::os::unix::fs::symlink(&file, &link).unwrap();
        std::os::unix::fs::symlink(folder.path().join("none"), &nowhere).unwrap();
        assert_eq!(read_at_most(&link, 5).unwrap(), b"mine");
        for link in [&link, &nowhere] {
            let error = open_own(OpenOptions::new().append(true).create(true), link).unwrap_err();
            assert_eq!(error.to_string(), "it is a symbolic link, which is not followed");
        }
        open_own(OpenOptions::new().append(true), &file).unwrap();
        assert!(!folder.path().join("none").exists());
    }
}
