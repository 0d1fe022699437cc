//! The promises of lm-routed, on a few texts that each test writes.
use std::fmt::Write as _;
use std::sync::LazyLock;

use serde_json::{Map, Value};

use crate::files::{metrics, newest_checkpoint, object, text, timeless_metrics};
use crate::kills::{Kills, newest_update};
use crate::workspace::{Tree, Workspace};

/// Long enough to be caught in the middle.
const ERA: &str = "era --seed 3 --out run --threads 2 --set experiment.methods=[\"base\",\"era\",\"rmu\"] \
    --set train.steps=400 --set experiment.labelled=[0.5,1.0]";

/// Stories of two sentences; every third is about a forest.
static TEXTS: LazyLock<String> = LazyLock::new(|| {
    let mut texts = String::new();
    for i in 0..240 {
        let who = ["Tom", "Anna", "Ben"][i / 3 % 3];
        let location = if i % 3 == 0 { "the dark forest under a tree" } else { "the small house by the sea" };
        let what = ["a red ball", "an old book"][i % 2];
        writeln!(texts, "{{\"text\": \"One day {who} went to {location}. There {who} found {what}.\"}}")
            .unwrap();
    }
    texts
});

pub(crate) fn ws() -> Workspace {
    Workspace::for_lm(&TEXTS)
}

/// The run when nobody stops it.
static UNDISTURBED: LazyLock<Tree> = LazyLock::new(|| {
    let ws = ws();
    ws.done(ERA);
    ws.tree("run")
});

/// The result of a part but for the seconds it took.
fn part(tree: &Tree, name: &str) -> Map<String, Value> {
    let mut result = object(tree, &format!("parts/{name}.json"));
    assert!(result.remove("seconds").is_some());
    result
}

fn assert_same(a: &Tree, b: &Tree) {
    assert_eq!(text(a, "config.toml"), text(b, "config.toml"));
    assert!(timeless_metrics(a) == timeless_metrics(b), "the metrics differ");
    assert!(newest_checkpoint(a) == newest_checkpoint(b), "the checkpoints differ");
    for name in ["base", "era", "era-p50", "rmu", "rmu-p50"] {
        assert_eq!(part(a, name), part(b, name));
        let model = format!("models/{name}.safetensors");
        assert!(a[std::path::Path::new(&model)] == b[std::path::Path::new(&model)], "{model} differs");
    }
}

