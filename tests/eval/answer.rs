//! Rows through slots: what early halting may change, and what it may not.

use hrm::Error;
use hrm::backend::{Device, DeviceKind};
use hrm::config::Settings;
use hrm::data::DataSet;
use hrm::data::vocab::IGNORE;
use hrm::eval::{Answer, Evaluator, Halt, Row};
use hrm::models::hrm::{Config, Hrm};
use hrm::models::{Compute, Model};
use hrm::rng::{Rng, Stream};

use super::fixture::{arc, random_tasks};
use super::run::{config, model};

const SEGMENTS: usize = 5;

/// A model whose rows halt at different segments: its Q head looks at the state, and its bias is
/// such that half of the rows halt at the first one.
pub fn opinionated(data: &DataSet, batch_size: usize, segments: usize) -> Hrm {
    let once = with_q_bias(data, batch_size, 1, 0.0);
    let mut gaps: Vec<f32> =
        ask(&once, &rows(data), Halt::Last).0.iter().map(|a| a.q[0] - a.q[1]).collect();
    gaps.sort_unstable_by(f32::total_cmp);
    let middle = gaps.len() / 2;
    // Between two rows, so that the last bit of a sum decides nothing.
    with_q_bias(data, batch_size, segments, -(gaps[middle - 1] + gaps[middle]) / 2.0)
}

fn with_q_bias(data: &DataSet, batch_size: usize, segments: usize, bias: f32) -> Hrm {
    let (config, sizes) = config(data, batch_size);
    let model = model((Config { halt_max_steps: segments, ..config }, sizes));
    let part = |name| model.params().part(&model.params().master, name).unwrap();
    let mut rng = Rng::new(11, Stream::Test, 1);
    let head = part("q_head.weight");
    let weights: Vec<f32> =
        (0..head.elems()).map(|_| rng.below(2001) as f32 / 1000.0 - 1.0).collect();
    head.upload(&weights).unwrap();
    part("q_head.bias").upload(&[bias, 0.0]).unwrap();
    model.refresh().unwrap();
    model
}

pub fn rows(data: &DataSet) -> Vec<Row> {
    let shard = data.split("test").unwrap();
    let s = data.seq_len();
    (0..shard.examples())
        .map(|i| {
            let mut row =
                Row { inputs: vec![0; s], labels: vec![0; s], puzzle_id: 0, window: None };
            let id = shard.decode(i, IGNORE, &mut row.inputs, &mut row.labels).unwrap();
            row.puzzle_id = id as i32;
            row
        })
        .collect()
}

/// Answers by row, and the rows in the order in which they were answered.
fn ask(model: &Hrm, rows: &[Row], halt: Halt) -> (Vec<Answer>, Vec<usize>) {
    ask_in_batches(model, usize::MAX, rows, halt)
}

pub fn ask_in_batches(
    model: &Hrm,
    of: usize,
    rows: &[Row],
    halt: Halt,
) -> (Vec<Answer>, Vec<usize>) {
    let (mut answers, mut order) = (vec![None; rows.len()], vec![]);
    let evaluator = Evaluator::new(model, of);
    let each = |i: usize, answer| {
        assert!(answers[i].replace(answer).is_none(), "row {i} is answered twice");
        order.push(i);
        Ok(())
    };
    evaluator.answer(model, rows.iter().cloned().map(Ok), halt, each).unwrap();
    (answers.into_iter().map(Option::unwrap).collect(), order)
}

#[test]
fn an_answer_depends_on_neither_its_neighbours_nor_the_batch_to_the_bit() {
    let dir = tempfile::tempdir().unwrap();
    let data = arc(dir.path(), &random_tasks(1, 8));
    let rows = rows(&data);
    let model = opinionated(&data, 7, SEGMENTS);
    let alone = ask_in_batches(&model, 1, &rows, Halt::Early).0;
    let mut halts: Vec<_> = alone.iter().map(|a| a.steps).collect();
    halts.sort_unstable();
    halts.dedup();
    assert!(halts.len() > 1, "all rows halt at segment {halts:?}: nothing is tested");
    for of in [2, 3, 7] {
        assert_eq!(ask_in_batches(&model, of, &rows, Halt::Early).0, alone, "batches of {of}");
        let backwards: Vec<_> = rows.iter().rev().cloned().collect();
        let mut turned = ask_in_batches(&model, of, &backwards, Halt::Early).0;
        turned.reverse();
        assert_eq!(turned, alone, "batches of {of}, backwards");
    }
}

