//! Solves one ARC task with a trained model: asks it as every variant of the task, undoes the
//! variants and lets the answers vote. A task that the model was trained on is asked under its
//! trained puzzle embeddings; for one that it never saw, fresh embeddings are fine-tuned on the
//! task's own pairs.
//!
//! `solver.rs` the whole of it · `known.rs` is it a task of the data set · `unseen.rs` what is done
//! if not · `rows.rs` training rows of a task · `starts.rs` where their embeddings start ·
//! `fit.rs` fine-tuning on them · `ask.rs` questions
//! and votes · `options.rs` what is asked and told · `pace.rs` time · `outcome.rs` what came out,
//! `words.rs` in words · `files.rs` what is written.

mod ask;
pub mod files;
pub mod fit;
pub mod known;
mod options;
mod outcome;
mod pace;
mod rows;
mod solver;
mod starts;
mod unseen;
mod words;

pub use options::{Ended, FineTune, Fitted, GoOn, Options, Progress, Stop};
pub use outcome::{Attempt, HeldOut, Origin, Outcome, Test, check};
pub use solver::Solver;
