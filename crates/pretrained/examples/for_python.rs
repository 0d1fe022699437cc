//! What is written for other programs, with the logits that they should give: `for_python OUT` makes the folder OUT, and
//! `python crates/pretrained/tests/golden/opens.py OUT` opens it. `for_python OUT MODEL` does so for a model from disk.
//!
//! ```text
//! OUT/FAMILY/base  OUT/FAMILY/adapter  OUT/FAMILY/merged  OUT/FAMILY/logits.json     the tiny golden models
//! OUT/house/base  OUT/house/logits.json                                                a network of this house, as GPT-2
//! ```

use std::path::Path;

use candle_core::{Device, Tensor};
use experiment::SeedStreams;
use pretrained::{Adapters, Decoder, Error, Gates, Lora, Pretrained, Projection, Shape};
use rand::{Rng, RngExt};
use serde_json::{Value, json};
use transformer::{Architecture, Backend, Batch, Hooks, Network, initial};

const TOKENS: [u32; 8] = [3, 1, 4, 1, 5, 9, 2, 35];
const GOLDEN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden");

fn main() -> Result<(), Error> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let Some((out, models)) = arguments.split_first() else {
        return Err(Error::Adapter("give the folder to write".to_owned()));
    };
    let out = Path::new(out);
    for model in models {
        let model = Pretrained::open(Path::new(model))?;
        write(
            &out.join("model/logits.json"),
            &json!({"tokens": TOKENS, "base": logits(&model.decoder, None)?}),
        )?;
    }
    if models.is_empty() {
        for family in ["llama", "qwen2", "gpt2", "gpt_neox", "gpt_neo"] {
            of_family(family, &out.join(family))?;
        }
        of_house(&out.join("house"))?;
    }
    Ok(())
}

fn of_family(family: &str, out: &Path) -> Result<(), Error> {
    let base = Pretrained::open(&Path::new(GOLDEN).join(format!("{family}-f32")))?.decoder;
    let adapters = adapters(base.shape())?;
    base.save(&out.join("base"), None, &[])?;
    let name = out.join("base").display().to_string();
    adapters.save_peft("behaviour", base.shape(), Some(&name), &out.join("adapter"))?;
    base.merged(&adapters, &[("behaviour", 1.0)])?.save(&out.join("merged"), None, &[])?;
    let (plain, adapted) = (logits(&base, None)?, logits(&base, Some(&adapters))?);
    write(&out.join("logits.json"), &json!({"tokens": TOKENS, "base": plain, "adapted": adapted}))
}

fn of_house(out: &Path) -> Result<(), Error> {
    let architecture = Architecture {
        n_layer: 2,
        n_head: 2,
        n_embd: 12,
        mlp_widths: vec![20, 31],
        block_size: 16,
        vocab_size: 40,
        bias: false,
        ..Architecture::default()
    };
    let mut rng = SeedStreams::new(2).stream("init");
    let parameters = initial(&architecture, &mut rng, &Device::Cpu)?;
    for (_, var) in parameters.iter() {
        var.set(&(var.as_detached_tensor() + noise(&mut rng, var.dims())?)?)?;
    }
    let network = Network { architecture, parameters };
    Decoder::of_network(&network)?.save(&out.join("base"), None, &[0])?;
    let mut model = network.model(TOKENS.len(), 1, Backend::Auto)?;
    let rows = model.all_logits(&Batch::contexts(&[&TOKENS], TOKENS.len(), 0), &Hooks::default())?;
    let rows: Vec<&[f32]> = rows.chunks_exact(40).collect();
    write(&out.join("logits.json"), &json!({"tokens": TOKENS, "base": rows}))
}

fn adapters(shape: &Shape) -> Result<Adapters, Error> {
    use Projection::{Down, K, O, Q, Up, V};
    let mut rng = SeedStreams::new(1).stream("adapters");
    let lora = Lora {
        name: "behaviour".to_owned(),
        rank: 2,
        alpha: 3.0,
        targets: vec![Q, K, V, O, Up, Down],
        layers: vec![0, 1],
    };
    let adapters = Adapters::new(vec![lora], shape, &mut rng)?;
    for (_, var) in adapters.parameters().iter() {
        var.set(&noise(&mut rng, var.dims())?)?;
    }
    Ok(adapters)
}

fn noise(rng: &mut impl Rng, dims: &[usize]) -> Result<Tensor, Error> {
    let values = (0..dims.iter().product()).map(|_| rng.random::<f32>() - 0.5).collect();
    Ok(Tensor::from_vec(values, dims, &Device::Cpu)?)
}

fn logits(decoder: &Decoder, adapters: Option<&Adapters>) -> Result<Vec<Vec<f32>>, Error> {
    let gates = Gates::new();
    let with = adapters.map(|adapters| (adapters, &gates));
    Ok(decoder.logits(&TOKENS, 1, &Hooks::default(), with)?.to_vec2()?)
}

fn write(path: &Path, value: &Value) -> Result<(), Error> {
    if let Some(folder) = path.parent() {
        experiment::create_folder(folder)?;
    }
    Ok(experiment::write_atomic(path, value.to_string().as_bytes())?)
}
