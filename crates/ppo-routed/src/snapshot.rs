//! Snapshots of the policies in one fixed layout, for the arrow pictures: `snapshots.jsonl`.

use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::path::Path;

use candle_core::{Device, Tensor};
use envs::Layout;
use experiment::RunError;
use policies::{Policy, Steering};
use serde::{Deserialize, Serialize};

use crate::losses::log_softmax;
use crate::{Config, Error, Supervision};

/// The file in a run folder.
pub(crate) const FILE: &str = "snapshots.jsonl";

/// No run leaves more of them.
const LONGEST: u64 = 4 << 30;

/// What the policies would do in every cell of the picture's layout, at one moment of training.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Snapshot {
    /// Environment steps taken.
    pub step: u64,
    /// Updates done.
    pub update: u64,
    /// The policies and, for each cell, the probabilities of going north, east, south and west; nothing where
    /// an agent cannot stand.
    pub policies: Vec<(String, Vec<Option<[f64; 4]>>)>,
    /// The gate's Γ for each cell, for a method with a gate.
    pub gate: Vec<Option<f64>>,
}

/// The rows and columns of the kinds in the picture, among the open cells.
const PLACES: [(usize, usize); envs::MAX_KINDS] =
    [(0, 1), (2, 3), (4, 0), (4, 4), (2, 1), (0, 4), (4, 2), (1, 0)];

/// The picture's layout: Diamond at (0, 1) and Ghost at (2, 3) of the open cells, further kinds elsewhere, no oversight.
///
/// # Source
/// Cloud et al. 2024, figure of the gridworld policies.
pub fn picture_layout(config: &Config) -> Layout {
    let (rows, cols) = (config.env.rows, config.env.cols);
    let wall = config.env.id.wall();
    let (open_rows, open_cols) = (rows - 2 * wall, cols - 2 * wall);
    let cell =
        |row: usize, col: usize| (row.min(open_rows - 1) + wall) * cols + col.min(open_cols - 1) + wall;
    let mut terminals: Vec<usize> = Vec::new();
    for (row, col) in PLACES.into_iter().take(config.env.kinds.len()) {
        // in a small grid its place may lie outside, and on another's
        let places = (0..open_rows).flat_map(|row| (0..open_cols).map(move |col| (row, col)));
        let mut free = [(row, col)].into_iter().chain(places).map(|(row, col)| cell(row, col));
        terminals.extend(free.find(|cell| !terminals.contains(cell)));
    }
    Layout { rows, cols, agent: terminals[0], terminals, oversight: Vec::new(), step: 0 }
}

impl Snapshot {
    /// Asks every policy what it would do in each cell.
    ///
    /// # Errors
    /// Fails where the policy does.
    pub fn take(
        config: &Config,
        policy: &Policy,
        step: u64,
        update: u64,
        device: &Device,
    ) -> Result<Self, Error> {
        let layout = picture_layout(config);
        let cells = layout.rows * layout.cols;
        let inputs = policy.config().inputs();
        let wall = |cell: usize| {
            let (row, col) = (cell / layout.cols, cell % layout.cols);
            config.env.id.wall() > 0
                && (row == 0 || col == 0 || row + 1 == layout.rows || col + 1 == layout.cols)
        };
        let standable = |cell: usize| !layout.terminals.contains(&cell) && !wall(cell);
        let mut observations = vec![0.0; cells * inputs];
        for (agent, row) in observations.chunks_exact_mut(inputs).enumerate() {
            // a plane that a method adds is zero outside training
            let row = &mut row[..config.env.planes() * cells];
            Layout { agent, ..layout.clone() }.write_observation(&config.env, row);
        }
        let observations = Tensor::from_vec(observations, (cells, inputs), device)?;
        let (mut policies, mut gate) = (Vec::new(), Vec::new());
        for (name, steering) in Supervision::new(config.train.method, &config.env.kinds)?.policies() {
            let output = policy.forward(&observations, steering)?;
            let logits = output.logits.detach().to_vec2::<f32>()?;
            let probabilities = logits.iter().enumerate().map(|(cell, logits)| {
                let mut log_probs = [0.0; 4];
                log_softmax(logits, &mut log_probs);
                standable(cell).then(|| log_probs.map(|lp| f64::from(lp.exp())))
            });
            policies.push((name, probabilities.collect()));
            if steering == Steering::Mixture && policy.config().has_gate() {
                let weights = output.gate.detach().to_vec2::<f32>()?;
                let cells = weights.iter().enumerate();
                gate = cells.map(|(cell, w)| standable(cell).then(|| f64::from(w[0]))).collect();
            }
        }
        Ok(Self { step, update, policies, gate })
    }

    /// Appends a line to the run's file.
    ///
    /// # Errors
    /// Fails where the file cannot be written.
    pub fn append(&self, folder: &Path) -> Result<(), RunError> {
        let path = folder.join(FILE);
        let mut line = self.line(&path)?;
        line.push('\n');
        let written = experiment::open_own(OpenOptions::new().create(true).append(true), &path);
        // synced, so that no checkpoint outlives a snapshot that was taken before it
        let written =
            written.and_then(|mut file| file.write_all(line.as_bytes()).and_then(|()| file.sync_data()));
        written.map_err(|source| RunError::Write { path, source })
    }

    fn line(&self, path: &Path) -> Result<String, RunError> {
        serde_json::to_string(self).map_err(|source| RunError::Json { path: path.to_owned(), source })
    }

    /// All snapshots of a run; a last line cut short is left out.
    ///
    /// # Errors
    /// Fails where the file cannot be read or another line is no snapshot.
    pub fn read_all(folder: &Path) -> Result<Vec<Self>, RunError> {
        let path = folder.join(FILE);
        let unreadable = |source| RunError::Read { path: path.clone(), source };
        let bytes = match experiment::read_at_most(&path, LONGEST) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            other => other.map_err(unreadable)?,
        };
        let text = String::from_utf8(bytes)
            .map_err(|_| unreadable(io::Error::new(io::ErrorKind::InvalidData, "it is no UTF-8 text")))?;
        let complete = text.rfind('\n').map_or("", |end| &text[..end]);
        let parse = |(index, line): (usize, &str)| {
            serde_json::from_str(line).map_err(|error| {
                let fault = format!("not a snapshot: {error}");
                RunError::Metrics { path: path.clone(), line: index + 1, fault }
            })
        };
        complete.lines().enumerate().map(parse).collect()
    }

    /// Cuts the run's file back to what was there at `update`, for a run that goes on from a checkpoint.
    ///
    /// # Errors
    /// Fails where the file cannot be read or written.
    pub fn cut_back(folder: &Path, update: u64) -> Result<(), RunError> {
        let (path, mut text) = (folder.join(FILE), String::new());
        for snapshot in Self::read_all(folder)?.iter().filter(|snapshot| snapshot.update <= update) {
            text += &snapshot.line(&path)?;
            text.push('\n');
        }
        experiment::write_atomic(&path, text.as_bytes())
    }
}
