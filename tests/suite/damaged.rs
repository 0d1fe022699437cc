//! Runs of lm-routed and mnist-routed whose files are not what they were.
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use candle_core::{DType, Device, Tensor};
use experiment::Checkpoint;

use crate::files::{newest_checkpoint, timeless_metrics};
use crate::language;
use crate::workspace::{Tree, Workspace};

/// A run of two parts of 12 updates, with all its checkpoints.
static LANGUAGE: LazyLock<&Tree> = LazyLock::new(|| &WITH_CACHE.0);

/// And its cache of tokens.
static WITH_CACHE: LazyLock<(Tree, Tree)> = LazyLock::new(|| {
    let ws = language::ws();
    ws.done("era --seed 3 --out run --threads 1 --set checkpoint.keep=0");
    (ws.tree("run"), ws.tree("cache"))
});

/// A run of two epochs of 4 updates, with both its checkpoints.
static MNIST: LazyLock<Tree> = LazyLock::new(|| {
    let ws = Workspace::for_mnist();
    ws.done("train --seed 3 --out run --threads 1 --set checkpoint.keep=0");
    ws.tree("run")
});

fn language_run() -> Workspace {
    let ws = language::ws();
    ws.lay("run", &LANGUAGE);
    ws.lay("cache", &WITH_CACHE.1);
    ws
}

fn mnist_run() -> Workspace {
    let ws = Workspace::for_mnist();
    ws.lay("run", &MNIST);
    ws
}

fn cut(path: &Path) {
    let bytes = fs::read(path).unwrap();
    fs::write(path, &bytes[..bytes.len() / 2]).unwrap();
}

fn remove(ws: &Workspace, names: &[&str]) {
    for name in names {
        fs::remove_file(ws.path(name)).unwrap();
    }
}

type Change = fn(&Tensor) -> candle_core::Result<Tensor>;

/// Puts something else in place of a tensor; the file is whole.
fn exchange(path: &Path, name: &str, change: Change) {
    let mut checkpoint = Checkpoint::load(path, &Device::Cpu).unwrap();
    let changed = change(&checkpoint.tensors[name]).unwrap();
    checkpoint.tensors.insert(name.to_owned(), changed);
    checkpoint.save(path).unwrap();
}

/// The command ends with this error alone, and this hint if there is one.
fn assert_refused(ws: &Workspace, line: &str, error: &str, hint: Option<&str>) {
    let ended = ws.run(line);
    let lines: Vec<&str> = ended.stderr.lines().collect();
    assert_eq!((ended.code, ended.stdout.as_str()), (Some(1), ""), "{line}: {lines:?}");
    assert!(lines[0].starts_with("error: ") && lines[0].contains(error), "{line}: {lines:?} without {error}");
    let hint = hint.map(|hint| format!("hint: {hint}"));
    assert_eq!(lines[1..], hint.iter().map(String::as_str).collect::<Vec<_>>(), "{line}");
}

/// `resume` goes on from an older checkpoint, names the damaged one, and comes to the same end.
fn assert_goes_on(ws: &Workspace, damaged: &str, undisturbed: &Tree) {
    cut(&ws.path(damaged));
    let ended = ws.run("resume run");
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let lines: Vec<&str> = ended.stderr.lines().collect();
    assert_eq!(lines.len(), 1, "{lines:?}");
    let warning = format!("warning: skipped: the checkpoint {damaged} is cut short: it has ");
    assert!(lines[0].starts_with(&warning), "{lines:?}");
    let tree = ws.tree("run");
    assert!(timeless_metrics(&tree) == timeless_metrics(undisturbed), "the metrics differ");
    assert!(newest_checkpoint(&tree) == newest_checkpoint(undisturbed), "the checkpoints differ");
}

#[test]
fn a_damaged_checkpoint_leaves_the_one_before_it() {
    let ws = language_run();
    remove(&ws, &["run/summary.json", "run/parts/era.json", "run/models/era.safetensors"]);
    assert_goes_on(&ws, "run/checkpoints/update-000024.safetensors", &LANGUAGE);
    let ws = mnist_run();
    remove(&ws, &["run/summary.json"]);
    assert_goes_on(&ws, "run/checkpoints/update-000008.safetensors", &MNIST);
}

#[test]
fn curves_are_drawn_where_no_checkpoint_is_intact() {
    let ws = mnist_run();
    for name in ["run/checkpoints/update-000004.safetensors", "run/checkpoints/update-000008.safetensors"] {
        cut(&ws.path(name));
    }
    let ended = ws.run("plot run --out elsewhere");
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(ended.stdout.contains("elsewhere/curves.png"), "{ended:?}");
    assert!(!ended.stdout.contains("reconstruction.png"), "{ended:?}");
    assert_eq!(ended.stderr.lines().filter(|line| line.contains("update-00000")).count(), 2, "{ended:?}");
}

