//! Training on a small corpus of its own: it learns, it repeats, it goes on where it stopped.
#![expect(clippy::unwrap_used, reason = "helpers of tests may panic, as tests do")]

use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;

use candle_core::Device;
use experiment::SeedStreams;
use lm_routed::data::{Dataset, Pool};
use lm_routed::localise;
use lm_routed::methods::{Method, Part, Recipe, rmu};
use lm_routed::{
    ConceptSection, Config, Context, Error, Experiment, Place, Trainer, Validation, after_training,
    make_coherent, relearn,
};
use transformer::{Backend, Batch, Hooks, Network, copied};

/// Stories of a few sentences; every third is about a forest.
fn write_corpus(folder: &Path) {
    let mut text = String::new();
    for i in 0..300 {
        let who =
            ["Tom", "Anna", "Ben"][i % 3 + usize::from(i % 7 == 0) - usize::from(i % 3 == 2 && i % 7 == 0)];
        let place =
            if i % 3 == 0 { "the dark forest under a tall tree" } else { "the small house by the blue sea" };
        let what = ["a red ball", "an old book", "a warm hat"][i / 3 % 3];
        writeln!(
            text,
            "{{\"text\": \"One day {who} went to {place}. There {who} found {what}. {who} was happy with {what} in {place}.\"}}"
        )
        .unwrap();
    }
    std::fs::write(folder.join("corpus.jsonl"), text).unwrap();
}

fn config(folder: &Path) -> Config {
    let mut config = Config::default();
    config.data.train = folder.join("corpus.jsonl").display().to_string();
    config.data.validation = String::new();
    config.data.validation_documents = 30;
    config.data.cache = folder.join("cache").display().to_string();
    config.data.vocab_size = 420;
    (config.model.n_layer, config.model.n_head, config.model.n_embd) = (2, 2, 32);
    (config.model.d_mlp, config.model.block_size) = (64, 32);
    (config.train.steps, config.train.batch_size, config.train.warmup_steps) = (150, 8, 5);
    (config.train.learning_rate, config.train.min_learning_rate) = (1e-2, 1e-3);
    (config.routing.layers, config.routing.extra_neurons) = (vec![0, 1], 8);
    (config.coherence.stories, config.coherence.steps, config.coherence.validation_stories) = (8, 4, 10);
    (config.retrain.stories, config.retrain.steps, config.retrain.repeats) = (vec![1, 2], 4, 1);
    config.retrain.validation_stories = 10;
    (config.rmu.layers, config.rmu.target, config.rmu.steps, config.rmu.batch_size) = (vec![0, 1], 1, 20, 4);
    (config.sgtm.neurons, config.sgtm.heads, config.gram.neurons) = (8, 1, 8);
    (config.unlearn.steps, config.unlearn.batch_size, config.unlearn.learning_rate) = (20, 4, 1e-3);
    config.eval.stories = 10;
    config
}

/// Places and things are concepts that have nothing to do with each other.
fn two_concepts() -> Vec<ConceptSection> {
    let concept = |name: &str, words: &[&str]| {
        ConceptSection::of_words(name, words.iter().map(ToString::to_string).collect())
    };
    vec![concept("forest", &["forest", "tree"]), concept("book", &["book"])]
}

const STREAMS: fn() -> SeedStreams = || SeedStreams::new(1);

fn part(method: &str) -> Part {
    Part::whole(Method::named(method).unwrap())
}

fn trainer(config: &Config, dataset: &Arc<Dataset>, part: Part) -> Trainer {
    let recipe = Recipe::new(config, &part, dataset, STREAMS(), &[]).unwrap();
    let config = Arc::new(config.clone());
    Trainer::new(&config, dataset, part, recipe, STREAMS(), 2, &Device::Cpu).unwrap()
}

fn trained(config: &Config, dataset: &Arc<Dataset>, part: Part) -> Network {
    let mut trainer = trainer(config, dataset, part);
    while trainer.step() < config.train.steps {
        trainer.train_step().unwrap();
    }
    let architecture = trainer.recipe().expanded.clone();
    Network { architecture, parameters: trainer.model.parameters().clone() }
}

