//! Scalars for TensorBoard: event files written without its libraries.
//!
//! # Source
//! An event file is a sequence of records (`tensorflow/core/lib/io/record_writer.h`), each a little-endian
//! 64-bit length, the masked CRC-32C of those eight bytes, the data, and the masked CRC-32C of the data. The
//! data is an `Event` (`tensorflow/core/util/event.proto`): `double wall_time = 1`, `int64 step = 2`, and either
//! `string file_version = 3` or `Summary summary = 5`, whose `repeated Value value = 1` has `string tag = 1` and
//! `float simple_value = 2`.
use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use crc32c::crc32c;

use crate::error::RunError;
use crate::opening::open_own;
use crate::run_folder::create_folder;

/// Writes scalars into an event file that TensorBoard shows.
#[derive(Debug)]
pub struct EventWriter {
    path: PathBuf,
    file: BufWriter<File>,
}

impl EventWriter {
    /// Starts a new event file `events.out.tfevents.<seconds>.signalbox` in a folder, which is made where it is
    /// missing. A resumed run starts another file beside the earlier ones; TensorBoard joins them.
    ///
    /// # Errors
    /// [`RunError::Write`].
    pub fn create(folder: &Path) -> Result<Self, RunError> {
        create_folder(folder)?;
        let mut seconds = wall_time() as u64;
        let (path, file) = loop {
            let path = folder.join(format!("events.out.tfevents.{seconds:010}.signalbox"));
            match open_own(OpenOptions::new().write(true).create_new(true), &path) {
                Ok(file) => break (path, file),
                // a second writer within one second takes the next name
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => seconds += 1,
                Err(source) => return Err(RunError::Write { path, source }),
            }
        };
        let mut writer = Self { path, file: BufWriter::new(file) };
        writer.write(&version_event(wall_time()))?;
        Ok(writer)
    }

    /// The event file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes one value; TensorBoard keeps scalars as `f32`.
    ///
    /// # Errors
    /// [`RunError::Write`].
    pub fn scalar(&mut self, tag: &str, step: u64, value: f64) -> Result<(), RunError> {
        self.write(&scalar_event(wall_time(), tag, step, value as f32))
    }

    /// Hands everything to the system, so that TensorBoard sees it.
    ///
    /// # Errors
    /// [`RunError::Write`].
    pub fn flush(&mut self) -> Result<(), RunError> {
        self.file.flush().map_err(|source| RunError::Write { path: self.path.clone(), source })
    }

    fn write(&mut self, event: &[u8]) -> Result<(), RunError> {
        self.file
            .write_all(&record(event))
            .map_err(|source| RunError::Write { path: self.path.clone(), source })
    }
}

/// Seconds since 1970.
fn wall_time() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64())
}

fn version_event(wall_time: f64) -> Vec<u8> {
    let mut event = Vec::new();
    double(&mut event, 1, wall_time);
    bytes(&mut event, 3, b"brain.Event:2");
    event
}

fn scalar_event(wall_time: f64, tag: &str, step: u64, value: f32) -> Vec<u8> {
    let mut entry = Vec::new();
    bytes(&mut entry, 1, tag.as_bytes());
    entry.push(2 << 3 | 5);
    entry.extend(value.to_le_bytes());
    let mut summary = Vec::new();
    bytes(&mut summary, 1, &entry);
    let mut event = Vec::new();
    double(&mut event, 1, wall_time);
    // as every writer of the format does, a zero is left out
    if step > 0 {
        event.push(2 << 3);
        varint(&mut event, step);
    }
    bytes(&mut event, 5, &summary);
    event
}

/// A record with its length and its checksums.
fn record(data: &[u8]) -> Vec<u8> {
    let length = (data.len() as u64).to_le_bytes();
    let mut record = Vec::with_capacity(data.len() + 16);
    record.extend(length);
    record.extend(masked(&length));
    record.extend(data);
    record.extend(masked(data));
    record
}

/// The checksum as records carry it: turned and shifted, so that a checksum of data that holds checksums is no
/// weaker.
fn masked(data: &[u8]) -> [u8; 4] {
    crc32c(data).rotate_right(15).wrapping_add(0xa282_ead8).to_le_bytes()
}

/// A protobuf field of wire type 1.
fn double(out: &mut Vec<u8>, field: u8, value: f64) {
    out.push(field << 3 | 1);
    out.extend(value.to_le_bytes());
}

/// A protobuf field of wire type 2.
fn bytes(out: &mut Vec<u8>, field: u8, value: &[u8]) {
    out.push(field << 3 | 2);
    varint(out, value.len() as u64);
    out.extend(value);
}

/// Seven bits a byte, the lowest first, the high bit set on all but the last.
fn varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    /// The same scalars as in `tests/golden/events.py`, byte for byte as TensorBoard's own writer has them.
    #[test]
    fn golden() {
        let mut written = record(&version_event(1_700_000_000.0));
        written.extend(record(&scalar_event(1_700_000_001.25, "charts/SPS", 0, 123_456.0)));
        written.extend(record(&scalar_event(1_700_000_002.5, "losses/policy_loss", 128, -0.0123)));
        let long = format!("eval/{}", "x".repeat(200));
        written.extend(record(&scalar_event(1_700_000_003.0, &long, 1 << 40, f32::NAN)));
        written.extend(record(&scalar_event(1_700_000_003.0, "gewählt", 300, f32::INFINITY)));
        assert_eq!(written, include_bytes!("../tests/golden/events.tfevents"));
    }

    #[test]
    fn two_writers_in_one_second_have_files_of_their_own() {
        let folder = tempfile::tempdir().unwrap();
        let mut first = EventWriter::create(&folder.path().join("tensorboard")).unwrap();
        let second = EventWriter::create(&folder.path().join("tensorboard")).unwrap();
        assert_ne!(first.path(), second.path());
        first.scalar("a", 1, 0.5).unwrap();
        first.flush().unwrap();
        let name = first.path().file_name().unwrap().to_str().unwrap();
        assert!(name.starts_with("events.out.tfevents.") && name.ends_with(".signalbox"), "{name}");
        let expected = [record(&version_event(1.0)), record(&scalar_event(1.0, "a", 1, 0.5))].concat();
        assert_eq!(fs::read(first.path()).unwrap().len(), expected.len());
    }
}
