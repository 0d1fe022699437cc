//! The page about some runs: what stands in it, in the order of reading.

use std::collections::BTreeSet;
use std::path::PathBuf;

use anyhow::{Context as _, Result};
use experiment::{Overview, Record, RunState};
use minijinja::syntax::SyntaxConfig;
use minijinja::value::Serde;
use minijinja::{AutoEscape, Environment};
use serde::Serialize;

use crate::Shown;
use crate::chart::Chart;
use crate::curves::{self, Line, Point};
use crate::groups::{Group, Groups};
use crate::pictures::Pictures;
use crate::tables::{self, Table};

/// Lines that one chart shows apart.
const LINES: usize = 8;

/// Runs whose own pictures are shown.
const WITH_PICTURES: usize = 4;

/// Runs with a command of their own.
const WITH_COMMAND: usize = 12;

/// What the ranges of curves are.
const SEEDS: &str = "shaded: lowest to highest seed";

#[derive(Serialize)]
struct Page {
    title: String,
    about: Vec<String>,
    results: Table,
    charts: Vec<Chart>,
    more: Vec<Chart>,
    pictures: Pictures,
    runs: Table,
    differences: Option<Table>,
    settings: Vec<(String, String)>,
    commands: Vec<String>,
    again: Vec<String>,
    style: &'static str,
    script: &'static str,
}

/// The page about `runs`, of which there is at least one, found in `folders`.
///
/// # Errors
/// Fails where a run's metrics cannot be read.
pub(crate) fn page(runs: &[Overview], folders: &[PathBuf], shown: &Shown) -> Result<String> {
    let groups = Groups::of(runs);
    let differing = Overview::differing(runs).remove(shown.program).unwrap_or_default();
    let records: Vec<Vec<Record>> = runs.iter().map(curves::records).collect::<Result<_>>()?;
    let metrics = |group: &Group<'_>| -> Vec<&[Record]> {
        let of_run = |run: &&Overview| runs.iter().position(|other| other.path == run.path);
        group.runs.iter().filter_map(of_run).map(|index| records[index].as_slice()).collect()
    };
    let (charts, more) = charts(&groups, &metrics, shown);
    let settings = runs[0].settings.iter().filter(|(key, _)| !differing.contains(*key));
    let page = Page {
        title: title(runs, folders, shown),
        about: about(runs, &groups),
        results: tables::results(&groups, shown.measures),
        charts,
        more,
        pictures: pictures(runs, folders),
        runs: tables::runs(runs, &groups, shown.measures),
        differences: tables::differences(&groups, differing.clone()),
        settings: settings.map(|(key, value)| (key.clone(), value.clone())).collect(),
        commands: commands(runs),
        again: runs.iter().take(WITH_COMMAND).map(|run| again(run, shown)).collect(),
        style: include_str!("../page/style.css"),
        script: include_str!("../page/script.js"),
    };
    render(&page)
}

fn render(page: &Page) -> Result<String> {
    let mut environment = Environment::new();
    environment.set_auto_escape_callback(|_| AutoEscape::Html);
    // in a script element, what could end it must not stand
    environment.add_filter("script_json", |value: minijinja::Value| {
        let json = serde_json::to_string(&value).unwrap_or_default().replace('<', "\\u003c");
        minijinja::Value::from_safe_string(json)
    });
    let syntax = SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build();
    environment.set_syntax(syntax.context("the page's syntax")?);
    environment
        .add_template("page.html", include_str!("../page/page.html"))
        .context("the page's template")?;
    let template = environment.get_template("page.html").context("the page's template")?;
    template.render(Serde(page)).context("the page")
}

fn title(runs: &[Overview], folders: &[PathBuf], shown: &Shown) -> String {
    match (runs, folders) {
        ([run], _) => run.name.clone(),
        (_, [folder]) => {
            let whole = std::fs::canonicalize(folder).unwrap_or_else(|_| folder.clone());
            whole.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned())
        }
        _ => format!("{} runs of {}", runs.len(), shown.program),
    }
}

