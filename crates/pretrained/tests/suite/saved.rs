//! What is written for other programs, read back.
use std::path::Path;

use candle_core::{Device, Tensor};
use experiment::SeedStreams;
use pretrained::{Adapters, Decoder, Gates, Lora, Pretrained, Projection};
use rand::{Rng, RngExt};
use transformer::{Activation, Architecture, Backend, Batch, Hooks, Network, Norm, Position, initial};

use crate::golden::{FAMILIES, golden};

const TOKENS: [u32; 8] = [3, 1, 4, 1, 5, 9, 2, 35];

fn logits(decoder: &Decoder, adapters: Option<&Adapters>) -> Vec<f32> {
    let gates = Gates::new();
    let with = adapters.map(|adapters| (adapters, &gates));
    decoder.logits(&TOKENS, 1, &Hooks::default(), with).unwrap().flatten_all().unwrap().to_vec1().unwrap()
}

fn difference(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}

fn random(rng: &mut impl Rng, dims: &[usize]) -> Tensor {
    let values = (0..dims.iter().product()).map(|_| rng.random::<f32>() - 0.5).collect();
    Tensor::from_vec(values, dims, &Device::Cpu).unwrap()
}

#[test]
fn a_model_of_every_family_is_written_as_it_was_read() {
    for family in FAMILIES {
        let model = Pretrained::open(&golden(&format!("{family}-bf16"))).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("out");
        model.decoder.save(&path, None, &model.ends).unwrap();
        let again = Pretrained::open(&path).unwrap();
        assert_eq!(again.decoder.shape(), model.decoder.shape());
        assert_eq!(again.ends, model.ends);
        assert_eq!(logits(&again.decoder, None), logits(&model.decoder, None), "{family}");
        let error = model.decoder.save(&path, None, &[]).unwrap_err().to_string();
        assert!(error.ends_with("out is there already and holds something"), "{error}");
    }
}

fn house(change: impl FnOnce(&mut Architecture)) -> Network {
    let mut architecture = Architecture {
        n_layer: 2,
        n_head: 2,
        n_embd: 12,
        mlp_widths: vec![20, 31],
        block_size: 16,
        vocab_size: 40,
        position: Position::Learned,
        norm: Norm::LayerNorm,
        tied: true,
        ..Architecture::default()
    };
    change(&mut architecture);
    let mut rng = SeedStreams::new(2).stream("init");
    let parameters = initial(&architecture, &mut rng, &Device::Cpu).unwrap();
    for (_, var) in parameters.iter() {
        let noise = random(&mut rng, var.dims());
        var.set(&(var.as_detached_tensor() + noise).unwrap()).unwrap();
    }
    Network { architecture, parameters }
}

#[test]
fn networks_of_this_house_are_written_as_the_gpt2_that_computes_the_same() {
    for change in [
        |_: &mut Architecture| {},
        |a: &mut Architecture| a.bias = false,
        |a: &mut Architecture| (a.tied, a.norm_eps) = (false, 0.05),
    ] {
        let network = house(change);
        let folder = tempfile::tempdir().unwrap();
        Decoder::of_network(&network).unwrap().save(&folder.path().join("out"), None, &[0]).unwrap();
        let written = Pretrained::open(&folder.path().join("out")).unwrap();
        let mut model = network.model(8, 1, Backend::Auto).unwrap();
        let expected = model.all_logits(&Batch::contexts(&[&TOKENS], 8, 0), &Hooks::default()).unwrap();
        let difference = difference(&logits(&written.decoder, None), &expected);
        assert!(difference < 1e-4 && expected.iter().any(|logit| logit.abs() > 1.0), "{difference}");
    }
    for (network, words) in [
        (house(|a| a.position = Position::Rotary), "the network has rotary positions"),
        (house(|a| a.norm = Norm::RmsNorm), "the network has RMS norms"),
        (house(|a| a.activation = Activation::Silu), "the network has the activation Silu"),
        (house(|a| a.n_kv_head = Some(1)), "the network has 1 key-value heads for 2 heads"),
    ] {
        let error = Decoder::of_network(&network).err().unwrap().to_string();
        assert!(error.starts_with(words) && error.contains("cannot be exported"), "{error}");
    }
}

/// An adapter with matrices that change what the model says.
fn adapter(base: &Decoder, targets: &[Projection], layers: &[usize]) -> Adapters {
    let lora = |name: &str, layers: &[usize]| Lora {
        name: name.to_owned(),
        rank: 2,
        alpha: 3.0,
        targets: targets.to_vec(),
        layers: layers.to_vec(),
    };
    let mut rng = SeedStreams::new(1).stream("adapters");
    let all = vec![lora("one", layers), lora("other", &[0])];
    let adapters = Adapters::new(all, base.shape(), &mut rng).unwrap();
    for (_, var) in adapters.parameters().iter() {
        var.set(&random(&mut rng, var.dims())).unwrap();
    }
    adapters
}

fn bits(adapters: &Adapters, name: &str) -> Vec<(String, Vec<u32>)> {
    let values = adapters.parameters().snapshot().unwrap().into_iter();
    let of = values.filter(|(key, _)| key.starts_with(&format!("{name}.")));
    of.map(|(key, value)| {
        let values = value.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        (key, values.into_iter().map(f32::to_bits).collect())
    })
    .collect()
}

