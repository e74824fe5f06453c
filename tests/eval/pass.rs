//! Questions and votes on data whose every grid is known.

use hrm::data::canvas::{self, Placement};
use hrm::data::{DataSet, Grid, Pair};
use hrm::eval::question::questions;
use hrm::eval::{self, Answers, Share, Voted};

use super::fixture::{CANVAS, arc, grid, pair};

/// Two tasks; the first asks the same input twice. Each pair also in one turned, recoloured
/// variant.
fn data(dir: &std::path::Path) -> DataSet {
    let (a, b) = (pair(&["12"], &["21"]), pair(&["12"], &["33"]));
    arc(dir, &[vec![a, pair(&["4"], &["5"]), b], vec![pair(&["67"], &["7"])]])
}

/// Answers in the order of `examples`: of a published example as given, of a variant the same after
/// the variant's change.
fn rows(data: &DataSet, examples: &[u32], answer: impl Fn(usize, bool) -> Grid) -> Vec<u8> {
    let names = data.identifiers().unwrap();
    let mut rows = vec![];
    for (i, &example) in examples.iter().enumerate() {
        let id = data.example("test", example as usize).unwrap().puzzle_id as usize;
        let name = hrm::data::augment::PuzzleName::parse(&names[id]);
        let grid = answer(i, name.variant.is_some());
        let grid = name.variant.map_or(grid.clone(), |variant| variant.apply(&grid));
        let row = canvas::encode(&grid, Placement::default(), CANVAS);
        let row = row.unwrap_or(vec![0; CANVAS * CANVAS]);
        rows.extend(row.into_iter().map(|token| token as u8));
    }
    rows
}

fn vote(
    data: &DataSet,
    examples: &[u32],
    answers: Answers,
    belief: impl Fn(usize) -> f64,
) -> Vec<Voted> {
    let asked = questions(data, "test", examples).unwrap();
    hrm::eval::pass::vote(data, "test", examples, &asked, answers, belief, false).unwrap()
}

#[test]
fn an_answer_without_a_grid_is_a_vote_where_that_is_asked() {
    let dir = tempfile::tempdir().unwrap();
    let data = data(dir.path());
    let examples = eval::select(&data, "test", 0).unwrap();
    let nothing = vec![0; examples.len() * CANVAS * CANVAS];
    let asked = questions(&data, "test", &examples).unwrap();
    let voted = |count_empty| {
        let answers = Answers::Rows(&nothing);
        let vote = hrm::eval::pass::vote;
        vote(&data, "test", &examples, &asked, answers, |_| 0.0, count_empty).unwrap()
    };
    assert!(voted(false).iter().all(|v| v.candidates.is_empty()));
    for v in voted(true) {
        assert_eq!((v.candidates.len(), v.votes()), (1, 2));
        assert!(v.candidates[0].grid.is_empty() && !v.passed(2));
    }
}

fn share(right: u64, of: u64) -> Share {
    Share { right, of }
}

#[test]
fn variants_ask_what_their_task_asks_and_equal_inputs_stay_apart() {
    let dir = tempfile::tempdir().unwrap();
    let data = data(dir.path());
    let examples = eval::select(&data, "test", 0).unwrap();
    let all = questions(&data, "test", &examples).unwrap();
    let seen: Vec<_> = all.iter().map(|q| (q.task.as_str(), q.number, q.asked.len())).collect();
    assert_eq!(seen, [("task0", 0, 2), ("task0", 1, 2), ("task0", 2, 2), ("task1", 0, 2)]);
    assert_eq!(all[0].pair, pair(&["12"], &["21"]));
    assert_eq!(all[2].pair, pair(&["12"], &["33"]));
    // The variants alone tell the same.
    let variants: Vec<u32> = examples[4..].to_vec();
    let alone = questions(&data, "test", &variants).unwrap();
    let pairs = |all: &[eval::question::Question]| -> Vec<_> {
        all.iter().map(|q| (q.number, q.pair.clone())).collect()
    };
    assert_eq!(pairs(&alone), pairs(&all));
}

#[test]
fn two_variants_that_agree_outvote_nobody_but_belief_breaks_their_tie() {
    let dir = tempfile::tempdir().unwrap();
    let data = data(dir.path());
    let examples = eval::select(&data, "test", 0).unwrap();
    let truth = |i: usize| data.example("test", examples[i] as usize).unwrap().pair.output;
    // Published examples are answered right, variants with one black cell.
    let right_first = rows(&data, &examples, |i, variant| match variant {
        false => truth(i),
        true => grid(&["0"]),
    });
    let score = |belief: &dyn Fn(usize) -> f64| -> Vec<Voted> {
        vote(&data, &examples, Answers::Rows(&right_first), belief)
    };
    let published = score(&|i| if i < 4 { 1.0 } else { -1.0 });
    assert_eq!(eval::pass(&published, 1).passed, share(4, 4));
    let variants = score(&|i| if i < 4 { -1.0 } else { 1.0 });
    let (one, two) = (eval::pass(&variants, 1), eval::pass(&variants, 2));
    assert_eq!((one.passed, one.solved, one.task_score), (share(0, 4), share(0, 2), 0.0));
    assert_eq!((two.passed, two.solved, two.task_score), (share(4, 4), share(2, 2), 1.0));
    assert!(variants.iter().all(|v| v.votes() == 2));
}

