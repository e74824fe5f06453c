//! A pickle read as plain data: numbers, strings, lists, dictionaries, numpy arrays of bytes and
//! PyTorch tensors, in protocols 2 to 5, and nothing else. No code runs: a global is only ever
//! compared with the few names that Python, numpy and PyTorch write for such data.
//!
//! Values live in an arena and refer to each other by index, so that neither nesting nor sharing
//! costs more than the file is long.
//!
//! `machine.rs` opcodes, stack and memo · `objects.rs` what calls and states make · `globals.rs`
//! the names that are known · `value.rs` what comes out.

mod globals;
mod machine;
mod objects;
mod value;

pub use globals::Global;
use machine::Machine;
pub use value::{Array, Id, Storage, Tensor, Value};

/// What is read, in words, and the globals that it may name.
#[derive(Clone, Copy, Debug)]
pub struct Kind {
    pub what: &'static str,
    pub globals: &'static [Global],
}

/// A dictionary of lists and numpy arrays of bytes.
pub const DATA_BATCH: Kind = Kind {
    what: "data batch",
    globals: &[
        Global::Encode,
        Global::Bytes,
        Global::Reconstruct,
        Global::FromBuffer,
        Global::Ndarray,
        Global::Dtype,
    ],
};

/// What `torch.save` makes of dictionaries of tensors and numbers.
pub const STATE_DICT: Kind = Kind {
    what: "state dict",
    globals: &[Global::OrderedDict, Global::RebuildTensor, Global::Storage("")],
};

/// The arena and its root.
pub struct Pickle<'a> {
    values: Vec<Value<'a>>,
    root: Id,
}

impl<'a> Pickle<'a> {
    pub fn load(bytes: &'a [u8], kind: Kind) -> Result<Self, String> {
        let mut machine = Machine::new(bytes, kind);
        let root = machine.run().map_err(|what| {
            let at = bytes.len() - machine.input.len();
            format!("pickle, near byte {at}: {what}")
        })?;
        Ok(Self { values: machine.values, root })
    }

    pub fn root(&self) -> &Value<'a> {
        &self.values[self.root]
    }

    pub fn get(&self, id: Id) -> &Value<'a> {
        &self.values[id]
    }

    /// The entry of a dictionary under a key that is bytes or text.
    pub fn entry(&self, dict: &Value<'a>, key: &str) -> Option<&Value<'a>> {
        let Value::Dict(entries) = dict else { return None };
        let found = entries.iter().rev().find(|(id, _)| match self.get(*id) {
            Value::Bytes(bytes) => bytes[..] == *key.as_bytes(),
            Value::Text(text) => *text == key,
            _ => false,
        });
        found.map(|(_, value)| self.get(*value))
    }
}
