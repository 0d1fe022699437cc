//! Texts of the user's own: what is trained and measured on, where they are kept, and how a run finds them again.
use serde_json::Value;

use crate::language::ws;

const ERA: &str = "era --out run --set experiment.methods=[\"era\"] --set data.cache=user";

#[test]
fn own_texts_are_validated_on_themselves_unless_others_are_named() {
    let ws = ws();
    let validation = |line: &str| {
        let printed = ws.done(&format!("config {line}"));
        let line = printed.lines().find(|line| line.starts_with("validation = ")).unwrap().to_owned();
        line.trim_start_matches("validation = ").to_owned()
    };
    assert_eq!(validation(""), "\"data/stories/validation.jsonl.gz\"");
    assert_eq!(validation("--set data.train=data/stories/train.jsonl.gz"), validation(""));
    assert_eq!(validation("--set data.train=mine.txt"), "\"\"");
    ws.write("mine.toml", "[data]\ntrain = \"mine.txt\"\n");
    assert_eq!(validation("--config mine.toml"), "\"\"");
    assert_eq!(validation("--config mine.toml --set data.validation=other.txt"), "\"other.txt\"");
}

#[test]
fn a_run_says_in_one_line_what_it_trains_and_validates_on() {
    let ws = ws();
    let said = |line: &str| {
        let ended = ws.run(line);
        assert_eq!(ended.code, Some(0), "{ended:?}");
        let lines = ended.texts.into_iter().filter(|line| line.starts_with("texts: training on "));
        lines.map(|line| line.trim_end().to_owned()).collect::<Vec<_>>()
    };
    let line =
        "texts: training on 216 of texts.jsonl (72 about the concept), validating on the last 24 of it (8)";
    assert_eq!(said("--out a --set experiment.methods=[\"base\"]"), [line]);
    let line =
        "texts: training on 240 of texts.jsonl (80 about the concept), validating on 30 of texts.jsonl (10)";
    let named = "--set experiment.methods=[\"base\"] --set data.validation=texts.jsonl";
    assert_eq!(said(&format!("--out b {named}")), [line]);
    assert!(said(&format!("--out c --quiet {named}")).is_empty());
}

#[test]
fn a_run_is_evaluated_from_another_folder() {
    let ws = ws();
    let cache = ws.path("caches").display().to_string();
    let user = [("XDG_CACHE_HOME", cache.as_str())];
    assert_eq!(ws.run_under(ERA, &user).code, Some(0));
    let here = ws.run_under("eval run --threads 1", &user);
    std::fs::create_dir(ws.path("elsewhere")).unwrap();
    let there = ws.run_in("elsewhere", "eval ../run --threads 1", &user);
    let losses = |printed: &str| -> Vec<Value> {
        let lines = printed.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        lines.map(|line| line["forget"].clone()).collect()
    };
    assert_eq!((there.code, there.stderr.as_str()), (Some(0), ""));
    assert_eq!(losses(&there.stdout), losses(&here.stdout));
    assert!(ws.tree("elsewhere").is_empty() && !ws.path("runs").exists());
    assert_eq!(std::fs::read_dir(ws.path("caches/signalbox/texts")).unwrap().count(), 1);
    // to write, a model needs nothing but its own folder
    std::fs::remove_dir_all(ws.path("caches")).unwrap();
    std::fs::remove_file(ws.path("texts.jsonl")).unwrap();
    let story = ws.run_in("elsewhere", "generate ../run --length 5 --threads 1", &user);
    assert_eq!((story.code, story.stderr.as_str()), (Some(0), ""));
    assert!(story.stdout.starts_with("One day") && !ws.path("caches").exists());
}

#[test]
fn a_model_is_measured_on_other_texts_with_its_own_tokens_alone() {
    let ws = ws();
    ws.done("era --out run --set experiment.methods=[\"era\"]");
    ws.write("other.jsonl", ws.read("texts.jsonl").replace("red ball", "green kite").repeat(2));
    let other = "eval run --threads 1 --set data.train=other.jsonl";
    let ended = ws.run(other);
    assert_eq!((ended.code, ended.stdout.as_str()), (Some(2), ""));
    let hint = "hint: to measure on other texts: --set data.tokenizer=run/models/tokenizer.json\n";
    assert!(ended.stderr.ends_with(hint), "{}", ended.stderr);
    ws.done(&format!("{other} --set data.tokenizer=run/models/tokenizer.json --trust"));
}

#[test]
fn without_a_cache_the_texts_are_prepared_each_time() {
    let ws = ws();
    ws.write("file", "");
    let taken = ws.path("file").display().to_string();
    for (variables, fault) in [
        (
            [("XDG_CACHE_HOME", ""), ("HOME", "")],
            "neither XDG_CACHE_HOME nor HOME says where the user's cache is",
        ),
        ([("XDG_CACHE_HOME", taken.as_str()), ("HOME", "")], "cannot write "),
    ] {
        let ended = ws.run_under(&ERA.replace("run", if fault.len() > 20 { "a" } else { "b" }), &variables);
        assert_eq!(ended.code, Some(0), "{}", ended.stderr);
        let warning = ended.stderr.lines().next().unwrap();
        assert!(warning.starts_with(&format!("warning: {fault}")), "{warning}");
        assert!(
            warning.ends_with("texts are prepared anew each time; `data.cache` can name a folder for them")
        );
    }
}

#[test]
fn a_folder_that_is_taken_is_refused_before_texts_are_prepared() {
    let ws = ws();
    std::fs::create_dir(ws.path("run")).unwrap();
    ws.write("run/mine", "");
    let ended = ws.run("era --out run");
    assert_eq!((ended.code, ended.texts.len()), (Some(2), 0), "{ended:?}");
    assert!(ended.stderr.starts_with("error: the run folder run already holds files\n"), "{}", ended.stderr);
}

#[cfg(unix)]
#[test]
fn ctrl_c_while_texts_are_prepared_says_that_nothing_is_lost() {
    let ws = ws();
    // enough to be caught in the middle
    ws.write("many.jsonl", ws.read("texts.jsonl").repeat(300));
    let mut running = ws.start_logging("era --out run --set data.train=many.jsonl", "log");
    running.wait_until(|| ws.read("log").contains("texts: preparing many.jsonl"));
    let id = running.id().to_string();
    assert!(std::process::Command::new("kill").args(["-s", "INT", &id]).status().unwrap().success());
    assert_eq!(running.end().code, Some(1));
    let log = ws.read("log");
    let lines: Vec<&str> = log.lines().collect();
    assert_eq!(
        lines[1..],
        [
            "stopping after the work in hand; once more to stop at once",
            "error: interrupted while the texts were prepared",
            "hint: nothing has been written; the same command begins again",
        ]
    );
    assert!(!ws.path("run").exists() && !ws.path("cache").exists());
}
