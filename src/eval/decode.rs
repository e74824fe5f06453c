//! Answers of a model that writes them token by token. Sequences lie in rows of a cache; one that
//! has ended leaves and the next takes its row. At each step every sequence reads one token: of
//! its question, then of its own answer, the likeliest of those that lead to a grid. Beside it a
//! forward over the expected answer gives the loss, where one is known.
//!
//! The Q logit of an answer is that of its probability: sigmoid(q) = product of its tokens' own.

use super::finished::{Answer, Finished, argmax};
use super::row::Row;
use crate::data::canvas::{Placement, encode};
use crate::data::sequence::Writing;
use crate::data::vocab::PAD;
use crate::data::{Batch, Pair, Sequence};
use crate::models::decode::{Decoder, Decoding, Next};
use crate::models::{Carry, DeviceBatch, Model, Workspace};
use crate::ops::act_halt::{self, metric};
use crate::sequence::{VOCABULARY, longest};
use crate::{Error, Result};

/// Sequences in whose caches there are no more positions than this; at least one.
const CACHED_POSITIONS: usize = 1 << 16;
const MOST_ROWS: usize = 256;
/// Positions of a forward over expected answers.
const FORWARD_POSITIONS: usize = 2048;

/// Sequences under way at a time, of `asked`.
pub fn rows(longest: usize, asked: usize) -> usize {
    asked.min(CACHED_POSITIONS / longest.max(1)).clamp(1, MOST_ROWS)
}

/// A question under way.
struct Written {
    number: usize,
    id: i32,
    question: Sequence,
    at: Placement,
    /// The pair with its expected output, as a sequence.
    expected: Option<Sequence>,
    writing: Writing,
    /// Tokens that were read.
    read: usize,
    /// What is read after the question, and its place.
    next: Option<(i32, i32)>,
    log_prob: f64,
}

impl Written {
    fn new(number: usize, row: &Row, side: usize) -> std::result::Result<Self, String> {
        let (input, at, output) = row.grids().ok_or("its input is no ARC grid on a canvas")?;
        let question = Sequence::prompt(&input, side);
        let expected = output.map(|output| Sequence::of_pair(&Pair { input, output }, side));
        let writing = Writing::new(side);
        let (id, log_prob) = (row.puzzle_id, 0.0);
        Ok(Self { number, id, question, at, expected, writing, read: 0, next: None, log_prob })
    }

    /// What is read next, and its place.
    fn token(&self) -> (i32, i32) {
        let Sequence { tokens, places, .. } = &self.question;
        self.next.unwrap_or_else(|| (tokens[self.read], places[self.read]))
    }

    /// After a token was read and `logits` (V) say what may follow: whether the answer has ended.
    fn went_on(&mut self, logits: &[f32]) -> bool {
        self.read += 1;
        if self.read < self.question.tokens.len() {
            return false;
        }
        let allowed: Vec<f32> = logits
            .iter()
            .zip(0..)
            .map(|(&x, token)| if self.writing.allows(token) { x } else { f32::NEG_INFINITY })
            .collect();
        let token = argmax(&allowed);
        let largest = logits.iter().fold(f32::NEG_INFINITY, |m, &x| m.max(x)) as f64;
        let sum: f64 = logits.iter().map(|&x| (x as f64 - largest).exp()).sum();
        self.log_prob += logits[token] as f64 - largest - sum.ln();
        let place = self.writing.write(token as i32);
        self.next = place.map(|place| (token as i32, place));
        place.is_none()
    }

    /// Tokens of what is expected.
    fn expected_len(&self) -> usize {
        self.expected.as_ref().map_or(0, |sequence| sequence.tokens.len())
    }

    /// The answer on the canvas, from where the input stands as far as there is room.
    fn answer(&self, side: usize) -> Answer {
        let grid = self.writing.grid();
        let shown = encode(&grid, self.at, side).or_else(|| {
            let (h, w) = (side - self.at.top as usize, side - self.at.left as usize);
            encode(&grid.window(0, 0, grid.h().min(h), grid.w().min(w))?, self.at, side)
        });
        let tokens = shown.unwrap_or_else(|| vec![PAD; side * side]);
        // Certain to the last bit would be an infinite logit.
        let log_prob = self.log_prob.min(-1e-9);
        let q = log_prob - (-log_prob.exp()).ln_1p();
        Answer {
            tokens: tokens.into_iter().map(|t| t as u8).collect(),
            q: [q as f32, 0.0],
            halt_step: 1,
            steps: 1,
            asked_again: false,
            tried: None,
            metrics: [0.0; metric::LEN],
        }
    }
}

/// Memory for a step of so many sequences and a forward, for the shape-only device to watch.
pub(super) fn dry_run(model: &dyn Model, decoder: &dyn Decoder, rows: usize) -> Result<()> {
    let memory = decoder.memory(rows)?;
    let nothing = vec![0; rows];
    let next = Next { tokens: &nothing, places: &nothing, conditions: &nothing, lengths: &nothing };
    decoder.read(&memory, &next)?;
    let longest = longest(model.dims().side());
    // One more than fit: of shorter rows there are more.
    let room = vec![longest; FORWARD_POSITIONS.div_ceil(longest) + 1];
    forward(model, &room, &Batch::default()).map(|_| ())
}