#[test]
fn a_batch_holds_what_is_asked_and_what_is_fast() {
    let rows_of = |preset: &str, settings: &[&str], cells: usize, asked: usize| {
        let settings: Vec<String> = settings.iter().map(|s| s.to_string()).collect();
        let shape = Settings::load(Some(preset), None, &settings).unwrap().shape(cells, 12, 2);
        let device = Device::shape_only(DeviceKind::Cpu);
        device.reserve(Device::UNBOUNDED_BYTES).unwrap();
        let model = shape.build(&device, Compute::default()).unwrap();
        (Evaluator::new(&*model, asked).rows(), shape.sizes.batch_size)
    };
    let all = usize::MAX;
    assert!(rows_of("arc1", &[], 900, all).1 > 100);
    assert_eq!(rows_of("arc1", &[], 900, 1).0, 1);
    assert_eq!(rows_of("arc1", &[], 900, all).0, 2);
    assert_eq!(rows_of("sudoku-extreme", &[], 81, 7).0, 7);
    assert_eq!(rows_of("sudoku-extreme", &[], 81, all).0, 24); // of 82 positions
    assert_eq!(rows_of("sudoku-extreme", &["train.batch_size=5"], 81, all).0, 5);
    // Rows that halt together are answered in the batch that they were trained in.
    assert_eq!(rows_of("arc-full", &["train.batch_size=3"], 900, 1).0, 3);
}

/// Early halting is the full evaluation cut off at the row's halting segment.
#[test]
fn early_answers_are_those_of_that_segment() {
    let dir = tempfile::tempdir().unwrap();
    let data = arc(dir.path(), &random_tasks(4, 8));
    let rows = rows(&data);
    let (early, order) = ask(&opinionated(&data, 3, SEGMENTS), &rows, Halt::Early);
    assert!(!order.is_sorted(), "no row overtook another: {order:?}");
    let (full, in_order) = ask(&opinionated(&data, 3, SEGMENTS), &rows, Halt::Last);
    assert!(in_order.is_sorted());
    for segments in 1..=SEGMENTS {
        let cut = ask(&opinionated(&data, 3, segments), &rows, Halt::Last).0;
        for (i, answer) in early.iter().enumerate() {
            assert_eq!(answer.halt_step, full[i].halt_step, "row {i}");
            assert_eq!((answer.steps, full[i].steps), (answer.halt_step, SEGMENTS as u32));
            if answer.steps as usize == segments {
                assert_eq!((&answer.tokens, answer.q), (&cut[i].tokens, cut[i].q), "row {i}");
            }
        }
    }
}

#[test]
fn the_label_does_not_reach_the_answer() {
    let dir = tempfile::tempdir().unwrap();
    let data = arc(dir.path(), &random_tasks(2, 4));
    let known = rows(&data);
    let mut hidden = known.clone();
    hidden.iter_mut().for_each(|row| row.labels.fill(IGNORE));
    assert_ne!(known, hidden);
    let model = opinionated(&data, 3, SEGMENTS);
    for halt in [Halt::Last, Halt::Early] {
        let unscored = |rows| {
            let mut told = ask(&model, rows, halt);
            told.0.iter_mut().for_each(|answer| answer.metrics.fill(0.0));
            told
        };
        assert_eq!(unscored(&known), unscored(&hidden));
    }
    assert!(ask(&model, &[], Halt::Early).0.is_empty());
}

#[test]
fn rows_of_another_model_and_errors_on_the_way_end_it() {
    let dir = tempfile::tempdir().unwrap();
    let data = arc(dir.path(), &random_tasks(2, 2));
    let good = rows(&data)[0].clone();
    let model = opinionated(&data, 2, SEGMENTS);
    let evaluator = Evaluator::new(&model, usize::MAX);
    let refusal = |row: Result<Row, Error>| {
        let rows = [Ok(good.clone()), row].into_iter();
        evaluator.answer(&model, rows, Halt::Last, |_, _| Ok(())).unwrap_err().to_string()
    };
    let with = |change: &dyn Fn(&mut Row)| {
        let mut row = good.clone();
        change(&mut row);
        refusal(Ok(row))
    };
    let short = with(&|row| row.inputs.truncate(9));
    assert!(short.contains("row 1: input has 9 tokens, the model takes 25"), "{short}");
    let token = with(&|row| row.inputs[3] = 12);
    assert!(token.contains("row 1: input has token 12, the model knows 0 to 11"), "{token}");
    assert!(with(&|row| row.inputs[3] = IGNORE).contains("input has token -100"));
    assert!(with(&|row| row.labels[3] = -1).contains("label has token -1"));
    let id = with(&|row| row.puzzle_id = 5);
    assert!(id.contains("row 1: puzzle id 5, the model has embeddings for 5 ids"), "{id}");
    assert!(with(&|row| row.puzzle_id = -1).contains("puzzle id -1"));
    assert!(refusal(Err(Error::invalid("unreadable"))).contains("unreadable"));
    let each = |_, _| Err(Error::invalid("full"));
    let error = evaluator.answer(&model, [Ok(good.clone())].into_iter(), Halt::Last, each);
    assert!(error.unwrap_err().to_string().contains("full"));
    // What is left behind by an error does not reach the next call.
    let rows = rows(&data);
    let mut answers = vec![];
    let each = |_, answer| {
        answers.push(answer);
        Ok(())
    };
    evaluator.answer(&model, rows.iter().cloned().map(Ok), Halt::Last, each).unwrap();
    assert_eq!(answers, ask(&model, &rows, Halt::Last).0);
}
