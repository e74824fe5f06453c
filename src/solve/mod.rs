//! Solves one ARC task with a trained model: asks it as every variant of the task, undoes the variants
//! and lets the answers vote. A task that the model was trained on is asked under its trained puzzle
//! embeddings.
//!
//! `solver.rs` the whole of it · `known.rs` is it a task of the data set · `ask.rs` questions and votes ·
//! `outcome.rs` what came out, and in words · `files.rs` what is written.

mod ask;
pub mod files;
pub mod known;
mod outcome;
mod solver;

pub use outcome::{Attempt, Origin, Outcome, Test, check};
pub use solver::{Options, Progress, Solver, Stop};
