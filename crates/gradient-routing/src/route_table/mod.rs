//! Which class of data trains which part of a network, and how much: the table behind every kind of routing.
//!
//! A table has *groups* as columns (named sets of channels or parameters: experts, parts of an encoding, neurons,
//! heads, adapters, a gate) and *classes* of data as rows (*unlabelled* first, where there is such a class). For
//! each class × group there are two weights, for each class one more on its loss:
//!
//! ```text
//! forward   f[c, g]      the activations of g are multiplied by it, in both passes; 1 leaves them alone
//! gradient  m[c, g]      the gradient that class c sends into g is multiplied by it
//! loss      ℓ[c]         the loss of class c is multiplied by it; 0 leaves the class out
//!
//! ∂L/∂g = Σ over the classes c of   ℓ[c] · f[c, g] · m[c, g] · ∂L_c/∂g
//! ```
//!
//! There are no tensors in this module: a table is built from a config, saved with a run and printed in a page.

mod check;
mod error;
mod markdown;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

pub use error::RouteTableError;

/// Where the weights of a table apply.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Site {
    /// At the groups' activations: [`route`](crate::route), and what lies before them gets what is left.
    Activations,
    /// At the gradients of the groups' parameters: [`ParameterMasks`](crate::ParameterMasks).
    Parameters(Semantics),
}

/// What a gradient weight of 0 means for a parameter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Semantics {
    /// Its gradient is zero: an optimizer with moments or weight decay still moves it.
    ZeroGradient,
    /// It has no gradient: an optimizer leaves it and its moments alone.
    Frozen,
}

/// A named set of channels or parameters: a column of the table.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Group {
    /// Its name.
    pub name: String,
    /// Its channels of the activation that is routed, after those of the groups before it; 0 where it has none.
    #[serde(default)]
    pub channels: usize,
    /// Prefixes of the names of the parameters that belong to it alone. A prefix names whole components:
    /// `experts.1` stands for `experts.1.weight`, not for `experts.10.weight`.
    #[serde(default)]
    pub parameters: Vec<String>,
}

impl Group {
    /// A group of neighbouring channels of an activation.
    pub fn of_channels(name: impl Into<String>, channels: usize) -> Self {
        Self { name: name.into(), channels, ..Self::default() }
    }

    /// A group of whole parameters, given by prefixes of their names.
    pub fn of_parameters<P: Into<String>>(
        name: impl Into<String>,
        prefixes: impl IntoIterator<Item = P>,
    ) -> Self {
        let parameters = prefixes.into_iter().map(Into::into).collect();
        Self { name: name.into(), parameters, ..Self::default() }
    }

    /// Whether the parameter of that name belongs to it.
    pub fn owns(&self, parameter: &str) -> bool {
        self.parameters.iter().any(|prefix| names_parameter(prefix, parameter))
    }
}

/// A class of data: a row of the table.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Class {
    /// Its name.
    pub name: String,
    /// ℓ, the weight of its loss; 0 leaves its data out.
    pub loss_weight: f32,
    /// f, one weight for each group.
    pub forward: Vec<f32>,
    /// m, one weight for each group.
    pub gradient: Vec<f32>,
}

impl Class {
    /// A class with loss weight 1 and an untouched forward pass.
    pub fn new(name: impl Into<String>, gradient: impl Into<Vec<f32>>) -> Self {
        let gradient = gradient.into();
        Self { name: name.into(), loss_weight: 1.0, forward: vec![1.0; gradient.len()], gradient }
    }

    /// Whether any gradient passes into a group, the loss weight aside.
    fn trains(&self, group: usize) -> bool {
        self.forward[group] != 0.0 && self.gradient[group] != 0.0
    }
}

/// A named choice of groups that are kept, the others switched off: what is left after ablation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Profile {
    /// Its name.
    pub name: String,
    /// Indices of the groups that are kept.
    pub keep: Vec<usize>,
}

/// What the gradient of a class's loss must be at a parameter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ExpectedFlow {
    /// Not zero.
    Nonzero,
    /// Exactly zero.
    Zero,
    /// Not there at all: the optimizer skips the parameter.
    None,
}

