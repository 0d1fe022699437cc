//! A table at work: the masks that it puts on gradients, and the tests that hold a method to it.

use candle_core::backprop::GradStore;
use candle_core::{DType, Device, Tensor, Var};
use candle_nn::{AdamW, Optimizer, ParamsAdamW};
use gradient_routing::{
    Class, ExpectedFlow, Flow, GradFlow, Group, Parameters, RouteTable, RoutingError, Semantics, Site,
    StepMasks, assert_channel_flow, assert_class_flow, assert_frozen, assert_table_flow, parameter_masks,
    route, routed_gradients, snapshot, stop,
};
use proptest::prelude::*;

use crate::{Outcome, numbers};

/// Two layers side by side under one head.
fn parameters() -> candle_core::Result<Parameters> {
    let weight = |values: &[f64], shape| Var::from_vec(values.to_vec(), shape, &Device::Cpu);
    Ok(Parameters::from([
        ("left.weight".to_string(), weight(&[0.1, 0.2, 0.3, 0.4], (2, 2))?),
        ("right.weight".to_string(), weight(&[0.5, -0.6, 0.7, -0.8], (2, 2))?),
        ("head".to_string(), weight(&[1., 2., 3., 4.], (4, 1))?),
    ]))
}

fn table(site: Site, gradient: [[f32; 2]; 2]) -> Result<RouteTable, RoutingError> {
    let group = |name: &str| Group { channels: 2, ..Group::of_parameters(name, [name]) };
    let [a, b] = gradient;
    Ok(RouteTable::new(
        site,
        vec![group("left"), group("right")],
        vec![Class::new("a", a), Class::new("b", b)],
    )?)
}

const OWN: [[f32; 2]; 2] = [[1., 0.], [0., 1.]];

/// The loss of the net, its hidden layer changed by `at`.
fn loss(parameters: &Parameters, at: impl Fn(&Tensor, usize) -> Tensor) -> Result<Tensor, RoutingError> {
    let inputs = Tensor::new(&[[1f64, 2.], [3., -1.], [0.5, 0.5]], &Device::Cpu)?;
    let left = at(&inputs.matmul(&parameters["left.weight"])?.tanh()?, 0);
    let right = at(&inputs.matmul(&parameters["right.weight"])?.tanh()?, 1);
    Ok(Tensor::cat(&[&left, &right], 1)?.matmul(&parameters["head"])?.sqr()?.sum_all()?)
}

fn untouched(x: &Tensor, _: usize) -> Tensor {
    x.clone()
}

fn entry(gradients: &GradStore, parameter: &Var) -> Result<Option<Vec<f64>>, Box<dyn std::error::Error>> {
    gradients.get(parameter).map(numbers).transpose()
}

#[test]
fn parameter_masks_weigh_zero_or_skip_as_the_site_says() -> Outcome {
    let parameters = parameters()?;
    let full = loss(&parameters, untouched)?.backward()?;
    for (semantics, at_zero) in [(Semantics::ZeroGradient, Some(vec![0.; 4])), (Semantics::Frozen, None)] {
        let table = table(Site::Parameters(semantics), [[1., 0.], [-0.5, 1.]])?;
        for (class, left, right) in [(0, Some(1.), None), (1, Some(-0.5), Some(1.))] {
            let mut gradients = loss(&parameters, untouched)?.backward()?;
            parameter_masks(&table, class, &parameters)?.apply(&parameters, &mut gradients)?;
            for (name, weight) in [("left.weight", left), ("right.weight", right), ("head", Some(1.))] {
                let whole = entry(&full, &parameters[name])?.ok_or("no gradient")?;
                let weighed = weight.map(|weight: f64| whole.iter().map(|g| weight * g).collect());
                let expected = weighed.or_else(|| at_zero.clone());
                assert_eq!(entry(&gradients, &parameters[name])?, expected, "{semantics:?}, {class}, {name}");
            }
        }
    }
    Ok(())
}

