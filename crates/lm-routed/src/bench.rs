//! The verb `bench`: the speed of exactly the training step that `era` runs, on random tokens.

use anyhow::{Context as _, Result};
use candle_core::Device;
use experiment::driver::{BenchArgs, BenchFields, BenchPlan};
use experiment::{DeviceArg, SeedStreams};
use learning::Adam;
use learning::kernels::peak_gflops;
use rand::RngExt;
use serde_json::{Value, json};
use transformer::{Architecture, Batch, Hooks, Model, Norm, Position, initial};

use crate::config::{ConceptSection, Config, TrainSection};
use crate::methods;
use crate::routing::StepLabels;
use crate::train::{LabelledSteps, optimiser, optimiser_of_parts};

/// What is timed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Shape {
    /// TinyStories-28M: 8 layers of width 512 with 16 heads, 50,257 tokens (52.0M parameters), 8 × 256 tokens a step.
    Tinystories,
    /// The model and the batch of the config.
    Config,
}

/// What a timed step does beside the plain one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Method {
    /// Nothing.
    Baseline,
    /// As GRAM with the concepts of the config, or with four: every second step on documents of one concept, in turn, and
    /// the others on general ones, with the probabilities of `[gram]`.
    Gram,
}

/// The concepts of a config without any.
const CONCEPTS: usize = 4;

/// Steps before the first timed one.
const WARM_UP: u64 = 2;

/// A feed-forward layer's product on a thread, with which a step is compared: rows, inputs, outputs.
const HIDDEN_PRODUCT: [usize; 3] = [1024, 512, 2048];

impl Shape {
    /// What the line says of it.
    fn work(self, method: Method) -> &'static str {
        match (self, method) {
            (Self::Tinystories, Method::Baseline) => "training step of TinyStories-28M",
            (Self::Config, Method::Baseline) => "training step of the config's model",
            (Self::Tinystories, Method::Gram) => "training step of GRAM on TinyStories-28M",
            (Self::Config, Method::Gram) => "training step of GRAM on the config's model",
        }
    }

    /// The network, the tokens of a sequence and the sequences of a step.
    fn sizes(self, config: &Config) -> (Architecture, usize, usize) {
        match self {
            Self::Tinystories => {
                let architecture = Architecture {
                    n_layer: 8,
                    n_head: 16,
                    n_embd: 512,
                    mlp_widths: vec![2048; 8],
                    block_size: 2048,
                    vocab_size: 50_257,
                    position: Position::Learned,
                    norm: Norm::LayerNorm,
                    tied: true,
                    ..Architecture::default()
                };
                (architecture, 256, 8)
            }
            Self::Config => {
                let architecture = config.architecture(config.data.vocab_size);
                (architecture, config.model.block_size, config.train.batch_size)
            }
        }
    }
}

/// Times `times.repetitions` training steps (forward, backward, clipping, `AdamW`) after `WARM_UP` of them and returns one
/// line of JSON: the median, the smallest and the largest number of tokens a second, and the speed of a large matrix
/// product on the same threads as the ceiling to compare with. A method whose steps differ is timed over a round of them.
///
/// # Errors
/// Fails where training does.
pub fn bench(
    config: &Config,
    (shape, method): (Shape, Method),
    threads: usize,
    device_name: DeviceArg,
    device: &Device,
    times: BenchArgs,
) -> Result<String> {
    let (architecture, tokens, sequences) = shape.sizes(config);
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build()?;
    let streams = SeedStreams::new(0);
    let mut rng = streams.stream("bench");
    let documents: Vec<Vec<u32>> = (0..sequences)
        .map(|_| (0..=tokens).map(|_| rng.random_range(0..architecture.vocab_size) as u32).collect())
        .collect();
    let batch = Batch::new(documents.iter().map(Vec::as_slice), tokens, 0);
    pool.install(|| {
        let mut steps = Steps::new(config, method, &architecture, (tokens, threads), device)?;
        let count = steps.model.parameters().num_elements();
        let plan = BenchPlan { warm_up: WARM_UP, times, updates: Some(steps.round), seconds: 0.0 };
        let timed = plan.time(|| {
            let (loss, norm) = steps.step(&batch, &config.train)?;
            // reading both waits for a GPU
            anyhow::ensure!(loss.is_finite() && norm.is_finite(), "the loss is not a number");
            Ok((sequences * tokens) as u64)
        })?;
        let Some(rates) = timed else { return Ok(times.untimed_line(shape.work(method))) };
        let others = [
            ("parameters", json!(count)),
            ("tokens", json!(sequences * tokens)),
            ("gemm_gflops", json!(peak_gflops(threads, HIDDEN_PRODUCT).round())),
        ];
        let others =
            others.into_iter().map(|(name, value): (&str, Value)| (name.to_owned(), value)).collect();
        let fields = BenchFields { work: shape.work(method), device: device_name, threads, others };
        Ok(rates.line(["tokens_per_second", "tokens_per_second_min", "tokens_per_second_max"], fields))
    })
}

