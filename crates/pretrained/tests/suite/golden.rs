use std::path::PathBuf;

use experiment::SeedStreams;
use pretrained::{Choice, Pretrained, continued};
use transformer::{Batch, Hooks};

/// The folder with what `models.py` has made.
pub(crate) fn golden(name: &str) -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "tests/golden", name].iter().collect()
}

pub(crate) const FAMILIES: [&str; 5] = ["llama", "qwen2", "gpt2", "gpt_neox", "gpt_neo"];

#[test]
fn logits_of_every_family_are_those_of_the_library_that_made_it() {
    let file = std::fs::read_to_string(golden("logits.json")).unwrap();
    let file: serde_json::Value = serde_json::from_str(&file).unwrap();
    let tokens: Vec<u32> = serde_json::from_value(file["tokens"].clone()).unwrap();
    for family in FAMILIES {
        for dtype in ["f32", "bf16"] {
            let name = format!("{family}-{dtype}");
            let expected: Vec<Vec<f32>> = serde_json::from_value(file["logits"][&name].clone()).unwrap();
            let model = Pretrained::open(&golden(&name)).unwrap();
            let got =
                model.decoder.logits(&tokens, 1, &Hooks::default(), None).unwrap().to_vec2::<f32>().unwrap();
            assert_eq!((got.len(), got[0].len()), (expected.len(), expected[0].len()));
            for (got, expected) in got.iter().flatten().zip(expected.iter().flatten()) {
                assert!((got - expected).abs() < 1e-4, "{name}: {got} against {expected}");
            }
        }
    }
}

#[test]
fn every_parameter_of_every_family_gets_a_gradient_once_it_is_thawed() {
    for family in FAMILIES {
        let model = Pretrained::open(&golden(&format!("{family}-f32"))).unwrap();
        let (thawed, parameters) = model.decoder.thawed().unwrap();
        let batch = Batch::new([[3u32, 1, 4, 1, 5].as_slice(), &[2, 6, 5, 3, 5]], 4, 0);
        let gradients = thawed.loss(&batch, &Hooks::default(), None).unwrap().backward().unwrap();
        for (name, var) in parameters.iter() {
            let gradient = gradients.get(var).unwrap_or_else(|| panic!("{family}: no gradient for {name}"));
            let size = gradient.abs().unwrap().sum_all().unwrap().to_scalar::<f32>().unwrap();
            // the bias of keys moves all scores of a query alike, unless it is turned by its position
            let none = name.ends_with(".k.b") && !matches!(family, "qwen2" | "gpt_neox");
            assert!(if none { size < 1e-5 } else { size > 1e-6 }, "{family}: {size} for {name}");
        }
    }
}

#[test]
fn a_text_continued_with_a_cache_is_the_one_without() {
    for family in FAMILIES {
        let model = Pretrained::open(&golden(&format!("{family}-f32"))).unwrap();
        let mut rng = SeedStreams::new(0).stream("generate");
        let cached = continued(&model.decoder, &[3, 1, 4], 12, &[], Choice::Greedy, None, &mut rng).unwrap();
        let mut text = vec![3, 1, 4];
        for _ in 0..12 {
            let rows =
                model.decoder.logits(&text, 1, &Hooks::default(), None).unwrap().to_vec2::<f32>().unwrap();
            let last = rows.last().unwrap();
            let best = (0..last.len()).max_by(|a, b| last[*a].total_cmp(&last[*b])).unwrap();
            text.push(best as u32);
        }
        assert_eq!(cached, text[3..], "{family}");
    }
}
