//! `metrics.jsonl`: one JSON object a line, appended to as the run goes on.
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, BufWriter, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use crate::atomic::write_atomic;
use crate::error::RunError;
use crate::opening::{open_own, open_regular};

/// No record is longer: whatever is, is another file, and must not be read into memory whole.
const LONGEST_LINE: u64 = 1 << 20;

/// One line of the metrics.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Record {
    /// Environment steps, images or tokens so far.
    pub step: u64,
    /// Updates so far.
    pub update: u64,
    /// Everything else, by name; what was not finite when written is NaN here.
    pub values: BTreeMap<String, f64>,
}

/// Appends records to a metrics file.
///
/// Lines gather in memory until [`flush`](Self::flush) or [`sync`](Self::sync). A run that is killed loses what
/// was not flushed and may leave half a line; [`append`](Self::append) and [`resume`](Self::resume) take that
/// half line away.
#[derive(Debug)]
pub struct MetricsWriter {
    path: PathBuf,
    file: BufWriter<File>,
    line: Vec<u8>,
}

impl MetricsWriter {
    /// Starts the file of a new run.
    ///
    /// # Errors
    /// [`RunError::Write`], also where the file exists: metrics are never overwritten.
    pub fn create(path: &Path) -> Result<Self, RunError> {
        let file = open_own(OpenOptions::new().write(true).create_new(true), path);
        file.map(|file| Self::over(path, file)).map_err(|source| unwritable(path, source))
    }

    /// Goes on with a file, or starts it where there is none. A last line without its line end, torn off when
    /// the run was killed, is dropped with a warning.
    ///
    /// # Errors
    /// [`RunError::Write`].
    pub fn append(path: &Path) -> Result<Self, RunError> {
        Self::cut(path, |_, whole_lines| Ok(whole_lines))
    }

    /// Goes on with a file from a checkpoint of `update`: every record after that update is dropped, as is a
    /// torn last line, so that the run writes them anew.
    ///
    /// # Errors
    /// [`RunError::Write`], and the errors of [`read_metrics`].
    pub fn resume(path: &Path, update: u64) -> Result<Self, RunError> {
        Self::cut(path, |file, _| {
            let mut lines = Lines::new(path, file);
            let mut end = 0;
            while let Some(record) = lines.next_record()? {
                if record.update > update {
                    break;
                }
                end = lines.offset;
            }
            Ok(end)
        })
    }

    /// Opens the file and cuts it where `end` says, which is told where the last whole line ends.
    fn cut(path: &Path, end: impl FnOnce(&mut File, u64) -> Result<u64, RunError>) -> Result<Self, RunError> {
        let fail = |source| unwritable(path, source);
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false);
        let mut file = open_own(&mut options, path).map_err(fail)?;
        let length = file.metadata().map_err(fail)?.len();
        let whole_lines = end_of_last_line(&mut file).map_err(fail)?;
        if whole_lines < length {
            tracing::warn!(
                "{}: dropped the last line, which was cut off after {} bytes",
                path.display(),
                length - whole_lines
            );
        }
        let end = end(&mut file, whole_lines)?;
        file.set_len(end).map_err(fail)?;
        file.seek(SeekFrom::Start(end)).map_err(fail)?;
        Ok(Self::over(path, file))
    }

    fn over(path: &Path, file: File) -> Self {
        Self { path: path.to_owned(), file: BufWriter::new(file), line: Vec::new() }
    }

    /// Writes one record: `step`, `update`, then `values` as given. A value that is not finite becomes `null`.
    ///
    /// # Errors
    /// [`RunError::ReservedMetric`] for a value named `step` or `update`; [`RunError::Write`].
    pub fn log(&mut self, step: u64, update: u64, values: &[(&str, f64)]) -> Result<(), RunError> {
        if let Some((name, _)) = values.iter().find(|(name, _)| matches!(*name, "step" | "update")) {
            return Err(RunError::ReservedMetric { name: (*name).to_owned() });
        }
        self.line.clear();
        write_line(&mut self.line, step, update, values)
            .and_then(|()| self.file.write_all(&self.line))
            .map_err(|source| unwritable(&self.path, source))
    }

    /// Hands everything to the system: it survives the end of this process.
    ///
    /// # Errors
    /// [`RunError::Write`].
    pub fn flush(&mut self) -> Result<(), RunError> {
        self.file.flush().map_err(|source| unwritable(&self.path, source))
    }

    /// Hands everything to the disk: it survives the end of the machine. To be called before a checkpoint is
    /// saved, so that no checkpoint is ahead of the metrics.
    ///
    /// # Errors
    /// [`RunError::Write`].
    pub fn sync(&mut self) -> Result<(), RunError> {
        self.flush()?;
        self.file.get_ref().sync_data().map_err(|source| unwritable(&self.path, source))
    }
}

fn unwritable(path: &Path, source: io::Error) -> RunError {
    RunError::Write { path: path.to_owned(), source }
}

