//! The verb `bench`: the speed of exactly the training step that `era` runs, on random tokens.

use anyhow::Result;
use candle_core::Device;
use experiment::driver::{BenchFields, BenchPlan, peak_gflops};
use experiment::{DeviceArg, SeedStreams};
use learning::kernels::{Matrix, Write, matmul};
use rand::RngExt;
use serde_json::{Value, json};
use transformer::{Architecture, Batch, Hooks, Model, Norm, Position, initial};

use crate::config::Config;
use crate::train::optimiser;

/// What is timed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Shape {
    /// TinyStories-28M: 8 layers of width 512 with 16 heads, 50,257 tokens (52.0M parameters), 8 × 256 tokens a step.
    Tinystories,
    /// The model and the batch of the config.
    Config,
}

/// Steps before the first timed one.
const WARM_UP: u64 = 2;

impl Shape {
    /// What the line says of it.
    fn work(self) -> &'static str {
        match self {
            Self::Tinystories => "training step of TinyStories-28M",
            Self::Config => "training step of the config's model",
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

/// Times `repetitions` training steps (forward, backward, clipping, `AdamW`) after `WARM_UP` of them and returns one
/// line of JSON: the median, the smallest and the largest number of tokens a second, and the speed of a large matrix
/// product on the same threads as the ceiling to compare with.
///
/// # Errors
/// Fails where training does.
pub fn bench(
    config: &Config,
    shape: Shape,
    threads: usize,
    device_name: DeviceArg,
    device: &Device,
    repetitions: u32,
) -> Result<String> {
    let (architecture, tokens, sequences) = shape.sizes(config);
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build()?;
    let streams = SeedStreams::new(0);
    let mut rng = streams.stream("bench");
    let documents: Vec<Vec<u32>> = (0..sequences)
        .map(|_| (0..=tokens).map(|_| rng.random_range(0..architecture.vocab_size) as u32).collect())
        .collect();
    let batch = Batch::new(documents.iter().map(Vec::as_slice), tokens, 0);
    let parameters = initial(&architecture, &mut streams.stream("init"), device)?;
    let count = parameters.num_elements();
    pool.install(|| {
        let mut adam = optimiser(&parameters, &config.train)?;
        let mut model = Model::new(&architecture, parameters, tokens, threads, config.train.backend)?;
        let plan = BenchPlan { warm_up: WARM_UP, repetitions, updates: Some(1), seconds: 0.0 };
        let rates = plan.time(|| {
            let loss = model.gradient(&batch, &Hooks::default())?;
            let norm = model.step(&mut adam, config.train.learning_rate, config.train.grad_clip)?;
            // reading both waits for a GPU
            anyhow::ensure!(loss.loss.is_finite() && norm.is_finite(), "the loss is not a number");
            Ok((sequences * tokens) as u64)
        })?;
        let others = [
            ("parameters", json!(count)),
            ("tokens", json!(sequences * tokens)),
            ("gemm_gflops", json!(gemm_gflops(threads).round())),
        ];
        let others =
            others.into_iter().map(|(name, value): (&str, Value)| (name.to_owned(), value)).collect();
        let fields = BenchFields { work: shape.work(), device: device_name, threads, others };
        Ok(rates.line(["tokens_per_second", "tokens_per_second_min", "tokens_per_second_max"], fields))
    })
}

/// GFLOP/s of a 1024×512 by 512×2048 product on each of `threads` threads at once.
fn gemm_gflops(threads: usize) -> f64 {
    const SIZES: (usize, usize, usize) = (1024, 512, 2048);
    const TIMES: usize = 10;
    let (m, k, n) = SIZES;
    let values = |len: usize| -> Vec<f32> { (0..len).map(|i| (i % 17) as f32 * 0.1 - 0.8).collect() };
    let (a, b) = (values(m * k), values(k * n));
    peak_gflops(threads, TIMES * 2 * m * k * n, || {
        let mut c = vec![0.0; m * n];
        for _ in 0..TIMES {
            matmul(&mut c, Matrix::new(&a, m, k), Matrix::new(&b, k, n), Write::Set);
        }
        std::hint::black_box(&c);
    })
}
