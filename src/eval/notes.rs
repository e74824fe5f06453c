//! What has to be known beside scores: whether what is scored was trained on, and whether the
//! checkpoint was chosen by it.

use super::pass::Voted;
use crate::Result;
use crate::data::{DataSet, Kind, overlap};
use crate::run::trained::Trained;

const TRAIN: &str = "train";
/// What validation during training is on.
const VALIDATION: &str = "test";

/// Most boards that a report compares: of more it would take longer than a few answers.
const MAX_COMPARED: usize = 200_000;

/// A note on what is not scored.
pub fn of_hidden(voted: &[Voted]) -> Option<String> {
    let hidden = voted.iter().filter(|v| v.is_hidden()).count();
    (hidden > 0).then(|| {
        format!(
            "the answers to {hidden} of {} test inputs are not known: they are left out of every score \
             (their tasks out of tasks solved), and stand in submission.json",
            voted.len()
        )
    })
}

/// Notes on the data set, whoever answers.
pub fn of_data(data: &DataSet, split: &str) -> Result<Vec<String>> {
    if split == TRAIN {
        return Ok(vec!["this split is what a model of this data is trained on".into()]);
    }
    let left_out = data.held_out_by_content().map(overlap::words_left_out);
    Ok(left_out.into_iter().chain(of_overlap(data, split)?).collect())
}

fn of_overlap(data: &DataSet, split: &str) -> Result<Option<String>> {
    let count = |split| data.split(split).map_or(0, |shard| shard.examples());
    let boards = if data.kind() == Kind::Arc { 0 } else { count(TRAIN) + count(split) };
    if boards > MAX_COMPARED {
        let words = format!(
            "training and {split} split were not compared, they hold {boards} boards: \
             `hrm data verify {}` tells what is in both",
            data.dir().display()
        );
        return Ok((!data.is_of_board_builder()).then_some(words));
    }
    let count = data.train_in(split)?;
    Ok((count > 0).then(|| overlap::words(count, split)))
}

/// A note on a checkpoint that is the best of its run.
pub fn of_choice(trained: &Trained, data: &DataSet, split: &str) -> Option<String> {
    let state = &trained.reader.meta.state;
    let is_best = state.best_val_loss.is_finite() && state.best_step == state.step;
    // With one validation, at the end, there was nothing to choose from.
    let train = &trained.plan.config.train;
    let is_best = is_best && train.eval_every > 0 && train.chooses_by_loss();
    let is_same = split == VALIDATION && data.digest() == trained.trained_on();
    (is_best && is_same).then(|| {
        let most = train.eval_examples;
        let count = data.split(split).map_or(0, |shard| shard.examples() as u64);
        let of = match most > 0 && most < count {
            true => format!(" (its first {most} examples)"),
            false => String::new(),
        };
        format!(
            "this checkpoint was chosen as the best by its loss on this same split{of}: its scores \
             flatter it a little"
        )
    })
}
