//! The same policy on the CPU without a graph: forward and backward passes on slices, several times faster.
//!
//! # What is saved, and why the result is the same
//!
//! **Sparse first layers.** An observation of a gridworld has a handful of non-zero entries out of a hundred.
//! W₁·x is then a sum of that many columns of W₁, and ∂L/∂W₁ = Σ dz·xᵀ touches only those columns. Nothing is
//! assumed of the entries' values.
//!
//! **Folded linear layers.** The gate's 1×1 convolution K and the layer behind it are one linear map, and so is
//! the whole value net, which has no nonlinearity. With planes d before and c behind it,
//!
//! ```text
//! W'[o, c·S + s] = Σ_d W[o, d·S + s]·K[d, c]       ∂L/∂W[o, d·S + s] = Σ_c ∂L/∂W'[o, c·S + s]·K[d, c]
//! ```
//!
//! and likewise for K. Both sums run over weights, not over the batch.
//!
//! **Routes as coefficients.** The three routes of a sample have the same forward value; they differ in which
//! of the terms of the backward pass are kept. With Γ the gate's weights and g = ∂L/∂logits,
//!
//! ```text
//! u_e        = W_head·h_e
//! ∂L/∂h_e    = mask_e · Γ_e · W_headᵀ g
//! ∂L/∂W_head = Σ_e Γ_e · g h_eᵀ                       (never masked)
//! ∂L/∂z_k    = mask_gate · Γ_k · (g·u_k − Σ_e Γ_e g·u_e)   + the gate's own loss
//! ```
//!
//! so a route is nothing but a choice of the small vectors `mask_e·Γ_e·g`: see [`OutputGradient`].
//!
//! **Equal observations once.** For fixed parameters the forward values depend on the observation alone, and the
//! backward pass is linear in [`OutputGradient`]. Samples that share an observation therefore share a row: one
//! forward pass, output gradients added up, one backward pass. [`UniqueRows`] finds them. In a 5×5 gridworld a
//! batch of 16,384 samples holds some 9,000 different observations.
//!
//! **No graph.** [`FusedPolicy::backward`] calls the matrix product directly, fuses bias, ReLU and its mask into
//! one pass each, works on tiles that stay in the cache, and adds into buffers that are kept between updates.
//! Weights are kept in both orientations, since each product is fastest with one of them.
//!
//! Tests hold the gradients to those of autograd on [`crate::Policy`].

mod activations;
mod backward;
mod fold;
mod forward;
mod pack;
mod unique;

pub use activations::Activations;
pub use backward::{Gradient, OutputGradient, Workspace};
pub use forward::FusedPolicy;
pub use unique::UniqueRows;
