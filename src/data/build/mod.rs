//! Makers of data sets: ARC with augmentations, Sudoku, mazes, and the layout of the Python
//! projects. Each writes through [`Output`](super::output::Output).

pub mod arc;
pub mod source;
pub mod variants;
