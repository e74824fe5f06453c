//! The stack machine that a pickle is a program of, with the opcodes that data needs.

use std::borrow::Cow;
use std::collections::HashMap;

use super::Kind;
use super::globals::Global;
use super::value::{Id, Value};

/// A published data batch has about 60 000, a checkpoint with its optimizer fewer.
const MAX_OPCODES: usize = 2_000_000;
pub(super) struct Machine<'a> {
    kind: Kind,
    /// What is not read yet.
    pub input: &'a [u8],
    /// The arena.
    pub values: Vec<Value<'a>>,
    stack: Vec<Id>,
    /// Heights of the stack.
    marks: Vec<usize>,
    memo: HashMap<u32, Id>,
    /// Bytes of text turned into bytes: never more than the file has, or it is a bomb.
    pub encoded_bytes: usize,
}

impl<'a> Machine<'a> {
    pub fn new(input: &'a [u8], kind: Kind) -> Self {
        let (values, stack, marks, memo) = Default::default();
        Self { kind, input, values, stack, marks, memo, encoded_bytes: 0 }
    }

    /// The place of the root.
    pub fn run(&mut self) -> Result<Id, String> {
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

    pub fn push(&mut self, value: Value<'a>) {
        self.stack.push(self.values.len());
        self.values.push(value);
    }

    fn floor(&self) -> usize {
        self.marks.last().copied().unwrap_or(0)
    }

    pub fn pop(&mut self) -> Result<Id, String> {
        self.pop_many(1).map(|popped| popped[0])
    }

    pub fn pop_many(&mut self, n: usize) -> Result<Vec<Id>, String> {
        match self.stack.len().checked_sub(n).filter(|at| *at >= self.floor()) {
            Some(at) => Ok(self.stack.split_off(at)),
            None => Err("takes a value that is not there".into()),
        }
    }

    fn pop_to_mark(&mut self) -> Result<Vec<Id>, String> {
        let mark = self.marks.pop().ok_or("takes a list that was not begun")?;
        Ok(self.stack.split_off(mark))
    }

    pub fn top(&self) -> Result<Id, String> {
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

    // ---- containers ----

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
}