/// What was run, in a few lines.
fn about(runs: &[Overview], groups: &Groups<'_>) -> Vec<String> {
    let count = |state: RunState| runs.iter().filter(|run| run.state == state).count();
    let states =
        [RunState::Done, RunState::Running, RunState::Interrupted].map(|state| (count(state), state));
    let states = states.iter().filter(|(count, _)| *count > 0);
    let states: Vec<String> = states.map(|(count, state)| format!("{count} {}", state.name())).collect();
    let programs: BTreeSet<String> = runs.iter().map(built).collect();
    let seeds: BTreeSet<u64> = runs.iter().map(|run| run.manifest.seed).collect();
    let seeds: Vec<String> = seeds.iter().map(ToString::to_string).collect();
    let mut about = vec![
        programs.into_iter().collect::<Vec<_>>().join("; "),
        format!("{} {}: {}", runs.len(), if runs.len() == 1 { "run" } else { "runs" }, states.join(", ")),
        format!("{} {}", if seeds.len() == 1 { "seed" } else { "seeds" }, seeds.join(", ")),
    ];
    if groups.all.len() > 1 {
        about.push(format!("{} settings, told apart by {}", groups.all.len(), groups.keys.join(", ")));
    }
    about
}

/// Program, version and commit of a run.
fn built(run: &Overview) -> String {
    let manifest = &run.manifest;
    let commit =
        manifest.commit.as_deref().map(|commit| format!(", commit {}", &commit[..commit.len().min(12)]));
    format!("{} {}{}", manifest.name, manifest.version, commit.unwrap_or_default())
}

/// The charts that answer what came of it, and all others.
fn charts<'r>(
    groups: &Groups<'_>,
    metrics: &dyn Fn(&Group<'_>) -> Vec<&'r [Record]>,
    shown: &Shown,
) -> (Vec<Chart>, Vec<Chart>) {
    let mut main: Vec<Chart> = by_axis(groups, shown).into_iter().collect();
    let mut more = Vec::new();
    let line = |group: &Group<'_>, label: &str, metric: &str| curves::line(label, &metrics(group), metric);
    if let [group] = &groups.all[..] {
        let headline = (shown.headline)(group.runs[0]).map(|metric| curves::family(&metric).0);
        let mut families = families(&metrics(group), &|label, metric| line(group, label, metric));
        families.sort_by_key(|(title, _)| Some(title) != headline.as_ref());
        for (title, lines) in families {
            let chart = Chart::of(&title, shown.steps, &lines, SEEDS);
            if (shown.in_curves)(&title.replace('…', "x")) { main.push(chart) } else { more.push(chart) }
        }
        return (main, more);
    }
    let headline = |group: &Group<'_>| (shown.headline)(group.runs[0]);
    let headlines: BTreeSet<String> = groups.all.iter().filter_map(headline).collect();
    let title = headlines.iter().cloned().collect::<Vec<_>>().join(", ");
    let judged = |group: &Group<'_>, label: &str| line(group, label, &headline(group)?);
    if groups.all.len() <= LINES {
        let lines: Vec<Line> = groups.all.iter().filter_map(|group| judged(group, &group.label)).collect();
        main.extend((!lines.is_empty()).then(|| Chart::of(&title, shown.steps, &lines, SEEDS)));
        for metric in curves::names(&groups.all.iter().flat_map(metrics).collect::<Vec<_>>()) {
            let lines: Vec<Line> =
                groups.all.iter().filter_map(|group| line(group, &group.label, &metric)).collect();
            more.extend((!lines.is_empty()).then(|| Chart::of(&metric, shown.steps, &lines, SEEDS)));
        }
    } else {
        // one chart a value of the axis, or as many as there is room for lines in
        for (place, chunk) in facets(groups) {
            let lines: Vec<Line> = chunk.iter().filter_map(|(group, label)| judged(group, label)).collect();
            let title = if place.is_empty() { title.clone() } else { format!("{title}; {place}") };
            main.extend((!lines.is_empty()).then(|| Chart::of(&title, shown.steps, &lines, SEEDS)));
        }
    }
    (main, more)
}

