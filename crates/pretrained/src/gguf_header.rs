//! What stands before the data of a GGUF file is looked through before it is read: candle keeps every value in the same
//! number of bytes, however small it is in the file.

use std::io::{Read, Seek, SeekFrom};

/// Bytes that a value takes in memory.
const VALUE: u64 = 32;

/// Bytes that the values of a header may take whatever the file's length.
const FREE: u64 = 1 << 20;

/// The kinds of values that have no size of their own: strings and lists.
const STRING: u32 = 8;
const LIST: u32 = 9;

/// Refuses a header whose values take more than twice the memory of the file, one with lists within lists, and one with
/// an alignment of 0. Leaves the reader at its beginning.
///
/// # Errors
/// What is wrong with it.
pub(crate) fn require_bounded<R: Read + Seek>(reader: &mut R, length: u64) -> Result<(), String> {
    let walked = Walk { reader, length, values: 0, narrow: false }.metadata();
    reader.seek(SeekFrom::Start(0)).map_err(|error| error.to_string())?;
    walked
}

struct Walk<'a, R> {
    reader: &'a mut R,
    length: u64,
    values: u64,
    /// Whether lengths have four bytes, as in the first version.
    narrow: bool,
}

impl<R: Read + Seek> Walk<'_, R> {
    fn metadata(&mut self) -> Result<(), String> {
        let magic = self.number(4)?;
        if magic != 0x4655_4747 {
            return Err("it is no GGUF file".to_owned());
        }
        self.narrow = self.number(4)? == 1;
        self.count()?;
        for _ in 0..self.count()? {
            let key = self.key()?;
            let kind = self.number(4)? as u32;
            if key == b"general.alignment" && kind != STRING && kind != LIST {
                let value = self.number(size(kind)?)?;
                if value == 0 {
                    return Err("its alignment is 0".to_owned());
                }
            } else {
                self.value(kind)?;
            }
        }
        Ok(())
    }

    fn value(&mut self, kind: u32) -> Result<(), String> {
        self.took(1)?;
        match kind {
            STRING => self.text(),
            LIST => {
                let (kind, count) = (self.number(4)? as u32, self.count()?);
                self.took(count)?;
                match kind {
                    STRING => (0..count).try_for_each(|_| self.text()),
                    LIST => Err("it has lists within lists".to_owned()),
                    kind => self.skip(count.saturating_mul(size(kind)?)),
                }
            }
            kind => self.skip(size(kind)?),
        }
    }

    fn took(&mut self, count: u64) -> Result<(), String> {
        self.values = self.values.saturating_add(count);
        if self.values.saturating_mul(VALUE) > self.length.saturating_mul(2).saturating_add(FREE) {
            return Err(format!("its header says {} values, more than such a file has", self.values));
        }
        Ok(())
    }

    fn key(&mut self) -> Result<Vec<u8>, String> {
        let length = self.count()?;
        if length > 1 << 16 {
            return Err(format!("a key of it has {length} bytes"));
        }
        let mut key = vec![0; length as usize];
        self.reader.read_exact(&mut key).map_err(|_| cut_short())?;
        Ok(key)
    }

    fn text(&mut self) -> Result<(), String> {
        let length = self.count()?;
        self.skip(length)
    }

    fn count(&mut self) -> Result<u64, String> {
        let bytes = if self.narrow { 4 } else { 8 };
        self.number(bytes)
    }

    fn number(&mut self, bytes: u64) -> Result<u64, String> {
        let mut buffer = [0; 8];
        self.reader.read_exact(&mut buffer[..bytes as usize]).map_err(|_| cut_short())?;
        Ok(u64::from_le_bytes(buffer))
    }

    fn skip(&mut self, bytes: u64) -> Result<(), String> {
        let at = self.reader.stream_position().map_err(|error| error.to_string())?;
        if bytes > self.length.saturating_sub(at) {
            return Err(cut_short());
        }
        self.reader.seek_relative(bytes as i64).map_err(|error| error.to_string())
    }
}

fn cut_short() -> String {
    "it is no GGUF file, or cut short".to_owned()
}

/// Bytes of a value in the file.
fn size(kind: u32) -> Result<u64, String> {
    match kind {
        0 | 1 | 7 => Ok(1),
        2 | 3 => Ok(2),
        4..=6 => Ok(4),
        10..=12 => Ok(8),
        other => Err(format!("it has values of the kind {other}, which there is not")),
    }
}
