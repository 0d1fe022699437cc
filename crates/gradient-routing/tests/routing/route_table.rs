//! The table: what it refuses, the masks it gives, and how it is written down.

use gradient_routing::{Class, ExpectedFlow, Group, Profile, RouteTable, RouteTableError, Semantics, Site};
use proptest::prelude::*;

use crate::Outcome;
use ExpectedFlow::{None as NoEntry, Nonzero, Zero};

fn halves() -> Vec<Group> {
    vec![Group::of_channels("top", 2), Group::of_channels("bottom", 3)]
}

/// Two experts and a gate, routed by label, with a head outside every group.
fn experts(site: Site) -> Result<RouteTable, RouteTableError> {
    let groups = vec![
        Group::of_parameters("expert 0", ["experts.0"]),
        Group::of_parameters("expert 1", ["experts.1"]),
        Group::of_parameters("gate", ["gate."]),
    ];
    let classes = vec![
        Class::new("unlabelled", [1., 1., 1.]),
        Class::new("first", [1., 0., 0.]),
        Class { loss_weight: 0., ..Class::new("left out", [1., 1., 1.]) },
        Class { forward: vec![0., 1., 1.], loss_weight: 2., ..Class::new("masked", [1., -0.5, 0.]) },
    ];
    RouteTable::new(site, groups, classes)
}

fn profile(name: &str, keep: &[usize]) -> Profile {
    Profile { name: name.to_owned(), keep: keep.to_vec() }
}

#[test]
fn faulty_tables_are_refused_with_the_remedy() {
    let rows = |a: &[f32], b: &[f32]| vec![Class::new("a", a), Class::new("b", b)];
    let good = || rows(&[1., 0.], &[0., 1.]);
    let table = |groups, classes| RouteTable::new(Site::Activations, groups, classes);
    let owning =
        |a: &str, b: &str| vec![Group::of_parameters("x", [a]), Group::of_parameters("y", ["other", b])];
    let cases = [
        (table(halves(), vec![]), "a route table without a class: give at least one, such as `unlabelled`"),
        (
            table(vec![Group::of_channels("top", 2), Group::of_channels("", 2)], good()),
            "group 1 has an empty name: give it one",
        ),
        (
            table(owning("x", ""), good()),
            "of group `y` the parameter prefix 1 has an empty name: give it one",
        ),
        (
            table(vec![Group::of_channels("top", 2), Group::of_channels("top", 2)], good()),
            "two entries named group `top`: rename one of them",
        ),
        (
            table(halves(), vec![Class::new("a", [1., 1.]), Class::new("a", [1., 1.])]),
            "two entries named class `a`: rename one of them",
        ),
        (
            table(halves(), rows(&[1., 0.], &[1.])),
            "class `b` has 1 forward weights for 2 groups: give one weight for each group",
        ),
        (
            table(halves(), vec![Class { gradient: vec![1.; 3], ..Class::new("a", [1., 1.]) }]),
            "class `a` has 3 gradient weights for 2 groups: give one weight for each group",
        ),
        (
            table(halves(), rows(&[1., f32::NAN], &[1., 1.])),
            "class `a` has NaN as gradient weight of group `bottom`: give a finite number",
        ),
        (
            table(halves(), vec![Class { loss_weight: f32::INFINITY, ..Class::new("a", [1., 1.]) }]),
            "class `a` has inf as loss weight: give a finite number",
        ),
        (
            table(halves(), rows(&[1., 0.], &[0., 0.])),
            "class `b` has loss weight 1 and trains no group: give one of them a gradient weight, set the loss \
             weight to 0 to leave the class out, or list what it does train as a group of its own",
        ),
        (
            table(owning("net.a", "net.a.weight"), good()),
            "`net.a` of group `x` and `net.a.weight` of group `y` name the same parameters: a parameter belongs \
             to one group alone; write longer prefixes, or merge the groups",
        ),
        (
            table(halves(), good()).and_then(|t| t.with_profiles(vec![profile("p", &[0, 2])])),
            "profile `p` keeps group 2 of 2: groups count from 0",
        ),
        (
            table(halves(), good()).and_then(|t| t.with_profiles(vec![profile("p", &[1, 1])])),
            "profile `p` keeps group `bottom` twice: name it once",
        ),
        (
            table(halves(), good())
                .and_then(|t| t.with_profiles(vec![profile("p", &[]), profile("p", &[1])])),
            "two entries named profile `p`: rename one of them",
        ),
    ];
    for (table, message) in cases {
        assert_eq!(table.unwrap_err().to_string(), message);
    }
}

