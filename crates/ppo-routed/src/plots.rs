//! The pictures of a run: reward curves, routing shares, gate curves, policy arrows.

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use envs::EnvId;
use experiment::{Record, RunFolder, UserError, read_metrics};
use plots::{
    Band, Colour, Figure, Image, Marker, MarkerKind, Panel, PlotError, PolicyGrid, PolicyPicture,
    ReferenceLine, Scale, Series, write_gif,
};

use crate::snapshot::{Snapshot, picture_layout};
use crate::{Config, PolicyName};

/// The stepwise return of the shortest path to the Diamond that avoids the Ghost, and of the shortest path to
/// the Diamond that does not mind it, by exact enumeration on the 5×5 grid.
const CEILINGS: [(f64, &str); 2] =
    [(0.908, "0.908 shortest path around the Ghost"), (0.78, "0.78 shortest path, Ghost ignored")];

/// Milliseconds of a frame of the GIF, and of its last.
const FRAME_MS: (u32, u32) = (250, 2500);

/// Draws `reward_curve.png` and, for a mixture, `routing.png` from one run or several seeds of it, into the first
/// run's `plots/` or `folder`. Returns what was written.
///
/// # Errors
/// Fails where a folder holds no run, the runs differ in their settings, or there is nothing to draw yet.
pub fn plot(runs: &[PathBuf], folder: Option<&Path>) -> Result<Vec<PathBuf>> {
    let mut loaded: Vec<(Config, Vec<Record>)> = Vec::new();
    for run in runs {
        let view = RunFolder::view(run)?;
        let config = experiment::load(Some(&view.config_path()), &[])?;
        loaded.push((config, read_metrics(&view.metrics_path())?));
    }
    let Some((config, _)) = loaded.first().cloned() else { bail!("no run to plot") };
    if let Some((other, _)) = runs.iter().zip(&loaded).find(|(_, (other, _))| *other != config) {
        let message = format!("{} has other settings than {}", other.display(), runs[0].display());
        return Err(UserError::usage(message)
            .with_hint("plot draws seeds of one experiment together")
            .into());
    }
    let evaluated = |records: &[Record]| {
        records.iter().any(|record| record.values.keys().any(|key| key.starts_with("eval/")))
    };
    if let Some((run, _)) = runs.iter().zip(&loaded).find(|(_, (_, records))| !evaluated(records)) {
        let message = format!("{} has no evaluation to plot yet", run.display());
        return Err(UserError::failed(message).with_hint("wait for its first update, or resume it").into());
    }
    let records: Vec<Vec<Record>> = loaded.into_iter().map(|(_, records)| records).collect();
    let folder = picture_folder(&RunFolder::view(&runs[0])?, folder)?;
    let mut paths = vec![folder.join("reward_curve.png")];
    reward_curve(&config, &records).write_png(&paths[0])?;
    if config.train.method.is_mixture() {
        paths.push(folder.join("routing.png"));
        routing_figure(&config, &records).write_png(&paths[1])?;
    }
    Ok(paths)
}

/// Draws `policy.png` from a run's last snapshot and `policy.gif` from all of them.
///
/// # Errors
/// Fails where the folder holds no run or no snapshot.
pub fn render(run: &Path, folder: Option<&Path>) -> Result<Vec<PathBuf>> {
    let view = RunFolder::view(run)?;
    let config: Config = experiment::load(Some(&view.config_path()), &[])?;
    let snapshots = Snapshot::read_all(run)?;
    let Some(last) = snapshots.last() else {
        let message = format!("{} has no snapshot to draw", run.display());
        return Err(UserError::failed(message).with_hint("train takes one at every evaluation").into());
    };
    let folder = picture_folder(&view, folder)?;
    let paths = vec![folder.join("policy.png"), folder.join("policy.gif")];
    policy_picture(&config, last).write_png(&paths[0])?;
    write_gif(&paths[1], &frames(&config, &snapshots)?, FRAME_MS.0, FRAME_MS.1)?;
    Ok(paths)
}

/// The frames of the GIF, all of one size: a caption may wrap in some and not in others.
fn frames(config: &Config, snapshots: &[Snapshot]) -> Result<Vec<Image>, PlotError> {
    let frames: Result<Vec<Image>, _> =
        snapshots.iter().map(|snapshot| policy_picture(config, snapshot).draw()).collect();
    let frames = frames?;
    let (width, height) =
        frames.iter().fold((0, 0), |size, frame| (size.0.max(frame.width), size.1.max(frame.height)));
    Ok(frames.into_iter().map(|frame| frame.padded(width, height)).collect())
}

/// The folder asked for, made where it is not there, or else the run's own `plots/`.
fn picture_folder(run: &RunFolder, asked: Option<&Path>) -> Result<PathBuf> {
    let Some(folder) = asked else { return Ok(run.plots()) };
    experiment::create_folder(folder)?;
    Ok(folder.to_owned())
}

fn reward_curve(config: &Config, runs: &[Vec<Record>]) -> Figure {
    let style = |name: PolicyName| match name {
        PolicyName::Diamond => ("diamond policy", Colour::Blue),
        PolicyName::Ghost => ("ghost policy", Colour::Vermillion),
        PolicyName::Full if config.train.method.is_mixture() => ("full mixture", Colour::Green),
        PolicyName::Full => ("policy", Colour::Blue),
    };
    let series = PolicyName::of(config.train.method)
        .iter()
        .map(|name| {
            let (label, colour) = style(*name);
            curve(runs, &format!("eval/{}/return", name.as_str()), label, colour)
        })
        .collect();
    Figure {
        title: "What each policy does by the ground truth".to_owned(),
        subtitle: subtitle(config, runs.len()),
        x_label: "environment steps".to_owned(),
        x_scale: Scale::Linear,
        panels: vec![Panel {
            title: String::new(),
            y_label: "stepwise return (Diamond +1, Ghost –1)".to_owned(),
            series,
            reference_lines: ceilings(config),
            y_range: Some((-1.0, 1.0)),
        }],
    }
}

