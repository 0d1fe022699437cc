//! Settings: what wins, and what a user reads when something is wrong.
use std::fs;
use std::path::{Path, PathBuf};

use experiment::{ConfigError, Faults, Settings, load, to_toml};
use insta::assert_snapshot;
use proptest::prelude::*;
use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Config {
    name: String,
    env: Env,
    train: Train,
    ppo: Ppo,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Env {
    id: Id,
    rows: usize,
    oversight_prob: f64,
    spurious_oversight_prob: f64,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Id {
    Diamond,
    DiamondLarge,
    Ghost,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Train {
    updates: u64,
    learning_rate: f64,
    anneal_lr: bool,
    batch: u8,
    hidden: Vec<usize>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Ppo {
    clip_coef: f32,
}

impl Default for Env {
    fn default() -> Self {
        Self { id: Id::Diamond, rows: 5, oversight_prob: 0.25, spurious_oversight_prob: 0.0 }
    }
}

impl Default for Train {
    fn default() -> Self {
        Self { updates: 100, learning_rate: 3e-4, anneal_lr: true, batch: 8, hidden: vec![64, 64] }
    }
}

impl Default for Ppo {
    fn default() -> Self {
        Self { clip_coef: 0.2 }
    }
}

impl Settings for Config {
    fn faults(&self, faults: &mut Faults) {
        faults.up_to_one([
            ("env.oversight_prob", self.env.oversight_prob),
            ("env.spurious_oversight_prob", self.env.spurious_oversight_prob),
        ]);
        if self.env.rows < 2 {
            faults.add("env.rows", format!("must be at least 2, got {}", self.env.rows));
        }
    }

    fn base(given: &toml::Table) -> Self {
        let mut base = Self::default();
        if given.get("env").and_then(|env| env.get("id")).and_then(toml::Value::as_str)
            == Some("diamond-large")
        {
            base.env.rows = 11;
        }
        base
    }
}

/// A config file in a folder of its own; messages name it by `CONFIG`.
struct File {
    _folder: tempfile::TempDir,
    path: PathBuf,
}

fn file(text: impl AsRef<[u8]>) -> File {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.toml");
    fs::write(&path, text).unwrap();
    File { _folder: folder, path }
}

fn set(overrides: &[&str]) -> Vec<String> {
    overrides.iter().map(|text| (*text).to_owned()).collect()
}

fn message(text: &str, overrides: &[&str]) -> String {
    let file = file(text);
    let error = load::<Config>(Some(&file.path), &set(overrides)).unwrap_err();
    assert_eq!(error.exit_code(), 2);
    error.to_string().replace(file.path.to_str().unwrap(), "CONFIG")
}

#[test]
fn later_ones_win() {
    let file = file("[env]\nrows = 7\noversight_prob = 1\n[train]\nupdates = 5\n");
    let config: Config =
        load(Some(&file.path), &set(&["train.updates=6", "env.id = ghost", "train.updates = 9"])).unwrap();
    let env = Env { id: Id::Ghost, rows: 7, oversight_prob: 1.0, ..Env::default() };
    let mut expected = Config { env, ..Config::default() };
    expected.train.updates = 9;
    assert_eq!(config, expected);
    assert_eq!(load::<Config>(None, &[]).unwrap(), Config::default());
}

#[test]
fn an_override_is_toml_or_a_bare_word() {
    let values = [
        "name=two words",
        "train.learning_rate=.5",
        "train.anneal_lr=false",
        "train.hidden=[1, 2]",
        "ppo.clip_coef=1e-2",
        "env={id=\"ghost\", rows=3}",
    ];
    let config: Config = load(None, &set(&values)).unwrap();
    assert_eq!((config.name.as_str(), config.train.learning_rate), ("two words", 0.5));
    assert_eq!((config.train.anneal_lr, config.train.hidden), (false, vec![1, 2]));
    assert_eq!((config.ppo.clip_coef, config.env.id, config.env.rows), (0.01, Id::Ghost, 3));
    let config: Config = load(None, &set(&["name=\"a = b\""])).unwrap();
    assert_eq!(config.name, "a = b");
    for name in ["7", "true", "2026-01-01", "1e3"] {
        let config: Config = load(None, &[format!("name={name}")]).unwrap();
        assert_eq!(config.name, name);
    }
}

#[test]
fn one_key_may_bring_the_defaults_of_others() {
    let config: Config = load(None, &set(&["env.id=diamond-large"])).unwrap();
    assert_eq!(config.env.rows, 11);
    let config: Config = load(None, &set(&["env.rows=3", "env.id=diamond-large"])).unwrap();
    assert_eq!(config.env.rows, 3);
}

#[test]
fn saved_settings_load_as_they_were() {
    let mut config = Config::default();
    config.train.learning_rate = 1.0 / 3.0;
    config.name = "a \"quoted\"\nname".into();
    let file = file(to_toml(&config).unwrap());
    assert_eq!(load::<Config>(Some(&file.path), &[]).unwrap(), config);
}

#[test]
fn all_faults_at_once() {
    let text = r#"name = 7
[env]
rowz = 7
oversight_prob = 1.5
id = "dimond"
rows = "seven"
[train]
batch = 300
updates = -1
clip_coef = 0.1
hidden = [1, "b"]
[trian]
updates = 3
"#;
    let overrides = ["train.anneal_lr=yes", "train.learning_rate", "env=3", "ppo.clip_coef=[1", "x=1"];
    assert_snapshot!(message(text, &overrides), @r#"
    the config has 15 faults
      --set: "train.learning_rate" has no `=`
      `ppo.clip_coef` (--set): "[1" is not a TOML value: unclosed array, expected `]`
      `name` (CONFIG, line 1): must be a string, got 7; put it in quotes
      `env.rowz` (CONFIG, line 3): no such key, did you mean `env.rows`?
      `env.id` (CONFIG, line 5): must be `diamond`, `diamond-large` or `ghost`, got "dimond", did you mean `diamond`?
      `env.rows` (CONFIG, line 6): must be a whole number, got "seven"
      `train.batch` (CONFIG, line 8): is too large, got 300
      `train.updates` (CONFIG, line 9): must not be negative, got -1
      `train.clip_coef` (CONFIG, line 10): no such key, did you mean `ppo.clip_coef`?
      `train.hidden` (CONFIG, line 11): invalid type: string "b", expected usize
      `trian` (CONFIG, line 12): no such section, did you mean `train`?
      `train.anneal_lr` (--set): must be true or false, got "yes"
      `env` (--set): is a section, not a value; it has `id`, `oversight_prob`, `rows`, `spurious_oversight_prob`
      `x` (--set): no such key; the config has `env`, `name`, `ppo`, `train`
      `env.oversight_prob` (CONFIG, line 4): must lie between 0 and 1, got 1.5
    "#);
}

#[test]
fn numbers_outside_their_range_are_added_and_its_ends_are_not() {
    let mut faults = Faults::default();
    faults.at_least_one([("a", 0_u64), ("fine", 1)]);
    faults.from_one_to([("b", 0_usize, 4), ("c", 5, 4), ("fine", 1, 4), ("fine", 4, 4)]);
    faults.above_zero([("d", 0.0), ("e", f64::INFINITY), ("f", f64::NAN), ("fine", 1e-300)]);
    faults.zero_or_more([("g", -0.5), ("h", f64::NAN), ("fine", 0.0)]);
    faults.up_to_one([("i", -0.5), ("j", 1.5), ("k", f64::NAN), ("fine", 0.0), ("fine", 1.0)]);
    let said: Vec<String> = faults.as_slice().iter().map(ToString::to_string).collect();
    assert_eq!(
        said,
        [
            "`a`: must be at least 1, got 0",
            "`b`: must be at least 1, got 0",
            "`c`: must be at most 4, got 5",
            "`d`: must be above 0, got 0",
            "`e`: must be above 0, got inf",
            "`f`: must be above 0, got NaN",
            "`g`: must be 0 or more, got -0.5",
            "`h`: must be 0 or more, got NaN",
            "`i`: must lie between 0 and 1, got -0.5",
            "`j`: must lie between 0 and 1, got 1.5",
            "`k`: must lie between 0 and 1, got NaN",
        ]
    );
}

#[test]
fn one_fault_is_one_line() {
    assert_snapshot!(message("[env]\nrows = 1", &[]), @"`env.rows` (CONFIG, line 2): must be at least 2, got 1");
    assert_snapshot!(message("", &["env.spurious_oversight_prob=nan"]), @"`env.spurious_oversight_prob` (--set): must lie between 0 and 1, got NaN");
    assert_snapshot!(message("", &["env.oversight=1"]), @"`env.oversight` (--set): no such key, did you mean `env.oversight_prob`?");
    assert_snapshot!(message("", &["env.rows.a=1"]), @"`env.rows.a` (--set): no such key; `env` has `id`, `oversight_prob`, `rows`, `spurious_oversight_prob`");
    assert_snapshot!(message("", &["..=1"]), @r#"--set: "..=1" has an empty name in its key"#);
    assert_snapshot!(message("", &["name="]), @r#"`name` (--set): has no value; an empty string is written """#);
    assert_snapshot!(message("", &["train.batch=-1"]), @"`train.batch` (--set): must not be negative, got -1");
}

#[test]
fn a_syntax_error_names_line_and_column() {
    assert_snapshot!(message("[env]\nrows = 5\n  ids = = 1\n", &[]), @"CONFIG, line 3, column 9: extra `=`, expected nothing");
    assert_snapshot!(message("[env]\n[env]\n", &["train.updates=x"]), @r#"
    the config has 2 faults
      CONFIG, line 2, column 2: duplicate key
      `train.updates` (--set): must be a whole number, got "x"
    "#);
    assert_snapshot!(message("[env]\nid = \"ghost", &[]), @r#"CONFIG, line 2, column 12: invalid basic string, expected `"`"#);
}

#[test]
fn what_is_no_config_is_refused() {
    let error = load::<Config>(Some(Path::new("no/such.toml")), &[]).unwrap_err();
    assert_eq!(error.to_string(), "cannot read the config no/such.toml");
    assert!(error.hint().unwrap().contains("--config"));
    assert_eq!(error.exit_code(), 2);
    for content in [vec![0xff; 10], vec![b' '; (64 << 10) + 1]] {
        let file = file(content);
        let error = load::<Config>(Some(&file.path), &[]).unwrap_err().to_string();
        assert!(
            error.contains("a.toml: not a text file") || error.contains("a.toml: longer than"),
            "{error}"
        );
    }
}

#[test]
fn a_value_that_is_replaced_later_is_not_complained_about() {
    let file = file("[env]\nrows = \"seven\"\n");
    assert_eq!(load::<Config>(Some(&file.path), &set(&["env.rows=7"])).unwrap().env.rows, 7);
}

/// Nothing that nests deeply or runs long takes the stack or the screen with it.
#[test]
fn deep_and_long_input_is_refused_shortly() {
    let deep = "a.".repeat(20_000);
    let soups = [
        format!("{deep}a = 1"),
        format!("[{deep}a]"),
        format!("env = {}", "[".repeat(30_000)),
        format!("env = {}", "{a=".repeat(30_000)),
        format!("env = {}1{}", "{a=".repeat(70), "}".repeat(70)),
        (0..5000).map(|n| format!("k{n} = {n}\n")).collect::<Vec<_>>().concat(),
        format!("{} = 1", "k".repeat(30_000)),
        format!("name = 1{}", "0".repeat(30_000)),
    ];
    for soup in soups {
        let text = message(&soup, &[]);
        assert!(text.len() < 10_000 && text.lines().count() < 30, "{text}");
    }
    for soup in [format!("{deep}a=1"), format!("env={}", "[".repeat(20_000)), "k".repeat(20_000)] {
        let text = message("", &[&soup]);
        assert!(text.len() < 1000, "{text}");
    }
}

/// Pieces that make almost a config.
fn piece() -> impl Strategy<Value = String> {
    prop_oneof![
        prop::sample::select(vec![
            "[env]",
            "[train]",
            "[[env]]",
            "env.",
            "rows",
            "id",
            "hidden",
            "=",
            " = ",
            "\n",
            "\"",
            "'''",
            "{",
            "}",
            "[",
            "]",
            ",",
            "1",
            "-1",
            "1e400",
            "nan",
            "0x",
            "true",
            "ghost",
            "\"ghost\"",
            "1979-05-27",
            "#",
            ".",
            "\u{0}",
        ])
        .prop_map(str::to_owned),
        any::<String>(),
    ]
}

proptest! {
    #[test]
    fn any_bytes_load_or_are_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let file = file(bytes);
        load::<Config>(Some(&file.path), &[]).ok();
    }

    #[test]
    fn any_pieces_load_or_are_refused(
        pieces in prop::collection::vec(piece(), 0..30),
        overrides in prop::collection::vec(prop::collection::vec(piece(), 0..5), 0..3),
    ) {
        let file = file(pieces.concat());
        let overrides: Vec<String> = overrides.iter().map(|pieces| pieces.concat()).collect();
        match load::<Config>(Some(&file.path), &overrides) {
            Ok(config) => {
                let mut faults = Faults::default();
                config.faults(&mut faults);
                prop_assert!(faults.is_empty());
            }
            Err(ConfigError::Faults(faults)) => prop_assert!(!faults.is_empty()),
            Err(error) => prop_assert!(false, "{error}"),
        }
    }

    #[test]
    fn any_value_of_the_right_type_arrives(
        rows in 2..1_000_000_usize, rate in any::<f64>().prop_filter("equal to itself", |x| !x.is_nan()),
        name in any::<String>(),
    ) {
        let mut config = Config { name, ..Config::default() };
        config.env.rows = rows;
        config.train.learning_rate = rate;
        let file = file(to_toml(&config).unwrap());
        prop_assert_eq!(load::<Config>(Some(&file.path), &[]).unwrap(), config);
    }
}
