//! Adapters as folders of PEFT, `adapter_config.json` with `adapter_model.safetensors`.
//!
//! Where a family keeps queries, keys and values in one tensor, the three adapters there become one of three times the
//! rank, whose B has their matrices along its diagonal and zeros elsewhere: it computes the same.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use candle_core::{DType, Device, Tensor};
use learning::Parameters;
use serde_json::{Map, Value, json};

use crate::adapters::key;
use crate::files::Files;
use crate::plan::{self, How};
use crate::save::{write_json, write_tensors};
use crate::shape::{Family, Projection, Shape};
use crate::{Adapters, Error, Lora};

/// The parts of a joined tensor.
const JOINED: [Projection; 3] = [Projection::Q, Projection::K, Projection::V];

impl Adapters {
    /// Writes one adapter as a folder; `base` names the model that it belongs to, for who opens it without one.
    ///
    /// # Errors
    /// Fails where there is no such adapter, something is there already, or a file cannot be written.
    pub fn save_peft(
        &self,
        name: &str,
        shape: &Shape,
        base: Option<&str>,
        folder: &Path,
    ) -> Result<(), Error> {
        let lora = self
            .all()
            .iter()
            .find(|lora| lora.name == name)
            .ok_or_else(|| Error::Adapter(format!("there is no adapter {name}")))?;
        let modules = modules(shape, &lora.targets);
        let mut tensors = BTreeMap::new();
        for layer in &lora.layers {
            for (module, projections) in &modules {
                let [a, b] = self.of_module(lora, *layer, projections, shape)?;
                let path = format!("{PREFIX}{}.{layer}.{module}", plan::blocks(shape.family));
                tensors.insert(format!("{path}{A}"), a);
                tensors.insert(format!("{path}{B}"), b);
            }
        }
        let config = adapter_config(lora, shape, &modules, base);
        experiment::write_folder(folder, |folder| {
            write_tensors(&folder.join("adapter_model.safetensors"), &tensors)?;
            write_json(&folder.join("adapter_config.json"), &config)
        })
    }

    /// A and B of a module of PEFT.
    fn of_module(
        &self,
        lora: &Lora,
        layer: usize,
        projections: &[Projection],
        shape: &Shape,
    ) -> Result<[Tensor; 2], Error> {
        let get = |target, matrix| -> Result<Tensor, Error> {
            Ok(self.parameters().get(&key(&lora.name, layer, target, matrix))?.as_detached_tensor())
        };
        let how = plan::of_family(shape.family, projections[0]).1;
        if !is_joined(how) {
            return Ok([get(projections[0], "A")?, get(projections[0], "B")?]);
        }
        let (mut a, mut b) = (Vec::new(), Vec::new());
        for (part, target) in JOINED.into_iter().enumerate() {
            let (inputs, outputs) = sizes(shape, target)?;
            if projections.contains(&target) {
                a.push(get(target, "A")?);
                let wide = get(target, "B")?.pad_with_zeros(1, part * lora.rank, (2 - part) * lora.rank)?;
                b.push(wide);
            } else {
                a.push(Tensor::zeros((lora.rank, inputs), DType::F32, &Device::Cpu)?);
                b.push(Tensor::zeros((outputs, 3 * lora.rank), DType::F32, &Device::Cpu)?);
            }
        }
        Ok([Tensor::cat(&a, 0)?, joined_rows(&b, how, shape)?])
    }

    /// Reads adapters of a model from folders of PEFT, each by the name that it gets.
    ///
    /// # Errors
    /// Fails where a folder is none, or has what is not read here: other kinds of adapters, whole modules, biases, ranks
    /// that differ, other projections from block to block.
    pub fn read_peft(folders: &[(&str, &Path)], shape: &Shape) -> Result<Self, Error> {
        let (mut adapters, mut parameters) = (Vec::new(), Parameters::default());
        for (name, folder) in folders {
            let (lora, values) = read(name, folder, shape)?;
            adapters.push(lora);
            for (name, value) in values {
                parameters.insert(&name, &value)?;
            }
        }
        Self::of_parts(adapters, parameters)
    }
}

const PREFIX: &str = "base_model.model.";
const A: &str = ".lora_A.weight";
const B: &str = ".lora_B.weight";

fn is_joined(how: How) -> bool {
    matches!(how, How::Third(_) | How::OfHeads(_))
}

fn sizes(shape: &Shape, target: Projection) -> Result<(usize, usize), Error> {
    let lacking = || Error::Adapter(format!("the model has no projection {}", target.name()));
    shape.projection(target).ok_or_else(lacking)
}

