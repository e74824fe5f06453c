//! Makers of data sets: ARC with augmentations, Sudoku, mazes. Each writes through
//! [`Output`](super::output::Output), so a data set is there as a whole or not at all.

pub mod arc;
mod csv_boards;
mod fixed;
pub mod maze;
pub mod source;
pub mod sudoku;
pub mod sudoku_board;
pub mod variants;