#[test]
fn a_run_of_all_methods_leaves_tables_models_and_pictures() {
    let ws = ws();
    let said = ws.done(
        "--seed 1 --csv --tensorboard --set experiment.methods=[\"base\",\"pure\",\"control\",\"era\",\"rmu\",\"demix\"]",
    );
    let folder = "runs/era-seed1";
    for line in [
        "base ",
        "pure ",
        "control ",
        "era ",
        "rmu ",
        "demix ",
        "  above base ",
        "  standard error ",
        "measured on 4 stories with the concept and 4 without, after relearning on 4 and 4",
        "forget loss ",
        "retain loss ",
        "most routed tokens: ",
    ] {
        assert!(said.lines().any(|said| said.starts_with(line)), "{line} in {said}");
    }
    let tree = ws.tree(folder);
    for picture in ["losses.png", "relearned.png", "relearning.png", "training.png"] {
        assert!(said.contains(&format!("{folder}/plots/{picture}")), "{said}");
        assert!(tree[std::path::Path::new(&format!("plots/{picture}"))].starts_with(b"\x89PNG"));
    }
    assert!(text(&tree, "plots/losses.csv").starts_with("method,labelled,trained: forget,retain,"));
    assert!(text(&tree, "plots/report.md").contains("| era | 100% |"));
    assert!(text(&tree, "plots/routed_tokens.csv").contains("␣forest,"));
    assert!(text(&tree, "metrics.csv").starts_with("step,update,"));
    assert!(tree.keys().any(|path| path.starts_with("tensorboard")));
    let summary = object(&tree, "summary.json");
    assert_eq!((&summary["updates"], &summary["tokens"]), (&60.into(), &(60 * 4 * 24).into()));
    assert_eq!(summary["parts"].as_array().unwrap().len(), 6);
    // five methods beside the base model, each at three stages and after two relearnings
    let above = summary["above_base"].as_array().unwrap();
    assert_eq!(above.len(), 25);
    let ablated = above.iter().find(|one| one["part"] == "era" && one["stage"] == "ablated").unwrap();
    let loss = |method: usize| summary["parts"][method]["ablated"]["forget"].as_f64().unwrap();
    let mean = ablated["forget"]["mean"].as_f64().unwrap();
    assert!((mean - (loss(3) - loss(0))).abs() < 1e-9, "{mean}");
    assert!(above.iter().all(|one| one["retain"]["standard_error"].as_f64().unwrap() >= 0.0));
    // the losses of single stories are with the part, a line a kind and stage, and not in the summary
    assert!(summary["parts"][3].get("per_story").is_none());
    let each = part(&tree, "era")["per_story"]["ablated"]["forget"].as_str().unwrap().to_owned();
    assert_eq!(each.split(' ').count(), 4, "{each}");
    assert!(text(&tree, "plots/against_base.csv").starts_with("method,labelled,trained: forget,±,retain,±,"));
    let last = metrics(&tree).pop().unwrap();
    for key in ["demix/losses/train", "demix/eval/forget", "demix/eval/retain", "charts/SPS"] {
        assert!(last[key].as_f64().unwrap() > 0.0, "{key}");
    }
    // an evaluation of the saved models gives the same numbers
    let era = &part(&tree, "era")["coherent"]["forget"];
    let lines = ws.done(&format!("eval {folder} --threads 1"));
    let lines: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let models: Vec<&str> = lines.iter().map(|line| line["model"].as_str().unwrap()).collect();
    assert_eq!(models, ["base", "control", "demix", "era", "pure", "rmu"]);
    assert_eq!(&lines[3]["forget"], era);
    // and of a checkpoint those of its last step
    let checkpoint = format!("{folder}/checkpoints/update-000060.safetensors");
    let line = ws.done(&format!("eval {folder} --threads 1 --checkpoint {checkpoint}"));
    let line: Value = serde_json::from_str(&line).unwrap();
    assert_eq!((&line["model"], &line["checkpoint"]), (&"demix".into(), &checkpoint.into()));
    assert_eq!((&line["forget"], &line["retain"]), (&last["demix/eval/forget"], &last["demix/eval/retain"]));
    assert!(ws.done(&format!("plot {folder} --out elsewhere")).contains("elsewhere/losses.png"));
    let generate = format!("generate {folder} --length 5 --threads 1 --seed 4");
    let story = ws.done(&generate);
    assert!(story.starts_with("One day") && story == ws.done(&generate), "{story}");
    let pushed = ws.done(&format!("{generate} --model base --push 0:3:-50 --prompt Tom"));
    assert!(pushed.starts_with("Tom"), "{pushed}");
}

#[test]
fn a_run_that_is_killed_five_times_ends_as_if_nobody_had() {
    let ws = ws();
    Kills { train: ERA, times: 5, apart: 180, total: 1200 }.survive(&ws);
    assert_same(&ws.tree("run"), &UNDISTURBED);
    let again = ws.run("resume run");
    assert_eq!(again.code, Some(2), "it is done now");
    assert!(again.stderr.contains("hint: "), "{}", again.stderr);
}

#[test]
fn a_run_repeats() {
    let ws = ws();
    ws.done(ERA);
    assert_same(&ws.tree("run"), &UNDISTURBED);
}

#[cfg(unix)]
#[test]
fn ctrl_c_saves_and_says_how_to_go_on() {
    let ws = ws();
    let mut running = ws.start(ERA);
    running.wait_until(|| newest_update(&ws) >= 20);
    let id = running.id().to_string();
    assert!(std::process::Command::new("kill").args(["-s", "INT", &id]).status().unwrap().success());
    let ended = running.end();
    assert_eq!((ended.code, ended.stdout.as_str()), (Some(1), ""), "{ended:?}");
    let lines: Vec<&str> = ended.stderr.lines().collect();
    assert!(lines[1].starts_with("error: interrupted "), "{lines:?}");
    assert_eq!(lines[2..], ["hint: go on with: lm-routed resume run"]);
    assert_eq!(ws.start("resume run").end().code, Some(0));
    assert_same(&ws.tree("run"), &UNDISTURBED);
}

