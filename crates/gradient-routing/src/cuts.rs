//! Where the way from a parameter to the loss is cut.

use std::collections::BTreeMap;
use std::fmt;

use candle_core::Tensor;

use crate::Parameters;

/// Where a parameter drops out of the graph.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cut {
    /// No stage has it in its graph: it is not used, or cut before the first stage.
    BeforeFirst,
    /// The stage `reached` has it in its graph, the later stages, from `lost` on, do not.
    Between {
        /// The last stage whose graph contains the parameter.
        reached: String,
        /// The stage after it.
        lost: String,
    },
}

impl fmt::Display for Cut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BeforeFirst => f.write_str("not used, or cut before the first stage"),
            Self::Between { reached, lost } => write!(f, "cut between `{reached}` and `{lost}`"),
        }
    }
}

/// Says between which stages of a forward pass each parameter is lost.
///
/// A stage is an activation under a name, in the order of the forward pass, with the loss at the end. Parameters
/// that lead to the last stage are left out of the answer. What cuts a graph without an error: `detach`, the
/// forward-only layers of `candle_nn` (layer norm, RMS norm, softmax of the last dimension, rotary embedding), a
/// product with the number 0, integers, `floor`, `round`, `sign` and an argmax.
///
/// # Shapes
///
/// Any.
///
/// # Errors
///
/// None.
///
/// # Example
///
/// ```
/// use candle_core::{Device, Var};
/// use gradient_routing::{Cut, Parameters, find_cuts};
///
/// let parameters = Parameters::from(["first", "second", "unused"].map(|name| {
///     (name.to_string(), Var::new(2f32, &Device::Cpu).unwrap())
/// }));
/// let hidden = parameters["first"].sqr()?;
/// let normalised = hidden.detach();
/// let loss = (&normalised * parameters["second"].as_tensor())?;
///
/// let cuts = find_cuts(&parameters, &[("hidden", &hidden), ("normalised", &normalised), ("loss", &loss)]);
/// assert_eq!(cuts["first"].to_string(), "cut between `hidden` and `normalised`");
/// assert_eq!(cuts["unused"], Cut::BeforeFirst);
/// assert!(!cuts.contains_key("second"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Source
///
/// Cloud et al. 2024, arXiv 2410.04332, section 3 (the graph whose edges are weighed).
pub fn find_cuts(parameters: &Parameters, stages: &[(&str, &Tensor)]) -> BTreeMap<String, Cut> {
    let graphs = stages.iter().map(|(_, stage)| stage.sorted_nodes()).collect::<Vec<_>>();
    let mut cuts = BTreeMap::new();
    for (name, parameter) in parameters {
        let reached = graphs.iter().rposition(|graph| graph.iter().any(|node| node.id() == parameter.id()));
        let cut = match reached {
            Some(last) if last + 1 == stages.len() => continue,
            Some(last) => {
                Cut::Between { reached: stages[last].0.to_string(), lost: stages[last + 1].0.to_string() }
            }
            None => Cut::BeforeFirst,
        };
        cuts.insert(name.clone(), cut);
    }
    cuts
}
