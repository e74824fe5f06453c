//! PyTorch's `.pt`: a zip archive of a pickle (`data.pkl`) and one stored file per storage.
//!
//! `archive.rs` the zip, within bounds · `write.rs` the pickle that `torch.load(weights_only=True)`
//! takes. Reading runs no code (see [`crate::formats::pickle`]) and never makes more than a few
//! times the file's bytes.

mod archive;
mod write;

use std::collections::HashSet;

use super::convert::{self, Foreign};
use super::{Counters, HostTensor, META_KEY, StateDict};
use crate::formats::pickle::{Pickle, STATE_DICT, Tensor, Value};
use archive::Archive;

const EPOCH: &str = "epoch";
const BEST_VAL_LOSS: &str = "best_val_loss";
const GLOBAL_STEP: &str = "global_step";
const MODEL: &str = "model_state_dict";
/// Weights that several names share are read once for each.
const MAX_SHARING: usize = 4;

pub use write::{encode, encode_bare};

/// The weights under `model_state_dict`, or a plain state dict.
pub fn decode(bytes: &[u8]) -> Result<StateDict, String> {
    let mut archive = Archive::open(bytes)?;
    let text = archive.read("data.pkl")?;
    let pickle = Pickle::load(&text, STATE_DICT)?;
    let root = pickle.root();
    let Value::Dict(entries) = pickle.entry(root, MODEL).unwrap_or(root) else {
        return Err(format!("holds no dictionary of tensors (looked for {MODEL:?})"));
    };
    let (mut tensors, mut seen) = (vec![], HashSet::new());
    let mut budget = bytes.len().saturating_mul(MAX_SHARING);
    for (key, value) in entries {
        let Value::Text(name) = pickle.get(*key) else {
            return Err("a tensor whose name is no text".into());
        };
        if !seen.insert(*name) {
            return Err(format!("tensor {name} is there twice"));
        }
        let Value::Tensor(tensor) = pickle.get(*value) else {
            return Err(format!("{name} is no tensor: is this a state dict?"));
        };
        let Value::Text(storage) = pickle.get(tensor.storage.key) else {
            return Err(format!("tensor {name}: a storage without a name"));
        };
        let read = read(&mut archive, storage, tensor, &mut budget);
        tensors.push((name.to_string(), read.map_err(|e| format!("tensor {name}: {e}"))?));
    }
    if tensors.is_empty() {
        return Err("holds no tensor".into());
    }
    let meta = match pickle.entry(root, META_KEY) {
        Some(Value::Text(meta)) => Some(meta.to_string()),
        _ => None,
    };
    Ok(StateDict { tensors, counters: counters(&pickle), meta })
}

/// Those that are there; none at all: `None`.
fn counters(pickle: &Pickle) -> Option<Counters> {
    let entry = |key| pickle.entry(pickle.root(), key);
    let count = |key| match entry(key) {
        Some(Value::Int(n)) => u64::try_from(*n).ok(),
        _ => None,
    };
    let best_val_loss = match entry(BEST_VAL_LOSS) {
        Some(Value::Float(loss)) => *loss,
        _ => f64::INFINITY,
    };
    let (epoch, global_step) = (count(EPOCH), count(GLOBAL_STEP));
    epoch.or(global_step)?;
    Some(Counters {
        epoch: epoch.unwrap_or(0),
        best_val_loss,
        global_step: global_step.unwrap_or(0),
    })
}

fn read(
    archive: &mut Archive,
    storage: &str,
    view: &Tensor,
    budget: &mut usize,
) -> Result<HostTensor, String> {
    let from = match view.storage.dtype {
        "Float" => Foreign::F32,
        "BFloat16" => Foreign::Bf16,
        "Half" => Foreign::F16,
        "Double" => Foreign::F64,
        "Bool" => Foreign::Bool,
        "Byte" => Foreign::U8,
        "Int" => Foreign::I32,
        "Long" => Foreign::I64,
        other => return Err(format!("elements are {other}, which no model here has")),
    };
    let width = from.size_bytes();
    let elems = checked_view(view)?;
    let bytes = elems.checked_mul(width).ok_or("absurdly large")?;
    *budget = budget.checked_sub(bytes).ok_or("the tensors are far larger than the file")?;
    let stored = archive.read(&format!("data/{storage}"))?;
    if view.storage.elems.checked_mul(width) != Some(stored.len()) {
        return Err(format!(
            "storage {storage} has {} bytes, declared {} of {width}",
            stored.len(),
            view.storage.elems
        ));
    }
    let values = match view.offset == 0 && bytes == stored.len() && is_row_major(view) {
        true => stored,
        false => gather(view, &stored, width, bytes),
    };
    convert::tensor(from, &view.shape, values)
}

/// Elements of a view that lies within its storage and shows none of them twice.
fn checked_view(view: &Tensor) -> Result<usize, String> {
    let (shape, strides) = (&view.shape, &view.strides);
    if shape.len() != strides.len() {
        return Err(format!("shape {shape:?} with strides {strides:?}"));
    }
    let elems = shape.iter().try_fold(1usize, |n, d| n.checked_mul(*d)).ok_or("absurdly large")?;
    let last = shape
        .iter()
        .zip(strides)
        .try_fold(view.offset, |at, (d, s)| at.checked_add(d.saturating_sub(1).checked_mul(*s)?));
    let stored = view.storage.elems;
    let inside = elems == 0 || last.is_some_and(|last| last < stored);
    match inside && elems <= stored {
        true => Ok(elems),
        false => Err(format!(
            "shape {shape:?}, strides {strides:?} and offset {} do not fit a storage of {stored}",
            view.offset
        )),
    }
}

/// Whether the view's elements follow each other. The stride of a single element does not matter.
fn is_row_major(view: &Tensor) -> bool {
    let mut next = 1usize;
    view.shape.iter().zip(&view.strides).rev().all(|(size, stride)| {
        let fits = *size == 1 || *stride == next;
        next = next.saturating_mul(*size);
        fits
    })
}

/// The elements of a view in row-major order.
fn gather(view: &Tensor, stored: &[u8], width: usize, bytes: usize) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes);
    let mut index = vec![0; view.shape.len()];
    while out.len() < bytes {
        let steps: usize = index.iter().zip(&view.strides).map(|(i, s)| i * s).sum();
        let at = (view.offset + steps) * width;
        out.extend(&stored[at..at + width]);
        for (i, size) in index.iter_mut().zip(&view.shape).rev() {
            *i += 1;
            if *i < *size {
                break;
            }
            *i = 0;
        }
    }
    out
}
