//! Scores against hand-counted numbers and against a slow second implementation.

use hrm::data::shard::Spec;
use hrm::data::{DataSet, Grid, Kind, Pair};
use hrm::eval::{self, Answers, Scored, Share};
use hrm::rng::{Rng, Stream};

use super::fixture::{CANVAS, arc, boards, grid, pair, random_tasks};

/// The test split's examples in evaluation order, judged with these answers.
fn scored(data: &DataSet, answers: &[Grid]) -> Scored {
    let examples = eval::select(data, "test", answers.len()).unwrap();
    let rows: Vec<u8> = answers.iter().flat_map(on_canvas).collect();
    eval::score(data, "test", &examples, Answers::Rows(&rows)).unwrap()
}

/// A grid at the corner with its EOS row and column, written out once more.
fn on_canvas(grid: &Grid) -> Vec<u8> {
    let (h, w) = (grid.h(), grid.w());
    let token = |i: usize| match (i / CANVAS, i % CANVAS) {
        (r, c) if r < h && c < w => grid.at(r, c) + 2,
        (r, c) if (r == h && c < w) || (c == w && r < h) => 1,
        _ => 0,
    };
    (0..CANVAS * CANVAS).map(token).collect()
}

fn share(right: u64, of: u64) -> Share {
    Share { right, of }
}

#[test]
fn hand_counted_answers() {
    let dir = tempfile::tempdir().unwrap();
    let data = arc(
        dir.path(),
        &[
            vec![pair(&["12", "34"], &["21", "43"]), pair(&["11"], &["22"])],
            vec![pair(&["5"], &["555", "555"])],
        ],
    );
    // Right; one cell of two wrong; wrong shape although all six cells are covered and right.
    let wide = grid(&["5555", "5555"]);
    let Scored { scores, verdicts } =
        scored(&data, &[grid(&["21", "43"]), grid(&["23"]), wide.clone()]);
    assert_eq!(
        verdicts.iter().map(|v| (v.cells, v.exact)).collect::<Vec<_>>(),
        [(share(4, 4), true), (share(1, 2), false), (share(0, 6), false)]
    );
    assert_eq!(scores.cell_accuracy, (1.0 + 0.5 + 0.0) / 3.0);
    assert_eq!(scores.exact, share(1, 3));
    assert_eq!(scores.same_shape, share(2, 3));
    assert_eq!(scores.exact_published, Some(share(1, 3)));
    // The wide answer: 25 positions; rows 0 and 1 differ in columns 3 (EOS) and 4 (PAD), row 2 in
    // column 3. Not PAD are 6 cells, 2 + 3 EOS.
    assert_eq!(verdicts[2].tokens, share(20, 25));
    assert_eq!(verdicts[2].tokens_not_pad, share(9, 11));
}

#[test]
fn identity_baseline_answers_with_the_input() {
    let dir = tempfile::tempdir().unwrap();
    let data =
        arc(dir.path(), &[vec![pair(&["12", "34"], &["12", "33"])], vec![pair(&["7"], &["77"])]]);
    let examples = eval::select(&data, "test", 0).unwrap();
    let identity = eval::score(&data, "test", &examples, Answers::Input).unwrap();
    // Two examples, each as published and turned: the baseline cannot tell the difference.
    assert_eq!(identity.scores.cell_accuracy, (0.75 + 0.0) / 2.0);
    assert_eq!(identity.scores.exact, share(0, 4));
    assert_eq!(identity.scores.exact_published, Some(share(0, 2)));
    assert_eq!(identity.verdicts.iter().filter(|v| v.original).count(), 2);
    // The first example: 24 of 25 positions, 7 of 8 that are not PAD.
    assert_eq!(identity.verdicts[0].tokens, share(24, 25));
    assert_eq!(identity.verdicts[0].tokens_not_pad, share(7, 8));
    // 7 against 7 7 at the corner: 7 EOS . . . / EOS . . . . against 7 7 EOS . . / EOS EOS . . .
    assert_eq!(identity.verdicts[1].tokens, share(22, 25));
    assert_eq!(identity.verdicts[1].tokens_not_pad, share(2, 5));
}

#[test]
fn originals_come_first_and_only_they_count_as_published() {
    let dir = tempfile::tempdir().unwrap();
    let data = arc(dir.path(), &random_tasks(1, 4));
    let shard = data.split("test").unwrap();
    let names = data.identifiers().unwrap();
    let order = eval::select(&data, "test", 0).unwrap();
    let published = |&i: &u32| {
        let id = shard.example(i as usize).unwrap().puzzle_id;
        !names[id as usize].contains("_t")
    };
    let first = order.iter().take_while(|i| published(i)).count();
    assert_eq!(first, order.iter().filter(|i| published(i)).count());
    assert_eq!((first, order.len()), (7, 14));
    assert!(order[..first].is_sorted() && order[first..].is_sorted());
    assert_eq!(eval::select(&data, "test", 3).unwrap(), order[..3]);
    // All answers right but those of published tasks: exact in half of the examples, pass@1 zero.
    let truth = |&i: &u32| match published(&i) {
        true => grid(&["9"]),
        false => shard.example(i as usize).unwrap().pair.output,
    };
    let answers: Vec<Grid> = order.iter().map(truth).collect();
    let scores = scored(&data, &answers).scores;
    assert_eq!((scores.exact, scores.exact_published), (share(7, 14), Some(share(0, 7))));
}

