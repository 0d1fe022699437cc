//! The promises of `lm-routed adapt`, on a tiny random Llama with a tokenizer of words.
use std::path::Path;

use candle_core::{Device, Tensor};
use serde_json::{Map, Value, json};

use crate::files::{metrics, newest_checkpoint, object, text, timeless_metrics};
use crate::kills::Kills;
use crate::language::ws as texts;
use crate::workspace::{Tree, Workspace};

/// A base in the folder `base`, and adapters in the upper one of its two blocks.
const ADAPT: &str = "adapt base --seed 3 --out run --set adapt.blocks=1 --set adapt.rank=2 --set adapt.neurons=3 \
    --set adapt.samples=3 --set adapt.sample_tokens=5 --set adapt.prompt=One";

/// Stories of the words below, with one word in three about a forest, and a base that knows no other.
fn ws() -> Workspace {
    let ws = texts();
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates/pretrained/tests/golden/llama-f32");
    std::fs::create_dir(ws.path("base")).unwrap();
    for name in ["config.json", "model.safetensors"] {
        ws.write(&format!("base/{name}"), std::fs::read(golden.join(name)).unwrap());
    }
    let words = "One day Tom Anna Ben went to the dark forest under a tree small house by sea . There found red ball \
                 an old book <|endoftext|>";
    let vocabulary: Map<String, Value> =
        words.split_whitespace().enumerate().map(|(id, word)| (word.to_owned(), id.into())).collect();
    let unknown = json!("by");
    let tokenizer = json!({"version": "1.0", "added_tokens": [], "pre_tokenizer": {"type": "Whitespace"},
        "model": {"type": "WordLevel", "vocab": vocabulary, "unk_token": unknown}});
    ws.write("base/tokenizer.json", tokenizer.to_string());
    ws
}

/// The result of a model but for the seconds it took.
fn part(tree: &Tree, name: &str) -> Map<String, Value> {
    let mut result = object(tree, &format!("parts/{name}.json"));
    assert!(result.remove("seconds").is_some());
    result
}

const TRAINED: [&str; 4] = ["single", "filtered", "routed", "era"];

#[test]
fn an_adaptation_compares_its_models_and_leaves_their_adapters() {
    let ws = ws();
    let said = ws.done(ADAPT);
    for line in
        ["base: none", "single: rest", "filtered: rest", "routed: both", "routed: rest", "era: behaviour"]
    {
        assert!(said.lines().any(|said| said.starts_with(line)), "{line} in {said}");
    }
    let tree = ws.tree("run");
    assert!(text(&tree, "plots/report.md").contains("| routed: rest |"));
    assert!(
        text(&tree, "plots/relearning.csv").starts_with("model: documents,step 0,step 1,step 2\nbase: 1,")
    );
    let summary = object(&tree, "summary.json");
    assert_eq!((&summary["updates"], &summary["tokens"]), (&48.into(), &(48 * 4 * 24).into()));
    assert_eq!(summary["parts"].as_array().unwrap().len(), 5);
    // without its adapters a model is the base, to the last bit
    let losses = |name: &str, profile: &str| -> Value {
        let profiles = part(&tree, name)["profiles"].as_array().unwrap().clone();
        profiles.into_iter().find(|one| one[0] == profile).unwrap()[1].clone()
    };
    for name in ["routed", "era"] {
        assert_eq!(losses(name, "none"), losses("base", "none"));
        assert_ne!(losses(name, "rest"), losses("base", "none"));
        assert_ne!(losses(name, "rest"), losses(name, "both"));
    }
    assert_ne!(losses("single", "rest"), losses("filtered", "rest"));
    for name in TRAINED {
        let file = &tree[Path::new(&format!("adapters/{name}.safetensors"))];
        let header = String::from_utf8_lossy(&file[..4000.min(file.len())]).into_owned();
        assert_eq!(header.contains("behaviour.blocks.1.q.A"), name == "routed", "{name}");
        assert_eq!(header.contains("behaviour.blocks.1.mlp.up"), name == "era", "{name}");
        assert!(header.contains("rest.blocks.1.q.A") && !header.contains("blocks.0"), "{name}");
    }
    // the checkpoints have adapters and moments, and nothing of the base
    let checkpoint = newest_checkpoint(&tree).table.to_string();
    assert!(checkpoint.contains("adam.first.rest.blocks.1.q.A") && !checkpoint.contains("W_E"));
    let last = metrics(&tree).pop().unwrap();
    for key in ["era/losses/train", "era/eval/behaviour", "era/eval/other", "charts/SPS"] {
        assert!(last[key].as_f64().unwrap() > 0.0, "{key}");
    }
    let routes = &object(&tree, "manifest.json")["routes"]["routed"];
    assert_eq!(routes["labelled"]["rest"], json!({"forward": 1.0, "gradient": 0.0}));
    assert!(ws.done("plot run --out elsewhere").contains("elsewhere/adapted.csv"));
    // its adapters open elsewhere, with the very numbers that the run has
    let written = ws.done("export run --to out");
    assert!(written.starts_with("adapters of routed\n"), "{written}");
    let shape = pretrained::Pretrained::open(&ws.path("base")).unwrap().decoder.shape().clone();
    let folders = ["rest", "behaviour"].map(|name| (name, ws.path(&format!("out/{name}"))));
    let folders: Vec<(&str, &Path)> = folders.iter().map(|(name, path)| (*name, path.as_path())).collect();
    let read = pretrained::Adapters::read_peft(&folders, &shape).unwrap();
    let own =
        experiment::Checkpoint::load(&ws.path("run/adapters/routed.safetensors"), &Device::Cpu).unwrap();
    assert_eq!(read.parameters().snapshot().unwrap().len(), own.tensors.len());
    for (name, tensor) in read.parameters().snapshot().unwrap() {
        let values = |tensor: &Tensor| tensor.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        assert_eq!(values(&tensor), values(&own.tensors[&name]), "{name}");
    }
    assert!(
        ws.done("export run --model era --to of_era").contains("behaviour is an MLP, which peft has not")
    );
    for (line, words) in [
        ("export run --to out", "error: out"),
        ("export run --model base --to other", "error: run has no adapters of that model"),
        ("eval run", "error: run is a run of `adapt`, which leaves adapters and no model"),
    ] {
        let ended = ws.run(line);
        assert!(ended.code != Some(0) && ended.stderr.starts_with(words), "{line}: {}", ended.stderr);
    }
    let again = ws.run("resume run");
    assert_eq!(again.code, Some(2), "it is done now: {}", again.stderr);
}

