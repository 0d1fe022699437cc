//! A number that is none stops the run with the parameters as they were.

use candle_core::Tensor;
use ppo_routed::{Algo, Backend, Error, Method, Trainer};

use crate::{parameters, small, trainer, with_backend};

/// Puts `value` into the first element of a parameter.
fn spoil(trainer: &mut Trainer, name: &str, value: f32) {
    let var = trainer.policy().parameters().get(name).unwrap();
    let mut values = var.flatten_all().unwrap().to_vec1::<f32>().unwrap();
    values[0] = value;
    var.set(&Tensor::from_vec(values, var.shape(), var.device()).unwrap()).unwrap();
    trainer.parameters_changed().unwrap();
}

#[test]
fn a_number_that_is_none_stops_the_update_and_names_the_part() {
    let all =
        ["experts.diamond.0.bias", "experts.ghost.1.weight", "gate.conv.weight", "gate.2.bias", "head.bias"];
    for algo in [Algo::Ppo, Algo::Reinforce] {
        for backend in [Backend::Fused, Backend::Candle] {
            let nans = all.map(|name| (name, f32::NAN, "the policy loss"));
            // the value enters the policy loss by the advantages, which have only PPO's normalisation between
            let values =
                [("value.1.weight", f32::NAN, "the policy loss"), ("value.2.bias", 1e25, "the value loss")];
            for (name, value, part) in nans.into_iter().chain(values) {
                let mut trainer = trainer(&with_backend(small(algo), backend), 1, 2);
                trainer.update().unwrap();
                spoil(&mut trainer, name, value);
                let before: Vec<u32> = parameters(&trainer).into_iter().map(f32::to_bits).collect();
                let error = trainer.update().unwrap_err();
                let at = format!("{algo:?}, {backend:?}, {name}: {error}");
                let Error::NotFinite { update, fault } = &error else { panic!("{at}") };
                assert_eq!((*update, fault.what.as_str()), (2, part), "{at}");
                assert!(!fault.value.is_finite(), "{at}");
                for watched in ["policy loss", "value loss", "entropy", "gate loss", "gradient's norm"] {
                    assert!(fault.all.contains(&format!("the {watched} ")), "{at}");
                }
                assert!(error.to_string().starts_with(&format!("update 2: {part} is ")), "{at}");
                assert!(error.to_string().contains("lower train.learning_rate"), "{at}");
                let after: Vec<u32> = parameters(&trainer).into_iter().map(f32::to_bits).collect();
                assert_eq!(after, before, "{at}");
                assert_eq!(trainer.updates_done(), 1, "{at}");
            }
        }
    }
}

/// Also where a method leaves samples out: NaN · 0 is NaN.
#[test]
fn filtering_does_not_hide_it() {
    let mut config = small(Algo::Ppo);
    (config.train.method, config.env.oversight_prob) = (Method::FILTERING, 0.0);
    let mut trainer = trainer(&config, 1, 1);
    spoil(&mut trainer, "head.weight", f32::NAN);
    assert!(matches!(trainer.update(), Err(Error::NotFinite { update: 1, .. })));
}