#[test]
fn a_translated_answer_is_read_from_where_the_input_begins() {
    let dir = tempfile::tempdir().unwrap();
    let data = arc(dir.path(), &[vec![pair(&["12", "34"], &["43", "21"])]]);
    let (mut input, mut truth) = (vec![0; CANVAS * CANVAS], vec![0; CANVAS * CANVAS]);
    data.split("train").unwrap().decode(0, 0, &mut input, &mut truth).unwrap();
    assert_eq!(truth[0], 0, "not at the corner");
    let rows: Vec<u8> = truth.iter().map(|&t| t as u8).collect();
    let right = eval::score(&data, "train", &[0], Answers::Rows(&rows)).unwrap();
    assert_eq!(right.scores.exact, share(1, 1));
    assert_eq!(right.scores.cell_accuracy, 1.0);
}

/// The same numbers by plain loops over strings of cells, from the grids and not from the rows.
#[test]
fn random_answers_agree_with_a_slow_implementation() {
    let dir = tempfile::tempdir().unwrap();
    let data = arc(dir.path(), &random_tasks(2, 30));
    let examples = eval::select(&data, "test", 0).unwrap();
    let mut rng = Rng::new(3, Stream::Test, 0);
    let answers: Vec<Grid> = examples
        .iter()
        .map(|&i| {
            let truth = data.example("test", i as usize).unwrap().pair.output;
            match rng.below(3) {
                0 => truth,
                1 => truth.map(|c| if c == 1 { 9 } else { c }),
                _ => Grid::from_fn(1 + rng.below(4) as usize, 2, |_, _| rng.below(3) as u8),
            }
        })
        .collect();
    let Scored { scores, .. } = scored(&data, &answers);
    let (mut token, mut not_pad, mut cell, mut exact) = (0.0, 0.0, 0.0, 0);
    for (&i, answer) in examples.iter().zip(&answers) {
        let truth = data.example("test", i as usize).unwrap().pair.output;
        let (a, t) = (on_canvas(answer), on_canvas(&truth));
        let same: Vec<bool> = (0..a.len()).map(|k| a[k] == t[k]).collect();
        let kept: Vec<bool> = (0..a.len()).filter(|&k| t[k] > 0).map(|k| same[k]).collect();
        let frac = |hits: &[bool]| hits.iter().filter(|h| **h).count() as f64 / hits.len() as f64;
        token += frac(&same);
        not_pad += frac(&kept);
        if answer.h() == truth.h() && answer.w() == truth.w() {
            let mut right = 0;
            for r in 0..truth.h() {
                for c in 0..truth.w() {
                    right += (answer.at(r, c) == truth.at(r, c)) as usize;
                }
            }
            cell += right as f64 / (truth.h() * truth.w()) as f64;
            exact += (right == truth.h() * truth.w()) as u64;
        }
    }
    let n = examples.len() as f64;
    let close = |got: f64, want: f64| assert!((got - want).abs() < 1e-12, "{got} is not {want}");
    close(scores.token_accuracy, token / n);
    close(scores.token_accuracy_not_pad, not_pad / n);
    close(scores.cell_accuracy, cell / n);
    assert_eq!(scores.exact, share(exact, examples.len() as u64));
    assert!(exact > 20 && (exact as usize) < examples.len() - 20, "the answers are a mixture");
}

#[test]
fn sudoku_counts_empty_cells_and_the_copy_of_the_input_has_none() {
    let dir = tempfile::tempdir().unwrap();
    // Digits d are stored as d + 1, empty cells as 1.
    let puzzle = grid(&["2131", "1412", "1215", "5141"]);
    let solved = grid(&["2534", "3452", "4225", "5343"]);
    let pairs = [Pair { input: puzzle, output: solved.clone() }];
    let data = boards(dir.path(), Spec::of(Kind::Sudoku, 4), &pairs);
    let identity = eval::score(&data, "test", &[0], Answers::Input).unwrap().scores;
    assert_eq!((identity.cell_accuracy, identity.exact), (0.0, share(0, 1)));
    assert_eq!(identity.token_accuracy, 8.0 / 16.0);
    assert_eq!(identity.exact_published, None);
    let mut answer = solved.cells().to_vec();
    answer[1] = 2;
    let almost = eval::score(&data, "test", &[0], Answers::Rows(&answer)).unwrap().scores;
    assert_eq!((almost.cell_accuracy, almost.exact), (7.0 / 8.0, share(0, 1)));
    let right = eval::score(&data, "test", &[0], Answers::Rows(solved.cells())).unwrap().scores;
    assert_eq!((right.cell_accuracy, right.exact), (1.0, share(1, 1)));
}

#[test]
fn rows_that_do_not_belong_to_the_examples_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let data = arc(dir.path(), &random_tasks(4, 2));
    let error = eval::score(&data, "test", &[0, 1], Answers::Rows(&[0; 25])).unwrap_err();
    assert_eq!(error.to_string(), "25 answered tokens for 2 rows of 25");
}
