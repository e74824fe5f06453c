//! ARC task files: `{"train": [{"input": [[..]], "output": [[..]]}, ..], "test": [..]}`.
//! Every refusal names the file, the pair and the cell.

use std::path::Path;

use super::grid::{Grid, Pair};
use crate::io::file;
use crate::{Error, Result};

/// Of a task file; published ones have less than 100 kB.
const MAX_BYTES: u64 = 16 << 20;

/// A test pair. Hidden test sets leave the output out.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Query {
    pub input: Grid,
    pub output: Option<Grid>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Task {
    pub id: String,
    pub train: Vec<Pair>,
    pub test: Vec<Query>,
}

#[derive(serde::Deserialize)]
struct RawTask {
    train: Vec<RawPair>,
    test: Vec<RawPair>,
}

#[derive(serde::Deserialize)]
struct RawPair {
    input: Vec<Vec<i64>>,
    output: Option<Vec<Vec<i64>>>,
}

impl Task {
    /// The id is the file name without `.json`.
    pub fn read(path: &Path) -> Result<Self> {
        let text = file::read_text(path, "an ARC task", b"{", MAX_BYTES)?;
        let id = path.file_stem().unwrap_or_default().to_string_lossy();
        Self::parse(&id, &text).map_err(|what| Error::corrupt(path, what))
    }

    pub fn parse(id: &str, json: &[u8]) -> Result<Self, String> {
        let raw: RawTask =
            serde_json::from_slice(json).map_err(|e| format!("not an ARC task: {e}"))?;
        let train = raw.train.iter().enumerate().map(|(i, pair)| {
            let what = format!("train pair {i}");
            let output = pair.output.as_ref().ok_or(format!("{what}: has no output"))?;
            Ok(Pair {
                input: grid(&what, "input", &pair.input)?,
                output: grid(&what, "output", output)?,
            })
        });
        let train = train.collect::<Result<Vec<_>, String>>()?;
        let test = raw.test.iter().enumerate().map(|(i, pair)| {
            let what = format!("test pair {i}");
            let output =
                pair.output.as_ref().map(|rows| grid(&what, "output", rows)).transpose()?;
            Ok(Query { input: grid(&what, "input", &pair.input)?, output })
        });
        let test = test.collect::<Result<Vec<_>, String>>()?;
        if train.is_empty() && test.is_empty() {
            return Err("has neither train nor test pairs".into());
        }
        Ok(Self { id: id.to_owned(), train, test })
    }

    pub fn grids(&self) -> impl Iterator<Item = &Grid> {
        let train = self.train.iter().flat_map(|p| [&p.input, &p.output]);
        train.chain(self.test.iter().flat_map(|q| std::iter::once(&q.input).chain(&q.output)))
    }

    /// The longest side of any grid: the smallest canvas that holds the task.
    pub fn largest_side(&self) -> usize {
        self.grids().map(|g| g.h().max(g.w())).max().unwrap_or(0)
    }

    pub fn largest_cells(&self) -> usize {
        self.grids().map(|g| g.cells().len()).max().unwrap_or(0)
    }
}

fn grid(pair: &str, side: &str, rows: &[Vec<i64>]) -> Result<Grid, String> {
    Grid::from_arc_rows(rows).map_err(|what| format!("{pair}: {side} grid {what}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(json: &str) -> String {
        Task::parse("x", json.as_bytes()).unwrap_err()
    }

    #[test]
    fn bad_tasks_are_refused_with_pair_and_cell() {
        let pair = |input: &str| {
            format!(
                r#"{{"train":[{{"input":[[1]],"output":[[1]]}},{{"input":{input},"output":[[1]]}}],"test":[]}}"#
            )
        };
        assert_eq!(
            refusal(&pair("[[1,2],[3]]")),
            "train pair 1: input grid is ragged: row 1 has 1 cells, row 0 has 2"
        );
        assert_eq!(
            refusal(&pair("[[1,2],[3,10]]")),
            "train pair 1: input grid has colour 10 at row 1, column 1; 0 to 9 exist"
        );
        assert_eq!(refusal(&pair("[]")), "train pair 1: input grid is empty");
        let wide = format!("[[{}]]", ["0"; 31].join(","));
        assert!(refusal(&pair(&wide)).contains("is 1 x 31; a side has at most 30"));
        assert!(refusal("{\"train\": 3}").starts_with("not an ARC task: invalid type"));
        assert!(refusal(r#"{"train":[{"input":[[1]]}],"test":[]}"#).contains("has no output"));
        assert!(refusal(r#"{"train":[],"test":[]}"#).contains("neither"));
    }

    #[test]
    fn hidden_test_output_is_allowed() {
        let json = br#"{"train":[{"input":[[1]],"output":[[2]]}],"test":[{"input":[[3,4]]}]}"#;
        let task = Task::parse("t", json).unwrap();
        assert_eq!(task.test[0].output, None);
        assert_eq!((task.largest_side(), task.largest_cells()), (2, 2));
    }
}
