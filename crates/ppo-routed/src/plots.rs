//! The pictures of a run: reward curves, routing shares, gate curves, policy arrows.

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use envs::{EnvConfig, EnvId, Kind};
use experiment::driver::Program as _;
use experiment::{Record, RunFolder, UserError, read_metrics};
use plots::{
    Band, Colour, Figure, Image, Marker, MarkerKind, Panel, PlotError, PolicyGrid, PolicyPicture,
    ReferenceLine, Scale, Series, write_gif,
};
use policies::{Gate, Steering};

use crate::snapshot::{Snapshot, picture_layout};
use crate::{Config, Error, PolicyShape, Ppo, Supervision};

/// The stepwise return of the shortest path to the Diamond that avoids the Ghost, and of the shortest path to
/// the Diamond that does not mind it, by exact enumeration on the 5×5 grid.
const CEILINGS: [(f64, &str); 2] =
    [(0.908, "0.908 shortest path around the Ghost"), (0.78, "0.78 shortest path, Ghost ignored")];

/// Milliseconds of a frame of the GIF, and of its last.
const FRAME_MS: (u32, u32) = (250, 2500);

/// Draws `reward_curve.png` and, for a mixture, `routing.png` from one run or several seeds of it, into
/// `folder` or the only run's `plots/`. Returns what was written.
///
/// # Errors
/// Fails where a folder holds no run, the runs differ in their settings, or there is nothing to draw yet.
pub fn plot(runs: &[PathBuf], folder: Option<&Path>) -> Result<Vec<PathBuf>> {
    let mut loaded: Vec<(Config, Vec<Record>)> = Vec::new();
    for run in runs {
        let view = RunFolder::view_of(run, Ppo::NAME)?;
        let config = experiment::load_run(&view.config_path(), &[])?;
        loaded.push((config, read_metrics(&view.metrics_path())?));
    }
    let Some((config, _)) = loaded.first().cloned() else { bail!("no run to plot") };
    if let Some((other, _)) = runs.iter().zip(&loaded).find(|(_, (other, _))| *other != config) {
        let message = format!("{} has other settings than {}", other.display(), runs[0].display());
        return Err(UserError::usage(message)
            .with_hint(
                "`plot` draws seeds of one experiment together; `compare` sets different ones side by side",
            )
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
    let folder = RunFolder::pictures_of(runs, folder)?;
    let mut paths = vec![folder.join("reward_curve.png")];
    reward_curve(&config, &records)?.write_png(&paths[0])?;
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
    let config: Config = experiment::load_run(&RunFolder::view_of(run, Ppo::NAME)?.config_path(), &[])?;
    let snapshots = Snapshot::read_all(run)?;
    let Some(last) = snapshots.last() else {
        let message = format!("{} has no snapshot to draw", run.display());
        return Err(UserError::failed(message).with_hint("train takes one at every evaluation").into());
    };
    let folder = RunFolder::pictures_of(&[run.to_owned()], folder)?;
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

/// The colours of the kinds, in their order.
const KIND_COLOURS: [Colour; 5] =
    [Colour::Blue, Colour::Vermillion, Colour::Purple, Colour::Orange, Colour::Sky];

fn kind_colour(index: usize) -> Colour {
    KIND_COLOURS[index % KIND_COLOURS.len()]
}

/// What a return is made of, such as `stepwise return (Diamond +1, Ghost –1)`.
pub fn return_label(what: &str, kinds: &[Kind]) -> String {
    let worth: Vec<String> =
        kinds.iter().map(|kind| format!("{} {:+}", kind.title(), kind.value).replace('-', "–")).collect();
    format!("{what} ({})", worth.join(", "))
}

/// The return of each policy while training, of seeds of one experiment.
pub(crate) fn reward_curve(config: &Config, runs: &[Vec<Record>]) -> Result<Figure, Error> {
    let supervision = Supervision::new(config.train.method, &config.env.kinds)?;
    let drawn = supervision.policies().into_iter();
    let drawn = drawn.filter(|(_, steering)| !matches!(steering, Steering::Subset(_)));
    let series = drawn.map(|(name, steering)| {
        let (label, colour) = match steering {
            Steering::Expert(expert) => (format!("{name} policy"), kind_colour(expert)),
            Steering::Mixture if config.train.method.is_mixture() => {
                ("full mixture".to_owned(), Colour::Green)
            }
            _ => ("policy".to_owned(), Colour::Blue),
        };
        curve(runs, &format!("eval/{name}/return"), &label, colour)
    });
    let series = series.collect();
    Ok(Figure {
        title: "What each policy does by the ground truth".to_owned(),
        subtitle: subtitle(config, runs.len()),
        x_label: "environment steps".to_owned(),
        x_scale: Scale::Linear,
        y_scale: Scale::Linear,
        panels: vec![Panel {
            title: String::new(),
            y_label: return_label("stepwise return", supervision.kinds()),
            series,
            reference_lines: ceilings(config),
            y_range: Some((-1.0, 1.0)),
        }],
    })
}

/// The ceilings to read a return against, where they are known: on the paper's grid.
pub fn ceilings(config: &Config) -> Vec<ReferenceLine> {
    let kinds = &EnvConfig::for_id(EnvId::OversightGridV0).kinds;
    let env = &config.env;
    let known = env.id == EnvId::OversightGridV0 && (env.rows, env.cols) == (5, 5) && env.kinds == *kinds;
    let lines = CEILINGS.iter().filter(|_| known);
    lines.map(|(y, label)| ReferenceLine { label: (*label).to_owned(), y: *y }).collect()
}

fn routing_figure(config: &Config, runs: &[Vec<Record>]) -> Figure {
    let kinds = &config.env.kinds[..];
    let everyone = (if kinds.len() == 2 { "both" } else { "all" }, "not overseen".to_owned(), Colour::Grey);
    let seen = kinds.iter().enumerate();
    let seen =
        seen.map(|(i, kind)| (kind.name.as_ref(), format!("overseen, {}", kind.title()), kind_colour(i)));
    let routes: Vec<(&str, String, Colour)> = seen.chain([everyone]).collect();
    let panel = |what: &str, title: &str, y_label: &str| Panel {
        title: title.to_owned(),
        y_label: y_label.to_owned(),
        series: routes
            .iter()
            .map(|(route, label, colour)| curve(runs, &format!("routing/{what}_{route}"), label, *colour))
            .collect(),
        reference_lines: Vec::new(),
        y_range: Some((0.0, 1.0)),
    };
    let mut panels = vec![panel("share", "Where the steps of an update are routed", "share of steps")];
    if config.train.method.policy == PolicyShape::Mixture(Gate::Learned) {
        panels.push(panel("gate", &gate_title(kinds), "mean Γ"));
    }
    Figure {
        title: "Routes and gate".to_owned(),
        subtitle: subtitle(config, runs.len()),
        x_label: "environment steps".to_owned(),
        x_scale: Scale::Linear,
        y_scale: Scale::Linear,
        panels,
    }
}

fn gate_title(kinds: &[Kind]) -> String {
    let first = kinds.first().map_or("", |kind| kind.name.as_ref());
    format!("The gate's weight Γ of the {first} expert on these steps")
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
    let kinds = &config.env.kinds[..];
    let marker = |(kind, cell): (usize, &usize)| Marker {
        cell: *cell,
        kind: match kind {
            0 => MarkerKind::Diamond,
            1 => MarkerKind::Ghost,
            _ => MarkerKind::Other(kind as u8),
        },
    };
    let markers: Vec<Marker> = layout.terminals.iter().enumerate().map(marker).collect();
    // where no policy acts is an end or a wall
    let ends = |cell: usize| layout.terminals.contains(&cell);
    let grids = snapshot
        .policies
        .iter()
        .map(|(name, cells)| PolicyGrid {
            title: match kinds.iter().position(|kind| kind.name == *name) {
                Some(0) => format!("{name} policy (kept)"),
                Some(_) => format!("{name} policy (thrown away)"),
                None if name.contains('+') => format!("{name}, mixed"),
                None if config.train.method.is_mixture() => "full mixture".to_owned(),
                None => "policy".to_owned(),
            },
            rows: layout.rows,
            cols: layout.cols,
            probabilities: cells
                .iter()
                .enumerate()
                .map(|(cell, known)| {
                    known.unwrap_or_else(|| if ends(cell) { [0.0; 4] } else { [f64::NAN; 4] })
                })
                .collect(),
            background: (kinds.iter().all(|kind| kind.name != *name) && !snapshot.gate.is_empty())
                .then(|| snapshot.gate.iter().map(|gate| gate.unwrap_or(f64::NAN)).collect()),
            markers: markers.clone(),
        })
        .collect();
    PolicyPicture {
        caption: format!("{}, after {} steps", subtitle(config, 1), plots::rounded(snapshot.step as f64)),
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
            [(Method::NAIVE, 0.01), (Method::ORACLE, 0.001), (Method::ROUTING, 0.1)]
        {
            (config.train.method, config.env.oversight_prob) = (method, oversight_prob);
            let cells = vec![Some([0.25; 4]); 25];
            let snapshots = [0, 983_040, 1_015_808, 11_111_111_111].map(|step| Snapshot {
                step,
                update: 0,
                policies: Supervision::new(method, &config.env.kinds)
                    .unwrap()
                    .policies()
                    .into_iter()
                    .map(|(name, _)| (name, cells.clone()))
                    .collect(),
                gate: Vec::new(),
            });
            let frames = frames(&config, &snapshots).unwrap();
            assert!(
                frames.iter().all(|frame| (frame.width, frame.height) == (frames[0].width, frames[0].height))
            );
        }
    }
}
