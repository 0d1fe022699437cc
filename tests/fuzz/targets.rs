//! The readers, each with good files to start from.

use std::path::{Path, PathBuf};

use candle_core::{Device, Tensor};
use experiment::sweep::{Sweep, SweepConfig};
use experiment::{Checkpoint, Manifest, MetricsWriter};
use ppo_routed::sweep::LabelEfficiency;
use ppo_routed::{Config, Ppo, Summary};

use crate::texts;

/// A reader of files.
pub(crate) struct Target {
    pub name: &'static str,
    /// Good files. The folder is for those that must be written to be had.
    pub samples: fn(&Path) -> Vec<Vec<u8>>,
    /// Makes the folder ready and says where the input goes.
    pub prepare: fn(&Path) -> PathBuf,
    /// Reads the file; the words of the refusal.
    pub read: fn(&Path) -> Result<(), String>,
}

pub(crate) const TARGETS: &[Target] = &[
    Target { name: "config", samples: configs, prepare: file, read: read_config },
    Target { name: "checkpoint", samples: checkpoints, prepare: file, read: read_checkpoint },
    Target { name: "metrics", samples: metrics, prepare: file, read: read_metrics },
    Target { name: "sweep", samples: plans, prepare: sweep_folder, read: read_plan },
    Target { name: "json", samples: json, prepare: file, read: read_json },
    Target { name: "idx", samples: images_and_labels, prepare: file, read: read_idx },
    Target { name: "stories", samples: texts::stories, prepare: file, read: texts::read_stories },
    Target { name: "tokenizer", samples: texts::tokenizers, prepare: file, read: texts::read_tokenizer },
    Target { name: "tokens", samples: texts::token_files, prepare: file, read: texts::read_tokens },
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

fn read_checkpoint(path: &Path) -> Result<(), String> {
    Checkpoint::load(path, &Device::Cpu).map(drop).map_err(words)
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
