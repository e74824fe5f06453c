//! What the program shares with its machine: files put in place, progress of long work,
//! sizes and times as people write them.

pub mod file;
pub mod progress;
pub mod units;
