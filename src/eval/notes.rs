//! What has to be known beside scores: whether what is scored was trained on, and whether the
//! checkpoint was chosen by it.

use crate::Result;
use crate::data::{DataSet, overlap};
use crate::run::trained::Trained;

const TRAIN: &str = "train";
/// What validation during training is on.
const VALIDATION: &str = "test";

/// Notes on the data set, whoever answers.
pub fn of_data(data: &DataSet, split: &str) -> Result<Vec<String>> {
    if split == TRAIN {
        return Ok(vec!["this split is what a model of this data is trained on".into()]);
    }
    let left_out = data.held_out_by_content().map(overlap::words_left_out);
    let trained = Some(data.train_in(split)?).filter(|&count| count > 0);
    Ok(left_out.into_iter().chain(trained.map(|count| overlap::words(count, split))).collect())
}

/// A note on a checkpoint that is the best of its run.
pub fn of_choice(trained: &Trained, data: &DataSet, split: &str) -> Option<String> {
    let state = &trained.reader.meta.state;
    let is_best = state.best_val_loss.is_finite() && state.best_step == state.step;
    let is_same = split == VALIDATION && data.digest() == trained.trained_on();
    (is_best && is_same).then(|| {
        let most = trained.plan.config.train.eval_examples;
        let of = if most == 0 { String::new() } else { format!(" (its first {most} examples)") };
        format!(
            "this checkpoint was chosen as the best by its loss on this same split{of}: its scores \
             flatter it a little"
        )
    })
}
