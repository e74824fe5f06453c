//! Rows of a batch end to end: which positions of an (N, C) tensor are whose.
//!
//! ```text
//!   slot r      positions starts[r] .. starts[r + 1], a fixed room for one row
//!   row in it   the first lengths[r] of them: P positions of the puzzle prefix, then its cells
//!   places[n]   the place of position n: t < P in the prefix, P + canvas index of a cell
//! ```
//!
//! Positions of a slot beyond its row are filling: nothing attends to them, their labels are
//! ignored, and their attention is zero. A padded batch is the case in which every slot has the
//! whole canvas and every row fills it. Cells alone (tokens, labels) lie end to end, too: those of
//! slot r from `starts[r] - r P`. Slots are fixed when memory is planned; `lengths` and `places`
//! belong to the rows that are in them.

use std::sync::Arc;

use super::refuse;
use super::tiles::{Cut, Lists, Tiles};
use crate::Result;
use crate::backend::{Device, Purpose};
use crate::dtype::DType;
use crate::shape::Shape;
use crate::tensor::{Read, Tensor};

/// Cheap to clone: clones name the same memory.
#[derive(Clone)]
pub struct Layout {
    prefix: usize,
    positions: Bounds,
    cells: Bounds,
    rows: Bounds,
    row_of: Tensor,
    tiles: Lists,
    /// Positions of each row in use, its prefix included, (R) i32.
    pub lengths: Tensor,
    /// Place of each position, (N) i32.
    pub places: Tensor,
}

/// Where the elements of each slot begin in a flat tensor, and the end of the last.
#[derive(Clone)]
pub struct Bounds {
    pub host: Arc<[usize]>, // (R + 1)
    pub device: Tensor,     // (R + 1) i32
}

impl Bounds {
    fn new(device: &Device, sizes: impl Iterator<Item = usize>) -> Result<Self> {
        let mut host = vec![0];
        host.extend(sizes.scan(0, |end, size| {
            *end += size;
            Some(*end)
        }));
        let end = host[host.len() - 1];
        let values: Vec<i32> = host.iter().map(|&at| at as i32).collect();
        if end > i32::MAX as usize {
            return Err(refuse("layout", format!("{end} positions in a batch")));
        }
        let device = Tensor::from_slice(device, &values, [values.len()], Purpose::Workspace)?;
        Ok(Self { host: host.into(), device })
    }

    /// Slots.
    pub fn slots(&self) -> usize {
        self.host.len() - 1
    }

    /// Elements of all slots.
    pub fn total(&self) -> usize {
        self.host[self.slots()]
    }

    /// Elements of each slot, in order.
    pub fn sizes(&self) -> impl Iterator<Item = usize> {
        self.host.windows(2).map(|pair| pair[1] - pair[0])
    }

    /// Elements of the largest slot.
    pub fn largest(&self) -> usize {
        self.sizes().max().unwrap_or(0)
    }

    /// The slots' pieces of a flat slice, each element of the bounds being `width` of its elements.
    pub fn pieces<'a, T>(&self, mut x: &'a [T], width: usize) -> Vec<&'a [T]> {
        let mut all = Vec::with_capacity(self.slots());
        for size in self.sizes() {
            let (piece, rest) = x.split_at(size * width);
            all.push(piece);
            x = rest;
        }
        all
    }

    /// [`pieces`](Self::pieces) to write to.
    pub fn pieces_mut<'a, T>(&self, mut x: &'a mut [T], width: usize) -> Vec<&'a mut [T]> {
        let mut all = Vec::with_capacity(self.slots());
        for size in self.sizes() {
            let (piece, rest) = x.split_at_mut(size * width);
            all.push(piece);
            x = rest;
        }
        all
    }
}

impl Layout {
    /// Rooms for rows of up to `cells[r]` cells behind `prefix` positions. What is in them is for
    /// the caller to upload to `lengths` and `places`; so far no row has a position.
    pub fn packed(device: &Device, prefix: usize, cells: &[usize]) -> Result<Self> {
        let positions = Bounds::new(device, cells.iter().map(|cells| prefix + cells))?;
        let n = positions.total();
        let row_of = positions.sizes().enumerate();
        let row_of: Vec<i32> =
            row_of.flat_map(|(r, size)| std::iter::repeat_n(r as i32, size)).collect();
        let zeros = |len| Tensor::zeros(device, DType::I32, [len], Purpose::Carry);
        Ok(Self {
            prefix,
            cells: Bounds::new(device, cells.iter().copied())?,
            rows: Bounds::new(device, cells.iter().map(|_| 1))?,
            row_of: Tensor::from_slice(device, &row_of, [n], Purpose::Workspace)?,
            tiles: Lists::new(device, &Vec::from_iter(positions.sizes()))?,
            lengths: zeros(cells.len())?,
            places: zeros(n)?,
            positions,
        })
    }

