//! The gradients: the CPU path's against autograd's, and where each loss trains the networks.
#![expect(clippy::unwrap_used, reason = "helpers of tests may panic, as tests do")]

use std::collections::BTreeMap;

use candle_core::backprop::GradStore;
use candle_core::{DType, Device, Tensor};
use experiment::SeedStreams;
use gradient_routing::{
    Flow, GradFlow, Group, assert_channel_flow, assert_class_flow, assert_grad_flow, assert_table_flow,
};
use learning::Parameters;
use mnist_routed::data::{self, Batch, Images};
use mnist_routed::fused::FusedLearner;
use mnist_routed::reference::ReferenceLearner;
use mnist_routed::{Architecture, Config, DatasetName, Objective, Setting, Split};

/// Small networks of a setting, and the parameters to start from.
struct Nets {
    config: Config,
    objective: Objective,
    architecture: Architecture,
    parameters: Parameters,
}

impl Nets {
    fn new(setting: Setting, split: &Split) -> Self {
        let mut config = Config::for_setting(setting, split);
        config.model.hidden = vec![24, 16];
        config.model.latent = 11;
        let objective = Objective::new(&config).unwrap();
        let architecture = Architecture::new(&config, &objective, 784);
        let parameters = architecture.initial(&mut SeedStreams::new(7).stream("init"), &Device::Cpu).unwrap();
        Self { config, objective, architecture, parameters }
    }

    fn reference(&self) -> ReferenceLearner {
        let (decay, device) = (self.config.train.weight_decay, Device::Cpu);
        ReferenceLearner::new(&self.architecture, &self.objective, &self.parameters, decay, &device).unwrap()
    }

    fn fused(&self, decay: f64, shards: usize) -> FusedLearner {
        FusedLearner::new(&self.architecture, &self.objective, &self.parameters, decay, shards).unwrap()
    }

    /// The gradients of the CPU path: Adam's first moments after the first step, without decay, are a tenth of
    /// them.
    fn fused_gradients(&self, batch: Batch<'_>, shards: usize) -> BTreeMap<String, Vec<f32>> {
        let mut learner = self.fused(0.0, shards);
        learner.gradient(batch);
        learner.step(1e-3);
        let state = learner.state().unwrap();
        let moments = state.iter().filter_map(|(name, t)| Some((name.strip_prefix("adam.first.")?, t)));
        let tenfold = |t: &Tensor| values(t).iter().map(|m| m / ((1.0 - 0.9f64) as f32)).collect();
        moments.map(|(name, t)| (name.to_owned(), tenfold(t))).collect()
    }
}

fn values(tensor: &Tensor) -> Vec<f32> {
    tensor.flatten_all().unwrap().to_vec1().unwrap()
}

fn images() -> Images {
    data::load(DatasetName::Sample, None, true).unwrap().train
}

/// The indices of some images, all of them of a digit that `wanted` names.
fn chosen(images: &Images, count: usize, wanted: impl Fn(u8) -> bool) -> Vec<u32> {
    (0..images.len() as u32).filter(|index| wanted(images.labels[*index as usize])).take(count).collect()
}

fn splits() -> [Split; 3] {
    ["0-4|5-9", "1,3,5,7,9|0,2|4,6,8", "0|1|2|3|4|5|6|7|8|9"].map(|text| text.parse().unwrap())
}

fn norm(values: impl Iterator<Item = f32>) -> f64 {
    values.map(|value| f64::from(value).powi(2)).sum::<f64>().sqrt()
}

fn assert_near(got: &BTreeMap<String, Vec<f32>>, expected: &GradStore, parameters: &Parameters, what: &str) {
    for (name, var) in parameters.iter() {
        let got = &got[name];
        let expected = expected.get(var).map_or_else(|| vec![0.0; got.len()], values);
        let distance = norm(got.iter().zip(&expected).map(|(a, b)| a - b));
        let size = norm(expected.iter().copied());
        assert!(distance <= 1e-5 * size, "{what}, {name}: {distance:e} off, of {size:e}");
    }
}

#[test]
fn the_cpu_path_has_autograds_gradients_in_every_setting() {
    let images = images();
    for split in splits() {
        for setting in Setting::ALL {
            let nets = Nets::new(setting, &split);
            let indices = chosen(&images, 101, |_| true);
            let batch = Batch { images: &images, indices: &indices };
            let reference = nets.reference();
            let losses = reference.losses(batch).unwrap();
            let expected = reference.total(&losses).unwrap().backward().unwrap();
            for shards in [1, 3] {
                let what = format!("{setting:?} on {split}, {shards} shards");
                assert_near(&nets.fused_gradients(batch, shards), &expected, &nets.parameters, &what);
            }
        }
    }
}

