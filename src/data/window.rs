//! Windows: which cells of the canvas a packed row holds.
//!
//! A window is one cell higher and wider than the largest grid that is known before answering: of
//! the demonstrations of the row's puzzle, inputs and outputs as its variant shows them, and the
//! row's own input. The cell more is the border of EOS. It stands where the input stands and ends
//! at the canvas' edge. The output that a row asks for has no say in its window.
//!
//! The demonstrations are the examples of the same puzzle id in split `train`; without any, the
//! window is the whole canvas. A shard does not tell test pairs that are trained on (those of
//! training tasks, by the official holdout) from demonstrations: in training they count as such.
//! Nothing that is evaluated is concerned.

use super::canvas::Placement;
use super::grid::{Grid, Pair};
use super::shard::{Shard, Side};
use super::vocab::{BLANK_ID, Kind, PAD};
use crate::Result;

/// Cells of the canvas that a row of training or of a question has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RowLayout {
    /// Those of its [`Window`].
    Packed,
    /// All.
    #[default]
    Padded,
    /// None: the row is a [`Sequence`](super::sequence::Sequence) of input and output.
    Sequence,
}

impl RowLayout {
    /// The word in `data.layout`.
    pub fn word(self) -> &'static str {
        match self {
            Self::Packed => "packed",
            Self::Padded => "padded",
            Self::Sequence => "sequence",
        }
    }
}

/// A rectangle of the canvas: the cells that a packed row holds, row by row.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Window {
    pub top: u8,
    pub left: u8,
    pub h: u8,
    pub w: u8,
}

#[expect(clippy::len_without_is_empty, reason = "a window is never empty")]
impl Window {
    pub fn whole(canvas: usize) -> Self {
        Self { top: 0, left: 0, h: canvas as u8, w: canvas as u8 }
    }

    /// Room for grids of up to `most` (height, width) and their EOS, from the input's place on.
    fn around(most: Sides, at: Placement, canvas: usize) -> Self {
        let side = |most: u8, from: u8| (most + 1).min((canvas as u8).saturating_sub(from));
        Self { top: at.top, left: at.left, h: side(most[0], at.top), w: side(most[1], at.left) }
    }

    /// Number of cells.
    pub fn len(&self) -> usize {
        self.h as usize * self.w as usize
    }

    /// Index on the canvas, `y * canvas + x`, of each cell in the order of a packed row.
    pub fn cells(&self, canvas: usize) -> impl Iterator<Item = usize> + use<> {
        let (top, left) = (self.top as usize, self.left as usize);
        let (h, w) = (self.h as usize, self.w as usize);
        (top..top + h).flat_map(move |y| (left..left + w).map(move |x| y * canvas + x))
    }

    /// The window's cells of a row of the canvas; `packed` has [`Self::len`] of them.
    pub fn pick(&self, row: &[i32], canvas: usize, packed: &mut [i32]) {
        let (left, w) = (self.left as usize, self.w as usize);
        let lines = row.chunks_exact(canvas).skip(self.top as usize);
        for (to, from) in packed.chunks_exact_mut(w.max(1)).zip(lines) {
            to.copy_from_slice(&from[left..left + w]);
        }
    }

    /// A packed row on the canvas again, PAD around it.
    pub fn spread(&self, packed: &[i32], canvas: usize) -> Vec<i32> {
        let mut row = vec![PAD; canvas * canvas];
        self.cells(canvas).zip(packed).for_each(|(cell, &token)| row[cell] = token);
        row
    }
}

/// The window of a task's input that stands in no data set. Demonstrations and input are grids as
/// the variant shows them.
pub fn window_of(demonstrations: &[Pair], input: &Grid, at: Placement, canvas: usize) -> Window {
    let shown = demonstrations.iter().flat_map(|pair| [sides(&pair.input), sides(&pair.output)]);
    match shown.reduce(larger) {
        Some(most) => Window::around(larger(most, sides(input)), at, canvas),
        None => Window::whole(canvas),
    }
}

/// Height and width.
type Sides = [u8; 2];

fn sides(grid: &Grid) -> Sides {
    [grid.h() as u8, grid.w() as u8]
}

fn larger(a: Sides, b: Sides) -> Sides {
    [a[0].max(b[0]), a[1].max(b[1])]
}