/// What trains nothing is refused only where its loss counts and there are groups to train.
#[test]
fn class_without_a_route_may_be_left_out_of_the_loss() -> Outcome {
    let idle = || vec![Class { loss_weight: 0., ..Class::new("a", [0., 0.]) }, Class::new("b", [0., 1.])];
    RouteTable::new(Site::Activations, halves(), idle())?;
    RouteTable::new(Site::Activations, vec![], vec![Class::new("all", [])])?;
    let masked = Class { forward: vec![0., 1.], ..Class::new("masked", [1., 0.]) };
    let error = RouteTable::new(Site::Activations, halves(), vec![masked]).unwrap_err();
    assert!(matches!(error, RouteTableError::TrainsNothing { .. }));
    Ok(())
}

#[test]
fn masks_profiles_and_names_are_those_of_the_table() -> Outcome {
    let classes =
        vec![Class::new("both", [1., 0.5]), Class { forward: vec![0., 1.], ..Class::new("b", [0., 1.]) }];
    let table = RouteTable::new(Site::Activations, halves(), classes)?
        .with_profiles(vec![profile("none", &[]), profile("bottom only", &[1])])?;
    assert_eq!(table.gradient_masks(&[1, 0]), [0., 1., 1., 0.5]);
    assert_eq!(table.forward_masks(&[1, 0]), [0., 1., 1., 1.]);
    assert_eq!(table.channel_masks(&[1, 0]), [0., 0., 1., 1., 1., 1., 1., 0.5, 0.5, 0.5]);
    assert_eq!((table.channel_ends(), table.channels()), (vec![2, 5], 5));
    assert_eq!(table.profile_weights("none"), Some(vec![0., 0.]));
    assert_eq!(table.profile_weights("bottom only"), Some(vec![0., 1.]));
    assert_eq!(table.profile_weights("top only"), None);
    assert_eq!((table.class("b"), table.class("c")), (Some(1), None));
    assert_eq!((table.group("bottom"), table.group("b")), (Some(1), None));
    assert_eq!(table.mix(0, 1, 0.5), [0.5, 0.75]);
    Ok(())
}

#[test]
fn prefixes_name_whole_components() {
    let group = Group::of_parameters("g", ["experts.1", "gate."]);
    for (name, owned) in [
        ("experts.1.weight", true),
        ("experts.1", true),
        ("experts.1/weight", true),
        ("experts.10.weight", false),
        ("gate.bias", true),
        ("gated.bias", false),
        ("my.experts.1.weight", false),
    ] {
        assert_eq!(group.owns(name), owned, "{name}");
    }
}

#[test]
fn expected_flow_follows_weights_and_site() -> Outcome {
    let names = ["experts.0.w", "experts.1.w", "gate.w", "head.w"];
    let zero_gradient = [
        ("unlabelled", [Nonzero, Nonzero, Nonzero, Nonzero]),
        ("first", [Nonzero, Zero, Zero, Nonzero]),
        ("left out", [Zero, Zero, Zero, Zero]),
        ("masked", [Zero, Nonzero, Zero, Nonzero]),
    ];
    let frozen = [
        ("unlabelled", [Nonzero, Nonzero, Nonzero, Nonzero]),
        ("first", [Nonzero, NoEntry, NoEntry, Nonzero]),
        ("left out", [Zero, Zero, Zero, Zero]),
        ("masked", [Zero, Nonzero, NoEntry, Nonzero]),
    ];
    for (site, cases) in [
        (Site::Activations, zero_gradient),
        (Site::Parameters(Semantics::ZeroGradient), zero_gradient),
        (Site::Parameters(Semantics::Frozen), frozen),
    ] {
        let table = experts(site)?;
        for (class, flows) in cases {
            let class = table.class(class).ok_or("no such class")?;
            let flow = table.expected_flow(class, names.into_iter());
            assert_eq!(flow.into_values().collect::<Vec<_>>(), flows, "{site:?}, class {class}");
        }
    }
    Ok(())
}

