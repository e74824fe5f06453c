//! A grid of small cell values (ARC colours, or tokens of a fixed board), always rectangular.

use std::fmt;

use super::vocab::{COLOURS, MAX_ARC_SIDE};
use crate::{Error, Result};

#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub struct Grid {
    h: usize,
    w: usize,
    cells: Vec<u8>,
}

impl Grid {
    /// `cells` row by row. An empty grid (0 x 0) is allowed: a prediction may be empty.
    pub fn new(h: usize, w: usize, cells: Vec<u8>) -> Result<Self> {
        if cells.len() == h * w {
            return Ok(Self { h, w, cells });
        }
        Err(Error::invalid(format!("grid {h} x {w} cannot have {} cells", cells.len())))
    }

    pub fn from_fn(h: usize, w: usize, mut cell: impl FnMut(usize, usize) -> u8) -> Self {
        let cells = (0..h * w).map(|i| cell(i / w, i % w)).collect();
        Self { h, w, cells }
    }

    /// An ARC grid as it stands in a task file: 1..=30 rows of equal length, colours 0..=9.
    pub fn from_arc_rows(rows: &[Vec<i64>]) -> Result<Self, String> {
        let (h, w) = (rows.len(), rows.first().map_or(0, Vec::len));
        if h == 0 || w == 0 {
            return Err("is empty".into());
        }
        if h > MAX_ARC_SIDE || w > MAX_ARC_SIDE {
            return Err(format!("is {h} x {w}; a side has at most {MAX_ARC_SIDE} cells"));
        }
        let mut cells = Vec::with_capacity(h * w);
        for (r, row) in rows.iter().enumerate() {
            if row.len() != w {
                return Err(format!("is ragged: row {r} has {} cells, row 0 has {w}", row.len()));
            }
            for (c, &colour) in row.iter().enumerate() {
                if !(0..COLOURS as i64).contains(&colour) {
                    return Err(format!(
                        "has colour {colour} at row {r}, column {c}; 0 to 9 exist"
                    ));
                }
                cells.push(colour as u8);
            }
        }
        Ok(Self { h, w, cells })
    }

    pub fn h(&self) -> usize {
        self.h
    }

    pub fn w(&self) -> usize {
        self.w
    }

    pub fn cells(&self) -> &[u8] {
        &self.cells
    }

    pub fn is_empty(&self) -> bool {
        self.cells.is_empty()
    }

    pub fn at(&self, r: usize, c: usize) -> u8 {
        self.cells[r * self.w + c]
    }

    pub fn rows(&self) -> impl Iterator<Item = &[u8]> {
        self.cells.chunks_exact(self.w.max(1))
    }

    /// The part that starts at (top, left); `None` if it does not lie inside.
    pub fn window(&self, top: usize, left: usize, h: usize, w: usize) -> Option<Self> {
        let inside = top + h <= self.h && left + w <= self.w;
        inside.then(|| Self::from_fn(h, w, |r, c| self.at(top + r, left + c)))
    }

    pub fn map(&self, f: impl Fn(u8) -> u8) -> Self {
        Self { cells: self.cells.iter().map(|&c| f(c)).collect(), ..*self }
    }
}

impl fmt::Debug for Grid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} x {} ", self.h, self.w)?;
        f.debug_list().entries(self.rows()).finish()
    }
}

/// Written as in task files: a list of rows.
impl serde::Serialize for Grid {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.rows())
    }
}

#[cfg(feature = "serve")]
impl schemars::JsonSchema for Grid {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Grid".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "description": "Rows of colours, all of one length",
            "type": "array",
            "items": {
                "type": "array",
                "items": { "type": "integer", "minimum": 0, "maximum": COLOURS - 1 },
            },
        })
    }
}

/// One example of a task: what is shown, and what is wanted. Of a hidden test input nobody says
/// what is wanted: its output is empty.
#[derive(Clone, PartialEq, Eq, Hash, Debug, serde::Serialize)]
#[cfg_attr(feature = "serve", derive(schemars::JsonSchema))]
pub struct Pair {
    pub input: Grid,
    pub output: Grid,
}

impl Pair {
    /// A test input without a known answer.
    pub fn hidden(input: Grid) -> Self {
        Self { input, output: Grid::default() }
    }

    pub fn is_hidden(&self) -> bool {
        self.output.is_empty()
    }

    /// What is wanted, where that is known.
    pub fn known_output(&self) -> Option<&Grid> {
        (!self.is_hidden()).then_some(&self.output)
    }
}
