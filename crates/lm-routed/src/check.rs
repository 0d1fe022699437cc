//! What makes sense of the settings.

use experiment::{Faults, Settings, either};

use crate::config::{Config, Experiment};
use crate::methods::Method;
use crate::routing::{RULES, Rule};

impl Settings for Config {
    fn faults(&self, faults: &mut Faults) {
        sizes(self, faults);
        rates(self, faults);
        layers(self, faults);
        names(self, faults);
        data_and_shapes(self, faults);
    }
}

/// The names of methods and rules.
fn names(config: &Config, faults: &mut Faults) {
    let known: Vec<&str> = Method::of(Experiment::Era).map(|method| method.name).collect();
    for name in config.experiment.methods.iter().filter(|name| !known.contains(&name.as_str())) {
        faults.add("experiment.methods", format!("must be {}, got \"{name}\"", either(&known)));
    }
    if Rule::named(&config.routing.rule).is_none() {
        let known = either(&RULES.map(|rule| rule.name));
        faults.add("routing.rule", format!("must be {known}, got \"{}\"", config.routing.rule));
    }
}

fn data_and_shapes(config: &Config, faults: &mut Faults) {
    let Config { experiment, data, model, steer, .. } = config;
    if experiment.methods.is_empty() {
        faults.add("experiment.methods", "must name at least one method");
    }
    if experiment.labelled.is_empty() {
        faults.add("experiment.labelled", "must have at least one share");
    }
    if let Some(share) = experiment.labelled.iter().find(|share| !(0.0..=1.0).contains(*share)) {
        faults.add("experiment.labelled", format!("must lie between 0 and 1, got {share}"));
    }
    if data.train.is_empty() {
        faults.add("data.train", "must name a file");
    }
    if data.forget_words.is_empty() || data.forget_words.iter().any(|word| word.trim().is_empty()) {
        faults.add("data.forget_words", "must have at least one word, and no empty one");
    }
    if data.tokenizer.is_empty() && !(300..=1 << 16).contains(&data.vocab_size) {
        faults.add("data.vocab_size", format!("must lie between 300 and 65,536, got {}", data.vocab_size));
    }
    if model.n_head > 0 && !model.n_embd.is_multiple_of(2 * model.n_head) {
        let message =
            format!("must be an even multiple of model.n_head ({}), got {}", model.n_head, model.n_embd);
        faults.add("model.n_embd", message);
    }
    if steer.dimension >= model.n_embd {
        let message = format!("must be below model.n_embd ({}), got {}", model.n_embd, steer.dimension);
        faults.add("steer.dimension", message);
    }
}

fn sizes(config: &Config, faults: &mut Faults) {
    let Config { model, train, coherence, retrain, rmu, steer, eval, checkpoint, .. } = config;
    for (key, value, most) in [
        ("model.n_layer", model.n_layer, 256),
        ("model.n_head", model.n_head, 256),
        ("model.n_embd", model.n_embd, 1 << 14),
        ("model.d_mlp", model.d_mlp, 1 << 16),
        ("model.block_size", model.block_size, 1 << 14),
        ("train.batch_size", train.batch_size, 1 << 16),
        ("eval.stories", eval.stories, 1 << 20),
        ("coherence.stories", coherence.stories, 1 << 16),
        ("coherence.validation_stories", coherence.validation_stories, 1 << 20),
        ("retrain.validation_stories", retrain.validation_stories, 1 << 20),
        ("rmu.batch_size", rmu.batch_size, 1 << 16),
        ("steer.samples", steer.samples, 1 << 16),
        ("steer.sample_tokens", steer.sample_tokens, 1 << 14),
        ("steer.nearest", steer.nearest, 1 << 16),
    ] {
        if value == 0 {
            faults.add(key, "must be at least 1, got 0");
        } else if value > most {
            faults.add(key, format!("must be at most {most}, got {value}"));
        }
    }
    for (key, rows, tokens) in [
        ("train.batch_size", train.batch_size, model.block_size),
        ("rmu.batch_size", rmu.batch_size, model.block_size),
        ("steer.samples", steer.samples, steer.sample_tokens),
    ] {
        let all = rows.saturating_mul(tokens);
        if all > 1 << 24 {
            let message =
                format!("{rows} texts of {tokens} tokens are {all} tokens at once: use at most 16777216");
            faults.add(key, message);
        }
    }
    if train.steps > 1 << 28 {
        faults.add("train.steps", format!("must be at most {}, got {}", 1 << 28, train.steps));
    }
    for (key, value) in [
        ("train.steps", train.steps),
        ("coherence.every", coherence.every),
        ("retrain.every", retrain.every),
        ("retrain.repeats", retrain.repeats),
        ("eval.every", eval.every),
        ("checkpoint.every", checkpoint.every),
    ] {
        if value == 0 {
            faults.add(key, "must be at least 1, got 0");
        }
    }
    if retrain.stories.contains(&0) {
        faults.add("retrain.stories", "must have no 0: that is the column before");
    }
}

