//! Gradient routing for candle: masks on the backward pass, at activations or at parameters.
//!
//! Backpropagation multiplies every derivative by a weight that may depend on the place in the graph *and on
//! the data point*. The forward pass stays as it is; what changes is where in the network each example is
//! learned. At an activation `a` with a mask `m` of the same or a broadcastable shape:
//!
//! ```text
//! y = m ⊙ a + (1 − m) ⊙ stop_gradient(a)      forward:  y = a, bit for bit      backward:  ∂L/∂a = m ⊙ ∂L/∂y
//! ```
//!
//! # Two halves of a hidden layer, each trained by one class
//!
//! ```
//! use candle_core::{Device, Tensor, Var};
//!
//! let inputs = Tensor::new(&[[1f64, 0.], [0., 1.]], &Device::Cpu)?; // one example of each class
//! let mask = Tensor::new(&[[1f64, 1., 0., 0.], [0., 0., 1., 1.]], &Device::Cpu)?; // (class, hidden)
//! let first = Var::new(&[[0.1f64, 0.2, 0.3, 0.4], [0.4, 0.3, 0.2, 0.1]], &Device::Cpu)?;
//! let second = Var::new(&[[1f64], [2.], [3.], [4.]], &Device::Cpu)?;
//!
//! let hidden = gradient_routing::route(&inputs.matmul(&first)?.tanh()?, &mask)?;
//! let gradients = hidden.matmul(&second)?.sum_all()?.backward()?;
//!
//! // row = class of the example, column = hidden unit: each class reaches its own half only
//! let reached = gradients.get(&first).unwrap().ne(0f64)?.to_vec2::<u8>()?;
//! assert_eq!(reached, [[1, 1, 0, 0], [0, 0, 1, 1]]);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! A mask for each class turns into a mask for each example by a row lookup: `table.index_select(&labels, 0)`
//! of a `(classes, channels)` table is a `(batch, channels)` mask.
//!
//! # What is here
//!
//! | to | use |
//! |---|---|
//! | say which class of data trains what | [`RouteTable`] of [`Class`]es × [`Group`]s, with [`Profile`]s of what is kept |
//! | weigh the gradient at an activation | [`route`], [`scale`], [`stop`] |
//! | weigh the gradient of each parameter, class by class | [`parameter_masks`], [`StepMasks`], [`ParameterMasks`], [`routed_gradients`] |
//! | delete what one class has learned | [`ablate`], [`ablate_parameter`], [`remove_channels`], [`mask_channels`] |
//! | hold a method to its table | [`assert_table_flow`], [`assert_class_flow`], [`assert_channel_flow`] |
//! | prove where a loss trains the network | [`grad_flow`], [`assert_grad_flow`], [`find_cuts`] |
//! | prove that a step leaves parameters alone | [`snapshot`], [`assert_frozen`] |
//!
//! Two examples to begin with: `two_halves` splits an autoencoder between two classes, `own_transformer` routes
//! the tokens of a transformer written in plain candle.
//!
//! # A zero gradient is not a frozen parameter
//!
//! | | gradient of the parameters before it | candle's `AdamW` |
//! |---|---|---|
//! | [`route`] with 0, [`scale`] by 0, [`ParameterMask::ZeroGradient`] | an entry of zeros | still moves them: moments and weight decay |
//! | [`stop`], [`ParameterMask::SkipUpdate`] | no entry | leaves them alone |
//!
//! # Source
//!
//! Cloud, Goldman-Wetzler, Wybitul, Miller, Turner (2024), "Gradient Routing: Masking Gradients to Localize
//! Computation in Neural Networks", arXiv 2410.04332, section 3.
#![warn(missing_docs)]

mod channels;
mod cuts;
mod error;
mod flow;
mod frozen;
mod mask;
mod parameter_masks;
mod route;
mod route_table;
mod table_flow;
mod table_masks;

pub use channels::{ablate, ablate_parameter, mask_channels, remove_channels};
pub use cuts::{Cut, find_cuts};
pub use error::{Result, RoutingError};
pub use flow::{Flow, FlowMismatch, GradFlow, assert_grad_flow, grad_flow};
pub use frozen::{assert_frozen, snapshot};
pub use parameter_masks::{ParameterMask, ParameterMasks, Parameters, routed_gradients, sum_gradients};
pub use route::{route, scale, stop};
pub use route_table::{Class, ExpectedFlow, Group, Profile, RouteTable, RouteTableError, Semantics, Site};
pub use table_flow::{TableFlowMismatch, assert_channel_flow, assert_class_flow, assert_table_flow};
pub use table_masks::{StepMasks, parameter_masks};
