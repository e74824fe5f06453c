//! ARC task files: `{"train": [{"input": [[..]], "output": [[..]]}, ..], "test": [..]}`.
//! Every refusal names the file, the pair and the cell.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use serde::de::{self, IgnoredAny, Visitor};

use super::combined;
use super::grid::{Grid, Pair};
use crate::io::file;
use crate::io::json::{self, Object};
use crate::{Error, Result};

/// A task of 30 x 30 grids with a thousand pairs has about 4 MB.
pub const MAX_FILE_BYTES: u64 = 16 << 20;

/// A test pair. Hidden test sets leave the output out.
#[derive(Clone, PartialEq, Eq, Debug, serde::Serialize)]
#[cfg_attr(feature = "serve", derive(schemars::JsonSchema))]
pub struct Query {
    pub input: Grid,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub output: Option<Grid>,
}

impl From<Pair> for Query {
    fn from(pair: Pair) -> Self {
        let is_hidden = pair.is_hidden();
        Self { input: pair.input, output: (!is_hidden).then_some(pair.output) }
    }
}

impl From<Query> for Pair {
    fn from(query: Query) -> Self {
        Self { input: query.input, output: query.output.unwrap_or_default() }
    }
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Task {
    pub id: String,
    pub train: Vec<Pair>,
    pub test: Vec<Query>,
}

#[derive(serde::Deserialize)]
struct RawTask {
    train: Vec<Object<RawPair>>,
    test: Vec<Object<RawPair>>,
}

#[derive(serde::Deserialize)]
struct RawPair {
    input: Vec<Vec<Cell>>,
    output: Option<Vec<Vec<Cell>>>,
}

/// A colour as a number, or as text of a number (Mini-ARC).
struct Cell(i64);

impl<'de> serde::Deserialize<'de> for Cell {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Colour;
        impl Visitor<'_> for Colour {
            type Value = Cell;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a colour, 0 to 9")
            }

            fn visit_i64<E: de::Error>(self, n: i64) -> Result<Cell, E> {
                Ok(Cell(n))
            }

            fn visit_u64<E: de::Error>(self, n: u64) -> Result<Cell, E> {
                i64::try_from(n).map(Cell).map_err(|_| E::invalid_value(unexpected(n), &self))
            }

            fn visit_unit<E: de::Error>(self) -> Result<Cell, E> {
                Err(E::custom("a cell is null (Mini-ARC): expected a colour, 0 to 9; give it one"))
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Cell, E> {
                let number = text.parse().map(Cell);
                number.map_err(|_| E::invalid_value(de::Unexpected::Str(text), &self))
            }
        }
        fn unexpected(n: u64) -> de::Unexpected<'static> {
            de::Unexpected::Unsigned(n)
        }
        from.deserialize_any(Colour)
    }
}

impl Task {
    /// The id is the file name without `.json`.
    pub fn read(path: &Path) -> Result<Self> {
        let text = file::read_text(path, "an ARC task", b'{', MAX_FILE_BYTES)?;
        let id = path.file_stem().unwrap_or_default().to_string_lossy();
        Self::parse(&id, &text).map_err(|what| Error::corrupt(path, what))
    }

    pub fn parse(id: &str, text: &[u8]) -> Result<Self, String> {
        let parsed: Result<Object<RawTask>, _> = json::parse(text);
        let Object(raw) = parsed.map_err(|e| match other_form(text) {
            Some(form) => form,
            None => format!("not an ARC task: {e}"),
        })?;
        let train = raw.train.iter().enumerate().map(|(i, Object(pair))| {
            let what = format!("train pair {i}");
            let output = pair.output.as_ref().ok_or(format!("{what}: has no output"))?;
            Ok(Pair {
                input: grid(&what, "input", &pair.input)?,
                output: grid(&what, "output", output)?,
            })
        });
        let train = train.collect::<Result<Vec<_>, String>>()?;
        let test = raw.test.iter().enumerate().map(|(i, Object(pair))| {
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

    /// Whether it asks something and tells no answer, as hidden test sets do.
    pub fn is_unanswered(&self) -> bool {
        !self.test.is_empty() && self.hidden() == self.test.len()
    }

    /// Test inputs of which it tells no answer.
    pub fn hidden(&self) -> usize {
        self.test.iter().filter(|query| query.output.is_none()).count()
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

/// What a text is that is no task but of a known form, and how it becomes tasks.
fn other_form(text: &[u8]) -> Option<String> {
    let convert =
        "say which pairs are shown, as {\"train\": [pairs], \"test\": [pairs]}, a file per task";
    if file::without_bom(text).trim_ascii_start().starts_with(b"[") {
        return Some(format!("is a list of pairs (RE-ARC), not an ARC task: {convert}"));
    }
    if let Some(tasks) = combined::tasks(text) {
        let (count, id) = (tasks.len(), tasks.keys().next()?);
        return Some(format!(
            "holds {count} tasks by their ids such as {id} (Kaggle): call it *_challenges.json"
        ));
    }
    let lines = text.split(|&b| b == b'\n').filter(|line| !line.trim_ascii().is_empty());
    let mut lines = lines.peekable();
    let first: BTreeMap<String, IgnoredAny> = json::parse(lines.next()?).ok()?;
    let is_lines = lines.peek().is_some() || first.contains_key("examples");
    is_lines.then(|| format!("holds an object per line (BARC), not an ARC task: {convert}"))
}

fn grid(pair: &str, side: &str, rows: &[Vec<Cell>]) -> Result<Grid, String> {
    let rows: Vec<Vec<i64>> = rows.iter().map(|row| row.iter().map(|c| c.0).collect()).collect();
    Grid::from_arc_rows(&rows).map_err(|what| format!("{pair}: {side} grid {what}"))
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
    fn forms_of_other_collections_are_read_or_named() {
        let text = "\u{feff}{\"train\":[{\"input\":[[\"1\"]],\"output\":[[2]]}],\"test\":[],\"name\":\"x\"}";
        let task = Task::parse("t", text.as_bytes()).unwrap();
        assert_eq!(task.train[0].input.cells(), [1]);
        assert!(refusal(r#"[{"input":[[1]],"output":[[2]]}]"#).starts_with("is a list of pairs"));
        assert!(
            refusal(r#"{"train":[[[[1]],[[2]]]],"test":[]}"#).contains("invalid type: sequence")
        );
        for cell in ["null", "\"red\"", "1.5", "18446744073709551615"] {
            let text = format!(r#"{{"train":[{{"input":[[{cell}]],"output":[[2]]}}],"test":[]}}"#);
            assert!(refusal(&text).contains("expected a colour, 0 to 9"), "{cell}");
        }
    }

    #[test]
    fn hidden_test_output_is_allowed() {
        let json = br#"{"train":[{"input":[[1]],"output":[[2]]}],"test":[{"input":[[3,4]]}]}"#;
        let task = Task::parse("t", json).unwrap();
        assert_eq!(task.test[0].output, None);
        assert_eq!((task.largest_side(), task.largest_cells()), (2, 2));
        assert_eq!((task.hidden(), task.is_unanswered()), (1, true));
        let query = task.test[0].clone();
        assert_eq!(serde_json::json!(query), serde_json::json!({ "input": [[3, 4]] }));
        let pair = Pair::from(query.clone());
        assert!(pair.is_hidden() && pair.known_output().is_none());
        assert_eq!(Query::from(pair), query);
    }
}
