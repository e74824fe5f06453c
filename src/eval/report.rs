//! What an evaluation found, side by side: the model, the model with early halting if it was asked
//! for, and the identity baseline, without which no score is shown.

use std::collections::BTreeSet;

use serde::Serialize;

use super::Evaluation;
use super::breakdown::{self, Breakdown};
use super::finished::Tried;
use super::notes;
use super::pass::{Pass, Voted, pass, vote};
use super::question::{self, Question, questions};
use super::score::{Answers, Scores, Share, Verdict, score};
use crate::data::{DataSet, Kind, stats};
use crate::ops::act_halt::metric;
use crate::{Error, Result};

#[derive(Clone, Debug, Serialize)]
pub struct Report {
    pub data_dir: String,
    pub data_digest: String,
    #[serde(skip)]
    pub kind: Kind,
    pub split: String,
    pub examples: usize,
    /// Examples of the split, evaluated or not.
    pub split_examples: usize,
    /// Examples that belong to a task as published.
    pub originals: usize,
    pub tasks: usize,
    /// ARC: test inputs as published that were asked, and the fewest and most answers to one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub questions: Option<Questions>,
    pub model: Column,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub early_halt: Option<Column>,
    pub identity_baseline: Column,
    /// After 1, 2, 4 and so on trajectories of an example, where rollouts were asked for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub rollouts: Vec<AfterRollouts>,
    /// The official evaluation's means; none of answers that were not computed here.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub official: Option<Official>,
    pub breakdown: Vec<Breakdown>,
    /// What has to be known beside the scores, as sentences.
    pub notes: Vec<String>,
    #[serde(skip)]
    pub verdicts: Vec<Verdict>,
    #[serde(skip)]
    pub voted: Vec<Voted>,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Questions {
    pub count: usize,
    pub fewest_answers: usize,
    pub most_answers: usize,
    /// Test inputs among them whose answer nobody says: left out of every score.
    #[serde(skip_serializing_if = "stats::is_zero")]
    pub hidden: usize,
}

/// How answers become scores.
#[derive(Clone, Copy, Debug)]
pub struct Rules<'a> {
    /// Numbers of attempts.
    pub ks: &'a [usize],
    /// Whether an answer without a grid is a vote, as in the official evaluation.
    pub count_empty: bool,
}

impl<'a> Rules<'a> {
    pub fn new(ks: &'a [usize]) -> Self {
        Self { ks, count_empty: false }
    }
}

/// Scores of one way to answer.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Column {
    #[serde(flatten)]
    pub scores: Scores,
    /// After voting, for each number of attempts. ARC only.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub pass_at: Vec<Pass>,
    #[serde(flatten)]
    pub cost: Option<Cost>,
}

