//! A question to a model: a row of the canvas, and the cells of it that are shown.

use super::score::answered_grid;
use crate::Result;
use crate::data::canvas::{self, Placement};
use crate::data::vocab::{BLANK_ID, IGNORE, PAD};
use crate::data::{Grid, Kind, Window};
use crate::models::{Carry, DeviceBatch, Dims, Model};

/// What is asked.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Row {
    pub inputs: Vec<i32>, // (S)
    /// What the loss compares with; [`IGNORE`] where nothing is known. The answer never sees it.
    pub labels: Vec<i32>, // (S)
    pub puzzle_id: i32,
    /// The cells that are shown to the model; none: the whole canvas.
    pub window: Option<Window>,
}

impl Row {
    /// Canvas indices of the cells that are shown, in order.
    pub fn cells(&self) -> Box<dyn Iterator<Item = usize>> {
        match self.window {
            Some(window) => Box::new(window.cells(self.inputs.len().isqrt())),
            None => Box::new(0..self.inputs.len()),
        }
    }

    /// Number of [`cells`](Self::cells).
    pub fn cell_count(&self) -> usize {
        self.window.map_or(self.inputs.len(), |window| window.len())
    }

    /// Whether the grid of an answer (S) touches an edge of the window beyond which the canvas goes
    /// on: nothing says that it ends there.
    pub fn is_reached_beyond(&self, tokens: &[i32]) -> bool {
        let Some(Window { top, left, h, w }) = self.window else { return false };
        let side = tokens.len().isqrt();
        let grid = answered_grid(Kind::Arc, tokens, Placement { top, left }, side);
        let (bottom, right) = (top as usize + h as usize, left as usize + w as usize);
        (grid.h() >= h as usize && bottom < side) || (grid.w() >= w as usize && right < side)
    }

    /// The grids that stand on the canvas: the input and where it stands, the output where it is
    /// known. `None` where the input is no grid of ARC.
    pub fn grids(&self) -> Option<(Grid, Placement, Option<Grid>)> {
        let side = self.inputs.len().isqrt();
        let (input, at) = canvas::locate(&self.inputs, side)?;
        let shown = |&t: &i32| if t == IGNORE { PAD } else { t };
        let labels: Vec<i32> = self.labels.iter().map(shown).collect();
        Some((input, at, canvas::locate(&labels, side).map(|(output, _)| output)))
    }

    /// The row alone in a batch, from the beginning: what it carries, and itself to be admitted.
    pub fn alone(&self, model: &dyn Model) -> Result<(Carry, DeviceBatch)> {
        batch(model, std::slice::from_ref(self), 0)
    }

    pub(super) fn check(&self, dims: Dims) -> Result<(), String> {
        let (s, v) = (dims.seq_len, dims.vocab_size as i32);
        for (what, tokens) in [("input", &self.inputs), ("label", &self.labels)] {
            if tokens.len() != s {
                return Err(format!("{what} has {} tokens, the model takes {s}", tokens.len()));
            }
            let known = |t: i32| (0..v).contains(&t) || (what == "label" && t == IGNORE);
            if let Some(token) = tokens.iter().find(|t| !known(**t)) {
                return Err(format!("{what} has token {token}, the model knows 0 to {}", v - 1));
            }
        }
        let (id, ids) = (self.puzzle_id, dims.num_puzzle_ids);
        let side = s.isqrt();
        if let Some(Window { top, left, h, w }) = self.window {
            let inside = |from: u8, size: u8| size > 0 && from as usize + size as usize <= side;
            if side * side != s || !inside(top, h) || !inside(left, w) {
                return Err(format!("its window is {h} x {w} at ({top}, {left}) of {s} cells"));
            }
        }
        let known = usize::try_from(id).is_ok_and(|id| id < ids);
        if dims.knows_puzzles() && !known {
            return Err(format!("puzzle id {id}, the model has embeddings for {ids} ids"));
        }
        Ok(())
    }
}

/// Memory for `rows`, and at least so many with blank ones, all of which enter; what runs on is for
/// the caller to move.
pub(super) fn batch(model: &dyn Model, rows: &[Row], least: usize) -> Result<(Carry, DeviceBatch)> {
    let (dims, device, slots) = (model.dims(), model.device(), rows.len().max(least));
    let packed = rows.iter().any(|row| row.window.is_some());
    let (carry, batch) = match packed {
        true => {
            let mut cells: Vec<usize> = rows.iter().map(Row::cell_count).collect();
            cells.resize(slots, dims.seq_len);
            let carry = Carry::packed(model, &cells)?;
            let batch = DeviceBatch::packed(device, &carry.layout)?;
            (carry, batch)
        }
        false => (Carry::of_rows(model, slots)?, DeviceBatch::new(device, slots, dims.seq_len)?),
    };
    let (mut inputs, mut labels, mut cells) = (vec![], vec![], vec![]);
    for row in rows {
        for cell in row.cells() {
            inputs.push(row.inputs[cell]);
            labels.push(row.labels[cell]);
            cells.push(cell as i32);
        }
    }
    let all = carry.layout.cells().total();
    inputs.resize(all, PAD);
    labels.resize(all, IGNORE);
    cells.resize(all, 0);
    let mut ids: Vec<i32> = rows.iter().map(|row| row.puzzle_id).collect();
    ids.resize(slots, BLANK_ID as i32);
    let lengths: Vec<i32> = carry.layout.positions().sizes().map(|size| size as i32).collect();
    let places = carry.layout.places_of(&cells);
    for to in [&batch, &carry.current] {
        to.upload(&inputs, &labels, &ids)?;
        if let Some(placed) = &to.placed {
            placed.lengths.upload(&lengths)?;
            placed.places.upload(&places)?;
        }
    }
    Ok((carry, batch))
}
