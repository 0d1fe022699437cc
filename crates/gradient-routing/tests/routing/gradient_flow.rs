//! Who gets a gradient: the table of each kind of route, and the reports themselves.

use candle_core::{CpuStorage, CustomOp1, Device, Layout, Shape, Tensor, Var};
use gradient_routing::{
    Cut, Flow, ParameterMask, ParameterMasks, Parameters, RoutingError, ablate, assert_grad_flow, find_cuts,
    grad_flow, mask_channels, route, routed_gradients, scale, stop,
};

use crate::Outcome;
use Flow::{Dropped, Nonzero, Unreached, Zero};

/// A hidden layer of two halves with a weight each, and a head on top.
struct Halves {
    parameters: Parameters,
    left: Tensor,
    right: Tensor,
    hidden: Tensor,
}

impl Halves {
    fn new() -> candle_core::Result<Self> {
        let weight = |values: &[f64], shape| Var::from_vec(values.to_vec(), shape, &Device::Cpu);
        let parameters = Parameters::from([
            ("left".to_string(), weight(&[0.1, 0.2, 0.3, 0.4], (2, 2))?),
            ("right".to_string(), weight(&[0.5, -0.6, 0.7, -0.8], (2, 2))?),
            ("head".to_string(), weight(&[1., 2., 3., 4.], (4, 1))?),
        ]);
        let inputs = Tensor::new(&[[1f64, 2.], [3., -1.], [0.5, 0.5]], &Device::Cpu)?;
        let left = inputs.matmul(&parameters["left"])?.tanh()?;
        let right = inputs.matmul(&parameters["right"])?.tanh()?;
        let hidden = Tensor::cat(&[&left, &right], 1)?;
        Ok(Self { parameters, left, right, hidden })
    }

    fn loss(&self, hidden: &Tensor) -> candle_core::Result<Tensor> {
        hidden.matmul(&self.parameters["head"])?.sqr()?.sum_all()
    }
}

#[test]
fn each_route_reaches_exactly_its_parameters() -> Outcome {
    let net = Halves::new()?;
    let channels = |weights: [f64; 4]| Tensor::new(&weights, &Device::Cpu);
    let examples = |weights: [f64; 3]| Tensor::from_vec(weights.to_vec(), (3, 1), &Device::Cpu);
    let h = &net.hidden;
    let cases = [
        ("not routed", h.clone(), [Nonzero, Nonzero, Nonzero]),
        ("left only", route(h, &channels([1., 1., 0., 0.])?)?, [Nonzero, Nonzero, Zero]),
        ("right only", route(h, &channels([0., 0., 1., 1.])?)?, [Nonzero, Zero, Nonzero]),
        ("one unit of the left", route(h, &channels([0., 1e-9, 0., 0.])?)?, [Nonzero, Nonzero, Zero]),
        ("reversed right", route(h, &channels([0., 0., -0.75, -0.75])?)?, [Nonzero, Zero, Nonzero]),
        ("one example", route(h, &examples([0., 1., 0.])?)?, [Nonzero, Nonzero, Nonzero]),
        ("no example", route(h, &examples([0., 0., 0.])?)?, [Nonzero, Zero, Zero]),
        ("scaled by zero", scale(h, 0.)?, [Nonzero, Zero, Zero]),
        ("reversed", scale(h, -1.)?, [Nonzero, Nonzero, Nonzero]),
        ("stopped", stop(h), [Nonzero, Unreached, Unreached]),
        ("left ablated", ablate(h, 1, &[0, 1])?, [Nonzero, Zero, Nonzero]),
        ("right masked", mask_channels(h, 1, &channels([1., 1., 0., 0.])?)?, [Nonzero, Nonzero, Zero]),
        (
            "right stopped before the halves meet",
            Tensor::cat(&[&net.left, &stop(&net.right)], 1)?,
            [Nonzero, Nonzero, Unreached],
        ),
        // the left columns lead back through the joint tensor, which hands zeros to the right
        (
            "right stopped after the halves met",
            Tensor::cat(&[h.narrow(1, 0, 2)?, stop(&h.narrow(1, 2, 2)?)], 1)?,
            [Nonzero, Nonzero, Zero],
        ),
    ];
    for (name, hidden, expected) in cases {
        let flow = grad_flow(&net.loss(&hidden)?, &net.parameters)?;
        let found = flow.iter().collect::<Vec<_>>();
        let expected = ["head", "left", "right"].into_iter().zip(expected).collect::<Vec<_>>();
        assert_eq!(found, expected, "{name}");
    }
    Ok(())
}

#[test]
fn parameter_masks_reach_exactly_their_parameters() -> Outcome {
    let net = Halves::new()?;
    let loss = net.loss(&net.hidden)?;
    let masks =
        ParameterMasks::new().with("right", ParameterMask::SkipUpdate).otherwise(ParameterMask::ZeroGradient);
    let gradients = routed_gradients(&net.parameters, &[(loss, &masks)])?;
    let entries = net.parameters.values().map(|p| gradients.get(p).is_some()).collect::<Vec<_>>();
    assert_eq!(entries, [true, true, false]);
    Ok(())
}

#[test]
fn assertion_accepts_the_exact_set_in_any_order() -> Outcome {
    let net = Halves::new()?;
    let loss = net.loss(&route(&net.hidden, &Tensor::new(&[1f64, 1., 0., 0.], &Device::Cpu)?)?)?;
    let flow = assert_grad_flow(&loss, &net.parameters, &["left", "head"])?;
    assert_eq!(flow.names(Zero), ["right"]);
    assert_eq!(flow.to_string(), "head   gradient\nleft   gradient\nright  gradient exactly zero\n");
    Ok(())
}

