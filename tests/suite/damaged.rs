//! Runs of lm-routed and mnist-routed whose files are not what they were.
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use candle_core::{DType, Device, Tensor};
use experiment::Checkpoint;

use crate::files::{newest_checkpoint, timeless_metrics};
use crate::language;
use crate::place::{Place, Tree};

/// A run of two parts of 12 updates, with all its checkpoints.
static LANGUAGE: LazyLock<Tree> = LazyLock::new(|| {
    let place = language::place();
    place.done("era --seed 3 --out run --threads 1 --set checkpoint.keep=0");
    place.tree("run")
});

/// A run of two epochs of 4 updates, with both its checkpoints.
static MNIST: LazyLock<Tree> = LazyLock::new(|| {
    let place = Place::for_mnist();
    place.done("train --seed 3 --out run --threads 1 --set checkpoint.keep=0");
    place.tree("run")
});

fn language_run() -> Place {
    let place = language::place();
    place.lay("run", &LANGUAGE);
    place
}

fn mnist_run() -> Place {
    let place = Place::for_mnist();
    place.lay("run", &MNIST);
    place
}

fn cut(path: &Path) {
    let bytes = fs::read(path).unwrap();
    fs::write(path, &bytes[..bytes.len() / 2]).unwrap();
}

fn remove(place: &Place, names: &[&str]) {
    for name in names {
        fs::remove_file(place.path(name)).unwrap();
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
fn assert_refused(place: &Place, line: &str, error: &str, hint: Option<&str>) {
    let ended = place.run(line);
    let lines: Vec<&str> = ended.stderr.lines().collect();
    assert_eq!((ended.code, ended.stdout.as_str()), (Some(1), ""), "{line}: {lines:?}");
    assert!(lines[0].starts_with("error: ") && lines[0].contains(error), "{line}: {lines:?} without {error}");
    let hint = hint.map(|hint| format!("hint: {hint}"));
    assert_eq!(lines[1..], hint.iter().map(String::as_str).collect::<Vec<_>>(), "{line}");
}

/// `resume` goes on from an older checkpoint, names the damaged one, and comes to the same end.
fn assert_goes_on(place: &Place, damaged: &str, undisturbed: &Tree) {
    cut(&place.path(damaged));
    let ended = place.run("resume run");
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let lines: Vec<&str> = ended.stderr.lines().collect();
    assert_eq!(lines.len(), 1, "{lines:?}");
    let warning = format!("warning: skipped: the checkpoint {damaged} is cut short: it has ");
    assert!(lines[0].starts_with(&warning), "{lines:?}");
    let tree = place.tree("run");
    assert!(timeless_metrics(&tree) == timeless_metrics(undisturbed), "the metrics differ");
    assert!(newest_checkpoint(&tree) == newest_checkpoint(undisturbed), "the checkpoints differ");
}

#[test]
fn a_damaged_checkpoint_leaves_the_one_before_it() {
    let place = language_run();
    remove(&place, &["run/summary.json", "run/parts/era.json", "run/models/era.safetensors"]);
    assert_goes_on(&place, "run/checkpoints/update-000024.safetensors", &LANGUAGE);
    let place = mnist_run();
    remove(&place, &["run/summary.json"]);
    assert_goes_on(&place, "run/checkpoints/update-000008.safetensors", &MNIST);
}

#[test]
fn curves_are_drawn_where_no_checkpoint_is_intact() {
    let place = mnist_run();
    for name in ["run/checkpoints/update-000004.safetensors", "run/checkpoints/update-000008.safetensors"] {
        cut(&place.path(name));
    }
    let ended = place.run("plot run --out elsewhere");
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(ended.stdout.contains("elsewhere/curves.png"), "{ended:?}");
    assert!(!ended.stdout.contains("reconstruction.png"), "{ended:?}");
    assert_eq!(ended.stderr.lines().filter(|line| line.contains("update-00000")).count(), 2, "{ended:?}");
}

#[test]
fn parts_that_are_done_keep_their_metrics_without_their_checkpoints() {
    let place = language_run();
    remove(&place, &["run/summary.json"]);
    fs::remove_dir_all(place.path("run/checkpoints")).unwrap();
    let ended = place.run("resume run");
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""));
    assert!(timeless_metrics(&place.tree("run")) == timeless_metrics(&LANGUAGE), "the metrics differ");
}

#[test]
fn a_damaged_result_of_a_part_is_named_before_anything_is_done() {
    let place = language_run();
    remove(&place, &["run/summary.json"]);
    place.write("run/parts/base.json", "{\"method\": \"base\"");
    for verb in ["plot", "resume"] {
        let error = "cannot read run/parts/base.json: EOF while parsing an object at line 1 column 17";
        let hint = "restore that file from a copy, or start the run again";
        assert_refused(&place, &format!("{verb} run"), error, Some(hint));
    }
}

