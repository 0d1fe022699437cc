//! What candle lacks for training small networks well on the CPU.
//!
//! - [`Parameters`]: a model's variables in the order of their names, saved to and loaded from safetensors;
//! - [`init`]: seeded initialisers in PyTorch's manner;
//! - [`Adam`]: Adam as in PyTorch (decoupled, coupled or no weight decay) whose moments can be saved;
//! - [`global_norm`] and [`clip_grad_norm`]: gradient clipping on a [`candle_core::backprop::GradStore`];
//! - [`require_finite`]: the check of losses and gradients that a training stops on;
//! - [`ops`]: layers and losses in candle operations whose gradients are all there and all right;
//! - [`kernels`]: the products and passes of which fused forward and backward passes are made, and [`lanes`]: how
//!   a batch is split over threads and added up again.
//!
//! [`Backend`] says which of the two a run takes.
//!
//! ```
//! use candle_core::{Device, Tensor};
//! use learning::{Adam, AdamConfig, Parameters, init};
//! use rand_xoshiro::{Xoshiro256PlusPlus, rand_core::SeedableRng};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let mut rng = Xoshiro256PlusPlus::seed_from_u64(0);
//! let mut parameters = Parameters::default();
//! parameters.insert("weight", &init::uniform_fan_in(&mut rng, &[1, 8], 8, &Device::Cpu)?)?;
//! let mut adam = Adam::new(&parameters, AdamConfig { eps: 1e-5, ..AdamConfig::default() })?;
//!
//! let x = Tensor::ones((4, 8), candle_core::DType::F32, &Device::Cpu)?;
//! let loss = x.matmul(&parameters.get("weight")?.t()?)?.sqr()?.mean_all()?;
//! let before = loss.to_scalar::<f32>()?;
//! adam.step(&loss.backward()?, 1e-3)?;
//! let after = x.matmul(&parameters.get("weight")?.t()?)?.sqr()?.mean_all()?.to_scalar::<f32>()?;
//! assert!(after < before);
//! # Ok(())
//! # }
//! ```

mod adam;
mod backend;
mod clip;
mod error;
mod finite;
pub mod init;
pub mod kernels;
pub mod lanes;
pub mod ops;
mod parameters;

pub use adam::{Adam, AdamConfig, Moves, Partition, WeightDecay};
pub use backend::Backend;
pub use clip::{clip_grad_norm, global_norm};
pub use error::LearningError;
pub use finite::{NotFinite, require_finite};
pub use parameters::{Parameters, require_shape};