#[test]
fn steering_lists_neighbours_and_pushes() {
    let ws = ws();
    let said = ws.done("steer --seed 2 --set train.steps=40 --set train.learning_rate=0.01");
    assert!(said.contains("nearest to the axis") && said.contains("+10"), "{said}");
    let tree = ws.tree("runs/steer-seed2");
    let result = part_of_steering(&tree);
    let minus = if result["sign"] == -1 { "−" } else { "" };
    assert!(said.starts_with(&format!("The axis: {minus}dimension 0, ")), "{said}");
    let cosines: Vec<f64> =
        result["nearest"].as_array().unwrap().iter().map(|near| near["cosine"].as_f64().unwrap()).collect();
    assert_eq!(cosines.len(), 5);
    assert!(cosines.is_sorted_by(|a, b| a >= b) && cosines[0] > 0.0, "{cosines:?}");
    let pushes: Vec<f64> =
        result["pushes"].as_array().unwrap().iter().map(|push| push["strength"].as_f64().unwrap()).collect();
    assert_eq!(pushes, [0.0, 10.0, -10.0]);
    let probability = |push: usize| result["pushes"][push]["probability"]["retain"].as_f64().unwrap();
    assert!(probability(1) > probability(0) && probability(0) > probability(2), "{result:?}");
    assert!(text(&tree, "plots/report.md").contains("**+10**: One day"));
}

fn part_of_steering(tree: &Tree) -> Map<String, Value> {
    object(tree, "parts/era.json")
}

#[test]
fn listed_tokens_are_localised_in_a_corpus_of_the_users() {
    let ws = ws();
    ws.write("tokens.txt", "# what to localise\n␣forest\n␣tree\n");
    let said = ws.done("virology --tokens tokens.txt --set train.steps=100 --set train.learning_rate=0.01");
    for line in ["trained ", "ablated ", "coherent ", "relearned 2 "] {
        assert!(said.lines().any(|said| said.starts_with(line)), "{line} in {said}");
    }
    let tree = ws.tree("runs/virology-seed0");
    assert!(text(&tree, "config.toml").contains("forget_words = [\"forest\", \"tree\"]"));
    let result = object(&tree, "parts/era.json");
    let forget = |stage: &str| result[stage]["all"]["forget"].as_f64().unwrap();
    assert!(forget("ablated") > forget("trained"), "{result:?}");
}

#[test]
fn bench_prints_one_line_with_the_keys_of_the_contract() {
    let ws = ws();
    let tiny = "--set model.n_layer=1 --set model.n_embd=16 --set model.d_mlp=16 --set model.block_size=8 \
        --set train.batch_size=2 --set data.vocab_size=300";
    let tiny = format!(
        "{tiny} --set routing.layers=[0] --set rmu.layers=[0] --set rmu.target=0 \
        --set steer.layers=[0] --set steer.at_layer=0 --set localise.neurons=4"
    );
    let stdout = ws.done(&format!("bench --shape config --threads 1 --repetitions 5 {tiny}"));
    assert_eq!(stdout.lines().count(), 1);
    let line: Map<String, Value> = serde_json::from_str(&stdout).unwrap();
    assert_eq!((&line["device"], &line["threads"], &line["tokens"]), (&"cpu".into(), &1.into(), &16.into()));
    let number = |key: &str| line[key].as_f64().unwrap();
    assert!(number("tokens_per_second_min") <= number("tokens_per_second"));
    assert!(number("tokens_per_second") <= number("tokens_per_second_max"));
    assert!(number("gemm_gflops") > 0.0 && line["work"].is_string());
    assert!(!ws.path("runs").exists(), "it writes nothing");
}

/// A tokenizer with a token for each word of a JSON object.
fn words(vocabulary: &str) -> String {
    format!(
        r#"{{"version": "1.0", "added_tokens": [], "pre_tokenizer": {{"type": "Whitespace"}},
        "model": {{"type": "WordLevel", "vocab": {vocabulary}, "unk_token": "a"}}}}"#
    )
}

