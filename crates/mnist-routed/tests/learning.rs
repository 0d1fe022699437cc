//! That training splits the encoding: on the real images where this machine has them, else on the sample.
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "helpers of tests may panic and say what they do, as tests do"
)]

use std::sync::Arc;

use candle_core::{Device, Tensor};
use mnist_routed::data::{self, Dataset, Images};
use mnist_routed::{Backend, Config, DatasetName, Error, Evaluation, Setting, Split, Trainer};

/// Some thousand images of MNIST, if they are here, else those of the sample; nothing is fetched.
fn images() -> Dataset {
    let first = |images: &Images, count: usize| Images {
        pixels: images.pixels,
        values: images.values[..count * images.pixels].to_vec(),
        labels: images.labels[..count].to_vec(),
    };
    let found = data::load_cached(DatasetName::Mnist).and_then(Result::ok);
    if let Some(all) = found {
        println!("learning from MNIST");
        return Dataset { train: first(&all.train, 6000), test: first(&all.test, 2000), ..all };
    }
    println!("learning from the sample: MNIST is not in the cache");
    // 200 images are too few to learn anything about others: these it has seen
    let sample = data::load(DatasetName::Sample, None, true).unwrap();
    Dataset { test: sample.train.clone(), ..sample }
}

/// The errors after some 900 steps of small networks.
fn trained(setting: Setting, dataset: &Arc<Dataset>) -> Evaluation {
    let mut config = Config::for_setting(setting, &Split::default());
    config.model.hidden = vec![256, 64];
    config.train.batch_size = 64;
    config.train.learning_rate = 3e-3;
    config.train.epochs = if dataset.name == DatasetName::Sample { 200 } else { 10 };
    let mut trainer = Trainer::new(&config, dataset, 0, 1, 2, &Device::Cpu).unwrap();
    for _ in 0..trainer.updates_total() {
        trainer.update().unwrap();
    }
    trainer.evaluate().unwrap()
}

#[test]
fn routing_splits_the_encoding_and_a_plain_autoencoder_does_not() {
    let dataset = Arc::new(images());
    let routed = trained(Setting::ROUTING, &dataset);
    let plain = trained(Setting::PLAIN, &dataset);
    let shown = |e: &Evaluation| e.certificates.iter().map(|c| c.part_mse.clone()).collect::<Vec<_>>();
    println!("routed {:?}, plain {:?}", shown(&routed), shown(&plain));
    // of two certificates the one whose half the digits did not train is worse at them: so the digits, some of
    // which are harder than others, cancel out
    let excess = |e: &Evaluation, digits: usize| {
        e.certificates[1 - digits].part_mse[digits] / e.certificates[digits].part_mse[digits]
    };
    for digits in [0, 1] {
        assert!(excess(&routed, digits) > 1.1, "{:?}", shown(&routed));
        assert!((0.9..1.1).contains(&excess(&plain, digits)), "{:?}", shown(&plain));
    }
}

#[test]
fn the_part_of_the_run_behind_a_saved_state_is_the_same() {
    let dataset = Arc::new(data::load(DatasetName::Sample, None, true).unwrap());
    let mut config = Config::default();
    config.model.hidden = vec![16];
    config.train.batch_size = 30;
    let new = || Trainer::new(&config, &dataset, 1, 1, 2, &Device::Cpu).unwrap();
    let mut whole = new();
    for _ in 0..10 {
        whole.update().unwrap();
    }
    let state = whole.state().unwrap();
    let mut resumed = new();
    resumed.load(&state, whole.updates_done(), "memory").unwrap();
    for _ in 0..10 {
        assert_eq!(whole.update().unwrap().losses, resumed.update().unwrap().losses);
    }
    assert_eq!(whole.evaluate().unwrap(), resumed.evaluate().unwrap());
}

#[test]
fn a_gradient_that_is_no_number_stops_the_update_though_every_loss_is_one() {
    let dataset = Arc::new(data::load(DatasetName::Sample, None, true).unwrap());
    for backend in [Backend::Fused, Backend::Candle] {
        let mut config = Config::default();
        config.model.hidden = vec![16];
        (config.train.batch_size, config.train.backend) = (30, backend);
        let mut trainer = Trainer::new(&config, &dataset, 1, 1, 2, &Device::Cpu).unwrap();
        trainer.update().unwrap();
        // an encoding of zeros hides the huge numbers on both of its sides from the losses, but not from the
        // gradient of its own weights; pixels are -1 as a rule, so that the hidden units are large, not cut off
        let mut state = trainer.state().unwrap();
        let huge = [("encoder.0.weight", -1e12), ("encoder.1.weight", 0f32), ("decoder.0.weight", f32::MAX)];
        for (name, value) in huge {
            let filled = Tensor::full(value, state[name].shape(), &Device::Cpu).unwrap();
            state.insert(name.to_owned(), filled);
        }
        trainer.load(&state, 1, "memory").unwrap();
        let error = trainer.update().unwrap_err();
        let Error::NotFinite { update, fault } = &error else { panic!("{backend:?}: {error}") };
        assert_eq!((*update, fault.what.as_str()), (2, "the gradient's norm"), "{backend:?}");
        for part in ["reconstruction loss", "L1 penalty", "correlation penalty", "bottom certificate's loss"]
        {
            assert!(fault.all.contains(&format!("the {part} ")), "{error}");
        }
        assert_eq!(trainer.updates_done(), 1);
        // and nothing has moved
        let after = trainer.state().unwrap();
        for (name, tensor) in &state {
            let numbers = |tensor: &Tensor| tensor.flatten_all().unwrap().to_dtype(candle_core::DType::F64);
            let [before, after] =
                [tensor, &after[name]].map(|tensor| numbers(tensor).unwrap().to_vec1::<f64>());
            assert_eq!(before.unwrap(), after.unwrap(), "{backend:?}: {name}");
        }
    }
}
