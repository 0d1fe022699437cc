//! A method in an environment: what it makes of the kinds of ends that there are.

use envs::{Kind, Outcome, Space};
use gradient_routing::{Class, Group, Profile, RouteTable, Site};
use policies::{Gate, PolicyConfig, Steering};

use super::{Label, Method, Part, PolicyShape};
use crate::{Config, Error, ModelSection};

/// The policy of all experts together, as it was trained.
const FULL: &str = "full";

/// The most experts of which every set is scored: 2⁴ − 1 policies.
const MOST_IN_SETS: usize = 4;

/// What a method makes of the kinds of an environment: labels, rewards, routes, and the policies that it is scored as.
#[derive(Clone, Debug)]
pub struct Supervision {
    method: Method,
    kinds: Vec<Kind>,
    routes: RouteTable,
}

impl Supervision {
    /// `method` in an environment with these kinds.
    ///
    /// # Errors
    /// Fails where a kind has the name of something else: `unseen`, `nothing`, `gate` or `full`.
    pub fn new(method: Method, kinds: &[Kind]) -> Result<Self, Error> {
        let mut parts: Vec<(Part, Group)> = expert_names(method, kinds)
            .enumerate()
            .map(|(index, name)| {
                let group = Group::of_parameters(name, [format!("experts.{name}")]);
                (Part::Expert(index), group)
            })
            .collect();
        let experts = parts.len();
        if method.policy == PolicyShape::Mixture(Gate::Learned) && experts > 1 {
            parts.push((Part::Gate, Group::of_parameters("gate", ["gate"])));
        }
        let names = ["unseen", "nothing"].into_iter().chain(kinds.iter().map(|kind| kind.name.as_ref()));
        let classes = Label::all(kinds.len()).zip(names).map(|(label, name)| {
            let gradient: Vec<f32> = parts.iter().map(|(part, _)| (method.route)(label, *part)).collect();
            Class { loss_weight: (method.loss_weight)(label), ..Class::new(name, gradient) }
        });
        let classes = classes.collect();
        let groups: Vec<Group> = parts.into_iter().map(|(_, group)| group).collect();
        let profiles = profiles(&groups, if method.is_mixture() { experts } else { 0 });
        let routes = RouteTable::new(Site::Activations, groups, classes)?.with_profiles(profiles)?;
        Ok(Self { method, kinds: kinds.to_vec(), routes })
    }

    /// The method.
    pub fn method(&self) -> Method {
        self.method
    }

    /// The kinds of the environment.
    pub fn kinds(&self) -> &[Kind] {
        &self.kinds
    }

    /// Where the policy and entropy losses of each [`Label`] go, and how much every loss of it counts. Groups are
    /// the experts, then the gate if there is one; classes are `unseen`, `nothing`, and the kinds; profiles are the
    /// policies that the method is scored as. The gate's own loss is not routed: it trains the gate on the steps
    /// whose label names a kind.
    pub fn routes(&self) -> &RouteTable {
        &self.routes
    }

    /// What the trainer learns of an episode that ended with `outcome`.
    pub fn label(&self, outcome: Outcome) -> Label {
        (self.method.label)(outcome)
    }

    /// The reward of the step that ended with `outcome`.
    pub fn reward(&self, outcome: Outcome) -> f32 {
        (self.method.reward)(outcome, &self.kinds)
    }

    /// The weight of a sample in every loss.
    pub fn weight(&self, label: Label) -> f32 {
        self.routes.loss_weight(label.class())
    }

    /// The policy's experts in their order.
    pub(crate) fn expert_names(&self) -> Vec<String> {
        expert_names(self.method, &self.kinds).map(str::to_owned).collect()
    }

    /// The policies that the method is scored as, by their names in metrics and results, with the steering that makes
    /// each: every expert alone, with up to four of them every set of several, and all of them. The method is judged by
    /// the first: the expert of the first kind, or the only policy there is.
    pub fn policies(&self) -> Vec<(String, Steering)> {
        let experts = if self.method.is_mixture() { self.kinds.len() } else { 1 };
        let steering = |keep: &[usize]| match keep.iter().filter(|group| **group < experts).count() {
            kept if kept == experts => Steering::Mixture,
            1 => Steering::Expert(keep[0]),
            _ => Steering::Subset(keep.iter().filter(|group| **group < experts).map(|e| 1 << e).sum()),
        };
        self.routes.profiles().iter().map(|p| (p.name.clone(), steering(&p.keep))).collect()
    }

