//! A folder to run the binary in, and what comes of it.
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// Settings with which a run takes a fraction of a second; later `--set` options go over them.
pub(crate) const TINY: &str = "--set env.num_envs=8 --set train.num_steps=8 --set train.updates=2 \
    --set eval.every=1 --set eval.num_envs=4 --set checkpoint.every=2 \
    --set ppo.update_epochs=1 --set ppo.num_minibatches=1";

/// The same for mnist-routed, on the digits that come with it.
pub(crate) const TINY_MNIST: &str = "--set data.dataset=sample --set model.hidden=[16,8] --set model.latent=8 \
    --set train.epochs=2 --set train.batch_size=50 --set checkpoint.every=1";

/// As [`TINY`], for lm-routed on texts that stand in the workspace.
pub(crate) const TINY_LM: &str = "--set data.train=texts.jsonl --set data.validation=\"\" --set data.validation_documents=30 \
    --set data.cache=cache --set data.vocab_size=420 --set model.n_layer=2 --set model.n_head=2 \
    --set model.n_embd=16 --set model.d_mlp=32 --set model.block_size=24 --set train.steps=12 \
    --set train.batch_size=4 --set train.warmup_steps=2 --set routing.layers=[0] --set routing.extra_neurons=4 \
    --set coherence.stories=4 --set coherence.steps=2 --set coherence.validation_stories=4 \
    --set retrain.stories=[1,2] --set retrain.steps=2 --set retrain.every=1 --set retrain.repeats=1 \
    --set retrain.validation_stories=4 --set rmu.layers=[0] --set rmu.target=0 --set rmu.steps=2 \
    --set rmu.batch_size=2 --set steer.layers=[0] --set steer.at_layer=0 --set steer.samples=2 \
    --set steer.sample_tokens=5 --set localise.neurons=4 --set sgtm.neurons=4 --set gram.neurons=4 --set unlearn.steps=2 --set undo.steps=2 --set branch.steps=2 \
    --set unlearn.batch_size=2 --set eval.stories=4 --set eval.every=5 \
    --set checkpoint.every=4";

/// No command of these tests takes as long, on the slowest machine.
const PATIENCE: Duration = Duration::from_mins(3);

/// The files below a folder and what is in them.
pub(crate) type Tree = BTreeMap<PathBuf, Vec<u8>>;

/// A run of four updates that is done, by the method `routing`.
pub(crate) static FINISHED: LazyLock<Tree> = LazyLock::new(|| {
    let ws = Workspace::new();
    ws.done("train --set train.updates=4 --set checkpoint.keep=1 --out run --seed 7");
    ws.tree("run")
});

/// A temporary folder in which commands are run.
pub(crate) struct Workspace {
    folder: TempDir,
    program: Program,
}

/// Which binary a workspace runs.
#[derive(Clone, Copy)]
enum Program {
    Ppo,
    Mnist,
    Lm,
}

impl Program {
    fn path(self) -> &'static Path {
        Path::new(match self {
            Self::Ppo => assert_cmd::cargo::cargo_bin!("ppo-routed-under-test"),
            Self::Mnist => assert_cmd::cargo::cargo_bin!("mnist-routed-under-test"),
            Self::Lm => assert_cmd::cargo::cargo_bin!("lm-routed-under-test"),
        })
    }

    fn tiny(self) -> &'static str {
        match self {
            Self::Ppo => TINY,
            Self::Mnist => TINY_MNIST,
            Self::Lm => TINY_LM,
        }
    }
}

/// How a command ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub code: Option<i32>,
    pub stdout: String,
    /// But for what it says of its texts.
    pub stderr: String,
    /// The lines in which lm-routed says what it does with its texts.
    pub texts: Vec<String>,
}