#[test]
fn parts_that_are_done_keep_their_metrics_without_their_checkpoints() {
    let ws = language_run();
    remove(&ws, &["run/summary.json"]);
    fs::remove_dir_all(ws.path("run/checkpoints")).unwrap();
    let ended = ws.run("resume run");
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""));
    assert!(timeless_metrics(&ws.tree("run")) == timeless_metrics(&LANGUAGE), "the metrics differ");
}

#[test]
fn a_damaged_result_of_a_part_is_named_before_anything_is_done() {
    let ws = language_run();
    remove(&ws, &["run/summary.json"]);
    ws.write("run/parts/base.json", "{\"method\": \"base\"");
    for verb in ["plot", "resume"] {
        let error = "cannot read run/parts/base.json: EOF while parsing an object at line 1 column 17";
        let hint = "restore that file from a copy, or start the run again";
        assert_refused(&ws, &format!("{verb} run"), error, Some(hint));
    }
}

#[test]
fn models_and_checkpoints_that_do_not_fit_are_refused() {
    let as_f64 = |tensor: &Tensor| tensor.to_dtype(DType::F64);
    let longer = |tensor: &Tensor| Tensor::cat(&[tensor, tensor], 0);
    let (ws, model) = (language_run(), "run/models/era.safetensors");
    let eval = "eval run --threads 1";
    exchange(&ws.path(model), "embed.W_E", as_f64);
    assert_refused(&ws, eval, "era.safetensors has embed.W_E of type F64, the model needs F32", None);
    exchange(&ws.path(model), "embed.W_E", |_| Tensor::zeros(3, DType::F32, &Device::Cpu));
    assert_refused(&ws, eval, "era.safetensors has embed.W_E in shape [3], the model needs [", None);
    cut(&ws.path(model));
    assert_refused(&ws, eval, "the checkpoint run/models/era.safetensors is cut short", None);
    let checkpoint = "run/checkpoints/update-000024.safetensors";
    fs::copy(ws.path(checkpoint), ws.path(model)).unwrap();
    let generate = "generate run --threads 1 --length 2";
    assert_refused(&ws, generate, "run/models/era.safetensors has no network's shape", None);
    let narrower = "eval run --threads 1 --set model.n_embd=8";
    assert_refused(&ws, narrower, "run/models/base.safetensors has another shape than [model] says", None);

    remove(&ws, &["run/summary.json", "run/parts/era.json"]);
    for (name, words) in [
        ("model.embed.W_E", "update-000024.safetensors has embed.W_E of type F64, the model needs F32"),
        (
            "adam.steps.embed.W_E",
            "update-000024.safetensors has steps.embed.W_E of type F64, the model needs I64",
        ),
    ] {
        ws.write(checkpoint, &LANGUAGE[Path::new("checkpoints/update-000024.safetensors")]);
        exchange(&ws.path(checkpoint), name, as_f64);
        assert_refused(&ws, "resume run", words, None);
    }

    let ws = mnist_run();
    remove(&ws, &["run/summary.json", "run/checkpoints/update-000008.safetensors"]);
    let checkpoint = ws.path("run/checkpoints/update-000004.safetensors");
    let good = &MNIST[Path::new("checkpoints/update-000004.safetensors")];
    let cases: [(&str, Change, &str); 4] = [
        ("encoder.0.bias", as_f64, "has encoder.0.bias of type F64, the model needs F32: convert it"),
        ("encoder.0.bias", longer, "has encoder.0.bias in shape [32], the model needs [16]"),
        ("adam.steps.encoder.0.bias", |t| t.narrow(0, 0, 0), "has adam.steps.encoder.0.bias in shape [0]"),
        ("adam.steps.encoder.0.bias", as_f64, "has adam.steps.encoder.0.bias of type F64"),
    ];
    for (name, change, words) in cases {
        fs::write(&checkpoint, good).unwrap();
        exchange(&checkpoint, name, change);
        let error = format!("run/checkpoints/update-000004.safetensors {words}");
        for verb in ["resume run", "eval run --threads 1"] {
            assert_refused(&ws, verb, &error, None);
        }
    }
}