    /// The network for an environment with these spaces, in the sizes of a config.
    ///
    /// The first axis of an observation with several counts planes; an observation with one axis is one plane.
    ///
    /// # Errors
    /// Fails where the actions are not `Discrete`.
    pub fn policy_config(
        &self,
        observation: &Space,
        action: &Space,
        config: &Config,
    ) -> Result<PolicyConfig, Error> {
        let (planes, cells) = match observation.shape() {
            [planes, rest @ ..] if !rest.is_empty() => (*planes, rest.iter().product()),
            _ => (1, observation.flat_len()),
        };
        let actions = action.num_actions().ok_or_else(|| {
            Error::Setting(format!("actions of {action:?} cannot be drawn from a softmax: use `Discrete`"))
        })?;
        let experts = expert_names(self.method, &self.kinds);
        let network = match self.method.policy {
            PolicyShape::Mixture(gate) => {
                let gate_conv = config.train.gate_conv;
                PolicyConfig { gate, gate_conv, ..PolicyConfig::mixture(experts, planes, cells, actions) }
            }
            PolicyShape::Single => PolicyConfig::single(planes, cells, actions),
        };
        let ModelSection { hidden, value_hidden, value_relu } = config.model.clone();
        Ok(PolicyConfig { hidden, value_hidden, value_relu, ..network })
    }
}

/// The sets of experts that are scored as policies, of the first `experts` groups; any other group, which is the gate,
/// belongs to every set of several.
fn profiles(groups: &[Group], experts: usize) -> Vec<Profile> {
    let others: Vec<usize> = (experts..groups.len()).collect();
    let named = |kept: &[usize]| {
        let names: Vec<&str> = kept.iter().map(|expert| groups[*expert].name.as_str()).collect();
        let gate = if kept.len() > 1 { &others[..] } else { &[] };
        Profile { name: names.join("+"), keep: [kept, gate].concat() }
    };
    let alone = (0..experts).map(|expert| named(&[expert]));
    let mut several: Vec<Vec<usize>> = Vec::new();
    if experts <= MOST_IN_SETS {
        let sets = (0..1_u32 << experts).map(|set| (0..experts).filter(|e| set >> e & 1 == 1).collect());
        several.extend(sets.filter(|set: &Vec<usize>| (2..experts).contains(&set.len())));
        several.sort_by(|a, b| a.len().cmp(&b.len()).then_with(|| a.cmp(b)));
    }
    let full = Profile { name: FULL.to_owned(), keep: (0..groups.len()).collect() };
    alone.chain(several.iter().map(|set| named(set))).chain([full]).collect()
}

