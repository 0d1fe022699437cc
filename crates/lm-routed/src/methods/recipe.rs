//! How the model of a part of an experiment is trained.

use experiment::SeedStreams;
use transformer::{Architecture, HookPoint};

use super::Method;
use crate::Error;
use crate::config::{Config, Experiment, Place, RoutingSection};
use crate::data::Dataset;
use crate::routing::{Routing, TokenRoute, token_table};

/// One model of an experiment.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Part {
    /// What it is for.
    pub method: Method,
    /// The share of the concept's documents that are labelled.
    pub labelled: f64,
}

impl Part {
    /// Its name in files and metrics: the method, with the labelled share where it is not all.
    pub fn name(&self) -> String {
        let name = self.method.name();
        if self.labelled < 1.0 && self.method.needs_labels() {
            return format!("{name}-p{}", percent(self.labelled));
        }
        name.to_owned()
    }

    /// The parts of an experiment, in the order in which they run: the base model first, which others need.
    pub fn all(config: &Config) -> Vec<Self> {
        let whole = |method| Self { method, labelled: 1.0 };
        match config.experiment.kind {
            Experiment::Steer | Experiment::Virology => vec![whole(Method::Era)],
            Experiment::Era => {
                let mut parts = Vec::new();
                let methods = &config.experiment.methods;
                for method in Method::ALL {
                    let wanted = methods.contains(&method);
                    let needed = method == Method::Base && methods.contains(&Method::Rmu);
                    if !wanted && !needed {
                        continue;
                    }
                    if method.needs_labels() {
                        parts.extend(
                            config
                                .experiment
                                .labelled
                                .iter()
                                .map(|labelled| Self { method, labelled: *labelled }),
                        );
                    } else {
                        parts.push(whole(method));
                    }
                }
                parts.dedup();
                parts
            }
        }
    }

    /// Optimiser steps of its training from scratch; RMU has none, it changes the base model.
    pub fn steps(&self, config: &Config) -> u64 {
        if self.method == Method::Rmu { 0 } else { config.train.steps }
    }
}

/// A share in per cent, to four places.
pub(crate) fn percent(share: f64) -> f64 {
    (share * 1e6).round() / 1e4
}

/// How a model is trained.
#[derive(Clone, Debug)]
pub struct Recipe {
    /// The network that is left in the end.
    pub base: Architecture,
    /// The network that is trained.
    pub expanded: Architecture,
    /// Where what is learned.
    pub routing: Routing,
    /// The training documents.
    pub documents: Vec<usize>,
    /// Which documents are labelled as being about the concept.
    pub labels: Vec<bool>,
}

impl Recipe {
    /// The recipe of a part of an experiment.
    ///
    /// # Errors
    /// Fails where a token or the documents that it needs are not there.
    pub fn new(
        config: &Config,
        part: Part,
        dataset: &Dataset,
        streams: SeedStreams,
        tokens: &[u32],
    ) -> Result<Self, Error> {
        let base = config.architecture(dataset.vocabulary.size());
        let labels = dataset.labels(part.labelled, streams);
        let mut documents: Vec<usize> = (0..dataset.train.len()).collect();
        let every: Vec<usize> = (0..base.n_layer).collect();
        let RoutingSection { layers, extra_neurons, place, .. } = &config.routing;
        let (expanded, routing) = match (config.experiment.kind, part.method) {
            (Experiment::Steer, _) => (base.clone(), Routing::Activations(steering(config, dataset)?)),
            (Experiment::Virology, _) => {
                (base.clone(), Routing::Activations(localising(config, &base, tokens)))
            }
            (_, Method::Base | Method::Rmu) => (base.clone(), Routing::None),
            (_, Method::Pure) => {
                documents.retain(|index| !labels[*index]);
                (base.clone(), Routing::None)
            }
            (_, Method::Control) => (base.expanded(layers, *extra_neurons), Routing::None),
            (_, Method::Era) => {
                let route = expanding(config, dataset, &base, &labels);
                let routing = match place {
                    Place::Activations => Routing::Activations(route),
                    Place::Parameters => Routing::Parameters(route),
                };
                (base.expanded(layers, *extra_neurons), routing)
            }
            (_, Method::Demix) => {
                let neurons = config.model.d_mlp;
                (base.expanded(&every, neurons), Routing::Experts { neurons })
            }
        };
        if documents.is_empty() {
            return Err(Error::Setting(format!("{} has no document to train on", part.name())));
        }
        Ok(Self { base, expanded, routing, documents, labels })
    }
}

/// New neurons for labelled documents' tokens.
fn expanding(config: &Config, dataset: &Dataset, base: &Architecture, labels: &[bool]) -> TokenRoute {
    let routing = &config.routing;
    let original = base.mlp_widths.first().copied().unwrap_or(0);
    TokenRoute {
        point: HookPoint::MlpPost,
        layers: routing.layers.clone(),
        ends: vec![original, original + routing.extra_neurons],
        routed: vec![routing.forget_original, routing.forget_extra],
        free: vec![routing.retain_original, routing.retain_extra],
        table: token_table(routing, dataset, &config.data.forget_words, labels),
        labelled_only: true,
        l1: routing.l1,
    }
}

/// One dimension of the residual stream for one token.
fn steering(config: &Config, dataset: &Dataset) -> Result<TokenRoute, Error> {
    let steer = &config.steer;
    let token = crate::steer::token_of(config, dataset)?;
    let (at, width) = (steer.dimension, config.model.n_embd);
    let mut table = vec![1.0; dataset.vocabulary.size()];
    table[token as usize] = 0.0;
    Ok(TokenRoute {
        point: HookPoint::ResidPost,
        layers: steer.layers.clone(),
        ends: vec![at, at + 1, width],
        routed: vec![0.0, 1.0, 0.0],
        free: vec![1.0; 3],
        table,
        labelled_only: false,
        l1: 0.0,
    })
}

/// The first neurons of some blocks for a list of tokens.
fn localising(config: &Config, base: &Architecture, tokens: &[u32]) -> TokenRoute {
    let mut table = vec![1.0; base.vocab_size];
    for token in tokens {
        table[*token as usize] = 0.0;
    }
    TokenRoute {
        point: HookPoint::MlpPost,
        layers: config.routing.layers.clone(),
        ends: vec![config.localise.neurons, config.model.d_mlp],
        routed: vec![1.0, config.localise.forget_other],
        free: vec![1.0, 1.0],
        table,
        labelled_only: false,
        l1: config.routing.l1,
    }
}
