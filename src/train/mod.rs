//! Training: optimizer steps over micro-batches, the loop around them, and what is kept on disk.

pub mod distill;
mod init;
pub mod learner;
pub mod metrics;
pub mod needed;
pub mod optimizer;
mod pictures;
mod recorder;
pub mod room;
pub mod run;
pub mod schedule;
pub mod setup;
mod step_input;
mod stretches;
pub mod tokens;
pub mod trainer;
pub mod validate;