fn write_line(line: &mut Vec<u8>, step: u64, update: u64, values: &[(&str, f64)]) -> io::Result<()> {
    write!(line, r#"{{"step":{step},"update":{update}"#)?;
    for (name, value) in values {
        line.push(b',');
        serde_json::to_writer(&mut *line, name)?;
        line.push(b':');
        // serde_json prints the shortest digits that read back as the same number, and null for NaN and infinity
        serde_json::to_writer(&mut *line, value)?;
    }
    line.extend_from_slice(b"}\n");
    Ok(())
}

/// The offset after the last line end, found from the back of the file.
fn end_of_last_line(file: &mut File) -> io::Result<u64> {
    let mut end = file.seek(SeekFrom::End(0))?;
    let mut chunk = vec![0; 1 << 16];
    while end > 0 {
        let begin = end.saturating_sub(chunk.len() as u64);
        let chunk = &mut chunk[..(end - begin) as usize];
        file.seek(SeekFrom::Start(begin))?;
        file.read_exact(chunk)?;
        if let Some(at) = chunk.iter().rposition(|byte| *byte == b'\n') {
            return Ok(begin + at as u64 + 1);
        }
        end = begin;
    }
    Ok(0)
}

/// Reads a metrics file, also one that is still being written: a last line without its line end is left out.
///
/// # Errors
/// [`RunError::Read`], or [`RunError::Metrics`] naming the first line that is not a record.
pub fn read_metrics(path: &Path) -> Result<Vec<Record>, RunError> {
    let unreadable = |source| RunError::Read { path: path.to_owned(), source };
    let mut lines = Lines::new(path, open_regular(path).map_err(unreadable)?);
    let mut records = Vec::new();
    while let Some(record) = lines.next_record()? {
        records.push(record);
    }
    Ok(records)
}

/// The records of a file from its beginning, one line in memory at a time.
struct Lines<'a, R> {
    path: &'a Path,
    reader: BufReader<R>,
    line: Vec<u8>,
    number: usize,
    /// Where the line after the last one read begins.
    offset: u64,
}

impl<'a, R: Read + Seek> Lines<'a, R> {
    fn new(path: &'a Path, source: R) -> Self {
        Self { path, reader: BufReader::new(source), line: Vec::new(), number: 0, offset: 0 }
    }

    /// The next record; nothing at the end of the file or of its last whole line.
    fn next_record(&mut self) -> Result<Option<Record>, RunError> {
        let unreadable = |source| RunError::Read { path: self.path.to_owned(), source };
        if self.number == 0 {
            self.reader.rewind().map_err(unreadable)?;
        }
        self.number += 1;
        self.line.clear();
        self.reader.by_ref().take(LONGEST_LINE).read_until(b'\n', &mut self.line).map_err(unreadable)?;
        let fault =
            |fault: String| RunError::Metrics { path: self.path.to_owned(), line: self.number, fault };
        let Some(line) = self.line.strip_suffix(b"\n") else {
            return if self.line.len() as u64 == LONGEST_LINE {
                Err(fault(format!("longer than {LONGEST_LINE} bytes, this is not a metrics file")))
            } else {
                Ok(None)
            };
        };
        self.offset += self.line.len() as u64;
        parse_line(line).map(Some).map_err(fault)
    }
}

fn parse_line(line: &[u8]) -> Result<Record, String> {
    let mut object: Map<String, Value> = serde_json::from_slice(line)
        .map_err(|error| format!("not a JSON object, see column {}", error.column()))?;
    let mut count = |key| match object.remove(key) {
        Some(value) => value.as_u64().ok_or_else(|| format!("`{key}` is not a count: {value}")),
        None => Err(format!("`{key}` is missing")),
    };
    let (step, update) = (count("step")?, count("update")?);
    let values = object.into_iter().map(|(key, value)| match value {
        Value::Null => Ok((key, f64::NAN)),
        Value::Number(number) => Ok((key, number.as_f64().unwrap_or(f64::NAN))),
        _ => Err(format!("{key:?} is not a number")),
    });
    Ok(Record { step, update, values: values.collect::<Result<_, _>>()? })
}

/// Writes records as a CSV table: `step`, `update`, then every name that occurs, sorted. A value that is missing
/// or not finite leaves its cell empty.
///
/// # Errors
/// [`RunError::Write`].
pub fn write_csv(records: &[Record], path: &Path) -> Result<(), RunError> {
    let names: BTreeSet<&str> =
        records.iter().flat_map(|record| record.values.keys().map(String::as_str)).collect();
    let table = csv_table(records, &names).map_err(|source| unwritable(path, source))?;
    write_atomic(path, &table)
}

fn csv_table(records: &[Record], names: &BTreeSet<&str>) -> io::Result<Vec<u8>> {
    let mut table = csv::Writer::from_writer(Vec::new());
    table.write_record(["step", "update"].into_iter().chain(names.iter().copied()))?;
    for Record { step, update, values } in records {
        table.write_field(step.to_string())?;
        table.write_field(update.to_string())?;
        for name in names {
            let value = values.get(*name).filter(|value| value.is_finite());
            table.write_field(value.map(|value| format!("{value:?}")).unwrap_or_default())?;
        }
        table.write_record(None::<&[u8]>)?;
    }
    table.into_inner().map_err(csv::IntoInnerError::into_error)
}
