//! Runtime shapes of rank 0 to 4, and the named-dimension checks that ops open with.

use std::fmt;

use crate::{Error, Result};

pub const MAX_RANK: usize = 4;

#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Shape {
    dims: [usize; MAX_RANK],
    rank: u8,
}

impl Shape {
    pub fn new(dims: &[usize]) -> Self {
        assert!(dims.len() <= MAX_RANK, "a tensor has at most {MAX_RANK} dimensions");
        let mut all = [1; MAX_RANK];
        all[..dims.len()].copy_from_slice(dims);
        Self { dims: all, rank: dims.len() as u8 }
    }

    pub fn dims(&self) -> &[usize] {
        &self.dims[..self.rank as usize]
    }

    pub fn rank(&self) -> usize {
        self.rank as usize
    }

    pub fn elems(&self) -> usize {
        self.dims().iter().product()
    }

    /// Size of the last dimension (the width of a row); 1 for a scalar.
    pub fn last(&self) -> usize {
        self.dims().last().copied().unwrap_or(1)
    }

    /// All dimensions but the last, multiplied: the number of rows.
    pub fn rows(&self) -> usize {
        match self.dims().split_last() {
            Some((_, rest)) => rest.iter().product(),
            None => 1,
        }
    }

    /// This shape with another last dimension.
    pub fn with_last(mut self, last: usize) -> Self {
        self.rank = self.rank.max(1);
        self.dims[self.rank as usize - 1] = last;
        self
    }

    /// Exactly `R` dimensions. `what` names op, tensor and letters: `"rope x (B, T, C)"`.
    pub fn bind<const R: usize>(&self, what: &str) -> Result<[usize; R]> {
        self.dims().try_into().map_err(|_| mismatch(what, self, &format!("{R} dimensions")))
    }

    pub fn expect(&self, what: &str, want: &[usize]) -> Result<()> {
        if self.dims() == want {
            Ok(())
        } else {
            Err(mismatch(what, self, &Shape::new(want).to_string()))
        }
    }
}

fn mismatch(what: &str, got: &Shape, want: &str) -> Error {
    let (op, tensor) = what.split_once(' ').unwrap_or(("tensor", what));
    Error::Tensor {
        op: op.to_owned(),
        tensor: tensor.to_owned(),
        got: got.to_string(),
        want: want.to_owned(),
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let dims: Vec<String> = self.dims().iter().map(usize::to_string).collect();
        write!(f, "({})", dims.join(", "))
    }
}

impl fmt::Debug for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl From<&[usize]> for Shape {
    fn from(dims: &[usize]) -> Self {
        Shape::new(dims)
    }
}

impl<const R: usize> From<[usize; R]> for Shape {
    fn from(dims: [usize; R]) -> Self {
        Shape::new(&dims)
    }
}
