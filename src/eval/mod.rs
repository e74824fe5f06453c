//! Evaluation: run a model over a split, score its answers beside those of the identity baseline,
//! report in words, JSON and pictures. Sees models and data, never training.
//!
//! `select.rs` which examples, in which order · `run.rs` the model's answers · `score.rs` how right
//! they are · `report.rs` the table and the files · `images/` reconstructed images.

pub mod images;
pub mod report;
pub mod run;
pub mod score;
pub mod select;

pub use report::{Report, report};
pub use run::{Evaluation, Evaluator, evaluate};
pub use score::{Answers, Scored, Scores, Share, Verdict, score};
pub use select::select;
