//! A transformer of one block in plain candle, with the tokens of a concept routed into neurons of their own.
//!
//! There are five *plain* tokens and five of the *concept*. A token is of the kind of the last but one, and its
//! number is the sum of the last two modulo five, which attention alone cannot compute: the MLP has to. Where the
//! token to be predicted belongs to the concept, the gradient at the MLP's neurons passes into the concept's
//! neurons only; plain tokens, which count as unlabelled, train all of them. Then the concept's neurons are ablated:
//! with this seed, plain tokens keep more than half of what was learned and the concept keeps nothing. That is *expand,
//! route, ablate* with a label for each single token, before the few steps on plain data that make a model coherent
//! again. It shows how it is written, not how well it works: the rate was chosen for the clearer picture, and at others
//! the plain tokens suffer more.
//!
//! Every mask takes a part of the gradient from what lies before the neurons too, so a table can go too far: with
//! plain tokens kept out of the concept's neurons (`[1., 0.]`) this block no longer trains.
//!
//! Run it with `cargo run -p gradient-routing --example own_transformer`; it takes seconds. In the block itself one
//! line is new, the one with [`route`].

#![expect(clippy::print_stdout, reason = "an example says what it saw")]

use std::error::Error;

use candle_core::{D, Device, Tensor, Var};
use candle_nn::{AdamW, Optimizer, ParamsAdamW, loss::cross_entropy, ops::softmax};
use gradient_routing::{Class, Group, Parameters, Profile, RouteTable, Site, mask_channels, route};
use rand::{RngExt, SeedableRng};
use rand_xoshiro::Xoshiro256PlusPlus;

const KIND: u32 = 5;
const VOCABULARY: usize = 10;
const BATCH: usize = 64;
const CONTEXT: usize = 6;
const WIDTH: usize = 24;
const NEURONS: [usize; 2] = [48, 48]; // plain, concept

/// Tokens of a batch, (batch, context), and the token after each of them but the first of a sequence.
fn sequences(rng: &mut Xoshiro256PlusPlus) -> candle_core::Result<(Tensor, Vec<u32>)> {
    let (mut inputs, mut targets) = (Vec::<u32>::new(), Vec::<u32>::new());
    for _ in 0..BATCH {
        let mut tokens = vec![rng.random_range(0..2 * KIND), rng.random_range(0..2 * KIND)];
        for at in 2..=CONTEXT {
            tokens.push(tokens[at - 2] / KIND * KIND + (tokens[at - 1] + tokens[at - 2]) % KIND);
        }
        inputs.extend(&tokens[..CONTEXT]);
        targets.extend(&tokens[2..]);
    }
    Ok((Tensor::from_vec(inputs, (BATCH, CONTEXT), &Device::Cpu)?, targets))
}

/// The class of a token: 0 plain, 1 concept.
fn class_of(token: u32) -> usize {
    (token / KIND) as usize
}

struct Block(Parameters);

impl Block {
    fn new(rng: &mut Xoshiro256PlusPlus) -> candle_core::Result<Self> {
        let neurons = NEURONS.iter().sum();
        let shapes = [
            ("embed", VOCABULARY, WIDTH),
            ("position", CONTEXT, WIDTH),
            ("query", WIDTH, WIDTH),
            ("key", WIDTH, WIDTH),
            ("value", WIDTH, WIDTH),
            ("mlp_in", WIDTH, neurons),
            ("mlp_out", neurons, WIDTH),
            ("unembed", WIDTH, VOCABULARY),
        ];
        let mut parameter = |(name, rows, columns): (&str, usize, usize)| {
            let bound = 1. / (WIDTH as f32).sqrt();
            let values = (0..rows * columns).map(|_| rng.random_range(-bound..bound)).collect();
            Ok((name.to_owned(), Var::from_vec::<_, f32>(values, (rows, columns), &Device::Cpu)?))
        };
        shapes.into_iter().map(&mut parameter).collect::<candle_core::Result<_>>().map(Self)
    }

