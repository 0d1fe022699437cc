//! Environments that this workspace does not know, with three kinds of ends: they keep the contract, are learned in,
//! and a run in them goes on from a checkpoint.

use candle_core::Device;
use envs::check_env;
use ppo_routed::{Algo, Config, Error, Method, Trainer};

use crate::ring::Ring;
use crate::{parameters, small};

fn task(algo: Algo, method: Method) -> Config {
    let mut config = small(algo);
    (config.env.num_envs, config.train.num_steps, config.eval.num_envs) = (64, 16, 128);
    config.train.method = method;
    (config.train.updates, config.train.learning_rate) = (40, 1e-3);
    config.ppo.num_minibatches = 4;
    config
}

fn trainer(config: &Config, oversight_prob: f64) -> Trainer {
    Trainer::with_envs(config, Ring::maker(3, oversight_prob), 1, 2, &Device::Cpu).unwrap()
}

#[test]
fn the_ring_keeps_the_contract() {
    for kinds in 1..=4 {
        check_env(Ring::maker(kinds, 0.5)).unwrap();
    }
}

#[test]
fn three_experts_learn_the_end_of_their_own_kind() {
    let mut config = task(Algo::Ppo, Method::ROUTING);
    (config.train.updates, config.ppo.update_epochs) = (60, 4);
    let mut trainer = trainer(&config, 1.0);
    assert_eq!(trainer.policy().config().experts, ["pearl", "shell", "stone"]);
    assert_eq!((trainer.policy().config().actions, trainer.policy().config().gate_outputs()), (3, 2));
    for _ in 0..trainer.updates_total() {
        let report = trainer.update().unwrap();
        let names: Vec<&str> = report.values.iter().map(|(name, _)| name.as_str()).collect();
        for name in ["routing/share_pearl", "routing/share_stone", "routing/share_all", "routing/gate_shell"]
        {
            assert!(names.contains(&name), "{name} is not in {names:?}");
        }
    }
    let scores = trainer.evaluate().unwrap();
    let names: Vec<&str> = scores.iter().map(|(name, _)| name.as_str()).collect();
    let sets = ["pearl", "shell", "stone", "pearl+shell", "pearl+stone", "shell+stone", "full"];
    assert_eq!(names, sets);
    // each end is as near as the others: by chance a third of the episodes end on each
    for (name, evaluation) in &scores[..3] {
        let others = ["pearl", "shell", "stone"].into_iter().filter(|other| other != name);
        let most = others.map(|other| evaluation.share(other)).fold(0.0, f64::max);
        assert!(evaluation.share(name) > most + 0.2, "{name}: {evaluation:?}");
    }
    // worth 1, 0 and −1
    let returns: Vec<f64> = scores[..3].iter().map(|(_, evaluation)| evaluation.stepwise_return).collect();
    assert!(returns[0] > returns[1] + 0.1 && returns[1] > returns[2] + 0.1, "{returns:?}");
}

#[test]
fn a_run_with_three_kinds_goes_on_from_a_checkpoint_exactly() {
    for (algo, method) in [(Algo::Ppo, Method::ROUTING), (Algo::Reinforce, Method::NO_GATE)] {
        let config = task(algo, method);
        let mut whole = trainer(&config, 0.5);
        whole.update().unwrap();
        let saved = whole.checkpoint(0.0).unwrap();
        let make_env = Ring::maker(3, 0.5);
        let mut resumed = Trainer::resume_with_envs(&config, make_env, &saved, 2, &Device::Cpu).unwrap();
        for _ in 0..2 {
            // as text, in which a NaN equals itself
            let [a, b] = [&mut whole, &mut resumed].map(|run| format!("{:?}", run.update().unwrap().values));
            assert_eq!(a, b);
        }
        assert_eq!(parameters(&whole), parameters(&resumed));
        let other = Ring::maker(2, 0.5);
        assert!(Trainer::resume_with_envs(&config, other, &saved, 2, &Device::Cpu).is_err());
    }
}

#[test]
fn every_method_trains_with_three_kinds() {
    for algo in [Algo::Ppo, Algo::Reinforce] {
        for method in Method::ALL {
            let mut trainer = trainer(&task(algo, method), 0.5);
            let before = parameters(&trainer);
            trainer.update().unwrap();
            assert_ne!(parameters(&trainer), before, "{method:?}");
            assert_eq!(trainer.evaluate().unwrap().len(), if method.is_mixture() { 7 } else { 1 });
        }
    }
}

#[test]
fn an_environment_that_cannot_be_made_is_an_error() {
    let config = task(Algo::Ppo, Method::ROUTING);
    let make_env = |_, _| Err(envs::EnvError::NoEnvs);
    let made = Trainer::with_envs(&config, make_env, 1, 1, &Device::Cpu);
    assert!(matches!(made.err(), Some(Error::Env(envs::EnvError::NoEnvs))));
}