fn rates(config: &Config, faults: &mut Faults) {
    let Config { train, routing, coherence, retrain, rmu, steer, localise, .. } = config;
    for (key, value) in [
        ("train.learning_rate", train.learning_rate),
        ("coherence.learning_rate", coherence.learning_rate),
        ("retrain.learning_rate", retrain.learning_rate),
        ("rmu.learning_rate", rmu.learning_rate),
        ("steer.temperature", steer.temperature),
    ] {
        if !(value > 0.0 && value.is_finite()) {
            faults.add(key, format!("must be above 0, got {value}"));
        }
    }
    for (key, value) in [
        ("train.min_learning_rate", train.min_learning_rate),
        ("train.weight_decay", train.weight_decay),
        ("train.grad_clip", train.grad_clip),
        ("routing.l1", f64::from(routing.l1)),
        ("rmu.norm", rmu.norm),
        ("rmu.alpha", rmu.alpha),
    ] {
        if !(value >= 0.0 && value.is_finite()) {
            faults.add(key, format!("must be 0 or more, got {value}"));
        }
    }
    for (key, value) in [("train.beta1", train.beta1), ("train.beta2", train.beta2)] {
        if !(0.0..1.0).contains(&value) {
            faults.add(key, format!("must lie between 0 and 1, got {value}"));
        }
    }
    for (key, value) in [
        ("routing.forget_original", routing.forget_original),
        ("routing.forget_extra", routing.forget_extra),
        ("routing.retain_original", routing.retain_original),
        ("routing.retain_extra", routing.retain_extra),
        ("localise.forget_other", localise.forget_other),
        ("steer.strength", steer.strength),
    ] {
        if !value.is_finite() {
            faults.add(key, format!("must be a number, got {value}"));
        }
    }
}

fn layers(config: &Config, faults: &mut Faults) {
    let Config { model, routing, rmu, steer, localise, .. } = config;
    let count = model.n_layer;
    for (key, layers) in
        [("routing.layers", &routing.layers), ("rmu.layers", &rmu.layers), ("steer.layers", &steer.layers)]
    {
        let mut sorted = layers.clone();
        sorted.sort_unstable();
        sorted.dedup();
        if sorted.len() != layers.len() {
            faults.add(key, "must name each layer once");
        }
        if let Some(layer) = layers.iter().find(|layer| **layer >= count) {
            faults.add(key, format!("must be below model.n_layer ({count}), got {layer}"));
        }
    }
    for (key, layer) in [("rmu.target", rmu.target), ("steer.at_layer", steer.at_layer)] {
        if layer >= count {
            faults.add(key, format!("must be below model.n_layer ({count}), got {layer}"));
        }
    }
    if rmu.layers.iter().any(|layer| *layer > rmu.target) {
        faults.add("rmu.layers", format!("must not lie after rmu.target ({})", rmu.target));
    }
    if routing.extra_neurons > 1 << 16 {
        faults.add("routing.extra_neurons", format!("must be at most 65536, got {}", routing.extra_neurons));
    }
    if localise.neurons == 0 || localise.neurons >= model.d_mlp {
        let message = format!("must lie between 1 and model.d_mlp - 1, got {}", localise.neurons);
        faults.add("localise.neurons", message);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_that_no_memory_holds_is_refused_with_its_size() {
        let set = ["train.batch_size=65536", "model.block_size=16384"].map(str::to_owned);
        let message = experiment::load::<Config>(None, &set).unwrap_err().to_string();
        let words = "65536 texts of 16384 tokens are 1073741824 tokens at once: use at most 16777216";
        assert!(message.contains("train.batch_size") && message.contains(words), "{message}");
        experiment::load::<Config>(None, &["train.batch_size=64".to_owned()]).unwrap();
    }
}
