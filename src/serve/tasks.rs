//! The tasks of the served model's data set as they were published, for people who want something
//! to try. What a split holds is said with it: a test pair that was trained on proves nothing.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use schemars::JsonSchema;
use serde::Serialize;

use crate::Result;
use crate::data::task::Query;
use crate::data::{DataSet, Pair};
use crate::eval::select::originals;

pub struct Tasks {
    data: Arc<DataSet>,
    /// By name.
    places: BTreeMap<String, Place>,
}

#[derive(Default)]
struct Place {
    puzzle_id: u32,
    /// Examples of the splits `train` and `test`.
    train: Range<usize>,
    test: Range<usize>,
}

/// A task of the data set.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "TaskEntry")]
pub struct Entry {
    name: String,
    puzzle_id: u32,
    /// No pair was held out: the test pair shown is one that was trained on.
    trained_on_test: bool,
}

/// A task as ARC publishes it. Without a held-out pair, the last of the trained ones is `test`.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Task")]
pub struct Published {
    #[serde(flatten)]
    entry: Entry,
    train: Vec<Pair>,
    test: Vec<Query>,
}

impl Tasks {
    pub fn new(data: Arc<DataSet>) -> Result<Self> {
        let mut places: BTreeMap<String, Place> = BTreeMap::new();
        for split in ["train", "test"] {
            let Ok(shard) = data.split(split) else { continue };
            for (puzzle, original) in originals(&data, split)?.into_iter().enumerate() {
                if !original {
                    continue;
                }
                let puzzle_id = shard.puzzle_id(puzzle)?;
                let name = &data.identifiers()?[puzzle_id as usize];
                let place = places.entry(name.clone()).or_default();
                place.puzzle_id = puzzle_id;
                let examples = shard.puzzle_range(puzzle)?;
                if split == "train" { place.train = examples } else { place.test = examples }
            }
        }
        Ok(Self { data, places })
    }

    pub fn list(&self) -> Vec<Entry> {
        self.places.iter().map(|(name, place)| entry(name, place)).collect()
    }

    /// `None`: there is none of this name.
    pub fn get(&self, name: &str) -> Result<Option<Published>> {
        let Some((name, place)) = self.places.get_key_value(name) else { return Ok(None) };
        let pairs = |split: &str, examples: &Range<usize>| -> Result<Vec<Pair>> {
            examples.clone().map(|i| Ok(self.data.example(split, i)?.pair)).collect()
        };
        let (mut train, mut test) = (pairs("train", &place.train)?, pairs("test", &place.test)?);
        if test.is_empty() {
            test.extend(train.pop());
        }
        let test = test.into_iter().map(Query::from).collect();
        Ok(Some(Published { entry: entry(name, place), train, test }))
    }
}

fn entry(name: &str, place: &Place) -> Entry {
    let Place { puzzle_id, ref test, .. } = *place;
    Entry { name: name.to_owned(), puzzle_id, trained_on_test: test.is_empty() }
}
