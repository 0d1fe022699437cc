//! What a run was: written to `manifest.json`, so that a result can be repeated.
use std::collections::BTreeMap;
use std::env;
use std::fmt::Display;
use std::io;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::cli::MOST_THREADS;
use crate::error::RunError;
use crate::opening::read_at_most;

/// No manifest is longer, command line included.
const LONGEST: u64 = 4 << 20;

/// What ran, with which seed, on what, when. It names no host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// The binary, such as `ppo-routed`.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Operating system and processor family, such as `linux-x86_64`: results repeat to the bit only there.
    pub platform: String,
    /// The commit that was checked out when the binary was built, where it is known.
    #[serde(default)]
    pub commit: Option<String>,
    /// The class of the machine, its platform and the widest vector instructions that are used, such as
    /// `linux-x86_64-avx512f`. Sums round otherwise on another.
    #[serde(default)]
    pub machine: String,
    /// The seed of every random stream.
    pub seed: u64,
    /// The threads it computed with.
    pub threads: usize,
    /// The device, such as `cpu` or `cuda:0`.
    pub device: String,
    /// Which class of data trains which part of the network: a table for each method, by its name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub routes: BTreeMap<String, Value>,
    /// What the run writes on request, each time it goes on.
    #[serde(default)]
    pub outputs: AskedOutputs,
    /// The command line, the program without its folder.
    pub command_line: Vec<String>,
    /// When the run began, RFC 3339 in UTC.
    pub started: String,
    /// When it went on after an interruption, each time; RFC 3339 in UTC.
    #[serde(default)]
    pub resumed: Vec<String>,
    /// When it was done, RFC 3339 in UTC; nothing while it runs or after it was cut off.
    pub finished: Option<String>,
}

/// Files that a run writes only where it was asked for them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AskedOutputs {
    /// `metrics.csv` at the end.
    pub csv: bool,
    /// Event files for `TensorBoard`.
    pub tensorboard: bool,
}

impl Manifest {
    /// The manifest of a run that begins now, with the command line of this process.
    pub fn new(
        name: &str,
        version: &str,
        seed: u64,
        threads: usize,
        device: &(impl Display + ?Sized),
    ) -> Self {
        let mut command_line: Vec<String> =
            env::args_os().map(|argument| argument.to_string_lossy().into_owned()).collect();
        if let Some(program) = command_line.first_mut()
            && let Some(file) = Path::new(program.as_str()).file_name()
        {
            *program = file.to_string_lossy().into_owned();
        }
        let platform = format!("{}-{}", env::consts::OS, env::consts::ARCH);
        Self {
            name: name.to_owned(),
            version: version.to_owned(),
            commit: None,
            machine: [platform.as_str(), vectors()].join("-").trim_end_matches('-').to_owned(),
            platform,
            seed,
            threads,
            device: device.to_string(),
            routes: BTreeMap::new(),
            outputs: AskedOutputs::default(),
            command_line,
            started: utc_timestamp(SystemTime::now()),
            resumed: Vec::new(),
            finished: None,
        }
    }

    /// Reads the manifest of an earlier run.
    ///
    /// # Errors
    /// [`RunError::Read`], also where the file is no manifest or names a number of threads that cannot be started;
    /// [`RunError::NotBegun`] where there is none.
    pub fn read(path: &Path) -> Result<Self, RunError> {
        let read = || -> io::Result<Self> {
            let manifest: Self = serde_json::from_slice(&read_at_most(path, LONGEST)?)?;
            if !(1..=MOST_THREADS).contains(&manifest.threads) {
                let fault =
                    format!("threads must lie between 1 and {MOST_THREADS}, got {}", manifest.threads);
                return Err(io::Error::new(io::ErrorKind::InvalidData, fault));
            }
            Ok(manifest)
        };
        read().map_err(|source| match source.kind() {
            io::ErrorKind::NotFound => RunError::NotBegun { path: path.to_owned() },
            _ => RunError::Read { path: path.to_owned(), source },
        })
    }

    /// Notes that the run goes on now after an interruption.
    pub fn resume(&mut self) {
        self.resumed.push(utc_timestamp(SystemTime::now()));
        self.finished = None;
    }

    /// Notes that the run is done now.
    pub fn finish(&mut self) {
        self.finished = Some(utc_timestamp(SystemTime::now()));
    }
}

/// The widest vector instructions that this processor has and the kernels use.
fn vectors() -> &'static str {
    #[cfg(target_arch = "x86_64")]
    {
        if std::arch::is_x86_feature_detected!("avx512f") {
            return "avx512f";
        }
        if std::arch::is_x86_feature_detected!("avx2") {
            return "avx2";
        }
    }
    ""
}

/// A point in time as RFC 3339 in UTC, to the second: `2026-02-28T23:59:59Z`. Times before 1970 count as 1970.
pub fn utc_timestamp(time: SystemTime) -> String {
    let seconds = time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let (days, second) = (seconds / 86_400, seconds % 86_400);
    let (year, month, day) = civil(days);
    format!("{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}Z", second / 3600, second / 60 % 60, second % 60)
}

/// Year, month and day of a count of days since 1970-01-01.
///
/// # Source
/// Howard Hinnant, "chrono-compatible low-level date algorithms", `civil_from_days`. Years begin in March
/// there, so that the leap day is the last of its year.
fn civil(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    (year_of_era + era * 400 + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn timestamps() {
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_399, "2000-02-28T23:59:59Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (1_000_000_000, "2001-09-09T01:46:40Z"),
            (1_709_251_199, "2024-02-29T23:59:59Z"),
            (1_767_225_599, "2025-12-31T23:59:59Z"),
            (4_107_542_400, "2100-03-01T00:00:00Z"),
        ] {
            assert_eq!(utc_timestamp(UNIX_EPOCH + Duration::from_secs(seconds)), text);
        }
    }

    #[test]
    fn the_program_is_named_without_its_folder() {
        let manifest = Manifest::new("ppo-routed", "0.1.0", 1, 2, "cpu");
        assert!(!manifest.command_line[0].contains(std::path::MAIN_SEPARATOR), "{:?}", manifest.command_line);
    }

    #[test]
    fn a_number_of_threads_that_cannot_be_started_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("manifest.json");
        let mut manifest = Manifest::new("ppo-routed", "0.1.0", 1, MOST_THREADS, "cpu");
        let mut read = |threads: usize| {
            manifest.threads = threads;
            std::fs::write(&path, serde_json::to_vec(&manifest).unwrap()).unwrap();
            Manifest::read(&path)
        };
        assert_eq!(read(MOST_THREADS).unwrap().threads, MOST_THREADS);
        for threads in [0, MOST_THREADS + 1, usize::MAX] {
            let error = read(threads).unwrap_err();
            let source = std::error::Error::source(&error).unwrap().to_string();
            assert_eq!(source, format!("threads must lie between 1 and 1024, got {threads}"));
        }
    }

    #[test]
    fn a_manifest_without_later_fields_is_read() {
        let mut manifest = Manifest::new("ppo-routed", "0.1.0", 1, 2, "cpu");
        let mut json = serde_json::to_value(&manifest).unwrap();
        for key in ["resumed", "commit", "machine", "outputs"] {
            json.as_object_mut().unwrap().remove(key);
        }
        manifest.machine.clear();
        assert_eq!(serde_json::from_value::<Manifest>(json).unwrap(), manifest);
        manifest.finish();
        manifest.resume();
        assert_eq!((manifest.finished, manifest.resumed.len()), (None, 1));
    }
}