/// The groups in parts that one chart each can show, with what is the same in each part, and their labels there.
fn facets<'g, 'a>(groups: &'g Groups<'a>) -> Vec<(String, Vec<(&'g Group<'a>, String)>)> {
    let Some(axis) = groups.axis() else {
        let labelled: Vec<_> = groups.all.iter().map(|group| (group, group.label.clone())).collect();
        return labelled.chunks(LINES).map(|chunk| (String::new(), chunk.to_vec())).collect();
    };
    let mut parts: Vec<(String, Vec<(&Group<'_>, String)>)> = Vec::new();
    for group in &groups.all {
        let place = format!("{} {}", groups.keys[axis], group.values[axis]);
        let labelled = (group, groups.label_without(group, axis));
        match parts.iter_mut().find(|(known, _)| *known == place) {
            Some((_, part)) => part.push(labelled),
            None => parts.push((place, vec![labelled])),
        }
    }
    parts
}

/// The metrics of one group in pictures: those of one family share one.
fn families(runs: &[&[Record]], line: &dyn Fn(&str, &str) -> Option<Line>) -> Vec<(String, Vec<Line>)> {
    let mut families: Vec<(String, Vec<Line>)> = Vec::new();
    for metric in curves::names(runs) {
        let (family, name) = curves::family(&metric);
        let Some(line) = line(name.as_deref().unwrap_or(&metric), &metric) else { continue };
        match families.iter_mut().find(|(known, _)| *known == family) {
            Some((_, lines)) => lines.push(line),
            None => families.push((family, vec![line])),
        }
    }
    families
}

/// What the runs are judged by against the number that varies most, a line for each of the other settings.
fn by_axis(groups: &Groups<'_>, shown: &Shown) -> Option<Chart> {
    let axis = groups.axis()?;
    let mut lines: Vec<Line> = Vec::new();
    for group in &groups.all {
        let Some(scores) = tables::scores(group, shown.measures) else { continue };
        let Ok(x) = group.values[axis].parse::<f64>() else { continue };
        let spread = experiment::sweep::Spread::of(&scores)?;
        let point = Point { x, y: spread.mean, range: spread.interval() };
        let label = groups.label_without(group, axis);
        match lines.iter_mut().find(|line| line.label == label) {
            Some(line) => line.points.push(point),
            None => lines.push(Line { label, points: vec![point] }),
        }
    }
    for line in &mut lines {
        line.points.sort_by(|a, b| a.x.total_cmp(&b.x));
    }
    let key = &groups.keys[axis];
    (!lines.is_empty())
        .then(|| Chart::of(&format!("score against {key}"), key, &lines, "shaded: 95% intervals"))
}

/// The pictures of sweeps, and of runs where they are few.
fn pictures(runs: &[Overview], folders: &[PathBuf]) -> Pictures {
    let mut pictures = Pictures::default();
    let of_runs = |folder: &&PathBuf| runs.iter().all(|run| run.path != **folder);
    for folder in folders.iter().filter(of_runs) {
        pictures.add(&folder.join("plots"), "");
    }
    if runs.len() <= WITH_PICTURES {
        for run in runs {
            pictures.add(&run.path.join("plots"), if runs.len() > 1 { &run.name } else { "" });
        }
    }
    pictures
}

/// The command lines with which the runs were begun, each once.
fn commands(runs: &[Overview]) -> Vec<String> {
    let mut commands: Vec<String> = Vec::new();
    for run in runs {
        let command = shell(&run.manifest.command_line);
        if !commands.contains(&command) {
            commands.push(command);
        }
    }
    commands.truncate(WITH_COMMAND);
    commands
}

/// The command that does a run again from its own settings.
fn again(run: &Overview, shown: &Shown) -> String {
    let config = run.path.join("config.toml").display().to_string();
    let (seed, threads) = (run.manifest.seed.to_string(), run.manifest.threads.to_string());
    let options = ["--config", &config, "--seed", &seed, "--threads", &threads].map(str::to_owned);
    let program = std::iter::once(shown.program.to_owned());
    shell(&program.chain((shown.verb)(run)).chain(options).collect::<Vec<_>>())
}

/// A command line for a shell.
fn shell(words: &[String]) -> String {
    let plain = |letter: char| letter.is_ascii_alphanumeric() || "-_./=:,+@%".contains(letter);
    let quoted = |word: &String| {
        if !word.is_empty() && word.chars().all(plain) {
            return word.clone();
        }
        format!("'{}'", word.replace('\'', "'\\''"))
    };
    words.iter().map(quoted).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_line_can_be_pasted() {
        let words = ["ppo-routed", "--set", "env.kinds=[\"a 1\"]", "", "it's"].map(str::to_owned);
        assert_eq!(shell(&words), "ppo-routed --set 'env.kinds=[\"a 1\"]' '' 'it'\\''s'");
    }
}
