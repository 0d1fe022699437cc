//! The networks: an encoder, its decoders, and a certificate for each part of the encoding.

use std::collections::BTreeMap;

use candle_core::{Device, Tensor};
use learning::{Parameters, init};
use rand::Rng;

use crate::{Config, Error, Objective};

/// One network: dense layers with ReLU between them and none at the end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shape {
    /// Its name, with which its parameters' names begin.
    pub name: String,
    /// Inputs, hidden units, outputs.
    pub sizes: Vec<usize>,
    /// Whether the last layer has a bias.
    pub last_bias: bool,
}

impl Shape {
    /// The names of a layer's weight (outputs, inputs) and bias (outputs), if it has one.
    pub fn parameter_names(&self, layer: usize) -> (String, Option<String>) {
        let name = |what: &str| format!("{}.{layer}.{what}", self.name);
        let biased = self.last_bias || layer + 2 < self.sizes.len();
        (name("weight"), biased.then(|| name("bias")))
    }

    /// The number of layers.
    pub fn layers(&self) -> usize {
        self.sizes.len() - 1
    }
}

/// All networks of a run.
///
/// | network | sizes in the paper |
/// |---|---|
/// | encoder, without a bias at its end | 784–2048–512–32 |
/// | decoder, one or one for each part | 32–512–2048–784 |
/// | certificate, one for each part | 16–512–2048–784 |
///
/// # Source
/// Cloud et al. 2024, app. B.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Architecture {
    /// Pixels to encoding.
    pub encoder: Shape,
    /// Encoding to pixels.
    pub decoders: Vec<Shape>,
    /// A part of the encoding to pixels.
    pub certificates: Vec<Shape>,
}

impl Architecture {
    /// The networks for images of `pixels` pixels.
    pub fn new(config: &Config, objective: &Objective, pixels: usize) -> Self {
        let hidden = &config.model.hidden;
        let shape = |name: String, inputs: usize, hidden: Vec<usize>, outputs: usize, last_bias: bool| {
            let sizes = std::iter::once(inputs).chain(hidden).chain([outputs]).collect();
            Shape { name, sizes, last_bias }
        };
        let back = |name: String, inputs: usize| {
            shape(name, inputs, hidden.iter().rev().copied().collect(), pixels, true)
        };
        let split = &objective.split;
        let latent = objective.latent();
        let decoder = |p: usize| back(format!("decoder_{}", split.part_name(p)), latent);
        Self {
            encoder: shape("encoder".to_owned(), pixels, hidden.clone(), latent, false),
            decoders: if objective.separate_decoders {
                (0..split.parts()).map(decoder).collect()
            } else {
                vec![back("decoder".to_owned(), latent)]
            },
            certificates: (0..split.parts())
                .map(|p| back(format!("certificate_{}", split.part_name(p)), objective.columns(p).len()))
                .collect(),
        }
    }

    /// Every network.
    pub fn shapes(&self) -> impl Iterator<Item = &Shape> {
        std::iter::once(&self.encoder).chain(&self.decoders).chain(&self.certificates)
    }

    /// Parameters to start from: weights and biases uniform on ±1/√inputs, as in `PyTorch`.
    ///
    /// # Errors
    /// Fails where a tensor cannot be placed on `device`.
    pub fn initial(&self, rng: &mut impl Rng, device: &Device) -> Result<Parameters, Error> {
        let mut parameters = Parameters::default();
        for shape in self.shapes() {
            for layer in 0..shape.layers() {
                let (inputs, outputs) = (shape.sizes[layer], shape.sizes[layer + 1]);
                let (weight, bias) = shape.parameter_names(layer);
                parameters
                    .insert(&weight, &init::uniform_fan_in(rng, &[outputs, inputs], inputs, device)?)?;
                if let Some(bias) = bias {
                    parameters.insert(&bias, &init::uniform_fan_in(rng, &[outputs], inputs, device)?)?;
                }
            }
        }
        Ok(parameters)
    }
}

/// Everything that a learner has learned, by name: parameters as they are, Adam's moments and step counts as
/// `adam.first.NAME`, `adam.second.NAME`, `adam.steps.NAME`.
pub type State = BTreeMap<String, Tensor>;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Setting, Split};
    use experiment::SeedStreams;

    #[test]
    fn the_papers_networks_have_its_number_of_parameters() {
        let config = Config::default();
        let architecture = Architecture::new(&config, &Objective::new(&config).unwrap(), 784);
        let parameters = architecture.initial(&mut SeedStreams::new(0).stream("init"), &Device::Cpu).unwrap();
        assert_eq!(parameters.num_elements(), 10_678_576);
        let config = Config::for_setting(Setting::SEPARATE_DECODERS, &Split::default());
        let names: Vec<String> = Architecture::new(&config, &Objective::new(&config).unwrap(), 784)
            .shapes()
            .map(|s| s.name.clone())
            .collect();
        let expected = ["encoder", "decoder_top", "decoder_bottom", "certificate_top", "certificate_bottom"];
        assert_eq!(names, expected);
    }
}
