//! `predictions.jsonl`: one line per example. Written by an evaluation; read to score answers from
//! anywhere by the same code.
//!
//! ```text
//! example     number in the split          puzzle     its name, checked when read
//! answer      rows of the grid, one hexadecimal digit per cell: colours, or a board's tokens
//! q_halt      logit, breaks ties of votes; 0 when absent
//! original exact cells q_continue halt_step steps     written, not read; no exact and no cells
//!                                                     of a hidden test input
//! ```

use std::collections::HashSet;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

use serde::Deserialize;
use serde_json::json;

use super::Evaluation;
use super::answered::{answered, place};
use super::score::{Verdict, answered_grid};
use super::submission;
use crate::data::{DataSet, Grid};
use crate::io::file;
use crate::io::json::{self, Object};
use crate::{Error, Result};

pub const FILE: &str = "predictions.jsonl";

pub fn write(
    path: &Path,
    data: &DataSet,
    evaluation: &Evaluation,
    verdicts: &[Verdict],
) -> Result<()> {
    let io = || Error::io(path, "write (disk full?)");
    let mut file = BufWriter::new(File::create(path).map_err(io())?);
    let names = data.identifiers()?;
    for (i, verdict) in verdicts.iter().enumerate() {
        let example = data.example(&evaluation.split, evaluation.examples[i] as usize)?;
        let grid = evaluation.grid(data, i)?;
        let line = json!({
            "example": evaluation.examples[i],
            "puzzle": names.get(example.puzzle_id as usize),
            "original": verdict.original,
            "answer": grid.rows().map(digits).collect::<Vec<_>>(),
            "exact": (!verdict.hidden).then_some(verdict.exact),
            "cells": (!verdict.hidden).then_some(verdict.cells),
            "q_halt": evaluation.q[i][0],
            "q_continue": evaluation.q[i][1],
            "halt_step": evaluation.halt_steps[i],
            "steps": evaluation.steps[i],
        });
        writeln!(file, "{line}").map_err(io())?;
    }
    file.flush().map_err(io())
}

/// Largest file of predictions; a line has about a kilobyte.
const MAX_BYTES: u64 = 2 << 30;

#[derive(Deserialize)]
struct Line {
    example: u32,
    puzzle: Option<String>,
    answer: Vec<String>,
    #[serde(default)]
    q_halt: f32,
}

/// An evaluation of the examples that the file names, in its order, as if a model had answered
/// them.
///
/// # Errors
///
/// Names the line: no JSON, an example that is not in the split, twice there or of another puzzle,
/// an answer that is no grid or does not fit the canvas, a logit that is not finite.
pub fn read(path: &Path, data: &DataSet, split: &str) -> Result<Evaluation> {
    let bytes = file::read_text(path, "a file of predictions", b'{', MAX_BYTES)?;
    if submission::is_by_task(&bytes) {
        return submission::read(&bytes, data, split).map_err(|what| Error::corrupt(path, what));
    }
    let text = String::from_utf8(bytes)
        .map_err(|e| Error::corrupt(path, format!("is no text (UTF-8): {e}")))?;
    let mut out = answered(data, split);
    let mut seen = HashSet::new();
    for (i, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let at = |what: String| Error::corrupt(path, format!("line {}: {what}", i + 1));
        let Object(line): Object<Line> =
            json::parse(line.as_bytes()).map_err(|e| at(e.to_string()))?;
        if !seen.insert(line.example) {
            return Err(at(format!("example {} for the second time", line.example)));
        }
        out.tokens.extend(row(&line, data, split).map_err(at)?);
        out.examples.push(line.example);
        out.q.push([line.q_halt, 0.0]);
    }
    match out.examples.is_empty() {
        true => Err(Error::corrupt(path, "holds no prediction")),
        false => Ok(out),
    }
}

/// The answer as a row of tokens, (S).
fn row(line: &Line, data: &DataSet, split: &str) -> Result<Vec<u8>, String> {
    let example = data.example(split, line.example as usize).map_err(|e| e.to_string())?;
    let names = data.identifiers().map_err(|e| e.to_string())?;
    let name = names.get(example.puzzle_id as usize);
    if let Some(puzzle) = &line.puzzle
        && Some(puzzle) != name
    {
        let (n, is) = (line.example, name.map_or("?", String::as_str));
        return Err(format!(
            "example {n} of split {split} is of puzzle {is}, not of {puzzle}: the predictions are \
             for another data set"
        ));
    }
    if !line.q_halt.is_finite() {
        return Err(format!("q_halt is {}", line.q_halt));
    }
    let grid = grid(&line.answer)?;
    place(&grid, &example, data)
}

fn grid(rows: &[String]) -> Result<Grid, String> {
    let w = rows.first().map_or(0, String::len);
    let mut cells = vec![];
    for row in rows {
        let digits = row.chars().map(|c| c.to_digit(16).map(|d| d as u8));
        let digits: Option<Vec<u8>> = digits.collect();
        match digits.filter(|digits| digits.len() == w) {
            Some(digits) => cells.extend(digits),
            None => return Err(format!("answer row {row:?} is not {w} hexadecimal digits")),
        }
    }
    Grid::new(rows.len(), w, cells).map_err(|e| e.to_string())
}

fn digits(cells: &[u8]) -> String {
    cells.iter().filter_map(|&c| char::from_digit(c as u32, 16)).collect()
}

impl Evaluation {
    /// The grid of the `i`-th answer.
    pub fn grid(&self, data: &DataSet, i: usize) -> Result<Grid> {
        let example = data.example(&self.split, self.examples[i] as usize)?;
        let row: Vec<i32> = self.row(i).iter().map(|&t| t as i32).collect();
        Ok(answered_grid(data.kind(), &row, example.input_at, data.canvas()))
    }
}
