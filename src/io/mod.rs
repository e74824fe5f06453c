//! What the program shares with its machine: files put in place, JSON, progress of long work and
//! other lines for people, what the machine is, sizes and times as people write them.

pub mod file;
pub mod json;
pub mod machine;
pub mod out;
pub mod progress;
pub mod say;
pub mod units;