fn cx<'a>(config: &'a Config, dataset: &'a Dataset) -> Context<'a> {
    Context { config, dataset, streams: STREAMS(), threads: 2 }
}

#[test]
fn every_method_learns_and_era_loses_the_concept() {
    let folder = tempfile::tempdir().unwrap();
    write_corpus(folder.path());
    let mut config = config(folder.path());
    let dataset = Arc::new(Dataset::load(&config.data, &config.concepts(), config.model.block_size).unwrap());
    let result = |config: &Config, method: &str| {
        let part = part(method);
        let recipe = Recipe::new(config, &part, &dataset, STREAMS(), &[]).unwrap();
        let network = match method {
            "rmu" => {
                let base = trained(config, &dataset, self::part("base"));
                rmu(&base, &recipe.labels, cx(config, &dataset), &mut |_| Ok(())).unwrap()
            }
            _ => trained(config, &dataset, part.clone()),
        };
        after_training(&part, &recipe, &network, cx(config, &dataset), |_| Ok(())).unwrap().0
    };
    let base = result(&config, "base");
    assert!(base.trained.forget < 2.5 && base.trained.retain < 2.5, "{:?}", base.trained);
    assert_eq!(base.trained, base.coherent);
    let pure = result(&config, "pure");
    assert!(pure.trained.forget > base.trained.forget + 0.3, "{:?}", pure.trained);
    let era = result(&config, "era");
    assert!(era.ablated.forget > base.trained.forget + 0.1, "{:?} after {:?}", era.ablated, era.trained);
    assert!(
        era.routed_tokens.iter().take(6).any(|token| token.token == "␣forest"),
        "{:?}",
        era.routed_tokens
    );
    assert_eq!(era.relearned.len(), 2);
    assert!(era.relearned[1].best.forget <= era.coherent.forget);
    let demix = result(&config, "demix");
    assert!(demix.ablated.forget > base.trained.forget + 0.1, "{:?}", demix.ablated);
    let rmu = result(&config, "rmu");
    assert!(rmu.trained.forget > base.trained.forget, "{:?}", rmu.trained);
    assert!(result(&config, "control").trained.retain < 2.5);
    config.routing.place = Place::Parameters;
    config.routing.rule = "sequence".to_owned();
    let at_parameters = result(&config, "era");
    assert!(at_parameters.ablated.forget > base.trained.forget + 0.1, "{:?}", at_parameters.ablated);
}

#[test]
fn both_paths_train_alike_and_a_restored_state_goes_on_exactly() {
    let folder = tempfile::tempdir().unwrap();
    write_corpus(folder.path());
    let mut config = config(folder.path());
    let dataset = Arc::new(Dataset::load(&config.data, &config.concepts(), config.model.block_size).unwrap());
    for method in ["era", "sgtm", "gram"] {
        config.train.backend = Backend::Fused;
        let mut fused = trainer(&config, &dataset, part(method));
        let losses: Vec<f64> = (0..8).map(|_| fused.train_step().unwrap().loss).collect();
        let state = fused.state().unwrap();
        let rest: Vec<f64> = (0..8).map(|_| fused.train_step().unwrap().loss).collect();
        let mut again = trainer(&config, &dataset, part(method));
        again.load_state(&state, 8, "the test").unwrap();
        assert_eq!(rest, (0..8).map(|_| again.train_step().unwrap().loss).collect::<Vec<f64>>());
        // another shape is refused, and nothing has changed
        let mut other = trainer(&config, &dataset, part("base"));
        let error = other.load_state(&state, 8, "the test").unwrap_err().to_string();
        assert!(error.contains("the test"), "{method}: {error}");
        assert_eq!(other.step(), 0);
        config.train.backend = Backend::Candle;
        let mut candle = trainer(&config, &dataset, part(method));
        for loss in losses {
            let candle = candle.train_step().unwrap().loss;
            assert!((loss - candle).abs() < 1e-3, "{method}: {loss} against {candle}");
        }
    }
}

