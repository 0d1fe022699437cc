//! "Killed anywhere, byte for byte the same", on a random walk of twelve updates.
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use anyhow::{Result, ensure};
use candle_core::{Device, Tensor};
use experiment::driver::{
    BuildContext, Due, Finished, FinishedRun, Outputs, Position, Program, Report, ResumePoint, Run,
    RunRequest, State, Training, Watch,
};
use experiment::{
    Checkpoint, CheckpointStore, DeviceArg, Faults, Interrupt, RunFolder, SeedStreams, Settings, UserError,
    Xoshiro256PlusPlus,
};
use rand::RngExt;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Config {
    walk: Walk,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Walk {
    updates: u64,
    /// The update that fails; 0 for none.
    pit: u64,
}

impl Default for Walk {
    fn default() -> Self {
        Self { updates: 12, pit: 0 }
    }
}

impl Settings for Config {
    fn faults(&self, _: &mut Faults) {}
}

/// A walk in four dimensions.
struct Walker {
    walk: Walk,
    at: Vec<f32>,
    rng: Xoshiro256PlusPlus,
    update: u64,
    camera: Camera,
}

impl Training for Walker {
    fn position(&self) -> Position {
        let total = self.walk.updates;
        Position { update: self.update, updates_total: total, step: 4 * self.update, steps_total: 4 * total }
    }

    fn update(&mut self) -> Result<Report> {
        self.camera.photograph();
        ensure!(self.walk.pit != self.update + 1, "the walk fell into a pit");
        self.at.iter_mut().for_each(|at| *at += self.rng.random::<f32>() - 0.5);
        self.update += 1;
        Ok(Report { values: vec![("charts/first".to_owned(), f64::from(self.at[0]))], message: None })
    }

    fn evaluate(&mut self) -> Result<Report> {
        self.camera.photograph();
        let distance = self.at.iter().map(|at| f64::from(*at).powi(2)).sum::<f64>().sqrt();
        let values = vec![("eval/distance".to_owned(), distance)];
        Ok(Report { values, message: Some(format!("{distance:.1} away")) })
    }

    fn due(&self, what: Due) -> bool {
        self.update.is_multiple_of(match what {
            Due::Evaluation => 2,
            Due::Checkpoint => 3,
        })
    }

    fn state(&self) -> Result<State> {
        self.camera.photograph();
        let at = Tensor::new(self.at.as_slice(), &Device::Cpu)?;
        Ok(State { header: json!({"rng": self.rng}), tensors: [("at".to_owned(), at)].into() })
    }
}

/// Copies a run folder at moments of its life: what a process that is killed then leaves.
#[derive(Clone, Default)]
struct Camera(Option<(PathBuf, PathBuf)>);

impl Camera {
    fn photograph(&self) {
        if let Self(Some((run, album))) = self {
            let number = fs::read_dir(album).unwrap().count();
            copy(run, &album.join(format!("{number:03}")));
        }
    }
}

#[derive(Default)]
struct RandomWalk {
    camera: Camera,
    /// Updates to which files were cut back.
    cuts: Mutex<Vec<u64>>,
}

impl Program for RandomWalk {
    type Config = Config;
    type Training = Walker;
    type Summary = Value;
    const NAME: &'static str = "walk";
    const VERSION: &'static str = "0.0.0";
    const UNIT: &'static str = "steps";
    const READERS: &'static str = "`plot` and `eval`";

    fn run_name(&self, config: &Config) -> String {
        format!("walk{}", config.walk.updates)
    }

    fn checkpoints_kept(&self, _: &Config) -> usize {
        2
    }

    fn build(&self, config: &Config, cx: &BuildContext<'_>) -> Result<Walker> {
        let rng = SeedStreams::new(cx.seed).stream("walk");
        Ok(Walker {
            walk: config.walk.clone(),
            at: vec![0.0; 4],
            rng,
            update: 0,
            camera: self.camera.clone(),
        })
    }

    fn rewind(&self, config: &Config, cx: &BuildContext<'_>, checkpoint: &ResumePoint) -> Result<Walker> {
        #[derive(Deserialize)]
        struct Header {
            rng: Xoshiro256PlusPlus,
        }
        let Header { rng } = checkpoint.header()?;
        let at = checkpoint.tensors["at"].to_vec1()?;
        Ok(Walker { at, rng, update: checkpoint.update, ..self.build(config, cx)? })
    }

    fn cut_back(&self, _: &RunFolder, update: u64) -> Result<()> {
        self.cuts.lock().unwrap().push(update);
        Ok(())
    }

    fn finish(&self, walker: &mut Walker, run: &FinishedRun<'_>) -> Result<Finished<Value>> {
        self.camera.photograph();
        let summary = json!({"at": walker.at, "seed": run.seed, "records": run.records.len()});
        Ok(Finished { summary, text: format!("it ended at {:?}", walker.at) })
    }
}

/// Nobody, or someone who asks a run to stop after an update.
#[derive(Default)]
struct Impatient {
    interrupt: Interrupt,
    stop_at: Option<u64>,
    told: Vec<(u64, String)>,
    ends: usize,
}

impl Watch for Impatient {
    fn begin(&mut self, step: u64, total: u64) {
        self.told.push((step, format!("of {total}")));
    }

    fn update(&mut self, step: u64, _speed: f64, message: &str) {
        self.told.push((step, message.to_owned()));
        if self.stop_at == Some(step / 4) {
            self.interrupt.request();
        }
    }

    fn end(&mut self) {
        self.ends += 1;
    }
}

type Tree = BTreeMap<PathBuf, Vec<u8>>;

fn copy(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let to = to.join(path.file_name().unwrap());
        if path.is_dir() {
            copy(&path, &to);
        } else {
            fs::copy(path, to).unwrap();
        }
    }
}

