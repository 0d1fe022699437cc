//! A model's variables, in the order of their names.

use std::collections::BTreeMap;
use std::ops::Deref;
use std::path::Path;

use candle_core::{DType, Device, Tensor, Var};

use crate::LearningError;

/// The trainable variables of a model by name.
///
/// candle's own `VarMap` is a hash map: its order, and with it every sum over parameters, differs from run to
/// run. This map is sorted, so that a run repeats byte for byte. A clone shares the variables.
///
/// It reads as the plain map by name that functions on anybody's parameters take, such as those of the crate
/// `gradient-routing`; it grows by [`Parameters::insert`] alone.
#[derive(Clone, Debug, Default)]
pub struct Parameters {
    vars: BTreeMap<String, Var>,
}

impl Parameters {
    /// Adds a variable that starts with the values of `initial`, of any shape.
    ///
    /// # Errors
    /// Fails where candle cannot copy the tensor.
    pub fn insert(&mut self, name: &str, initial: &Tensor) -> Result<(), LearningError> {
        self.vars.insert(name.to_owned(), Var::from_tensor(initial)?);
        Ok(())
    }

    /// The variable called `name`.
    ///
    /// # Errors
    /// Fails, listing the known names, where there is none.
    pub fn get(&self, name: &str) -> Result<&Var, LearningError> {
        self.vars.get(name).ok_or_else(|| LearningError::UnknownParameter {
            name: name.to_owned(),
            known: join(self.vars.keys()),
        })
    }

    /// All variables, sorted by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Var)> {
        self.vars.iter().map(|(name, var)| (name.as_str(), var))
    }

    /// The number of trainable numbers: the sum of all variables' elements.
    pub fn num_elements(&self) -> usize {
        self.vars.values().map(|var| var.elem_count()).sum()
    }

    /// A copy of every value, cut off from the variables: later updates do not change it.
    ///
    /// # Errors
    /// Fails where candle cannot copy a tensor.
    pub fn snapshot(&self) -> Result<BTreeMap<String, Tensor>, LearningError> {
        self.vars.iter().map(|(name, var)| Ok((name.clone(), var.as_tensor().copy()?.detach()))).collect()
    }

    /// Sets every variable to the value of the same name in `values`. Nothing changes unless all names, shapes and
    /// types agree.
    ///
    /// # Errors
    /// Fails where a name is lacking or too many or a shape or type differs; `origin` names the source in the
    /// message.
    pub fn load(&self, values: &BTreeMap<String, Tensor>, origin: &str) -> Result<(), LearningError> {
        let origin = || origin.to_owned();
        let missing: Vec<_> = self.vars.keys().filter(|name| !values.contains_key(*name)).collect();
        if !missing.is_empty() {
            return Err(LearningError::Missing { origin: origin(), names: join(missing) });
        }
        let unexpected: Vec<_> = values.keys().filter(|name| !self.vars.contains_key(*name)).collect();
        if !unexpected.is_empty() {
            return Err(LearningError::Unexpected { origin: origin(), names: join(unexpected) });
        }
        for (name, var) in &self.vars {
            require_shape(&values[name], var.dims(), var.dtype(), name, &origin())?;
        }
        for (name, var) in &self.vars {
            var.set(&values[name].to_device(var.device())?.contiguous()?.copy()?)?;
        }
        Ok(())
    }

    /// Writes all variables to a safetensors file, names in sorted order.
    ///
    /// # Errors
    /// Fails where the file cannot be written.
    pub fn save_safetensors(&self, path: &Path) -> Result<(), LearningError> {
        let tensors = self.vars.iter().map(|(name, var)| (name.as_str(), var.as_tensor().clone()));
        let tensors: std::collections::HashMap<_, _> = tensors.collect();
        candle_core::safetensors::save(&tensors, path)?;
        Ok(())
    }

    /// Sets all variables from a safetensors file that holds exactly this model's names and shapes.
    ///
    /// # Errors
    /// Fails where the file cannot be read or belongs to another architecture.
    pub fn load_safetensors(&self, path: &Path) -> Result<(), LearningError> {
        let values = candle_core::safetensors::load(path, &Device::Cpu)
            .map_err(|e| LearningError::Unreadable { path: path.to_owned(), reason: e.to_string() })?;
        self.load(&values.into_iter().collect(), &path.display().to_string())
    }

    /// The gradient-free values of all variables, copied to the CPU as `f32` in the order of the names.
    ///
    /// # Errors
    /// Fails where a tensor cannot be copied.
    pub fn to_flat_vec(&self) -> Result<Vec<f32>, LearningError> {
        let mut flat = Vec::with_capacity(self.num_elements());
        for var in self.vars.values() {
            flat.extend(var.as_tensor().to_dtype(DType::F32)?.flatten_all()?.to_vec1::<f32>()?);
        }
        Ok(flat)
    }
}

