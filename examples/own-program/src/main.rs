//! A program of one's own, with all that a run has here: two weights, each trained by one kind of data.
//! `cargo run -p own-program`, then with `-- resume RUN`, `-- eval RUN` or `-- plot RUN`.

use std::path::Path;
use std::process::ExitCode;

use anyhow::Result;
use candle_core::{Device, Tensor};
use experiment::driver::{
    BuildContext, Due, Finished, FinishedRun, Position, Program, Report, ResumePoint, State, Training,
};
use experiment::{Faults, Record, SeedStreams, Settings};
use gradient_routing::{Class, Group, RouteTable, Site, route};
use learning::{Adam, AdamConfig, Parameters, require_finite};
use plots::{Colour, Figure, Series};
use rand_distr::{Distribution, StandardNormal};
use serde::{Deserialize, Serialize};

/// Of each kind of data, y = slope · the kind's own input; a batch has as many examples of both.
const KINDS: [(&str, f32, Colour); 2] = [("up", 3.0, Colour::Blue), ("down", -2.0, Colour::Vermillion)];
const BATCH: usize = 32;

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Config {
    more_updates: u64,
}
impl Settings for Config {
    fn faults(&self, _: &mut Faults) {}
}
struct Slopes {
    config: Config,
    table: RouteTable,
    parameters: Parameters,
    adam: Adam,
    seed: u64,
    update: u64,
}
impl Slopes {
    fn loss(&self) -> Result<Tensor> {
        let mut rng = SeedStreams::new(self.seed).stream(&format!("data.{}", self.update));
        let x: Vec<f32> = (0..2 * BATCH).map(|_| StandardNormal.sample(&mut rng)).collect();
        let y: Vec<f32> = x.chunks(2).enumerate().map(|(i, x)| KINDS[i % 2].1 * x[i % 2]).collect();
        let masks = self.table.channel_masks(&[0, 1].repeat(BATCH / 2));
        let [x, masks] = [x, masks].map(|values| Tensor::from_vec(values, (BATCH, 2), &Device::Cpu));
        let products = x?.broadcast_mul(self.parameters.get("slopes")?)?;
        Ok(route(&products, &masks?)?.sum(1)?.sub(&Tensor::new(y, &Device::Cpu)?)?.sqr()?.mean_all()?)
    }
}
impl Training for Slopes {
    fn position(&self) -> Position {
        Position::of_updates(self.update, 200 + self.config.more_updates, BATCH as u64)
    }
    fn update(&mut self) -> Result<Report> {
        let loss = self.loss()?;
        let value = f64::from(loss.to_scalar::<f32>()?);
        require_finite(&[("the loss", value)])?;
        self.adam.step(&loss.backward()?, 0.05)?;
        self.update += 1;
        Ok(Report { values: vec![("losses/train".to_owned(), value)], message: None })
    }
    fn evaluate(&mut self) -> Result<Report> {
        let learned = KINDS.iter().zip(self.parameters.get("slopes")?.to_vec1::<f32>()?);
        let values = learned.map(|((kind, ..), slope)| (format!("eval/{kind}"), f64::from(slope))).collect();
        Ok(Report { values, message: None })
    }
    fn due(&self, _: Due) -> bool {
        self.update.is_multiple_of(20)
    }
    fn state(&self) -> Result<State> {
        let model = self.parameters.snapshot()?.into_iter().map(|(name, t)| (format!("model.{name}"), t));
        let tensors = self.adam.state()?.into_iter().chain(model).collect();
        Ok(State { header: serde_json::json!({}), tensors })
    }
}
struct OwnProgram;
impl Program for OwnProgram {
    type Config = Config;
    type Training = Slopes;
    type Summary = Vec<f32>;
    const NAME: &'static str = "own-program";
    const VERSION: &'static str = env!("CARGO_PKG_VERSION");
    const UNIT: &'static str = "examples";

    fn build(&self, config: &Config, cx: &BuildContext<'_>) -> Result<Slopes> {
        let groups = KINDS.map(|(kind, ..)| Group::of_channels(kind, 1)).to_vec();
        let classes = vec![Class::new("up", [1.0, 0.0]), Class::new("down", [0.0, 1.0])];
        let mut parameters = Parameters::default();
        parameters.insert("slopes", &Tensor::new(&[0f32, 0.0], cx.device)?)?;
        let adam = Adam::new(&parameters, AdamConfig::default())?;
        let table = RouteTable::new(Site::Activations, groups, classes)?;
        Ok(Slopes { config: config.clone(), table, parameters, adam, seed: cx.seed, update: 0 })
    }
    fn rewind(&self, config: &Config, cx: &BuildContext<'_>, point: &ResumePoint) -> Result<Slopes> {
        let mut slopes = self.build(config, cx)?;
        slopes.parameters.load(&point.tensors_under("model."), &point.origin())?;
        slopes.adam.load_state(&point.tensors, &point.origin())?;
        Ok(Slopes { update: point.update, ..slopes })
    }
    fn finish(&self, slopes: &mut Slopes, _: &FinishedRun<'_>) -> Result<Finished<Vec<f32>>> {
        let summary = slopes.parameters.get("slopes")?.to_vec1::<f32>()?;
        Ok(Finished { text: format!("slopes {summary:?}\n"), summary })
    }
}

fn draw(records: &[Record], path: &Path) -> Result<()> {
    let series = KINDS.map(|(kind, _, colour)| {
        let slope = |r: &Record| Some((r.step as f64, *r.values.get(&format!("eval/{kind}"))?));
        let (x, y) = records.iter().filter_map(slope).unzip();
        Series { label: kind.to_owned(), x, y, colour, band: None, whiskers: None, dash: false }
    });
    Ok(Figure::of_panel("Two weights, each trained by its kind", "examples", "slope", series)
        .write_png(path)?)
}

fn main() -> ExitCode {
    experiment::program_main(&OwnProgram, draw)
}
