//! Evaluation: run a model over a split, score its answers beside those of the identity baseline,
//! report in words, JSON and pictures. Sees models and data, never training.
//!
//! `select.rs` which examples, in which order · `answer.rs` the model's answers to rows · `run.rs` to
//! examples of a split · `vote.rs` votes on them · `score.rs` how right they are · `report.rs` the
//! table and the files · `images/` reconstructed images.

pub mod answer;
pub mod images;
pub mod report;
pub mod run;
pub mod score;
pub mod select;
pub mod vote;

pub use answer::{Answer, Evaluator, Halt, Row};
pub use report::{Report, report};
pub use run::{Evaluation, evaluate};
pub use score::{Answers, Scored, Scores, Share, Verdict, score};
pub use select::select;
pub use vote::{Ballots, Candidate};
