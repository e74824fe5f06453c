//! Where the embeddings of a new task start: at the mean of the trained ones, or at those of the
//! trained task that explain the new one's pairs best.

use super::fit::{Start, Tuner};
use super::known::Puzzle;
use super::rows;
use crate::Result;
use crate::data::{BatchOptions, Pair, RowLayout};
use crate::eval::{Evaluator, Halt};
use crate::models::Model;
use crate::rng::{Rng, Stream};
use crate::sequence::TURNS;

/// Candidates with their losses; none for a model without embeddings.
pub struct Starts(Vec<Candidate>);

/// An embedding to start from.
pub struct Candidate {
    /// The trained task whose it is; `None`: the mean of all.
    pub task: Option<String>,
    pub embedding: Vec<f32>, // (D)
    /// Loss of each pair of the new task, whose row it stands in.
    losses: Vec<f64>,
}

impl Starts {
    /// The mean, which `tuner` holds for the new task `own`, and the tasks that were `trained`, in
    /// an order drawn from `seed`. `go_on` is asked before each, with the number of those before.
    pub fn new(
        start: Start,
        tuner: &Tuner,
        pairs: &[Pair],
        own: &Puzzle,
        trained: &[Puzzle],
        seed: u64,
        mut go_on: impl FnMut(usize) -> Result<bool>,
    ) -> Result<Self> {
        let Some(table) = start.model.embeddings()? else { return Ok(Self(vec![])) };
        let mut all = vec![];
        for losses in losses(tuner.model(), start, pairs, &[own], |_| Ok(true))? {
            all.push(Candidate { task: None, embedding: tuner.start().to_vec(), losses });
        }
        let mut trained: Vec<&Puzzle> = trained.iter().collect();
        Rng::new(seed, Stream::Order, u64::MAX).shuffle(&mut trained);
        let known = losses(start.model, start, pairs, &trained, &mut go_on)?;
        for (puzzle, losses) in trained.into_iter().zip(known) {
            let row = match start.layout {
                RowLayout::Sequence => puzzle.id as usize / TURNS,
                _ => puzzle.id as usize,
            };
            let d = table.shape().last();
            let embedding = table.view(row * d, [d])?.to_f32s()?;
            all.push(Candidate { task: Some(puzzle.name.task.clone()), embedding, losses });
        }
        Ok(Self(all))
    }

    /// The one with the lowest loss over all pairs, one of them left out or none.
    pub fn best(&self, left_out: Option<usize>) -> Option<&Candidate> {
        let loss = |candidate: &Candidate| -> f64 {
            let losses = candidate.losses.iter().enumerate();
            losses.filter(|(pair, _)| Some(*pair) != left_out).map(|(_, loss)| loss).sum()
        };
        self.0.iter().min_by(|a, b| loss(a).total_cmp(&loss(b)))
    }
}

/// Losses of the pairs as each puzzle, until `go_on` ends it.
fn losses(
    model: &dyn Model,
    start: Start,
    pairs: &[Pair],
    puzzles: &[&Puzzle],
    mut go_on: impl FnMut(usize) -> Result<bool>,
) -> Result<Vec<Vec<f64>>> {
    let options = BatchOptions { ignore_pad: model.dims().ignores_pad };
    let Start { canvas, layout, .. } = start;
    let evaluator = Evaluator::new(model, pairs.len() * puzzles.len());
    let mut losses = vec![vec![None; pairs.len()]; puzzles.len()];
    let mut ended = false;
    let rows = puzzles.iter().enumerate().map_while(|(n, puzzle)| {
        let rows = go_on(n).and_then(|more| {
            ended |= !more;
            rows::in_the_corner(pairs, puzzle.id, canvas, layout, options)
        });
        (!ended).then(|| match rows {
            Ok(rows) => rows.into_iter().map(Ok).collect(),
            Err(e) => vec![Err(e)],
        })
    });
    evaluator.answer(model, rows.flatten(), Halt::Last, |n, answer| {
        losses[n / pairs.len()][n % pairs.len()] = Some(answer.loss());
        Ok(())
    })?;
    Ok(losses.into_iter().map_while(|of_pairs| of_pairs.into_iter().collect()).collect())
}