#[test]
fn a_policy_that_is_no_number_is_neither_scored_nor_shown() {
    let file = "run/checkpoints/update-000004.safetensors";
    let nan: Change = |tensor| tensor.affine(f64::NAN, 0.0);
    let negative: Change = |tensor| tensor.affine(-1.0, 0.0);
    for (prefix, change, fault) in
        [("policy.", nan, "NaN or infinity"), ("adam.steps.", negative, "a count below zero")]
    {
        let ws = Workspace::with_finished_run();
        let checkpoint = Checkpoint::load(&ws.path(file), &Device::Cpu).unwrap();
        let name = checkpoint.tensors.keys().find(|name| name.starts_with(prefix)).unwrap().clone();
        exchange(&ws.path(file), &name, change);
        let fault = format!("the checkpoint {file} is of no use: its tensor {name:?} holds {fault}");
        let hint = "use an earlier file of the same checkpoints folder, written by the same binary";
        let ended = ws.run(&format!("eval run --repeats 1 --threads 1 --checkpoint {file}"));
        let stderr = format!("error: {fault}\nhint: {hint}\n");
        assert_eq!((ended.code, ended.stdout.as_str(), ended.stderr), (Some(1), "", stderr));
        for line in ["eval run --repeats 1 --threads 1", "render run --text"] {
            let ended = ws.run(line);
            assert_eq!((ended.code, ended.stdout.as_str()), (Some(1), ""), "{line}");
            assert!(ended.stderr.starts_with(&format!("warning: skipped: {fault}\n")), "{}", ended.stderr);
            assert!(ended.stderr.contains("error: run has no intact checkpoint"), "{}", ended.stderr);
        }
    }
}

#[test]
fn a_model_that_is_no_number_is_not_measured() {
    let (ws, model) = (language_run(), "run/models/era.safetensors");
    exchange(&ws.path(model), "embed.W_E", |tensor| tensor.affine(f64::NAN, 0.0));
    let error = "run/models/era.safetensors is of no use: its tensor \"embed.W_E\" holds NaN or infinity";
    for line in ["eval run --threads 1", "generate run --threads 1 --length 2"] {
        assert_refused(&ws, line, error, None);
    }
}

#[test]
fn a_damaged_cache_of_tokens_is_made_anew() {
    let ws = language_run();
    let eval = "eval run --threads 1";
    let table = ws.done(eval);
    let cached = |ws: &Workspace| -> PathBuf {
        let mut folders = fs::read_dir(ws.path("cache")).unwrap();
        folders.next().unwrap().unwrap().path().strip_prefix(ws.path("")).unwrap().join("validation.tokens")
    };
    let file = cached(&ws);
    let good = fs::read(ws.path(file.to_str().unwrap())).unwrap();
    let mut damaged = good.clone();
    let last = damaged.len() - 1;
    damaged[last] ^= 0x80;
    ws.write(file.to_str().unwrap(), damaged);
    let ended = ws.run(eval);
    assert_eq!((ended.code, ended.stdout), (Some(0), table));
    let warning = format!(
        "warning: cannot read the texts in {}: it is damaged: its checksum does not match its content; made anew from \
         texts.jsonl\n",
        file.display()
    );
    assert_eq!(ended.stderr, warning);
    assert!(fs::read(ws.path(file.to_str().unwrap())).unwrap() == good);
}

#[test]
fn a_damaged_summary_stops_a_table_until_it_is_removed() {
    let ws = Workspace::for_mnist();
    let table = "table --settings 1 --quiet --threads 1 --out table --set data.dataset=sample \
        --set model.hidden=[16,8] --set model.latent=8 --set train.epochs=1 --set train.batch_size=50";
    let done = ws.done(table);
    let summary = "table/01-routing-seed0/summary.json";
    let good = ws.read(summary);
    let hint = "remove that file: the same command writes it anew from the run's checkpoint";
    for (content, fault) in [
        (good[..good.len() / 2].to_owned(), "EOF while parsing "),
        (good.replace("\"0-4|5-9\"", "\"0-3|4-9\""), "it is of another train.split"),
        (good.replace("\"networks\": [", "\"networks\": [], \"rest\": ["), "0 networks where 3 are needed"),
    ] {
        assert_ne!(content, good);
        ws.write(summary, content);
        let ended = ws.run(table);
        let error = format!("error: 1 of 1 runs failed: 01-routing-seed0: cannot use {summary}: {fault}");
        assert_eq!((ended.code, ended.stdout.as_str()), (Some(1), ""));
        assert!(ended.stderr.starts_with(&error), "{}", ended.stderr);
        assert!(ended.stderr.ends_with(&format!("hint: {hint}\n")), "{}", ended.stderr);
    }
    remove(&ws, &[summary]);
    assert_eq!(ws.done(table), done);
}

#[test]
fn a_manifest_with_threads_that_no_machine_has_is_refused() {
    for (ws, total) in [(language_run(), 1), (mnist_run(), 1)] {
        remove(&ws, &["run/summary.json"]);
        let manifest = ws.read("run/manifest.json");
        let more = manifest.replace(&format!("\"threads\": {total}"), "\"threads\": 1000000000000");
        assert_ne!(more, manifest);
        ws.write("run/manifest.json", more);
        let error = "cannot read run/manifest.json: threads must lie between 1 and 1024, got 1000000000000";
        assert_refused(&ws, "resume run", error, None);
    }
}
