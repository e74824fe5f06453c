//! A task that the model never saw: fine-tune on its own pairs, answer, then see how the same
//! fine-tuning fares on pairs that it was not shown. Time is shared out as it goes: answers first.

use std::time::{Duration, Instant};

use super::fit::{Start, Tuner};
use super::known::{Found, Puzzle};
use super::options::{Ended, FineTune, GoOn, Options, Progress};
use super::outcome::{HeldOut, Origin, Outcome, Test};
use super::pace::Pace;
use super::rows;
use super::starts::Starts;
use crate::data::{Grid, Pair, Task};
use crate::eval::Share;
use crate::{Error, Result};

/// Looking for a trained task to start from may take this share of the time.
const START_SHARE: f64 = 0.1;
/// Fine-tuning for the answer may take this share of the time; the rest is for held-out pairs.
const MAIN_SHARE: f64 = 0.5;
/// Time set aside per expected time of the answers.
const RESERVE: f64 = 1.5;

/// `trained`: the tasks of the data set as published.
pub fn solve(
    start: Start,
    task: &Task,
    found: Option<Found>,
    trained: &[Puzzle],
    options: &Options,
    pace: &mut Pace,
) -> Result<Outcome> {
    let fine_tune = resolve(options.fine_tune, start.model.dims().puzzle_emb_ndim > 0)?;
    let Start { canvas, layout, .. } = start;
    let puzzles = rows::puzzles(task, options.variants.max(1) - 1, options.seed, canvas, layout);
    let mut tuner = Tuner::new(start, puzzles.len(), &task.train, fine_tune, options.seed)?;
    let steps = if fine_tune == FineTune::None { 0 } else { options.steps };
    let holds_out = steps > 0 && task.train.len() > 1;

    let end = pace.share(Duration::ZERO, START_SHARE);
    let of = trained.len();
    let own = &puzzles[0];
    let starts = Starts::new(start, &tuner, &task.train, own, trained, options.seed, |asked| {
        Ok(pace.go_on(Progress::Starting { asked, of }, end)? == GoOn::Yes)
    })?;
    let best = starts.best(None);
    if let Some(best) = best {
        tuner.reset_to(&best.embedding)?;
    }
    let started_from = best.and_then(|best| best.task.clone());

    let batch = batch_time(&tuner, task, &puzzles)?;
    let batches = (puzzles.len() * (task.test.len() + task.train.len()))
        .div_ceil(tuner.asked().evaluator.rows());
    let reserve = batch.mul_f64(RESERVE * batches as f64);
    let end = pace.share(reserve, if holds_out { MAIN_SHARE } else { 1.0 });
    let begun = Instant::now();
    let fitted = tuner.run(&task.id, &task.train, &puzzles, steps, |step| {
        pace.go_on(Progress::Fitting { step, of: steps }, end)
    })?;
    let fitting = begun.elapsed();

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
        true => {
            let spent = Spent { steps: fitted.steps, fitting, batch };
            Some(hold_out(&mut tuner, &starts, task, &puzzles, spent, pace)?)
        }
        false => None,
    };
    Ok(Outcome {
        task: task.id.clone(),
        origin: Origin::Unseen {
            looked_for: found.is_some(),
            same_name: found == Some(Found::OtherPairs),
            started_from,
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

/// What fine-tuning for the answer took, and what a batch of answers takes.
struct Spent {
    steps: u64,
    fitting: Duration,
    batch: Duration,
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
/// as for the answer, and it is asked. Where the embeddings start is chosen without it, too. After
/// the first, only what there is time for.
fn hold_out(
    tuner: &mut Tuner,
    starts: &Starts,
    task: &Task,
    puzzles: &[Puzzle],
    Spent { steps, fitting, batch }: Spent,
    pace: &mut Pace,
) -> Result<HeldOut> {
    let pairs = task.train.len();
    let batches = puzzles.len().div_ceil(tuner.asked().evaluator.rows());
    let reserve = batch.mul_f64(RESERVE * batches as f64);
    let mut held_out = HeldOut { answered: Share::default(), pairs, cut_short: 0 };
    for out in 0..pairs {
        let progress = |step| Progress::HoldingOut { pair: out, pairs, step, of: steps };
        let end = pace.share(reserve, 1.0);
        let is_time = out == 0 || Instant::now() + fitting <= end;
        if !is_time || pace.go_on(progress(0), end)? != GoOn::Yes {
            break;
        }
        match starts.best(Some(out)) {
            Some(best) => tuner.reset_to(&best.embedding)?,
            None => tuner.reset()?,
        }
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
