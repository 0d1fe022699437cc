//! A sweep through Slurm: a job array with a task a run, and a job that gathers when the array is done.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use experiment::UserError;

use super::plan::Sweep;

/// What the user says about the jobs.
#[derive(Clone, Debug, Default)]
pub struct SlurmRequest {
    /// Threads of a run.
    pub threads: usize,
    /// The most tasks at a time.
    pub concurrent: Option<usize>,
    /// Further options of `sbatch`, such as `--partition=cpu`.
    pub options: Vec<String>,
}

/// Tasks of one array: Slurm's default `MaxArraySize` allows indices to 1000. Of a longer plan each task does
/// several runs.
const MOST_TASKS: usize = 1000;

/// How often a task is started again after it was killed or stopped.
const RESTARTS: usize = 10;

/// The two job scripts of a sweep.
#[derive(Clone, Debug)]
pub struct Jobs {
    /// The job array.
    pub runs: PathBuf,
    /// The gathering job.
    pub collect: PathBuf,
}

/// Writes the job scripts for the runs with the given indices into the sweep's folder `slurm/`. `program` is
/// this binary, at a path that all nodes see.
///
/// # Errors
/// Fails where they cannot be written, or an option of the user does not fit into a line.
pub fn write(sweep: &Sweep, indices: &[usize], program: &Path, request: &SlurmRequest) -> Result<Jobs> {
    let folder = std::path::absolute(&sweep.folder)?;
    let slurm = folder.join("slurm");
    std::fs::create_dir_all(&slurm).with_context(|| format!("cannot make {}", slurm.display()))?;
    let name = folder.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
    if let Some(bad) = request.options.iter().find(|option| !option.starts_with('-') || option.contains('\n'))
    {
        let message = format!("{bad:?} is not an option of sbatch");
        return Err(UserError::usage(message).with_hint("write it as --sbatch=--partition=cpu").into());
    }
    let further = lines(request.options.iter().map(|option| format!("#SBATCH {option}")));
    let (folder, program) = (quoted(&folder.to_string_lossy()), quoted(&program.to_string_lossy()));
    let list = lines(indices.iter().map(ToString::to_string));
    let list_path = slurm.join("indices.txt");
    experiment::write_atomic(&list_path, list.as_bytes())?;
    let tasks = indices.len().min(MOST_TASKS);
    let limit = request.concurrent.map_or_else(String::new, |most| format!("%{most}"));
    let threads = request.threads;
    let log = |name: &str| format!("{:?}", slurm.join(name).to_string_lossy());
    let runs = format!(
        "#!/bin/sh\n\
         #SBATCH --job-name={name}\n\
         #SBATCH --array=0-{last}{limit}\n\
         #SBATCH --cpus-per-task={threads}\n\
         #SBATCH --requeue\n\
         #SBATCH --open-mode=append\n\
         #SBATCH --output={log}\n\
         {further}\
         # Slurm sends SIGTERM before a time limit: the run writes a checkpoint and ends. The shell waits for it.\n\
         trap 'stopped=1' TERM\n\
         for index in $(sed -n \"$((SLURM_ARRAY_TASK_ID + 1))~{tasks}p\" {list}); do\n  \
           {program} sweep run {folder} --index \"$index\" --threads {threads} --quiet && continue\n  \
           code=$?\n  \
           # stopped or killed: in the queue again, to go on from the last checkpoint\n  \
           if {{ [ -n \"$stopped\" ] || [ \"$code\" -gt 128 ]; }} && [ \"${{SLURM_RESTART_COUNT:-0}}\" -lt {RESTARTS} ]; then\n    \
             scontrol requeue \"$SLURM_JOB_ID\"\n    \
             exit \"$code\"\n  \
           fi\n  \
           failed=$code\n\
         done\n\
         exit \"${{failed:-0}}\"\n",
        last = tasks.saturating_sub(1),
        log = log("run-%a.log"),
        list = quoted(&list_path.to_string_lossy()),
    );
    let collect = format!(
        "#!/bin/sh\n\
         #SBATCH --job-name={name}-collect\n\
         #SBATCH --output={log}\n\
         {further}\
         exec {program} sweep collect {folder}\n",
        log = log("collect.log"),
    );
    let jobs = Jobs { runs: slurm.join("runs.sh"), collect: slurm.join("collect.sh") };
    experiment::write_atomic(&jobs.runs, runs.as_bytes())?;
    experiment::write_atomic(&jobs.collect, collect.as_bytes())?;
    Ok(jobs)
}