/// Answer with names for the rows in errors; answers come in the order in which they end.
pub(super) fn answer_named(
    model: &dyn Model,
    decoder: &dyn Decoder,
    rows: usize,
    questions: impl Iterator<Item = Result<Row>>,
    name: impl Fn(usize) -> String,
    mut each: impl FnMut(Finished) -> Result<()>,
) -> Result<()> {
    let (dims, side) = (model.dims(), model.dims().side());
    let mut questions = questions.enumerate().fuse();
    let memory = decoder.memory(rows)?;
    let mut under_way: Vec<Option<Written>> = (0..rows).map(|_| None).collect();
    let mut ended = vec![];
    loop {
        for row in under_way.iter_mut().filter(|row| row.is_none()) {
            let Some((number, question)) = questions.next() else { break };
            let question = question?;
            let refused = |what| Error::invalid(format!("{}: {what}", name(number)));
            question.check(dims).map_err(refused)?;
            let written = Written::new(number, &question, side);
            *row = Some(written.map_err(refused)?);
        }
        if under_way.iter().all(Option::is_none) {
            return settle(model, &mut ended, &mut each);
        }
        let logits = step(decoder, &memory, &under_way)?;
        for (row, logits) in under_way.iter_mut().zip(logits.chunks_exact(VOCABULARY)) {
            let Some(written) = row else { continue };
            if !logits.iter().all(|x| x.is_finite()) {
                return Err(not_finite(name(written.number)));
            }
            if written.went_on(logits) {
                ended.extend(row.take());
            }
        }
        let positions: usize = ended.iter().map(Written::expected_len).sum();
        if positions >= FORWARD_POSITIONS || ended.len() >= rows {
            settle(model, &mut ended, &mut each)?;
        }
    }
}

fn step(decoder: &dyn Decoder, memory: &Decoding, rows: &[Option<Written>]) -> Result<Vec<f32>> {
    let (mut tokens, mut places) = (vec![], vec![]);
    let (mut conditions, mut lengths) = (vec![], vec![]);
    for row in rows {
        let (token, place) = row.as_ref().map_or((0, 0), Written::token);
        tokens.push(token);
        places.push(place);
        conditions.push(row.as_ref().map_or(0, |row| row.id));
        lengths.push(row.as_ref().map_or(-1, |row| row.read as i32));
    }
    let next =
        Next { tokens: &tokens, places: &places, conditions: &conditions, lengths: &lengths };
    decoder.read(memory, &next)?.to_f32s()
}

/// Hand on the answers that have ended, as many at a time as there is a forward for.
fn settle(
    model: &dyn Model,
    ended: &mut Vec<Written>,
    each: &mut impl FnMut(Finished) -> Result<()>,
) -> Result<()> {
    while !ended.is_empty() {
        let mut positions = 0;
        let fits = |row: &&Written| {
            positions += row.expected_len();
            positions <= FORWARD_POSITIONS
        };
        let count = ended.iter().take_while(fits).count().max(1);
        let own: Vec<Written> = ended.drain(..count).collect();
        each(finished(model, &own)?)?;
    }
    Ok(())
}

/// Answers, with the metrics of those that are expected.
fn finished(model: &dyn Model, ended: &[Written]) -> Result<Finished> {
    let mut finished = vec![];
    let (mut batch, mut room, mut of_batch) = (Batch::default(), vec![], vec![]);
    for row in ended {
        let answer = row.answer(model.dims().side());
        if let Some(expected) = &row.expected {
            batch.push_sequence(expected, row.id as u32, expected.tokens.len())?;
            room.push(expected.tokens.len());
            of_batch.push(finished.len());
        }
        finished.push((row.number, answer));
    }
    if room.is_empty() {
        return Ok(finished);
    }
    let (rows, q_rows) = forward(model, &room, &batch)?;
    for ((row, q_row), i) in rows.chunks_exact(4).zip(q_rows.chunks_exact(2)).zip(of_batch) {
        let answer: &mut Answer = &mut finished[i].1;
        answer.metrics = act_halt::metrics_of_row(row, answer.q, [q_row[0], q_row[1]], 1);
    }
    Ok(finished)
}

/// Loss and hits of each row (R, 4) and losses of Q (R, 2) of a batch of sequences.
fn forward(model: &dyn Model, room: &[usize], batch: &Batch) -> Result<(Vec<f32>, Vec<f32>)> {
    let carry = Carry::packed(model, room)?;
    let device_batch = DeviceBatch::packed(model.device(), &carry.layout)?;
    if !batch.inputs.is_empty() {
        device_batch.upload(&batch.inputs, &batch.labels, &batch.puzzle_ids)?;
        if let Some(placed) = &device_batch.placed {
            placed.lengths.upload(&batch.lengths)?;
            placed.places.upload(&batch.cells)?;
        }
    }
    let space = Workspace::of_rows(model, room.len(), room.len())?;
    let segment = model.eval_segment(&carry, &device_batch, &space)?;
    if model.device().is_shape_only() {
        return Ok((vec![], vec![]));
    }
    Ok((segment.rows.to_f32s()?, segment.q_rows.to_f32s()?))
}

fn not_finite(name: String) -> Error {
    Error::invalid(format!(
        "evaluation: the model's output for {name} is not finite: its weights are damaged or \
         training diverged; use an earlier checkpoint"
    ))
}
