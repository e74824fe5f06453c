//! What a pickle holds: values that refer to each other by their place in the arena.

use std::borrow::Cow;

use super::globals::Global;

/// Place in the arena.
pub type Id = usize;

/// Plain data, or what stands for it.
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

/// An array of numpy.
#[derive(Debug, Default)]
pub struct Array {
    pub shape: Vec<usize>,
    pub dtype: String,
    /// The first index runs fastest.
    pub fortran: bool,
    /// The elements, a [`Value::Bytes`]; `None`: not filled yet.
    pub content: Option<Id>,
}
