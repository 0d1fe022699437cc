//! What is wrong with a table, and what to do about it.

/// Why a [`RouteTable`](super::RouteTable) was refused; each message names the entry at fault and the remedy.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum RouteTableError {
    /// A table without a class.
    #[error("a route table without a class: give at least one, such as `unlabelled`")]
    NoClass,

    /// A group, class or profile without a name, or a group with an empty prefix.
    #[error("{what} {index} has an empty name: give it one")]
    EmptyName {
        /// What kind of entry: `group`, `class`, `profile`, or the parameters of a group.
        what: String,
        /// Its index, from 0.
        index: usize,
    },

    /// Two groups, classes or profiles of one name.
    #[error("two entries named {what} `{name}`: rename one of them")]
    DuplicateName {
        /// What kind of entry: `group`, `class` or `profile`.
        what: &'static str,
        /// The name that they share.
        name: String,
    },

    /// A class whose weights are not one for each group.
    #[error("class `{class}` has {found} {row} weights for {groups} groups: give one weight for each group")]
    RowLength {
        /// Name of the class.
        class: String,
        /// `forward` or `gradient`.
        row: &'static str,
        /// Weights given.
        found: usize,
        /// Groups of the table.
        groups: usize,
    },

    /// A weight that is NaN or infinite.
    #[error("class `{class}` has {value} as {what}: give a finite number")]
    NotFinite {
        /// Name of the class.
        class: String,
        /// Which weight.
        what: String,
        /// The weight.
        value: f32,
    },

    /// A class that counts in the loss and trains no group.
    #[error(
        "class `{class}` has loss weight {loss_weight} and trains no group: give one of them a gradient weight, \
         set the loss weight to 0 to leave the class out, or list what it does train as a group of its own"
    )]
    TrainsNothing {
        /// Name of the class.
        class: String,
        /// Its loss weight.
        loss_weight: f32,
    },

    /// A parameter would belong to two groups.
    #[error(
        "`{prefix}` of group `{group}` and `{other_prefix}` of group `{other}` name the same parameters: a \
         parameter belongs to one group alone; write longer prefixes, or merge the groups"
    )]
    SharedParameters {
        /// The shorter prefix.
        prefix: String,
        /// Its group.
        group: String,
        /// The prefix that begins with it.
        other_prefix: String,
        /// The group of that one.
        other: String,
    },

    /// A profile keeps a group that the table does not have.
    #[error("profile `{profile}` keeps group {index} of {groups}: groups count from 0")]
    NoSuchGroup {
        /// Name of the profile.
        profile: String,
        /// The index that it gives.
        index: usize,
        /// Groups of the table.
        groups: usize,
    },

    /// A profile keeps a group twice.
    #[error("profile `{profile}` keeps group `{group}` twice: name it once")]
    GroupTwice {
        /// Name of the profile.
        profile: String,
        /// Name of the group.
        group: String,
    },
}