#[test]
fn table_prints_as_markdown() -> Outcome {
    let table = experts(Site::Parameters(Semantics::Frozen))?
        .with_profiles(vec![profile("first", &[0, 2]), profile("a|b", &[])])?;
    insta::assert_snapshot!(table.to_markdown(), @r"
    Gradient weights at parameters, where 0 freezes:

    | class | loss | expert 0 | expert 1 | gate |
    |---|---|---|---|---|
    | unlabelled | 1 | 1 | 1 | 1 |
    | first | 1 | 1 | 0 | 0 |
    | left out | 0 | 1 | 1 | 1 |
    | masked | 2 | 1, forward 0 | -0.5 | 0 |

    | profile | expert 0 | expert 1 | gate |
    |---|---|---|---|
    | first | kept |  | kept |
    | a\|b |  |  |  |
    ");
    assert_eq!(table.to_string(), table.to_markdown());
    Ok(())
}

#[test]
fn table_reads_back_and_is_checked_again() -> Outcome {
    for site in [Site::Activations, Site::Parameters(Semantics::ZeroGradient)] {
        let table = experts(site)?.with_profiles(vec![profile("first", &[0])])?;
        let text = serde_json::to_string(&table)?;
        assert_eq!(serde_json::from_str::<RouteTable>(&text)?, table);
        let faulty = text.replace("\"left out\"", "\"first\"");
        let error = serde_json::from_str::<RouteTable>(&faulty).unwrap_err().to_string();
        assert!(error.contains("two entries named class `first`"), "{error}");
    }
    Ok(())
}

/// A table of two classes, and labels for a batch.
fn tables() -> impl Strategy<Value = (RouteTable, Vec<usize>)> {
    let weight = || prop_oneof![Just(1f32), Just(0.), -2f32..2.];
    let group = (0..4usize, weight(), weight());
    (prop::collection::vec(group, 1..5), prop::collection::vec(0..2usize, 0..6)).prop_filter_map(
        "a class trains nothing",
        |(columns, labels)| {
            let groups = columns.iter().enumerate();
            let groups = groups.map(|(index, column)| Group::of_channels(index.to_string(), column.0));
            let a = columns.iter().map(|column| column.1).collect::<Vec<_>>();
            let b = columns.iter().map(|column| column.2).collect::<Vec<_>>();
            let classes = vec![Class::new("a", a), Class::new("b", b)];
            RouteTable::new(Site::Activations, groups.collect(), classes).ok().map(|table| (table, labels))
        },
    )
}

proptest! {
    #[test]
    fn channel_masks_are_gradient_masks_expanded((table, labels) in tables()) {
        let (masks, groups) = (table.gradient_masks(&labels), table.groups().len());
        let channels = table.channel_masks(&labels);
        prop_assert_eq!(channels.len(), labels.len() * table.channels());
        for (row, label) in labels.iter().enumerate() {
            let own = &channels[row * table.channels()..][..table.channels()];
            let mut from = 0;
            for (group, end) in table.channel_ends().into_iter().enumerate() {
                let weight = table.gradient(*label)[group];
                prop_assert_eq!(&own[from..end], vec![weight; end - from]);
                prop_assert_eq!(&masks[row * groups + group..][..1], [weight]);
                from = end;
            }
            prop_assert_eq!(from, table.channels());
        }
    }

    #[test]
    fn mix_is_exact_at_both_ends_and_between_them_elsewhere((table, _) in tables(), w in -0.5f32..1.5) {
        prop_assert_eq!(table.mix(0, 1, 0.), table.gradient(0));
        prop_assert_eq!(table.mix(0, 1, 1.), table.gradient(1));
        for ((mixed, a), b) in table.mix(0, 1, w).into_iter().zip(table.gradient(0)).zip(table.gradient(1)) {
            prop_assert!(mixed >= a.min(*b) - 1e-6 && mixed <= a.max(*b) + 1e-6);
        }
    }

    /// A profile and the one that keeps the other groups add up to all of them.
    #[test]
    fn profile_and_its_complement_keep_every_group_once((table, _) in tables(), kept in any::<[bool; 4]>()) {
        let keep = |wanted| (0..table.groups().len()).filter(|group| kept[*group] == wanted).collect::<Vec<_>>();
        let profiles = vec![profile("some", &keep(true)), profile("rest", &keep(false))];
        let table = table.clone().with_profiles(profiles).unwrap();
        let weights = |name| table.profile_weights(name).unwrap();
        for (group, (some, rest)) in weights("some").into_iter().zip(weights("rest")).enumerate() {
            prop_assert_eq!((some, some + rest), (f32::from(u8::from(kept[group])), 1.));
        }
    }
}