#[test]
fn both_paths_report_the_same_losses_and_take_the_same_steps() {
    let images = images();
    for setting in
        [Setting::ROUTING, Setting::SEPARATE_DECODERS, Setting::BOTTOM_ON_ALL, Setting::LAST_DIGITS]
    {
        let nets = Nets::new(setting, &Split::default());
        let mut fused = nets.fused(nets.config.train.weight_decay, 2);
        let mut reference = nets.reference();
        for step in 0..3 {
            let indices: Vec<u32> = (0..60).map(|i| step * 60 + i).collect();
            let batch = Batch { images: &images, indices: &indices };
            let reports = (fused.gradient(batch), reference.gradient(batch).unwrap());
            fused.step(1e-3);
            reference.step(1e-3).unwrap();
            let flat = |report: &mnist_routed::StepReport| {
                let losses = &report.losses;
                let mut all = vec![losses.reconstruction, losses.l1, losses.correlation, report.grad_norm];
                all.extend(&losses.certificates);
                all
            };
            for (a, b) in flat(&reports.0).into_iter().zip(flat(&reports.1)) {
                assert!((a - b).abs() <= 2e-4 * b.abs(), "{setting:?}, step {step}: {reports:?}");
            }
        }
        let batch = Batch { images: &images, indices: &[0, 5, 9, 100] };
        let (a, b) = (fused.reconstruct(batch), reference.reconstruct(batch).unwrap());
        for (a, b) in
            std::iter::once((&a.decoder, &b.decoder)).chain(a.certificates.iter().zip(&b.certificates))
        {
            let distance = norm(a.iter().zip(b).map(|(a, b)| a - b));
            assert!(distance <= 1e-2 * norm(b.iter().copied()), "{setting:?}: {distance}");
        }
    }
}

#[test]
fn a_state_goes_from_one_path_to_the_other() {
    let images = images();
    let nets = Nets::new(Setting::SEPARATE_DECODERS, &Split::default());
    let indices = chosen(&images, 50, |_| true);
    let batch = Batch { images: &images, indices: &indices };
    let mut fused = nets.fused(5e-5, 2);
    fused.gradient(batch);
    fused.step(1e-3);
    let state = fused.state().unwrap();
    let mut reference = nets.reference();
    reference.load(&state, "there").unwrap();
    let back = reference.state().unwrap();
    assert_eq!(back.keys().collect::<Vec<_>>(), state.keys().collect::<Vec<_>>());
    let mut again = nets.fused(5e-5, 2);
    again.load(&back, "there").unwrap();
    assert_eq!(fused.gradient(batch), again.gradient(batch));
    let mut cut = state.clone();
    cut.remove("adam.second.encoder.0.weight");
    let error = again.load(&cut, "there").unwrap_err().to_string();
    assert!(error.contains("there lacks the parameters adam.second.encoder.0.weight"), "{error}");
}

#[test]
fn a_state_of_another_shape_or_type_is_refused_on_both_paths() {
    let nets = Nets::new(Setting::ROUTING, &Split::default());
    let state = nets.fused(0.0, 1).state().unwrap();
    for (name, shape, dtype, words) in [
        ("encoder.0.bias", vec![0], DType::F32, "there has encoder.0.bias in shape [0], the model needs ["),
        ("encoder.0.bias", vec![24], DType::F64, "there has encoder.0.bias of type F64, the model needs F32"),
        ("adam.first.encoder.0.bias", vec![24], DType::U8, "first.encoder.0.bias of type U8"),
        ("adam.steps.encoder.0.weight", vec![0], DType::I64, "steps.encoder.0.weight in shape [0]"),
        ("adam.steps.encoder.0.weight", vec![1], DType::U32, "steps.encoder.0.weight of type U32"),
    ] {
        let mut other = state.clone();
        assert!(other.insert(name.to_owned(), Tensor::zeros(shape, dtype, &Device::Cpu).unwrap()).is_some());
        let fused = nets.fused(0.0, 1).load(&other, "there").unwrap_err().to_string();
        let reference = nets.reference().load(&other, "there").unwrap_err().to_string();
        for error in [fused, reference] {
            assert!(error.contains(words), "{error} without {words}");
        }
    }
}

/// The encoder's last weight: its rows are the columns of the encoding.
const LAST: &str = "encoder.2.weight";

/// Forty images of a class.
fn of_class(images: &Images, nets: &Nets, class: usize) -> Vec<u32> {
    chosen(images, 40, |digit| nets.objective.split.part_of(digit) == class)
}

