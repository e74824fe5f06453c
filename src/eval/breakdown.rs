//! Which questions fail: scores by size, size change, colours and kind of transform for ARC, by the
//! cells that are asked for boards. The identity baseline stands beside the model in every line.

use serde::Serialize;

use super::kind::{colours, size_change, transform_kind};
use super::pass::Voted;
use super::score::{Share, Verdict};
use crate::data::Pair;

/// A way to sort questions, and its groups in a fixed order.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Breakdown {
    pub by: &'static str,
    pub groups: Vec<Group>,
}

#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Group {
    pub name: String,
    /// Right at the first attempt.
    pub first: Share,
    /// Right within two attempts; boards have one.
    pub second: Option<Share>,
    /// Copies of the input that are right.
    pub identity: Share,
}

/// What of a question the scores need.
struct Case {
    groups: Vec<(usize, String)>, // one per way: order, name
    first: bool,
    second: Option<bool>,
    identity: bool,
}

const SIZES: [(usize, &str); 6] = [
    (9, "to 9 cells"),
    (25, "10 to 25"),
    (100, "26 to 100"),
    (225, "101 to 225"),
    (400, "226 to 400"),
    (usize::MAX, "more than 400"),
];

/// By size of the true grid, size change, colours of the pair, kind of transform.
pub fn of_questions(voted: &[Voted]) -> Vec<Breakdown> {
    let case = |v: &Voted| {
        let pair = &v.question.pair;
        Case {
            groups: vec![
                size(pair.output.cells().len()),
                (0, size_change(pair).to_owned()),
                (colours(pair), format!("{} colours", colours(pair))),
                (0, transform_kind(pair).to_owned()),
            ],
            first: v.passed(1),
            second: Some(v.passed(2)),
            identity: pair.input == pair.output,
        }
    };
    let ways = ["size of the true grid", "size change", "colours of the pair", "kind of transform"];
    break_down(&ways, voted.iter().filter(|v| !v.is_hidden()).map(case).collect())
}

/// By the cells that are asked.
pub fn of_boards<'a>(boards: impl Iterator<Item = (&'a Verdict, Pair)>) -> Vec<Breakdown> {
    let case = |(verdict, pair): (&Verdict, Pair)| Case {
        groups: vec![tens(verdict.cells.of as usize)],
        first: verdict.exact,
        second: None,
        identity: pair.input == pair.output,
    };
    break_down(&["cells to fill in"], boards.map(case).collect())
}

fn size(cells: usize) -> (usize, String) {
    let at = SIZES.iter().position(|(most, _)| cells <= *most).unwrap_or(SIZES.len() - 1);
    (at, SIZES[at].1.to_owned())
}

fn tens(n: usize) -> (usize, String) {
    let from = n / 10 * 10;
    (from, format!("{from} to {} cells", from + 9))
}

fn break_down(ways: &[&'static str], cases: Vec<Case>) -> Vec<Breakdown> {
    let breakdown = |(way, by): (usize, &&'static str)| {
        let mut keys: Vec<_> = cases.iter().map(|case| case.groups[way].clone()).collect();
        keys.sort();
        keys.dedup();
        let group = |key: (usize, String)| {
            let of: Vec<&Case> = cases.iter().filter(|case| case.groups[way] == key).collect();
            let share = |right: fn(&Case) -> bool| Share {
                right: of.iter().filter(|case| right(case)).count() as u64,
                of: of.len() as u64,
            };
            let second = of.iter().all(|case| case.second.is_some());
            Group {
                name: key.1,
                first: share(|case| case.first),
                second: second.then(|| share(|case| case.second == Some(true))),
                identity: share(|case| case.identity),
            }
        };
        Breakdown { by, groups: keys.into_iter().map(group).collect() }
    };
    ways.iter().enumerate().map(breakdown).collect()
}