/// Classes × groups with their weights, checked: the value that says what a method of routing is.
///
/// # Example
///
/// Two halves of an encoding, each trained by one class, and both by data without a label:
///
/// ```
/// use gradient_routing::{Class, Group, Profile, RouteTable, Site};
///
/// let groups = vec![Group::of_channels("top", 2), Group::of_channels("bottom", 1)];
/// let classes = vec![
///     Class::new("unlabelled", [1., 1.]),
///     Class::new("0-4", [1., 0.]),
///     Class::new("5-9", [0., 1.]),
/// ];
/// let table = RouteTable::new(Site::Activations, groups, classes)?
///     .with_profiles(vec![Profile { name: "0-4 only".to_owned(), keep: vec![0] }])?;
///
/// assert_eq!(table.channel_masks(&[1, 2]), [1., 1., 0., 0., 0., 1.]); // (2 examples, 3 channels)
/// assert_eq!(table.profile_weights("0-4 only"), Some(vec![1., 0.]));
/// assert_eq!(table.mix(1, 0, 0.25), [1., 0.25]);
/// # Ok::<(), gradient_routing::RouteTableError>(())
/// ```
///
/// # Source
///
/// Cloud et al. 2024, arXiv 2410.04332, section 3 (weights on edges that depend on the data point).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Unchecked")]
pub struct RouteTable {
    site: Site,
    groups: Vec<Group>,
    classes: Vec<Class>,
    profiles: Vec<Profile>,
}

/// A table as it is written down.
#[derive(Deserialize)]
struct Unchecked {
    site: Site,
    groups: Vec<Group>,
    classes: Vec<Class>,
    #[serde(default)]
    profiles: Vec<Profile>,
}

impl TryFrom<Unchecked> for RouteTable {
    type Error = RouteTableError;

    fn try_from(table: Unchecked) -> Result<Self, RouteTableError> {
        Self::new(table.site, table.groups, table.classes)?.with_profiles(table.profiles)
    }
}

impl RouteTable {
    /// A table without profiles.
    ///
    /// A table may have no groups, where nothing is routed. Where it has some, a class that counts in the loss
    /// must train at least one of them, even if there are parameters outside every group: a class that trains
    /// these alone lists them as a group.
    ///
    /// # Errors
    ///
    /// [`RouteTableError`] where names are empty or double, a row has not one weight for each group, a weight is
    /// not finite, a class trains nothing though its loss counts, or two groups share parameters.
    pub fn new(site: Site, groups: Vec<Group>, classes: Vec<Class>) -> Result<Self, RouteTableError> {
        check::groups(&groups)?;
        check::classes(&classes, &groups)?;
        Ok(Self { site, groups, classes, profiles: Vec::new() })
    }

    /// The table with these profiles in place of its own.
    ///
    /// # Errors
    ///
    /// [`RouteTableError`] where a name is empty or double, or a profile keeps a group twice or one that is not
    /// there.
    pub fn with_profiles(self, profiles: Vec<Profile>) -> Result<Self, RouteTableError> {
        check::profiles(&profiles, &self.groups)?;
        Ok(Self { profiles, ..self })
    }

    /// Where the weights apply.
    pub fn site(&self) -> Site {
        self.site
    }

    /// The columns.
    pub fn groups(&self) -> &[Group] {
        &self.groups
    }

    /// The rows.
    pub fn classes(&self) -> &[Class] {
        &self.classes
    }

    /// The profiles.
    pub fn profiles(&self) -> &[Profile] {
        &self.profiles
    }

    /// The index of the class of that name.
    pub fn class(&self, name: &str) -> Option<usize> {
        self.classes.iter().position(|class| class.name == name)
    }

    /// The index of the group of that name.
    pub fn group(&self, name: &str) -> Option<usize> {
        self.groups.iter().position(|group| group.name == name)
    }

    /// A class's forward weights, one for each group.
    ///
    /// # Panics
    ///
    /// Panics where there is no such class, as do all functions that take one.
    pub fn forward(&self, class: usize) -> &[f32] {
        &self.classes[class].forward
    }

    /// A class's gradient weights, one for each group.
    pub fn gradient(&self, class: usize) -> &[f32] {
        &self.classes[class].gradient
    }

    /// The weight of a class's loss.
    pub fn loss_weight(&self, class: usize) -> f32 {
        self.classes[class].loss_weight
    }

    /// The gradient weights of a batch, row by row.
    ///
    /// # Shapes
    ///
    /// `labels` the class of each example; the result (labels, groups).
    pub fn gradient_masks(&self, labels: &[usize]) -> Vec<f32> {
        labels.iter().flat_map(|label| self.gradient(*label)).copied().collect()
    }