impl Deref for Parameters {
    type Target = BTreeMap<String, Var>;

    fn deref(&self) -> &Self::Target {
        &self.vars
    }
}

/// Refuses a tensor of another shape or type than a model needs; `name` and `origin` name it and its source in the
/// message.
///
/// # Errors
/// [`LearningError::Shape`] and [`LearningError::Type`].
pub fn require_shape(
    tensor: &Tensor,
    shape: &[usize],
    dtype: DType,
    name: &str,
    origin: &str,
) -> Result<(), LearningError> {
    let (origin, name) = (origin.to_owned(), name.to_owned());
    if tensor.dims() != shape {
        let (expected, found) = (shape.to_vec(), tensor.dims().to_vec());
        return Err(LearningError::Shape { origin, name, expected, found });
    }
    if tensor.dtype() != dtype {
        return Err(LearningError::Type { origin, name, expected: dtype, found: tensor.dtype() });
    }
    Ok(())
}

fn join<S: AsRef<str>>(names: impl IntoIterator<Item = S>) -> String {
    let mut out = String::new();
    for name in names {
        if !out.is_empty() {
            out.push_str(", ");
        }
        out.push_str(name.as_ref());
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn model() -> Parameters {
        let mut parameters = Parameters::default();
        for (name, shape) in [("b", vec![3]), ("a", vec![2, 3])] {
            let values = Tensor::arange(0f32, shape.iter().product::<usize>() as f32, &Device::Cpu).unwrap();
            parameters.insert(name, &values.reshape(shape).unwrap()).unwrap();
        }
        parameters
    }

    #[test]
    fn names_are_sorted_and_counted() {
        let parameters = model();
        assert_eq!(parameters.iter().map(|(name, _)| name).collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!(parameters.num_elements(), 9);
        let map: &BTreeMap<String, Var> = &parameters;
        assert_eq!((map.len(), map["b"].dims()), (2, [3].as_slice()));
        assert_eq!(parameters.to_flat_vec().unwrap(), [0., 1., 2., 3., 4., 5., 0., 1., 2.]);
    }

    #[test]
    fn a_file_comes_back_and_a_foreign_one_changes_nothing() {
        let folder = std::env::temp_dir().join(format!("signalbox-parameters-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let file = folder.join("m.safetensors");
        let parameters = model();
        parameters.save_safetensors(&file).unwrap();
        let other = model();
        other.get("a").unwrap().set(&Tensor::ones((2, 3), DType::F32, &Device::Cpu).unwrap()).unwrap();
        other.load_safetensors(&file).unwrap();
        assert_eq!(other.to_flat_vec().unwrap(), parameters.to_flat_vec().unwrap());

        let mut wrong = parameters.snapshot().unwrap();
        wrong.insert("a".into(), Tensor::ones((3, 2), DType::F32, &Device::Cpu).unwrap());
        wrong.insert("b".into(), Tensor::ones(3, DType::F32, &Device::Cpu).unwrap());
        let error = other.load(&wrong, "there").unwrap_err().to_string();
        assert_eq!(error, "there has a in shape [3, 2], the model needs [2, 3]: check the network's sizes");
        wrong.insert("a".into(), Tensor::ones((2, 3), DType::F64, &Device::Cpu).unwrap());
        let error = other.load(&wrong, "there").unwrap_err().to_string();
        assert_eq!(error, "there has a of type F64, the model needs F32: convert it");
        assert_eq!(other.to_flat_vec().unwrap(), parameters.to_flat_vec().unwrap());

        std::fs::write(&file, b"not a safetensors file").unwrap();
        assert!(matches!(other.load_safetensors(&file), Err(LearningError::Unreadable { .. })));
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