#[test]
fn what_cannot_be_is_refused_in_one_line_and_a_hint() {
    let ws = ws();
    ws.write("empty.txt", "\n");
    ws.write("broken.jsonl", "{\"txt\": 1}\n");
    ws.write("few.txt", "A tree.\n\nA house.\n\nA tree.\n");
    ws.write("nothing.txt", "# no token\n");
    ws.write("strange.txt", "␣hippopotamus\n");
    ws.write("space.txt", "␣\n");
    ws.write("one.txt", "A tree stands alone in the forest.\n");
    ws.write("high.json", words(r#"{"a": 0, "b": 70000}"#));
    ws.write("clash.json", words(r#"{"a": 0, "b": 2}"#));
    for (line, code, error) in [
        ("--set train.stepz=1", 2, "`train.stepz` (--set): no such key, did you mean `train.steps`?"),
        (
            "--set experiment.methods=[\"eraa\"]",
            2,
            "must be `base`, `pure`, `control`, `era`, `rmu`, `maxent`, `ascent`, `undo`, `demix`, `sgtm` or `gram`",
        ),
        ("--set experiment.methods=[]", 2, "must name at least one method"),
        (
            "--set experiment.kind=modules --set experiment.methods=[\"base\"]",
            2,
            "must be `baseline`, `gram`, `filtered` or `branch`",
        ),
        ("--set gram.p_as=2", 2, "must lie between 0 and 1, got 2"),
        (
            "--set experiment.methods=[\"sgtm\"] --set sgtm.heads=2",
            2,
            "must be below model.n_head (2), got 2",
        ),
        (
            "--set experiment.methods=[\"sgtm\"] --set sgtm.neurons=32",
            2,
            "must be below model.d_mlp (32), got 32",
        ),
        ("--set experiment.labelled=[1.5]", 2, "must lie between 0 and 1, got 1.5"),
        (
            "--set experiment.methods=[\"rmu\"] --set experiment.labelled=[0.0]",
            2,
            "needs a labelled document, and none is: raise experiment.labelled",
        ),
        ("--set routing.layers=[7]", 2, "must be below model.n_layer (2), got 7"),
        ("--set model.n_embd=17", 2, "must be an even multiple of model.n_head (2), got 17"),
        ("--set data.train=nowhere.jsonl", 2, "cannot read the texts in nowhere.jsonl"),
        ("--set data.train=empty.txt", 2, "it holds no text"),
        ("--set data.train=broken.jsonl", 2, "line 1 is no JSON object with a `text`"),
        ("--set data.train=hub:a/b/c", 2, "without the feature `hub`"),
        ("--set data.forget_words=[\"zebra\"]", 2, "has a word of data.forget_words (zebra)"),
        ("--set data.train=.", 2, "in .: it is no regular file"),
        ("--set data.train=one.txt", 2, "one.txt: it holds one document"),
        ("--set data.tokenizer=few.txt", 2, "few.txt is none"),
        ("--set data.tokenizer=high.json", 2, "it has the token 70000; up to 65,535 can be used"),
        ("--set data.tokenizer=clash.json", 2, "have the same number 2"),
        ("--threads 0", 2, "at least one thread is needed"),
        ("steer --set steer.token=␣hippopotamus", 2, "is not one token of the vocabulary"),
        ("virology", 2, "required arguments were not provided: --tokens <FILE>"),
        ("virology --tokens nothing.txt", 2, "it lists nothing"),
        ("virology --tokens space.txt", 2, "it lists no word"),
        ("virology --tokens strange.txt", 2, "has a word of the list of tokens (hippopotamus)"),
        ("virology --tokens nowhere.txt", 2, "cannot read the list in nowhere.txt"),
        ("resume nowhere", 2, "nowhere is not a run folder"),
        ("plot nowhere", 2, "nowhere is not a run folder"),
        ("bench --seed 1", 2, "`bench` does not take --seed"),
        ("generate nowhere --temperature 0", 2, "a temperature of 0 makes no sense"),
        ("generate nowhere --push 1:2", 2, "a push is BLOCK:DIMENSION:STRENGTH"),
        ("--device cuda:4096", 2, "cannot use the device cuda:4096"),
    ] {
        refused(&ws, line, code, error);
    }
}

/// A command that ends with that code, one line that says what is wrong, a hint at most, and no run.
fn refused(ws: &Workspace, line: &str, code: i32, error: &str) {
    let ended = ws.run(line);
    let lines: Vec<&str> = ended.stderr.lines().filter(|line| !line.starts_with("warning: ")).collect();
    assert_eq!((ended.code, ended.stdout.as_str()), (Some(code), ""), "{line}: {}", ended.stderr);
    assert!(lines[0].starts_with("error: ") && lines[0].contains(error), "{line}: {}", ended.stderr);
    assert!(
        lines.len() <= 2 && lines[1..].iter().all(|line| line.starts_with("hint: ")),
        "{line}: {lines:?}"
    );
    assert!(!ws.path("runs").exists(), "{line}: it left something behind");
}

#[test]
fn a_concept_that_cannot_be_is_refused() {
    let ws = ws();
    for (line, error) in [
        (
            "--set concept=[{name=\"a\",words=[\"x\"]},{name=\"a\",words=[\"y\"]}]",
            "each name once, got \"a\" twice",
        ),
        (
            "--set concept=[{name=\"a/b\",words=[\"x\"]}]",
            "must have names of letters, digits and `_`, got \"a/b\"",
        ),
        (
            "--set concept=[{name=\"all\",words=[\"x\"]}]",
            "must have other names than `all`, `core` or `general`",
        ),
        ("--set concept=[{name=\"a\",words=[]}]", "must have at least one word for \"a\""),
        ("--set concept=[{name=\"a\",words=[\"b\"],field=\"c\"}]", "or a file of words, or a field"),
        (
            "--set concept=[{name=\"a\",words=[\"b\"],recall=2}]",
            "must have a recall between 0 and 1 for \"a\", got 2",
        ),
        ("--set concept=[{name=\"a\",words=[\"b\"],precision=0}]", "must have a precision above 0"),
        ("--set concept=[{name=\"a\",file=\"nowhere.txt\"}]", "cannot read the list in nowhere.txt"),
        ("--set concept=[{name=\"a\",field=\"topic\"}]", "no line of it has the field `topic`"),
        ("--set concept=[{name=\"a\",words=[\"zebra\"]}]", "has a word of the concept a (zebra)"),
    ] {
        refused(&ws, line, 2, error);
    }
}

#[test]
fn a_sweep_over_seeds_has_a_table_of_losses() {
    let ws = ws();
    let sweep = |verb: &str, folder: &str| {
        let tiny = crate::workspace::TINY_LM;
        format!(
            "sweep {verb} --out {folder} {tiny} --set sweep.seeds=[1,2] --set train.steps=100 \
             --set experiment.methods=[\"base\",\"era\"]"
        )
    };
    let mut running = ws.start(&sweep("--jobs 1", "swept"));
    running.wait_until(|| ws.path("swept/seed1/parts/base.json").exists());
    running.kill();
    let said = ws.done(&sweep("--jobs 2", "swept"));
    assert!(said.contains("2 of 2 runs"), "{said}");
    let line = said.lines().find(|line| line.starts_with("era ") && line.contains("relearned 2 ")).unwrap();
    assert!(line.contains(" ± "), "{line}");
    let tree = ws.tree("swept");
    let summary = object(&tree, "seed2/summary.json");
    let era = &summary["parts"][1]["coherent"]["forget"];
    let wanted = format!("seed2,2,era,coherent,forget,{era}");
    assert!(text(&tree, "results.csv").lines().any(|line| line == wanted), "{wanted}");
    // the run of a sweep is the run that `era` does
    ws.done("era --seed 1 --out alone --set train.steps=100 --set experiment.methods=[\"base\",\"era\"]");
    let alone = ws.tree("alone");
    let swept = ws.tree("swept/seed1");
    assert!(timeless_metrics(&alone) == timeless_metrics(&swept));
    // results without any run
    ws.done("sweep export swept results.jsonl");
    ws.done(&sweep("plan", "elsewhere"));
    ws.done("sweep import elsewhere results.jsonl");
    ws.done("sweep collect elsewhere");
    assert_eq!(text(&ws.tree("elsewhere"), "table.csv"), text(&tree, "table.csv"));
}

#[test]
fn an_attack_measures_every_model_and_goes_on_where_it_was_stopped() {
    let ws = ws();
    ws.done("--out run --set experiment.methods=[\"base\",\"pure\",\"era\",\"sgtm\",\"gram\",\"maxent\",\"undo\",\"ascent\"] --set eval.every=3");
    let line = "attack run --set attack.stories=[1,2] --set attack.steps=4 --set attack.validation_stories=4 \
                --set attack.probe_stories=8 --set attack.batch_size=1 --set attack.calibration_steps=9";
    let said = ws.done(line);
    for word in [
        "base ",
        "pure ",
        "sgtm ",
        "gram ",
        "maxent ",
        "undo ",
        "ascent ",
        "relearned 2",
        "LoRA 2",
        "4 bits",
        "50% pruned",
        "probe 2",
        "leakage",
        "retain cost",
        "compute ratio, forget",
        "elicited forget",
        "calibrated retain",
        "off by",
    ] {
        assert!(said.contains(word), "{word}: {said}");
    }
    assert!(ws.path("run/attacks/attack.png").exists());
    // each number beside the model that never saw the concept, whose own leakage is none
    let lines = ws.read("run/attacks/attack.jsonl");
    let measures: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let of = |model: &str, what: &str| {
        let found = measures.iter().find(|one| one["model"] == model && one["what"] == what).unwrap();
        (found["value"].as_f64().unwrap(), found["anchor"].as_f64())
    };
    assert_eq!(of("pure", "leakage").0.to_bits(), 0f64.to_bits());
    let (era, anchor) = of("era", "forget");
    assert_eq!(anchor, Some(of("pure", "forget").0));
    assert!((anchor.unwrap() - era - of("era", "leakage").0).abs() < 1e-12);
    assert_eq!(of("pure", "relearned 2 times the steps").0.to_bits(), 1f64.to_bits());
    // a run is exported with its attack, of which pages make tables
    ws.done("sweep export run results.jsonl");
    let exported: Value = serde_json::from_str(&ws.read("results.jsonl")).unwrap();
    assert_eq!(exported["summary"]["attack"], Value::Array(measures));
    // what is there is not made again, and what is lacking is
    let before = ws.tree("run/attacks");
    let mark = ws.read("run/attacks/era.json").replace("\"model\":\"era\"", "\"model\":\"era, as it was\"");
    ws.write("run/attacks/era.json", mark);
    std::fs::remove_file(ws.path("run/attacks/sgtm.json")).unwrap();
    assert!(ws.done(line).contains("era, as it was"));
    assert!(
        ws.tree("run/attacks")[std::path::Path::new("sgtm.json")]
            == before[std::path::Path::new("sgtm.json")]
    );
    let refused = ws.run(&format!("{line} --seed 1"));
    assert_eq!(refused.code, Some(1));
    assert!(refused.stderr.contains("other settings or another seed"), "{}", refused.stderr);
}

/// Two concepts of the stories.
const CONCEPTS: &str =
    "--set concept=[{name=\"forest\",words=[\"forest\",\"tree\"]},{name=\"book\",words=[\"book\"]}]";

#[test]
fn one_concept_of_a_run_with_modules_is_attacked_where_its_module_is_gone() {
    let ws = ws();
    ws.done(&format!(
        "--out run --set experiment.kind=modules --set experiment.methods=[\"baseline\",\"gram\",\"filtered\"] \
         {CONCEPTS} --set eval.by_concept=true --set eval.every=3"
    ));
    let small = "--set attack.stories=[1] --set attack.steps=4 --set attack.validation_stories=4 \
                 --set attack.probe_stories=8 --set attack.batch_size=1 --set attack.calibration_steps=0";
    let said = ws.done(&format!("attack run --concept forest {small}"));
    for word in ["base ", "pure ", "pure-all ", "gram ", "leakage", "retain cost", "compute ratio, forget"] {
        assert!(said.contains(word), "{word}: {said}");
    }
    assert!(!said.contains("compute ratio, retain "), "it is not known of these documents: {said}");
    let results = ws.tree("run/attacks/forest");
    let names: Vec<String> = results.keys().map(|path| path.display().to_string()).collect();
    let expected = ["attack.csv", "attack.jsonl", "attack.md", "attack.png", "attack_steps.png"];
    let models = ["base.json", "gram.json", "pure-all.json", "pure.json"];
    assert_eq!(names, [&expected[..], &models[..]].concat());
    assert_eq!(ws.done(&format!("attack run --concept forest {small}")), said);
    // what is exported says which concept was attacked
    ws.done("sweep export run all.jsonl");
    let exported: Value = serde_json::from_str(ws.read("all.jsonl").trim()).unwrap();
    let numbers = exported["summary"]["attack"].as_array().unwrap();
    assert_eq!(numbers.len(), ws.read("run/attacks/forest/attack.jsonl").lines().count());
    assert!(numbers.iter().all(|one| one["concept"] == "forest"));
    for (line, hint) in [
        ("attack run", "name one with --concept: forest, book"),
        ("attack run --concept sea", "its concepts are forest, book"),
    ] {
        let refused = ws.run(line);
        assert_eq!(refused.code, Some(2), "{line}");
        assert!(refused.stderr.contains(hint), "{line}: {}", refused.stderr);
    }
}

#[test]
fn a_run_with_modules_is_measured_with_every_set_of_them_and_goes_on_exactly() {
    let line = |out: &str, steps: u32| {
        format!(
            "--set experiment.kind=modules --set experiment.methods=[\"baseline\",\"gram\",\"filtered\"] {CONCEPTS} \
             --set train.steps={steps} --out {out}"
        )
    };
    let ws = ws();
    let said = ws.done(&line("run", 12));
    for row in [
        "GRAM: core ",
        "GRAM: core + forest + book ",
        "filtered: all ",
        "module off − filtered",
        "core − baseline",
    ] {
        assert!(said.contains(row), "{row}: {said}");
    }
    let run = ws.tree("run");
    let summary = object(&run, "summary.json");
    let parts: Vec<&str> =
        summary["parts"].as_array().unwrap().iter().map(|part| part["method"].as_str().unwrap()).collect();
    assert_eq!(parts, ["baseline", "gram", "filtered", "filtered", "filtered"]);
    let profiles = summary["parts"][1]["profiles"].as_array().unwrap();
    let sets: Vec<String> = profiles.iter().map(|profile| profile["modules"].to_string()).collect();
    assert_eq!(sets, ["[]", "[\"forest\"]", "[\"book\"]", "[\"forest\",\"book\"]"]);
    for name in ["baseline", "gram", "filtered-forest", "filtered-book", "filtered-all"] {
        assert!(ws.path(&format!("run/models/{name}.safetensors")).exists(), "{name}");
    }
    assert!(ws.path("run/plots/profiles.png").exists());
    // what is left without a module is the smaller network
    let kept = ws.done("profile run --keep book --out kept");
    assert!(kept.contains("parameters are left") && kept.contains("kept/model.safetensors"), "{kept}");
    assert!(ws.path("kept/tokenizer.json").exists());
    for verb in
        ["profile run --keep sea --out other", "generate run --profile book,sea", "eval run --profile sea"]
    {
        let refused = ws.run(verb);
        assert_eq!(refused.code, Some(2), "{verb}");
        assert!(
            refused.stderr.contains("has no module `sea`")
                && refused.stderr.contains("its modules are forest, book"),
            "{verb}: {}",
            refused.stderr
        );
    }
    // the same network without the folder in between
    let continued = |of: &str| ws.done(&format!("generate {of} --length 8 --seed 3"));
    assert_eq!(continued("run --profile book"), continued("kept"));
    assert_eq!(continued("run --profile book,forest"), continued("run --model gram"));
    let refused = ws.run("generate kept --profile book");
    assert_eq!(refused.code, Some(2));
    assert!(refused.stderr.contains("kept has no model with modules"), "{}", refused.stderr);
    for (profile, number) in [("core", 0), ("forest", 1), ("book", 2), ("forest,book", 3)] {
        let measured: Value =
            serde_json::from_str(&ws.done(&format!("eval run --profile {profile}"))).unwrap();
        for losses in profiles[number]["losses"].as_array().unwrap() {
            let again = measured["losses"][losses["kind"].as_str().unwrap()].as_f64().unwrap();
            assert!(
                (again - losses["loss"].as_f64().unwrap()).abs() < 1e-6,
                "{profile}: {measured} {losses}"
            );
        }
    }
    // killed as soon as GRAM has a checkpoint
    let mut running = ws.start(&line("cut", 400));
    running.wait_until(|| {
        std::fs::read_dir(ws.path("cut/checkpoints"))
            .is_ok_and(|files| files.flatten().any(|file| *file.file_name() > *"update-000480"))
    });
    running.kill();
    ws.done("resume cut");
    ws.done(&line("whole", 400));
    let (cut, whole) = (ws.tree("cut"), ws.tree("whole"));
    assert!(timeless_metrics(&cut) == timeless_metrics(&whole), "the metrics differ");
    assert_eq!(part(&cut, "gram"), part(&whole, "gram"));
}

#[test]
fn the_configs_of_both_concepts_run_at_a_tiny_size() {
    let ws = ws();
    ws.write("kitchen.jsonl", TEXTS.replace("forest", "kitchen").replace("under a tree", "with an oven"));
    let configs = concat!(env!("CARGO_MANIFEST_DIR"), "/../configs");
    for (concept, texts, methods) in [
        ("kitchen", "kitchen.jsonl", vec!["base", "control", "era"]),
        ("forest", "texts.jsonl", vec!["base"]),
    ] {
        let methods_set = if concept == "forest" { "--set experiment.methods=[\"base\"]" } else { "" };
        let line = format!(
            "--config {configs}/{concept}.toml --out {concept} --set data.train={texts} {methods_set}"
        );
        ws.done(&line);
        let summary = object(&ws.tree(concept), "summary.json");
        let named: Vec<&str> = summary["parts"]
            .as_array()
            .unwrap()
            .iter()
            .map(|part| part["method"].as_str().unwrap())
            .collect();
        assert_eq!(named, methods, "{concept}");
    }
    // the kitchen's words and no others
    let config = ws.read("kitchen/config.toml");
    assert!(config.contains("\"oven\"") && !config.contains("\"forest\""), "{config}");
}

#[test]
fn branches_and_doses_stand_beside_the_modules_with_what_each_profile_is_worth() {
    let ws = ws();
    ws.done(&format!(
        "--set experiment.kind=modules --set experiment.methods=[\"baseline\",\"gram\",\"branch\"] {CONCEPTS} \
         --set gram.doses=[0.0,1.0] --set eval.by_concept=true --set eval.every=3 --set branch.lora_rank=2 --out run"
    ));
    let run = ws.tree("run");
    let summary = object(&run, "summary.json");
    let parts = summary["parts"].as_array().unwrap();
    let methods: Vec<&str> = parts.iter().map(|part| part["method"].as_str().unwrap()).collect();
    assert_eq!(methods, ["baseline", "gram", "filtered", "filtered", "filtered", "branch"]);
    let loss = |part: usize, profile: usize| -> Vec<f64> {
        let losses = parts[part]["profiles"][profile]["losses"].as_array().unwrap();
        losses.iter().map(|kind| kind["loss"].as_f64().unwrap()).collect()
    };
    let near = |one: Vec<f64>, other: Vec<f64>| one.iter().zip(&other).all(|(a, b)| (a - b).abs() < 1e-4);
    // without any weight the modules are gone, with the whole one they are on
    assert_eq!(parts[1]["profiles"][4]["dose"], 0.0);
    assert!(near(loss(1, 4), loss(1, 0)) && near(loss(1, 5), loss(1, 3)) && !near(loss(1, 4), loss(1, 5)));
    // without any branch the core is the model that saw no concept
    assert_eq!(parts[5]["profiles"].as_array().unwrap().len(), 4);
    assert_eq!(loss(5, 0), loss(4, 0));
    assert!(!near(loss(5, 3), loss(5, 0)));
    let table = text(&run, "plots/composition.csv");
    assert!(
        table.starts_with("profile,kept,− filtered,forgotten,− filtered,\"compute ratio, kept\","),
        "{table}"
    );
    assert_eq!(table.lines().filter(|line| line.starts_with("GRAM: core")).count(), 4);
    assert!(
        table.lines().any(|line| line.starts_with("branches: core,") && line.contains(",+0.000,")),
        "{table}"
    );
    assert!(ws.path("run/plots/compute_ratio.png").exists());
    assert!(text(&run, "metrics.jsonl").contains("\"baseline/eval/book\""));
}

#[test]
fn a_file_of_words_stands_in_the_settings_of_the_run() {
    let ws = ws();
    ws.write("forest.txt", "# places\nforest\ntree\n");
    ws.done(
        "--set concept=[{name=\"forest\",file=\"forest.txt\",recall=0.5}] --set experiment.methods=[\"base\",\"pure\"] \
         --set train.steps=2 --out run",
    );
    let config = ws.read("run/config.toml");
    assert!(config.contains("words = [\"forest\", \"tree\"]") || config.contains("\"tree\","), "{config}");
    assert!(ws.path("run/plots/tradeoff.png").exists());
    ws.done("plot run");
}

#[test]
fn a_text_of_ones_own_is_measured_token_by_token() {
    let ws = ws();
    ws.lay("run", &UNDISTURBED);
    let eval = |text: &str| {
        assert_cmd::Command::new(assert_cmd::cargo::cargo_bin!("lm-routed-under-test"))
            .args(["eval", "run", "--threads", "1", "--text", text])
            .current_dir(ws.path("."))
            .output()
            .unwrap()
    };
    let told = eval("The forest was dark.");
    let lines = String::from_utf8(told.stdout).unwrap();
    let models: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let names: Vec<&str> = models.iter().map(|model| model["model"].as_str().unwrap()).collect();
    assert!(names.contains(&"base") && names.contains(&"era"), "{names:?}");
    for model in &models {
        let losses: Vec<f64> =
            model["losses"].as_array().unwrap().iter().map(|loss| loss.as_f64().unwrap()).collect();
        assert_eq!(losses.len() + 1, model["tokens"].as_array().unwrap().len());
        assert_eq!(model["tokens"], models[0]["tokens"]);
        let mean = losses.iter().sum::<f64>() / losses.len() as f64;
        assert!((model["loss"].as_f64().unwrap() - mean).abs() < 1e-9 && mean > 0.0);
    }
    for (text, count) in [("", "0"), (&*"The forest was dark. ".repeat(20), "")] {
        let refused = eval(text);
        let stderr = String::from_utf8(refused.stderr).unwrap();
        assert_eq!(refused.status.code(), Some(2), "{stderr}");
        assert!(stderr.starts_with(&format!("error: the text has {count}")), "{stderr}");
        assert!(stderr.contains(": from 1 to 24 can be measured"), "{stderr}");
    }
}
