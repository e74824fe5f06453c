//! Grids on a canvas of tokens: the grid at (top, left), one row of EOS below it and one column
//! of EOS right of it (the corner stays PAD), each dropped where the grid touches the border.

use super::augment::{Variant, View};
use super::grid::Grid;
use super::vocab::{COLOURS, EOS, FIRST_COLOUR, PAD};

/// Top left corner of a grid on the canvas.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Placement {
    pub top: u8,
    pub left: u8,
}

/// Token of each 4-bit cell; `pad` stands for PAD (inputs: 0, labels: PAD or IGNORE).
pub type Tokens = [i32; 16];

pub fn arc_tokens(variant: &Variant) -> Tokens {
    let mut tokens = [PAD; 16];
    for (token, &colour) in tokens.iter_mut().zip(&variant.colours) {
        *token = colour as i32 + FIRST_COLOUR;
    }
    tokens
}

pub fn fixed_tokens(pad: i32) -> Tokens {
    std::array::from_fn(|cell| if cell == 0 { pad } else { cell as i32 })
}

/// Writes the cells through `view` and `tokens` to `row` (canvas x canvas), which holds padding.
/// The caller has checked that the view fits the cells and the canvas.
#[inline]
pub(super) fn paint(
    cells: &[u8],
    view: View,
    tokens: &Tokens,
    at: Placement,
    canvas: usize,
    row: &mut [i32],
) {
    let (top, left) = (at.top as usize, at.left as usize);
    let lines = row.chunks_exact_mut(canvas).skip(top).take(view.h);
    for (r, line) in lines.enumerate() {
        let mut i = view.start as isize + r as isize * view.row_step;
        for token in &mut line[left..left + view.w] {
            *token = tokens[(cells[i as usize] & 15) as usize];
            i += view.col_step;
        }
    }
}

/// The EOS row and column of an h x w grid.
#[inline]
pub(super) fn paint_eos(h: usize, w: usize, at: Placement, canvas: usize, row: &mut [i32]) {
    let (top, left) = (at.top as usize, at.left as usize);
    if left + w < canvas {
        row.chunks_exact_mut(canvas).skip(top).take(h).for_each(|line| line[left + w] = EOS);
    }
    if top + h < canvas {
        row[(top + h) * canvas + left..][..w].fill(EOS);
    }
}

/// An ARC grid as a row of tokens; `None` if it does not fit.
pub fn encode(grid: &Grid, at: Placement, canvas: usize) -> Option<Vec<i32>> {
    let (top, left) = (at.top as usize, at.left as usize);
    let fits = top + grid.h() <= canvas && left + grid.w() <= canvas && !grid.is_empty();
    if !fits || grid.cells().iter().any(|&c| c as usize >= COLOURS) {
        return None;
    }
    let mut row = vec![PAD; canvas * canvas];
    let view = View::new(0, grid.h(), grid.w());
    paint(grid.cells(), view, &arc_tokens(&Variant::IDENTITY), at, canvas, &mut row);
    paint_eos(grid.h(), grid.w(), at, canvas, &mut row);
    Some(row)
}

/// A predicted row as a grid, the way the official evaluation reads it: the largest rectangle
/// from the top left corner that holds colours only. Empty if the first token is no colour.
pub fn crop(row: &[i32], canvas: usize) -> Grid {
    let (mut h, mut w, mut width) = (0, 0, canvas);
    for (r, line) in row.chunks_exact(canvas).enumerate() {
        let is_colour = |t: &i32| (FIRST_COLOUR..FIRST_COLOUR + COLOURS as i32).contains(t);
        width = line[..width].iter().position(|t| !is_colour(t)).unwrap_or(width);
        if (r + 1) * width > h * w {
            (h, w) = (r + 1, width);
        }
    }
    Grid::from_fn(h, w, |r, c| (row[r * canvas + c] - FIRST_COLOUR) as u8)
}

/// The grid of a true (not predicted) row wherever it stands on the canvas; `None` unless the
/// row is exactly what [`encode`] makes of it.
pub fn locate(row: &[i32], canvas: usize) -> Option<(Grid, Placement)> {
    let first = row.iter().position(|&t| t >= FIRST_COLOUR)?;
    let (top, left) = (first / canvas, first % canvas);
    let line = &row[first..(top + 1) * canvas];
    let w = line.iter().position(|&t| t < FIRST_COLOUR).unwrap_or(line.len());
    let column = row[first..].iter().step_by(canvas);
    let h = column.take_while(|&&t| t >= FIRST_COLOUR).count();
    let colour = |r, c| u8::try_from(row[(top + r) * canvas + left + c] - FIRST_COLOUR);
    let grid = Grid::from_fn(h, w, |r, c| colour(r, c).unwrap_or(u8::MAX));
    let at = Placement { top: top as u8, left: left as u8 };
    (encode(&grid, at, canvas)? == row).then_some((grid, at))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grid() -> Grid {
        Grid::from_fn(2, 3, |r, c| (3 * r + c) as u8)
    }

    #[test]
    fn eos_closes_the_grid_and_is_dropped_at_the_border() {
        let row = encode(&grid(), Placement { top: 0, left: 0 }, 4).unwrap();
        assert_eq!(row, [2, 3, 4, 1, 5, 6, 7, 1, 1, 1, 1, 0, 0, 0, 0, 0]);
        let row = encode(&grid(), Placement { top: 2, left: 1 }, 4).unwrap();
        assert_eq!(row, [0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 3, 4, 0, 5, 6, 7]);
        assert_eq!(encode(&grid(), Placement { top: 3, left: 1 }, 4), None);
    }

    #[test]
    fn crop_and_locate_find_the_grid_again() {
        for (top, left) in [(0, 0), (2, 1), (1, 0)] {
            let at = Placement { top, left };
            let row = encode(&grid(), at, 4).unwrap();
            assert_eq!(locate(&row, 4), Some((grid(), at)));
        }
        assert_eq!(crop(&encode(&grid(), Placement::default(), 4).unwrap(), 4), grid());
        assert!(crop(&[0; 16], 4).is_empty());
        let mut odd = encode(&grid(), Placement::default(), 4).unwrap();
        odd[15] = 1;
        assert_eq!(locate(&odd, 4), None);
    }

    #[test]
    fn crop_takes_the_largest_rectangle() {
        // 4 wide in row 0, 2 wide in the two rows below: 3 x 2 beats 1 x 4.
        let row = [2, 2, 2, 2, 3, 3, 1, 1, 4, 4, 0, 0, 1, 1, 1, 1];
        assert_eq!(crop(&row, 4), Grid::new(3, 2, vec![0, 0, 1, 1, 2, 2]).unwrap());
    }
}
