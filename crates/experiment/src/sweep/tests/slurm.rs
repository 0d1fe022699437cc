use std::path::Path;
use std::process::Command;

use super::super::Sweep;
use super::super::slurm::{SlurmRequest, write};
use super::toy::Toy;

const TOY: Toy = Toy { dies_at: None };

#[test]
fn the_scripts_name_each_unfinished_run_once() {
    let folder = tempfile::tempdir().unwrap();
    let sweep = Sweep::<Toy>::plan(&folder.path().join("it's"), None, &[]).unwrap();
    let request =
        SlurmRequest { threads: 2, concurrent: Some(4), options: vec!["--partition=cpu".to_owned()] };
    let jobs = write(&TOY, &sweep, &[1, 3, 4], Path::new("/opt/toy"), &request).unwrap();
    let script = std::fs::read_to_string(&jobs.runs).unwrap();
    for line in ["#SBATCH --array=0-2%4", "#SBATCH --cpus-per-task=2", "#SBATCH --partition=cpu"] {
        assert!(script.lines().any(|found| found == line), "{script}");
    }
    // run for each task with the program replaced by one that shows its words
    let script = script.replace(" /opt/toy sweep", " printf '<%s>' sweep");
    let index_of = |task: usize| {
        let output = Command::new("sh")
            .args(["-c", &script])
            .env("SLURM_ARRAY_TASK_ID", task.to_string())
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    let said: Vec<String> = (0..3).map(index_of).collect();
    for (said, index) in said.iter().zip([1, 3, 4]) {
        let end = format!("it's><--index><{index}><--threads><2><--quiet><--shelf><top shelf>");
        assert!(said.ends_with(&end), "{said}");
    }
    let collect = std::fs::read_to_string(&jobs.collect).unwrap();
    assert!(collect.ends_with("it's\" --shelf 'top shelf'\n"), "{collect}");
}

#[test]
fn whatever_the_folder_is_called_nothing_else_is_run() {
    let folder = tempfile::tempdir().unwrap();
    for (name, job) in [
        ("two words --uid=0", "two_words_--uid_0"),
        ("$(touch pwned)`touch pwned`;touch pwned", "__touch_pwned__touch_pwned__touch_pwned"),
        ("'\"\\ %a #", "_____a__"),
    ] {
        let sweep = Sweep::<Toy>::plan(&folder.path().join(name), None, &[]).unwrap();
        let jobs = write(&TOY, &sweep, &[0], Path::new("printf"), &SlurmRequest::default()).unwrap();
        for (path, ending) in [(&jobs.runs, ""), (&jobs.collect, "-collect")] {
            let script = std::fs::read_to_string(path).unwrap();
            let options: Vec<&str> = script.lines().filter(|line| line.starts_with("#SBATCH")).collect();
            assert_eq!(options[0], format!("#SBATCH --job-name={job}{ending}"));
            assert!(options[1..].iter().all(|line| !line.contains("touch") || line.contains("--output=\"")));
            let script = script.replace("printf sweep", "printf '<%s>' sweep");
            let output = Command::new("sh")
                .args(["-c", &script])
                .env("SLURM_ARRAY_TASK_ID", "0")
                .current_dir(folder.path())
                .output()
                .unwrap();
            let said = String::from_utf8(output.stdout).unwrap();
            assert!(said.contains(&format!("/{name}>")), "{said} {script}");
        }
        assert!(!folder.path().join("pwned").exists(), "{name}");
    }
    let sweep = Sweep::<Toy>::plan(&folder.path().join("a\ntouch pwned"), None, &[]).unwrap();
    let error = write(&TOY, &sweep, &[0], Path::new("toy"), &SlurmRequest::default()).unwrap_err();
    assert!(error.to_string().ends_with("does not fit into a job script"), "{error}");
    assert!(!sweep.folder.exists());
}

#[test]
fn a_task_of_a_long_plan_does_several_runs() {
    let folder = tempfile::tempdir().unwrap();
    let seeds: Vec<String> = (0..1200).map(|seed: u32| seed.to_string()).collect();
    let set = [format!("sweep.seeds=[{}]", seeds.join(","))];
    let sweep = Sweep::<Toy>::plan(folder.path(), None, &set).unwrap();
    let all: Vec<usize> = (0..sweep.runs.len()).collect();
    let jobs = write(&TOY, &sweep, &all, Path::new("echo"), &SlurmRequest::default()).unwrap();
    let script = std::fs::read_to_string(&jobs.runs).unwrap();
    assert!(script.contains("#SBATCH --array=0-999\n"), "{script}");
    let output = Command::new("sh").args(["-c", &script]).env("SLURM_ARRAY_TASK_ID", "7").output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    let indices: Vec<&str> =
        said.lines().filter_map(|line| line.split("--index ").nth(1)?.split(' ').next()).collect();
    assert_eq!(indices, ["7", "1007", "2007"]);
}

#[test]
fn what_is_no_option_of_sbatch_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let sweep = Sweep::<Toy>::plan(folder.path(), None, &[]).unwrap();
    for bad in ["partition", "--a\n#SBATCH --b"] {
        let request = SlurmRequest { threads: 1, concurrent: None, options: vec![bad.to_owned()] };
        let error = write(&TOY, &sweep, &[0], Path::new("toy"), &request).unwrap_err();
        assert!(error.to_string().contains("is not an option of sbatch"), "{error}");
    }
}
