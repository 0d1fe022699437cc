use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::super::transfer::export;
use super::super::{PlanRequest, Results, Selection, Sweep, SweepProgram, run_all, run_and_collect};
use super::toy::{Keys, Toy, planned, resources};

const TOY: Toy = Toy { dies_at: None };

/// Results of a sweep over signs and seeds, and the text of what was gathered of it.
fn exported(folder: &Path) -> (PathBuf, Vec<u8>) {
    let sweep = planned(&folder.join("swept"));
    run_all(&TOY, &sweep, 1, resources(), true).unwrap();
    let request = PlanRequest { folder: sweep.folder.clone(), ..PlanRequest::default() };
    run_and_collect(&TOY, &request, Some(1), resources(), true).unwrap();
    let file = folder.join("results.jsonl");
    export(&TOY, std::slice::from_ref(&sweep.folder), &file).unwrap();
    (file, fs::read(sweep.folder.join("sums.txt")).unwrap())
}

fn read(files: &[PathBuf], selection: &Selection) -> Result<Results<Toy>, String> {
    Results::read(&TOY, files, selection).map_err(|error| error.to_string())
}

fn only(key: &str, values: &[Value]) -> Selection {
    Selection { only: BTreeMap::from([(key.to_owned(), values.to_vec())]), by: None }
}

fn names(results: &Results<Toy>) -> Vec<&str> {
    results.rows.iter().map(|row| row.planned.name.as_str()).collect()
}

#[test]
fn results_are_gathered_from_a_file_alone() {
    let folder = tempfile::tempdir().unwrap();
    let (file, direct) = exported(folder.path());
    // what stands there twice counts once
    let results = read(&[file.clone(), file], &Selection::default()).unwrap();
    let out = folder.path().join("out");
    fs::create_dir(&out).unwrap();
    TOY.collect(&results, &Keys::default(), &out).unwrap();
    assert_eq!(fs::read(out.join("sums.txt")).unwrap(), direct);
}

#[test]
fn a_line_says_what_computed_it() {
    let folder = tempfile::tempdir().unwrap();
    let (file, _) = exported(folder.path());
    let line: Value =
        serde_json::from_str(fs::read_to_string(file).unwrap().lines().next().unwrap()).unwrap();
    assert_eq!((&line["name"], &line["seed"]), (&json!("sign1-seed3"), &json!(3)));
    assert_eq!(
        (&line["threads"], &line["device"], &line["commit"]),
        (&json!(1), &json!("cpu"), &Value::Null)
    );
    let platform = format!("{}-{}", std::env::consts::OS, std::env::consts::ARCH);
    assert!(line["machine"].as_str().unwrap().starts_with(&platform), "{line}");
}

#[test]
fn a_finished_run_alone_is_exported_too() {
    let folder = tempfile::tempdir().unwrap();
    let (file, _) = exported(folder.path());
    let run = folder.path().join("swept/sign-1-seed4");
    let alone = folder.path().join("alone.jsonl");
    assert_eq!(
        export(&TOY, std::slice::from_ref(&run), &alone).unwrap(),
        format!("1 of 1 runs in {}\n", alone.display())
    );
    let line = fs::read_to_string(&alone).unwrap();
    assert!(fs::read_to_string(file).unwrap().contains(&line));
    fs::remove_file(run.join("summary.json")).unwrap();
    let error = export(&TOY, &[run], &alone).unwrap_err().to_string();
    assert!(error.contains("summary.json: "), "{error}");
}

#[test]
fn runs_are_chosen_by_their_settings_and_seed() {
    let folder = tempfile::tempdir().unwrap();
    let (file, _) = exported(folder.path());
    let files = [file];
    let chosen = |key: &str, values: &[Value]| {
        let results = read(&files, &only(key, values)).unwrap();
        names(&results).into_iter().map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(chosen("seed", &[json!(4)]), ["sign1-seed4", "sign-1-seed4"]);
    assert_eq!(chosen("train.sign", &[json!(-1.0)]), ["sign-1-seed3", "sign-1-seed4"]);
    assert_eq!(chosen("train.sign", &[json!(1), json!(-1)]).len(), 4);
    let error = read(&files, &only("train.sine", &[json!(1)])).unwrap_err();
    assert_eq!(error, "the settings have no key `train.sine` to choose by");
    let error = read(&files, &only("seed", &[json!(9)])).unwrap_err();
    assert!(error.starts_with("no result that is wanted stands in "), "{error}");
}

#[test]
fn runs_of_different_settings_are_told_apart_or_refused() {
    let folder = tempfile::tempdir().unwrap();
    let set =
        ["sweep.seeds=[3]", "sweep.signs=[1]", "sweep.axes=[\"train.scale=1.0,2.0\"]"].map(str::to_owned);
    let sweep = Sweep::<Toy>::plan(&folder.path().join("swept"), None, &set).unwrap();
    sweep.write().unwrap();
    run_all(&TOY, &sweep, 1, resources(), true).unwrap();
    let files = [folder.path().join("results.jsonl")];
    export(&TOY, &[sweep.folder], &files[0]).unwrap();
    // each line names the axes of its sweep
    assert_eq!(read(&files, &Selection::default()).unwrap().rows[1].planned.variant(), "scale 2.0");
    let by = |keys: &[&str]| Selection {
        by: Some(keys.iter().map(ToString::to_string).collect()),
        ..Selection::default()
    };
    assert_eq!(read(&files, &by(&["train.scale"])).unwrap().rows[1].planned.variant(), "scale 2.0");
    assert_eq!(
        read(&files, &by(&["train.updates"])).unwrap_err(),
        "sign1-scale1.0-seed3 and sign1-scale2.0-seed3 would count as seeds of one experiment, but differ in \
         train.scale"
    );
}

#[test]
fn contradictions_between_files_are_refused_by_name_and_origin() {
    let folder = tempfile::tempdir().unwrap();
    let (file, _) = exported(folder.path());
    let other = folder.path().join("other.jsonl");
    let text = fs::read_to_string(&file).unwrap();
    let hint = |text: String| {
        fs::write(&other, text).unwrap();
        let error = Results::read(&TOY, &[file.clone(), other.clone()], &Selection::default()).unwrap_err();
        let wanted = "other.jsonl line 1: sign1-seed3 has other numbers than there are already: summary.sum";
        assert!(error.to_string().ends_with(wanted), "{error}");
        error.downcast_ref::<crate::UserError>().unwrap().hint.clone().unwrap()
    };
    let wrong = text.replacen("\"sum\":", "\"sum\":-1", 1);
    assert!(hint(wrong.clone()).starts_with("the same settings and seed give the same numbers"));
    let elsewhere = hint(wrong.replacen("\"threads\":1", "\"threads\":2", 1));
    assert!(
        elsewhere.contains(", 1 threads, cpu, these from ") && elsewhere.contains(", 2 threads, cpu: keep")
    );
}
