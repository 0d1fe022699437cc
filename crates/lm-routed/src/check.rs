//! What makes sense of the settings.

use experiment::{Faults, Settings, either};

use crate::adapt;
use crate::config::{Config, Experiment};
use crate::methods::{MOST_CONCEPTS, Method};
use crate::routing::{RULES, Rule};

impl Settings for Config {
    /// Whoever brings texts to train on means to measure on them, too.
    fn base(given: &toml::Table) -> Self {
        let kind = given.get("experiment").and_then(|section| section.get("kind"));
        let adapt = kind.and_then(toml::Value::as_str) == Some(Experiment::Adapt.name());
        let mut config = if adapt { Self::for_adapt() } else { Self::default() };
        let train = given.get("data").and_then(|data| data.get("train")).and_then(toml::Value::as_str);
        if train.is_some_and(|train| train != config.data.train) {
            config.data.validation.clear();
        }
        config
    }

    fn faults(&self, faults: &mut Faults) {
        sizes(self, faults);
        rates(self, faults);
        layers(self, faults);
        names(self, faults);
        data_and_shapes(self, faults);
        concepts(self, faults);
        modules(self, faults);
        attack(self, faults);
        adapt::faults(self, faults);
    }
}

/// The names of methods and rules.
fn names(config: &Config, faults: &mut Faults) {
    // the other experiments have one method, whatever is named
    let kind = match config.experiment.kind {
        Experiment::Modules => Experiment::Modules,
        _ => Experiment::Era,
    };
    let gram = config.experiment.methods.iter().any(|name| name == "gram");
    if gram && kind == Experiment::Era && config.concept.len() > 1 {
        let several = config.concept.len();
        let message =
            format!("must lack \"gram\" where there are {several} concepts: `modules` is for several");
        faults.add("experiment.methods", message);
    }
    let known: Vec<&str> = Method::of(kind).map(|method| method.name).collect();
    // its models are its own
    let named = config.experiment.kind != Experiment::Adapt;
    for name in config.experiment.methods.iter().filter(|name| named && !known.contains(&name.as_str())) {
        faults.add("experiment.methods", format!("must be {}, got \"{name}\"", either(&known)));
    }
    if Rule::named(&config.routing.rule).is_none() {
        let known = either(&RULES.map(|rule| rule.name));
        faults.add("routing.rule", format!("must be {known}, got \"{}\"", config.routing.rule));
    }
}

/// Names that the tables and models of `modules` have of their own.
const TAKEN: [&str; 3] = ["all", "core", "general"];

fn concepts(config: &Config, faults: &mut Faults) {
    let mut fault = |message: String| faults.add("concept", message);
    if config.concept.len() > MOST_CONCEPTS {
        fault(format!("must be at most {MOST_CONCEPTS} concepts, got {}", config.concept.len()));
    }
    let mut seen: Vec<&str> = Vec::new();
    for concept in &config.concept {
        let name = concept.name.as_str();
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '_';
        if name.is_empty() || !name.chars().all(plain) {
            fault(format!("must have names of letters, digits and `_`, got \"{name}\""));
        } else if TAKEN.contains(&name) {
            fault(format!("must have other names than {}, which the tables have", either(&TAKEN)));
        } else if seen.contains(&name) {
            fault(format!("must have each name once, got \"{name}\" twice"));
        }
        let ways = [!concept.words.is_empty(), !concept.file.is_empty(), !concept.field.is_empty()];
        if ways.iter().filter(|way| **way).count() != 1
            || concept.words.iter().any(|word| word.trim().is_empty())
        {
            fault(format!(
                "must have at least one word for \"{name}\", and no empty one, or a file of words, or a field"
            ));
        }
        if !(0.0..=1.0).contains(&concept.recall) {
            fault(format!("must have a recall between 0 and 1 for \"{name}\", got {}", concept.recall));
        }
        if !(concept.precision > 0.0 && concept.precision <= 1.0) {
            fault(format!(
                "must have a precision above 0 and up to 1 for \"{name}\", got {}",
                concept.precision
            ));
        }
        seen.push(name);
    }
}

fn modules(config: &Config, faults: &mut Faults) {
    let Config { model, sgtm, gram, .. } = config;
    faults.up_to_one([
        ("sgtm.retain_labelled", sgtm.retain_labelled),
        ("gram.p_as", gram.p_as),
        ("gram.p_cr", gram.p_cr),
    ]);
    // as little a fault as any other of a method that takes no part: its defaults are for the default's size
    if config.experiment.methods.iter().any(|name| name == "sgtm") {
        for (key, value, whole, of) in [
            ("sgtm.neurons", sgtm.neurons, model.d_mlp, "model.d_mlp"),
            ("sgtm.heads", sgtm.heads, model.n_head, "model.n_head"),
        ] {
            if value > 0 && value >= whole {
                faults.add(key, format!("must be below {of} ({whole}), got {value}"));
            }
        }
        faults.at_least_one([("sgtm.neurons", sgtm.neurons as u64)]);
    }
    if let Some(dose) = gram.doses.iter().find(|dose| !dose.is_finite()) {
        faults.add("gram.doses", format!("must be numbers, got {dose}"));
    }
    if gram.neurons == 0 || gram.neurons > 1 << 16 {
        faults.add("gram.neurons", format!("must lie between 1 and 65536, got {}", gram.neurons));
    }
}