/// What must be the same however a run came to its end: metrics without their speed, the newest checkpoint without
/// its seconds, config and summary.
fn essence(run: &Path) -> Tree {
    let mut tree = Tree::new();
    for name in ["config.toml", "summary.json"] {
        tree.insert(name.into(), fs::read(run.join(name)).unwrap());
    }
    let metrics = fs::read_to_string(run.join("metrics.jsonl")).unwrap();
    let lines = metrics.split_inclusive('\n').map(|line| match line.split_once(",\"charts/SPS\":") {
        Some((before, after)) => format!("{before}{}", &after[after.find([',', '}']).unwrap()..]),
        None => line.to_owned(),
    });
    tree.insert("metrics.jsonl".into(), lines.collect::<String>().into_bytes());
    let (path, checkpoint) =
        CheckpointStore::new(run.join("checkpoints"), 0).latest_intact(&Device::Cpu).unwrap();
    let Checkpoint { mut header, tensors } = checkpoint;
    assert!(header.as_object_mut().unwrap().remove("seconds").unwrap().as_f64().unwrap() > 0.0);
    let at: Vec<f32> = tensors["at"].to_vec1().unwrap();
    tree.insert(path.strip_prefix(run).unwrap().to_owned(), format!("{header} {at:?}").into_bytes());
    tree
}

fn begin<'p>(program: &'p RandomWalk, folder: &Path, config: Config) -> Result<Run<'p, RandomWalk>> {
    let (folder, device) = (folder.to_owned(), DeviceArg::Cpu);
    let request = RunRequest { config, seed: 5, folder, threads: 1, device, outputs: Outputs::default() };
    Run::create(program, &request)
}

fn drive(run: Run<'_, RandomWalk>, watch: &mut Impatient) -> Result<String> {
    watch.interrupt = Interrupt::default();
    run.interrupted_by(watch.interrupt.clone()).drive(watch)
}

fn resume(folder: &Path) -> Result<String> {
    drive(Run::resume(&RandomWalk::default(), folder, None, Outputs::default())?, &mut Impatient::default())
}

/// A run that nobody disturbed, in a scratch folder.
fn undisturbed() -> (tempfile::TempDir, PathBuf) {
    let scratch = tempfile::tempdir().unwrap();
    let folder = scratch.path().join("whole");
    drive(begin(&RandomWalk::default(), &folder, Config::default()).unwrap(), &mut Impatient::default())
        .unwrap();
    (scratch, folder)
}

/// A run without its last checkpoint and its summary: cut off in update 10.
fn cut_off() -> (tempfile::TempDir, PathBuf, Tree) {
    let (scratch, folder) = undisturbed();
    let whole = essence(&folder);
    fs::remove_file(folder.join("summary.json")).unwrap();
    (scratch, folder, whole)
}

fn refusal(folder: &Path) -> (String, Option<String>) {
    let error = resume(folder).unwrap_err();
    (format!("{error:#}"), error.downcast_ref::<UserError>().and_then(|error| error.hint.clone()))
}