/// The modules that projections stand in, and which of them stand in each.
fn modules(shape: &Shape, targets: &[Projection]) -> BTreeMap<&'static str, Vec<Projection>> {
    let mut all: BTreeMap<&'static str, Vec<Projection>> = BTreeMap::new();
    for target in targets {
        all.entry(plan::of_family(shape.family, *target).0).or_default().push(*target);
    }
    all
}

fn adapter_config(
    lora: &Lora,
    shape: &Shape,
    modules: &BTreeMap<&'static str, Vec<Projection>>,
    base: Option<&str>,
) -> Value {
    let number = |value: f64| if value.fract() == 0.0 { json!(value as i64) } else { json!(value) };
    let (mut ranks, mut alphas) = (Map::new(), Map::new());
    for (module, projections) in modules {
        if is_joined(plan::of_family(shape.family, projections[0]).1) {
            ranks.insert((*module).to_owned(), (3 * lora.rank).into());
            alphas.insert((*module).to_owned(), number(3.0 * lora.alpha));
        }
    }
    json!({
        "peft_type": "LORA", "task_type": "CAUSAL_LM", "base_model_name_or_path": base, "r": lora.rank,
        "lora_alpha": number(lora.alpha), "lora_dropout": 0.0, "bias": "none",
        "target_modules": modules.keys().collect::<Vec<_>>(), "layers_to_transform": lora.layers,
        "rank_pattern": ranks, "alpha_pattern": alphas, "fan_in_fan_out": shape.family == Family::Gpt2,
        "modules_to_save": null, "use_rslora": false, "use_dora": false, "inference_mode": true,
    })
}

/// The rows of queries, keys and values as one tensor has them.
fn joined_rows(parts: &[Tensor], how: How, shape: &Shape) -> Result<Tensor, Error> {
    if matches!(how, How::Third(_)) {
        return Ok(Tensor::cat(parts, 0)?);
    }
    Ok(plan::by_heads(parts, shape)?)
}

/// The other way.
fn parted_rows(whole: &Tensor, how: How, shape: &Shape) -> Result<Vec<Tensor>, Error> {
    let rows = whole.dim(0)?;
    let part = |part: usize| -> Result<Tensor, Error> {
        if matches!(how, How::Third(_)) {
            return Ok(whole.narrow(0, part * rows / 3, rows / 3)?.contiguous()?);
        }
        Ok(plan::of_heads(whole, part, shape)?)
    };
    (0..3).map(part).collect()
}

/// What an adapter's config says.
struct Given {
    rank: usize,
    alpha: f64,
    alphas: Map<String, Value>,
}

impl Given {
    fn of(config: &Value) -> Result<Self, String> {
        let kind = config["peft_type"].as_str().unwrap_or("none");
        if kind != "LORA" {
            return Err(format!("its peft_type is {kind:?}, and only \"LORA\" can be read"));
        }
        for key in ["use_dora", "use_rslora"] {
            if config[key].as_bool() == Some(true) {
                return Err(format!("it has {key}, which cannot be read"));
            }
        }
        if config["bias"].as_str().is_some_and(|bias| bias != "none") || !config["modules_to_save"].is_null()
        {
            return Err("it has biases or whole modules, which cannot be read".to_owned());
        }
        let rank = config["r"].as_u64().filter(|rank| (1..=1 << 16).contains(rank)).ok_or("it has no r")?;
        let alpha = config["lora_alpha"].as_f64().ok_or("it has no lora_alpha")?;
        let alphas = config["alpha_pattern"].as_object().cloned().unwrap_or_default();
        Ok(Self { rank: rank as usize, alpha, alphas })
    }

    /// α of a module.
    fn alpha(&self, module: &str) -> f64 {
        let own = self.alphas.iter().find(|(name, _)| module.ends_with(name.as_str()));
        own.and_then(|(_, alpha)| alpha.as_f64()).unwrap_or(self.alpha)
    }
}

/// A and B of an adapter at a projection.
type Matrices = (Projection, Tensor, Tensor);

