//! Training: optimizer steps over micro-batches, the loop around them, and what is kept on disk.

pub mod checkpoint;
pub mod distill;
pub mod import;
mod init;
mod ledger;
pub mod log;
pub mod metrics;
pub mod needed;
pub mod optimizer;
mod pictures;
pub mod plan;
mod recorder;
pub mod resume;
pub mod run;
pub mod run_folder;
pub mod schedule;
pub mod setup;
pub mod signal;
mod step_input;
mod tracking;
pub mod trainer;
pub mod validate;
