//! Every reader of files of the project, with good files to start from.
//!
//! `fuzz/` feeds them what a fuzzer makes of the corpus in `fuzz/corpus`; the suite reads the corpus itself. A reader may
//! take a file or refuse it in words; it must not panic, hang, or take memory beyond what a good file of this size would.
#![expect(clippy::unwrap_used, reason = "what prepares a test may panic where the machine fails it")]

mod models;
mod texts;

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use candle_core::{Device, Tensor};
use experiment::sweep::{Sweep, SweepConfig};
use experiment::{Checkpoint, Manifest, MetricsWriter, crc32c};
use ppo_routed::sweep::LabelEfficiency;
use ppo_routed::{Config, Ppo, Summary};
use redraw::Blocks;
use safetensors::SafeTensors;

/// A reader of files.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// Its name, and its corpus's.
    pub name: &'static str,
    /// Good files. The folder is for those that must be written to be had.
    pub samples: fn(&Path) -> Vec<Vec<u8>>,
    /// Makes the folder ready and says where the input goes.
    pub prepare: fn(&Path) -> PathBuf,
    /// Reads the file; the words of the refusal.
    pub read: fn(&Path) -> Result<(), String>,
}

/// All of them.
pub const TARGETS: &[Target] = &[
    Target { name: "config", samples: configs, prepare: file, read: read_config },
    Target { name: "checkpoint", samples: checkpoints, prepare: file, read: read_checkpoint },
    Target { name: "metrics", samples: metrics, prepare: file, read: read_metrics },
    Target { name: "sweep", samples: plans, prepare: sweep_folder, read: read_plan },
    Target { name: "json", samples: json, prepare: file, read: read_json },
    Target { name: "idx", samples: images_and_labels, prepare: file, read: read_idx },
    Target { name: "stories", samples: texts::stories, prepare: file, read: texts::read_stories },
    Target { name: "tokenizer", samples: texts::tokenizers, prepare: file, read: texts::read_tokenizer },
    Target { name: "tokens", samples: texts::token_files, prepare: file, read: texts::read_tokens },
    Target { name: "results", samples: results, prepare: results_folder, read: read_results },
    Target { name: "gguf", samples: models::files, prepare: models::file, read: models::read },
    Target {
        name: "model_config",
        samples: models::configs,
        prepare: models::of_config,
        read: models::read_folder,
    },
    Target {
        name: "model_weights",
        samples: models::weights,
        prepare: models::of_weights,
        read: models::read_folder,
    },
];

fn file(folder: &Path) -> PathBuf {
    folder.join("input.bin")
}

pub(crate) fn words<E: std::fmt::Display>(error: E) -> String {
    format!("{error:#}")
}

fn configs(_: &Path) -> Vec<Vec<u8>> {
    let sweep = experiment::to_toml(&SweepConfig::<Config, LabelEfficiency>::default()).unwrap();
    let run = experiment::to_toml(&Config::default()).unwrap();
    let odd = "[env]\nid = \"WalledOversightGrid-v0\"\nrows = 9\n\n[train]\nalgo = 'reinforce'\nlearning_rate = 5e-5\n";
    vec![sweep.into_bytes(), run.into_bytes(), odd.as_bytes().to_vec()]
}

fn read_config(path: &Path) -> Result<(), String> {
    let run = experiment::load::<Config>(Some(path), &[]).map(drop);
    let sweep = experiment::load::<SweepConfig<Config, LabelEfficiency>>(Some(path), &[]).map(drop);
    run.or(sweep).map_err(words)
}

fn checkpoints(folder: &Path) -> Vec<Vec<u8>> {
    let tensor = |values: &[f32], shape: &[usize]| Tensor::from_slice(values, shape, &Device::Cpu).unwrap();
    let checkpoint = Checkpoint {
        header: serde_json::json!({"update": 7, "seed": 1}),
        tensors: [
            ("policy/head.weight".to_owned(), tensor(&[1.0, -2.0, 3.5, 0.25, 1e-9, 7.0], &[2, 3])),
            ("policy/head.bias".to_owned(), tensor(&[0.5, f32::MIN_POSITIVE], &[2])),
        ]
        .into(),
    };
    let path = folder.join("good.safetensors");
    checkpoint.save(&path).unwrap();
    vec![std::fs::read(path).unwrap()]
}

/// As it is, and with the checksum made right, past which damage seldom gets.
fn read_checkpoint(path: &Path) -> Result<(), String> {
    let read = || {
        let checkpoint = Checkpoint::load(path, &Device::Cpu).map_err(words)?;
        checkpoint.require_sound(path).map_err(words)
    };
    let bytes = std::fs::read(path).unwrap();
    read().or_else(|fault| {
        let Some(sealed) = sealed(&bytes) else { return Err(fault) };
        std::fs::write(path, sealed).unwrap();
        read()
    })
}

/// A checkpoint with the checksum that its content has, where it has a place for one.
fn sealed(bytes: &[u8]) -> Option<Vec<u8>> {
    let (_, metadata) = SafeTensors::read_metadata(bytes).ok()?;
    let tensors = SafeTensors::deserialize(bytes).ok()?;
    let text = metadata.metadata().as_ref()?.get("signalbox")?;
    let envelope: serde_json::Value = serde_json::from_str(text).ok()?;
    let mut table = envelope["header"].to_string();
    let mut rows: Vec<_> = tensors.tensors();
    rows.sort_by(|one, other| one.0.cmp(&other.0));
    for (name, view) in rows {
        let sum = crc32c(view.data());
        write!(table, "\n{name:?} {:?} {:?} {sum:08x}", view.dtype(), view.shape()).unwrap();
    }
    let (written, right) = (envelope["crc32c"].as_str()?, format!("{:08x}", crc32c(table.as_bytes())));
    let place = bytes.windows(8).position(|window| window == written.as_bytes())?;
    let mut sealed = bytes.to_vec();
    sealed[place..place + 8].copy_from_slice(right.as_bytes());
    Some(sealed)
}

