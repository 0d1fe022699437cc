//! What computes the passes.

use serde::{Deserialize, Serialize};

/// What computes forward and backward passes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Backend {
    /// `Fused` on the CPU, `Candle` elsewhere.
    Auto,
    /// The fused CPU path.
    Fused,
    /// candle operations and autograd: the reference, and the only one off the CPU.
    Candle,
}