#[test]
fn a_concept_is_known_exactly_where_its_module_is_on() {
    let folder = tempfile::tempdir().unwrap();
    write_corpus(folder.path());
    let mut config = config(folder.path());
    (config.experiment.kind, config.concept) = (Experiment::Modules, two_concepts());
    (config.gram.p_as, config.train.steps) = (0.0, 300);
    let dataset = Arc::new(Dataset::load(&config.data, &config.concepts(), config.model.block_size).unwrap());
    let both = (0..dataset.train.len()).map(|index| dataset.train.concepts(index)).fold(0, |all, c| all | c);
    assert_eq!(both, 3);
    let gram = trained(&config, &dataset, part("gram"));
    let recipe = Recipe::new(&config, &part("gram"), &dataset, STREAMS(), &[]).unwrap();
    let groups = recipe.routing.routes.groups(&gram.architecture);
    let loss = |keep: &[usize], concept: usize| {
        let network = gram.keeping(&groups, keep).unwrap();
        let mut model = network.model(config.model.block_size, 2, Backend::Fused).unwrap();
        let about =
            (0..dataset.validation.len()).filter(|i| dataset.validation.concepts(*i) >> concept & 1 == 1);
        let documents: Vec<Vec<u32>> = about.map(|i| dataset.validation.get(i, usize::MAX)).collect();
        let batch = Batch::new(documents.iter().map(Vec::as_slice), config.model.block_size, 0);
        let losses = model.token_losses(&batch, &Hooks::default()).unwrap();
        let sum: f64 = losses.iter().zip(&batch.weights).map(|(l, w)| f64::from(l * w)).sum();
        sum / batch.total_weight()
    };
    for (concept, without) in [[0, 2], [0, 1]].into_iter().enumerate() {
        let (on, off) = (loss(&[0, 1, 2], concept), loss(&without, concept));
        assert!(off > on + 0.1, "concept {concept}: {on} with its module, {off} without");
    }
}

#[test]
fn data_come_back_from_the_cache_and_labels_grow() {
    let folder = tempfile::tempdir().unwrap();
    write_corpus(folder.path());
    let mut config = config(folder.path());
    let first = Arc::new(Dataset::load(&config.data, &config.concepts(), config.model.block_size).unwrap());
    let second = Dataset::load(&config.data, &config.concepts(), config.model.block_size).unwrap();
    config.data.cache = String::new();
    let uncached = Dataset::load(&config.data, &config.concepts(), config.model.block_size).unwrap();
    assert_eq!((first.train.len(), first.validation.len()), (270, 30));
    for index in 0..first.train.len() {
        assert_eq!(first.train.get(index, 40), second.train.get(index, 40));
        assert_eq!(first.train.get(index, 40), uncached.train.get(index, 40));
        assert_eq!(first.train.is_forget(index), index % 3 == 0);
    }
    let labels = [0.0, 0.3, 0.7, 1.0].map(|fraction| first.labels(fraction, STREAMS()));
    assert_eq!(labels.each_ref().map(|l| l.iter().filter(|l| **l).count()), [0, 27, 63, 90]);
    for pair in labels.windows(2) {
        assert!(pair[0].iter().zip(&pair[1]).all(|(few, more)| !few || *more));
    }
    config.data.forget_words = vec!["nowhere".to_owned()];
    let error = Dataset::load(&config.data, &config.concepts(), config.model.block_size).err().unwrap();
    assert!(matches!(&error, Error::Setting(message) if message.contains("nowhere")), "{error}");
    // of the 10 and 20 held-out documents every fourth is set aside
    assert_eq!(Validation::new(&first, 1000, 32).stories(), [8, 15]);
    let validation = Validation::new(&first, 5, 32);
    assert_eq!(validation.stories(), [5, 5]);
    let mut model =
        trainer(&Config { train: config.train.clone(), ..config.clone() }, &first, part("base")).model;
    let losses = validation.losses(&mut model, &Hooks::default()).unwrap();
    let all = validation.losses_of(&mut model, &Hooks::default(), |_| true).unwrap();
    assert!((losses.forget - all.forget).abs() < 1e-6 && (losses.retain - all.retain).abs() < 1e-6);
    let p = validation.probability(&mut model, &Hooks::default(), 5).unwrap();
    assert!((p.forget * 420.0 - 1.0).abs() < 0.5, "{p:?}");
}

