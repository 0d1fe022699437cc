//! The checkpoints of one run: which to keep, which to go on from.
use std::error::Error as _;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use candle_core::Device;

use crate::checkpoint::{Checkpoint, is_finite};
use crate::error::RunError;
use crate::hold::Hold;
use crate::run_folder::{RunFolder, create_folder, make_one};

/// The folder `checkpoints/` of a run, with files `update-000123.safetensors`.
#[derive(Clone, Debug)]
pub struct CheckpointStore {
    folder: PathBuf,
    keep: usize,
    /// That of the run which saves here.
    hold: Option<Arc<Hold>>,
}

impl CheckpointStore {
    /// The checkpoints in `folder`, of which the newest `keep` stay; 0 keeps all.
    pub fn new(folder: impl Into<PathBuf>, keep: usize) -> Self {
        Self { folder: folder.into(), keep, hold: None }
    }

    /// The checkpoints of a run that this process has taken: saved there only while its folder is the one that was
    /// taken.
    pub fn of_run(run: &RunFolder, keep: usize) -> Self {
        Self { hold: run.shared_hold(), ..Self::new(run.checkpoints(), keep) }
    }

    /// Saves the checkpoint of an update and removes the oldest ones beyond the number to keep. Those of later
    /// updates, left from a run that was taken up again further back, are neither counted nor removed. One that
    /// cannot be removed is named in a warning and stays until the next time.
    ///
    /// Returns the file it wrote.
    ///
    /// # Errors
    /// As [`Checkpoint::save`], [`RunError::NotFinite`] for a state that nobody could go on from, and
    /// [`RunError::Moved`]; every older checkpoint is then still there.
    pub fn save(&self, update: u64, checkpoint: &Checkpoint) -> Result<PathBuf, RunError> {
        let check = || self.hold.as_deref().map_or(Ok(()), Hold::check);
        check()?;
        // a run never makes its own folder anew
        if self.hold.is_some() {
            make_one(&self.folder)?;
        } else {
            create_folder(&self.folder)?;
        }
        let path = self.folder.join(format!("update-{update:06}.safetensors"));
        require_finite(checkpoint, &path)?;
        checkpoint.save_held(&path, self.hold.as_deref())?;
        if self.keep > 0 {
            check()?;
            let upto: Vec<_> = self.list()?.into_iter().filter(|(number, _)| *number <= update).collect();
            for (_, old) in upto.iter().rev().skip(self.keep) {
                if let Err(error) = fs::remove_file(old)
                    && error.kind() != io::ErrorKind::NotFound
                {
                    tracing::warn!("cannot remove the old checkpoint {}: {error}", old.display());
                }
            }
        }
        Ok(path)
    }

    /// The updates that have a checkpoint and their files, the oldest first. A folder that is not there has none.
    ///
    /// # Errors
    /// [`RunError::Read`] where the folder cannot be listed.
    pub fn list(&self) -> Result<Vec<(u64, PathBuf)>, RunError> {
        if !self.folder.exists() {
            return Ok(Vec::new());
        }
        let unreadable = |source| RunError::Read { path: self.folder.clone(), source };
        let mut found = Vec::new();
        for entry in fs::read_dir(&self.folder).map_err(unreadable)? {
            let path = entry.map_err(unreadable)?.path();
            if let Some(update) = update_of(&path) {
                found.push((update, path));
            }
        }
        found.sort();
        Ok(found)
    }

    /// For the message of a run that stops: the file of its newest checkpoint.
    pub fn last_checkpoint_message(&self) -> String {
        match self.list().ok().and_then(|mut list| list.pop()) {
            Some((_, path)) => format!("the run stopped; its last good checkpoint is {}", path.display()),
            None => "the run stopped before its first checkpoint".to_owned(),
        }
    }

    /// The newest checkpoint that can be read and is of use, and its file. Each newer one that is not is named in a
    /// warning.
    pub fn latest_intact(&self, device: &Device) -> Option<(PathBuf, Checkpoint)> {
        self.intact(device).next()
    }

    /// The checkpoints that can be read and are of use, the newest first, each read when it is asked for. One that is
    /// not is named in a warning.
    pub fn intact(&self, device: &Device) -> impl Iterator<Item = (PathBuf, Checkpoint)> {
        let list = self.list().inspect_err(warn).unwrap_or_default();
        list.into_iter().rev().filter_map(move |(_, path)| {
            let read = Checkpoint::load(&path, device)
                .and_then(|checkpoint| checkpoint.require_sound(&path).map(|()| checkpoint));
            read.inspect_err(warn).ok().map(|checkpoint| (path, checkpoint))
        })
    }
}

fn require_finite(checkpoint: &Checkpoint, path: &Path) -> Result<(), RunError> {
    for (name, tensor) in &checkpoint.tensors {
        if !is_finite(tensor).map_err(|source| RunError::Tensor {
            path: path.to_owned(),
            name: name.clone(),
            source: Box::new(source),
        })? {
            return Err(RunError::NotFinite { path: path.to_owned(), name: name.clone() });
        }
    }
    Ok(())
}

fn warn(error: &RunError) {
    let source = error.source().map(|source| format!(": {source}")).unwrap_or_default();
    tracing::warn!("skipped: {error}{source}");
}

/// The update in a file name such as `update-000123.safetensors`.
fn update_of(path: &Path) -> Option<u64> {
    let digits = path.file_name()?.to_str()?.strip_prefix("update-")?.strip_suffix(".safetensors")?;
    // `parse` alone would take a sign
    if digits.bytes().all(|byte| byte.is_ascii_digit()) { digits.parse().ok() } else { None }
}
