//! A sweep through Slurm: a job array with a task a run, and a job that gathers when the array is done.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use super::plan::{Sweep, file_name};
use super::program::SweepProgram;
use crate::{UserError, shell_path, shell_word};

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
/// Fails where they cannot be written, or an option of the user or the path of the sweep does not fit into a line.
pub(crate) fn write<P: SweepProgram>(
    program: &P,
    sweep: &Sweep<P>,
    indices: &[usize],
    binary: &Path,
    request: &SlurmRequest,
) -> Result<Jobs> {
    let folder = std::path::absolute(&sweep.folder)?;
    let slurm = folder.join("slurm");
    // the name of the job is not quoted: whatever is no plain letter would be another option, or another line
    let name = folder.file_name().map_or_else(String::new, |name| file_name(&name.to_string_lossy()));
    let log = |file: &str| log_path(&slurm.join(file));
    let (runs_log, collect_log) = (log("run-%a.log")?, log("collect.log")?);
    let is_option = |option: &str| option.starts_with('-') && !option.contains(char::is_control);
    if let Some(bad) = request.options.iter().find(|option| !is_option(option)) {
        let message = format!("{bad:?} is not an option of sbatch");
        return Err(UserError::usage(message).with_hint("write it as --sbatch=--partition=cpu").into());
    }
    let further = lines(request.options.iter().map(|option| format!("#SBATCH {option}")));
    std::fs::create_dir_all(&slurm).with_context(|| format!("cannot make {}", slurm.display()))?;
    let (folder, binary) = (shell_path(&folder), shell_path(binary));
    let own: String =
        program.options().iter().flat_map(|option| [" ".to_owned(), shell_word(option)]).collect();
    let list = lines(indices.iter().map(ToString::to_string));
    let list_path = slurm.join("indices.txt");
    crate::write_atomic(&list_path, list.as_bytes())?;
    let tasks = indices.len().min(MOST_TASKS);
    let limit = request.concurrent.map_or_else(String::new, |most| format!("%{most}"));
    let threads = request.threads;
    let runs = format!(
        "#!/bin/sh\n\
         #SBATCH --job-name={name}\n\
         #SBATCH --array=0-{last}{limit}\n\
         #SBATCH --cpus-per-task={threads}\n\
         #SBATCH --requeue\n\
         #SBATCH --open-mode=append\n\
         #SBATCH --output={runs_log}\n\
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
        list = shell_path(&list_path),
    );
    let collect = format!(
        "#!/bin/sh\n\
         #SBATCH --job-name={name}-collect\n\
         #SBATCH --output={collect_log}\n\
         {further}\
         exec {binary} sweep collect {folder}{own}\n",
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

/// The path of a log for a line of options, in quotes, where a backslash takes the meaning of what follows; of its
/// name alone `%` has one.
///
/// # Errors
/// Fails where it has control characters or is no UTF-8.
fn log_path(path: &Path) -> Result<String> {
    let folder = path.parent().and_then(Path::to_str).filter(|text| !text.contains(char::is_control));
    let (Some(folder), Some(name)) = (folder, path.file_name()) else {
        let message = format!("the path {:?} does not fit into a job script", path.display());
        return Err(UserError::usage(message)
            .with_hint("give the sweep's folder a name without line breaks and other control characters")
            .into());
    };
    let folder = folder.replace('\\', "\\\\").replace('"', "\\\"").replace('%', "%%");
    Ok(format!("\"{folder}/{}\"", name.to_string_lossy()))
}
