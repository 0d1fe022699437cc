//! The options that every binary has.
use clap::Parser;
use experiment::{CommonArgs, DeviceArg};

#[derive(Parser)]
struct Cli {
    #[command(flatten)]
    common: CommonArgs,
    #[command(subcommand)]
    verb: Option<Verb>,
}

#[derive(clap::Subcommand)]
enum Verb {
    Train,
}

fn parse(line: &str) -> Result<CommonArgs, String> {
    let cli = Cli::try_parse_from(line.split(' ')).map_err(|error| error.to_string())?;
    assert_eq!(cli.verb.is_some(), line.contains("train"));
    Ok(cli.common)
}

#[test]
fn options_stand_before_or_behind_the_verb() {
    let options =
        "--config a.toml --set env.id=x --set b.c=1=2 --seed 3 --out d --device cuda:1 --threads 2 --quiet";
    for line in [format!("x {options}"), format!("x train {options}"), format!("x {options} train")] {
        let common = parse(&line).unwrap();
        assert_eq!(common.config.unwrap().to_str(), Some("a.toml"));
        assert_eq!(common.set, ["env.id=x", "b.c=1=2"]);
        assert_eq!((common.seed, common.threads, common.quiet), (Some(3), Some(2), true));
        assert_eq!(common.device, DeviceArg::Cuda(1));
        assert_eq!(common.out.unwrap().to_str(), Some("d"));
    }
    let common = parse("x").unwrap();
    assert_eq!(
        (common.device, common.seed, common.threads, common.quiet),
        (DeviceArg::Cpu, None, None, false)
    );
    assert!(common.set.is_empty());
}

#[test]
fn wrong_values_are_refused_with_the_right_ones() {
    for (line, remedy) in [
        ("x --device gpu", "use `cpu`, `cuda` or `cuda:N`"),
        ("x --threads 0", "at least one thread"),
        ("x --threads many", "whole number"),
        ("x --seed -1", "a seed is a whole number from 0 to"),
        ("x train --seed 1.5", "a seed is a whole number from 0 to"),
    ] {
        let error = parse(line).unwrap_err();
        assert!(error.contains(remedy), "{error}");
    }
}
