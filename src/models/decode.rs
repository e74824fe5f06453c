//! What a model has that writes its answers token by token.

use crate::Result;
use crate::backend::{Device, Purpose};
use crate::dtype::DType;
use crate::ops::attention_cached::Cache;
use crate::ops::layout::Layout;
use crate::tensor::Tensor;

/// A model that answers token by token.
pub trait Decoder {
    /// Memory for `rows` sequences.
    fn memory(&self, rows: usize) -> Result<Decoding>;

    /// Read one more token of each sequence that is not idle; logits (R, V) of what follows it.
    fn read(&self, decoding: &Decoding, next: &Next) -> Result<Tensor>;
}

/// Sequences under way, and what is read next of each.
pub struct Decoding {
    /// A slot of one position for each sequence.
    pub layout: Layout,
    pub tokens: Tensor,     // (R, 1) i32
    pub conditions: Tensor, // (R) i32
    /// Keys and values of each layer; all share their lengths.
    pub layers: Vec<Cache>,
    lengths: Tensor, // (R) i32
}

/// The next token of each sequence, (R) each.
pub struct Next<'a> {
    pub tokens: &'a [i32],
    pub places: &'a [i32],
    pub conditions: &'a [i32],
    /// Tokens before it; -1: the sequence is idle.
    pub lengths: &'a [i32],
}

impl Decoding {
    pub fn new(device: &Device, rows: usize, mut layers: Vec<Cache>) -> Result<Self> {
        let ints = |shape: &[usize]| Tensor::zeros(device, DType::I32, shape, Purpose::Carry);
        let lengths = ints(&[rows])?;
        layers.iter_mut().for_each(|layer| layer.lengths = lengths.clone());
        Ok(Self {
            layout: Layout::packed(device, 0, &vec![1; rows])?,
            tokens: ints(&[rows, 1])?,
            conditions: ints(&[rows])?,
            lengths,
            layers,
        })
    }

    pub fn upload(&self, next: &Next) -> Result<()> {
        self.tokens.upload(next.tokens)?;
        self.layout.places.upload(next.places)?;
        self.conditions.upload(next.conditions)?;
        self.lengths.upload(next.lengths)
    }
}
