//! Runs that are killed again and again, as by a power cut, and end as if nobody had.
use std::time::Duration;

use crate::workspace::Workspace;

/// How often a run is killed, and how far apart.
pub(crate) struct Kills<'a> {
    /// The command of the run, into the folder `run`.
    pub train: &'a str,
    /// SIGKILLs.
    pub times: usize,
    /// Updates or more between two of them.
    pub apart: u64,
    /// Updates of the whole run.
    pub total: u64,
}

impl Kills<'_> {
    /// Kills the run at moments that nothing was planned for, resumes it each time, and lets it end.
    ///
    /// # Panics
    /// Panics where the run ends before it was killed often enough, or not well.
    pub(crate) fn survive(&self, ws: &Workspace) {
        // a linear congruential generator: the same pauses at every run
        let mut state: u64 = 20_241_124;
        let mut pause = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            Duration::from_micros((state >> 33) % 40_000)
        };
        let (mut kills, mut newest) = (0, 0);
        while kills < self.times {
            let line = if ws.path("run/config.toml").exists() { "resume run" } else { self.train };
            let mut running = ws.start(line);
            // some before anything is written, most a little past a new checkpoint
            if kills % 6 != 0 {
                running.wait_until(|| newest_update(ws) > newest + self.apart);
            }
            std::thread::sleep(pause());
            newest = newest_update(ws).max(newest);
            if newest >= self.total || !running.kill() {
                break;
            }
            kills += 1;
            if !ws.path("run/manifest.json").exists() || newest_update(ws) == 0 {
                // cut off before its first checkpoint: there is nothing to go on from
                std::fs::remove_dir_all(ws.path("run")).ok();
            }
        }
        assert_eq!(kills, self.times, "it ended after update {newest}, before it was killed often enough");
        let ended = ws.start("resume run").end();
        assert_eq!(ended.code, Some(0), "{ended:?}");
        // a line may have been torn in writing, and that it was dropped is worth a word
        assert!(ended.stderr.lines().all(|line| line.starts_with("warning: ")), "{}", ended.stderr);
    }
}

/// The update of the newest checkpoint of the run in the folder `run`, 0 without one.
pub(crate) fn newest_update(ws: &Workspace) -> u64 {
    let Ok(entries) = std::fs::read_dir(ws.path("run/checkpoints")) else { return 0 };
    let update = |name: &str| name.strip_prefix("update-")?.strip_suffix(".safetensors")?.parse().ok();
    entries.filter_map(|entry| update(entry.unwrap().file_name().to_str()?)).max().unwrap_or(0)
}
