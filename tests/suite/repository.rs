//! What the repository promises of itself: its configs, its README, the length of its files.
use std::fs;
use std::path::{Path, PathBuf};

use experiment::sweep::SweepConfig;
use ppo_routed::Config;
use ppo_routed::sweep::LabelEfficiency;

use crate::workspace::Workspace;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// The files with an extension below a folder.
fn files(folder: &Path, extension: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display())) {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path, extension));
        } else if path.extension().is_some_and(|found| found == extension) {
            found.push(path);
        }
    }
    found.sort();
    found
}

#[test]
fn every_config_loads_and_says_what_it_shows_and_how_long_it_takes() {
    let configs = files(&root().join("configs"), "toml");
    assert!(!configs.is_empty());
    for path in configs {
        let (name, text) = (path.display(), fs::read_to_string(&path).unwrap());
        let comment: Vec<&str> = text.lines().take_while(|line| line.starts_with('#')).collect();
        assert!(
            comment.first().is_some_and(|line| line.len() > 20),
            "{name} does not begin with what it shows"
        );
        let comment = comment.join(" ");
        assert!(
            ["second", "minute", "hour"].iter().any(|unit| comment.contains(unit)),
            "{name} does not say how long it takes"
        );
        let table: toml::Table = text.parse().unwrap();
        if table.contains_key("sweep") {
            experiment::load::<SweepConfig<Config, LabelEfficiency>>(Some(&path), &[])
                .unwrap_or_else(|error| panic!("{error}"));
        } else if table.contains_key("env") {
            experiment::load::<Config>(Some(&path), &[]).unwrap_or_else(|error| panic!("{error}"));
        } else if path.file_name().unwrap().to_string_lossy().starts_with("mnist") {
            experiment::load::<mnist_routed::Config>(Some(&path), &[])
                .unwrap_or_else(|error| panic!("{error}"));
        } else if ["adapt", "forest", "kitchen", "gram", "sgtm"]
            .iter()
            .any(|concept| path.file_name().unwrap().to_string_lossy().starts_with(concept))
        {
            experiment::load::<lm_routed::Config>(Some(&path), &[]).unwrap_or_else(|error| panic!("{error}"));
        }
    }
}

/// The lines of the README's shell blocks, without comments, continued lines joined.
fn shell_lines(readme: &str) -> Vec<String> {
    let mut lines = Vec::new();
    let mut shell = None;
    for line in readme.lines() {
        if let Some(language) = line.trim_start().strip_prefix("```") {
            shell = match shell {
                None => Some(matches!(language.trim(), "" | "sh" | "bash" | "shell" | "console")),
                Some(_) => None,
            };
        } else if shell == Some(true) {
            let line = line.split(" #").next().unwrap_or_default().trim().trim_start_matches("$ ");
            if !line.starts_with('#') {
                lines.push(line.to_owned());
            }
        }
    }
    assert_eq!(shell, None, "a code block without an end");
    lines
        .join("\n")
        .replace("\\\n", " ")
        .split(['\n', ';'])
        .flat_map(|line| line.split("&&"))
        .map(|line| line.trim().to_owned())
        .collect()
}

/// What stands after a binary's name on a line, where it is started there.
fn arguments_of(binary: &str, line: &str) -> Option<String> {
    let words: Vec<&str> = line.split_whitespace().collect();
    match words.as_slice() {
        ["cargo", "run", rest @ ..] => {
            let split = rest.iter().position(|word| *word == "--").unwrap_or(rest.len());
            let (cargo, own) = rest.split_at(split);
            let chosen = cargo.windows(2).any(|pair| pair == ["-p", binary]);
            chosen.then(|| own.get(1..).unwrap_or_default().join(" "))
        }
        [program, own @ ..] if program.rsplit('/').next() == Some(binary) => Some(own.join(" ")),
        _ => None,
    }
}

#[test]
fn the_commands_of_the_readme_are_understood() {
    let readme = fs::read_to_string(root().join("README.md")).unwrap();
    let lines = shell_lines(&readme);
    assert!(lines.iter().any(|line| line.starts_with("cargo run") && line.contains("-p ppo-routed")));
    assert!(lines.iter().any(|line| line.starts_with("cargo test")));
    let (ws, mnist, language) = (Workspace::new(), Workspace::for_mnist(), Workspace::for_lm(""));
    for line in &lines {
        let words: Vec<&str> = line.split_whitespace().collect();
        if words.first() == Some(&"cargo") {
            assert!(
                ["run", "test", "build", "bench", "doc", "install", "clippy", "fmt", "add"]
                    .contains(&words[1]),
                "{line}"
            );
            for package in words.windows(2).filter(|pair| pair[0] == "-p").map(|pair| pair[1]) {
                let known = ["crates", "."].iter().any(|folder| root().join(folder).join(package).is_dir());
                assert!(known || package == "integration-tests", "{line}");
            }
        }
        if let Some(arguments) = arguments_of("mnist-routed", line) {
            let ended = mnist.run(&format!("{} --help", arguments.replace('\'', "")));
            assert_eq!(ended.code, Some(0), "{line}: {}", ended.stderr);
        }
        if let Some(arguments) = arguments_of("lm-routed", line) {
            let ended = language.run(&format!("{} --help", arguments.replace('\'', "")));
            assert_eq!(ended.code, Some(0), "{line}: {}", ended.stderr);
        }
        let Some(arguments) = arguments_of("ppo-routed", line) else { continue };
        // with --help at its end the command checks what comes before and does nothing
        let ended = ws.run(&format!("{arguments} --help"));
        assert_eq!(ended.code, Some(0), "{line}: {}", ended.stderr);
        let words: Vec<&str> = arguments.split_whitespace().collect();
        let values = |option: &str| -> Vec<&str> {
            words.windows(2).filter(|pair| pair[0] == option).map(|pair| pair[1]).collect()
        };
        let config = values("--config").last().map(|path| root().join(path));
        let set: Vec<String> =
            values("--set").iter().map(|text| text.trim_matches('\'').to_owned()).collect();
        let loaded = match words.first() {
            Some(&"sweep") => {
                experiment::load::<SweepConfig<Config, LabelEfficiency>>(config.as_deref(), &set).map(drop)
            }
            _ => experiment::load::<Config>(config.as_deref(), &set).map(drop),
        };
        loaded.unwrap_or_else(|error| panic!("{line}: {error}"));
    }
}

#[test]
fn files_are_short_enough_to_be_read() {
    let mut folders: Vec<PathBuf> =
        fs::read_dir(root().join("crates")).unwrap().map(|entry| entry.unwrap().path()).collect();
    folders.extend([root().join("envs"), root().join("policies")]);
    for path in folders.iter().flat_map(|folder| files(&folder.join("src"), "rs")) {
        let lines = fs::read_to_string(&path).unwrap().lines().count();
        assert!(lines <= 410, "{} has {lines} lines", path.display());
    }
}