/// An adapter and its matrices by their names here.
fn read(name: &str, folder: &Path, shape: &Shape) -> Result<(Lora, BTreeMap<String, Tensor>), Error> {
    let (path, file) = (folder.join("adapter_config.json"), folder.join("adapter_model.safetensors"));
    let bytes = experiment::read_at_most(&path, 1 << 20).map_err(|error| Error::file(&path, error))?;
    let config: Value = serde_json::from_slice(&bytes).map_err(|error| Error::file(&path, error))?;
    let given = Given::of(&config).map_err(|fault| Error::file(&path, fault))?;
    let fault = |fault: String| Error::file(&file, fault);
    let mut files = Files::of(vec![file.clone()])?;
    let mut values = BTreeMap::new();
    let mut places = BTreeSet::new();
    let names = files.names();
    if let Some(odd) = names.iter().find(|name| !name.ends_with(A) && !name.ends_with(B)) {
        return Err(fault(format!("its {odd} is no matrix of an adapter")));
    }
    for theirs in names.iter().filter_map(|name| name.strip_suffix(A)) {
        let place =
            place(theirs, shape).ok_or_else(|| fault(format!("its {theirs} is not of this model")))?;
        let (layer, module, projections) = place;
        let (inputs, outputs) = sizes(shape, projections[0])?;
        let how = plan::of_family(shape.family, projections[0]).1;
        let rows = if is_joined(how) { 3 * outputs } else { outputs };
        let rank = files.dims(&format!("{theirs}{A}")).first().copied().unwrap_or(0);
        let a = files.tensor(&format!("{theirs}{A}"), &[rank, inputs])?;
        let b = files.tensor(&format!("{theirs}{B}"), &[rows, rank])?;
        let plain = rank == given.rank && same(given.alpha(module), given.alpha);
        let parts: Vec<Matrices> = if !is_joined(how) {
            vec![(projections[0], a, b)]
        } else if plain {
            let parts = parted_rows(&b, how, shape)?;
            JOINED.into_iter().zip(parts).map(|(target, b)| (target, a.clone(), b)).collect()
        } else {
            let side_by_side = rank == 3 * given.rank && same(given.alpha(module), 3.0 * given.alpha);
            let parts = if side_by_side { diagonal(&a, &b, how, shape, given.rank)? } else { None };
            parts.ok_or_else(|| fault(format!("{theirs} has the rank {rank}, others have {}", given.rank)))?
        };
        if !is_joined(how) && !plain {
            return Err(fault(format!("{theirs} has the rank {rank}, others have {}", given.rank)));
        }
        for (target, a, b) in parts {
            places.insert((layer, target));
            values.insert(key(name, layer, target, "A"), a.contiguous()?.copy()?);
            values.insert(key(name, layer, target, "B"), b.contiguous()?.copy()?);
        }
    }
    let layers: BTreeSet<usize> = places.iter().map(|(layer, _)| *layer).collect();
    let targets: BTreeSet<Projection> = places.iter().map(|(_, target)| *target).collect();
    if layers.len() * targets.len() != places.len() || places.is_empty() {
        return Err(fault("it adapts other projections from block to block, or none".to_owned()));
    }
    let lora = Lora {
        name: name.to_owned(),
        rank: given.rank,
        alpha: given.alpha,
        targets: targets.into_iter().collect(),
        layers: layers.into_iter().collect(),
    };
    Ok((lora, values))
}

fn same(a: f64, b: f64) -> bool {
    (a - b).abs() < 1e-9
}

/// The block, the module and its projections that a name of PEFT says.
fn place<'a>(theirs: &'a str, shape: &Shape) -> Option<(usize, &'a str, Vec<Projection>)> {
    let path = theirs.strip_prefix(PREFIX)?.strip_prefix(plan::blocks(shape.family))?.strip_prefix('.')?;
    let (layer, module) = path.split_once('.')?;
    let layer = layer.parse().ok().filter(|layer| *layer < shape.n_layer)?;
    let targets: Vec<Projection> =
        Projection::ALL.into_iter().filter(|target| shape.projection(*target).is_some()).collect();
    Some((layer, module, modules(shape, &targets).get(module)?.clone()))
}

/// The adapters of queries, keys and values that stand side by side in one, without those that are not there; none
/// where they are mixed.
fn diagonal(
    a: &Tensor,
    b: &Tensor,
    how: How,
    shape: &Shape,
    rank: usize,
) -> Result<Option<Vec<Matrices>>, Error> {
    let zero =
        |tensor: &Tensor| -> Result<bool, Error> { Ok(tensor.abs()?.sum_all()?.to_scalar::<f32>()? == 0.0) };
    let mut parts = Vec::new();
    for (part, (target, b)) in JOINED.into_iter().zip(parted_rows(b, how, shape)?).enumerate() {
        for other in (0..3).filter(|other| *other != part) {
            if !zero(&b.narrow(1, other * rank, rank)?)? {
                return Ok(None);
            }
        }
        let (a, b) = (a.narrow(0, part * rank, rank)?, b.narrow(1, part * rank, rank)?);
        if !(zero(&a)? && zero(&b)?) {
            parts.push((target, a, b));
        }
    }
    Ok(Some(parts))
}
