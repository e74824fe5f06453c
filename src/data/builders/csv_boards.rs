//! Reads the CSV files of Sudoku-Extreme and Maze-Hard: `source,question,answer,rating`, one line
//! at a time.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::Path;

use super::fixed::MAX_EXAMPLES;
use crate::rng::{Rng, Stream};
use crate::{Error, Result};

/// A board and its solution, still as text.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Row {
    pub question: String,
    pub answer: String,
}

/// Two boards of the largest canvas and a name fit many times.
const MAX_LINE_BYTES: usize = 64 << 10;

/// What rows that are held at once may take; all of Sudoku-Extreme takes half of it.
const MAX_ROWS_BYTES: usize = 2 << 30;
/// What a row takes beside its cells.
const ROW_BYTES: usize = 80;

/// Rows of at least `min_rating`, in the file's order; the texts are squares of equal size.
///
/// # Errors
/// Names the line and what is wrong; more rows than memory is set aside for.
pub fn read(path: &Path, min_rating: Option<f64>) -> Result<Vec<Row>> {
    let (mut rows, mut held_bytes) = (vec![], 0);
    for_each(path, min_rating, |row| hold(&mut rows, &mut held_bytes, row, path))?;
    Ok(rows)
}

fn hold(rows: &mut Vec<Row>, held_bytes: &mut usize, row: Row, path: &Path) -> Result<()> {
    *held_bytes += ROW_BYTES + row.question.len() + row.answer.len();
    if *held_bytes > MAX_ROWS_BYTES {
        let (count, limit_gib) = (rows.len(), MAX_ROWS_BYTES >> 30);
        return Err(Error::corrupt(
            path,
            format!(
                "{count} boards take the {limit_gib} GiB that boards may, and more follow: take a random \
                 part of a training file with --subsample N; cut a test file"
            ),
        ));
    }
    rows.push(row);
    Ok(())
}

/// A random subset of at most `count` rows, a pure function of the seed. The file is read twice,
/// so that no more than the subset is held.
pub fn sample(
    path: &Path,
    min_rating: Option<f64>,
    count: Option<usize>,
    seed: u64,
) -> Result<Vec<Row>> {
    let Some(count) = count else { return read(path, min_rating) };
    if count == 0 {
        return Err(Error::invalid("--subsample 0: at least one board is needed to train on"));
    }
    let mut total = 0usize;
    for_each(path, min_rating, |_| {
        total += 1;
        Ok(())
    })?;
    if count >= total {
        return read(path, min_rating);
    }
    let mut order: Vec<usize> = (0..total).collect();
    Rng::new(seed, Stream::Generate, u64::MAX).shuffle(&mut order);
    order.truncate(count);
    let mut place: Vec<(usize, usize)> = order.into_iter().zip(0..).collect();
    place.sort_unstable();
    let (mut wanted, mut at) = (place.into_iter().peekable(), 0);
    let (mut rows, mut held_bytes, mut places) = (vec![], 0, vec![]);
    for_each(path, min_rating, |row| {
        if let Some((_, place)) = wanted.next_if(|&(index, _)| index == at) {
            hold(&mut rows, &mut held_bytes, row, path)?;
            places.push(place);
        }
        at += 1;
        Ok(())
    })?;
    let mut chosen: Vec<(usize, Row)> = places.into_iter().zip(rows).collect();
    chosen.sort_unstable_by_key(|&(place, _)| place);
    Ok(chosen.into_iter().map(|(_, row)| row).collect())
}

fn for_each(
    path: &Path,
    min_rating: Option<f64>,
    mut each: impl FnMut(Row) -> Result<()>,
) -> Result<()> {
    let corrupt = |what: String| Error::corrupt(path, what);
    if min_rating.is_some_and(f64::is_nan) {
        return Err(Error::invalid("--min-rating NaN: not a number to compare with"));
    }
    let file = File::open(path).map_err(Error::io(path, "open CSV"))?;
    let lines = BoundedLines { inner: BufReader::new(file), line_bytes: 0 };
    let mut reader = csv::ReaderBuilder::new().from_reader(lines);
    let headers = reader.headers().map_err(|e| corrupt(e.to_string()))?.clone();
    let column = |name: &str| {
        headers.iter().position(|h| h == name).ok_or_else(|| {
            let have: Vec<&str> = headers.iter().collect();
            let have: String = have.join(",").chars().take(200).collect();
            corrupt(format!("no column `{name}`; has {have}, needs source,question,answer,rating"))
        })
    };
    let (question, answer) = (column("question")?, column("answer")?);
    let rating = min_rating.map(|_| column("rating")).transpose()?;
    let (mut cells, mut used) = (None, false);
    for (i, record) in reader.records().enumerate() {
        let record = record.map_err(|e| corrupt(e.to_string()))?;
        if i as u64 >= MAX_EXAMPLES {
            return Err(corrupt(format!("has more than {MAX_EXAMPLES} rows: cut it")));
        }
        let at = |message: String| corrupt(format!("line {}: {message}", i + 2));
        if let (Some(column), Some(least)) = (rating, min_rating) {
            let text = record[column].trim();
            let value = text.parse::<f64>().ok().filter(|value| !value.is_nan());
            if value.ok_or_else(|| at(format!("rating `{text}` is no number")))? < least {
                continue;
            }
        }
        let row = Row { question: record[question].into(), answer: record[answer].into() };
        let cells = *cells.get_or_insert(row.question.len());
        if row.question.len() != cells || row.answer.len() != cells || cells == 0 {
            let (q, a) = (row.question.len(), row.answer.len());
            return Err(at(format!("question has {q} cells and answer {a}; {cells} expected")));
        }
        if cells.isqrt().pow(2) != cells {
            return Err(at(format!("{cells} cells are not a square board")));
        }
        used = true;
        each(row)?;
    }
    match used {
        true => Ok(()),
        false => Err(corrupt("no rows left to use".into())),
    }
}

/// Ends the reading of what is no text of lines, before it fills the memory.
struct BoundedLines<R> {
    inner: R,
    line_bytes: usize,
}

impl<R: Read> Read for BoundedLines<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(out)?;
        for line in out[..n].split_inclusive(|&b| b == b'\n') {
            self.line_bytes += line.len();
            if self.line_bytes > MAX_LINE_BYTES {
                let limit_kib = MAX_LINE_BYTES >> 10;
                let what = format!("a line has more than {limit_kib} KiB: not a CSV of boards");
                return Err(io::Error::new(io::ErrorKind::InvalidData, what));
            }
            if line.ends_with(b"\n") {
                self.line_bytes = 0;
            }
        }
        Ok(n)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_that_fill_the_memory_are_refused_with_the_way_out() {
        let row = || Row { question: "1".into(), answer: "1".into() };
        let (mut rows, mut held_bytes) = (vec![], MAX_ROWS_BYTES - ROW_BYTES - 2);
        let path = Path::new("train.csv");
        hold(&mut rows, &mut held_bytes, row(), path).unwrap();
        let error = hold(&mut rows, &mut held_bytes, row(), path).unwrap_err().to_string();
        assert!(
            error.contains("1 boards take the 2 GiB") && error.contains("--subsample"),
            "{error}"
        );
    }
}