#[test]
fn models_and_checkpoints_that_do_not_fit_are_refused() {
    let as_f64 = |tensor: &Tensor| tensor.to_dtype(DType::F64);
    let longer = |tensor: &Tensor| Tensor::cat(&[tensor, tensor], 0);
    let (place, model) = (language_run(), "run/models/era.safetensors");
    let eval = "eval run --threads 1";
    exchange(&place.path(model), "embed.W_E", as_f64);
    assert_refused(&place, eval, "era.safetensors has embed.W_E of type F64, the model needs F32", None);
    exchange(&place.path(model), "embed.W_E", |_| Tensor::zeros(3, DType::F32, &Device::Cpu));
    assert_refused(&place, eval, "era.safetensors has embed.W_E in shape [3], the model needs [", None);
    cut(&place.path(model));
    assert_refused(&place, eval, "the checkpoint run/models/era.safetensors is cut short", None);
    let checkpoint = "run/checkpoints/update-000024.safetensors";
    fs::copy(place.path(checkpoint), place.path(model)).unwrap();
    let generate = "generate run --threads 1 --length 2";
    assert_refused(&place, generate, "run/models/era.safetensors has no network's shape", None);
    let narrower = "eval run --threads 1 --set model.n_embd=8";
    assert_refused(&place, narrower, "run/models/base.safetensors has another shape than [model] says", None);

    remove(&place, &["run/summary.json", "run/parts/era.json"]);
    for (name, words) in [
        ("model.embed.W_E", "update-000024.safetensors has embed.W_E of type F64, the model needs F32"),
        (
            "adam.steps.embed.W_E",
            "update-000024.safetensors has steps.embed.W_E of type F64, the model needs I64",
        ),
    ] {
        place.write(checkpoint, &LANGUAGE[Path::new("checkpoints/update-000024.safetensors")]);
        exchange(&place.path(checkpoint), name, as_f64);
        assert_refused(&place, "resume run", words, None);
    }

    let place = mnist_run();
    remove(&place, &["run/summary.json", "run/checkpoints/update-000008.safetensors"]);
    let checkpoint = place.path("run/checkpoints/update-000004.safetensors");
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
            assert_refused(&place, verb, &error, None);
        }
    }
}

#[test]
fn a_damaged_cache_of_tokens_is_made_anew() {
    let place = language_run();
    let eval = "eval run --threads 1";
    let table = place.done(eval);
    let cached = |place: &Place| -> PathBuf {
        let mut folders = fs::read_dir(place.path("cache")).unwrap();
        folders
            .next()
            .unwrap()
            .unwrap()
            .path()
            .strip_prefix(place.path(""))
            .unwrap()
            .join("validation.tokens")
    };
    let file = cached(&place);
    let good = fs::read(place.path(file.to_str().unwrap())).unwrap();
    let mut damaged = good.clone();
    let last = damaged.len() - 1;
    damaged[last] ^= 0x80;
    place.write(file.to_str().unwrap(), damaged);
    let ended = place.run(eval);
    assert_eq!((ended.code, ended.stdout), (Some(0), table));
    let warning = format!(
        "warning: cannot read the texts in {}: it is damaged: its checksum does not match its content; made anew from \
         texts.jsonl\n",
        file.display()
    );
    assert_eq!(ended.stderr, warning);
    assert!(fs::read(place.path(file.to_str().unwrap())).unwrap() == good);
}

#[test]
fn a_damaged_summary_stops_a_table_until_it_is_removed() {
    let place = Place::for_mnist();
    let table = "table --settings 1 --quiet --threads 1 --out table --set data.dataset=sample \
        --set model.hidden=[16,8] --set model.latent=8 --set train.epochs=1 --set train.batch_size=50";
    let done = place.done(table);
    let summary = "table/01-routing-seed0/summary.json";
    let good = place.read(summary);
    let hint = "remove that file: the same command writes it anew from the run's checkpoint";
    for (content, fault) in [
        (good[..good.len() / 2].to_owned(), "EOF while parsing "),
        (good.replace("\"0-4|5-9\"", "\"0-3|4-9\""), "it is of another train.split"),
        (good.replace("\"networks\": [", "\"networks\": [], \"rest\": ["), "0 networks where 3 are needed"),
    ] {
        assert_ne!(content, good);
        place.write(summary, content);
        assert_refused(&place, table, &format!("cannot use {summary}: {fault}"), Some(hint));
    }
    remove(&place, &[summary]);
    assert_eq!(place.done(table), done);
}

#[test]
fn a_manifest_with_threads_that_no_machine_has_is_refused() {
    for (place, total) in [(language_run(), 1), (mnist_run(), 1)] {
        remove(&place, &["run/summary.json"]);
        let manifest = place.read("run/manifest.json");
        let more = manifest.replace(&format!("\"threads\": {total}"), "\"threads\": 1000000000000");
        assert_ne!(more, manifest);
        place.write("run/manifest.json", more);
        let error = "cannot read run/manifest.json: threads must lie between 1 and 1024, got 1000000000000";
        assert_refused(&place, "resume run", error, None);
    }
}