    /// `b` rows that have all of a canvas of `s` cells.
    pub fn padded(device: &Device, b: usize, prefix: usize, s: usize) -> Result<Self> {
        let layout = Self::packed(device, prefix, &vec![s; b])?;
        let t = (prefix + s) as i32;
        layout.lengths.upload(&vec![t; b])?;
        layout.places.upload(&(0..b).flat_map(|_| 0..t).collect::<Vec<i32>>())?;
        Ok(layout)
    }

    /// The layout of x (B, T, C), whose rows have a canvas of T - P cells.
    pub fn of(x: &Tensor, prefix: usize) -> Result<Self> {
        let [b, t, _] = x.dims("layout of x (B, T, C)")?;
        Self::padded(x.device(), b, prefix, t.saturating_sub(prefix))
    }

    /// The place of each position, where `cells` has the canvas index of each cell.
    pub fn places_of(&self, cells: &[i32]) -> Vec<i32> {
        let prefix = self.prefix as i32;
        let of_row = |cells: &&[i32]| {
            let cells = cells.iter().map(move |cell| prefix + cell);
            (0..prefix).chain(cells).collect::<Vec<i32>>()
        };
        self.cells.pieces(cells, 1).iter().flat_map(of_row).collect()
    }

    /// The places on a CPU, refused where one is beyond a table of `known` rows.
    pub(super) fn places_below(&self, known: usize, op: &str) -> Result<Read<'_, i32>> {
        let places = self.places.read::<i32>()?;
        match places.iter().find(|place| !(0..known as i32).contains(*place)) {
            Some(place) => Err(refuse(op, format!("place {place} is not below {known}"))),
            None => Ok(places),
        }
    }

    /// P
    pub fn prefix(&self) -> usize {
        self.prefix
    }

    /// R
    pub fn rows(&self) -> usize {
        self.positions.slots()
    }

    /// Where each slot's positions begin.
    pub fn positions(&self) -> &Bounds {
        &self.positions
    }

    /// Where each slot's cells begin.
    pub fn cells(&self) -> &Bounds {
        &self.cells
    }

    /// One element to a slot.
    pub fn ones(&self) -> &Bounds {
        &self.rows
    }

    /// The slot of each position, (N) i32.
    pub fn row_of(&self) -> &Tensor {
        &self.row_of
    }

    /// Positions of the largest slot.
    pub fn largest(&self) -> usize {
        self.positions.largest()
    }

    /// T, where every slot has as many positions.
    pub fn uniform(&self) -> Option<usize> {
        let largest = self.largest();
        self.positions.sizes().all(|size| size == largest).then_some(largest)
    }

    /// Tiles of the slots that `cut` takes, on CUDA; none where it takes no slot.
    pub(super) fn tiles(&self, cut: Cut) -> Option<&Tiles> {
        self.tiles.of(cut)
    }

    /// Shape of a tensor with `c` elements to a position: (B, T, C) where slots are alike, else (N,
    /// C).
    pub fn shape(&self, c: usize) -> Shape {
        match self.uniform() {
            Some(t) => [self.rows(), t, c].into(),
            None => [self.positions.total(), c].into(),
        }
    }

    /// Shape of tokens or labels: (B, S) where slots are alike, else flat.
    pub fn cells_shape(&self) -> Shape {
        match self.uniform() {
            Some(t) => [self.rows(), t - self.prefix].into(),
            None => [self.cells.total()].into(),
        }
    }

    /// Refuse a tensor of another number of positions than this has; the width of one, where it
    /// fits.
    pub(super) fn width(&self, what: &str, x: &Tensor) -> Result<usize> {
        let (n, c) = (self.positions.total(), x.shape().last());
        if x.elems() != n * c {
            return Err(refuse(
                what,
                format!("{} is not {n} positions, which {} rows have", x.shape(), self.rows()),
            ));
        }
        Ok(c)
    }

    /// Refuse tokens or labels that are not as many as there are cells.
    pub(super) fn expect_cells(&self, what: &str, x: &Tensor) -> Result<()> {
        x.expect_dims(what, self.cells_shape().dims())?;
        x.expect_dtype(what, DType::I32)
    }
}