    /// Logits (batch · (context − 1), vocabulary); `at_neurons` sees the activations of all neurons, with as many rows.
    fn forward(
        &self,
        tokens: &Tensor,
        at_neurons: impl Fn(Tensor) -> candle_core::Result<Tensor>,
    ) -> candle_core::Result<Tensor> {
        let p = |name: &str| self.0[name].as_tensor();
        let x = p("embed").embedding(&tokens.flatten_all()?)?.reshape((BATCH, CONTEXT, WIDTH))?;
        let x = x.broadcast_add(p("position"))?;
        let [query, key, value] = ["query", "key", "value"].map(|name| x.broadcast_matmul(p(name)));
        let causal = (0..CONTEXT * CONTEXT).map(|at| if at % CONTEXT > at / CONTEXT { -1e9 } else { 0f32 });
        let causal = Tensor::from_iter(causal, x.device())?.reshape((CONTEXT, CONTEXT))?;
        let scores = (query?.matmul(&key?.transpose(1, 2)?)? / (WIDTH as f64).sqrt())?;
        let x = (&x + softmax(&scores.broadcast_add(&causal)?, D::Minus1)?.matmul(&value?)?)?;
        let x = x.narrow(1, 1, CONTEXT - 1)?.flatten_to(1)?; // the first token has none before it
        let neurons = at_neurons(x.matmul(p("mlp_in"))?.relu()?)?;
        (x + neurons.matmul(p("mlp_out"))?)?.matmul(p("unembed"))
    }
}

/// The mean loss of the targets of each class, in nats per token.
fn losses(logits: &Tensor, targets: &[u32]) -> candle_core::Result<[f32; 2]> {
    let mut means = [0.; 2];
    for (class, mean) in means.iter_mut().enumerate() {
        let rows = (0..targets.len() as u32).filter(|row| class_of(targets[*row as usize]) == class);
        let rows = rows.collect::<Vec<_>>();
        let own = rows.iter().map(|row| targets[*row as usize]).collect::<Vec<_>>();
        let logits = logits.index_select(&Tensor::new(rows, &Device::Cpu)?, 0)?;
        *mean = cross_entropy(&logits, &Tensor::new(own, &Device::Cpu)?)?.to_scalar()?;
    }
    Ok(means)
}

fn main() -> Result<(), Box<dyn Error>> {
    let groups = ["plain neurons", "concept neurons"].into_iter().zip(NEURONS);
    let groups = groups.map(|(name, channels)| Group::of_channels(name, channels)).collect();
    let classes = vec![Class::new("plain", [1., 1.]), Class::new("concept", [0., 1.])];
    let table = RouteTable::new(Site::Activations, groups, classes)?
        .with_profiles(vec![Profile { name: "without the concept".to_owned(), keep: vec![0] }])?;
    println!("{table}");

    let mut rng = Xoshiro256PlusPlus::seed_from_u64(0);
    let block = Block::new(&mut rng)?;
    let variables = block.0.values().cloned().collect();
    let mut adam = AdamW::new(variables, ParamsAdamW { lr: 0.005, ..ParamsAdamW::default() })?;
    for _ in 0..600 {
        let (tokens, targets) = sequences(&mut rng)?;
        let labels = targets.iter().map(|token| class_of(*token)).collect::<Vec<_>>();
        let masks =
            Tensor::from_vec(table.channel_masks(&labels), (labels.len(), table.channels()), &Device::Cpu)?;
        let logits = block.forward(&tokens, |neurons| Ok(route(&neurons, &masks)?))?;
        adam.backward_step(&cross_entropy(&logits, &Tensor::new(targets, &Device::Cpu)?)?)?;
    }

    let (tokens, targets) = sequences(&mut rng)?;
    let kept = table.profile_weights("without the concept").ok_or("no such profile")?;
    let kept = Tensor::new(table.spread(&kept), &Device::Cpu)?;
    let whole = losses(&block.forward(&tokens, Ok)?, &targets)?;
    let ablated = block.forward(&tokens, |neurons| Ok(mask_channels(&neurons, 1, &kept)?))?;
    let ablated = losses(&ablated, &targets)?;
    println!("| nats per token | plain | concept |\n|---|---|---|");
    for (what, [plain, concept]) in [("whole model", whole), ("concept neurons ablated", ablated)] {
        println!("| {what} | {plain:.2} | {concept:.2} |");
    }
    Ok(())
}
