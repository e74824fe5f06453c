//! The folder layout of the official Python projects, in and out: `<split>/dataset.json`,
//! `<split>/<set>__{inputs,labels,puzzle_identifiers,puzzle_indices,group_indices}.npy` and
//! `identifiers.json`. A data set that goes out and comes back is the same, row by row.
//!
//! `export.rs`, `import.rs` the folder · `write.rs`, `read.rs` one array in a file.

mod export;
mod import;
mod read;
mod write;

pub use export::export;
pub use import::import;

/// Name of the only set of a split.
const SET: &str = "all";

/// What `dataset.json` of a split says. Other fields are allowed and ignored.
#[derive(Clone, PartialEq, Debug, serde::Serialize, serde::Deserialize)]
struct Metadata {
    pad_id: u32,
    ignore_label_id: Option<i64>,
    blank_identifier_id: u32,
    vocab_size: usize,
    seq_len: usize,
    num_puzzle_identifiers: usize,
    total_groups: usize,
    mean_puzzle_examples: f64,
    /// TRM's program asks for it, HRM's does not look.
    total_puzzles: Option<usize>,
    sets: Vec<String>,
}
