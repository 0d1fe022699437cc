//! The names of the methods.

use serde::{Deserialize, Serialize};

/// A way to get a model that does not know the concept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Method {
    /// Trained on everything: what knowing costs and forgetting takes is measured against it.
    Base,
    /// Data filtering: labelled documents are left out.
    Pure,
    /// Expanded and ablated as ERA, but not routed.
    Control,
    /// Expand, route, ablate.
    Era,
    /// Representation misdirection for unlearning, on the base model.
    Rmu,
    /// Two experts in every MLP chosen by the label; the labelled one is removed.
    Demix,
}

impl Method {
    /// All, in the order of the tables.
    pub const ALL: [Self; 6] = [Self::Base, Self::Pure, Self::Control, Self::Era, Self::Rmu, Self::Demix];

    /// The name in configs and results.
    pub fn name(self) -> &'static str {
        match self {
            Self::Base => "base",
            Self::Pure => "pure",
            Self::Control => "control",
            Self::Era => "era",
            Self::Rmu => "rmu",
            Self::Demix => "demix",
        }
    }

    /// The name in figures.
    pub fn title(self) -> &'static str {
        match self {
            Self::Base => "base",
            Self::Pure => "pure (filtered)",
            Self::Control => "control",
            Self::Era => "ERA",
            Self::Rmu => "RMU",
            Self::Demix => "DEMix + ablate",
        }
    }

    /// Whether it does something else where fewer documents are labelled.
    pub fn needs_labels(self) -> bool {
        !matches!(self, Self::Base | Self::Control)
    }

    /// Whether neurons are cut out of its model, which is then made coherent.
    pub fn ablates(self) -> bool {
        matches!(self, Self::Control | Self::Era | Self::Demix)
    }
}
