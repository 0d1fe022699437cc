//! A sweep through Slurm: a job array with a task a run, and a job that gathers when the array is done.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use super::plan::Sweep;
use super::program::SweepProgram;
use crate::UserError;

/// What the user says about the jobs.
#[derive(Clone, Debug, Default)]
pub(crate) struct SlurmRequest {
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
pub(crate) struct Jobs {
    /// The job array.
    pub runs: PathBuf,
    /// The gathering job.
    pub collect: PathBuf,
}

/// Writes the job scripts for the runs with the given indices into the sweep's folder `slurm/`. `binary` is
/// that of the program, at a path that all nodes see.
///
/// # Errors
/// Fails where they cannot be written, or an option of the user does not fit into a line.
pub(crate) fn write<P: SweepProgram>(
    program: &P,
    sweep: &Sweep<P>,
    indices: &[usize],
    binary: &Path,
    request: &SlurmRequest,
) -> Result<Jobs> {
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
    let (folder, binary) = (quoted(&folder.to_string_lossy()), quoted(&binary.to_string_lossy()));
    let own: String = program.options().iter().flat_map(|option| [" ".to_owned(), quoted(option)]).collect();
    let list = lines(indices.iter().map(ToString::to_string));
    let list_path = slurm.join("indices.txt");
    crate::write_atomic(&list_path, list.as_bytes())?;
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
           {binary} sweep run {folder} --index \"$index\" --threads {threads} --quiet{own} && continue\n  \
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
         exec {binary} sweep collect {folder}{own}\n",
        log = log("collect.log"),
    );
    let jobs = Jobs { runs: slurm.join("runs.sh"), collect: slurm.join("collect.sh") };
    crate::write_atomic(&jobs.runs, runs.as_bytes())?;
    crate::write_atomic(&jobs.collect, collect.as_bytes())?;
    Ok(jobs)
}

/// Submits both jobs, the second to start when the first has ended, however it ended. Returns their ids.
///
/// # Errors
/// Fails where `sbatch` is missing or refuses.
pub(crate) fn submit(jobs: &Jobs) -> Result<(String, String)> {
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
