use std::collections::BTreeMap;

use experiment::SeedStreams;
use learning::{Adam, AdamConfig};
use pretrained::{
    Adapters, AuxMlp, Choice, Decoder, Gate, Gates, Lora, Pretrained, Projection, continued, continued_many,
};
use transformer::{Batch, Hooks};

use crate::golden::golden;

fn base() -> Decoder {
    Pretrained::open(&golden("llama-f32")).unwrap().decoder
}

fn two(base: &Decoder) -> Adapters {
    let lora = |name: &str| Lora {
        name: name.to_owned(),
        rank: 2,
        alpha: 4.0,
        targets: vec![Projection::Q, Projection::V, Projection::Down],
        layers: vec![1],
    };
    let mut rng = SeedStreams::new(1).stream("adapters");
    Adapters::new(vec![lora("behaviour"), lora("rest")], base.shape(), &mut rng).unwrap()
}

fn batch() -> Batch {
    Batch::new([[3u32, 1, 4, 1, 5].as_slice(), &[2, 6, 5, 3, 5]], 4, 0)
}

fn values(adapters: &Adapters) -> BTreeMap<String, Vec<u32>> {
    let bits = |tensor: &candle_core::Tensor| -> Vec<u32> {
        tensor.flatten_all().unwrap().to_vec1::<f32>().unwrap().into_iter().map(f32::to_bits).collect()
    };
    adapters
        .parameters()
        .snapshot()
        .unwrap()
        .iter()
        .map(|(name, value)| (name.clone(), bits(value)))
        .collect()
}

/// The parameters that move in a step, after two that warmed the moments of both adapters.
fn moved(gates: &Gates) -> Vec<String> {
    let base = base();
    moved_of(&base, &two(&base), gates)
}

fn moved_of(base: &Decoder, adapters: &Adapters, gates: &Gates) -> Vec<String> {
    let mut adam = Adam::new(adapters.parameters(), AdamConfig::default()).unwrap();
    let mut step = |gates: &Gates| {
        let loss = base.loss(&batch(), &Hooks::default(), Some((adapters, gates))).unwrap();
        adam.step(&loss.backward().unwrap(), 0.01).unwrap();
    };
    // B is zero at the start, and A gets a gradient only once it is not
    (0..2).for_each(|_| step(&Gates::new()));
    let before = values(adapters);
    step(gates);
    values(adapters)
        .into_iter()
        .filter(|(name, value)| before[name] != *value)
        .map(|(name, _)| name)
        .collect()
}

fn named(names: &[&str]) -> Vec<String> {
    let mut all = Vec::new();
    for name in names {
        for target in ["down", "q", "v"] {
            all.extend(["A", "B"].map(|matrix| format!("{name}.blocks.1.{target}.{matrix}")));
        }
    }
    all
}

fn gates(behaviour: Gate, rest: Gate) -> Gates {
    [("behaviour".to_owned(), behaviour), ("rest".to_owned(), rest)].into()
}

#[test]
fn each_label_moves_exactly_its_adapter_and_leaves_the_other_to_the_bit() {
    let all = |forward, gradient| Gate::All { forward, gradient };
    for (gates, expected) in [
        (gates(all(1.0, 1.0), all(1.0, 0.0)), named(&["behaviour"])),
        (gates(all(1.0, 0.0), all(1.0, 1.0)), named(&["rest"])),
        (gates(all(1.0, 1.0), all(1.0, 1.0)), named(&["behaviour", "rest"])),
        (gates(Gate::Off, all(1.0, 1.0)), named(&["rest"])),
        (gates(all(1.0, 0.0), all(1.0, 0.0)), Vec::new()),
    ] {
        if expected.is_empty() {
            let base = base();
            let adapters = two(&base);
            let loss = base.loss(&batch(), &Hooks::default(), Some((&adapters, &gates))).unwrap();
            let gradients = loss.backward().unwrap();
            assert!(adapters.parameters().iter().all(|(_, var)| gradients.get(var).is_none()));
        } else {
            assert_eq!(moved(&gates), expected, "{gates:?}");
        }
    }
}