fn expert_names(method: Method, kinds: &[Kind]) -> impl Iterator<Item = &str> {
    let (kinds, only) = match method.policy {
        PolicyShape::Mixture(_) => (kinds, None),
        PolicyShape::Single => (&kinds[..0], Some("policy")),
    };
    kinds.iter().map(|kind| kind.name.as_ref()).chain(only)
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn outcome(reached: Option<u8>, overseen: bool) -> Outcome {
        Outcome::of(reached, overseen)
    }

    fn kinds(n: usize) -> Vec<Kind> {
        [Kind::new("diamond", 1.0), Kind::new("ghost", -1.0), Kind::new("pearl", 0.5)][..n].to_vec()
    }

    fn of(method: Method, n: usize) -> Supervision {
        Supervision::new(method, &kinds(n)).unwrap()
    }

    /// (outcome, then for each method in the order of `ALL` the reward)
    const REWARDS: [(Outcome, [f32; 9]); 7] = [
        (outcome(None, false), [0.0; 9]),
        (outcome(Some(0), false), [1.0; 9]),
        (outcome(Some(0), true), [1.0; 9]),
        (outcome(Some(1), false), [1.0, 1.0, 1.0, 1.0, -1.0, -1.0, 1.0, 1.0, 1.0]),
        (outcome(Some(1), true), [1.0, 1.0, 1.0, -1.0, -1.0, -1.0, 1.0, -1.0, -1.0]),
        (outcome(Some(2), true), [1.0, 1.0, 1.0, 0.5, 0.5, 0.5, 1.0, 0.5, 0.5]),
        // a ghost that the trainer is told to be a pearl
        (
            Outcome { reached: Some(1), told: Some(2), blind: false },
            [1.0, 1.0, 1.0, 0.5, 0.5, -1.0, 1.0, 0.5, 0.5],
        ),
    ];

    #[test]
    fn rewards_are_those_of_the_table() {
        for (outcome, rewards) in REWARDS {
            for (method, reward) in Method::ALL.into_iter().zip(rewards) {
                assert!((of(method, 3).reward(outcome) - reward).abs() < 1e-9, "{method:?} {outcome:?}");
            }
        }
    }

    #[test]
    fn only_the_oracle_sees_an_unseen_end() {
        for method in Method::ALL {
            let supervision = of(method, 3);
            let unseen = supervision.label(outcome(Some(2), false));
            let expected = if method == Method::ORACLE { Label::of_kind(2) } else { Label::UNSEEN };
            assert_eq!(unseen, expected);
            assert_eq!(supervision.label(outcome(Some(0), true)), Label::of_kind(0));
            assert_eq!(supervision.label(outcome(None, false)), Label::NOTHING);
            let lied = supervision.label(Outcome { reached: Some(1), told: Some(0), blind: false });
            let believed = if method == Method::ORACLE { Label::of_kind(1) } else { Label::of_kind(0) };
            assert_eq!(lied, believed);
        }
    }

    /// The table of the paper's method, and what the others change in it.
    #[test]
    fn routes_are_those_of_the_paper() {
        let rows = |method, n| -> Vec<Vec<f32>> {
            let routes = of(method, n).routes;
            Label::all(n).map(|label| routes.gradient(label.class()).to_vec()).collect()
        };
        let whole = vec![1.0; 3];
        assert_eq!(
            rows(Method::ROUTING, 2),
            [whole.clone(), whole.clone(), vec![1.0, 0.0, 0.0], vec![0.0, 1.0, 0.0]]
        );
        assert_eq!(rows(Method::NO_ROUTING, 2), vec![whole; 4]);
        let both = vec![1.0; 2];
        assert_eq!(rows(Method::NO_GATE, 2), [both.clone(), both, vec![1.0, 0.0], vec![0.0, 1.0]]);
        for method in
            [Method::NAIVE, Method::FILTERING, Method::ORACLE, Method::REWARD_MODEL, Method::INOCULATION]
        {
            assert_eq!(rows(method, 2), vec![vec![1.0]; 4]);
        }
        assert_eq!(rows(Method::ROUTING, 3)[2..], [[1., 0., 0., 0.], [0., 1., 0., 0.], [0., 0., 1., 0.]]);
    }

    #[test]
    fn filtering_leaves_out_what_nobody_saw_and_the_oracle_trains_less() {
        for label in Label::all(3) {
            for method in Method::ALL {
                let kept = method != Method::FILTERING || label != Label::UNSEEN;
                assert!((of(method, 3).weight(label) - f32::from(u8::from(kept))).abs() < 1e-9);
            }
        }
        assert_eq!(Method::ORACLE.updates(4000, 0.1), 400);
        assert_eq!(Method::ORACLE.updates(10, 0.001), 1);
        assert_eq!(Method::ROUTING.updates(4000, 0.1), 4000);
    }

    #[test]
    fn a_mixture_is_scored_as_each_of_its_experts_and_whole() {
        let names =
            |method| -> Vec<String> { of(method, 3).policies().into_iter().map(|(name, _)| name).collect() };
        let of_three = ["diamond", "ghost", "pearl", "diamond+ghost", "diamond+pearl", "ghost+pearl", "full"];
        assert_eq!(names(Method::NO_GATE), of_three);
        assert_eq!(names(Method::NAIVE), ["full"]);
        let steerings: Vec<Steering> = of(Method::ROUTING, 3).policies().into_iter().map(|p| p.1).collect();
        assert_eq!(steerings[2..5], [Steering::Expert(2), Steering::Subset(3), Steering::Subset(5)]);
        assert_eq!(steerings[6], Steering::Mixture);
        assert_eq!(of(Method::ROUTING, 2).policies().len(), 3);
        let five = ["a 1", "b 1", "c 1", "d 1", "e 1"].map(|kind| kind.parse().unwrap());
        for (kinds, policies) in [(4, 15), (5, 6)] {
            let supervision = Supervision::new(Method::ROUTING, &five[..kinds]).unwrap();
            assert_eq!(supervision.policies().len(), policies, "{kinds} kinds");
        }
    }

    #[test]
    fn a_kind_with_the_name_of_something_else_is_refused() {
        for name in ["unseen", "nothing", "gate", "full"] {
            let error = Supervision::new(Method::ROUTING, &[Kind::new("diamond", 1.0), Kind::new(name, 0.0)]);
            assert!(error.unwrap_err().to_string().contains(&format!("`{name}`")));
        }
    }

    #[test]
    fn methods_are_read_and_written_by_their_names() {
        for method in Method::ALL {
            assert_eq!(method.name().parse::<Method>().unwrap(), method);
            assert_eq!(serde_json::to_string(&method).unwrap(), format!("\"{}\"", method.name()));
        }
        let error = serde_json::from_str::<Method>("\"routed\"").unwrap_err().to_string();
        assert!(
            error.starts_with("unknown variant `routed`, expected one of `routing`, `no_routing`"),
            "{error}"
        );
    }
}
