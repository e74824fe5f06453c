//! Checkpoints: everything that a bit-exact continuation needs, in one self-checked file.
//!
//! `format.rs` the bytes · `reader.rs` checks and loads · `folder.rs` names, newest, retention. A
//! checkpoint appears under its name only when it is complete and on disk: kill or power loss at
//! any moment leaves the previous ones untouched. Which tensors there are is the trainer's
//! business; they come and go as (name, tensor).

mod autoencoder;
mod folder;
mod format;
mod reader;
pub mod role;
mod weights;

use std::io::Write;
use std::ops::Deref;
use std::path::Path;

use serde::{Deserialize, Serialize};

pub use autoencoder::{Side, autoencoder};
pub use folder::Folder;
pub use format::Entry;
pub use reader::Reader;
pub(crate) use weights::POSITIONS;
pub(super) use weights::load_model;
pub use weights::{Weights, check_model, fill, fill_dense, model_shape, state_dict, write_pt};

use crate::data::Position;
use crate::dtype::DType;
use crate::formats::HostTensor;
use crate::io::file;
use crate::shape::Shape;
use crate::tensor::Tensor;
use crate::{Error, Result};

pub type Named = (String, Tensor);

/// All that is saved besides tensors.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Meta {
    /// Program and version that wrote the file.
    pub program: String,
    /// The run's plan as TOML.
    pub plan: String,
    pub state: State,
}

/// The counters of a run: with the tensors, all that the next step depends on. Random numbers are
/// a function of (seed, step), so they have no state of their own.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct State {
    /// Optimizer steps made.
    pub step: u64,
    /// The next batch to take.
    pub position: Position,
    /// Rows trained on so far.
    pub samples: u64,
    pub seed: u64,
    #[serde(with = "f64_bits")]
    pub best_val_loss: f64,
    pub best_step: u64,
    /// Validations since the best one.
    pub waited: u64,
    /// Step of the last validation.
    pub validated: u64,
    pub data_digest: String,
    /// Sums since the last line of metrics.jsonl.
    #[serde(with = "f64_bits_vec")]
    pub pending: Vec<f64>,
}

/// Write a checkpoint: temporary file in the same folder, fsync, rename, fsync of the folder.
/// Returns its size in bytes.
pub fn save(path: &Path, meta: &Meta, tensors: &[Named]) -> Result<u64> {
    let parts = tensors.iter().map(|(name, tensor)| Part {
        name,
        dtype: tensor.dtype(),
        shape: *tensor.shape(),
        read: Box::new(|| Ok(Box::new(tensor.read_bytes()?))),
    });
    save_parts(path, meta, parts.collect())
}

/// Save tensors that are on no device.
pub fn save_host(path: &Path, meta: &Meta, tensors: &[(String, HostTensor)]) -> Result<u64> {
    let parts = tensors.iter().map(|(name, tensor)| Part {
        name,
        dtype: tensor.dtype,
        shape: tensor.shape,
        read: Box::new(|| Ok(Box::new(&tensor.bytes[..]))),
    });
    save_parts(path, meta, parts.collect())
}

type Bytes<'a> = Box<dyn Deref<Target = [u8]> + 'a>;

/// A tensor to be written; its bytes are asked for twice, so that no copy of all is kept.
struct Part<'a> {
    name: &'a str,
    dtype: DType,
    shape: Shape,
    read: Box<dyn Fn() -> Result<Bytes<'a>> + 'a>,
}

fn save_parts(path: &Path, meta: &Meta, mut parts: Vec<Part>) -> Result<u64> {
    let doing = "write the checkpoint (earlier ones are intact)";
    let io = || Error::io(path, doing);
    let meta = serde_json::to_string(meta).map_err(|e| Error::invalid(format!("metadata: {e}")))?;
    // Wide elements first: every tensor is aligned, which PyTorch's reader insists on.
    parts.sort_by_key(|part| std::cmp::Reverse(part.dtype.size_bytes()));
    let mut start = 0;
    let entries = parts
        .iter()
        .map(|part| {
            let content = (part.read)()?;
            let bytes = content.len() as u64;
            start += bytes;
            Ok(Entry {
                name: part.name.to_owned(),
                dtype: part.dtype,
                shape: part.shape,
                start: start - bytes,
                bytes,
                hash: blake3::hash(&content),
            })
        })
        .collect::<Result<Vec<_>>>()?;
    let header = format::encode(&meta, &entries);
    let mut temporary = file::temporary(path).map_err(io())?;
    temporary.write_all(&header).map_err(io())?;
    for part in &parts {
        temporary.write_all(&(part.read)()?).map_err(io())?;
    }
    file::persist(temporary, path).map_err(io())?;
    Ok(header.len() as u64 + start)
}

/// JSON cannot hold infinity, and not every parser returns the same last bit.
mod f64_bits {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub fn serialize<S: Serializer>(x: &f64, s: S) -> Result<S::Ok, S::Error> {
        x.to_bits().serialize(s)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<f64, D::Error> {
        Ok(f64::from_bits(u64::deserialize(d)?))
    }
}

mod f64_bits_vec {
    use serde::{Deserialize, Deserializer, Serializer};

    pub fn serialize<S: Serializer>(x: &[f64], s: S) -> Result<S::Ok, S::Error> {
        s.collect_seq(x.iter().map(|x| x.to_bits()))
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<Vec<f64>, D::Error> {
        Ok(Vec::<u64>::deserialize(d)?.into_iter().map(f64::from_bits).collect())
    }
}

#[cfg(test)]
mod tests;
