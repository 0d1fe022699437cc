//! Networks of lm-routed as folders that other programs open: what is written there computes what the run's network did.
use std::path::Path;

use candle_core::Device;
use experiment::Checkpoint;
use pretrained::Pretrained;
use transformer::{Backend, Batch, Hooks, Network};

use crate::language::ws;

/// The logits of some tokens by a network that lm-routed has saved, or has in training.
fn of_house(path: &Path, architecture: impl FnOnce(&mut transformer::Architecture)) -> Vec<f32> {
    let checkpoint = Checkpoint::load(path, &Device::Cpu).unwrap();
    let (shape, tensors) = if checkpoint.header.get("part").is_some() {
        let base = path.parent().unwrap().parent().unwrap().join("models/base.safetensors");
        let base = Checkpoint::load(&base, &Device::Cpu).unwrap();
        let mut shape = Network::architecture_of(&base.header, "base").unwrap();
        architecture(&mut shape);
        let own = checkpoint.tensors.into_iter();
        (
            shape,
            own.filter_map(|(name, value)| Some((name.strip_prefix("model.")?.to_owned(), value))).collect(),
        )
    } else {
        (Network::architecture_of(&checkpoint.header, "model").unwrap(), checkpoint.tensors)
    };
    let network = Network::from_tensors(shape, &tensors, "model", &Device::Cpu).unwrap();
    let mut model = network.model(TOKENS.len(), 1, Backend::Auto).unwrap();
    model.all_logits(&Batch::contexts(&[&TOKENS], TOKENS.len(), 0), &Hooks::default()).unwrap()
}

const TOKENS: [u32; 9] = [0, 7, 300, 41, 5, 5, 260, 299, 12];

fn of_folder(path: &Path) -> Vec<f32> {
    let model = Pretrained::open(path).unwrap();
    assert_eq!((model.decoder.shape().family.name(), model.ends.as_slice()), ("gpt2", [0].as_slice()));
    let logits = model.decoder.logits(&TOKENS, 1, &Hooks::default(), None).unwrap();
    logits.flatten_all().unwrap().to_vec1().unwrap()
}

fn assert_close(a: &[f32], b: &[f32]) {
    assert_eq!(a.len(), b.len());
    let difference = a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    assert!(difference < 1e-4, "{difference}");
    assert!(a.iter().any(|a| a.abs() > 0.1));
}

#[test]
fn networks_of_a_run_are_exported_as_the_gpt2_that_computes_the_same() {
    let ws = ws();
    ws.done("era --seed 3 --out run --set train.learning_rate=0.01 --set train.steps=40");
    let said = ws.done("export run --to out/era");
    for word in
        ["era as a GPT-2 of ", "out/era/config.json", "out/era/model.safetensors", "out/era/tokenizer.json"]
    {
        assert!(said.contains(word), "{word} in {said}");
    }
    ws.done("export run --to base --model base");
    let newest = "run/checkpoints/update-000080.safetensors";
    ws.done(&format!("export run --to before --checkpoint {newest}"));
    let [era, base, before] = ["out/era", "base", "before"].map(|folder| of_folder(&ws.path(folder)));
    let same = |_: &mut transformer::Architecture| {};
    assert_close(&era, &of_house(&ws.path("run/models/era.safetensors"), same));
    assert_close(&base, &of_house(&ws.path("run/models/base.safetensors"), same));
    // before the ablation one block has more neurons than the other
    assert_close(&before, &of_house(&ws.path(newest), |shape| shape.mlp_widths[0] += 4));
    assert!(era != base && era != before);
    let described = ws.done("model before");
    assert!(described.contains("gpt2") && described.contains("neurons          36"), "{described}");
    let prompt = "--prompt <|endoftext|>One --temperature 0 --length 4 --threads 1";
    assert!(ws.done(&format!("generate out/era {prompt}")).starts_with("<|endoftext|>One"));
}

#[test]
fn a_profile_is_exported_and_continues_texts() {
    let ws = ws();
    let concepts = "--set concept=[{name=\"forest\",words=[\"forest\"]},{name=\"book\",words=[\"book\"]}]";
    ws.done(&format!(
        "--out run --set experiment.kind=modules --set experiment.methods=[\"gram\"] {concepts}"
    ));
    ws.done("profile run --keep book --out kept");
    let story = ws.done("generate kept --length 5 --threads 1 --seed 4");
    assert!(story.starts_with("One day"), "{story}");
    ws.done("export kept --to out");
    assert_close(&of_folder(&ws.path("out")), &of_house(&ws.path("kept/model.safetensors"), |_| {}));
    let refused = ws.run("export kept --to other --model base");
    assert_eq!(refused.code, Some(2));
    assert!(refused.stderr.contains("holds one network and no others"), "{}", refused.stderr);
}

#[test]
fn what_is_no_gpt2_or_would_go_over_something_is_refused_in_a_line() {
    let ws = ws();
    ws.done("era --out run --set experiment.methods=[\"base\"] --set model.position=rotary");
    ws.write("taken", "x");
    for (line, error) in [
        (
            "export run --to out",
            "the network has rotary positions, which no model of Hugging Face's GPT-2 has",
        ),
        ("export run --to run", "run is there already and holds something"),
        ("export run --to taken", "taken is there already and holds something"),
        ("export run --to out --model era", "run has no model `era`"),
        ("export nowhere --to out", "nowhere is not a run folder"),
        (
            "model hub:owner/model",
            "cannot use hub:owner/model: this binary was built without the feature `hub`",
        ),
        ("generate hub:owner/model", "build with --features hub, or give a folder or file"),
    ] {
        let ended = ws.run(line);
        assert_eq!((ended.code, ended.stdout.as_str()), (Some(2), ""), "{line}: {}", ended.stderr);
        let first = ended.stderr.lines().next().unwrap();
        assert!(first.starts_with("error: ") && first.contains(error), "{line}: {}", ended.stderr);
        assert!(!ws.path("out").exists());
    }
}
