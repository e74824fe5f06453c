//! Counts of a data set, for people and (as JSON) for scripts.

use super::dataset::DataSet;
use super::lengths::Lengths;
use super::overlap::{self, SCORED};
use super::sampler::Order;
use super::vocab::{Kind, PAD};
use super::window::RowLayout;
use crate::Result;

#[derive(Clone, PartialEq, Debug, serde::Serialize)]
pub struct Stats {
    pub kind: Kind,
    pub canvas: usize,
    pub seq_len: usize,
    pub vocab_size: usize,
    pub num_puzzle_ids: usize,
    pub digest: String,
    /// Training puzzles (variants not counted) with an example that is a test example, too.
    pub train_in_test: usize,
    /// Training examples that the builder left out because what is held out has their content.
    pub held_out_by_content: usize,
    pub splits: Vec<SplitStats>,
}

#[derive(Clone, PartialEq, Debug, serde::Serialize)]
pub struct SplitStats {
    pub split: String,
    pub groups: usize,
    pub puzzles: usize,
    pub examples: usize,
    /// Test inputs without a known answer among them.
    #[serde(skip_serializing_if = "is_zero")]
    pub hidden_examples: usize,
    pub mean_puzzle_examples: f64,
    pub bytes: usize,
    pub bytes_per_example: f64,
    /// Mean number of label positions that are not PAD, over the sampled examples.
    pub mean_label_tokens: f64,
    pub sampled_examples: usize,
    /// Tokens of the sampled labels, by token.
    pub label_tokens: Vec<u64>,
    /// Cells of the windows that packed rows hold; canvases have them, boards do not.
    pub windows: Option<LengthStats>,
    /// Tokens of rows as sequences, likewise.
    pub sequences: Option<LengthStats>,
}

/// How long rows are, as [`Order::Groups`] visits them.
#[derive(Clone, PartialEq, Debug, serde::Serialize)]
pub struct LengthStats {
    pub mean_cells: f64,
    pub canvas_frac: f64,
    /// A quarter of the rows, half of them and so on have no more cells.
    pub q25_cells: usize,
    pub q50_cells: usize,
    pub q75_cells: usize,
    pub q90_cells: usize,
    /// See [`Lengths::quantiles`].
    pub quantiles: Vec<usize>,
    /// Share of a packed batch that its rows leave empty.
    pub filling: Vec<Filling>,
}

#[derive(Clone, PartialEq, Debug, serde::Serialize)]
pub struct Filling {
    pub batch_rows: usize,
    pub frac: f64,
}

const BATCH_ROWS: [usize; 5] = [8, 16, 32, 64, 768];

/// Token counts come from at most this many examples, evenly spaced.
const SAMPLE: usize = 20_000;

pub fn collect(data: &DataSet) -> Result<Stats> {
    let splits = data.split_names().map(|split| split_stats(data, split));
    Ok(Stats {
        kind: data.kind(),
        canvas: data.canvas(),
        seq_len: data.seq_len(),
        vocab_size: data.vocab_size(),
        num_puzzle_ids: data.num_puzzle_ids(),
        digest: data.digest(),
        train_in_test: data.train_in(SCORED)?,
        held_out_by_content: data.held_out_by_content().unwrap_or(0),
        splits: splits.collect::<Result<_>>()?,
    })
}

fn split_stats(data: &DataSet, split: &str) -> Result<SplitStats> {
    let shard = data.split(split)?;
    let step = shard.examples().div_ceil(SAMPLE).max(1);
    let mut rows = vec![PAD; 2 * data.seq_len()];
    let (input, label) = rows.split_at_mut(data.seq_len());
    let mut label_tokens = vec![0u64; data.vocab_size()];
    let sampled = (0..shard.examples()).step_by(step);
    let mut sampled_examples = 0;
    for i in sampled {
        shard.decode(i, PAD, input, label)?;
        if shard.is_hidden(i)? {
            continue;
        }
        sampled_examples += 1;
        label.iter().for_each(|&t| label_tokens[t as usize] += 1);
    }
    let real: u64 = label_tokens[1..].iter().sum();
    Ok(SplitStats {
        split: split.to_owned(),
        groups: shard.groups(),
        puzzles: shard.puzzles(),
        examples: shard.examples(),
        hidden_examples: shard.hidden_examples()?,
        mean_puzzle_examples: data.mean_puzzle_examples(split)?,
        bytes: shard.bytes(),
        bytes_per_example: shard.bytes() as f64 / shard.examples().max(1) as f64,
        mean_label_tokens: real as f64 / sampled_examples.max(1) as f64,
        sampled_examples,
        label_tokens,
        windows: length_stats(data, split, RowLayout::Packed)?,
        sequences: length_stats(data, split, RowLayout::Sequence)?,
    })
}

