//! Reads the CSV files of Sudoku-Extreme and Maze-Hard: `source,question,answer,rating`.

use std::path::Path;

use crate::rng::{Purpose, Rng};
use crate::{Error, Result};

/// A board and its solution, still as text.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Row {
    pub question: String,
    pub answer: String,
}

/// Rows of at least `min_rating`, in the file's order; the texts are squares of equal size.
pub fn read(path: &Path, min_rating: Option<f64>) -> Result<Vec<Row>> {
    let corrupt = |what: String| Error::corrupt(path, what);
    let file = std::fs::File::open(path).map_err(Error::io(path, "open CSV"))?;
    let mut reader = csv::ReaderBuilder::new().from_reader(std::io::BufReader::new(file));
    let headers = reader.headers().map_err(|e| corrupt(e.to_string()))?.clone();
    let column = |name: &str| {
        headers.iter().position(|h| h == name).ok_or_else(|| {
            let have: Vec<&str> = headers.iter().collect();
            let have = have.join(",");
            corrupt(format!("no column `{name}`; has {have}, needs source,question,answer,rating"))
        })
    };
    let (question, answer) = (column("question")?, column("answer")?);
    let rating = min_rating.map(|_| column("rating")).transpose()?;
    let mut rows: Vec<Row> = vec![];
    for (i, record) in reader.records().enumerate() {
        let record = record.map_err(|e| corrupt(e.to_string()))?;
        let at = |message: String| corrupt(format!("line {}: {message}", i + 2));
        if let (Some(column), Some(least)) = (rating, min_rating) {
            let text = record[column].trim();
            let value: f64 =
                text.parse().map_err(|_| at(format!("rating `{text}` is no number")))?;
            if value < least {
                continue;
            }
        }
        let row = Row { question: record[question].into(), answer: record[answer].into() };
        let cells = rows.first().map_or(row.question.len(), |first| first.question.len());
        if row.question.len() != cells || row.answer.len() != cells || cells == 0 {
            let (q, a) = (row.question.len(), row.answer.len());
            return Err(at(format!("question has {q} cells and answer {a}; {cells} expected")));
        }
        if cells.isqrt().pow(2) != cells {
            return Err(at(format!("{cells} cells are not a square board")));
        }
        rows.push(row);
    }
    if rows.is_empty() {
        return Err(corrupt("no rows left to use".into()));
    }
    Ok(rows)
}

/// A random subset of at most `count` rows, a pure function of the seed.
pub fn subsample(mut rows: Vec<Row>, count: Option<usize>, seed: u64) -> Vec<Row> {
    if let Some(count) = count.filter(|&c| c < rows.len()) {
        Rng::new(seed, Purpose::Generate, u64::MAX).shuffle(&mut rows);
        rows.truncate(count);
    }
    rows
}