/// What the demonstrations of every puzzle of a data set say of its windows.
pub(super) struct Windows {
    /// Largest sides of the demonstrations by puzzle id; 0 where there are none.
    most: Vec<Sides>,
}

impl Windows {
    /// From the split that demonstrates, if there is one. No cell is read.
    pub fn new(train: Option<&Shard>) -> Result<Self> {
        let Some(train) = train.filter(|shard| shard.spec().kind == Kind::Arc) else {
            return Ok(Self { most: vec![] });
        };
        let mut most = vec![[0; 2]; train.largest_puzzle_id() as usize + 1];
        for puzzle in 0..train.puzzles() {
            let id = train.puzzle_id(puzzle)?;
            if id == BLANK_ID {
                continue;
            }
            for outline in train.outlines(puzzle)? {
                let [input, output] = outline?.map(|side| [side.h, side.w]);
                let so_far = &mut most[id as usize];
                *so_far = larger(*so_far, larger(input, output));
            }
        }
        Ok(Self { most })
    }

    pub fn window(&self, shard: &Shard, example: usize) -> Result<Window> {
        let (puzzle, outline) = shard.outline(example)?;
        Ok(self.around(shard.puzzle_id(puzzle)?, outline, shard.spec().canvas))
    }

    /// Cells of the window of each example.
    pub fn lengths(&self, shard: &Shard) -> Result<Vec<u16>> {
        shard.lengths(|id, outline| self.around(id, outline, shard.spec().canvas).len())
    }

    pub fn window_of_input(&self, id: u32, input: &Grid, at: Placement, canvas: usize) -> Window {
        self.of_sides(id, sides(input), at, canvas)
    }

    fn around(&self, id: u32, [input, output]: [Side; 2], canvas: usize) -> Window {
        match input.at == output.at {
            true => self.of_sides(id, [input.h, input.w], input.at, canvas),
            false => Window::whole(canvas),
        }
    }

    fn of_sides(&self, id: u32, input: Sides, at: Placement, canvas: usize) -> Window {
        match self.most.get(id as usize) {
            Some(&most) if most != [0; 2] => Window::around(larger(most, input), at, canvas),
            _ => Window::whole(canvas),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair(input: (usize, usize), output: (usize, usize)) -> Pair {
        let grid = |(h, w)| Grid::from_fn(h, w, |_, _| 1);
        Pair { input: grid(input), output: grid(output) }
    }

    #[test]
    fn a_window_holds_the_largest_sides_and_ends_at_the_canvas() {
        let shown = [pair((2, 5), (3, 1)), pair((4, 2), (1, 1))];
        let input = |h, w| Grid::from_fn(h, w, |_, _| 1);
        let at = |top, left| Placement { top, left };
        let window = |input: &Grid, at| window_of(&shown, input, at, 10);
        assert_eq!(window(&input(1, 1), at(0, 0)), Window { top: 0, left: 0, h: 5, w: 6 });
        assert_eq!(window(&input(7, 1), at(0, 0)), Window { top: 0, left: 0, h: 8, w: 6 });
        assert_eq!(window(&input(3, 3), at(6, 5)), Window { top: 6, left: 5, h: 4, w: 5 });
        assert_eq!(window(&input(10, 10), at(0, 0)), Window::whole(10));
        assert_eq!(window_of(&[], &input(1, 1), at(2, 2), 10), Window::whole(10));
    }

    #[test]
    fn picked_cells_stand_where_they_stood_when_spread() {
        let row: Vec<i32> = (100..125).collect();
        let window = Window { top: 1, left: 2, h: 3, w: 2 };
        let mut packed = vec![0; window.len()];
        window.pick(&row, 5, &mut packed);
        assert_eq!(packed, [107, 108, 112, 113, 117, 118]);
        assert_eq!(window.cells(5).collect::<Vec<_>>(), [7, 8, 12, 13, 17, 18]);
        let spread = window.spread(&packed, 5);
        for (cell, (&token, &original)) in spread.iter().zip(&row).enumerate() {
            let inside = window.cells(5).any(|c| c == cell);
            assert_eq!(token, if inside { original } else { PAD }, "cell {cell}");
        }
    }
}