/// An auxiliary MLP for the behaviour and low-rank matrices for the rest.
fn mixed(base: &Decoder) -> Adapters {
    let rest =
        Lora { name: "rest".to_owned(), rank: 2, alpha: 4.0, targets: vec![Projection::Q], layers: vec![1] };
    let mlp = AuxMlp { name: "behaviour".to_owned(), neurons: 3, layers: vec![1] };
    let mut rng = SeedStreams::new(1).stream("adapters");
    Adapters::with_mlps(vec![rest], vec![mlp], base.shape(), &mut rng).unwrap()
}

#[test]
fn an_auxiliary_mlp_has_the_gates_of_any_adapter() {
    let all = |forward, gradient| Gate::All { forward, gradient };
    for (model, inner) in [("llama-f32", ["gate", "up"].as_slice()), ("gpt2-f32", &["up"])] {
        let base = Pretrained::open(&golden(model)).unwrap().decoder;
        let mut neurons = vec!["behaviour.blocks.1.mlp.down".to_owned()];
        neurons.extend(inner.iter().map(|name| format!("behaviour.blocks.1.mlp.{name}")));
        let matrices = ["A", "B"].map(|matrix| format!("rest.blocks.1.q.{matrix}"));
        let both = [neurons.clone(), matrices.to_vec()].concat();
        for (gates, expected) in [
            (gates(all(1.0, 1.0), all(1.0, 0.0)), &neurons),
            (gates(all(1.0, 0.0), all(1.0, 1.0)), &matrices.to_vec()),
            (gates(Gate::Off, all(1.0, 1.0)), &matrices.to_vec()),
            (gates(all(1.0, 1.0), all(1.0, -0.5)), &both),
        ] {
            assert_eq!(&moved_of(&base, &mixed(&base), &gates), expected, "{model} {gates:?}");
        }
        // nothing at the start, something once it has learned, nothing where it is off
        let adapters = mixed(&base);
        let logits = |with: Option<(&Adapters, &Gates)>| {
            base.logits(&[3, 1, 4], 1, &Hooks::default(), with).unwrap().to_vec2::<f32>().unwrap()
        };
        let (on, off) = (Gates::new(), gates(Gate::Off, Gate::Off));
        assert_eq!(logits(None), logits(Some((&adapters, &on))), "{model}");
        let down = adapters.parameters().get("behaviour.blocks.1.mlp.down").unwrap();
        down.set(&down.ones_like().unwrap()).unwrap();
        assert_ne!(logits(None), logits(Some((&adapters, &on))), "{model}");
        assert_eq!(logits(None), logits(Some((&adapters, &off))), "{model}");
    }
    let base = base();
    let none = AuxMlp { name: "a".to_owned(), neurons: 0, layers: vec![1] };
    let mut rng = SeedStreams::new(1).stream("adapters");
    let error = Adapters::with_mlps(Vec::new(), vec![none], base.shape(), &mut rng).unwrap_err().to_string();
    assert_eq!(error, "the adapter a has 0 neurons: between 1 and 65536 can be");
}

#[test]
fn a_pass_goes_on_from_the_stream_below_the_adapters_to_the_bit() {
    for model in ["llama-f32", "qwen2-f32", "gpt2-f32", "gpt_neox-f32", "gpt_neo-f32"] {
        let base = Pretrained::open(&golden(model)).unwrap().decoder;
        let adapters = mixed(&base);
        for (_, var) in adapters.parameters().iter() {
            var.set(&(var.ones_like().unwrap() * 0.1).unwrap()).unwrap();
        }
        let (batch, on) = (batch(), Gates::new());
        let with = Some((&adapters, &on));
        let whole = base.loss(&batch, &Hooks::default(), with).unwrap().to_scalar::<f32>().unwrap();
        assert_eq!(adapters.lowest(), Some(1));
        let stream = base.stream(&batch.inputs, batch.sequences(), 1).unwrap();
        let above = base.loss_above(&stream, 1, &batch, with).unwrap().to_scalar::<f32>().unwrap();
        assert_eq!(whole.to_bits(), above.to_bits(), "{model}");
    }
}

