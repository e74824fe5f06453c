//! A pickle read as plain data: numbers, strings, lists, dictionaries, numpy arrays of bytes and
//! PyTorch tensors, in protocols 2 to 5, and nothing else. No code runs: a global is only ever
//! compared with the few names that Python, numpy and PyTorch write for such data.
//!
//! Values live in an arena and refer to each other by index, so that neither nesting nor sharing
//! costs more than the file is long.

use std::borrow::Cow;
use std::collections::HashMap;

/// A published data batch has about 60 000, a checkpoint with its optimizer fewer.
const MAX_OPCODES: usize = 2_000_000;
/// Most dimensions of an array, as in numpy; a shape is copied for each array that has it.
const MAX_DIMS: usize = 32;
const MAX_DTYPE_CHARS: usize = 16;

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

pub type Id = usize;

#[derive(Debug)]
pub enum Value<'a> {
    None,
    Bool(bool),
    Int(i64),
    Float(f64),
    Bytes(Cow<'a, [u8]>),
    Text(&'a str),
    Tuple(Vec<Id>),
    List(Vec<Id>),
    Dict(Vec<(Id, Id)>),
    Global(Global),
    /// Type letter and width: `u1`
    Dtype(String),
    Array(Array),
    Storage(Storage),
    Tensor(Tensor),
}

/// Elements of one type in a file of their own, named by `key`.
#[derive(Clone, Copy, Debug)]
pub struct Storage {
    /// Element type, a word of [`Global::Storage`].
    pub dtype: &'static str,
    /// The name of the storage, a [`Value::Text`].
    pub key: Id,
    pub elems: usize,
}

/// A view of a storage; all but the storage in elements.
#[derive(Debug)]
pub struct Tensor {
    pub storage: Storage,
    pub offset: usize,
    pub shape: Vec<usize>,
    pub strides: Vec<usize>,
}

#[derive(Debug, Default)]
pub struct Array {
    pub shape: Vec<usize>,
    pub dtype: String,
    /// The first index runs fastest.
    pub fortran: bool,
    /// The elements, a [`Value::Bytes`]; `None`: not filled yet.
    pub content: Option<Id>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Global {
    /// `_codecs.encode(text, "latin1")`: bytes in protocol 2 of Python 3.
    Encode,
    /// The type `bytes`: called without arguments, empty bytes.
    Bytes,
    Reconstruct,
    FromBuffer,
    Ndarray,
    Dtype,
    OrderedDict,
    RebuildTensor,
    /// The element type as PyTorch's class names have it: `Float` of `torch.FloatStorage`.
    Storage(&'static str),
}

/// All of `torch.<name>Storage`.
const STORAGES: &[&str] =
    &["Float", "BFloat16", "Half", "Double", "Bool", "Byte", "Char", "Short", "Int", "Long"];

impl Global {
    fn named(kind: &Kind, module: &str, name: &str) -> Result<Self, String> {
        let same = std::mem::discriminant::<Global>;
        let global = Self::known(module, name);
        global.filter(|global| kind.globals.iter().any(|g| same(g) == same(global))).ok_or_else(
            || {
                let asked: String = format!("{module}.{name}").chars().take(80).collect();
                format!("asks for {asked:?}, which no {} needs: refused", kind.what)
            },
        )
    }

    fn known(module: &str, name: &str) -> Option<Self> {
        Some(match (module, name) {
            ("_codecs", "encode") => Global::Encode,
            ("__builtin__" | "builtins", "bytes") => Global::Bytes,
            ("numpy.core.multiarray" | "numpy._core.multiarray", "_reconstruct") => {
                Global::Reconstruct
            }
            ("numpy.core.numeric" | "numpy._core.numeric", "_frombuffer") => Global::FromBuffer,
            ("numpy", "ndarray") => Global::Ndarray,
            ("numpy", "dtype") => Global::Dtype,
            ("collections", "OrderedDict") => Global::OrderedDict,
            ("torch._utils", "_rebuild_tensor_v2") => Global::RebuildTensor,
            ("torch", name) => {
                let dtype = name.strip_suffix("Storage")?;
                Global::Storage(STORAGES.iter().find(|known| **known == dtype)?)
            }
            _ => return None,
        })
    }
}

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

struct Machine<'a> {
    kind: Kind,
    input: &'a [u8],
    values: Vec<Value<'a>>,
    stack: Vec<Id>,
    /// Heights of the stack.
    marks: Vec<usize>,
    memo: HashMap<u32, Id>,
    /// Bytes of text turned into bytes: never more than the file has, or it is a bomb.
    encoded_bytes: usize,
}

impl<'a> Machine<'a> {
    fn new(input: &'a [u8], kind: Kind) -> Self {
        let (values, stack, marks, memo) = Default::default();
        Self { kind, input, values, stack, marks, memo, encoded_bytes: 0 }
    }

    fn run(&mut self) -> Result<Id, String> {
        let whole = self.input.len();
        if self.take(1)? != [0x80] || !(2..=5).contains(&self.byte()?) {
            return Err("not a pickle of protocol 2 to 5".into());
        }
        for _ in 0..MAX_OPCODES {
            let opcode = self.byte()?;
            match opcode {
                b'.' => return self.pop(),
                0x80 => drop(self.take(1)?),
                0x95 => drop(self.take(8)?), // FRAME
                b'(' => self.marks.push(self.stack.len()),
                b'}' => self.push(Value::Dict(vec![])),
                b']' => self.push(Value::List(vec![])),
                b')' => self.push(Value::Tuple(vec![])),
                b't' => {
                    let items = self.pop_to_mark()?;
                    self.push(Value::Tuple(items));
                }
                0x85..=0x87 => {
                    let items = self.pop_many(opcode as usize - 0x84)?;
                    self.push(Value::Tuple(items));
                }
                b'N' => self.push(Value::None),
                0x88 | 0x89 => self.push(Value::Bool(opcode == 0x88)),
                b'K' => self.integer(1, false)?,
                b'M' => self.integer(2, false)?,
                b'J' => self.integer(4, true)?,
                0x8a => {
                    let width = self.byte()? as usize;
                    self.integer(width, true)?;
                }
                b'G' => {
                    let word = <[u8; 8]>::try_from(self.take(8)?).unwrap_or_default();
                    self.push(Value::Float(f64::from_be_bytes(word)));
                }
                b'Q' => self.storage()?,
                b'U' | b'C' => self.bytes(1)?,
                b'T' | b'B' => self.bytes(4)?,
                0x8e | 0x96 => self.bytes(8)?,
                0x8c => self.text(1)?,
                b'X' => self.text(4)?,
                0x8d => self.text(8)?,
                b'q' => self.put(1)?,
                b'r' => self.put(4)?,
                0x94 => {
                    let (key, top) = (self.memo.len() as u32, self.top()?);
                    self.memo.insert(key, top);
                }
                b'h' => self.recall(1)?,
                b'j' => self.recall(4)?,
                b'c' => {
                    let (module, name) = (self.line()?, self.line()?);
                    self.push(Value::Global(Global::named(&self.kind, module, name)?));
                }
                0x93 => {
                    let pair = self.pop_many(2)?;
                    let (Value::Text(module), Value::Text(name)) =
                        (&self.values[pair[0]], &self.values[pair[1]])
                    else {
                        return Err("a global whose name is no text".into());
                    };
                    let global = Global::named(&self.kind, module, name)?;
                    self.push(Value::Global(global));
                }
                b'R' => self.reduce(whole)?,
                b'b' => self.build()?,
                b's' => {
                    let pair = self.pop_many(2)?;
                    self.set_items(&pair)?;
                }
                b'u' => {
                    let items = self.pop_to_mark()?;
                    self.set_items(&items)?;
                }
                b'a' => {
                    let item = self.pop()?;
                    self.append(&[item])?;
                }
                b'e' => {
                    let items = self.pop_to_mark()?;
                    self.append(&items)?;
                }
                other => {
                    let what = self.kind.what;
                    return Err(format!("opcode {other:#04x}, which no {what} needs"));
                }
            }
        }
        Err(format!("more than {MAX_OPCODES} opcodes, which no {} has", self.kind.what))
    }

    // ---- input ----

    fn take(&mut self, n: usize) -> Result<&'a [u8], String> {
        let (taken, rest) =
            self.input.split_at_checked(n).ok_or_else(|| "ends too early".to_owned())?;
        self.input = rest;
        Ok(taken)
    }

    fn byte(&mut self) -> Result<u8, String> {
        self.take(1).map(|b| b[0])
    }

    /// A little-endian count of `width` bytes.
    fn count(&mut self, width: usize) -> Result<usize, String> {
        let mut word = [0; 8];
        word[..width].copy_from_slice(self.take(width)?);
        usize::try_from(u64::from_le_bytes(word)).map_err(|_| "a count out of range".into())
    }

    fn line(&mut self) -> Result<&'a str, String> {
        let end = self.input.iter().take(256).position(|b| *b == b'\n');
        let line = self.take(end.ok_or("a name without end")?)?;
        self.take(1)?;
        std::str::from_utf8(line).map_err(|_| "a name that is no text".into())
    }

    fn integer(&mut self, width: usize, signed: bool) -> Result<(), String> {
        if width > 8 {
            return Err("an integer of more than 64 bits".into());
        }
        let bytes = self.take(width)?;
        let negative = signed && bytes.last().is_some_and(|b| b & 0x80 != 0);
        let mut word = [if negative { 0xff } else { 0 }; 8];
        word[..width].copy_from_slice(bytes);
        self.push(Value::Int(i64::from_le_bytes(word)));
        Ok(())
    }

    fn bytes(&mut self, width: usize) -> Result<(), String> {
        let n = self.count(width)?;
        let bytes = self.take(n)?;
        self.push(Value::Bytes(Cow::Borrowed(bytes)));
        Ok(())
    }

    fn text(&mut self, width: usize) -> Result<(), String> {
        let n = self.count(width)?;
        let text = std::str::from_utf8(self.take(n)?).map_err(|_| "text that is not UTF-8")?;
        self.push(Value::Text(text));
        Ok(())
    }

    // ---- stack and memo ----

    fn push(&mut self, value: Value<'a>) {
        self.stack.push(self.values.len());
        self.values.push(value);
    }

    fn floor(&self) -> usize {
        self.marks.last().copied().unwrap_or(0)
    }

    fn pop(&mut self) -> Result<Id, String> {
        self.pop_many(1).map(|popped| popped[0])
    }

    fn pop_many(&mut self, n: usize) -> Result<Vec<Id>, String> {
        match self.stack.len().checked_sub(n).filter(|at| *at >= self.floor()) {
            Some(at) => Ok(self.stack.split_off(at)),
            None => Err("takes a value that is not there".into()),
        }
    }

    fn pop_to_mark(&mut self) -> Result<Vec<Id>, String> {
        let mark = self.marks.pop().ok_or("takes a list that was not begun")?;
        Ok(self.stack.split_off(mark))
    }

    fn top(&self) -> Result<Id, String> {
        match self.stack.len() > self.floor() {
            true => Ok(self.stack[self.stack.len() - 1]),
            false => Err("uses a value that is not there".into()),
        }
    }

    fn put(&mut self, width: usize) -> Result<(), String> {
        let (key, top) = (self.count(width)? as u32, self.top()?);
        self.memo.insert(key, top);
        Ok(())
    }

    fn recall(&mut self, width: usize) -> Result<(), String> {
        let key = self.count(width)? as u32;
        self.stack.push(*self.memo.get(&key).ok_or("recalls what was not kept")?);
        Ok(())
    }

    // ---- containers and calls ----

    fn set_items(&mut self, items: &[Id]) -> Result<(), String> {
        let dict = self.top()?;
        match &mut self.values[dict] {
            Value::Dict(entries) if items.len().is_multiple_of(2) => {
                entries.extend(items.chunks_exact(2).map(|pair| (pair[0], pair[1])));
                Ok(())
            }
            _ => Err("sets entries of something else than a dictionary".into()),
        }
    }

    fn append(&mut self, items: &[Id]) -> Result<(), String> {
        let list = self.top()?;
        match &mut self.values[list] {
            Value::List(list) => {
                list.extend(items);
                Ok(())
            }
            _ => Err("appends to something else than a list".into()),
        }
    }

    fn reduce(&mut self, whole: usize) -> Result<(), String> {
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
    fn storage(&mut self) -> Result<(), String> {
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
    fn build(&mut self) -> Result<(), String> {
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
