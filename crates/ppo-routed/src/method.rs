//! The methods under test: what each sees, what it is rewarded for, what it learns from and where.

use envs::{Outcome, Reached};
use policies::{Gate, PolicyConfig};
use serde::{Deserialize, Serialize};

/// A method of training under partial oversight.
///
/// # Source
/// Cloud et al. 2024, §4.3: `routing` is the paper's method, the others its baselines and ablations.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Method {
    /// Two experts and a gate; overseen episodes train only their own expert.
    Routing,
    /// Two experts and a gate with its loss; every episode trains everything.
    NoRouting,
    /// Two experts mixed half and half; overseen episodes train only their own expert.
    NoGate,
    /// One expert, rewarded for any terminal, punished for an overseen Ghost.
    Naive,
    /// One expert with the true reward, trained only on overseen episodes and those that reached nothing.
    Filtering,
    /// One expert with the true reward everywhere.
    Oracle,
}

/// What a trainer knows of a step: how its episode ended, as far as this rollout and the oversight show.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Label {
    /// Truncated, or unfinished in this rollout: nothing was reached.
    #[default]
    Nothing,
    /// Something was reached and nobody saw what.
    Unseen,
    /// An overseen episode that ended on the Diamond.
    Diamond,
    /// An overseen episode that ended on the Ghost.
    Ghost,
}

impl Label {
    /// The expert that the label names: 0 for Diamond, 1 for Ghost.
    pub fn expert(self) -> Option<usize> {
        match self {
            Self::Diamond => Some(0),
            Self::Ghost => Some(1),
            Self::Nothing | Self::Unseen => None,
        }
    }
}

/// Which parts of a mixture a sample's policy and entropy losses train; the head is always trained.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Route {
    /// The masks of the diamond and the ghost expert.
    pub experts: [f32; 2],
    /// The mask of the gate.
    pub gate: f32,
}

impl Method {
    /// All methods.
    pub const ALL: [Self; 6] =
        [Self::Routing, Self::NoRouting, Self::NoGate, Self::Naive, Self::Filtering, Self::Oracle];

    /// True for the two-expert methods, which are scored as diamond, ghost and full policy.
    pub fn is_mixture(self) -> bool {
        matches!(self, Self::Routing | Self::NoRouting | Self::NoGate)
    }

    /// The network for observations of `planes` × `cells`.
    pub fn policy_config(self, planes: usize, cells: usize) -> PolicyConfig {
        match self {
            Self::Routing | Self::NoRouting => PolicyConfig::mixture(planes, cells),
            Self::NoGate => PolicyConfig { gate: Gate::Constant, ..PolicyConfig::mixture(planes, cells) },
            Self::Naive | Self::Filtering | Self::Oracle => PolicyConfig::single(planes, cells),
        }
    }

    /// What the trainer learns of an episode that ended with `outcome`.
    pub fn label(self, outcome: Outcome) -> Label {
        match (outcome.reached, outcome.overseen || self == Self::Oracle) {
            (Reached::Nothing, _) => Label::Nothing,
            (_, false) => Label::Unseen,
            (Reached::Diamond, true) => Label::Diamond,
            (Reached::Ghost, true) => Label::Ghost,
        }
    }

    /// The reward of the step that ended with `outcome`.
    pub fn reward(self, outcome: Outcome) -> f32 {
        match (self, outcome.reached) {
            (_, Reached::Nothing) => 0.0,
            (Self::Naive, Reached::Ghost) if outcome.overseen => -1.0,
            (Self::Filtering | Self::Oracle, Reached::Ghost) => -1.0,
            _ => 1.0,
        }
    }

    /// The weight of a sample in every loss: 0 leaves it out.
    pub fn weight(self, label: Label) -> f32 {
        if self == Self::Filtering && label == Label::Unseen { 0.0 } else { 1.0 }
    }

    /// Where a sample's policy and entropy gradients may go.
    pub fn route(self, label: Label) -> Route {
        let routed = matches!(self, Self::Routing | Self::NoGate);
        match label.expert().filter(|_| routed) {
            Some(expert) => {
                let mut experts = [0.0; 2];
                experts[expert] = 1.0;
                Route { experts, gate: 0.0 }
            }
            None => Route { experts: [1.0; 2], gate: 1.0 },
        }
    }

    /// The updates a run of `updates` does: the oracle's axis is stretched by 1/p, so it gets the share p of them.
    pub fn updates(self, updates: u64, oversight_prob: f64) -> u64 {
        if self == Self::Oracle { ((updates as f64 * oversight_prob).round() as u64).max(1) } else { updates }
    }

    /// The name in configs and results.
    pub fn name(self) -> &'static str {
        match self {
            Self::Routing => "routing",
            Self::NoRouting => "no_routing",
            Self::NoGate => "no_gate",
            Self::Naive => "naive",
            Self::Filtering => "filtering",
            Self::Oracle => "oracle",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn outcome(reached: Reached, overseen: bool) -> Outcome {
        Outcome { reached, overseen }
    }

    /// (outcome, then for each method in the order of `ALL` the reward)
    const REWARDS: [(Outcome, [f32; 6]); 5] = [
        (outcome(Reached::Nothing, false), [0.0; 6]),
        (outcome(Reached::Diamond, false), [1.0; 6]),
        (outcome(Reached::Diamond, true), [1.0; 6]),
        (outcome(Reached::Ghost, false), [1.0, 1.0, 1.0, 1.0, -1.0, -1.0]),
        (outcome(Reached::Ghost, true), [1.0, 1.0, 1.0, -1.0, -1.0, -1.0]),
    ];

    #[test]
    fn rewards_are_those_of_the_table() {
        for (outcome, rewards) in REWARDS {
            for (method, reward) in Method::ALL.into_iter().zip(rewards) {
                assert!((method.reward(outcome) - reward).abs() < 1e-9, "{method:?} {outcome:?}");
            }
        }
    }

    #[test]
    fn only_the_oracle_sees_an_unseen_terminal() {
        for method in Method::ALL {
            let unseen = method.label(outcome(Reached::Ghost, false));
            assert_eq!(unseen, if method == Method::Oracle { Label::Ghost } else { Label::Unseen });
            assert_eq!(method.label(outcome(Reached::Diamond, true)), Label::Diamond);
            assert_eq!(method.label(outcome(Reached::Nothing, false)), Label::Nothing);
        }
    }

    #[test]
    fn routes_are_those_of_the_table() {
        let both = Route { experts: [1.0, 1.0], gate: 1.0 };
        for label in [Label::Nothing, Label::Unseen] {
            assert!(Method::ALL.iter().all(|method| method.route(label) == both));
        }
        for method in [Method::Routing, Method::NoGate] {
            assert_eq!(method.route(Label::Diamond), Route { experts: [1.0, 0.0], gate: 0.0 });
            assert_eq!(method.route(Label::Ghost), Route { experts: [0.0, 1.0], gate: 0.0 });
        }
        assert_eq!(Method::NoRouting.route(Label::Ghost), both);
    }

    #[test]
    fn filtering_leaves_out_what_nobody_saw_and_the_oracle_trains_less() {
        for label in [Label::Nothing, Label::Unseen, Label::Diamond, Label::Ghost] {
            for method in Method::ALL {
                let kept = method != Method::Filtering || label != Label::Unseen;
                assert!((method.weight(label) - f32::from(u8::from(kept))).abs() < 1e-9);
            }
        }
        assert_eq!(Method::Oracle.updates(4000, 0.1), 400);
        assert_eq!(Method::Oracle.updates(10, 0.001), 1);
        assert_eq!(Method::Routing.updates(4000, 0.1), 4000);
    }
}