/// The names of a network's parameters.
fn names_of<'a>(parameters: &'a Parameters, network: &str) -> Vec<&'a str> {
    let group = Group::of_parameters(network, [network]);
    parameters.keys().map(String::as_str).filter(|name| group.owns(name)).collect()
}

/// Every network but the certificates: what the reconstruction may train.
fn autoencoder(name: &str) -> bool {
    !name.starts_with("certificate")
}

#[test]
fn each_reconstruction_trains_what_the_table_of_its_setting_says() {
    let images = images();
    for split in &splits()[..2] {
        for setting in Setting::ALL {
            let what = format!("{} on {split}", setting.name());
            let nets = Nets::new(setting, split);
            let (table, reference) = (&nets.objective.routes, nets.reference());
            let mut trained: gradient_routing::Parameters = (*nets.parameters).clone();
            let certificates: gradient_routing::Parameters =
                trained.extract_if(.., |name, _| !autoencoder(name)).collect();
            let loss = |class: usize| {
                let indices = of_class(&images, &nets, class);
                let losses = reference.losses(Batch { images: &images, indices: &indices }).unwrap();
                assert_eq!(losses.reconstruction.is_some(), table.loss_weight(class) > 0.0, "{what}");
                let left_out = Tensor::zeros((), DType::F32, &Device::Cpu);
                losses.reconstruction.unwrap_or_else(|| left_out.unwrap())
            };
            assert_table_flow(table, &trained, |class| Ok(loss(class)))
                .unwrap_or_else(|e| panic!("{what}: {e}"));
            for class in 0..split.parts() {
                let loss = loss(class);
                assert_grad_flow(&loss, &certificates, &[]).unwrap();
                if let Some(gradient) = loss.backward().unwrap().get(&trained[LAST]) {
                    assert_channel_flow(table, class, gradient, 0).unwrap_or_else(|e| panic!("{what}: {e}"));
                }
            }
        }
    }
}

#[test]
fn penalties_train_the_encoder_and_each_certificate_itself() {
    let images = images();
    for setting in Setting::ALL {
        let nets = Nets::new(setting, &Split::default());
        let vars = &nets.parameters;
        let encoder = names_of(vars, "encoder");
        for class in 0..2 {
            let what = format!("{}, class {class}", setting.name());
            let indices = of_class(&images, &nets, class);
            let losses = nets.reference().losses(Batch { images: &images, indices: &indices }).unwrap();
            for (q, l1) in losses.l1.iter().enumerate() {
                assert_grad_flow(l1, vars, &encoder).unwrap();
                let rows = l1.backward().unwrap().get(&vars[LAST]).unwrap().to_vec2::<f32>().unwrap();
                let rows = rows.iter().enumerate().filter(|(_, row)| row.iter().any(|value| *value != 0.0));
                let columns: Vec<usize> = nets.objective.columns(q).collect();
                assert_eq!(rows.map(|(row, _)| row).collect::<Vec<_>>(), columns, "{what}");
            }
            assert_grad_flow(&losses.correlation, vars, &encoder).unwrap();
            for (loss, name) in losses.certificates.iter().zip(["certificate_top", "certificate_bottom"]) {
                assert_grad_flow(loss, vars, &names_of(vars, name)).unwrap_or_else(|e| panic!("{what}: {e}"));
            }
        }
    }
}

/// On the CPU path all losses have one gradient: where a penalty trains the encoder, only the decoders show the
/// routes.
#[test]
fn the_cpu_path_trains_what_the_table_of_its_setting_says() {
    let images = images();
    for setting in Setting::ALL {
        let nets = Nets::new(setting, &Split::default());
        let (table, penalty) = (&nets.objective.routes, nets.objective.has_penalty());
        for class in 0..2 {
            let what = format!("{}, class {class}", setting.name());
            let indices = of_class(&images, &nets, class);
            let gradients = nets.fused_gradients(Batch { images: &images, indices: &indices }, 2);
            let (trained, others): (Vec<_>, Vec<_>) = gradients
                .iter()
                .map(|(name, gradient)| (name.clone(), Flow::of_elements(gradient)))
                .partition(|(name, _)| autoencoder(name) && !(penalty && name.starts_with("encoder")));
            assert_class_flow(table, class, &GradFlow::from_iter(trained))
                .unwrap_or_else(|e| panic!("{what}: {e}"));
            assert!(others.iter().all(|(_, flow)| *flow == Flow::Nonzero), "{what}: {others:?}");
            if !penalty {
                let last = Tensor::new(gradients[LAST].as_slice(), &Device::Cpu).unwrap();
                let last = last.reshape((table.channels(), ())).unwrap();
                assert_channel_flow(table, class, &last, 0).unwrap_or_else(|e| panic!("{what}: {e}"));
            }
        }
    }
}
