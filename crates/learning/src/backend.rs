//! What computes forward and backward passes.

use candle_core::Device;
use serde::{Deserialize, Serialize};

use crate::LearningError;

/// What computes forward and backward passes, as a config file names it: `auto`, `fused` or `candle`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Backend {
    /// `fused` on the CPU, `candle` elsewhere.
    Auto,
    /// The hand-written CPU path. Its older name `fast` is still read.
    #[serde(alias = "fast")]
    Fused,
    /// candle operations and autograd: the reference, and the only one off the CPU.
    Candle,
}

impl Backend {
    /// Whether the fused passes compute on `device`.
    ///
    /// # Errors
    /// Fails where they are asked for off the CPU.
    pub fn is_fused_on(self, device: &Device) -> Result<bool, LearningError> {
        match self {
            Self::Auto => Ok(device.is_cpu()),
            Self::Fused if !device.is_cpu() => Err(LearningError::FusedOffCpu),
            Self::Fused => Ok(true),
            Self::Candle => Ok(false),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::de::IntoDeserializer;
    use serde::de::value::{Error, StrDeserializer};

    #[test]
    fn names_are_read_and_decide() {
        let read = |name: &str| {
            let name: StrDeserializer<'_, Error> = name.into_deserializer();
            Backend::deserialize(name)
        };
        for (name, expected, fused) in [
            ("auto", Backend::Auto, true),
            ("fused", Backend::Fused, true),
            ("fast", Backend::Fused, true),
            ("candle", Backend::Candle, false),
        ] {
            let backend = read(name).unwrap();
            assert_eq!(backend, expected);
            assert_eq!(backend.is_fused_on(&Device::Cpu).unwrap(), fused);
        }
        assert!(read("Fused").is_err());
    }
}
