//! A task that the model never saw: fine-tune on its own pairs, answer, then see how the same
//! fine-tuning fares on pairs that it was not shown. Time is shared out as it goes: answers first.

use std::time::{Duration, Instant};

use super::fit::{Start, Tuner};
use super::known::{Found, Puzzle};
use super::options::{Ended, FineTune, GoOn, Options, Progress};
use super::outcome::{HeldOut, Origin, Outcome, Test};
use super::pace::Pace;
use super::rows;
use crate::data::{Grid, Pair, Task};
use crate::eval::Share;
use crate::{Error, Result};

/// Fine-tuning for the answer may take this share of the time; the rest is for held-out pairs.
const MAIN_SHARE: f64 = 0.5;
/// Time set aside per expected time of the answers.
const RESERVE: f64 = 1.5;

pub fn solve(
    start: Start,
    task: &Task,
    found: Option<Found>,
    options: &Options,
    pace: &mut Pace,
) -> Result<Outcome> {
    let fine_tune = resolve(options.fine_tune, start.model.dims().puzzle_emb_ndim > 0)?;
    let Start { canvas, layout, .. } = start;
    let puzzles = rows::puzzles(task, options.variants.max(1) - 1, options.seed, canvas, layout);
    let mut tuner = Tuner::new(start, puzzles.len(), &task.train, fine_tune, options.seed)?;
    let steps = if fine_tune == FineTune::None { 0 } else { options.steps };
    let holds_out = steps > 0 && task.train.len() > 1;

    let batch = batch_time(&tuner, task, &puzzles)?;
    let batches = (puzzles.len() * (task.test.len() + task.train.len()))
        .div_ceil(tuner.asked().evaluator.rows());
    let reserve = batch.mul_f64(RESERVE * batches as f64);
    let end = pace.share(reserve, if holds_out { MAIN_SHARE } else { 1.0 });
    let begun = Instant::now();
    let fitted = tuner.run(&task.id, &task.train, &puzzles, steps, |step| {
        pace.go_on(Progress::Fitting { step, of: steps }, end)
    })?;
    let took = begun.elapsed();

    let of = task.test.len() * puzzles.len();
    let inputs: Vec<&Grid> = task.test.iter().map(|q| &q.input).collect();
    let polls = tuner.asked().poll(&inputs, &task.train, &puzzles, |votes| {
        pace.answer_on(Progress::Answering { votes, of })
    })?;
    let tests = task.test.iter().zip(&polls);
    let tests: Vec<Test> = tests.map(|(query, poll)| Test::new(query, poll, false)).collect();

    let of = task.train.len() * puzzles.len();
    let own_pairs = match pace.answer_on(Progress::Checking { votes: 0, of })? {
        true => tuner.look(&task.train, &task.train, &puzzles, || {
            pace.answer_on(Progress::Checking { votes: 0, of })
        })?,
        false => None,
    };
    let held_out = match holds_out {
        true => Some(hold_out(&mut tuner, task, &puzzles, fitted.steps, took, batch, pace)?),
        false => None,
    };
    Ok(Outcome {
        task: task.id.clone(),
        origin: Origin::Unseen {
            looked_for: found.is_some(),
            same_name: found == Some(Found::OtherPairs),
            fine_tune,
            fitted,
        },
        puzzles: puzzles.len(),
        tests,
        own_pairs,
        held_out,
        wall_s: pace.elapsed_s(),
    })
}

/// What one batch of answers takes.
fn batch_time(tuner: &Tuner, task: &Task, puzzles: &[Puzzle]) -> Result<Duration> {
    let begun = Instant::now();
    tuner.look(&task.train, &task.train, puzzles, || Ok(false))?;
    Ok(begun.elapsed())
}

/// What learns, where the model has puzzle embeddings or not.
fn resolve(asked: Option<FineTune>, has_embeddings: bool) -> Result<FineTune> {
    match (asked, has_embeddings) {
        (Some(FineTune::Embedding), false) => Err(Error::invalid(
            "this kind of model has no puzzle embeddings: --fine-tune all trains its weights, \
             --fine-tune none leaves everything as it is",
        )),
        (Some(asked), _) => Ok(asked),
        (None, true) => Ok(FineTune::Embedding),
        (None, false) => Ok(FineTune::All),
    }
}

/// Each pair in turn is left out, the others are fine-tuned on from the start for as many `steps`
/// as for the answer, and it is asked. After the first, only what there is time for: `took` is what
/// the answer's fine-tuning took, `batch` what a batch of answers takes.
fn hold_out(
    tuner: &mut Tuner,
    task: &Task,
    puzzles: &[Puzzle],
    steps: u64,
    took: Duration,
    batch: Duration,
    pace: &mut Pace,
) -> Result<HeldOut> {
    let pairs = task.train.len();
    let batches = puzzles.len().div_ceil(tuner.asked().evaluator.rows());
    let reserve = batch.mul_f64(RESERVE * batches as f64);
    let mut held_out = HeldOut { answered: Share::default(), pairs, cut_short: 0 };
    for out in 0..pairs {
        let progress = |step| Progress::HoldingOut { pair: out, pairs, step, of: steps };
        let end = pace.share(reserve, 1.0);
        let is_time = out == 0 || Instant::now() + took <= end;
        if !is_time || pace.go_on(progress(0), end)? != GoOn::Yes {
            break;
        }
        tuner.reset()?;
        let others = task.train.iter().enumerate().filter(|(i, _)| *i != out);
        let others: Vec<Pair> = others.map(|(_, pair)| pair.clone()).collect();
        let fitted =
            tuner.run(&task.id, &others, puzzles, steps, |step| pace.go_on(progress(step), end))?;
        let asked = &task.train[out..=out];
        let look =
            tuner.look(asked, &others, puzzles, || pace.answer_on(progress(fitted.steps)))?;
        let (Some(answered), false) = (look, pace.is_stopped()) else { break };
        held_out.cut_short += (fitted.ended == Ended::Time) as u64;
        held_out.answered.right += answered.right;
        held_out.answered.of += answered.of;
    }
    Ok(held_out)
}
