//! An autoencoder whose two halves are trained by one class of data each, and what each half then knows.
//!
//! Examples of class `left` have something in the pixels 0–4, those of class `right` in the pixels 3–7. The
//! gradient of an example's reconstruction passes into its own half of the encoding only. A *certificate*, a
//! decoder that sees one half and cannot change it, shows what that half knows: its own class, and of the other
//! class the two pixels that both have. Without routing both halves know both classes.
//!
//! Run it with `cargo run -p gradient-routing --example two_halves`; it takes seconds. The steps are those of a
//! method of your own: say the routes in a [`RouteTable`], look up the mask of each example by its class, put the
//! mask on an activation with [`route`], and hold the method to its table with [`assert_channel_flow`].

#![expect(clippy::print_stdout, reason = "an example says what it saw")]

use std::error::Error;

use candle_core::{DType, Device, Tensor, Var};
use candle_nn::{AdamW, Optimizer, ParamsAdamW};
use gradient_routing::{Class, Group, RouteTable, Site, assert_channel_flow, route, stop};
use rand::{RngExt, SeedableRng};
use rand_xoshiro::Xoshiro256PlusPlus;

const PIXELS: usize = 8;
const HALF: usize = 5;
const EXAMPLES: usize = 64;

/// Examples of one class: (examples, pixels).
fn images(class: usize, rng: &mut Xoshiro256PlusPlus) -> candle_core::Result<Tensor> {
    let support = if class == 0 { 0..5 } else { 3..8 };
    let mut pixel =
        |at: usize| if support.contains(&(at % PIXELS)) { rng.random_range(-1f32..1.) } else { 0. };
    let pixels = (0..EXAMPLES * PIXELS).map(&mut pixel).collect::<Vec<_>>();
    Tensor::from_vec(pixels, (EXAMPLES, PIXELS), &Device::Cpu)
}

/// A matrix to start from, uniform on ±1/√inputs.
fn weight(inputs: usize, outputs: usize, rng: &mut Xoshiro256PlusPlus) -> candle_core::Result<Var> {
    let bound = 1. / (inputs as f32).sqrt();
    let values = (0..inputs * outputs).map(|_| rng.random_range(-bound..bound)).collect::<Vec<_>>();
    Var::from_vec(values, (inputs, outputs), &Device::Cpu)
}

/// An encoder, a decoder, and a certificate for each half.
struct Net {
    encoder: Var,
    decoder: Var,
    certificates: [Var; 2],
}

impl Net {
    fn new(rng: &mut Xoshiro256PlusPlus) -> candle_core::Result<Self> {
        Ok(Self {
            // from zero, so that a half has nothing of what it never learned
            encoder: Var::zeros((PIXELS, 2 * HALF), DType::F32, &Device::Cpu)?,
            decoder: weight(2 * HALF, PIXELS, rng)?,
            certificates: [weight(HALF, PIXELS, rng)?, weight(HALF, PIXELS, rng)?],
        })
    }

    /// The error of the decoder, with the encoding routed for one class.
    fn reconstruction(&self, x: &Tensor, table: &RouteTable, class: usize) -> candle_core::Result<Tensor> {
        let mask = Tensor::from_vec(table.channel_masks(&[class]), (1, table.channels()), x.device())?;
        let encoding = route(&x.matmul(&self.encoder)?, &mask)?;
        (encoding.matmul(&self.decoder)? - x)?.sqr()?.mean_all()
    }

    /// The error of a half's certificate, which trains the certificate alone.
    fn certificate(&self, x: &Tensor, half: usize) -> candle_core::Result<Tensor> {
        let known = stop(&x.matmul(&self.encoder)?.narrow(1, half * HALF, HALF)?);
        (known.matmul(&self.certificates[half])? - x)?.sqr()?.mean_all()
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    for (what, own, other) in [("routed", 1., 0.), ("not routed", 1., 1.)] {
        let groups = vec![Group::of_channels("first half", HALF), Group::of_channels("second half", HALF)];
        let classes = vec![Class::new("left", [own, other]), Class::new("right", [other, own])];
        let table = RouteTable::new(Site::Activations, groups, classes)?;

        let mut rng = Xoshiro256PlusPlus::seed_from_u64(0);
        let net = Net::new(&mut rng)?;
        let [first, second] = &net.certificates;
        let variables = [&net.encoder, &net.decoder, first, second].map(Clone::clone);
        let mut adam = AdamW::new(variables.into(), ParamsAdamW { lr: 0.01, ..ParamsAdamW::default() })?;
        for step in 0..600 {
            let mut losses = Vec::new();
            for class in 0..table.classes().len() {
                let x = images(class, &mut rng)?;
                let loss = net.reconstruction(&x, &table, class)?;
                if step == 0 {
                    // the encoder's columns are the channels: exactly those of the table get a gradient
                    let gradients = loss.backward()?;
                    let gradient = gradients.get(&net.encoder).ok_or("the encoder has no gradient")?;
                    assert_channel_flow(&table, class, gradient, 1)?;
                }
                losses.extend([loss, net.certificate(&x, 0)?, net.certificate(&x, 1)?]);
            }
            adam.backward_step(&Tensor::stack(&losses, 0)?.sum_all()?)?;
        }

        println!("{what}. {table}");
        println!("What is left of a class's variance when a certificate has seen a half:\n");
        println!("| class | first half | second half |\n|---|---|---|");
        for (class, row) in table.classes().iter().enumerate() {
            let x = images(class, &mut rng)?;
            let all = x.sqr()?.mean_all()?.to_scalar::<f32>()?;
            let left = [net.certificate(&x, 0)?, net.certificate(&x, 1)?].map(|error| error.to_scalar());
            let [first, second]: [candle_core::Result<f32>; 2] = left;
            let (first, second) = (first? / all, second? / all);
            println!("| {} | {:.0} % | {:.0} % |", row.name, 100. * first, 100. * second);
        }
        println!();
    }
    Ok(())
}