fn attack(config: &Config, faults: &mut Faults) {
    let attack = &config.attack;
    for (key, none) in [
        ("attack.stories", attack.stories.is_empty() || attack.stories.contains(&0)),
        ("attack.learning_rates", attack.learning_rates.is_empty()),
    ] {
        if none {
            faults.add(key, "must have at least one number, and no 0");
        }
    }
    if attack.lora_rank > 0 && attack.lora_learning_rates.is_empty() {
        faults.add(
            "attack.lora_learning_rates",
            "must have at least one number where attack.lora_rank is above 0",
        );
    }
    for (key, rates) in [
        ("attack.learning_rates", &attack.learning_rates),
        ("attack.lora_learning_rates", &attack.lora_learning_rates),
    ] {
        if let Some(rate) = rates.iter().find(|rate| !(**rate > 0.0 && rate.is_finite())) {
            faults.add(key, format!("must be above 0, got {rate}"));
        }
    }
    if config.branch.lora_rank > config.model.n_embd {
        let (most, rank) = (config.model.n_embd, config.branch.lora_rank);
        faults.add("branch.lora_rank", format!("must be at most model.n_embd ({most}), got {rank}"));
    }
    if attack.lora_rank > config.model.n_embd {
        let most = config.model.n_embd;
        faults.add(
            "attack.lora_rank",
            format!("must be at most model.n_embd ({most}), got {}", attack.lora_rank),
        );
    }
    if let Some(bits) = attack.bits.iter().find(|bits| !(2..=16).contains(*bits)) {
        faults.add("attack.bits", format!("must lie between 2 and 16, got {bits}"));
    }
    if let Some(share) = attack.pruned.iter().find(|share| !(0.0..1.0).contains(*share)) {
        faults.add("attack.pruned", format!("must lie between 0 and 1, got {share}"));
    }
    faults.at_least_one([
        ("attack.every", attack.every),
        ("attack.batch_size", attack.batch_size as u64),
        ("attack.validation_stories", attack.validation_stories as u64),
        ("attack.probe_stories", attack.probe_stories as u64),
    ]);
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
    let Config { model, train, coherence, retrain, rmu, unlearn, undo, steer, eval, checkpoint, .. } = config;
    faults.from_one_to([
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
        ("unlearn.batch_size", unlearn.batch_size, 1 << 16),
        ("undo.batch_size", undo.batch_size, 1 << 16),
        ("branch.batch_size", config.branch.batch_size, 1 << 16),
        ("steer.samples", steer.samples, 1 << 16),
        ("steer.sample_tokens", steer.sample_tokens, 1 << 14),
        ("steer.nearest", steer.nearest, 1 << 16),
    ]);
    for (key, rows, tokens) in [
        ("train.batch_size", train.batch_size, model.block_size),
        ("rmu.batch_size", rmu.batch_size, model.block_size),
        ("undo.batch_size", undo.batch_size, model.block_size),
        ("branch.batch_size", config.branch.batch_size, model.block_size),
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
    faults.at_least_one([
        ("train.steps", train.steps),
        ("coherence.every", coherence.every),
        ("retrain.every", retrain.every),
        ("retrain.repeats", retrain.repeats),
        ("eval.every", eval.every),
        ("checkpoint.every", checkpoint.every),
    ]);
    if retrain.stories.contains(&0) {
        faults.add("retrain.stories", "must have no 0: that is the column before");
    }
}

fn rates(config: &Config, faults: &mut Faults) {
    let Config { train, routing, coherence, retrain, rmu, unlearn, undo, steer, localise, .. } = config;
    faults.above_zero([
        ("train.learning_rate", train.learning_rate),
        ("coherence.learning_rate", coherence.learning_rate),
        ("retrain.learning_rate", retrain.learning_rate),
        ("rmu.learning_rate", rmu.learning_rate),
        ("unlearn.learning_rate", unlearn.learning_rate),
        ("unlearn.ascent_limit", unlearn.ascent_limit),
        ("undo.learning_rate", undo.learning_rate),
        ("branch.learning_rate", config.branch.learning_rate),
        ("steer.temperature", steer.temperature),
    ]);
    faults.zero_or_more([
        ("train.min_learning_rate", train.min_learning_rate),
        ("train.weight_decay", train.weight_decay),
        ("train.grad_clip", train.grad_clip),
        ("routing.l1", f64::from(routing.l1)),
        ("rmu.norm", rmu.norm),
        ("rmu.alpha", rmu.alpha),
        ("undo.beta", undo.beta),
    ]);
    faults.up_to_one([("undo.alpha", undo.alpha)]);
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
