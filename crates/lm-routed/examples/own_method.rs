//! A method and a data set of your own: texts from memory, and a rule of your own for what trains what.
//!
//! Half of the texts are about boats. The method routes whole documents, and at the parameters: a token of a document
//! about boats changes in the MLPs only the neurons that were added, any other token changes all of them. The
//! added neurons are then removed, and a few steps on other documents make what is left coherent again: the boats stay
//! lost.
//!
//! Run it with `cargo run --release -p lm-routed --example own_method`; it takes seconds.

#![expect(clippy::print_stdout, reason = "an example says what it saw")]

use std::error::Error;
use std::sync::Arc;

use candle_core::Device;
use experiment::SeedStreams;
use gradient_routing::{Group, Profile, RouteTable, Semantics, Site};
use lm_routed::data::{Dataset, Vocabulary};
use lm_routed::methods::{Method, Part, Recipe, Spec, Start};
use lm_routed::routing::{Labels, Routes, classes};
use lm_routed::{Config, Context, Experiment, Losses, Trainer, Validation, make_coherent};
use plots::Colour;
use rand::RngExt;
use transformer::{Backend, Hooks, Network, copied};

/// Neurons that are added to each MLP.
const ADDED: usize = 32;

/// What a method is: the classes of tokens, what each of them trains, and what is removed in the end.
static WHOLE_DOCUMENTS: Spec = Spec {
    name: "whole_documents",
    title: "whole documents",
    about: "every token of a labelled document trains the added neurons alone",
    colour: Colour::Blue,
    experiments: &[Experiment::Era],
    files: "whole_documents",
    needs_labels: true,
    filters: false,
    start: Start::Scratch,
    routes: |config| {
        let groups =
            vec![Group::of_channels("original", config.model.d_mlp), Group::of_channels("added", ADDED)];
        // boats train the second group alone
        let classes = classes([1.0, 1.0], [0.0, 1.0]);
        let table = RouteTable::new(Site::Parameters(Semantics::ZeroGradient), groups, classes)?;
        let table = table.with_profiles(vec![Profile { name: "ablated".to_owned(), keep: vec![0] }])?;
        Ok(Routes::at_neurons(table, &[0, 1], ADDED))
    },
    labels: |_| Ok(Labels::Documents),
};

/// Texts with bit 0 set where they are about boats.
fn texts(count: usize, streams: SeedStreams, stream: &str) -> Vec<(String, u8)> {
    let mut rng = streams.stream(stream);
    let mut one_of = |words: &[&str]| words[rng.random_range(0..words.len())].to_owned();
    let boats = |i: usize| i.is_multiple_of(2);
    let text = |i: usize| {
        let who = one_of(&["Ann", "Ben", "Cleo", "Dan"]);
        let (what, how) = if boats(i) {
            (
                one_of(&["sailed the boat", "rowed the boat", "tied the boat"]),
                one_of(&["to the pier", "at sea"]),
            )
        } else {
            (one_of(&["baked a cake", "read a book", "fed the cat"]), one_of(&["at home", "in the garden"]))
        };
        (format!("{who} {what} {how}. Then {who} went to bed."), u8::from(boats(i)))
    };
    (0..count).map(text).collect()
}

fn main() -> Result<(), Box<dyn Error>> {
    let streams = SeedStreams::new(0);
    let (train, held_out) = (texts(2000, streams, "data"), texts(200, streams, "held_out"));
    let all: Vec<String> = train.iter().map(|(text, _)| text.clone()).collect();
    let dataset = Arc::new(Dataset::from_texts(Vocabulary::train(&all, 400)?, &train, &held_out)?);

    let mut config = Config::default();
    config.model.n_layer = 2;
    config.model.n_head = 2;
    config.model.n_embd = 32;
    config.model.d_mlp = 64;
    config.model.block_size = 24;
    config.train.steps = 300;
    config.train.warmup_steps = 20;
    config.train.batch_size = 32;
    config.train.learning_rate = 3e-3;
    config.coherence.stories = 32;
    config.coherence.steps = 20;
    config.coherence.learning_rate = 3e-3;
    config.coherence.validation_stories = 20;
    let config = Arc::new(config);

    let part = Part::whole(Method::own(&WHOLE_DOCUMENTS));
    let recipe = Recipe::new(&config, &part, &dataset, streams, &[])?;
    let mut trainer = Trainer::new(&config, &dataset, part, recipe.clone(), streams, 1, &Device::Cpu)?;
    for _ in 0..config.train.steps {
        trainer.train_step()?;
    }

    let trained =
        Network { architecture: recipe.expanded.clone(), parameters: copied(trainer.model.parameters())? };
    let groups = recipe.routing.routes.groups(&recipe.expanded);
    let ablated = trained.keeping(&groups, &[0])?;
    // a few steps on documents that are not about boats
    let cx = Context { config: &config, dataset: &dataset, streams, threads: 1 };
    let coherent = make_coherent(&ablated, cx)?;

    let validation = Validation::new(&dataset, 100, config.model.block_size);
    for (name, network) in [("trained", &trained), ("ablated", &ablated), ("made coherent", &coherent)] {
        let mut model = network.model(config.model.block_size, 1, Backend::Auto)?;
        let Losses { forget, retain } = validation.losses(&mut model, &Hooks::default())?;
        println!("{name}: {forget:.2} nats a token on boats, {retain:.2} on the rest");
    }
    Ok(())
}
