use super::super::{PlanRequest, Sweep, SweepConfig, run_and_collect};
use super::toy::{Config, Keys, Toy, planned, resources};
use crate::UserError;

fn plan(set: &[&str]) -> anyhow::Result<Sweep<Toy>> {
    let set: Vec<String> = set.iter().map(ToString::to_string).collect();
    Sweep::plan("nowhere".as_ref(), None, &set)
}

#[test]
fn own_axes_seeds_and_further_axes_make_names() {
    let names =
        |set: &[&str]| -> Vec<String> { plan(set).unwrap().runs.into_iter().map(|run| run.name).collect() };
    assert_eq!(names(&["sweep.seeds=[3]"]), ["sign1-seed3", "sign-1-seed3"]);
    assert_eq!(
        names(&["sweep.seeds=[3, 1]", "sweep.signs=[2]", "sweep.axes=[\"train.scale=1,2\"]"]),
        ["sign2-scale1-seed3", "sign2-scale2-seed3", "sign2-scale1-seed1", "sign2-scale2-seed1"]
    );
    let error = plan(&["sweep.axes=[\"train.updates=0,1\"]"]).unwrap_err();
    assert!(error.to_string().contains("must be at least 1, got 0"), "{error}");
    let error = plan(&["sweep.axes=[\"train.sign=1\"]"]).unwrap_err();
    assert!(error.to_string().contains("its values stand in `sweep.signs`"), "{error}");
    let error = plan(&["sweep.axes=[\"train.scale=1e1,1E1\"]"]);
    assert!(error.is_ok(), "names differ, though the settings do not");
    let error = plan(&["sweep.axes=[\"train.scale=1+1,1 1\"]"]).unwrap_err().to_string();
    assert!(error.contains("train.scale"), "{error}");
}

#[test]
fn a_plan_reads_back_and_a_damaged_one_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let sweep = planned(folder.path());
    let read = Sweep::<Toy>::open(folder.path()).unwrap();
    assert_eq!((read.runs, read.config), (sweep.runs, sweep.config));
    let path = folder.path().join("plan.jsonl");
    let good = std::fs::read_to_string(&path).unwrap();
    let outside = good.replace("sign1-seed3", "../sign1-seed3");
    for bad in
        ["{}\n", "\u{0}", &good[..good.len() / 2 - 9], &good.replace("\"index\":0", "\"index\":7"), &outside]
    {
        std::fs::write(&path, bad).unwrap();
        let error = Sweep::<Toy>::open(folder.path()).unwrap_err().to_string();
        assert!(error.contains("plan.jsonl line"), "{error}");
    }
}

#[test]
fn a_plan_of_a_version_that_knew_fewer_keys_reads_with_their_defaults() {
    let folder = tempfile::tempdir().unwrap();
    let sweep = planned(folder.path());
    let path = folder.path().join("plan.jsonl");
    let text = std::fs::read_to_string(&path).unwrap();
    let older = text.replace("\"scale\":1.0,", "");
    assert_ne!(older, text);
    std::fs::write(&path, older).unwrap();
    assert_eq!(Sweep::<Toy>::open(folder.path()).unwrap().runs, sweep.runs);
    let fault = text.replace("\"updates\":10", "\"updates\":0");
    std::fs::write(&path, fault).unwrap();
    let error = Sweep::<Toy>::open(folder.path()).unwrap_err().to_string();
    assert!(error.contains("line 1: not a run: `train.updates` (saved settings): must be"), "{error}");
}

#[test]
fn the_settings_of_a_sweep_read_back() {
    let set = ["sweep.seeds=[7]".to_owned(), "train.updates=3".to_owned()];
    let config: SweepConfig<Config, Keys> = crate::load(None, &set).unwrap();
    let text = crate::to_toml(&config).unwrap();
    assert_eq!(toml::from_str::<SweepConfig<Config, Keys>>(&text).unwrap(), config, "{text}");
}

#[test]
fn folders_of_other_runs_are_refused_before_the_plan_is_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let request = |set: &str| PlanRequest {
        set: vec!["sweep.seeds=[3]".to_owned(), set.to_owned()],
        folder: folder.path().to_owned(),
        ..PlanRequest::default()
    };
    let run = |set: &str| run_and_collect(&Toy::default(), &request(set), Some(1), resources(), true);
    assert_eq!(run("train.updates=4").unwrap().fault, None);
    let plan = || std::fs::read(folder.path().join("plan.jsonl")).unwrap();
    let before = plan();
    let refused = |set: &str| run(set).unwrap_err().downcast::<UserError>().unwrap();
    let error = refused("train.updates=5");
    assert_eq!(error.exit_code, 2);
    assert!(error.message.ends_with("sign1-seed3 holds a run with other settings"), "{error}");
    // the seed counts as much as the settings
    let path = folder.path().join("sign1-seed3/manifest.json");
    let manifest = std::fs::read_to_string(&path).unwrap().replace("\"seed\": 3", "\"seed\": 5");
    std::fs::write(&path, manifest).unwrap();
    let error = refused("train.updates=4");
    assert!(error.message.ends_with("sign1-seed3 holds a run with other seed, 5"), "{error}");
    assert_eq!(plan(), before);
}