/// Scores of the answers after at most `k` trajectories of each example.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct AfterRollouts {
    pub k: u32,
    /// Boards of which one of the answers obeys the rules: what a check without the solution finds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub obeys: Option<Share>,
    #[serde(flatten)]
    pub column: Column,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Cost {
    /// Mean segments run for an example, of all its trajectories.
    pub act_steps: f64,
    /// Mean segment at which training's rule would have halted.
    pub act_steps_wanted: f64,
    /// Examples whose answer reached the edge of their window, so that the whole canvas was asked.
    pub asked_again: usize,
    pub time: Time,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Time {
    pub wall_s: f64,
    pub ms_per_example: f64,
    pub s_per_task: f64,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Official {
    pub lm_loss: f64,
    pub accuracy: f64,
    pub exact_accuracy: f64,
    pub q_halt_accuracy: f64,
}

/// Refuses to score nothing.
pub fn check_asked(data: &DataSet, split: &str, examples: &[u32]) -> Result<()> {
    match examples.is_empty() {
        false => Ok(()),
        true => Err(Error::invalid(format!(
            "nothing to evaluate: no example of split {split} of {} was asked for or is there",
            data.dir().display()
        ))),
    }
}

/// Score an evaluation, the same one with early halting, and the identity baseline on the same
/// examples, with pass@k for each number of attempts.
pub fn report(
    data: &DataSet,
    evaluation: &Evaluation,
    early: Option<&Evaluation>,
    rules: Rules,
) -> Result<Report> {
    let (split, examples) = (evaluation.split.as_str(), &evaluation.examples[..]);
    check_asked(data, split, examples)?;
    let tasks = count_tasks(data, split, examples)?;
    let arc = data.kind() == Kind::Arc;
    let questions = if arc { questions(data, split, examples)? } else { vec![] };
    let (model, verdicts, voted) = column(data, evaluation, &questions, rules, tasks)?;
    let early_halt =
        early.map(|early| Ok(column(data, early, &questions, rules, tasks)?.0)).transpose()?;
    let after = |k| {
        let (column, ..) = column(data, &evaluation.after(k), &questions, rules, tasks)?;
        Ok(AfterRollouts { k, obeys: obeys(data.kind(), evaluation, k), column })
    };
    let rollouts = evaluation.rollouts().map_or(vec![], doublings);
    let rollouts = rollouts.into_iter().map(after).collect::<Result<Vec<_>>>()?;
    let identity = score(data, split, examples, Answers::Input)?;
    let breakdown = match arc {
        true => breakdown::of_questions(&voted),
        false => {
            let pair = |(v, &i): (_, &u32)| Ok((v, data.example(split, i as usize)?.pair));
            let boards = verdicts.iter().zip(examples).map(pair);
            breakdown::of_boards(boards.collect::<Result<Vec<_>>>()?.into_iter())
        }
    };
    let identity_votes =
        vote(data, split, examples, &questions, Answers::Input, |_| 0.0, rules.count_empty)?;
    let answers = || voted.iter().map(|v| v.question.asked.len());
    Ok(Report {
        data_dir: data.dir().display().to_string(),
        data_digest: data.digest(),
        kind: data.kind(),
        split: split.to_owned(),
        examples: examples.len(),
        split_examples: data.split(split)?.examples(),
        originals: verdicts.iter().filter(|v| v.original).count(),
        tasks,
        questions: arc.then(|| Questions {
            count: voted.len(),
            fewest_answers: answers().min().unwrap_or(0),
            most_answers: answers().max().unwrap_or(0),
            hidden: voted.iter().filter(|v| v.is_hidden()).count(),
        }),
        model,
        early_halt,
        identity_baseline: Column {
            scores: identity.scores,
            pass_at: passes(&identity_votes, rules.ks),
            cost: None,
        },
        official: (rollouts.is_empty() && evaluation.sums()[metric::COUNT] > 0.0).then(|| {
            Official {
                lm_loss: evaluation.mean(metric::LM_LOSS),
                accuracy: evaluation.mean(metric::ACCURACY),
                exact_accuracy: evaluation.mean(metric::EXACT_ACCURACY),
                q_halt_accuracy: evaluation.mean(metric::Q_HALT_ACCURACY),
            }
        }),
        breakdown,
        rollouts,
        notes: notes::of_hidden(&voted).into_iter().chain(notes::of_data(data, split)?).collect(),
        verdicts,
        voted,
    })
}

fn column(
    data: &DataSet,
    evaluation: &Evaluation,
    questions: &[Question],
    rules: Rules,
    tasks: usize,
) -> Result<(Column, Vec<Verdict>, Vec<Voted>)> {
    let Evaluation { split, examples, tokens, q, wall_s, .. } = evaluation;
    let scored = score(data, split, examples, Answers::Rows(tokens))?;
    let answers = Answers::Rows(tokens);
    let belief = |i: usize| q[i][0] as f64;
    let voted = vote(data, split, examples, questions, answers, belief, rules.count_empty)?;
    let cost = (!evaluation.steps.is_empty()).then(|| Cost {
        act_steps: evaluation.mean_steps(),
        act_steps_wanted: evaluation.mean_halt_steps(),
        asked_again: evaluation.asked_again,
        time: Time {
            wall_s: *wall_s,
            ms_per_example: wall_s * 1e3 / examples.len().max(1) as f64,
            s_per_task: wall_s / tasks.max(1) as f64,
        },
    });
    let pass_at = passes(&voted, rules.ks);
    Ok((Column { scores: scored.scores, pass_at, cost }, scored.verdicts, voted))
}

/// 1, 2, 4 and so on, and `most`.
fn doublings(most: u32) -> Vec<u32> {
    let mut all: Vec<u32> = (0..32).map(|i| 1 << i).take_while(|&k| k < most).collect();
    all.push(most);
    all
}

fn obeys(kind: Kind, evaluation: &Evaluation, k: u32) -> Option<Share> {
    let found = |tried: &&Tried| tried.obeys.is_some_and(|first| first <= k);
    let right = evaluation.tried.iter().flatten().filter(found).count() as u64;
    (kind == Kind::Sudoku).then_some(Share { right, of: evaluation.examples.len() as u64 })
}

fn passes(voted: &[Voted], ks: &[usize]) -> Vec<Pass> {
    match voted.is_empty() {
        true => vec![],
        false => ks.iter().map(|&k| pass(voted, k)).collect(),
    }
}

/// Tasks (ARC) or else groups of the split that at least one of `examples` belongs to.
fn count_tasks(data: &DataSet, split: &str, examples: &[u32]) -> Result<usize> {
    let shard = data.split(split)?;
    if data.kind() == Kind::Arc {
        let names = question::names(data, split)?;
        let task = |&i: &u32| Ok(names[shard.example(i as usize)?.puzzle].task.as_str());
        return Ok(examples.iter().map(task).collect::<Result<BTreeSet<_>>>()?.len());
    }
    let mut first_of_group = vec![];
    for group in 0..shard.groups() {
        let puzzles = shard.group_range(group)?;
        if !puzzles.is_empty() {
            first_of_group.push(shard.puzzle_range(puzzles.start)?.start as u32);
        }
    }
    let group = |i: &u32| first_of_group.partition_point(|first| first <= i);
    Ok(examples.iter().map(group).collect::<BTreeSet<_>>().len())
}
