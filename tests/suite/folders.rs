//! A model of run folders: random sequences of what runs and their users do, against the real binary.
//!
//! Whatever happens, no file is lost that a user or a finished run owns, no unfinished run falls back behind its newest
//! checkpoint, and what can go on ends as the undisturbed run. `SIGNALBOX_SEQUENCES` says how many sequences, and
//! `SIGNALBOX_FIRST` with which to begin.
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;
use std::time::Duration;

use experiment::Xoshiro256PlusPlus;
use rand::{RngExt, SeedableRng};

use crate::files::assert_same_run;
use crate::workspace::{Running, Tree, Workspace};

const SETTINGS: &str = "--seed 5 --set train.updates=60 --set eval.every=20 --set checkpoint.every=4 \
     --set env.num_envs=4 --set train.num_steps=4 --set eval.num_envs=1";

static UNDISTURBED: LazyLock<Tree> = LazyLock::new(|| {
    let ws = Workspace::new();
    ws.done(&format!("train {SETTINGS} --out run"));
    ws.tree("run")
});

const NAMES: [&str; 3] = ["a", "b", "c"];

/// A folder that is no run's and that links lead to.
const MINE: &str = "mine";

#[derive(Clone, Copy, Debug)]
enum Act {
    Train,
    Resume,
    KillTraining,
    KillResumed,
    TwoAtOnce,
    Delete,
    Rename,
    DeleteAtWork,
    RenameAtWork,
    Note,
    OtherVersion,
    Link,
    Evaluate,
}

/// Runs that are cut off come more often: only they have something to lose and to go on with.
const ACTS: [Act; 17] = [
    Act::Train,
    Act::Resume,
    Act::KillTraining,
    Act::KillTraining,
    Act::KillTraining,
    Act::KillTraining,
    Act::KillResumed,
    Act::KillResumed,
    Act::TwoAtOnce,
    Act::Delete,
    Act::Rename,
    Act::DeleteAtWork,
    Act::RenameAtWork,
    Act::Note,
    Act::OtherVersion,
    Act::Link,
    Act::Evaluate,
];

/// What must be there, by its path in the workspace.
struct Model {
    ws: Workspace,
    /// The same acts at every run.
    dice: Xoshiro256PlusPlus,
    owned: BTreeMap<PathBuf, Vec<u8>>,
    /// The newest checkpoint of each unfinished run.
    newest: BTreeMap<&'static str, u64>,
    /// Notes that were written.
    notes: usize,
}

fn train(name: &str) -> String {
    format!("train {SETTINGS} --out {name}")
}

fn is_link(path: &Path) -> bool {
    path.symlink_metadata().is_ok_and(|about| about.is_symlink())
}

fn newest_in(folder: &Path) -> u64 {
    let Ok(entries) = fs::read_dir(folder.join("checkpoints")) else { return 0 };
    let update = |name: &str| name.strip_prefix("update-")?.strip_suffix(".safetensors")?.parse().ok();
    entries.filter_map(|entry| update(entry.ok()?.file_name().to_str()?)).max().unwrap_or(0)
}

impl Model {
    fn new(number: u64) -> Self {
        let ws = Workspace::new();
        fs::create_dir(ws.path(MINE)).unwrap();
        ws.write("mine/config.toml", "mine = true\n");
        ws.write("mine/thesis.txt", "years of work\n");
        let owned = ws.tree(MINE).into_iter().map(|(path, bytes)| (Path::new(MINE).join(path), bytes));
        let owned = owned.collect();
        Self { ws, dice: Xoshiro256PlusPlus::seed_from_u64(number), owned, newest: BTreeMap::new(), notes: 0 }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.ws.path(name)
    }

    /// What the user takes away, or elsewhere, is no longer there to be lost.
    fn forget(&mut self, name: &str) {
        self.owned.retain(|path, _| !path.starts_with(name));
        self.newest.remove(name);
    }

    fn follow(&mut self, from: &'static str, to: &'static str) {
        let moved: Vec<PathBuf> = self.owned.keys().filter(|path| path.starts_with(from)).cloned().collect();
        for path in moved {
            let bytes = self.owned.remove(&path).unwrap();
            self.owned.insert(Path::new(to).join(path.strip_prefix(from).unwrap()), bytes);
        }
        if let Some(update) = self.newest.remove(from) {
            self.newest.insert(to, update);
        }
    }

    /// What is there now and must stay: all of a finished run, the newest checkpoint of another.
    fn learn(&mut self) {
        for name in NAMES {
            if !self.path(name).is_dir() || is_link(&self.path(name)) {
                continue;
            }
            if self.path(name).join("summary.json").exists() {
                self.newest.remove(name);
                for (path, bytes) in self.ws.tree(name) {
                    self.owned.entry(Path::new(name).join(path)).or_insert(bytes);
                }
            } else {
                self.newest.insert(name, newest_in(&self.path(name)));
            }
        }
    }

    fn require(&self, when: &str) {
        for (path, bytes) in &self.owned {
            let found = fs::read(self.ws.path(".").join(path));
            let found = found.unwrap_or_else(|error| panic!("{when}: {} is lost: {error}", path.display()));
            assert!(found == *bytes, "{when}: {} is not what it was", path.display());
        }
        for (name, update) in &self.newest {
            let now = newest_in(&self.path(name));
            assert!(now >= *update, "{when}: {name} fell from update {update} to {now}");
        }
    }

