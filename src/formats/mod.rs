//! Models in the files of other programs: weights as safetensors and PyTorch's `.pt`, graphs as
//! ONNX.
//!
//! `safetensors.rs` and `pt/` turn a [`StateDict`] into bytes and back; neither sees a file, a
//! device or a run. A state dict of ours carries the metadata of its checkpoint, with a checksum of
//! the weights (`seal.rs`); a foreign one has names, shapes and values only. `onnx/` writes what a
//! model computes, too, and is read by others only; `yaml.rs` reads settings.

pub mod convert;
pub mod onnx;
pub mod pickle;
pub mod pt;
pub mod safetensors;
mod seal;
pub mod yaml;

use std::path::Path;

use crate::dtype::{DType, Float, bf16};
use crate::io::file;
use crate::shape::Shape;
use crate::{Error, Result};

/// Largest file of weights: far above any model here with the puzzle embeddings of ARC.
const MAX_WEIGHTS_BYTES: u64 = 4 << 30;

/// Where the metadata of a checkpoint stands in a file of another format.
pub const META_KEY: &str = "hrm";

/// A tensor at rest: contiguous, little endian.
#[derive(Clone, Debug, PartialEq)]
pub struct HostTensor {
    pub dtype: DType,
    pub shape: Shape,
    pub bytes: Vec<u8>,
}

impl HostTensor {
    pub fn from_f32s(shape: impl Into<Shape>, values: &[f32]) -> Self {
        let bytes = values.iter().flat_map(|x| x.to_le_bytes()).collect();
        Self { dtype: DType::F32, shape: shape.into(), bytes }
    }

    /// The elements of a tensor of f32; of another type, nothing that means anything.
    pub fn f32s(&self) -> impl Iterator<Item = f32> + '_ {
        self.bytes.chunks_exact(4).map(|w| f32::from_le_bytes([w[0], w[1], w[2], w[3]]))
    }

    /// bf16 as f32, exactly; every other type as it is.
    pub fn widened(self) -> Self {
        if self.dtype != DType::Bf16 {
            return self;
        }
        let words = self.bytes.chunks_exact(2).map(|w| bf16::from_le_bytes([w[0], w[1]]));
        let bytes = words.flat_map(|x| x.to_f32().to_le_bytes()).collect();
        Self { dtype: DType::F32, bytes, ..self }
    }

    /// f32 rounded to bf16; every other type as it is.
    pub fn rounded(self) -> Self {
        if self.dtype != DType::F32 {
            return self;
        }
        let bytes = self.f32s().flat_map(|x| <bf16 as Float>::from_f32(x).to_le_bytes()).collect();
        Self { dtype: DType::Bf16, bytes, ..self }
    }
}

/// The content of a file of weights.
///
/// # Errors
/// By its first bytes it is no such file, or it is longer than any model here.
pub fn read(path: &Path) -> Result<Vec<u8>> {
    file::read_if(path, "weights", MAX_WEIGHTS_BYTES, |head, length| {
        let is_weights = match head {
            [b'P', b'K', 3, 4, ..] | [0x80, 2, ..] => true,
            // The length of the header, then the header.
            [a, b, c, d, e, f, g, h, b'{', ..] => {
                u64::from_le_bytes([*a, *b, *c, *d, *e, *f, *g, *h]) <= length
            }
            _ => false,
        };
        (!is_weights).then(|| "is neither safetensors nor a file of torch.save".into())
    })
}

/// Counters of the run that the weights are from.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Counters {
    pub epoch: u64,
    /// Infinite: never validated.
    pub best_val_loss: f64,
    pub global_step: u64,
}

/// Named weights, in the order of the file.
#[derive(Clone, Debug, PartialEq)]
pub struct StateDict {
    pub tensors: Vec<(String, HostTensor)>,
    pub counters: Option<Counters>,
    /// Metadata of the checkpoint, a JSON object; only files of ours have it.
    pub meta: Option<String>,
}

impl StateDict {
    /// The weights in a file's content; the kind of file is told by its first bytes. An error says
    /// what is wrong in words that follow the file's name.
    pub fn decode(bytes: &[u8]) -> Result<Self, String> {
        let mut weights = match bytes {
            [b'P', b'K', 3, 4, ..] => pt::decode(bytes)?,
            [0x80, 2, ..] => {
                return Err(
                    "a .pt file of PyTorch before 1.6: load and save it again with torch.save"
                        .into(),
                );
            }
            _ => safetensors::decode(bytes)?,
        };
        if let Some(meta) = &weights.meta {
            weights.meta = Some(seal::opened(meta, &weights.tensors)?);
        }
        Ok(weights)
    }
}

/// A program of the models' authors, for which files are written.
#[derive(Clone, Copy, PartialEq, Eq, Debug, clap::ValueEnum)]
pub enum Program {
    /// sapientinc/HRM
    Hrm,
    /// SamsungSAILMontreal/TinyRecursiveModels
    Trm,
}

/// Where to write what.
#[derive(Clone, Copy, PartialEq, Eq, Debug, clap::ValueEnum)]
pub enum Format {
    Safetensors,
    Pt,
}

impl Format {
    pub fn extension(self) -> &'static str {
        match self {
            Format::Safetensors => "safetensors",
            Format::Pt => "pt",
        }
    }

    /// The whole file.
    pub fn encode(self, weights: &StateDict) -> Result<Vec<u8>> {
        let meta = weights.meta.as_ref().map(|meta| seal::sealed(meta, &weights.tensors));
        let bytes = meta.transpose().and_then(|meta| match self {
            Format::Safetensors => safetensors::encode(&weights.tensors, meta.as_deref()),
            Format::Pt => pt::encode(weights, meta.as_deref()),
        });
        bytes.map_err(|what| Error::invalid(format!("{} file: {what}", self.extension())))
    }
}

#[cfg(test)]
mod tests;