impl Workspace {
    pub(crate) fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap(), program: Program::Ppo }
    }

    /// A workspace for mnist-routed.
    pub(crate) fn for_mnist() -> Self {
        Self { program: Program::Mnist, ..Self::new() }
    }

    /// A workspace for lm-routed, with the texts that its tiny settings name.
    pub(crate) fn for_lm(texts: &str) -> Self {
        let ws = Self { program: Program::Lm, ..Self::new() };
        ws.write("texts.jsonl", texts);
        ws
    }

    /// A workspace with [`FINISHED`] in the folder `run`.
    pub(crate) fn with_finished_run() -> Self {
        let ws = Self::new();
        ws.lay("run", &FINISHED);
        ws
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    pub(crate) fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        fs::write(self.path(name), content).unwrap();
    }

    /// Runs the binary; `line` is split at spaces. Whatever happens, it does not panic and colours nothing.
    pub(crate) fn run(&self, line: &str) -> Ended {
        self.run_under(line, &[])
    }

    /// [`Workspace::run`] with variables of the environment set.
    pub(crate) fn run_under(&self, line: &str, variables: &[(&str, &str)]) -> Ended {
        self.run_in(".", line, variables)
    }

    /// [`Workspace::run_under`] in another folder of the workspace.
    pub(crate) fn run_in(&self, folder: &str, line: &str, variables: &[(&str, &str)]) -> Ended {
        let output = assert_cmd::Command::new(self.program.path())
            .args(arguments(line, self.program.tiny()))
            .current_dir(self.path(folder))
            .envs(variables.iter().copied())
            .env_remove("RUST_LOG")
            .timeout(PATIENCE)
            .output()
            .unwrap();
        ended(output.status.code(), &output.stdout, &output.stderr)
    }

    /// Runs ppo-routed under a limit of the shell's `ulimit`, such as `-v 60000`; how it ended and what it said.
    #[cfg(unix)]
    pub(crate) fn run_limited(&self, limit: &str, line: &str) -> (Option<i32>, String) {
        let output = std::process::Command::new("sh")
            .args(["-c", &format!("ulimit {limit}; exec \"$0\" {line}")])
            .arg(Program::Ppo.path())
            .current_dir(self.folder.path())
            .env_remove("RUST_LOG")
            .env_remove("RUST_BACKTRACE")
            .output()
            .unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    }

    /// Runs another binary in the workspace; `line` is split at spaces.
    pub(crate) fn run_other(&self, program: &Path, line: &str) -> Ended {
        let output = assert_cmd::Command::new(program)
            .args(line.split_whitespace())
            .current_dir(self.folder.path())
            .env_remove("RUST_LOG")
            .timeout(PATIENCE)
            .output()
            .unwrap();
        ended(output.status.code(), &output.stdout, &output.stderr)
    }

    /// Runs the binary, which succeeds without a word on stderr, and returns what it printed.
    pub(crate) fn done(&self, line: &str) -> String {
        let ended = self.run(line);
        assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""), "{line}");
        ended.stdout
    }

    /// Starts the binary and leaves it running.
    pub(crate) fn start(&self, line: &str) -> Running {
        self.start_with(line, Stdio::piped())
    }

    /// As [`Workspace::start`], with stderr in a file, to be read meanwhile.
    #[cfg(unix)]
    pub(crate) fn start_logging(&self, line: &str, log: &str) -> Running {
        self.start_with(line, fs::File::create(self.path(log)).unwrap().into())
    }

    fn start_with(&self, line: &str, stderr: Stdio) -> Running {
        let child = std::process::Command::new(self.program.path())
            .args(arguments(line, self.program.tiny()))
            .current_dir(self.folder.path())
            .env_remove("RUST_LOG")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(stderr)
            .spawn()
            .unwrap();
        Running { child: Some(child) }
    }

    /// The files below a folder of the workspace, without the locks of run folders.
    pub(crate) fn tree(&self, name: &str) -> Tree {
        let (root, mut tree) = (self.path(name), Tree::new());
        gather(&root, &root, &mut tree);
        tree
    }

    /// Writes files below a folder of the workspace.
    pub(crate) fn lay(&self, name: &str, tree: &Tree) {
        for (path, content) in tree {
            let path = self.path(name).join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        }
    }
}

fn gather(root: &Path, folder: &Path, tree: &mut Tree) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            gather(root, &path, tree);
        } else if path.file_name().unwrap() != ".lock" {
            tree.insert(path.strip_prefix(root).unwrap().to_owned(), fs::read(&path).unwrap());
        }
    }
}

/// `train` and no verb get the tiny settings before their own, and one thread if they ask for no number.
fn arguments<'a>(line: &'a str, tiny: &'a str) -> Vec<&'a str> {
    let given: Vec<&str> = line.split_whitespace().collect();
    let (verb, options) = match given.split_first() {
        Some((verb @ &("train" | "era" | "steer" | "virology" | "adapt"), options)) => (Some(*verb), options),
        Some((first, _)) if !first.starts_with("--") => return given,
        _ => (None, given.as_slice()),
    };
    if options.contains(&"--help") || options.contains(&"--version") {
        return given;
    }
    let threads: &[&str] = if options.contains(&"--threads") { &[] } else { &["--threads", "1"] };
    let tiny = tiny.split_whitespace();
    verb.into_iter().chain(tiny).chain(threads.iter().copied()).chain(options.iter().copied()).collect()
}

fn ended(code: Option<i32>, stdout: &[u8], stderr: &[u8]) -> Ended {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let lines = text(stderr);
    let lines = lines.split_inclusive('\n').map(str::to_owned);
    let (texts, stderr): (Vec<String>, Vec<String>) = lines.partition(|line| line.starts_with("texts: "));
    let ended = Ended { code, stdout: text(stdout), stderr: stderr.concat(), texts };
    for output in [&ended.stdout, &ended.stderr] {
        assert!(!output.contains('\u{1b}'), "an escape code where no terminal is: {output:?}");
        assert!(!output.contains("panicked"), "{output}");
    }
    ended
}

/// A command that is still at work; it does not outlive its test.
pub(crate) struct Running {
    child: Option<Child>,
}

impl Running {
    #[cfg(unix)]
    pub(crate) fn id(&self) -> u32 {
        self.child.as_ref().unwrap().id()
    }

    /// Waits until `happened`, or until the command has ended.
    pub(crate) fn wait_until(&mut self, happened: impl Fn() -> bool) {
        let began = Instant::now();
        while !happened() && self.child.as_mut().unwrap().try_wait().unwrap().is_none() {
            assert!(began.elapsed() < PATIENCE, "it never happened");
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// Waits for its end.
    pub(crate) fn end(mut self) -> Ended {
        let output = self.child.take().unwrap().wait_with_output().unwrap();
        ended(output.status.code(), &output.stdout, &output.stderr)
    }

    /// Ends it as a power cut would; false where it had ended already.
    pub(crate) fn kill(mut self) -> bool {
        let mut child = self.child.take().unwrap();
        child.kill().unwrap();
        !child.wait().unwrap().success()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().ok();
            child.wait().ok();
        }
    }
}
