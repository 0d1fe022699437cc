//! The gradients: the CPU path's against autograd's, and where each loss trains the networks.
#![expect(clippy::unwrap_used, reason = "helpers of tests may panic, as tests do")]

use std::collections::BTreeMap;

use candle_core::backprop::GradStore;
use candle_core::{DType, Device, Tensor};
use experiment::SeedStreams;
use gradient_routing::assert_grad_flow;
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
        let objective = Objective::new(&config);
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
    for setting in [Setting::Routing, Setting::SeparateDecoders, Setting::BottomOnAll, Setting::LastDigits] {
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
    let nets = Nets::new(Setting::SeparateDecoders, &Split::default());
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
    let nets = Nets::new(Setting::Routing, &Split::default());
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

/// The rows of the encoder's last weight, one for each number of the encoding, that have a gradient.
fn trained_columns(gradient: &[f32], latent: usize) -> Vec<usize> {
    let width = gradient.len() / latent;
    let rows = gradient.chunks_exact(width).enumerate();
    rows.filter(|(_, row)| row.iter().any(|value| *value != 0.0)).map(|(row, _)| row).collect()
}

#[test]
fn each_loss_of_each_class_trains_exactly_what_it_should() {
    const LAST: &str = "encoder.2.weight";
    let images = images();
    for setting in Setting::ALL {
        let nets = Nets::new(setting, &Split::default());
        let (objective, recipe) = (&nets.objective, setting.recipe());
        let vars = &nets.parameters;
        let of = |network: &str| -> Vec<&str> {
            let prefix = format!("{network}.");
            vars.keys().map(String::as_str).filter(|name| name.starts_with(&prefix)).collect()
        };
        let part = |p: usize| objective.columns[p]..objective.columns[p + 1];
        for class in 0..2 {
            let what = format!("{setting:?}, class {class}");
            let indices = chosen(&images, 40, |digit| objective.split.part_of(digit) == class);
            let batch = Batch { images: &images, indices: &indices };
            let reference = nets.reference();
            let losses = reference.losses(batch).unwrap();

            // the reconstruction: the encoder up to the class's own columns, and its decoder
            let reconstructed = class == 1 || !recipe.last_only;
            assert_eq!(losses.reconstruction.is_some(), reconstructed, "{what}");
            let own: Vec<usize> = match (recipe.routing, recipe.open_last && class == 0) {
                (true, false) => part(class).collect(),
                _ => (0..objective.latent()).collect(),
            };
            if let Some(loss) = &losses.reconstruction {
                let decoder = match (recipe.separate_decoders, class) {
                    (false, _) => "decoder",
                    (true, 0) => "decoder_top",
                    (true, _) => "decoder_bottom",
                };
                let expected = [of("encoder"), of(decoder)].concat();
                assert_grad_flow(loss, vars, &expected).unwrap_or_else(|e| panic!("{what}: {e}"));
                let gradients = loss.backward().unwrap();
                let last = values(gradients.get(&vars[LAST]).unwrap());
                assert_eq!(trained_columns(&last, objective.latent()), own, "{what}");
            }
            // the penalties: the encoder
            for (q, l1) in losses.l1.iter().enumerate() {
                assert_grad_flow(l1, vars, &of("encoder")).unwrap();
                let last = values(l1.backward().unwrap().get(&vars[LAST]).unwrap());
                let columns: Vec<usize> = part(q).collect();
                assert_eq!(trained_columns(&last, objective.latent()), columns, "{what}");
            }
            assert_grad_flow(&losses.correlation, vars, &of("encoder")).unwrap();
            // a certificate: itself alone
            for (loss, name) in losses.certificates.iter().zip(["certificate_top", "certificate_bottom"]) {
                assert_grad_flow(loss, vars, &of(name)).unwrap_or_else(|e| panic!("{what}: {e}"));
            }

            // the CPU path: the same columns, where no penalty trains them all
            let gradients = nets.fused_gradients(batch, 2);
            let columns = trained_columns(&gradients[LAST], objective.latent());
            let all: Vec<usize> = (0..objective.latent()).collect();
            let expected = match (objective.has_penalty(), reconstructed) {
                (true, _) => all,
                (false, true) => own,
                (false, false) => Vec::new(),
            };
            assert_eq!(columns, expected, "{what}");
            for (name, gradient) in &gradients {
                let zero = gradient.iter().all(|value| *value == 0.0);
                let idle_decoder =
                    recipe.separate_decoders && class == 0 && name.starts_with("decoder_bottom")
                        || recipe.separate_decoders && class == 1 && name.starts_with("decoder_top")
                        || !reconstructed && name.starts_with("decoder");
                let idle_encoder = name.starts_with("encoder") && expected.is_empty();
                assert_eq!(zero, idle_decoder || idle_encoder, "{what}: {name}");
            }
        }
    }
}