#[test]
fn step_masks_weigh_each_channel_of_a_shared_parameter() -> Outcome {
    let shared = Var::ones((3, 4, 2), DType::F32, &Device::Cpu)?;
    let parameters = Parameters::from([
        ("shared".to_string(), shared.clone()),
        ("adapter.weight".to_string(), Var::ones(2, DType::F32, &Device::Cpu)?),
    ]);
    let groups = vec![
        Group::of_channels("general", 3),
        Group::of_channels("concept", 1),
        Group::of_parameters("adapter", ["adapter"]),
    ];
    let classes = vec![Class::new("unlabelled", [1., 1., 0.5]), Class::new("concept", [0., 2., 0.])];
    let table = |semantics| RouteTable::new(Site::Parameters(semantics), groups.clone(), classes.clone());
    let masks = StepMasks::new(&table(Semantics::ZeroGradient)?, &parameters, &[("shared", 1)])?;
    let masked = |class| -> Result<GradStore, RoutingError> {
        let mut gradients = (shared.sum_all()? + parameters["adapter.weight"].sum_all()?)?.backward()?;
        masks.class(class).apply(&parameters, &mut gradients)?;
        Ok(gradients)
    };
    assert_eq!(entry(&masked(0)?, &shared)?, Some(vec![1.; 24]));
    assert_eq!(entry(&masked(0)?, &parameters["adapter.weight"])?, Some(vec![0.5; 2]));
    assert_eq!(entry(&masked(1)?, &shared)?, Some([0., 0., 0., 0., 0., 0., 2., 2.].repeat(3)));
    assert_eq!(entry(&masked(1)?, &parameters["adapter.weight"])?, Some(vec![0.; 2]));

    let frozen = StepMasks::new(&table(Semantics::Frozen)?, &parameters, &[("shared", 1)]).unwrap_err();
    assert!(frozen.to_string().starts_with("cannot freeze some channels of parameter `shared`"), "{frozen}");
    for (name, dim) in [("shared", 0), ("shared", 3), ("adapter.weight", 0)] {
        let error =
            StepMasks::new(&table(Semantics::ZeroGradient)?, &parameters, &[(name, dim)]).unwrap_err();
        assert!(matches!(error, RoutingError::SharedChannels { .. }), "{name}, {dim}: {error}");
    }
    let error = StepMasks::new(&table(Semantics::Frozen)?, &parameters, &[("shred", 1)]).unwrap_err();
    assert!(error.to_string().starts_with("no parameter named `shred`"), "{error}");
    Ok(())
}

#[test]
fn masks_are_refused_where_the_table_does_not_fit() -> Outcome {
    let parameters = parameters()?;
    let error = parameter_masks(&table(Site::Activations, OWN)?, 0, &parameters).unwrap_err();
    assert!(matches!(error, RoutingError::NotAtParameters));
    let groups = vec![Group::of_parameters("l", ["lef"]), Group::of_parameters("r", ["right"])];
    let classes = vec![Class::new("all", [1., 1.])];
    for site in [Site::Activations, Site::Parameters(Semantics::Frozen)] {
        let table = RouteTable::new(site, groups.clone(), classes.clone())?;
        let error = assert_table_flow(&table, &parameters, |_| loss(&parameters, untouched)).unwrap_err();
        assert!(
            error.to_string().starts_with("no parameter named `lef`: the parameters are `head`"),
            "{error}"
        );
    }
    Ok(())
}

/// Routed hidden layers, of which each class trains its own.
#[test]
fn methods_that_do_what_the_table_says_are_accepted() -> Outcome {
    let parameters = parameters()?;
    let activations = table(Site::Activations, OWN)?;
    let routed = |class: usize| {
        loss(&parameters, |x, half| {
            let weight = f64::from(activations.gradient(class)[half]);
            route(x, &Tensor::new(weight, &Device::Cpu).unwrap()).unwrap()
        })
    };
    let flows = assert_table_flow(&activations, &parameters, routed)?;
    assert_eq!(flows[0].names(Flow::Zero), ["right.weight"]);
    // no entry is as good as zeros at activations
    let stopped = |class: usize| loss(&parameters, |x, half| if class == half { x.clone() } else { stop(x) });
    assert_table_flow(&activations, &parameters, stopped)?;
    for (semantics, right) in [(Semantics::ZeroGradient, Flow::Zero), (Semantics::Frozen, Flow::Dropped)] {
        let masked = table(Site::Parameters(semantics), OWN)?;
        let flows = assert_table_flow(&masked, &parameters, |_| loss(&parameters, untouched))?;
        assert_eq!(flows[0].get("right.weight"), Some(right));
    }
    Ok(())
}

#[test]
fn methods_that_do_something_else_are_refused() -> Outcome {
    let parameters = parameters()?;
    let activations = table(Site::Activations, OWN)?;
    let error = assert_table_flow(&activations, &parameters, |_| loss(&parameters, untouched)).unwrap_err();
    assert_eq!(
        error.to_string(),
        "class `a` does not train what the table says: `right.weight` (gradient): mask the way to it, with zeros, \
         or give its group a weight"
    );
    let swapped = |class: usize| loss(&parameters, |x, half| if class == half { stop(x) } else { x.clone() });
    let error = assert_table_flow(&activations, &parameters, swapped).unwrap_err();
    let RoutingError::TableFlow(mismatch) = error else { return Err(error.into()) };
    let expected = [
        ("left.weight".to_string(), ExpectedFlow::Nonzero, Flow::Unreached),
        ("right.weight".to_string(), ExpectedFlow::Zero, Flow::Nonzero),
    ];
    assert_eq!(mismatch.faults, expected);
    Ok(())
}

/// Under Adam zeros and no entry are different things, and the table says which it is.
#[test]
fn entry_of_zeros_and_none_are_told_apart_at_parameters() -> Outcome {
    let flow = |right| [("left.weight".to_string(), Flow::Nonzero), ("right.weight".to_string(), right)];
    for (semantics, zeros, none) in [(Semantics::ZeroGradient, true, false), (Semantics::Frozen, false, true)]
    {
        let table = table(Site::Parameters(semantics), OWN)?;
        for (found, accepted) in [(Flow::Zero, zeros), (Flow::Dropped, none), (Flow::Nonzero, false)] {
            let flow = GradFlow::from_iter(flow(found));
            let result = assert_class_flow(&table, 0, &flow);
            assert_eq!(result.is_ok(), accepted, "{semantics:?}, {found:?}: {result:?}");
        }
    }
    assert_eq!(Flow::of_elements(&[0., -0.]), Flow::Zero);
    assert_eq!(Flow::of_elements(&[0., f32::NAN]), Flow::Nonzero);
    Ok(())
}

