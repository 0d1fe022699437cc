//! How the model of a part of an experiment is trained.

use experiment::SeedStreams;
use transformer::Architecture;

use super::{MethodContext, Part};
use crate::Error;
use crate::config::Config;
use crate::data::Dataset;
use crate::routing::{FORGET, Labels, Routing};

/// How a model is trained.
#[derive(Clone, Debug)]
pub struct Recipe {
    /// The network before anything is added to it.
    pub base: Architecture,
    /// The network that is trained.
    pub expanded: Architecture,
    /// Which token is learned where.
    pub routing: Routing,
    /// The training documents.
    pub documents: Vec<usize>,
    /// Which documents are labelled as being about the concept.
    pub labels: Vec<bool>,
    /// The concepts that documents are labelled with: concept i has bit i.
    pub concepts: Vec<u8>,
}

impl Recipe {
    /// The recipe of a part of an experiment; `listed` are the tokens of `virology`.
    ///
    /// # Errors
    /// Fails where a token or the documents that it needs are not there, or the settings make no table of routes.
    pub fn new(
        config: &Config,
        part: &Part,
        dataset: &Dataset,
        streams: SeedStreams,
        listed: &[u32],
    ) -> Result<Self, Error> {
        let base = config.architecture(dataset.vocabulary.size());
        let concepts = dataset.labelled_concepts(&config.concepts(), part.labelled, streams);
        let labels: Vec<bool> = concepts.iter().map(|concepts| *concepts != 0).collect();
        let routes = (part.method.routes)(config)
            .map_err(|fault| Error::Setting(format!("the routes of {}: {fault}", part.name())))?;
        let cx = MethodContext {
            config,
            dataset,
            base: &base,
            labels: &labels,
            concepts: &concepts,
            listed,
            streams,
        };
        let routing = Routing { labels: (part.method.labels)(&cx)?, routes };
        let left_out = routing.routes.table.loss_weight(FORGET) == 0.0 && routing.labels == Labels::Documents;
        let filtered = part.filtered.as_ref().map_or(0, |filtered| filtered.concepts);
        let takes = |index: &usize| !(left_out && labels[*index]) && concepts[*index] & filtered == 0;
        let documents: Vec<usize> = (0..dataset.train.len()).filter(takes).collect();
        if documents.is_empty() {
            return Err(Error::Setting(format!("{} has no document to train on", part.name())));
        }
        let expanded = base.expanded(&routing.routes.layers, routing.routes.added);
        Ok(Self { base, expanded, routing, documents, labels, concepts })
    }
}
