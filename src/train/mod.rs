//! Training: optimizer steps over micro-batches, the loop around them, and what is kept on disk.

pub mod optimizer;
pub mod trainer;