#[test]
fn a_run_that_is_killed_at_any_moment_ends_as_if_nobody_had() {
    let (scratch, whole) = undisturbed();
    let (folder, album) = (scratch.path().join("run"), scratch.path().join("album"));
    fs::create_dir(&album).unwrap();
    let camera = Camera(Some((folder.clone(), album.clone())));
    let program = RandomWalk { camera, ..RandomWalk::default() };
    drive(begin(&program, &folder, Config::default()).unwrap(), &mut Impatient::default()).unwrap();
    assert_eq!(essence(&folder), essence(&whole));
    let mut resumed = 0;
    for entry in fs::read_dir(&album).unwrap() {
        let killed = entry.unwrap().path();
        if fs::read_dir(killed.join("checkpoints")).unwrap().count() == 0 {
            let (error, hint) = refusal(&killed);
            assert!(error.ends_with("has no intact checkpoint to go on from"), "{error}");
            assert_eq!(hint.unwrap(), "remove the folder and start the run again");
            continue;
        }
        resume(&killed).unwrap();
        assert_eq!(essence(&killed), essence(&whole), "{}", killed.display());
        resumed += 1;
    }
    // nine updates follow the first checkpoint, with five evaluations, three checkpoints and the end
    assert_eq!(resumed, 18);
}

#[test]
fn a_run_that_is_stopped_after_every_update_says_how_to_go_on_and_ends_the_same() {
    let (scratch, whole) = undisturbed();
    let folder = scratch.path().join("run");
    for stop_at in 1..12 {
        let program = RandomWalk::default();
        let run = match stop_at {
            1 => begin(&program, &folder, Config::default()),
            _ => Run::resume(&program, &folder, None, Outputs::default()),
        };
        let mut watch = Impatient { stop_at: Some(stop_at), ..Impatient::default() };
        let error = drive(run.unwrap(), &mut watch).unwrap_err();
        assert_eq!(error.to_string(), format!("interrupted after update {stop_at} of 12; saved"));
        let hint = error.downcast_ref::<UserError>().unwrap().hint.clone().unwrap();
        assert_eq!(hint, format!("go on with: walk resume {}", folder.display()));
        assert_eq!(watch.told[0], (4 * (stop_at - 1), "of 48".to_owned()));
        assert_eq!((watch.told.len(), watch.ends), (2, 1), "{:?}", watch.told);
        assert_eq!(*program.cuts.lock().unwrap(), if stop_at == 1 { vec![] } else { vec![stop_at - 1] });
    }
    // the last update is not interrupted any more
    let program = RandomWalk::default();
    let run = Run::resume(&program, &folder, None, Outputs::default()).unwrap();
    drive(run, &mut Impatient { stop_at: Some(12), ..Impatient::default() }).unwrap();
    assert_eq!(essence(&folder), essence(&whole));
    let manifest: Value = serde_json::from_slice(&fs::read(folder.join("manifest.json")).unwrap()).unwrap();
    assert_eq!((&manifest["name"], manifest["resumed"].as_array().unwrap().len()), (&json!("walk"), 11));
    assert!(manifest["finished"].is_string());
}

#[test]
fn the_untrained_model_is_scored_and_the_newest_score_is_shown() {
    let (scratch, whole) = undisturbed();
    let records = experiment::read_metrics(&whole.join("metrics.jsonl")).unwrap();
    assert_eq!(records.len(), 13);
    for record in &records {
        assert_eq!(record.values.contains_key("eval/distance"), record.update % 2 == 0, "{record:?}");
        assert_eq!(record.values.contains_key("charts/SPS"), record.update > 0, "{record:?}");
        assert_eq!(record.step, 4 * record.update);
    }
    let mut watch = Impatient::default();
    drive(begin(&RandomWalk::default(), &scratch.path().join("b"), Config::default()).unwrap(), &mut watch)
        .unwrap();
    assert_eq!(watch.told[1], (4, String::new()), "nothing was scored since it began");
    assert!(watch.told[2].1.ends_with(" away") && watch.told[3].1 == watch.told[2].1, "{:?}", watch.told);
}

