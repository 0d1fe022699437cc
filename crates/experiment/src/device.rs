//! Where the tensors live, as named on the command line.
use std::fmt;
use std::str::FromStr;

use candle_core::Device;

use crate::error::RunError;

/// `cpu`, `cuda` or `cuda:N`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DeviceArg {
    /// The processor.
    #[default]
    Cpu,
    /// The NVIDIA GPU with this index.
    Cuda(usize),
}

impl DeviceArg {
    /// Opens the device.
    ///
    /// # Errors
    /// [`RunError::Device`] for a GPU in a binary built without CUDA, or a GPU that is not there.
    pub fn open(&self) -> Result<Device, RunError> {
        let Self::Cuda(index) = *self else { return Ok(Device::Cpu) };
        let refused = |fault: String, hint| RunError::Device { device: self.to_string(), fault, hint };
        if !candle_core::utils::cuda_is_available() {
            return Err(refused(
                "this binary was built without CUDA".into(),
                "use --device cpu, or build with the feature `cuda` on a machine with the CUDA toolkit",
            ));
        }
        Device::new_cuda(index).map_err(|error| {
            let text = error.to_string();
            refused(
                text.lines().next().unwrap_or("the driver gave no reason").to_owned(),
                "see `nvidia-smi` for the GPUs of this machine, or use --device cpu",
            )
        })
    }
}

impl fmt::Display for DeviceArg {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cpu => f.write_str("cpu"),
            Self::Cuda(index) => write!(f, "cuda:{index}"),
        }
    }
}

/// A device name that is none.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("use `cpu`, `cuda` or `cuda:N` with N the index of the GPU")]
pub struct ParseDeviceError;

impl FromStr for DeviceArg {
    type Err = ParseDeviceError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.split_once(':') {
            None if text == "cpu" => Ok(Self::Cpu),
            None if text == "cuda" => Ok(Self::Cuda(0)),
            Some(("cuda", index)) => index.parse().map(Self::Cuda).map_err(|_| ParseDeviceError),
            _ => Err(ParseDeviceError),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        assert_eq!("cpu".parse(), Ok(DeviceArg::Cpu));
        assert_eq!("cuda".parse(), Ok(DeviceArg::Cuda(0)));
        assert_eq!("cuda:3".parse(), Ok(DeviceArg::Cuda(3)));
        for wrong in ["", "gpu", "CPU", "cpu:0", "cuda:", "cuda:-1", "cuda:x", "cuda:1:2"] {
            assert_eq!(wrong.parse::<DeviceArg>(), Err(ParseDeviceError), "{wrong}");
        }
    }

    #[test]
    fn a_gpu_that_is_not_there_is_one_line_with_a_remedy() {
        // an index that no machine has, so that it fails with and without CUDA
        let error = DeviceArg::Cuda(4096).open().unwrap_err();
        assert!(error.to_string().starts_with("cannot use the device cuda:4096: "), "{error}");
        assert_eq!(error.to_string().lines().count(), 1);
        assert!(error.hint().unwrap().contains("--device cpu"));
        assert_eq!(error.exit_code(), 2);
    }
}
