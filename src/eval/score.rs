//! How right answers are, in terms that padding cannot flatter, and the identity baseline (answer =
//! input) judged by the same code. Every accuracy is the mean over examples of the right share.
//!
//! ```text
//! token accuracy            all positions of the canvas, PAD included
//! token accuracy, not PAD   positions whose true token is not PAD (ARC: colours and EOS)
//! cell accuracy   ARC       cells of the true output grid. An answer of another height or width
//!                           has none right; cells it has beyond the true grid never count for it
//!                 Sudoku    cells that are empty in the input
//!                 maze      cells that are free in the input: on the path or not
//!                 other     positions whose true token is not PAD
//! exact           ARC       the grid read from the answer is the true grid, shape included
//!                 boards    every position whose true token is not PAD is right
//! as published    ARC       exact among the pairs of tasks as published: no augmentation, no vote
//! ```
//!
//! An ARC answer's grid is the largest rectangle of colours from where the input grid begins (the
//! canvas corner in test splits), as in the official evaluation; nothing of the label is used to
//! read it. Examples in which nothing is asked (a board without an empty cell) are left out of that
//! mean; hidden test inputs, whose answer nobody says, are left out of everything.

use crate::data::canvas::{self, Placement};
use crate::data::shard::Shard;
use crate::data::vocab::PAD;
use crate::data::{DataSet, Grid, Kind};
use crate::{Error, Result};

use super::select::originals;

const SUDOKU_EMPTY: i32 = 1;
const MAZE_FREE: i32 = 2;

/// Where the judged tokens come from.
#[derive(Clone, Copy)]
pub enum Answers<'a> {
    /// The input itself: what a model must beat.
    Input,
    /// Rows of tokens, (N, S).
    Rows(&'a [u8]),
}

/// How right one answer is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Verdict {
    pub tokens: Share,
    pub tokens_not_pad: Share,
    pub cells: Share,
    /// ARC: whether the answer has the true grid's height and width.
    pub same_shape: bool,
    pub exact: bool,
    /// Whether nobody says what is right: then nothing above counts.
    pub hidden: bool,
    /// Whether the example belongs to a task as published.
    pub original: bool,
}

impl Verdict {
    /// On a hidden test input.
    const HIDDEN: Self = {
        let nothing = Share { right: 0, of: 0 };
        Self {
            tokens: nothing,
            tokens_not_pad: nothing,
            cells: nothing,
            same_shape: false,
            exact: false,
            hidden: true,
            original: false,
        }
    };
}

/// `right` of `of`.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug, serde::Serialize)]
#[cfg_attr(feature = "serve", derive(schemars::JsonSchema))]
pub struct Share {
    pub right: u64,
    pub of: u64,
}

#[derive(Clone, PartialEq, Debug, serde::Serialize)]
pub struct Scores {
    pub token_accuracy: f64,
    pub token_accuracy_not_pad: f64,
    pub cell_accuracy: f64,
    pub same_shape: Share,
    pub exact: Share,
    /// Exact among the pairs of tasks as published, one answer each. ARC only.
    pub exact_published: Option<Share>,
}

#[derive(Clone, Debug)]
pub struct Scored {
    pub scores: Scores,
    pub verdicts: Vec<Verdict>,
}

pub fn score(data: &DataSet, split: &str, examples: &[u32], answers: Answers) -> Result<Scored> {
    let shard = data.split(split)?;
    let seq_len = data.seq_len();
    if let Answers::Rows(rows) = answers
        && rows.len() != examples.len() * seq_len
    {
        let (got, n) = (rows.len(), examples.len());
        return Err(Error::invalid(format!("{got} answered tokens for {n} rows of {seq_len}")));
    }
    let originals = originals(data, split)?;
    let mut verdicts = Vec::with_capacity(examples.len());
    let (mut input, mut truth, mut answer) = (vec![0; seq_len], vec![0; seq_len], vec![]);
    for (i, &example) in examples.iter().enumerate() {
        shard.decode(example as usize, PAD, &mut input, &mut truth)?;
        answer.clear();
        match answers {
            Answers::Input => answer.extend(&input),
            Answers::Rows(rows) => {
                answer.extend(rows[i * seq_len..][..seq_len].iter().map(|&t| t as i32))
            }
        }
        let mut verdict = verdict(shard, example, &input, &truth, &answer)?;
        let puzzle = shard.example(example as usize)?.puzzle;
        verdict.original = originals[puzzle];
        verdicts.push(verdict);
    }
    let mut scores = summarise(&verdicts);
    if data.kind() == Kind::Arc {
        let published = verdicts.iter().filter(|v| v.original && !v.hidden);
        scores.exact_published = Some(share(published, |v| v.exact));
    }
    Ok(Scored { scores, verdicts })
}