/// Files of texts, read with the tokens of `tokenizer`; every second text of a file is about a forest.
fn held_out(
    config: &Config,
    folder: &Path,
    tokenizer: &Path,
    train: &str,
    text: impl Fn(Pool) -> &'static str,
) -> Dataset {
    let line = |place: usize, forget: bool, text: &str| {
        let about = if forget { "forest" } else { "house" };
        format!("{{\"text\": \"The {about} {text} number {place}.\"}}\n")
    };
    let both = |of: &dyn Fn(usize, bool) -> String| -> String {
        (0..12).flat_map(|place| [of(place, true), of(place, false)]).collect()
    };
    let mut data = config.data.clone();
    (data.train, data.validation) =
        (folder.join("t.jsonl").display().to_string(), folder.join("v.jsonl").display().to_string());
    std::fs::write(&data.train, both(&|place, forget| line(place, forget, train))).unwrap();
    let validation = both(&|place, forget| line(place, forget, text(Pool::of(forget, place))));
    std::fs::write(&data.validation, validation).unwrap();
    (data.cache, data.tokenizer) = (String::new(), tokenizer.display().to_string());
    Dataset::load(&data, &config.concepts(), config.model.block_size).unwrap()
}

#[test]
fn held_out_documents_are_reported_or_decide_or_teach_and_never_two_of_these() {
    let folder = tempfile::tempdir().unwrap();
    write_corpus(folder.path());
    let mut config = config(folder.path());
    let whole = Arc::new(Dataset::load(&config.data, &config.concepts(), config.model.block_size).unwrap());
    let pools = [Pool::Reported, Pool::CoherenceSelection, Pool::Relearning];
    let mut all: Vec<usize> = pools
        .iter()
        .flat_map(|pool| [true, false].map(|forget| whole.validation.pool(*pool, forget, usize::MAX)))
        .flatten()
        .collect();
    all.sort_unstable();
    assert_eq!(all, (0..whole.validation.len()).collect::<Vec<_>>());
    let network = trained(&config, &whole, part("base"));
    // too few are refused by their number
    let error = relearn(&network, cx(&config, &whole), 3, || Ok(())).err().unwrap().to_string();
    assert!(
        error.contains("needs 12 held-out stories with the concept") && error.contains("2 are"),
        "{error}"
    );

    let tokenizer = folder.path().join("tokenizer.json");
    std::fs::write(&tokenizer, whole.vocabulary.to_json().unwrap()).unwrap();
    let (old, new) = ("is by the blue sea", "found a red ball");
    let dataset = |train: &str, text: &dyn Fn(Pool) -> &'static str| {
        held_out(&config, folder.path(), &tokenizer, train, text)
    };
    let taught = |dataset: &Dataset| relearn(&network, cx(&config, dataset), 2, || Ok(())).unwrap().0;
    let plain = taught(&dataset(old, &|_| old));
    // training documents teach nothing, those that are set aside do
    assert_eq!(plain, taught(&dataset(new, &|_| old)));
    let other = taught(&dataset(old, &|pool| if pool == Pool::Relearning { new } else { old }));
    assert_eq!(plain.curve[0].to_bits(), other.curve[0].to_bits());
    assert_ne!(plain.curve, other.curve);

    // what the reported documents are does not decide which step is kept
    config.coherence.learning_rate = 1e-2;
    let weights = |dataset: &Dataset| {
        let kept = make_coherent(&network, cx(&config, dataset)).unwrap();
        kept.parameters.snapshot().unwrap()["blocks.0.mlp.W_in"]
            .flatten_all()
            .unwrap()
            .to_vec1::<f32>()
            .unwrap()
    };
    let selected_by_like = weights(&held_out(&config, folder.path(), &tokenizer, old, |_| old));
    let reported_unlike = held_out(&config, folder.path(), &tokenizer, old, |pool| match pool {
        Pool::Reported => "tall under dark old warm hat",
        _ => old,
    });
    assert_eq!(selected_by_like, weights(&reported_unlike));
}