fn metrics(folder: &Path) -> Vec<Vec<u8>> {
    let path = folder.join("good.jsonl");
    let mut writer = MetricsWriter::create(&path).unwrap();
    for update in 0..5 {
        let values = [("losses/policy_loss", -0.5 / update as f64), ("eval/diamond/return", 1e-17)];
        writer.log(update * 128, update, &values).unwrap();
    }
    writer.flush().unwrap();
    vec![std::fs::read(path).unwrap()]
}

fn read_metrics(path: &Path) -> Result<(), String> {
    let read = experiment::read_metrics(path).map(drop).map_err(words);
    // the reader that mends the end of the file must agree on what can be mended
    let mended = MetricsWriter::resume(path, 3).map(drop).map_err(words);
    read.and(mended)
}

fn sweep_folder(folder: &Path) -> PathBuf {
    let sweep = Sweep::<Ppo>::plan(&folder.join("sweep"), None, &["sweep.seeds=[1]".to_owned()]).unwrap();
    sweep.write().unwrap();
    folder.join("sweep/plan.jsonl")
}

fn plans(folder: &Path) -> Vec<Vec<u8>> {
    vec![std::fs::read(sweep_folder(folder)).unwrap()]
}

fn read_plan(path: &Path) -> Result<(), String> {
    let sweep = Sweep::<Ppo>::open(path.parent().unwrap()).map_err(words)?;
    assert!(
        sweep.runs.iter().all(|run| sweep.run_folder(run).parent() == path.parent()),
        "out of its folder"
    );
    Ok(())
}

fn json(_: &Path) -> Vec<Vec<u8>> {
    let manifest = serde_json::to_vec_pretty(&Manifest::new("ppo-routed", "0.1.0", 1, 2, "cpu")).unwrap();
    let summary = br#"{"method": "naive", "algo": "ppo", "oversight_prob": 0.1, "seed": 1, "updates": 2,
        "env_steps": 64, "seconds": 0.5, "sps": 128.0, "policies": {"full": {"final": 0.1, "best": 0.2,
        "share_diamond": 0.5, "share_ghost": 0.5}}}"#;
    let errors =
        r#""mse": [1,1,1,1,1,1,1,1,1,1], "mae": [1,1,1,1,1,1,1,1,1,1], "part_mse": [1,1], "part_mae": [1,1]"#;
    let network = |name: &str| format!(r#"{{"name": "{name}", {errors}}}"#);
    let networks = ["decoder", "top", "bottom"].map(network).join(", ");
    let of_mnist = format!(
        r#"{{"setting": "routing", "split": "0-4|5-9", "dataset": "sample", "seed": 1, "epochs": 1, "batch_size": 2,
        "updates": 1, "images": 2, "seconds": 1, "images_per_second": 1, "factor": 1, "networks": [{networks}]}}"#
    );
    vec![manifest, summary.to_vec(), of_mnist.into_bytes()]
}

fn read_json(path: &Path) -> Result<(), String> {
    let manifest = Manifest::read(path).map(drop).map_err(words);
    let bytes = std::fs::read(path).unwrap();
    let summary = serde_json::from_slice::<Summary>(&bytes).map(drop).map_err(words);
    let of_mnist = serde_json::from_slice::<mnist_routed::Summary>(&bytes).map_err(words);
    let of_mnist = of_mnist.and_then(|summary| summary.fault().map_or(Ok(()), Err));
    manifest.or(summary).or(of_mnist)
}

fn images_and_labels(_: &Path) -> Vec<Vec<u8>> {
    let file = |header: &[u32], content: &[u8]| {
        let header = header.iter().copied().flat_map(u32::to_be_bytes);
        header.chain(content.iter().copied()).collect::<Vec<u8>>()
    };
    vec![file(&[0x0803, 1, 28, 28], &[7; 784]), file(&[0x0801, 12], &[9, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0])]
}

fn read_idx(path: &Path) -> Result<(), String> {
    let bytes = std::fs::read(path).unwrap();
    let images = mnist_routed::data::parse_images(&bytes).map(|pixels| assert_eq!(pixels.len() % 784, 0));
    let labels = mnist_routed::data::parse_labels(&bytes).map(|labels| {
        assert!(labels.iter().all(|label| *label < 10), "a label without a class");
    });
    images.or(labels)
}

const BLOCKS: &str = "[cells]\nprogram = \"ppo-routed\"\nfiles = [\"input.jsonl\"]\ntable = \"cells\"\n";

fn results_folder(folder: &Path) -> PathBuf {
    let results = folder.join("docs/results");
    std::fs::create_dir_all(&results).unwrap();
    std::fs::write(results.join("blocks.toml"), BLOCKS).unwrap();
    results.join("input.jsonl")
}

fn results(_: &Path) -> Vec<Vec<u8>> {
    let all = include_str!("../../docs/results/reinforce.jsonl");
    all.lines().take(1).map(|line| format!("{line}\n").into_bytes()).collect()
}

fn read_results(path: &Path) -> Result<(), String> {
    let root = path.ancestors().nth(3).unwrap();
    let blocks = Blocks::read(root).map_err(words)?;
    blocks.get("cells").unwrap().make(root).map(drop).map_err(words)
}
