//! What calls of known globals, persistent ids and states make: arrays, tensors, bytes.

use std::borrow::Cow;

use super::globals::Global;
use super::machine::Machine;
use super::value::{Array, Id, Storage, Tensor, Value};

/// Most dimensions of an array, as in numpy; a shape is copied for each array that has it.
const MAX_DIMS: usize = 32;
const MAX_DTYPE_CHARS: usize = 16;

impl Machine<'_> {
    /// The call of a global; `whole` is the length of the file.
    pub fn reduce(&mut self, whole: usize) -> Result<(), String> {
        let call = self.pop_many(2)?;
        let (Value::Global(global), Value::Tuple(args)) =
            (&self.values[call[0]], &self.values[call[1]])
        else {
            return Err("calls something else than a known global".into());
        };
        let args: Vec<&Value> = args.iter().map(|id| &self.values[*id]).collect();
        let made = match (global, &args[..]) {
            (Global::Encode, [Value::Text(text), Value::Text("latin1")]) => {
                self.encoded_bytes += text.len();
                if self.encoded_bytes > whole {
                    return Err("turns one text into bytes again and again: refused".into());
                }
                let latin1 = text.chars().map(|c| u8::try_from(u32::from(c)));
                let bytes = latin1.collect::<Result<Vec<u8>, _>>();
                Value::Bytes(Cow::Owned(bytes.map_err(|_| "text that is not latin1")?))
            }
            (Global::Bytes, []) => Value::Bytes(Cow::Borrowed(&[])),
            (Global::Reconstruct, [Value::Global(Global::Ndarray), ..]) => {
                Value::Array(Array::default())
            }
            (Global::Dtype, [Value::Text(name), ..]) if name.len() <= MAX_DTYPE_CHARS => {
                Value::Dtype((*name).to_owned())
            }
            (Global::Dtype, [Value::Bytes(name), ..]) if name.len() <= MAX_DTYPE_CHARS => {
                Value::Dtype(String::from_utf8_lossy(name).into_owned())
            }
            (Global::FromBuffer, [Value::Bytes(_), Value::Dtype(dtype), shape, order]) => {
                let Value::Tuple(ids) = &self.values[call[1]] else { return Err(String::new()) };
                Value::Array(Array {
                    shape: self.shape(shape)?,
                    dtype: dtype.clone(),
                    fortran: matches!(order, Value::Text("F")),
                    content: Some(ids[0]),
                })
            }
            (Global::OrderedDict, []) => Value::Dict(vec![]),
            (
                Global::RebuildTensor,
                [Value::Storage(storage), Value::Int(offset), shape, strides, ..],
            ) => Value::Tensor(Tensor {
                storage: *storage,
                offset: usize::try_from(*offset).map_err(|_| "a negative offset")?,
                shape: self.shape(shape)?,
                strides: self.shape(strides)?,
            }),
            (global, _) => return Err(format!("{global:?} with arguments that it never has")),
        };
        self.push(made);
        Ok(())
    }

    /// A persistent id: ("storage", type, key, device, elements).
    pub fn storage(&mut self) -> Result<(), String> {
        let id = self.pop()?;
        let parts = match &self.values[id] {
            Value::Tuple(ids) => &ids[..],
            _ => &[],
        };
        let &[word, dtype, key, _, elems] = parts else {
            return Err("refers to something else than a storage".into());
        };
        let get = |id: Id| &self.values[id];
        let (
            Value::Text("storage"),
            Value::Global(Global::Storage(dtype)),
            Value::Text(_),
            Value::Int(elems),
        ) = (get(word), get(dtype), get(key), get(elems))
        else {
            return Err("refers to something else than a storage".into());
        };
        let elems = usize::try_from(*elems).map_err(|_| "a negative size")?;
        self.push(Value::Storage(Storage { dtype, key, elems }));
        Ok(())
    }

    /// The state of an array: (version, shape, dtype, fortran order, bytes). A dtype's says byte
    /// order and alignment, which a byte does not have; a dictionary's is the modules' versions.
    pub fn build(&mut self) -> Result<(), String> {
        let state = self.pop()?;
        let object = self.top()?;
        if let (Value::Dict(_), Value::Dict(_)) = (&self.values[object], &self.values[state]) {
            return Ok(());
        }
        let Value::Tuple(ids) = &self.values[state] else {
            return Err("a state that is no tuple".into());
        };
        let made = match (&self.values[object], &ids[..]) {
            (Value::Dtype(_), _) => return Ok(()),
            (Value::Array(_), &[_, shape, dtype, fortran, content]) => {
                let Value::Dtype(dtype) = &self.values[dtype] else {
                    return Err("an array without an element type".into());
                };
                let Value::Bytes(_) = &self.values[content] else {
                    return Err("an array of objects".into());
                };
                Array {
                    shape: self.shape(&self.values[shape])?,
                    dtype: dtype.clone(),
                    fortran: matches!(&self.values[fortran], Value::Bool(true)),
                    content: Some(content),
                }
            }
            _ => return Err("a state for something else than an array".into()),
        };
        self.values[object] = Value::Array(made);
        Ok(())
    }

    fn shape(&self, shape: &Value) -> Result<Vec<usize>, String> {
        let Value::Tuple(dims) = shape else { return Err("a shape that is no tuple".into()) };
        let dim = |id: &Id| match self.values[*id] {
            Value::Int(n) => usize::try_from(n).map_err(|_| "a negative size".to_owned()),
            _ => Err("a size that is no number".into()),
        };
        match dims.len() <= MAX_DIMS {
            true => dims.iter().map(dim).collect(),
            false => Err(format!("a shape of {} dimensions", dims.len())),
        }
    }
}