    /// The forward weights of a batch, row by row.
    ///
    /// # Shapes
    ///
    /// As [`gradient_masks`](Self::gradient_masks).
    pub fn forward_masks(&self, labels: &[usize]) -> Vec<f32> {
        labels.iter().flat_map(|label| self.forward(*label)).copied().collect()
    }

    /// Where the channels of each group end: those of group g are `ends[g - 1]` to `ends[g]`, from 0 for the first.
    pub fn channel_ends(&self) -> Vec<usize> {
        let sum = |end: &mut usize, group: &Group| {
            *end += group.channels;
            Some(*end)
        };
        self.groups.iter().scan(0, sum).collect()
    }

    /// The channels of all groups together.
    pub fn channels(&self) -> usize {
        self.groups.iter().map(|group| group.channels).sum()
    }

    /// The number of each group, once for each of its channels.
    ///
    /// # Panics
    ///
    /// Panics unless there is one number for each group.
    pub fn spread(&self, per_group: &[f32]) -> Vec<f32> {
        assert_eq!(per_group.len(), self.groups.len(), "one number for each group");
        let repeat = |(group, value): (&Group, &f32)| std::iter::repeat_n(*value, group.channels);
        self.groups.iter().zip(per_group).flat_map(repeat).collect()
    }

    /// The gradient weights of a batch for each channel, row by row.
    ///
    /// # Shapes
    ///
    /// `labels` the class of each example; the result (labels, channels).
    pub fn channel_masks(&self, labels: &[usize]) -> Vec<f32> {
        labels.iter().flat_map(|label| self.spread(self.gradient(*label))).collect()
    }

    /// Gradient weights between those of two classes, for an example that belongs to both.
    ///
    /// ```text
    /// (1 − w) · m[a] + w · m[b],     m[a] itself for w ≤ 0, m[b] itself for w ≥ 1
    /// ```
    pub fn mix(&self, a: usize, b: usize, w: f32) -> Vec<f32> {
        let mixed = |(a, b): (&f32, &f32)| {
            if w >= 1.0 {
                *b
            } else if w <= 0.0 {
                *a
            } else {
                a + w * (b - a)
            }
        };
        self.gradient(a).iter().zip(self.gradient(b)).map(mixed).collect()
    }

    /// 1 for the groups that a profile keeps, 0 for the others; nothing where there is no such profile.
    pub fn profile_weights(&self, profile: &str) -> Option<Vec<f32>> {
        let profile = self.profiles.iter().find(|other| other.name == profile)?;
        let kept = |group| f32::from(u8::from(profile.keep.contains(&group)));
        Some((0..self.groups.len()).map(kept).collect())
    }

    /// What the gradient of a class's loss must be at each parameter.
    ///
    /// A parameter of no group is trained by every class whose loss counts. Where the forward weight is 0 the
    /// gradient is zero, whatever its own weight.
    pub fn expected_flow<'a>(
        &self,
        class: usize,
        parameters: impl Iterator<Item = &'a str>,
    ) -> BTreeMap<String, ExpectedFlow> {
        let row = &self.classes[class];
        let flow = |name: &str| {
            let group = self.groups.iter().position(|group| group.owns(name));
            let frozen = self.site == Site::Parameters(Semantics::Frozen);
            match group {
                Some(group) if frozen && row.gradient[group] == 0.0 => ExpectedFlow::None,
                _ if row.loss_weight == 0.0 => ExpectedFlow::Zero,
                Some(group) if !row.trains(group) => ExpectedFlow::Zero,
                _ => ExpectedFlow::Nonzero,
            }
        };
        parameters.map(|name| (name.to_owned(), flow(name))).collect()
    }

    /// The table in Markdown: classes as rows, groups as columns, then the profiles. A cell is the gradient
    /// weight, with the forward weight beside it where that is not 1.
    pub fn to_markdown(&self) -> String {
        self.to_string()
    }
}

/// Whether a prefix names a parameter: all of its name, or whole components at its beginning.
fn names_parameter(prefix: &str, parameter: &str) -> bool {
    let separator = ['.', '/'];
    parameter
        .strip_prefix(prefix)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with(separator) || prefix.ends_with(separator))
}