/// Submits both jobs, the second to start when the first has ended, however it ended. Returns their ids.
///
/// # Errors
/// Fails where `sbatch` is missing or refuses.
pub fn submit(jobs: &Jobs) -> Result<(String, String)> {
    let runs = sbatch(&[], &jobs.runs)?;
    let collect = sbatch(&[format!("--dependency=afterany:{runs}")], &jobs.collect)?;
    Ok((runs, collect))
}

fn sbatch(options: &[String], script: &Path) -> Result<String> {
    let output =
        Command::new("sbatch").arg("--parsable").args(options).arg(script).output().map_err(|error| {
            UserError::failed(format!("cannot start sbatch: {error}"))
                .with_hint("submit where Slurm is installed; the job scripts are written")
        })?;
    if !output.status.success() {
        let words = String::from_utf8_lossy(&output.stderr);
        let words: Vec<&str> = words.split_whitespace().collect();
        return Err(
            UserError::failed(format!("sbatch refused {}: {}", script.display(), words.join(" "))).into()
        );
    }
    let id = String::from_utf8_lossy(&output.stdout);
    // a cluster's name may follow after a semicolon
    Ok(id.trim().split(';').next().unwrap_or_default().to_owned())
}

fn lines(lines: impl Iterator<Item = String>) -> String {
    lines.flat_map(|line| [line, "\n".to_owned()]).collect()
}

/// A word for the shell.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "'\\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_scripts_name_each_unfinished_run_once() {
        let folder = tempfile::tempdir().unwrap();
        let sweep = Sweep::plan(&folder.path().join("it's"), None, &[]).unwrap();
        let request =
            SlurmRequest { threads: 2, concurrent: Some(4), options: vec!["--partition=cpu".to_owned()] };
        let jobs = write(&sweep, &[1, 3, 4], Path::new("/opt/ppo-routed"), &request).unwrap();
        let script = std::fs::read_to_string(&jobs.runs).unwrap();
        for line in ["#SBATCH --array=0-2%4", "#SBATCH --cpus-per-task=2", "#SBATCH --partition=cpu"] {
            assert!(script.lines().any(|found| found == line), "{script}");
        }
        // run for each task with the program replaced by echo
        let script = script.replace("'/opt/ppo-routed'", "echo");
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
            assert!(said.ends_with(&format!("it's --index {index} --threads 2 --quiet\n")), "{said}");
        }
    }

    #[test]
    fn a_task_of_a_long_plan_does_several_runs() {
        let folder = tempfile::tempdir().unwrap();
        let seeds: Vec<String> = (0..400).map(|seed: u32| seed.to_string()).collect();
        let sweep =
            Sweep::plan(folder.path(), None, &[format!("sweep.seeds=[{}]", seeds.join(","))]).unwrap();
        let all: Vec<usize> = (0..sweep.runs.len()).collect();
        let jobs = write(&sweep, &all, Path::new("echo"), &SlurmRequest::default()).unwrap();
        let script = std::fs::read_to_string(&jobs.runs).unwrap();
        assert!(script.contains("#SBATCH --array=0-999\n"), "{script}");
        let output =
            Command::new("sh").args(["-c", &script]).env("SLURM_ARRAY_TASK_ID", "7").output().unwrap();
        let said = String::from_utf8(output.stdout).unwrap();
        let indices: Vec<&str> =
            said.lines().filter_map(|line| line.split("--index ").nth(1)?.split(' ').next()).collect();
        assert_eq!(indices, ["7", "1007", "2007"]);
    }
}