/// A model in training, and which steps it makes.
struct Steps {
    model: Model,
    adam: Adam,
    /// Of GRAM: its steps, and the classes that each label can take.
    labelled: Option<(LabelledSteps, StepLabels, usize)>,
    /// Steps after which they are alike again.
    round: u64,
    made: u64,
}

impl Steps {
    fn new(
        config: &Config,
        method: Method,
        base: &Architecture,
        (tokens, threads): (usize, usize),
        device: &Device,
    ) -> Result<Self> {
        let init = |architecture: &Architecture| {
            initial(architecture, &mut SeedStreams::new(0).stream("init"), device)
        };
        let backend = config.train.backend;
        if method == Method::Baseline {
            let parameters = init(base)?;
            let adam = optimiser(&parameters, &config.train)?;
            let model = Model::new(base, parameters, tokens, threads, backend)?;
            return Ok(Self { model, adam, labelled: None, round: 1, made: 0 });
        }
        let mut config = config.clone();
        (config.model.n_layer, config.model.d_mlp) = (base.n_layer, base.mlp_widths[0]);
        if config.concept.is_empty() {
            let concept = |i: usize| ConceptSection::of_words(&format!("concept{i}"), vec![i.to_string()]);
            config.concept = (0..CONCEPTS).map(concept).collect();
        }
        let concepts = config.concept.len();
        let gram = methods::Method::named("gram").context("there is a method gram")?;
        let routes = (gram.routes)(&config)?;
        let wide = base.expanded(&routes.layers, routes.added);
        let parameters = init(&wide)?;
        let steps = LabelledSteps::new(&routes, &wide, threads, backend)?;
        let adam = optimiser_of_parts(&parameters, &config.train, steps.partitions())?;
        let labels = StepLabels { of: Vec::new(), choices: methods::choices(&config) };
        let model = Model::new(&wide, parameters, tokens, threads, backend)?;
        let round = 2 * concepts as u64;
        Ok(Self { model, adam, labelled: Some((steps, labels, concepts)), round, made: 0 })
    }

    /// A step, and its loss and the norm of its gradient.
    fn step(&mut self, batch: &Batch, train: &TrainSection) -> Result<(f64, f64)> {
        let (rate, clip) = (train.learning_rate, train.grad_clip);
        let Some((steps, labels, concepts)) = &mut self.labelled else {
            let loss = self.model.gradient(batch, &Hooks::default())?.loss;
            return Ok((loss, self.model.step(&mut self.adam, rate, clip)?));
        };
        let label = if self.made.is_multiple_of(2) { 0 } else { 1 << (self.made / 2 % *concepts as u64) };
        let class = labels.class_of(label, self.made, SeedStreams::new(0));
        self.made += 1;
        let (loss, mask) = steps.gradient(&mut self.model, batch, class)?;
        let norm = self.model.step_parts(&mut self.adam, rate, clip, mask.trained, mask.semantics)?;
        Ok((loss.loss, norm))
    }
}
