//! What a run reports about itself, in formats that other programs read.

pub mod jsonl;
