//! The frame of the verb `bench`: warm-up, repetitions, and the line of JSON.

use std::time::Instant;

use anyhow::Result;
use serde_json::Value;

use crate::device::DeviceArg;

/// How often `bench` makes its training step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::Args)]
pub struct BenchArgs {
    /// Timed repetitions.
    #[arg(long, value_name = "N", default_value_t = 7, value_parser = clap::value_parser!(u32).range(5..=1000))]
    pub repetitions: u32,
    /// Make N training steps and nothing else, for a profiler or a counter of instructions.
    #[arg(long, value_name = "N", conflicts_with = "repetitions", value_parser = clap::value_parser!(u64).range(1..=100_000))]
    pub untimed: Option<u64>,
}

impl BenchArgs {
    /// The line that `bench` prints where it timed nothing.
    pub fn untimed_line(&self, work: &str) -> String {
        serde_json::json!({ "work": work, "untimed": self.untimed }).to_string()
    }
}

/// How a training step is timed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BenchPlan {
    /// Updates before the first timed one, at least one.
    pub warm_up: u64,
    /// How often it is timed, or made without a clock.
    pub times: BenchArgs,
    /// Updates of a repetition; as many as fit into `seconds` where it is not given.
    pub updates: Option<u64>,
    /// Seconds that a repetition should take.
    pub seconds: f64,
}

impl BenchPlan {
    /// Times `update`, which returns the steps it made: the steps a second of each repetition, or nothing where no
    /// clock is wanted.
    ///
    /// # Errors
    /// Fails where `update` does.
    pub fn time(&self, mut update: impl FnMut() -> Result<u64>) -> Result<Option<Rates>> {
        if let Some(updates) = self.times.untimed {
            for _ in 0..updates {
                update()?;
            }
            return Ok(None);
        }
        let warm_up = Instant::now();
        for _ in 0..self.warm_up {
            update()?;
        }
        let once = warm_up.elapsed().as_secs_f64() / self.warm_up as f64;
        let updates = self.updates.unwrap_or_else(|| ((self.seconds / once).ceil() as u64).max(1));
        let mut rates = Vec::new();
        for _ in 0..self.times.repetitions {
            let (began, mut steps) = (Instant::now(), 0);
            for _ in 0..updates {
                steps += update()?;
            }
            rates.push(steps as f64 / began.elapsed().as_secs_f64());
        }
        rates.sort_by(f64::total_cmp);
        Ok(Some(Rates(rates)))
    }
}

/// Steps a second of each repetition, the slowest first.
#[derive(Clone, Debug, PartialEq)]
pub struct Rates(Vec<f64>);

impl Rates {
    /// The line that `bench` prints: `fields` and, under the names `median`, `min` and `max`, the speed.
    pub fn line(&self, [median_name, min, max]: [&str; 3], fields: BenchFields<'_>) -> String {
        let BenchFields { work, device, threads, mut others } = fields;
        let shown = |rate: f64| if rate < 1000.0 { (rate * 10.0).round() / 10.0 } else { rate.round() };
        let at = |index: usize| shown(self.0.get(index).copied().unwrap_or(0.0));
        for (name, value) in [
            ("work", Value::from(work)),
            ("device", Value::from(device.to_string())),
            ("threads", Value::from(threads)),
            (median_name, Value::from(shown(median(&mut self.0.clone())))),
            (min, Value::from(at(0))),
            (max, Value::from(at(self.0.len().saturating_sub(1)))),
        ] {
            others.insert(name.to_owned(), value);
        }
        Value::Object(others).to_string()
    }
}

/// What stands in the line of `bench` beside the speed.
#[derive(Clone, Debug)]
pub struct BenchFields<'a> {
    /// What is timed.
    pub work: &'a str,
    /// Where the tensors live.
    pub device: DeviceArg,
    /// Threads to compute with.
    pub threads: usize,
    /// Whatever else the program measures.
    pub others: serde_json::Map<String, Value>,
}

/// Sorts and takes the middle; NaN for no value.
pub fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    if values.is_empty() {
        return f64::NAN;
    }
    f64::midpoint(values[(values.len() - 1) / 2], values[values.len() / 2])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_has_the_middle_and_both_ends() {
        let rates = Rates(vec![2.04, 1500.4, 9000.6]);
        let others = [("batch".to_owned(), Value::from(5))].into_iter().collect();
        let fields = BenchFields { work: "a step", device: DeviceArg::Cpu, threads: 2, others };
        assert_eq!(
            rates.line(["sps_median", "sps_min", "sps_max"], fields),
            r#"{"batch":5,"device":"cpu","sps_max":9001.0,"sps_median":1500.0,"sps_min":2.0,"threads":2,"work":"a step"}"#
        );
    }

    #[test]
    fn the_middle_of_an_even_number_lies_between_two() {
        assert!((median(&mut [4.0, 1.0, 2.0, 100.0]) - 3.0).abs() < 1e-12);
        assert!((median(&mut [3.0, 1.0, 2.0]) - 2.0).abs() < 1e-12);
        assert!(median(&mut []).is_nan());
    }

    #[test]
    fn the_warm_up_is_not_timed_and_each_repetition_has_its_updates() {
        let mut updates = 0;
        let times = BenchArgs { repetitions: 5, untimed: None };
        let plan = BenchPlan { warm_up: 3, times, updates: Some(2), seconds: 1.0 };
        let rates = plan
            .time(|| {
                updates += 1;
                Ok(if updates > 3 { 7 } else { 0 })
            })
            .unwrap()
            .unwrap();
        assert_eq!((updates, rates.0.len()), (13, 5));
        assert!(rates.0.is_sorted() && rates.0[0] > 0.0);
        let error = plan.time(|| anyhow::bail!("the loss is NaN")).unwrap_err();
        assert_eq!(error.to_string(), "the loss is NaN");
    }

    #[test]
    fn without_a_clock_there_are_as_many_updates_as_asked_for() {
        let mut updates = 0;
        let times = BenchArgs { repetitions: 7, untimed: Some(2) };
        let plan = BenchPlan { warm_up: 3, times, updates: Some(4), seconds: 1.0 };
        let rates = plan
            .time(|| {
                updates += 1;
                Ok(1)
            })
            .unwrap();
        assert_eq!((updates, rates), (2, None));
        assert_eq!(times.untimed_line("a step"), r#"{"untimed":2,"work":"a step"}"#);
    }
}
