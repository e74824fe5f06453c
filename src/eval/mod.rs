//! Evaluation: run a model over a split, score its answers beside those of the identity baseline,
//! report in words, JSON and pictures. Sees models and data, never the loop.
//!
//! `select.rs` which examples, in which order · `row.rs` a question · `answer.rs` the model's
//! answers, `at_work.rs` the rows under way, `rollouts.rs` several trajectories of each,
//! `decode.rs` those that are written token by token, `finished.rs` what comes of them · `run.rs`
//! to examples of a split · `saved.rs` on disk meanwhile · `predictions.rs` and back from a file,
//! `answered.rs` those of others · `score.rs` how right they are · `question.rs` which ask the same
//! · `vote.rs` votes · `pass.rs` pass@k · `submission.rs` for ARC Prize · `kind.rs`, `breakdown.rs`
//! which fail · `notes.rs` whether that is clean · `report.rs` all of it, `table.rs`, `page/` and
//! `files.rs` to read · `images/` reconstructed images.

pub mod answer;
mod answered;
mod at_work;
pub mod breakdown;
mod decode;
mod files;
mod finished;
pub mod images;
pub mod job;
pub mod kind;
mod logits;
mod notes;
pub mod page;
pub mod pass;
pub mod predictions;
pub mod question;
pub mod report;
mod rollouts;
mod row;
pub mod run;
pub mod saved;
pub mod score;
pub mod select;
pub mod submission;
pub mod table;
pub mod vote;

pub use answer::{Evaluator, fast_rows};
pub use at_work::Halt;
pub use finished::{Answer, Tried};
pub use page::{Curve, Heading};
pub use pass::{Pass, Voted, pass};
pub use report::{Report, Rules, report};
pub use rollouts::Rollouts;
pub use row::Row;
pub use run::{Evaluation, Request, evaluate, row_of};
pub use score::{Answers, Scored, Scores, Share, Verdict, score};
pub use select::{select, select_variants};
pub use vote::{Ballots, Candidate};
