//! The element type that a model computes in, and which of them suits a device.

use serde::{Deserialize, Serialize};

use crate::backend::DeviceKind;
use crate::backend::cpu::path::Path;
use crate::dtype::DType;

/// The key of it.
pub const PRECISION: &str = "train.precision";
/// The word that leaves it to the device. A plan holds the word that it became.
pub(super) const AUTO: &str = "auto";

/// Element type of what is computed or written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case", try_from = "String")]
pub enum Precision {
    /// bfloat16: half the bytes, three digits
    Bf16,
    /// Single precision: seven digits
    F32,
}

impl Precision {
    /// The element type of tensors.
    pub fn dtype(self) -> DType {
        match self {
            Self::Bf16 => DType::Bf16,
            Self::F32 => DType::F32,
        }
    }

    /// The word in a configuration.
    pub fn word(self) -> &'static str {
        match self {
            Self::Bf16 => "bf16",
            Self::F32 => "f32",
        }
    }

    /// What a reasoner's step is fastest in on a device: bf16 where hardware multiplies it.
    pub fn fastest(device: DeviceKind) -> Self {
        match device {
            DeviceKind::Cuda => Self::Bf16,
            DeviceKind::Cpu if Path::chosen().multiplies_bf16() => Self::Bf16,
            DeviceKind::Cpu => Self::F32,
        }
    }
}

impl TryFrom<String> for Precision {
    type Error = String;

    fn try_from(word: String) -> Result<Self, String> {
        [Self::Bf16, Self::F32]
            .into_iter()
            .find(|precision| precision.word() == word)
            .ok_or_else(|| format!("unknown variant `{word}`, expected `auto`, `bf16` or `f32`"))
    }
}
