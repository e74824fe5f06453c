//! An ARC pair as a sequence of tokens, and where each token is in space.
//!
//! ```text
//!   start | input row, newline, ... | separator | output row, newline, ... | end
//!   z = 0 | z = 1                   | z = 2     | z = 3                    | z = 4
//! ```
//!
//! A token has the position (x, y, z): a cell its column and row, a newline x = the width of its
//! row, the others (0, 0, z). A *place* numbers the positions that a canvas of `side` cells has.

/// Tokens 0 to 9 are colours.
pub const START: i32 = 10;
pub const NEWLINE: i32 = 11;
pub const SEPARATOR: i32 = 12;
/// Only ever answered, never read.
pub const END: i32 = 13;
/// Number of tokens (V).
pub const VOCABULARY: usize = 14;
/// Tokens of the canvases that questions come on and answers are shown on.
pub const CANVAS_VOCABULARY: usize = 12;

/// Transforms of a variant, each with an embedding.
pub const TURNS: usize = 8;

/// Values of z.
pub const DEPTH: usize = 5;

/// Where a token is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Position {
    pub x: usize,
    pub y: usize,
    pub z: usize,
}

impl Position {
    pub fn new(x: usize, y: usize, z: usize) -> Self {
        Self { x, y, z }
    }

    /// The number that the position has on a canvas of `side` cells.
    pub fn place(self, side: usize) -> usize {
        (self.z * (side + 1) + self.y) * (side + 1) + self.x
    }

    /// The position with this number.
    pub fn of_place(place: usize, side: usize) -> Self {
        let line = side + 1;
        Self { x: place % line, y: place / line % line, z: place / (line * line) }
    }
}

/// Number of places.
pub fn places(side: usize) -> usize {
    DEPTH * (side + 1) * (side + 1)
}

/// Tokens that a grid of `h` x `w` takes.
pub fn grid_len(h: usize, w: usize) -> usize {
    h * (w + 1)
}

/// Tokens that are read of a pair whose grids take so many: start and separator beside them.
pub fn pair_len([input, output]: [usize; 2]) -> usize {
    2 + input + output
}

/// Tokens that are read of the longest pair.
pub fn longest(side: usize) -> usize {
    pair_len([grid_len(side, side); 2])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_number_positions() {
        let side = 7;
        for place in 0..places(side) {
            assert_eq!(Position::of_place(place, side).place(side), place);
        }
        assert_eq!(Position::new(7, 6, 4).place(side), places(side) - 1 - 8);
    }
}