#[test]
fn adapters_of_every_family_come_back_to_the_bit_and_merge_into_the_weights() {
    use Projection::{Down, K, O, Q, Up, V};
    for family in FAMILIES {
        let base = Pretrained::open(&golden(&format!("{family}-f32"))).unwrap().decoder;
        for (targets, layers) in
            [(&[Q, V, Down][..], &[1][..]), (&[Q, K, V, O, Up, Down], &[0, 1]), (&[K], &[0])]
        {
            let adapters = adapter(&base, targets, layers);
            let folder = tempfile::tempdir().unwrap();
            let path = |name: &str| folder.path().join(name);
            for name in ["one", "other"] {
                adapters.save_peft(name, base.shape(), Some("base"), &path(name)).unwrap();
            }
            let (one, other) = (path("one"), path("other"));
            let read: [(&str, &Path); 2] = [("one", &one), ("other", &other)];
            let again = Adapters::read_peft(&read, base.shape()).unwrap();
            let sorted = |lora: &Lora| {
                let mut lora = lora.clone();
                lora.targets.sort();
                lora
            };
            assert_eq!(again.all().to_vec(), adapters.all().iter().map(sorted).collect::<Vec<_>>());
            for name in ["one", "other"] {
                assert_eq!(bits(&again, name), bits(&adapters, name), "{family} {targets:?}");
            }
            // both in the weights, one of them at half its strength
            let halved: Gates =
                [("other".to_owned(), pretrained::Gate::All { forward: 0.5, gradient: 0.0 })].into();
            let expected = base.logits(&TOKENS, 1, &Hooks::default(), Some((&adapters, &halved))).unwrap();
            let expected: Vec<f32> = expected.flatten_all().unwrap().to_vec1().unwrap();
            base.merged(&adapters, &[("one", 1.0), ("other", 0.5)])
                .unwrap()
                .save(&path("merged"), None, &[])
                .unwrap();
            let merged = Pretrained::open(&path("merged")).unwrap();
            let difference = difference(&logits(&merged.decoder, None), &expected);
            assert!(difference < 1e-4, "{family}: {difference}");
            assert!(self::difference(&expected, &logits(&base, None)) > 1e-2, "{family}");
        }
    }
}

#[test]
fn an_adapter_of_somebody_elses_joined_matrix_is_read_and_what_is_none_is_refused() {
    let base = Pretrained::open(&golden("gpt2-f32")).unwrap().decoder;
    let folder = tempfile::tempdir().unwrap();
    let mut rng = SeedStreams::new(4).stream("adapters");
    // one adapter of rank 2 for queries, keys and values together, as PEFT makes it
    let (a, b) = (random(&mut rng, &[2, 16]), random(&mut rng, &[48, 2]));
    let write = |config: serde_json::Value, name: &str| {
        std::fs::write(folder.path().join("adapter_config.json"), config.to_string()).unwrap();
        let path = format!("base_model.model.transformer.h.1.{name}");
        let tensors = std::collections::HashMap::from([
            (format!("{path}.lora_A.weight"), a.clone()),
            (format!("{path}.lora_B.weight"), b.clone()),
        ]);
        candle_core::safetensors::save(&tensors, folder.path().join("adapter_model.safetensors")).unwrap();
        Adapters::read_peft(&[("theirs", folder.path())], base.shape())
    };
    let config = serde_json::json!({"peft_type": "LORA", "r": 2, "lora_alpha": 6, "bias": "none"});
    let adapters = write(config.clone(), "attn.c_attn").unwrap();
    let merged = base.merged(&adapters, &[("theirs", 1.0)]).unwrap();
    let difference = difference(&logits(&merged, None), &logits(&base, Some(&adapters)));
    assert!(difference < 1e-4, "{difference}");
    let key = adapters.parameters().get("theirs.blocks.1.v.B").unwrap().as_detached_tensor();
    let rows = b.narrow(0, 32, 16).unwrap();
    assert_eq!(key.to_vec2::<f32>().unwrap(), rows.to_vec2::<f32>().unwrap());
    let with = |key: &str, value: serde_json::Value| {
        let mut config = config.clone();
        config[key] = value;
        config
    };
    for (config, name, words) in [
        (with("peft_type", "IA3".into()), "attn.c_attn", "its peft_type is \"IA3\""),
        (with("use_dora", true.into()), "attn.c_attn", "it has use_dora"),
        (with("bias", "all".into()), "attn.c_attn", "it has biases or whole modules"),
        (with("r", 3.into()), "attn.c_attn", "has the rank 2, others have 3"),
        (config.clone(), "attn.c_magic", "attn.c_magic is not of this model"),
        (config.clone(), "attn.c_proj", "lora_B.weight has the shape [48, 2]"),
    ] {
        let error = write(config, name).unwrap_err().to_string();
        assert!(error.contains(words) && error.lines().count() == 1, "{error}");
    }
    let lora = Adapters::read_peft(&[("a", folder.path()), ("a", folder.path())], base.shape());
    assert!(lora.is_err());
}
