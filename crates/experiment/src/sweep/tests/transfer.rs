use std::fs;
use std::path::Path;

use super::super::transfer::{export, import};
use super::super::{PlanRequest, Sweep, run_all, run_and_collect};
use super::toy::{Toy, planned, resources};

const TOY: Toy = Toy { dies_at: None };

/// A finished sweep in `folder` and its exported results.
fn exported(folder: &Path) -> (Sweep<Toy>, String) {
    let sweep = planned(&folder.join("here"));
    run_all(&TOY, &sweep, 1, resources(), true).unwrap();
    let file = folder.join("results.jsonl");
    let said = export(&TOY, std::slice::from_ref(&sweep.folder), &file).unwrap();
    assert_eq!(said, format!("4 of 4 runs in {}\n", file.display()));
    (sweep, fs::read_to_string(&file).unwrap())
}

/// Gathers a sweep that stands in a folder.
fn collected(folder: &Path) -> (String, Vec<u8>) {
    let request = PlanRequest { folder: folder.to_owned(), ..PlanRequest::default() };
    let report = run_and_collect(&Toy { dies_at: Some(1) }, &request, Some(1), resources(), true).unwrap();
    assert_eq!(report.fault, None);
    let first = report.text.lines().next().unwrap().to_owned();
    (first, fs::read(folder.join("sums.txt")).unwrap())
}

#[test]
fn results_travel_and_count_as_finished_runs() {
    let folder = tempfile::tempdir().unwrap();
    let (_, text) = exported(folder.path());
    assert!(text.lines().all(|line| line.contains("\"program\":\"toy\",\"version\":\"1.0.0\"")), "{text}");
    assert!(!text.contains("seconds"), "{text}");
    let elsewhere = folder.path().join("elsewhere");
    let sweep = planned(&elsewhere);
    let said = import(&TOY, &sweep, &[folder.path().join("results.jsonl")]).unwrap();
    assert!(said.ends_with("results.jsonl: 4 results\n"), "{said}");
    // a toy that breaks in any run that is not finished
    assert_eq!(collected(&elsewhere), collected(&folder.path().join("here")));
    assert!(!elsewhere.join("sign1-seed3").exists());
    // exported again, they are the same
    export(&TOY, &[sweep.folder], &folder.path().join("again.jsonl")).unwrap();
    assert_eq!(fs::read_to_string(folder.path().join("again.jsonl")).unwrap(), text);
}

#[test]
fn files_are_merged_and_other_runs_left_out() {
    let folder = tempfile::tempdir().unwrap();
    let (_, text) = exported(folder.path());
    let lines: Vec<&str> = text.lines().collect();
    let file = |name: &str, lines: &[&str]| {
        let path = folder.path().join(name);
        fs::write(&path, lines.join("\n")).unwrap();
        path
    };
    let (one, two) = (file("one", &lines[..3]), file("two", &lines[2..]));
    let set = ["sweep.seeds=[3]".to_owned()];
    let sweep = Sweep::<Toy>::plan(&folder.path().join("few"), None, &set).unwrap();
    sweep.write().unwrap();
    let said = import(&TOY, &sweep, &[one.clone(), two.clone()]).unwrap();
    let lines: Vec<&str> = said.lines().collect();
    assert!(lines[0].ends_with("one: 2 results, 1 of no run of this plan left out"), "{said}");
    assert!(lines[1].ends_with("two: 0 results, 2 of no run of this plan left out"), "{said}");
    let all = planned(&folder.path().join("all"));
    import(&TOY, &all, &[one]).unwrap();
    import(&TOY, &all, &[two]).unwrap();
    assert_eq!(collected(&all.folder), collected(&folder.path().join("here")));
}

#[test]
fn contradictions_are_refused_by_name_and_change_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let (here, text) = exported(folder.path());
    let imported = here.folder.join("imported.jsonl");
    let refused = |sweep: &Sweep<Toy>, text: &str| {
        let file = folder.path().join("other.jsonl");
        fs::write(&file, text).unwrap();
        import(&TOY, sweep, &[file]).unwrap_err().to_string()
    };
    let curve = text.replacen("[[0,0.0]", "[[0,0.5]", 1);
    let sum = text.replacen("\"sum\":", "\"sum\":-1", 1);
    assert!(curve != text && sum != text);
    // against the run's own folder
    let error = refused(&here, &curve);
    assert!(
        error.contains("line 1: sign1-seed3 has other numbers than there are already: the curve eval/sum"),
        "{error}"
    );
    let error = refused(&here, &sum);
    assert!(
        error.ends_with(
            "other.jsonl line 1: sign1-seed3 has other numbers than there are already: summary.sum"
        ),
        "{error}"
    );
    assert!(!imported.exists());
    // against what was imported before, and within one file
    let there = planned(&folder.path().join("there"));
    import(&TOY, &there, &[folder.path().join("results.jsonl")]).unwrap();
    let before = fs::read(there.folder.join("imported.jsonl")).unwrap();
    assert!(refused(&there, &sum).contains("summary.sum"));
    assert!(refused(&planned(&folder.path().join("new")), &(text.clone() + &sum)).contains("line 5: "));
    assert_eq!(fs::read(there.folder.join("imported.jsonl")).unwrap(), before);
    // an older version may say the same
    import(&TOY, &here, &[folder.path().join("results.jsonl")]).unwrap();
}

#[test]
fn a_folder_and_an_import_that_differ_are_both_named() {
    let folder = tempfile::tempdir().unwrap();
    let (here, text) = exported(folder.path());
    fs::write(here.folder.join("imported.jsonl"), text.replacen("\"sum\":", "\"sum\":-1", 1)).unwrap();
    let results = super::super::Results::gather(&TOY, &here).unwrap();
    assert_eq!(results.unfinished, [0]);
    let fault = &results.unusable[0].fault;
    assert_eq!(fault, "sign1-seed3: its folder and an imported result have other numbers: summary.sum");
}

#[test]
fn what_is_no_result_of_the_program_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let (here, text) = exported(folder.path());
    for (bad, wanted) in [
        (text.replace("\"toy\"", "\"mnist-routed\""), "line 1: a result of mnist-routed, not of toy"),
        (text[..text.len() / 2].to_owned(), "not a result: EOF"),
        ("{}\n".to_owned(), "line 1: not a result: missing field"),
        (text.replace("\"updates\":10", "\"updates\":0"), "line 1: `train.updates` (saved settings)"),
    ] {
        let file = folder.path().join("bad.jsonl");
        fs::write(&file, bad).unwrap();
        let error = import(&TOY, &here, &[file]).unwrap_err().to_string();
        assert!(error.contains(wanted), "{error}");
    }
    let error =
        export(&TOY, &[planned(&folder.path().join("empty")).folder], &folder.path().join("x")).unwrap_err();
    assert_eq!(error.to_string(), "no run is finished, so there is nothing to export");
}
