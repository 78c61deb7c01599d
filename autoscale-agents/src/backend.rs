//! What computes the gradients.

use burn::tensor::Device;
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// A backend of the tensor library.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Backend {
    /// Pure-Rust CPU backend, always there.
    #[default]
    Flex,
    /// The older CPU backend (cargo feature `ndarray`).
    Ndarray,
    /// GPU through WebGPU (cargo feature `wgpu`).
    Wgpu,
}

/// A backend cannot be had.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum BackendError {
    /// No such backend.
    #[error("unknown backend `{0}`; expected flex, ndarray or wgpu")]
    Unknown(String),
    /// It exists, but not in this binary.
    #[error("backend `{0}` is not compiled in; run: cargo run --features {0} -- train --backend {0}")]
    NotCompiledIn(&'static str),
}

impl Backend {
    /// The backend called `name`.
    ///
    /// # Errors
    /// When there is none, or when it was not compiled in; then the message holds the command that
    /// compiles it.
    pub fn parse(name: &str) -> Result<Self, BackendError> {
        match name {
            "flex" => Ok(Self::Flex),
            "ndarray" if cfg!(feature = "ndarray") => Ok(Self::Ndarray),
            "wgpu" if cfg!(feature = "wgpu") => Ok(Self::Wgpu),
            "ndarray" => Err(BackendError::NotCompiledIn("ndarray")),
            "wgpu" => Err(BackendError::NotCompiledIn("wgpu")),
            other => Err(BackendError::Unknown(other.to_owned())),
        }
    }

    /// Those of this build.
    pub fn available() -> impl Iterator<Item = Self> {
        ["flex", "ndarray", "wgpu"].into_iter().filter_map(|name| Self::parse(name).ok())
    }

    /// A device that records gradients.
    ///
    /// # Errors
    /// When the backend was not compiled in.
    pub(crate) fn device(self) -> Result<Device, BackendError> {
        let device = match self {
            Self::Flex => Device::flex(),
            #[cfg(feature = "ndarray")]
            Self::Ndarray => {
                #[expect(deprecated, reason = "supported until the tensor library drops it")]
                let device = Device::ndarray();
                device
            }
            #[cfg(not(feature = "ndarray"))]
            Self::Ndarray => return Err(BackendError::NotCompiledIn("ndarray")),
            #[cfg(feature = "wgpu")]
            Self::Wgpu => Device::wgpu(burn::tensor::DeviceKind::DefaultDevice),
            #[cfg(not(feature = "wgpu"))]
            Self::Wgpu => return Err(BackendError::NotCompiledIn("wgpu")),
        };
        Ok(device.autodiff())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_backend_says_how_to_get_it() {
        assert_eq!(Backend::parse("flex"), Ok(Backend::Flex));
        assert_eq!(Backend::parse("tpu"), Err(BackendError::Unknown("tpu".into())));
        if !cfg!(feature = "ndarray") {
            let message = Backend::parse("ndarray").unwrap_err().to_string();
            assert!(message.contains("cargo run --features ndarray -- train"), "{message}");
        }
    }
}