/// Whether a count is left out of what is written.
pub(crate) fn is_zero(count: &usize) -> bool {
    *count == 0
}

/// What is said of examples of a split that have no known answer.
fn words_hidden(count: usize) -> String {
    format!("has {count} examples without a known answer: they are answered, and not scored")
}

fn length_stats(data: &DataSet, split: &str, layout: RowLayout) -> Result<Option<LengthStats>> {
    if data.kind() != Kind::Arc || data.split(split)?.examples() == 0 {
        return Ok(None);
    }
    let lengths = Lengths::of(data, split, Order::Groups, layout)?;
    let filling = BATCH_ROWS.map(|rows| Filling { batch_rows: rows, frac: lengths.filling(rows) });
    Ok(Some(LengthStats {
        mean_cells: lengths.mean(),
        canvas_frac: lengths.mean() / data.seq_len() as f64,
        q25_cells: lengths.quantile(0.25),
        q50_cells: lengths.quantile(0.5),
        q75_cells: lengths.quantile(0.75),
        q90_cells: lengths.quantile(0.9),
        quantiles: lengths.quantiles().into(),
        filling: filling.into(),
    }))
}

impl Stats {
    pub fn table(&self) -> String {
        let Self { kind, canvas, seq_len, vocab_size, num_puzzle_ids, digest, .. } = self;
        let mut text = format!(
            "{} on canvas {canvas} x {canvas} ({seq_len} tokens), vocabulary {vocab_size}, \
             {num_puzzle_ids} puzzle ids, digest {digest}\n\
             split      groups   puzzles    examples  per puzzle  MB      bytes/example  \
             label tokens\n",
            kind.name()
        );
        for s in &self.splits {
            text += &format!(
                "{:<8} {:>8} {:>9} {:>11} {:>11.2}  {:<7.1} {:>13.1} {:>13.1}\n",
                s.split,
                s.groups,
                s.puzzles,
                s.examples,
                s.mean_puzzle_examples,
                s.bytes as f64 / 1e6,
                s.bytes_per_example,
                s.mean_label_tokens
            );
        }
        for s in self.splits.iter().filter(|s| s.hidden_examples > 0) {
            text += &format!("{} {}\n", s.split, words_hidden(s.hidden_examples));
        }
        text += &self.windows_table();
        if self.held_out_by_content > 0 {
            text += &format!("{}\n", overlap::words_left_out(self.held_out_by_content));
        }
        if self.train_in_test > 0 {
            text += &format!("{}\n", overlap::words(self.train_in_test, SCORED));
        }
        text
    }

    /// Empty where no split has windows.
    fn windows_table(&self) -> String {
        let mut text = String::new();
        for s in &self.splits {
            let Some(windows) = &s.windows else { continue };
            if text.is_empty() {
                text +=
                    "windows  mean cells  of canvas  25 %  50 %  75 %  90 %  % empty in batches of";
                BATCH_ROWS.iter().for_each(|rows| text += &format!(" {rows:>5}"));
                text += "\n";
            }
            text += &format!(
                "{:<8} {:>10.1} {:>8.1} % {:>5} {:>5} {:>5} {:>5} {:>22}",
                s.split,
                windows.mean_cells,
                100.0 * windows.canvas_frac,
                windows.q25_cells,
                windows.q50_cells,
                windows.q75_cells,
                windows.q90_cells,
                ""
            );
            windows.filling.iter().for_each(|f| text += &format!(" {:>5.1}", 100.0 * f.frac));
            text += "\n";
        }
        text
    }
}