/// The grid that an answer shows: see the module header. For boards, the whole canvas.
pub fn answered_grid(kind: Kind, answer: &[i32], input_at: Placement, side: usize) -> Grid {
    if kind != Kind::Arc {
        return Grid::from_fn(side, side, |r, c| answer[r * side + c] as u8);
    }
    let (top, left) = (input_at.top as usize, input_at.left as usize);
    let mut moved = vec![PAD; side * side];
    let lines = moved.chunks_exact_mut(side).zip(answer.chunks_exact(side).skip(top));
    for (to, from) in lines {
        to[..side - left].copy_from_slice(&from[left..]);
    }
    canvas::crop(&moved, side)
}

fn verdict(
    shard: &Shard,
    example: u32,
    input: &[i32],
    truth: &[i32],
    answer: &[i32],
) -> Result<Verdict> {
    let kind = shard.spec().kind;
    if shard.is_hidden(example as usize)? {
        return Ok(Verdict::HIDDEN);
    }
    let hits = |asked: &dyn Fn(usize) -> bool| {
        let asked = (0..truth.len()).filter(|&i| asked(i));
        share(asked, |&i| answer[i] == truth[i])
    };
    let tokens_not_pad = hits(&|i| truth[i] != PAD);
    let mut verdict = Verdict {
        tokens: hits(&|_| true),
        tokens_not_pad,
        cells: tokens_not_pad,
        same_shape: true,
        exact: tokens_not_pad.right == tokens_not_pad.of,
        hidden: false,
        original: true,
    };
    match kind {
        Kind::Sudoku => verdict.cells = hits(&|i| input[i] == SUDOKU_EMPTY),
        Kind::Maze => verdict.cells = hits(&|i| input[i] == MAZE_FREE),
        Kind::Tokens => {}
        Kind::Arc => {
            let record = shard.example(example as usize)?;
            let grid = answered_grid(kind, answer, record.input_at, shard.spec().canvas);
            let wanted = &record.pair.output;
            verdict.same_shape = (grid.h(), grid.w()) == (wanted.h(), wanted.w());
            verdict.exact = grid == *wanted;
            let pairs = grid.cells().iter().zip(wanted.cells());
            let right = pairs.filter(|(a, b)| a == b).count() as u64;
            let right = if verdict.same_shape { right } else { 0 };
            verdict.cells = Share { right, of: wanted.cells().len() as u64 };
        }
    }
    Ok(verdict)
}

fn summarise(verdicts: &[Verdict]) -> Scores {
    let known = || verdicts.iter().filter(|v| !v.hidden);
    let mean = |f: fn(&Verdict) -> Share| {
        let shares = || known().map(f).filter(|s| s.of > 0);
        shares().map(|s| s.frac()).sum::<f64>() / shares().count().max(1) as f64
    };
    Scores {
        token_accuracy: mean(|v| v.tokens),
        token_accuracy_not_pad: mean(|v| v.tokens_not_pad),
        cell_accuracy: mean(|v| v.cells),
        same_shape: share(known(), |v| v.same_shape),
        exact: share(known(), |v| v.exact),
        exact_published: None,
    }
}

fn share<T>(items: impl Iterator<Item = T>, right: impl Fn(&T) -> bool) -> Share {
    items.fold(Share::default(), |sum, item| Share {
        right: sum.right + right(&item) as u64,
        of: sum.of + 1,
    })
}

impl Share {
    /// 0 of 0 is 0.
    pub fn frac(&self) -> f64 {
        self.right as f64 / self.of.max(1) as f64
    }
}
