//! What the data sets of the TRM program have of their own: the names of variants, and
//! `test_puzzles.json`, by which its evaluation knows the right answers.

use serde_json::{Map, Value, json};

use super::augment::PuzzleName;
use super::{DataSet, Grid};
use crate::Result;
use crate::formats::Program;

pub const TEST_PUZZLES_FILE: &str = "test_puzzles.json";
/// Stands between the parts of a variant's name.
const SEPARATOR: &str = "|||";

/// The program whose names these are.
pub fn program_of(names: &[String]) -> Program {
    match names.iter().any(|name| name.contains(SEPARATOR)) {
        true => Program::Trm,
        false => Program::Hrm,
    }
}

/// A puzzle's name as the program writes it: `<id>_t3_0123456789` or `<id>|||t3|||0123456789`.
pub fn spell(name: &str, program: Program) -> String {
    let PuzzleName { task, pattern, variant } = PuzzleName::parse(name);
    match (program, variant) {
        (Program::Trm, Some(variant)) => {
            let shown = PuzzleName { task, pattern, variant: None };
            let variant = variant.to_string().replace('_', SEPARATOR);
            format!("{shown}{SEPARATOR}{variant}")
        }
        (Program::Trm, None) => name.to_owned(),
        (Program::Hrm, _) => name.replace(SEPARATOR, "_"),
    }
}

/// The tasks of the test split as published: `{"<id>": {"train": [..], "test": [..]}}`.
pub fn test_puzzles(data: &DataSet) -> Result<Value> {
    let names = data.identifiers()?;
    let mut tasks: Map<String, Value> = Map::new();
    for split in ["test", "train"].into_iter().filter(|s| data.split_names().any(|n| n == *s)) {
        let shard = data.split(split)?;
        for puzzle in 0..shard.puzzles() {
            let name = PuzzleName::parse(&names[shard.puzzle_id(puzzle)? as usize]);
            if split == "test" && !tasks.contains_key(&name.task) {
                tasks.insert(name.task.clone(), json!({"train": [], "test": []}));
            }
            let Some(pairs) = tasks.get_mut(&name.task).and_then(|t| t[split].as_array_mut())
            else {
                continue;
            };
            // The first puzzle of a task is the task itself, or as good.
            if !pairs.is_empty() {
                continue;
            }
            for i in shard.puzzle_range(puzzle)? {
                let pair = shard.example(i)?.pair;
                let both = (name.undo(&pair.input), name.undo(&pair.output));
                if pair.is_hidden() {
                    pairs.extend(both.0.map(|input| json!({"input": rows(&input)})));
                } else if let (Some(input), Some(output)) = both {
                    pairs.push(json!({"input": rows(&input), "output": rows(&output)}));
                }
            }
        }
    }
    Ok(Value::Object(tasks))
}

fn rows(grid: &Grid) -> Vec<&[u8]> {
    grid.cells().chunks(grid.w().max(1)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_spelt_for_either_program_and_back() {
        for (hrm, trm) in [
            ("007bbfb7_t3_0213456789", "007bbfb7|||t3|||0213456789"),
            ("a_b_pupscale2_t0_0123456789", "a_b_pupscale2|||t0|||0123456789"),
            ("007bbfb7", "007bbfb7"),
            ("a_t3", "a_t3"),
        ] {
            assert_eq!(spell(hrm, Program::Trm), trm);
            assert_eq!(spell(trm, Program::Trm), trm);
            assert_eq!(spell(trm, Program::Hrm), hrm);
            assert_eq!(spell(hrm, Program::Hrm), hrm);
        }
    }
}