#[test]
fn texts_that_are_continued_at_once_are_those_that_are_continued_alone() {
    for model in ["llama-f32", "gpt2-f32"] {
        let base = Pretrained::open(&golden(model)).unwrap().decoder;
        let mut rng = SeedStreams::new(1).stream("generate");
        let (prompt, greedy) = ([3, 1, 4], Choice::Greedy);
        let alone = continued(&base, &prompt, 6, &[], greedy, None, &mut rng).unwrap();
        assert_eq!(alone.len(), 6);
        let many = continued_many(&base, &prompt, (3, 6), &[], greedy, None, &mut rng).unwrap();
        assert_eq!(many, vec![alone.clone(); 3], "{model}");
        // a text ends before a token that ends it
        let place = alone.iter().position(|token| *token == alone[4]).unwrap();
        let many = continued_many(&base, &prompt, (2, 6), &[alone[4]], greedy, None, &mut rng).unwrap();
        assert_eq!(many, vec![alone[..place].to_vec(); 2], "{model}");
    }
}

#[test]
fn gates_by_token_give_each_adapter_the_gradient_of_its_own_examples() {
    let base = base();
    let adapters = two(&base);
    let gradient_of = |gates: &Gates, batch: &Batch| {
        let loss = base.loss(batch, &Hooks::default(), Some((&adapters, gates))).unwrap();
        let gradients = loss.backward().unwrap();
        let var = adapters.parameters().get("behaviour.blocks.1.v.B").unwrap();
        gradients.get(var).unwrap().flatten_all().unwrap().to_vec1::<f32>().unwrap()
    };
    // the first text is the behaviour's
    let mine = [vec![1.0; 4], vec![0.0; 4]].concat();
    let by_token = Gate::Tokens { forward: vec![1.0; 8], gradient: mine };
    let routed = gradient_of(&[("behaviour".to_owned(), by_token)].into(), &batch());
    let mut alone = batch();
    alone.weights[4..].fill(0.0);
    // the mean of half the targets
    let alone: Vec<f32> = gradient_of(&Gates::new(), &alone).into_iter().map(|g| g / 2.0).collect();
    assert!(routed.iter().any(|g| g.abs() > 1e-4));
    for (routed, alone) in routed.iter().zip(&alone) {
        assert!((routed - alone).abs() < 1e-6, "{routed} against {alone}");
    }
    let short = [("behaviour".to_owned(), Gate::Tokens { forward: vec![1.0], gradient: vec![1.0] })].into();
    let error = base.loss(&batch(), &Hooks::default(), Some((&adapters, &short))).unwrap_err().to_string();
    assert_eq!(error, "the gate of behaviour has 1 and 1 weights for 8 tokens");
}

#[test]
fn adapters_change_nothing_at_the_start_and_where_they_are_off() {
    let base = base();
    let adapters = two(&base);
    let logits = |gates: Option<&Gates>| {
        let with = gates.map(|gates| (&adapters, gates));
        base.logits(&[3, 1, 4], 1, &Hooks::default(), with).unwrap().to_vec2::<f32>().unwrap()
    };
    assert_eq!(logits(None), logits(Some(&Gates::new())));
    for (_, var) in adapters.parameters().iter() {
        var.set(&var.ones_like().unwrap()).unwrap();
    }
    assert_ne!(logits(None), logits(Some(&Gates::new())));
    assert_eq!(logits(None), logits(Some(&gates(Gate::Off, Gate::Off))));
}

#[test]
fn adapters_that_cannot_be_are_refused() {
    let base = base();
    let lora =
        Lora { name: "a".to_owned(), rank: 2, alpha: 1.0, targets: vec![Projection::Q], layers: vec![0] };
    let refused = |all: Vec<Lora>| {
        let mut rng = SeedStreams::new(1).stream("adapters");
        Adapters::new(all, base.shape(), &mut rng).unwrap_err().to_string()
    };
    for (other, words) in [
        (lora.clone(), "needs a name of its own"),
        (Lora { name: "b".to_owned(), rank: 99, ..lora.clone() }, "has rank 99: between 1 and 16 can be"),
        (Lora { name: "b".to_owned(), layers: vec![2], ..lora.clone() }, "names block 2 of 2"),
    ] {
        let error = refused(vec![lora.clone(), other]);
        assert!(error.contains(words), "{error}");
    }
}
