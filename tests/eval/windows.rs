//! Packed rows in an evaluation: answers in a window, and on the whole canvas where that is too
//! small.

use hrm::data::{DataSet, RowLayout};
use hrm::eval::{self, Answer, Evaluator, Halt, Request, Row};
use hrm::models::hrm::Hrm;

use super::answer::opinionated;
use super::fixture::{CANVAS, arc, random_tasks};
use super::run::all;

const SEGMENTS: usize = 4;

fn rows(model: &Hrm, data: &DataSet, layout: RowLayout) -> Vec<Row> {
    let examples = data.split("test").unwrap().examples() as u32;
    (0..examples).map(|i| eval::row_of(model, data, "test", i, layout).unwrap()).collect()
}

fn ask(model: &Hrm, of: usize, rows: &[Row], halt: Halt) -> Vec<Answer> {
    let mut answers = vec![None; rows.len()];
    let each = |i: usize, answer| {
        assert!(answers[i].replace(answer).is_none(), "row {i} is answered twice");
        Ok(())
    };
    let asked = rows.iter().cloned().map(Ok);
    Evaluator::new(model, of).answer(model, asked, halt, each).unwrap();
    answers.into_iter().map(Option::unwrap).collect()
}

#[test]
fn an_answer_in_a_window_depends_on_neither_its_neighbours_nor_the_batch() {
    let dir = tempfile::tempdir().unwrap();
    let data = arc(dir.path(), &random_tasks(1, 9));
    let model = opinionated(&data, 7, SEGMENTS);
    let mut rows = rows(&model, &data, RowLayout::Packed);
    rows[1].window = None;
    let mut windows: Vec<_> = rows.iter().map(|row| row.window).collect();
    windows.dedup();
    assert!(windows.len() > 4, "rows of few lengths: {windows:?}");
    for halt in [Halt::Last, Halt::Early] {
        let alone = ask(&model, 1, &rows, halt);
        for of in [2, 3, 7] {
            assert_eq!(ask(&model, of, &rows, halt), alone, "batches of {of}");
        }
        let backwards: Vec<Row> = rows.iter().rev().cloned().collect();
        let mut turned = ask(&model, 3, &backwards, halt);
        turned.reverse();
        assert_eq!(turned, alone, "backwards");
    }
}

#[test]
fn an_answer_that_reaches_the_edge_of_its_window_is_asked_again_on_the_whole_canvas() {
    let dir = tempfile::tempdir().unwrap();
    let data = arc(dir.path(), &random_tasks(3, 12));
    let model = opinionated(&data, 7, SEGMENTS);
    let packed = rows(&model, &data, RowLayout::Packed);
    let whole = ask(&model, 7, &rows(&model, &data, RowLayout::Padded), Halt::Last);
    let answers = ask(&model, 7, &packed, Halt::Last);
    let mut again = 0;
    for (i, (answer, row)) in answers.iter().zip(&packed).enumerate() {
        if answer.asked_again {
            again += 1;
            assert_eq!(Answer { asked_again: false, ..answer.clone() }, whole[i], "row {i}");
            continue;
        }
        let Some(window) = row.window else { continue };
        let tokens: Vec<i32> = answer.tokens.iter().map(|&token| token as i32).collect();
        assert!(!row.is_reached_beyond(&tokens), "row {i}");
        let shown: Vec<usize> = window.cells(CANVAS).collect();
        let outside = (0..tokens.len()).filter(|cell| !shown.contains(cell));
        outside.for_each(|cell| assert_eq!(tokens[cell], 0, "row {i}, cell {cell}"));
    }
    assert!(again > 0 && again < answers.len(), "{again} of {} asked again", answers.len());

    let examples: Vec<u32> = (0..answers.len() as u32).collect();
    let request = Request { layout: RowLayout::Packed, ..all(&data, &examples) };
    let evaluation = eval::evaluate(&model, request).unwrap();
    assert_eq!(evaluation.asked_again, again);
    let tokens: Vec<u8> = answers.iter().flat_map(|answer| answer.tokens.clone()).collect();
    assert_eq!(evaluation.tokens, tokens);
    // Every example counts once.
    assert_eq!(evaluation.sums()[hrm::ops::act_halt::metric::COUNT], examples.len() as f64);
}

/// The output is not looked at for the window, and what it has beyond is not asked in training.
#[test]
fn a_grid_on_the_edge_of_the_canvas_is_not_asked_again() {
    let row = |window| Row {
        inputs: vec![2; 25],
        labels: vec![2; 25],
        puzzle_id: 0,
        window: Some(window),
    };
    let window = |top, left, h, w| hrm::data::Window { top, left, h, w };
    // Colours in the first three lines and columns, EOS around.
    let tokens: Vec<i32> = (0..25)
        .map(|cell| match (cell / 5, cell % 5) {
            (0..3, 0..3) => 4,
            (3, 0..3) | (0..3, 3) => 1,
            _ => 0,
        })
        .collect();
    assert!(!row(window(0, 0, 4, 4)).is_reached_beyond(&tokens));
    assert!(row(window(0, 0, 3, 4)).is_reached_beyond(&tokens));
    assert!(row(window(0, 0, 4, 3)).is_reached_beyond(&tokens));
    let full = vec![4; 25];
    assert!(!row(window(0, 0, 5, 5)).is_reached_beyond(&full));
    assert!(!row(window(2, 3, 3, 2)).is_reached_beyond(&full));
    assert!(row(window(2, 3, 2, 2)).is_reached_beyond(&full));
    assert!(!row(window(0, 0, 2, 2)).is_reached_beyond(&[0; 25]));
}
