//! Training: optimizer steps over micro-batches, the loop around them, and what is kept on disk.

pub mod checkpoint;
pub mod optimizer;
pub mod schedule;
pub mod signal;
pub mod trainer;
