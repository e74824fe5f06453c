//! What the program shares with its machine: files put in place, progress of long work.

pub mod file;
pub mod progress;