#[test]
fn assertion_lists_everything_missing_and_unexpected() -> Outcome {
    let net = Halves::new()?;
    let mask = Tensor::new(&[1f64, 1., 0., 0.], &Device::Cpu)?;
    let loss = net.loss(&route(&net.hidden, &mask)?)?;
    let cases: [(&[&str], &str); 3] = [
        (
            &["head"],
            "the loss does not train what it should: unexpected `left`; mask or stop the way to them, or expect them",
        ),
        (
            &["head", "left", "right"],
            "the loss does not train what it should: missing `right` (gradient exactly zero); let the masks pass \
             them, or look for the cut with `find_cuts`",
        ),
        (
            &["right"],
            "the loss does not train what it should: missing `right` (gradient exactly zero); let the masks pass \
             them, or look for the cut with `find_cuts`; unexpected `head`, `left`; mask or stop the way to them, \
             or expect them",
        ),
    ];
    for (expected, message) in cases {
        let error = assert_grad_flow(&loss, &net.parameters, expected).unwrap_err();
        assert!(matches!(error, RoutingError::Flow(_)));
        assert_eq!(error.to_string(), message);
    }
    let error = assert_grad_flow(&loss, &net.parameters, &["haed"]).unwrap_err();
    assert_eq!(error.to_string(), "no parameter named `haed`: the parameters are `head`, `left`, `right`");
    Ok(())
}

#[test]
fn nan_is_a_gradient_and_the_smallest_number_too() -> Outcome {
    let parameters = Parameters::from([("x".to_string(), Var::new(&[0f32, 1.], &Device::Cpu)?)]);
    let x = &parameters["x"];
    for factor in [f32::NAN, f32::from_bits(1)] {
        let weights = Tensor::new(&[0f32, factor], &Device::Cpu)?;
        let loss = (x.as_tensor() * weights)?.sum_all()?;
        assert_eq!(grad_flow(&loss, &parameters)?.get("x"), Some(Nonzero), "{factor}");
    }
    assert_eq!(grad_flow(&x.sum_all()?, &parameters)?.get("y"), None);
    Ok(())
}

/// The identity, with a backward pass that forgets its argument.
struct Forgetful;

impl CustomOp1 for Forgetful {
    fn name(&self) -> &'static str {
        "forgetful"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> candle_core::Result<(CpuStorage, Shape)> {
        Ok((x.clone(), layout.shape().clone()))
    }

    fn bwd(&self, _: &Tensor, _: &Tensor, _: &Tensor) -> candle_core::Result<Option<Tensor>> {
        Ok(None)
    }
}

#[test]
fn parameter_dropped_by_a_custom_op_is_told_from_one_out_of_reach() -> Outcome {
    let parameters = Parameters::from([
        ("dropped".to_string(), Var::new(1f32, &Device::Cpu)?),
        ("unused".to_string(), Var::new(1f32, &Device::Cpu)?),
    ]);
    let loss = parameters["dropped"].apply_op1(Forgetful)?;
    let flow = grad_flow(&loss, &parameters)?;
    assert_eq!((flow.get("dropped"), flow.get("unused")), (Some(Dropped), Some(Unreached)));
    Ok(())
}

#[test]
fn loss_without_a_graph_reaches_nothing() -> Outcome {
    let net = Halves::new()?;
    let loss = stop(&net.loss(&net.hidden)?);
    assert_eq!(grad_flow(&loss, &net.parameters)?.names(Unreached), ["head", "left", "right"]);
    let error = assert_grad_flow(&loss, &net.parameters, &["head"]).unwrap_err().to_string();
    assert!(error.contains("missing `head` (no gradient: not in the graph of the loss)"), "{error}");
    Ok(())
}

#[test]
fn cuts_are_found_between_stages() -> Outcome {
    let net = Halves::new()?;
    let between = |reached: &str, lost: &str| Cut::Between { reached: reached.into(), lost: lost.into() };
    let rounded = net.hidden.round()?;
    let zeroed = (&net.hidden * 0.)?;
    let normalised = candle_nn::ops::softmax(&net.hidden, 1)?;
    for (name, activation, whole) in
        [("rounded", &rounded, false), ("zeroed", &zeroed, false), ("normalised", &normalised, true)]
    {
        let loss = net.loss(activation)?;
        let cuts =
            find_cuts(&net.parameters, &[("hidden", &net.hidden), (name, activation), ("loss", &loss)]);
        if whole {
            assert!(cuts.is_empty(), "{cuts:?}");
        } else {
            assert_eq!(cuts.keys().collect::<Vec<_>>(), ["left", "right"]);
            assert_eq!(cuts["left"], between("hidden", name));
        }
    }
    assert!(find_cuts(&net.parameters, &[]).values().all(|cut| *cut == Cut::BeforeFirst));
    Ok(())
}

/// A parameter that goes round a cut on another way is not cut.
#[test]
fn way_round_a_cut_counts() -> Outcome {
    let net = Halves::new()?;
    let stopped = stop(&net.hidden);
    let loss = net.loss(&(&stopped + &net.hidden)?)?;
    let stages = [("hidden", &net.hidden), ("stopped", &stopped), ("loss", &loss)];
    assert!(find_cuts(&net.parameters, &stages).is_empty());
    Ok(())
}
