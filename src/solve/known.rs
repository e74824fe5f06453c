//! Recognises a task that a data set was built from: by its pairs, whatever its file is called.
//! Only what the data set's training split holds counts; a name alone proves nothing.

use crate::data::augment::PuzzleName;
use crate::data::grid::Pair;
use crate::data::overlap::{self, Content};
use crate::data::task::{Query, Task};
use crate::data::{DataSet, Kind};
use crate::{Error, Result};

const TRAIN: &str = "train";
const TEST: &str = "test";

/// A puzzle that a model can be asked as: the row of its embedding, and how it shows a grid.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Puzzle {
    pub id: u32,
    pub name: PuzzleName,
}

/// A task of the data set.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Known {
    /// The task's name in the data set.
    pub task: String,
    /// The task as published, then its variants.
    pub puzzles: Vec<Puzzle>,
    /// For each test input of the task that was looked for: whether it was trained on.
    pub trained_on: Vec<bool>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Found {
    Known(Known),
    /// There is a task of this name, but its pairs are others.
    OtherPairs,
    No,
}

pub fn find(data: &DataSet, task: &Task) -> Result<Found> {
    if data.kind() != Kind::Arc {
        let (dir, kind) = (data.dir().display(), data.kind().name());
        return Err(Error::invalid(format!("{dir}: holds {kind} boards, not ARC tasks")));
    }
    let mut same_name = false;
    for group in 0..data.split(TRAIN)?.groups() {
        let Some((name, pairs)) = original(data, TRAIN, group)? else { continue };
        same_name |= name == task.id;
        if is_of(&pairs, task) {
            let trained_on = task.test.iter().map(|q| pairs.iter().any(|p| p.input == q.input));
            return Ok(Found::Known(Known {
                trained_on: trained_on.collect(),
                puzzles: puzzles(data, group)?,
                task: name,
            }));
        }
    }
    Ok(if same_name { Found::OtherPairs } else { Found::No })
}

/// Other tasks of the training split that hold a test pair of `task`, turned or recoloured: one
/// name for each test pair whose answer is known. Pairs of `own`, the task itself, show what it is.
pub fn trained_as(data: &DataSet, task: &Task, own: Option<&str>) -> Result<Vec<Option<String>>> {
    let pair = |q: &Query| Some(Pair { input: q.input.clone(), output: q.output.clone()? });
    let asked = task.test.iter().map(|q| pair(q).map(|pair| overlap::content(&pair)));
    let asked: Vec<Option<Content>> = asked.collect();
    let mut found = vec![None; asked.len()];
    for group in 0..data.split(TRAIN)?.groups() {
        let Some((name, pairs)) = original(data, TRAIN, group)? else { continue };
        if own == Some(&name) {
            continue;
        }
        for content in pairs.iter().map(overlap::content) {
            let same = asked.iter().zip(&mut found).filter(|(asked, _)| **asked == Some(content));
            same.for_each(|(_, found)| *found = Some(name.clone()));
        }
    }
    Ok(found)
}

/// All tasks of the training split as published.
pub fn all_as_published(data: &DataSet) -> Result<Vec<Puzzle>> {
    let mut all = vec![];
    for group in 0..data.split(TRAIN)?.groups() {
        all.extend(puzzles(data, group)?.into_iter().find(|puzzle| puzzle.name.is_original()));
    }
    Ok(all)
}

/// A task by its name, as the data set holds it: test pairs that were trained on count among the
/// training pairs. `None` if there is no such task.
pub fn by_name(data: &DataSet, name: &str) -> Result<Option<Task>> {
    let pairs_of = |split: &str| -> Result<Option<Vec<Pair>>> {
        for group in 0..data.split(split)?.groups() {
            match original(data, split, group)? {
                Some((found, pairs)) if found == name => return Ok(Some(pairs)),
                _ => {}
            }
        }
        Ok(None)
    };
    let Some(train) = pairs_of(TRAIN)? else { return Ok(None) };
    let test = pairs_of(TEST)?.unwrap_or_default().into_iter();
    let test = test.map(Query::from).collect();
    Ok(Some(Task { id: name.to_owned(), train, test }))
}

/// Whether training pairs are those of `task`, with or without its test pairs.
fn is_of(pairs: &[Pair], task: &Task) -> bool {
    let asked = |pair: &Pair| task.test.iter().any(|q| q.input == pair.input);
    !task.train.is_empty()
        && task.train.iter().all(|pair| pairs.contains(pair))
        && pairs.iter().all(|pair| task.train.contains(pair) || asked(pair))
}

/// Name and pairs of the group's task as published; `None` if only variants of it are there.
fn original(data: &DataSet, split: &str, group: usize) -> Result<Option<(String, Vec<Pair>)>> {
    let (shard, names) = (data.split(split)?, data.identifiers()?);
    for puzzle in shard.group_range(group)? {
        let name = PuzzleName::parse(&names[shard.puzzle_id(puzzle)? as usize]);
        if name.is_original() {
            let pairs = shard.puzzle_range(puzzle)?.map(|i| Ok(shard.example(i)?.pair));
            return Ok(Some((name.task, pairs.collect::<Result<_>>()?)));
        }
    }
    Ok(None)
}

fn puzzles(data: &DataSet, group: usize) -> Result<Vec<Puzzle>> {
    let (shard, names) = (data.split(TRAIN)?, data.identifiers()?);
    let puzzles = shard.group_range(group)?.map(|puzzle| {
        let id = shard.puzzle_id(puzzle)?;
        Ok(Puzzle { id, name: PuzzleName::parse(&names[id as usize]) })
    });
    let mut puzzles: Vec<Puzzle> = puzzles.collect::<Result<_>>()?;
    puzzles.sort_by_key(|p| !p.name.is_original()); // stable
    Ok(puzzles)
}