#[test]
fn tables_and_events_are_written_where_they_are_asked_for() {
    let scratch = tempfile::tempdir().unwrap();
    let folder = scratch.path().join("run");
    let outputs = Outputs { csv: true, tensorboard: true, pictures: false };
    let (config, device) = (Config::default(), DeviceArg::Cpu);
    let request = RunRequest { config, seed: 5, folder: folder.clone(), threads: 1, device, outputs };
    let program = RandomWalk::default();
    drive(Run::create(&program, &request).unwrap(), &mut Impatient::default()).unwrap();
    let table = fs::read_to_string(folder.join("metrics.csv")).unwrap();
    assert!(table.starts_with("step,update,charts/SPS,charts/first,eval/distance\n0,0,,,0.0\n"), "{table}");
    assert_eq!(fs::read_dir(folder.join("tensorboard")).unwrap().count(), 1);
}

#[test]
fn a_run_that_goes_on_writes_what_it_was_asked_for_when_it_began() {
    let scratch = tempfile::tempdir().unwrap();
    for (begun, resumed) in [([true, true], [false, false]), ([false, true], [true, false])] {
        let outputs = |[csv, tensorboard]: [bool; 2]| Outputs { csv, tensorboard, pictures: false };
        let folder = scratch.path().join(format!("{begun:?}"));
        let (config, device) = (Config::default(), DeviceArg::Cpu);
        let outputs_begun = outputs(begun);
        let request = RunRequest {
            config,
            seed: 5,
            folder: folder.clone(),
            threads: 1,
            device,
            outputs: outputs_begun,
        };
        let program = RandomWalk::default();
        let run = Run::create(&program, &request).unwrap();
        drive(run, &mut Impatient { stop_at: Some(4), ..Impatient::default() }).unwrap_err();
        let run = Run::resume(&program, &folder, None, outputs(resumed)).unwrap();
        drive(run, &mut Impatient { stop_at: Some(8), ..Impatient::default() }).unwrap_err();
        drive(Run::resume(&program, &folder, None, Outputs::default()).unwrap(), &mut Impatient::default())
            .unwrap();
        assert!(folder.join("metrics.csv").exists());
        // one of each process
        assert_eq!(fs::read_dir(folder.join("tensorboard")).unwrap().count(), 3);
    }
}

#[test]
fn a_damaged_newest_checkpoint_leaves_the_one_before_it() {
    let (_scratch, folder, whole) = cut_off();
    let newest = folder.join("checkpoints/update-000012.safetensors");
    let bytes = fs::read(&newest).unwrap();
    fs::write(newest, &bytes[..bytes.len() / 2]).unwrap();
    resume(&folder).unwrap();
    assert_eq!(essence(&folder), whole);
}

/// Rewrites the newest checkpoint of a run.
fn spoil(folder: &Path, spoil: impl Fn(&mut Checkpoint)) -> PathBuf {
    let (path, mut checkpoint) =
        CheckpointStore::new(folder.join("checkpoints"), 0).latest_intact(&Device::Cpu).unwrap();
    spoil(&mut checkpoint);
    checkpoint.save(&path).unwrap();
    path
}

#[test]
fn a_checkpoint_of_another_seed_or_program_is_refused() {
    for (key, value, fault) in [
        ("seed", json!(6), "is of seed 6, the run of seed 5"),
        ("program", json!("run"), "is a checkpoint of run, not of walk"),
    ] {
        let (_scratch, folder, _) = cut_off();
        let path = spoil(&folder, |checkpoint| checkpoint.header[key] = value.clone());
        let metrics = fs::read(folder.join("metrics.jsonl")).unwrap();
        let (error, _) = refusal(&folder);
        assert_eq!(error, format!("the checkpoint does not fit this run: {} {fault}", path.display()));
        assert_eq!(fs::read(folder.join("metrics.jsonl")).unwrap(), metrics);
    }
    // one of an earlier version does not name its program
    let (_scratch, folder, whole) = cut_off();
    spoil(&folder, |checkpoint| {
        assert!(checkpoint.header.as_object_mut().unwrap().remove("program").is_some());
    });
    resume(&folder).unwrap();
    let summary = Path::new("summary.json");
    assert_eq!(essence(&folder)[summary], whole[summary]);
}

#[test]
fn a_state_that_is_of_no_use_is_not_gone_on_from() {
    for (name, tensor, fault) in [
        ("at", Tensor::new(&[f32::NAN, 0.0, 0.0, 0.0], &Device::Cpu).unwrap(), "NaN or infinity"),
        ("adam.steps.at", Tensor::new(&[3i64, -1], &Device::Cpu).unwrap(), "a count below zero"),
    ] {
        let (_scratch, folder, whole) = cut_off();
        let path = spoil(&folder, |checkpoint| {
            checkpoint.tensors.insert(name.to_owned(), tensor.clone());
        });
        let checkpoint = Checkpoint::load(&path, &Device::Cpu).unwrap();
        let error = ResumePoint::new::<RandomWalk>(path.clone(), checkpoint).unwrap_err();
        let expected = format!("is of no use: its tensor {name:?} holds {fault}");
        assert!(error.to_string().ends_with(&expected), "{error}");
        // the one before it is intact
        resume(&folder).unwrap();
        assert_eq!(essence(&folder), whole);
    }
}