#[test]
fn channels_with_a_gradient_are_those_of_the_table() -> Outcome {
    let table = table(Site::Activations, OWN)?;
    let gradient = Tensor::new(&[[1f32, 0., 0., 0.], [0., f32::NAN, 0., 0.]], &Device::Cpu)?;
    assert_channel_flow(&table, 0, &gradient, 1)?;
    assert_channel_flow(&table, 0, &gradient.t()?, 0)?;
    let error = assert_channel_flow(&table, 1, &gradient, 1).unwrap_err();
    assert_eq!(
        error.to_string(),
        "class `b` does not train the channels that the table says: no gradient at [2, 3], a gradient at [0, 1]; \
         weigh the activation with `channel_masks` of that class"
    );
    Ok(())
}

/// Adam moves a parameter whose gradient is zero, and only frozen ones stay.
#[test]
fn frozen_parameters_stay_and_zeroed_ones_move() -> Outcome {
    for (semantics, stays) in [(Semantics::ZeroGradient, false), (Semantics::Frozen, true)] {
        let parameters = parameters()?;
        let table = table(Site::Parameters(semantics), OWN)?;
        let variables = parameters.values().cloned().collect();
        let mut adam = AdamW::new(variables, ParamsAdamW { lr: 0.1, ..ParamsAdamW::default() })?;
        let mut step = |class| -> Result<(), RoutingError> {
            let masks = parameter_masks(&table, class, &parameters)?;
            let gradients = routed_gradients(&parameters, &[(loss(&parameters, untouched)?, &masks)])?;
            Ok(adam.step(&gradients)?)
        };
        step(1)?;
        let mut before = snapshot(&parameters)?;
        step(0)?;
        let error = assert_frozen(&before, &parameters).unwrap_err().to_string();
        let moved = if stays {
            "`head`, `left.weight` changed"
        } else {
            "`head`, `left.weight`, `right.weight` changed"
        };
        assert!(error.starts_with(moved), "{semantics:?}: {error}");
        before.retain(|name, _| name == "right.weight");
        assert_eq!(assert_frozen(&before, &parameters).is_ok(), stays, "{semantics:?}");
    }
    Ok(())
}

#[test]
fn the_sign_of_a_zero_and_another_shape_are_changes() -> Outcome {
    let parameters = Parameters::from([("x".to_string(), Var::new(&[0f32, f32::NAN], &Device::Cpu)?)]);
    let before = snapshot(&parameters)?;
    assert_frozen(&before, &parameters)?;
    for other in [Var::new(&[-0f32, f32::NAN], &Device::Cpu)?, Var::new(&[[0f32, f32::NAN]], &Device::Cpu)?] {
        let after = Parameters::from([("x".to_string(), other)]);
        assert!(matches!(assert_frozen(&before, &after), Err(RoutingError::NotFrozen { .. })));
    }
    let error = assert_frozen(&before, &Parameters::new()).unwrap_err().to_string();
    assert_eq!(error, "no parameter named `x`: the parameters are none");
    Ok(())
}

fn fail(error: impl std::fmt::Display) -> TestCaseError {
    TestCaseError::fail(error.to_string())
}

proptest! {
    /// Two classes whose weights add up to 1 together train as one class that is not routed.
    #[test]
    fn masks_of_complementary_classes_add_up_to_the_full_gradient(left in 0f32..1., right in 0f32..1.) {
        let parameters = parameters().map_err(fail)?;
        let site = Site::Parameters(Semantics::ZeroGradient);
        let table = table(site, [[left, right], [1. - left, 1. - right]]);
        prop_assume!(table.is_ok());
        let table = table.map_err(fail)?;
        let full = loss(&parameters, untouched).map_err(fail)?.backward().map_err(fail)?;
        let mut sums = vec![0f64; 4];
        for class in 0..2 {
            let mut gradients = loss(&parameters, untouched).map_err(fail)?.backward().map_err(fail)?;
            let masks = parameter_masks(&table, class, &parameters).map_err(fail)?;
            masks.apply(&parameters, &mut gradients).map_err(fail)?;
            let own = entry(&gradients, &parameters["left.weight"]).map_err(fail)?.unwrap_or_default();
            sums.iter_mut().zip(own).for_each(|(sum, own)| *sum += own);
        }
        let full = entry(&full, &parameters["left.weight"]).map_err(fail)?.unwrap_or_default();
        for (sum, full) in sums.into_iter().zip(full) {
            prop_assert!((sum - full).abs() <= 1e-6 * (1. + full.abs()), "{sum} {full}");
        }
    }
}