#[test]
fn an_adaptation_that_is_killed_ends_as_if_nobody_had() {
    let ws = ws();
    let train = format!("{ADAPT} --set train.steps=200 --set adapt.split_moments=true");
    // in the same folder, whose base stands in the settings of both
    ws.done(&train);
    let undisturbed = ws.tree("run");
    std::fs::remove_dir_all(ws.path("run")).unwrap();
    Kills { train: &train, times: 4, apart: 120, total: 800 }.survive(&ws);
    let (a, b) = (&ws.tree("run"), &undisturbed);
    assert!(timeless_metrics(a) == timeless_metrics(b), "the metrics differ");
    assert!(newest_checkpoint(a) == newest_checkpoint(b), "the checkpoints differ");
    for name in TRAINED {
        assert_eq!(part(a, name), part(b, name));
        let file = format!("adapters/{name}.safetensors");
        assert!(a[Path::new(&file)] == b[Path::new(&file)], "{file} differs");
    }
}

#[test]
fn a_run_goes_on_with_the_base_that_it_began_with_and_no_other() {
    let ws = ws();
    ws.done(ADAPT);
    let whole = ws.tree("run");
    let base = std::fs::read(ws.path("base/model.safetensors")).unwrap();
    for kept in [true, false] {
        for name in ["summary.json", "parts/era.json"] {
            std::fs::remove_file(ws.path(&format!("run/{name}"))).unwrap();
        }
        if !kept {
            std::fs::remove_dir_all(ws.path("run/checkpoints")).unwrap();
        }
        let mut other = base.clone();
        *other.last_mut().unwrap() ^= 1;
        ws.write("base/model.safetensors", &other);
        let refused = ws.run("resume run");
        assert_ne!(refused.code, Some(0));
        let words = "base is not the model that this run began with";
        assert!(refused.stderr.contains(words), "{}", refused.stderr);
        assert_eq!(refused.stderr.trim().lines().count(), 2, "{}", refused.stderr);
        ws.write("base/model.safetensors", &base);
        ws.done("resume run");
        assert_eq!(part(&ws.tree("run"), "era"), part(&whole, "era"), "checkpoints kept: {kept}");
    }
}

#[test]
fn what_cannot_be_adapted_is_refused_in_a_line() {
    let ws = ws();
    let (get, rank) = ("hint: name a folder in the layout of Hugging Face", "hint: change [adapt]");
    let setting = "hint: ";
    for (line, words, hint) in [
        ("adapt", "error: adapt.base names no model to adapt", get),
        ("adapt nowhere.gguf", "nowhere.gguf: ", get),
        (
            "adapt base --set adapt.rank=17",
            "error: the adapter rest has rank 17: between 1 and 16 can be",
            rank,
        ),
        (
            "adapt base --set adapt.pattern=(forest",
            "error: `adapt.pattern` (--set): is no regular expression: unclosed group",
            "",
        ),
        (
            "adapt base --set data.forget_words=[\"volcano\"]",
            "error: no document of data.train has a word of data.forget_words (volcano): nothing to compare",
            setting,
        ),
        (
            "adapt base --set experiment.methods=[\"rmu\"]",
            "error: `experiment.methods` (--set): must be `base`, `single`, `filtered`, `routed` or `era`, got \"rmu\"",
            "",
        ),
        (
            "adapt base --set adapt.targets=[\"x\"]",
            "error: `adapt.targets` (--set): must be `q`, `k`, `v`, `o`, `gate`, `up` or `down`, got \"x\"",
            "",
        ),
        ("adapt base --set adapt.kind=1", "error: `adapt.kind` (--set): no such key", ""),
        (
            "adapt base --set model.block_size=65",
            "error: model.block_size is 65, and the base takes 64",
            setting,
        ),
        (
            "--set experiment.kind=adapt",
            "error: an experiment of the kind \"adapt\" is for its own verb",
            "hint: lm-routed adapt BASE",
        ),
    ] {
        let ended = ws.run(line);
        assert_eq!(ended.code, Some(2), "{line}: {}", ended.stderr);
        let first = ended.stderr.lines().next().unwrap();
        assert!(first.starts_with("error: ") && first.contains(words), "{line}: {}", ended.stderr);
        assert!(hint.is_empty() || ended.stderr.contains(hint), "{line}: {}", ended.stderr);
        assert!(ended.stderr.lines().count() <= 2, "{line}: {}", ended.stderr);
        assert!(ended.stdout.is_empty() && !ws.path("runs").exists(), "{line}");
    }
    std::fs::remove_file(ws.path("base/tokenizer.json")).unwrap();
    let ended = ws.run("adapt base");
    assert_eq!(ended.code, Some(2));
    assert!(ended.stderr.contains("base has no tokenizer"), "{}", ended.stderr);
}