#[test]
fn a_run_that_went_on_from_an_older_checkpoint_can_go_on_again() {
    let (scratch, folder, whole) = cut_off();
    // the newest one cannot be read, once
    let newest = folder.join("checkpoints/update-000012.safetensors");
    let away = scratch.path().join("away");
    fs::rename(&newest, &away).unwrap();
    let program = RandomWalk::default();
    let run = Run::resume(&program, &folder, None, Outputs::default()).unwrap();
    let error = drive(run, &mut Impatient { stop_at: Some(10), ..Impatient::default() }).unwrap_err();
    assert_eq!(error.to_string(), "interrupted after update 10 of 12; saved");
    fs::rename(&away, &newest).unwrap();
    resume(&folder).unwrap();
    assert_eq!(*program.cuts.lock().unwrap(), [9]);
    assert_eq!(essence(&folder), whole);
}

#[test]
fn what_cannot_go_on_is_refused_and_left_as_it_was() {
    let (_scratch, folder) = undisturbed();
    let (error, hint) = refusal(&folder);
    assert_eq!(error, format!("the run in {} is finished", folder.display()));
    assert_eq!(hint.unwrap(), "`plot` and `eval` work on a finished run");

    let (_scratch, folder, _) = cut_off();
    let metrics = folder.join("metrics.jsonl");
    let lines = fs::read_to_string(&metrics).unwrap();
    // up to update 8; the checkpoints are of updates 9 and 12
    let fewer: String = lines.split_inclusive('\n').take(9).collect();
    fs::write(&metrics, &fewer).unwrap();
    let manifest = fs::read(folder.join("manifest.json")).unwrap();
    let (error, hint) = refusal(&folder);
    assert_eq!(error, format!("{} has no record of update 12, the last one saved", metrics.display()));
    assert_eq!(hint.unwrap(), "restore it from a copy, or start the run again");
    assert_eq!(fs::read_to_string(&metrics).unwrap(), fewer);
    assert_eq!(fs::read(folder.join("manifest.json")).unwrap(), manifest);

    fs::write(&metrics, &lines).unwrap();
    let text = String::from_utf8(manifest.clone()).unwrap();
    for (was, is, fault) in [
        ("\"seed\": 5", "\"seed\": 6", "update-000012.safetensors is of seed 5, the run of seed 6"),
        ("\"name\": \"walk\"", "\"name\": \"run\"", "is one of run, not of walk"),
    ] {
        assert!(text.contains(was), "{text}");
        fs::write(folder.join("manifest.json"), text.replace(was, is)).unwrap();
        let (error, _) = refusal(&folder);
        assert!(error.ends_with(fault), "{error}");
        assert_eq!(fs::read_to_string(&metrics).unwrap(), lines);
    }
    fs::write(folder.join("manifest.json"), &manifest).unwrap();
    fs::write(folder.join("config.toml"), "[walk]\nupdates = 13\npit = 0\n").unwrap();
    let (error, _) = refusal(&folder);
    let file = folder.join("checkpoints/update-000012.safetensors");
    let fault = "was written under another config.toml: restore the run's";
    assert_eq!(error, format!("the checkpoint does not fit this run: {} {fault}", file.display()));
}

#[test]
fn a_run_that_breaks_down_names_its_last_checkpoint() {
    let scratch = tempfile::tempdir().unwrap();
    for (pit, words) in [
        (3, "the run stopped before its first checkpoint: the walk fell into a pit"),
        (6, "update-000003.safetensors: the walk fell into a pit"),
    ] {
        let folder = scratch.path().join(format!("pit{pit}"));
        let config = Config { walk: Walk { pit, ..Walk::default() } };
        let mut watch = Impatient::default();
        let error = drive(begin(&RandomWalk::default(), &folder, config).unwrap(), &mut watch).unwrap_err();
        assert!(format!("{error:#}").ends_with(words), "{error:#}");
        assert_eq!(watch.ends, 1);
        assert!(!folder.join("summary.json").exists());
    }
}
