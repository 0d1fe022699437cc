//! Vectorised gridworlds with partial oversight, on ndarray.
//!
//! An agent walks a grid on which lie one *Diamond* (ground truth +1) and one *Ghost* (−1). Reaching either
//! ends the episode. A bit per cell says whether the trainer watches that cell: an episode that ends on a
//! watched cell is *overseen*, and the trainer learns which of the two was reached; otherwise it learns only
//! that something was. The environments hand out the ground truth beside the outcome, and leave it to the
//! caller to hide what a method must not see.
//!
//! | id | grid | objects | steps | observation planes |
//! |---|---|---|---|---|
//! | `OversightGrid-v0` | 5×5, no walls | three distinct uniformly random cells | 32 | agent, ghost, diamond, oversight |
//! | `WalledOversightGrid-v0` | 7×7 with border walls | both terminals ≥ 3 steps from a random start, one of them the unique closest | 256 | empty, wall, kind 0 (Diamond), kind 1 (Ghost), oversight, agent |
//! | `DetourOversightGrid-v0` | 5×5, no walls | the Diamond always farther from the start than the Ghost | 32 | agent, ghost, diamond, oversight |
//!
//! Those are the paper's two kinds of terminals. [`EnvConfig::kinds`] names others, up to eight in the open grids, each
//! with a plane of its own; further settings hide the oversight bits from the agent, let arrivals go unnoticed
//! ([`EnvConfig::oversight_recall`]) or be told wrongly ([`EnvConfig::oversight_precision`]), and keep a band of the
//! grid from ever being watched ([`BlindRegion`]).
//!
//! Actions are `0` north (row − 1), `1` east (col + 1), `2` south (row + 1), `3` west (col − 1); a move into a
//! border or a wall leaves the agent where it is. Cells are numbered `row * cols + col`.
//!
//! The contract is Gymnasium's vector contract with same-step autoreset ([`VectorEnv`]). Everything that
//! [`VectorEnv::step`] writes goes into slices the caller owns, and `step` allocates nothing. Anybody can implement
//! it, with kinds of ends of their own, and hold the result to [`check_env`]; [`GridWorld`] adds the layouts and
//! pictures that only the environments of this crate have.
//!
//! # Example
//! ```
//! use envs::{EnvConfig, EnvId, StepBuffers};
//!
//! let config = EnvConfig::for_id(EnvId::OversightGridV0);
//! let mut env = envs::make(&config, 8)?;
//! let mut buffers = StepBuffers::for_env(env.as_ref());
//! env.reset(Some(1), &mut buffers.observations)?;
//! let actions = [1; 8]; // everyone goes east
//! for _ in 0..32 {
//!     env.step(&actions, buffers.slices())?;
//! }
//! print!("{}", env.render_text(0));
//! # Ok::<(), envs::EnvError>(())
//! ```
//!
//! # Randomness
//! Environment `i` of a batch owns a generator, seeded from `(seed, i)` and nothing else. A batch that is
//! split over threads with [`make_slice`], or stepped in parallel by rayon, therefore behaves bit for bit as
//! the whole batch stepped by one thread.
//!
//! # Source
//! Cloud et al. 2024, *Gradient Routing: Masking Gradients to Localize Computation in Neural Networks*, §4.3
//! and appendix F. `OversightGrid-v0` is the environment of the second version of the paper,
//! `WalledOversightGrid-v0` that of the first. Two faults of the authors' code are not copied: there the
//! observation after the end of an episode is the stale one, and an episode can last 33 actions.
#![warn(missing_docs)]

mod batch;
mod blind_region;
mod check;
mod config;
mod detour;
mod env_state;
mod error;
mod grid;
mod grid_world;
mod kind;
mod layout;
mod make;
mod oversight_grid;
mod render;
mod rings;
mod rules;
mod space;
mod state;
mod stream;
mod vector_env;
mod walled;

pub use blind_region::BlindRegion;
pub use check::{check_env, check_grid_world};
pub use config::{EnvConfig, EnvId, Fault, MAX_CELLS, MAX_KINDS};
pub use env_state::EnvState;
pub use error::EnvError;
pub use grid::ACTION_NAMES;
pub use grid_world::GridWorld;
pub use kind::Kind;
pub use layout::Layout;
pub use make::{make, make_slice, maker};
pub use render::CELL_PIXELS;
pub use space::{AutoresetMode, Space};
pub use vector_env::{Outcome, StepBuffers, StepSlices, VectorEnv, check_actions, check_len};