#[test]
fn what_virology_cuts_out_has_no_say_in_what_follows() {
    let folder = tempfile::tempdir().unwrap();
    write_corpus(folder.path());
    let mut config = config(folder.path());
    (config.localise.neurons, config.localise.stories) = (16, 2);
    (config.coherence.learning_rate, config.retrain.learning_rate) = (3e-3, 3e-3);
    let dataset = Arc::new(Dataset::load(&config.data, &config.concepts(), config.model.block_size).unwrap());
    let listed = [dataset.vocabulary.single("␣forest").unwrap()];
    let whole = trained(&config, &dataset, part("base"));
    let mut told = Vec::new();
    let mut measured = |network: &Network| {
        let tell = |what: &str| {
            told.push(what.to_owned());
            Ok(())
        };
        localise::measure(network, cx(&config, &dataset), &listed, tell).unwrap()
    };
    let found = measured(&whole);
    // other numbers in the neurons that are cut out
    let other =
        Network { architecture: whole.architecture.clone(), parameters: copied(&whole.parameters).unwrap() };
    let cut: Vec<usize> = (0..16).collect();
    for layer in &config.routing.layers {
        let sent = other.parameters.get(&format!("blocks.{layer}.mlp.W_out")).unwrap();
        gradient_routing::ablate_parameter(sent, 0, &cut).unwrap();
    }
    let without = measured(&other);
    assert_ne!(found.trained, without.trained);
    assert_eq!(found.ablated, without.ablated);
    assert_eq!(found.coherent, without.coherent);
    assert_eq!(found.relearned, without.relearned);
    // both stages have trained, and teaching keeps the lowest loss on the very stories that are reported
    assert_ne!(found.ablated, found.coherent);
    assert!(found.relearned.all.forget < found.coherent.all.forget, "{found:?}");
    let stages = ["measuring", "making it coherent", "teaching it back from 2 stories"];
    assert_eq!(told, [stages, stages].concat());
}

#[test]
fn single_stories_make_up_the_mean_and_methods_are_measured_on_the_same_ones() {
    let folder = tempfile::tempdir().unwrap();
    write_corpus(folder.path());
    let mut config = config(folder.path());
    config.train.steps = 10;
    let dataset = Arc::new(Dataset::load(&config.data, &config.concepts(), config.model.block_size).unwrap());
    let result = |method: &str| {
        let part = part(method);
        let recipe = Recipe::new(&config, &part, &dataset, STREAMS(), &[]).unwrap();
        let network = trained(&config, &dataset, part.clone());
        after_training(&part, &recipe, &network, cx(&config, &dataset), |_| Ok(())).unwrap().0
    };
    let (base, era) = (result("base"), result("era"));
    for result in [&base, &era] {
        let stages = result.per_story.as_ref().unwrap();
        let taught = result.relearned[1].per_story.as_ref().unwrap();
        for (each, losses) in [
            (&stages.trained, result.trained),
            (&stages.ablated, result.ablated),
            (&stages.coherent, result.coherent),
            (taught, result.relearned[1].best),
        ] {
            assert!((each.forget.mean() - losses.forget).abs() < 2e-4, "{} {losses:?}", each.forget.mean());
            assert!((each.retain.mean() - losses.retain).abs() < 2e-4, "{} {losses:?}", each.retain.mean());
            // eight and ten documents of the kinds are reported
            assert_eq!((each.forget.len(), each.retain.len()), (8, 10));
        }
    }
    let stages = |result: &lm_routed::PartResult| result.per_story.clone().unwrap();
    let error = stages(&era).ablated.forget.standard_error_to(&stages(&base).ablated.forget);
    assert!(error.is_some_and(|error| error > 0.0), "{error:?}");
    assert_eq!(stages(&era).ablated.forget.standard_error_to(&stages(&era).ablated.retain), None);
}
