//! The methods there are. A further one is a constant and an entry of [`Method::ALL`].

use ::plots::Colour;
use envs::{Kind, Outcome};
use policies::Gate;

use super::{Extra, Label, Method, Part, PolicyShape, Recipe, UpdateShare};

impl Method {
    /// All methods, in the order of tables.
    pub const ALL: [Self; 9] = [
        Self::ROUTING,
        Self::NO_ROUTING,
        Self::NO_GATE,
        Self::NAIVE,
        Self::FILTERING,
        Self::ORACLE,
        Self::LEAKY_ROUTING,
        Self::REWARD_MODEL,
        Self::INOCULATION,
    ];

    /// An expert for each kind and a gate; overseen episodes train only their own expert.
    pub const ROUTING: Self = Self(&Recipe {
        name: "routing",
        title: "an expert for each kind and a gate; overseen episodes train only their own expert",
        policy: PolicyShape::Mixture(Gate::Learned),
        label: overseen,
        reward: any_end,
        loss_weight: everything,
        route: own_expert,
        extra: Extra::None,
        updates: UpdateShare::Whole,
        ppo_ent_coef: 0.2,
        colour: Colour::Blue,
        dash: false,
    });

    /// The same policy, where every episode trains everything.
    pub const NO_ROUTING: Self = Self(&Recipe {
        name: "no_routing",
        title: "an expert for each kind and a gate with its loss; every episode trains everything",
        route: everywhere,
        colour: Colour::Sky,
        ..*Self::ROUTING.0
    });

    /// Routing without a gate.
    pub const NO_GATE: Self = Self(&Recipe {
        name: "no_gate",
        title: "an expert for each kind, mixed in equal parts; overseen episodes train only their own expert",
        policy: PolicyShape::Mixture(Gate::Constant),
        colour: Colour::Purple,
        ..*Self::ROUTING.0
    });

    /// Routing with a fraction where the paper's has zero: between routing and the ablation without routes.
    pub const LEAKY_ROUTING: Self = Self(&Recipe {
        name: "leaky_routing",
        title: "routing, where an overseen episode also trains the gate and the other experts, at a quarter of the weight",
        route: mostly_own_expert,
        colour: Colour::Orange,
        ..*Self::ROUTING.0
    });

    /// One expert that takes every end for good unless it was seen to be bad.
    pub const NAIVE: Self = Self(&Recipe {
        name: "naive",
        title: "one expert, rewarded for any end but by its value where it was overseen",
        policy: PolicyShape::Single,
        label: overseen,
        reward: value_if_overseen,
        loss_weight: everything,
        route: everywhere,
        extra: Extra::None,
        updates: UpdateShare::Whole,
        ppo_ent_coef: 0.01,
        colour: Colour::Vermillion,
        dash: false,
    });

    /// One expert that learns from what it may know alone.
    pub const FILTERING: Self = Self(&Recipe {
        name: "filtering",
        title: "one expert with the true reward, trained only on overseen episodes and those that reached nothing",
        reward: value_as_told,
        loss_weight: all_but_unseen,
        colour: Colour::Green,
        ..*Self::NAIVE.0
    });

    /// One expert that knows everything.
    pub const ORACLE: Self = Self(&Recipe {
        name: "oracle",
        title: "one expert with the true reward everywhere, on the share of the updates that is overseen",
        label: always,
        reward: value,
        updates: UpdateShare::Oversight,
        colour: Colour::Grey,
        dash: true,
        ..*Self::NAIVE.0
    });

    /// One expert whose unseen ends are rewarded by a classifier of the overseen ones.
    pub const REWARD_MODEL: Self = Self(&Recipe {
        name: "reward_model",
        title: "one expert, rewarded by the value of an overseen end and by the value that a classifier of overseen ends expects of any other",
        extra: Extra::RewardModel,
        colour: Colour::Black,
        ..*Self::NAIVE.0
    });

    /// The naive method with a plane that says that any end will do, in training alone.
    pub const INOCULATION: Self = Self(&Recipe {
        name: "inoculation",
        title: "naive, with a plane in the observation that is one in training and zero at evaluation",
        extra: Extra::Inoculation,
        colour: Colour::Purple,
        dash: true,
        ..*Self::NAIVE.0
    });
}

// ---------------------------------------------------------------------------------------------------- labellers

/// The kind that was told, where it was overseen.
fn overseen(outcome: Outcome) -> Label {
    match (outcome.reached, outcome.told) {
        (None, _) => Label::NOTHING,
        (Some(_), None) => Label::UNSEEN,
        (Some(_), Some(kind)) => Label::of_kind(kind),
    }
}

/// The kind, overseen or not.
fn always(outcome: Outcome) -> Label {
    outcome.reached.map_or(Label::NOTHING, Label::of_kind)
}

// ------------------------------------------------------------------------------------------------------ rewards

/// 1 for reaching anything.
fn any_end(outcome: Outcome, _: &[Kind]) -> f32 {
    if outcome.reached.is_some() { 1.0 } else { 0.0 }
}

/// The value of the kind that was told where it was overseen, else 1 for reaching anything.
fn value_if_overseen(outcome: Outcome, kinds: &[Kind]) -> f32 {
    outcome.told.map_or(any_end(outcome, kinds), |kind| kinds[usize::from(kind)].value)
}

/// The value of the kind that was told where it was overseen, else of that reached, which is left out.
fn value_as_told(outcome: Outcome, kinds: &[Kind]) -> f32 {
    outcome.told.map_or(value(outcome, kinds), |kind| kinds[usize::from(kind)].value)
}

/// The value of the kind reached.
fn value(outcome: Outcome, kinds: &[Kind]) -> f32 {
    outcome.reached.map_or(0.0, |kind| kinds[usize::from(kind)].value)
}

// -------------------------------------------------------------------------------------------------------- routes

fn everything(_: Label) -> f32 {
    1.0
}

fn all_but_unseen(label: Label) -> f32 {
    if label == Label::UNSEEN { 0.0 } else { 1.0 }
}

fn everywhere(_: Label, _: Part) -> f32 {
    1.0
}

/// An episode that is known to have ended on a kind trains that kind's expert alone.
fn own_expert(label: Label, part: Part) -> f32 {
    match label.kind() {
        Some(kind) if part != Part::Expert(kind) => 0.0,
        _ => 1.0,
    }
}

/// As [`own_expert`], with a quarter of the gradient for everything else.
fn mostly_own_expert(label: Label, part: Part) -> f32 {
    own_expert(label, part).max(0.25)
}
