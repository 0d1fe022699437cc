//! What makes sense of the settings of `adapt`.

use experiment::{Faults, either};
use pretrained::Projection;

use super::arm::{Arm, projection};
use crate::config::{Config, Experiment};

/// Adds a fault for each setting of an adaptation that makes no sense.
pub(crate) fn faults(config: &Config, faults: &mut Faults) {
    let adapt = &config.adapt;
    for (key, value, most) in [
        ("adapt.rank", adapt.rank, 1 << 12),
        ("adapt.neurons", adapt.neurons, 1 << 16),
        ("adapt.samples", adapt.samples, 1 << 12),
        ("adapt.sample_tokens", adapt.sample_tokens, 1 << 12),
    ] {
        if value == 0 || value > most {
            faults.add(key, format!("must lie between 1 and {most}, got {value}"));
        }
    }
    if adapt.kept_mib > 1 << 20 {
        faults.add("adapt.kept_mib", format!("must be at most {}, got {}", 1 << 20, adapt.kept_mib));
    }
    faults.above_zero([("adapt.alpha", adapt.alpha), ("adapt.temperature", adapt.temperature)]);
    if adapt.targets.is_empty() {
        faults.add("adapt.targets", "must name at least one projection");
    }
    let mut seen: Vec<&String> = Vec::new();
    for name in &adapt.targets {
        if projection(name).is_none() {
            let known = either(&Projection::ALL.map(Projection::name));
            faults.add("adapt.targets", format!("must be {known}, got \"{name}\""));
        } else if seen.contains(&name) {
            faults.add("adapt.targets", format!("must name each projection once, got \"{name}\" twice"));
        }
        seen.push(name);
    }
    if config.experiment.kind != Experiment::Adapt {
        return;
    }
    let known = Arm::ALL.map(Arm::name);
    for name in config.experiment.methods.iter().filter(|name| !known.contains(&name.as_str())) {
        faults.add("experiment.methods", format!("must be {}, got \"{name}\"", either(&known)));
    }
    if config.experiment.labelled.len() > 1 {
        let shares = config.experiment.labelled.len();
        faults.add("experiment.labelled", format!("must have one share for `adapt`, got {shares}"));
    }
    if config.concept.len() > 1 {
        let concepts = config.concept.len();
        faults.add("concept", format!("must be one behaviour for `adapt`, got {concepts}"));
    }
    if !adapt.pattern.is_empty()
        && let Err(error) = super::pattern(config)
    {
        let error = error.to_string();
        let reason = error.trim_start_matches("adapt.pattern ").to_owned();
        faults.add("adapt.pattern", reason);
    }
}
