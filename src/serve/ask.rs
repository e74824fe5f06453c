//! What a client asks of a refinement, and what it gets.

use super::problem::Problem;
use super::session::State;
use crate::data::Grid;

/// A puzzle as a client names it.
pub enum Puzzle {
    None,
    Id(u32),
    Name(String),
}

pub enum Ask {
    Init { input: Grid, puzzle: Puzzle },
    Step(String),
    State(String),
    Halt(String),
}

pub type Answer = Result<State, Problem>;