#[test]
fn a_task_score_is_a_mean_over_tasks_and_an_empty_answer_is_no_vote() {
    let dir = tempfile::tempdir().unwrap();
    let data = data(dir.path());
    let examples = eval::select(&data, "test", 0).unwrap();
    let empty = Grid::from_fn(0, 0, |_, _| 0);
    // Only the second question of the first task and the second task's are answered, and rightly.
    let answers = rows(&data, &examples, |i, variant| match (i, variant) {
        (1, false) => grid(&["5"]),
        (3, false) => grid(&["7"]),
        _ => empty.clone(),
    });
    let voted = vote(&data, &examples, Answers::Rows(&answers), |_| 0.0);
    assert_eq!(voted.iter().map(Voted::votes).collect::<Vec<_>>(), [0, 1, 0, 1]);
    let pass = eval::pass(&voted, 1);
    assert_eq!((pass.passed, pass.solved), (share(2, 4), share(1, 2)));
    assert_eq!(pass.task_score, (1.0 / 3.0 + 1.0) / 2.0);
    // What ARC Prize wants is there for every question, answered or not.
    let path = dir.path().join("submission.json");
    eval::submission::write(&path, &data, "test", &voted).unwrap();
    let json: serde_json::Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    assert_eq!(json["task0"].as_array().unwrap().len(), 3);
    assert_eq!(json["task0"][0]["attempt_2"], serde_json::json!([[0]]));
    assert_eq!(json["task1"][0], serde_json::json!({"attempt_1": [[7]], "attempt_2": [[7]]}));
}

#[test]
fn copying_the_input_is_one_candidate_with_every_vote() {
    let dir = tempfile::tempdir().unwrap();
    let data = data(dir.path());
    let examples = eval::select(&data, "test", 0).unwrap();
    let voted = vote(&data, &examples, Answers::Input, |_| 0.0);
    assert!(!voted.is_empty());
    for v in voted {
        assert_eq!(v.candidates.len(), 1);
        assert_eq!((&v.candidates[0].grid, v.votes()), (&v.question.pair.input, 2));
    }
}

#[test]
fn questions_stand_in_the_tasks_order_even_if_only_a_variant_asked() {
    let dir = tempfile::tempdir().unwrap();
    let data = data(dir.path());
    let order = eval::select(&data, "test", 0).unwrap();
    // The first question of the first task is asked by its variant alone, and last.
    let examples: Vec<u32> = order[1..4].iter().chain(&order[4..5]).copied().collect();
    let all = questions(&data, "test", &examples).unwrap();
    let seen: Vec<_> = all.iter().map(|q| (q.task.as_str(), q.number)).collect();
    assert_eq!(seen, [("task0", 0), ("task0", 1), ("task0", 2), ("task1", 0)]);
    assert_eq!(all[0].pair, pair(&["12"], &["21"]));
}

#[test]
fn a_hidden_question_is_voted_on_and_neither_passed_nor_failed() {
    let dir = tempfile::tempdir().unwrap();
    let hidden = Pair::hidden(grid(&["12"]));
    let tasks = [vec![pair(&["1"], &["5"]), hidden.clone()], vec![hidden]];
    let data = arc(dir.path(), &tasks);
    let examples = eval::select(&data, "test", 0).unwrap();
    let all = questions(&data, "test", &examples).unwrap();
    let answers =
        rows(&data, &examples, |i, _| if i == 0 { grid(&["5"]) } else { Grid::default() });
    // Even where no grid counts as a vote: it is not what is wanted.
    for count_empty in [false, true] {
        let answers = Answers::Rows(&answers);
        let voted = eval::pass::vote(&data, "test", &examples, &all, answers, |_| 0.0, count_empty)
            .unwrap();
        assert_eq!(voted.iter().map(Voted::is_hidden).collect::<Vec<_>>(), [false, true, true]);
        assert_eq!(voted[2].votes(), if count_empty { 2 } else { 0 });
        assert!(!voted[2].passed(9));
        let pass = eval::pass(&voted, 2);
        assert_eq!((pass.passed, pass.solved, pass.task_score), (share(1, 1), share(0, 0), 1.0));
    }
}
