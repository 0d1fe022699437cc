//! Routed policy networks: experts, a gate that mixes them, a shared head, a value net.
//!
//! [`Policy`] is the model in candle operations, with gradients by autograd and routes by
//! [`gradient_routing::route`]; it runs on any device and is the reference. [`fused`] computes the same forward
//! values and the same gradients on the CPU several times faster.
//!
//! ```
//! use candle_core::{DType, Device, Tensor};
//! use policies::{Policy, PolicyConfig, Steering};
//! use rand_xoshiro::{Xoshiro256PlusPlus, rand_core::SeedableRng};
//!
//! # fn main() -> Result<(), policies::PolicyError> {
//! let config = PolicyConfig::mixture(["diamond", "ghost"], 4, 25, 4);
//! let policy = Policy::new(config, &mut Xoshiro256PlusPlus::seed_from_u64(0), &Device::Cpu)?;
//! assert_eq!(policy.parameters().num_elements(), 276_249 + 110_993); // mixture and value net
//!
//! let observation = Tensor::zeros((1, 100), DType::F32, &Device::Cpu)?;
//! let mixed = policy.forward(&observation, Steering::Mixture)?;
//! let diamond = policy.forward(&observation, Steering::Expert(0))?; // Γ := 1, the ghost expert plays no part
//! assert_eq!(mixed.logits.dims(), [1, 4]);
//! assert_eq!(diamond.gate.to_vec2::<f32>()?, [[1.0, 0.0]]);
//! # Ok(())
//! # }
//! ```

mod config;
mod error;
pub mod fused;
mod layers;
mod policy;

pub use config::{Gate, GateConv, PolicyConfig, Steering};
pub use error::PolicyError;
pub use policy::{Policy, PolicyOutput, RouteMasks};
