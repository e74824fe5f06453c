//! Tokens of every kind of data set: what a stored cell becomes in a row of the model's input.
//!
//! A cell is 4 bits. On ARC canvases it is a colour and its token is `colour + 2`, because PAD
//! and EOS come first; on fixed canvases (Sudoku, maze) the cell is the token itself.

pub const PAD: i32 = 0;
pub const EOS: i32 = 1;
/// Token of colour 0.
pub const FIRST_COLOUR: i32 = 2;
pub const COLOURS: usize = 10;
/// Label of a position that no loss and no metric looks at.
pub const IGNORE: i32 = -100;
/// Puzzle id of padding rows and of data without puzzle identity.
pub const BLANK_ID: u32 = 0;
/// Largest canvas side that a shard can hold; ARC uses 30.
pub const MAX_CANVAS: usize = 64;
pub const MAX_ARC_SIDE: usize = 30;
/// Tokens of a maze, from 1: wall, free, start, goal, path.
pub const MAZE_CHARSET: &str = "# SGo";

/// What the cells mean. The numbers are part of the shard format.
#[derive(
    Clone, Copy, PartialEq, Eq, Debug, serde::Serialize, serde::Deserialize, clap::ValueEnum,
)]
#[serde(rename_all = "lowercase")]
#[repr(u32)]
pub enum Kind {
    /// Grids of any size placed on a canvas, closed by EOS; 10 colours
    Arc = 1,
    /// n x n boards: token 1 is an empty cell, digit d is token d + 1
    Sudoku = 2,
    /// n x n boards of walls, ways, start, goal and path
    Maze = 3,
    /// Boards of tokens without a known meaning
    Tokens = 4,
}

impl Kind {
    pub fn from_u32(number: u32) -> Option<Self> {
        [Kind::Arc, Kind::Sudoku, Kind::Maze, Kind::Tokens]
            .into_iter()
            .find(|&k| k as u32 == number)
    }

    pub fn name(self) -> &'static str {
        match self {
            Kind::Arc => "arc",
            Kind::Sudoku => "sudoku",
            Kind::Maze => "maze",
            Kind::Tokens => "tokens",
        }
    }

    /// Tokens including PAD; `None` where the data itself must say.
    pub fn vocab_size(self, canvas: usize) -> Option<usize> {
        match self {
            Kind::Arc => Some(FIRST_COLOUR as usize + COLOURS),
            Kind::Sudoku => Some(canvas + 2),
            Kind::Maze => Some(1 + MAZE_CHARSET.len()),
            Kind::Tokens => None,
        }
    }

    /// Number of distinct cell values that a shard of this kind may hold.
    pub fn cell_values(self, vocab_size: usize) -> usize {
        if self == Kind::Arc { COLOURS } else { vocab_size }
    }
}