    /// Lets it work for a moment that nothing was planned for.
    fn pause(&mut self, running: &mut Running, name: &str) {
        let (folder, begun) = (self.path(name), newest_in(&self.path(name)));
        if self.dice.random_range(0..4) > 0 {
            running.wait_until(|| newest_in(&folder) > begun);
        }
        std::thread::sleep(Duration::from_micros(self.dice.random_range(0..20_000)));
    }

    fn act(&mut self, act: Act, name: &'static str, other: &'static str) {
        let folder = self.path(name);
        let exists = folder.symlink_metadata().is_ok();
        match act {
            Act::Train => {
                self.ws.run(&train(name));
            }
            Act::Resume => {
                self.ws.run(&format!("resume {name}"));
            }
            Act::Evaluate => {
                self.ws.run(&format!("eval {name} --repeats 1 --threads 1"));
            }
            Act::KillTraining | Act::KillResumed => {
                let line =
                    if matches!(act, Act::KillTraining) { train(name) } else { format!("resume {name}") };
                let mut running = self.ws.start(&line);
                self.pause(&mut running, name);
                running.kill();
            }
            Act::TwoAtOnce => {
                let line = if exists { format!("resume {name}") } else { train(name) };
                let both = [self.ws.start(&line), self.ws.start(&line)];
                let ended = both.map(Running::end);
                // a finished run is resumed at once, by whoever asks
                let well = ended.iter().filter(|ended| ended.code == Some(0)).count();
                assert!(exists || well < 2, "both say that they have trained it: {ended:?}");
            }
            Act::Delete => self.delete(name),
            Act::Rename => {
                if exists && self.path(other).symlink_metadata().is_err() {
                    fs::rename(&folder, self.path(other)).unwrap();
                    self.follow(name, other);
                }
            }
            Act::DeleteAtWork | Act::RenameAtWork => {
                let line = if exists { format!("resume {name}") } else { train(name) };
                let mut running = self.ws.start(&line);
                self.pause(&mut running, name);
                if matches!(act, Act::DeleteAtWork) {
                    self.delete(name);
                } else if folder.symlink_metadata().is_ok() && self.path(other).symlink_metadata().is_err() {
                    fs::rename(&folder, self.path(other)).unwrap();
                    self.follow(name, other);
                }
                running.end();
            }
            Act::Note => {
                if !is_link(&folder) {
                    fs::create_dir_all(&folder).unwrap();
                    self.notes += 1;
                    let (path, text) =
                        (format!("{name}/notes{}.txt", self.notes), format!("note {}\n", self.notes));
                    self.ws.write(&path, &text);
                    self.owned.insert(path.into(), text.into_bytes());
                }
            }
            Act::OtherVersion => {
                let manifest = folder.join("manifest.json");
                if !is_link(&folder)
                    && let Ok(text) = fs::read_to_string(&manifest)
                {
                    let newer = text.replace(env!("CARGO_PKG_VERSION"), "99.0.0");
                    fs::write(&manifest, &newer).unwrap();
                    if let Some(bytes) = self.owned.get_mut(&Path::new(name).join("manifest.json")) {
                        *bytes = newer.into_bytes();
                    }
                }
            }
            Act::Link => {
                if !exists {
                    symlink(MINE, &folder).unwrap();
                }
            }
        }
    }

    fn delete(&mut self, name: &str) {
        let path = self.path(name);
        if is_link(&path) {
            fs::remove_file(&path).unwrap();
        } else {
            // what is deleted one by one may get a new file in between
            while path.exists() && fs::remove_dir_all(&path).is_err() {}
        }
        self.forget(name);
    }

    /// Lets every run end that has a checkpoint.
    fn end(&mut self, when: &str) -> usize {
        let names: Vec<&str> =
            self.newest.iter().filter(|(_, update)| **update > 0).map(|(name, _)| *name).collect();
        for name in &names {
            let ended = self.ws.run(&format!("resume {name}"));
            assert_eq!(ended.code, Some(0), "{when}: {name}: {}", ended.stderr);
            assert_same_run(&self.ws.tree(name), &UNDISTURBED);
        }
        self.require(when);
        names.len()
    }
}

fn number(variable: &str, default: u64) -> u64 {
    std::env::var(variable).map_or(default, |value| value.parse().unwrap())
}

#[test]
fn no_sequence_loses_a_file_of_a_user_or_of_a_finished_run() {
    let (first, count) = (number("SIGNALBOX_FIRST", 0), number("SIGNALBOX_SEQUENCES", 2));
    let (mut acts, mut gone_on) = (0, 0);
    for sequence in first..first + count {
        let mut model = Model::new(sequence);
        let mut when = format!("sequence {sequence}");
        for _ in 0..8 {
            let act = ACTS[model.dice.random_range(0..ACTS.len())];
            let from = model.dice.random_range(0..NAMES.len());
            let to = (from + 1 + model.dice.random_range(0..NAMES.len() - 1)) % NAMES.len();
            write!(when, ", {act:?} {}", NAMES[from]).unwrap();
            model.act(act, NAMES[from], NAMES[to]);
            model.require(&when);
            model.learn();
            acts += 1;
        }
        gone_on += model.end(&when);
    }
    assert!(count == 0 || acts == 8 * count);
    // shown with --nocapture
    let counted = format!("{count} sequences from {first} on, {acts} acts, {gone_on} runs gone on with\n");
    std::io::Write::write_all(&mut std::io::stdout(), counted.as_bytes()).unwrap();
}