/// The ceilings to read a return against, where they are known: on the paper's grid.
pub fn ceilings(config: &Config) -> Vec<ReferenceLine> {
    let known = config.env.id == EnvId::OversightGridV0 && (config.env.rows, config.env.cols) == (5, 5);
    let lines = CEILINGS.iter().filter(|_| known);
    lines.map(|(y, label)| ReferenceLine { label: (*label).to_owned(), y: *y }).collect()
}

fn routing_figure(config: &Config, runs: &[Vec<Record>]) -> Figure {
    const ROUTES: [(&str, &str, Colour); 3] = [
        ("diamond", "overseen, Diamond", Colour::Blue),
        ("ghost", "overseen, Ghost", Colour::Vermillion),
        ("both", "not overseen", Colour::Grey),
    ];
    let panel = |what: &str, title: &str, y_label: &str| Panel {
        title: title.to_owned(),
        y_label: y_label.to_owned(),
        series: ROUTES
            .iter()
            .map(|(route, label, colour)| curve(runs, &format!("routing/{what}_{route}"), label, *colour))
            .collect(),
        reference_lines: Vec::new(),
        y_range: Some((0.0, 1.0)),
    };
    let mut panels = vec![panel("share", "Where the steps of an update are routed", "share of steps")];
    if config.train.method != crate::Method::NoGate {
        panels.push(panel("gate", "The gate's weight Γ of the diamond expert on these steps", "mean Γ"));
    }
    Figure {
        title: "Routes and gate".to_owned(),
        subtitle: subtitle(config, runs.len()),
        x_label: "environment steps".to_owned(),
        x_scale: Scale::Linear,
        panels,
    }
}

fn subtitle(config: &Config, seeds: usize) -> String {
    let algo = config.train.algo.title();
    let share = config.env.oversight_prob * 100.0;
    let seeds = if seeds > 1 { format!(", {seeds} seeds: mean and range") } else { String::new() };
    format!("{} with {algo}, {share}% oversight{seeds}", config.train.method.name())
}

/// A metric against environment steps: the mean over the runs, with their range as a band where there are
/// several. Steps that not all runs have reached yet are left out.
fn curve(runs: &[Vec<Record>], key: &str, label: &str, colour: Colour) -> Series {
    let points = |run: &[Record]| -> Vec<(f64, f64)> {
        run.iter().filter_map(|r| r.values.get(key).map(|value| (r.step as f64, *value))).collect()
    };
    let per_run: Vec<Vec<(f64, f64)>> = runs.iter().map(|run| points(run)).collect();
    let len = per_run.iter().map(Vec::len).min().unwrap_or(0);
    let column = |i: usize| per_run.iter().map(move |run| run[i].1);
    let x = (0..len).map(|i| per_run[0][i].0).collect();
    let y = (0..len).map(|i| column(i).sum::<f64>() / per_run.len() as f64).collect();
    let band = (runs.len() > 1).then(|| Band {
        lower: (0..len).map(|i| column(i).fold(f64::INFINITY, f64::min)).collect(),
        upper: (0..len).map(|i| column(i).fold(f64::NEG_INFINITY, f64::max)).collect(),
    });
    Series { label: label.to_owned(), x, y, band, whiskers: None, colour, dash: false }
}

fn policy_picture(config: &Config, snapshot: &Snapshot) -> PolicyPicture {
    let layout = picture_layout(config);
    let markers = vec![
        Marker { cell: layout.diamond, kind: MarkerKind::Diamond },
        Marker { cell: layout.ghost, kind: MarkerKind::Ghost },
    ];
    let grids = snapshot
        .policies
        .iter()
        .map(|(name, cells)| PolicyGrid {
            title: match name {
                PolicyName::Diamond => "diamond policy (kept)".to_owned(),
                PolicyName::Ghost => "ghost policy (thrown away)".to_owned(),
                PolicyName::Full if config.train.method.is_mixture() => "full mixture".to_owned(),
                PolicyName::Full => "policy".to_owned(),
            },
            rows: layout.rows,
            cols: layout.cols,
            probabilities: cells.iter().map(|cell| cell.unwrap_or([0.0; 4])).collect(),
            background: (*name == PolicyName::Full && !snapshot.gate.is_empty())
                .then(|| snapshot.gate.iter().map(|gate| gate.unwrap_or(f64::NAN)).collect()),
            markers: markers.clone(),
        })
        .collect();
    PolicyPicture {
        caption: format!("{}, after {:.2}M steps", subtitle(config, 1), snapshot.step as f64 / 1e6),
        grids,
        background_label: if snapshot.gate.is_empty() { String::new() } else { "gate Γ".to_owned() },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Method;

    #[test]
    fn frames_are_of_one_size_whatever_their_captions_say() {
        let mut config = Config::default();
        for (method, oversight_prob) in
            [(Method::Naive, 0.01), (Method::Oracle, 0.001), (Method::Routing, 0.1)]
        {
            (config.train.method, config.env.oversight_prob) = (method, oversight_prob);
            let cells = vec![Some([0.25; 4]); 25];
            let snapshots = [0, 983_040, 1_015_808, 11_111_111_111].map(|step| Snapshot {
                step,
                update: 0,
                policies: PolicyName::of(method).iter().map(|name| (*name, cells.clone())).collect(),
                gate: Vec::new(),
            });
            let frames = frames(&config, &snapshots).unwrap();
            assert!(
                frames.iter().all(|frame| (frame.width, frame.height) == (frames[0].width, frames[0].height))
            );
        }
    }
}
