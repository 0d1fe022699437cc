//! What a method is.

use std::cmp::Ordering;
use std::fmt;

use experiment::SeedStreams;
use gradient_routing::RouteTableError;
use plots::Colour;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use transformer::{Architecture, Network};

use super::METHODS;
use crate::Error;
use crate::config::{Config, Experiment};
use crate::data::Dataset;
use crate::finetune::Context;
use crate::routing::{Labels, Routes};

/// A way to have a concept learned where it can be cut out, or not at all.
pub struct Spec {
    /// In configs and results.
    pub name: &'static str,
    /// In figures.
    pub title: &'static str,
    /// What it does, in a line.
    pub about: &'static str,
    /// Its lines and bars.
    pub colour: Colour,
    /// The experiments that it is part of.
    pub experiments: &'static [Experiment],
    /// What the files and metrics of its model are called.
    pub files: &'static str,
    /// Whether it does something else where fewer documents are labelled.
    pub needs_labels: bool,
    /// Whether it has a model for each concept, from whose training that concept's labelled documents are left out, and
    /// one for all of them.
    pub filters: bool,
    /// Where its model comes from.
    pub start: Start,
    /// What is added, and which class of tokens trains what.
    pub routes: fn(&Config) -> Result<Routes, RouteTableError>,
    /// Which token is of which class.
    pub labels: fn(&MethodContext<'_>) -> Result<Labels, Error>,
}

/// Where a method's model comes from.
#[derive(Clone, Copy)]
pub enum Start {
    /// It is trained from scratch, as the routes say.
    Scratch,
    /// It is another method's trained model, changed.
    Changed {
        /// The other method, whose labels do not matter.
        from: &'static Spec,
        /// What is done to its model.
        change: Change,
    },
    /// It is another method's model that saw no concept, and a branch of it for each concept.
    Branches {
        /// The other method.
        from: &'static Spec,
    },
}

/// Makes a network out of a trained one. The labels say which training documents are labelled; the last argument is
/// told the step in hand and may stop everything.
pub type Change =
    fn(&Network, &[bool], Context<'_>, &mut dyn FnMut(u64) -> Result<(), Error>) -> Result<Network, Error>;

/// What a method can tell tokens apart by.
#[derive(Clone, Copy)]
pub struct MethodContext<'a> {
    /// The settings.
    pub config: &'a Config,
    /// The documents.
    pub dataset: &'a Dataset,
    /// The network before anything is added to it.
    pub base: &'a Architecture,
    /// Which training documents are labelled as being about the concept.
    pub labels: &'a [bool],
    /// The concepts that training documents are labelled with: concept i has bit i.
    pub concepts: &'a [u8],
    /// The tokens of `virology`.
    pub listed: &'a [u32],
    /// The random streams.
    pub streams: SeedStreams,
}

impl MethodContext<'_> {
    /// Some tokens are routed fully, in every document, and all others not at all.
    pub(super) fn only(&self, tokens: &[u32]) -> Labels {
        let mut retain_weights = vec![1.0; self.base.vocab_size];
        for token in tokens {
            retain_weights[*token as usize] = 0.0;
        }
        Labels::Tokens { retain_weights, labelled_only: false }
    }
}

/// One of [`METHODS`], or one of your own; known by its name, and written by it.
#[derive(Clone, Copy)]
pub struct Method(&'static Spec);

impl Method {
    /// A method of your own, with a name that none of [`METHODS`] has: with [`Recipe`](super::Recipe) and
    /// [`Trainer`](crate::Trainer) it is trained as they are. Configs do not know it.
    pub fn own(spec: &'static Spec) -> Self {
        Self(spec)
    }

    /// All methods, in the order of the tables.
    pub fn all() -> impl Iterator<Item = Self> {
        METHODS.iter().copied().map(Self)
    }

    /// Those of an experiment.
    pub fn of(experiment: Experiment) -> impl Iterator<Item = Self> {
        Self::all().filter(move |method| method.experiments.contains(&experiment))
    }

    /// The method of that name.
    pub fn named(name: &str) -> Option<Self> {
        Self::all().find(|method| method.name == name)
    }

    /// Whether its model is the sum of branches.
    pub(crate) fn has_branches(self) -> bool {
        matches!(self.start, Start::Branches { .. })
    }

    /// Whether it is the one that the others are measured against.
    pub fn is_base(self) -> bool {
        self.name == METHODS[0].name
    }

    /// By which it is told apart and ordered: its place in the tables, own ones last, and its name.
    fn key(self) -> (usize, &'static str) {
        let place = METHODS.iter().position(|spec| spec.name == self.name);
        (place.unwrap_or(METHODS.len()), self.0.name)
    }
}

impl PartialEq for Method {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}

impl Eq for Method {}

impl PartialOrd for Method {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Method {
    fn cmp(&self, other: &Self) -> Ordering {
        self.key().cmp(&other.key())
    }
}

impl std::ops::Deref for Method {
    type Target = Spec;

    fn deref(&self) -> &Spec {
        self.0
    }
}

impl fmt::Debug for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

impl Serialize for Method {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name)
    }
}

impl<'de> Deserialize<'de> for Method {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = String::deserialize(deserializer)?;
        Self::named(&name).ok_or_else(|| serde::de::Error::custom(format!("there is no method `{name}`")))
    }
}
