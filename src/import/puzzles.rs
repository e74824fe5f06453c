//! The table of puzzle embeddings of an imported model, and the puzzle ids of the data set that it
//! is to work on. A row belongs to one puzzle of the data that it was trained with, so other rows
//! are made only where that was asked for.

use clap::ValueEnum;

use crate::data::DataSet;
use crate::formats::HostTensor;
use crate::shape::Shape;
use crate::{Error, Result};

/// What becomes of the rows when the data set has other puzzle ids.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, ValueEnum)]
pub enum Puzzles {
    /// Refuse; the data set must be the one that the model was trained on
    #[default]
    Keep,
    /// Every row becomes the mean of all rows, as the official TRM program does
    Reset,
    /// The first rows stay, further ones are cut off; missing ones become the mean of all rows
    Resize,
}

/// `table` (NP, D) f32 for the ids of `data`, and a line that says what was done, if anything was.
/// Errors follow the file's name.
pub fn fit(
    table: HostTensor,
    data: &DataSet,
    puzzles: Puzzles,
) -> Result<(HostTensor, Option<String>)> {
    let [rows, d] = table.shape.bind("puzzle embeddings (NP, D)")?;
    let ids = data.num_puzzle_ids();
    let kept = match puzzles {
        Puzzles::Keep if rows == ids => return Ok((table, None)),
        Puzzles::Keep => {
            return Err(Error::invalid(format!(
                "has embeddings of {rows} puzzles, {} has {ids} puzzle ids (the blank one \
                 included): the model was trained on another data set. Name that one, or choose: \
                 --puzzles reset (each of the {ids} gets the mean of the {rows}), --puzzles resize \
                 (the first {} keep theirs; right only if these ids mean the same puzzles)",
                data.dir().display(),
                rows.min(ids)
            )));
        }
        Puzzles::Reset => 0,
        Puzzles::Resize => rows.min(ids),
    };
    let mean = mean_row(&table.bytes, d, rows);
    let row_bytes = mean.len();
    let mut bytes = table.bytes;
    bytes.truncate(kept * row_bytes);
    bytes.extend(mean.iter().copied().cycle().take((ids - kept) * row_bytes));
    let line = match kept {
        0 => format!("puzzle embeddings: all {ids} are the mean of the {rows} in the file"),
        _ => format!(
            "puzzle embeddings: {kept} of {rows} kept by number, {} new ones are their mean",
            ids - kept
        ),
    };
    Ok((HostTensor { shape: Shape::new(&[ids, d]), bytes, ..table }, Some(line)))
}

/// Summed in f64, in the order of the rows; as bytes.
fn mean_row(bytes: &[u8], d: usize, rows: usize) -> Vec<u8> {
    let mut sums = vec![0f64; d];
    for row in bytes.chunks_exact(4 * d) {
        for (sum, word) in sums.iter_mut().zip(row.chunks_exact(4)) {
            *sum += f32::from_le_bytes([word[0], word[1], word[2], word[3]]) as f64;
        }
    }
    sums.iter().flat_map(|sum| ((sum / rows as f64) as f32).to_le_bytes()).collect()
}
