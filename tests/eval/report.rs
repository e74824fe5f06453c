//! The table, the files and the pixels.

use std::path::Path;

use hrm::data::canvas::{self, Placement};
use hrm::data::shard::Spec;
use hrm::data::sheet::{ARC_COLOURS, GAP, cell_side};
use hrm::data::{DataSet, Grid, Kind, Pair};
use hrm::eval::{self, Evaluation, Heading, Rules};
use serde_json::Value;

use super::fixture::{CANVAS, arc, boards, grid, pair};

/// As if a model had answered the first examples of `test` with these rows.
fn evaluation(data: &DataSet, rows: Vec<u8>) -> Evaluation {
    let n = rows.len() / data.seq_len();
    Evaluation {
        split: "test".into(),
        examples: eval::select(data, "test", n).unwrap(),
        seq_len: data.seq_len(),
        tokens: rows,
        q: vec![[0.5, -0.5]; n],
        halt_steps: (1..=n as u32).collect(),
        steps: vec![4; n],
        asked_again: 0,
        tried: vec![],
        metrics: vec![[1.0; 8]; n],
        wall_s: 3.0,
    }
}

fn on_canvas(grid: &Grid) -> Vec<u8> {
    let row = canvas::encode(grid, Placement::default(), CANVAS).unwrap();
    row.into_iter().map(|t| t as u8).collect()
}

/// Two tasks; the first answered right, the second with one wrong cell and a row too many.
fn answered(dir: &Path) -> (DataSet, Evaluation) {
    let data =
        arc(dir, &[vec![pair(&["12", "34"], &["21", "43"])], vec![pair(&["5", "6"], &["678"])]]);
    let rows = [grid(&["21", "43"]), grid(&["698", "111"])].iter().flat_map(on_canvas).collect();
    let evaluation = evaluation(&data, rows);
    (data, evaluation)
}

#[test]
fn boards_beyond_what_a_report_compares_are_named() {
    let dir = tempfile::tempdir().unwrap();
    let spec = Spec { kind: Kind::Tokens, canvas: 1, vocab_size: 3 };
    let board = pair(&["1"], &["2"]);
    let notes = |count: usize| {
        let dir = dir.path().join(count.to_string());
        let data = boards(&dir, spec, &vec![board.clone(); count]);
        let report = eval::report(&data, &evaluation(&data, vec![2]), None, Rules::new(&[1]));
        report.unwrap().notes
    };
    assert_eq!(notes(200_000), Vec::<String>::new());
    let notes = notes(200_001);
    assert!(
        notes[0].contains("not compared, they hold 200001 boards: `hrm data verify"),
        "{notes:?}"
    );
}

#[test]
fn table_and_files_say_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let (data, evaluation) = answered(&dir.path().join("data"));
    let report = eval::report(&data, &evaluation, None, Rules::new(&[1, 2])).unwrap();
    let table = report.table();
    for line in [
        "2 of 4 examples (2 as published, 0 variants): 2 test inputs of 2 tasks, 1 vote on each",
        "cell accuracy                             50.00 %            0.00 %",
        "right shape                                   1/2               1/2",
        "exact grids, variants included                1/2               0/2",
        "exact grids, as published                     1/2               0/2",
        "pass@1, voted                                 1/2               0/2",
        "tasks solved, 2 attempts                      1/2               0/2",
        "ACT steps                                    4.00                 -",
        "ACT steps wanted                             1.50                 -",
        "time per example                        1500.0 ms                 -",
        "time per task                              1.50 s                 -",
    ] {
        assert!(table.contains(line), "{line:?} is not in\n{table}");
    }
    let out = dir.path().join("run/eval");
    report.write(&out, &data, &evaluation, &Heading::default()).unwrap();
    let json: Value =
        serde_json::from_slice(&std::fs::read(out.join("eval.json")).unwrap()).unwrap();
    assert_eq!(json["model"]["cell_accuracy"], 0.5);
    let two = &json["model"]["pass_at"][1];
    assert_eq!((&two["k"], &two["passed"]["right"]), (&2.into(), &1.into()));
    assert_eq!(json["questions"]["count"], 2);
    assert_eq!(json["identity_baseline"]["exact"]["right"], 0);
    assert_eq!(json["data_digest"], data.digest());
    let text = std::fs::read_to_string(out.join("predictions.jsonl")).unwrap();
    let lines: Vec<Value> = text.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    assert_eq!(lines.len(), 2);
    assert_eq!((&lines[0]["puzzle"], &lines[0]["exact"]), (&"task0".into(), &true.into()));
    assert_eq!(lines[1]["answer"], serde_json::json!(["698", "111"]));
    assert_eq!(lines[1]["halt_step"], 2);
}

struct Picture {
    w: usize,
    pixels: Vec<u8>,
}

/// Pixels of a cell of grids as small as these.
const CELL: usize = 32;

impl Picture {
    fn read(path: &Path) -> Self {
        let file = std::io::BufReader::new(std::fs::File::open(path).unwrap());
        let mut reader = png::Decoder::new(file).read_info().unwrap();
        let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
        let info = reader.next_frame(&mut pixels).unwrap();
        assert_eq!((info.color_type, info.bit_depth), (png::ColorType::Rgb, png::BitDepth::Eight));
        Self { w: info.width as usize, pixels }
    }

    /// Pixel (y, x) of cell (r, c) of a panel of the first tile; panels are `widest` cells wide.
    fn cell(&self, panel: usize, widest: usize, at: (usize, usize), y: usize, x: usize) -> [u8; 3] {
        let left = GAP + panel * (widest * CELL + 1 + GAP / 2);
        let (y, x) = (GAP + at.0 * CELL + 1 + y, left + at.1 * CELL + 1 + x);
        self.pixels[3 * (y * self.w + x)..][..3].try_into().unwrap()
    }
}

#[test]
fn pictures_show_input_expected_answer_and_mark_wrong_cells() {
    let dir = tempfile::tempdir().unwrap();
    let (data, evaluation) = answered(&dir.path().join("data"));
    let report = eval::report(&data, &evaluation, None, Rules::new(&[1, 2])).unwrap();
    report.write(dir.path(), &data, &evaluation, &Heading::default()).unwrap();
    assert_eq!(cell_side(3), CELL);
    let middle = CELL / 2 - 1;
    let wrong = Picture::read(&dir.path().join("wrong.png"));
    let colour = |panel, r, c| wrong.cell(panel, 3, (r, c), middle, middle);
    assert_eq!(colour(0, 1, 0), ARC_COLOURS[6]);
    assert_eq!([colour(1, 0, 0), colour(1, 0, 2)], [ARC_COLOURS[6], ARC_COLOURS[8]]);
    assert_eq!([colour(2, 0, 1), colour(2, 1, 2)], [ARC_COLOURS[9], ARC_COLOURS[1]]);
    let ring = |r, c| [wrong.cell(2, 3, (r, c), 0, 4), wrong.cell(2, 3, (r, c), 1, 4)];
    let marked = [[0; 3], [255; 3]];
    assert_eq!(ring(0, 0), [ARC_COLOURS[6]; 2], "a right cell is not marked");
    for at in [(0, 1), (1, 0), (1, 1), (1, 2)] {
        assert_eq!(ring(at.0, at.1), marked, "{at:?}");
    }
    let right = Picture::read(&dir.path().join("right.png"));
    assert_eq!(right.cell(2, 2, (0, 0), middle, middle), ARC_COLOURS[2]);
    assert_eq!(right.cell(2, 2, (0, 0), 0, 0), ARC_COLOURS[2]);
}

#[test]
fn an_old_picture_does_not_outlive_what_it_showed() {
    let dir = tempfile::tempdir().unwrap();
    let (data, both) = answered(&dir.path().join("data"));
    eval::report(&data, &both, None, Rules::new(&[1, 2]))
        .unwrap()
        .write(dir.path(), &data, &both, &Heading::default())
        .unwrap();
    assert!(dir.path().join("wrong.png").exists());
    let right = evaluation(&data, both.tokens[..data.seq_len()].to_vec());
    eval::report(&data, &right, None, Rules::new(&[1, 2]))
        .unwrap()
        .write(dir.path(), &data, &right, &Heading::default())
        .unwrap();
    assert!(dir.path().join("right.png").exists() && !dir.path().join("wrong.png").exists());
}

#[test]
fn nothing_is_not_scored() {
    let dir = tempfile::tempdir().unwrap();
    let (data, _) = answered(&dir.path().join("data"));
    let nothing = Evaluation { examples: vec![], ..evaluation(&data, vec![]) };
    let error = eval::report(&data, &nothing, None, Rules::new(&[1, 2])).unwrap_err().to_string();
    assert!(error.starts_with("nothing to evaluate: no example of split test"), "{error}");
}

#[test]
fn a_submission_is_scored_as_the_answers_that_it_was_written_from() {
    let dir = tempfile::tempdir().unwrap();
    let (data, evaluation) = answered(&dir.path().join("data"));
    let report = eval::report(&data, &evaluation, None, Rules::new(&[1, 2])).unwrap();
    report.write(dir.path(), &data, &evaluation, &Heading::default()).unwrap();
    let read = |name: &str, text: &str| {
        let file = dir.path().join(name);
        std::fs::write(&file, text).unwrap();
        eval::predictions::read(&file, &data, "test").map_err(|e| e.to_string())
    };
    let own = std::fs::read_to_string(dir.path().join("submission.json")).unwrap();
    let again = read("own.json", &own).unwrap();
    let again = eval::report(&data, &again, None, Rules::new(&[1, 2])).unwrap();
    assert_eq!(again.model.pass_at, report.model.pass_at);

    // The second attempt is right: it passes at two, not at one.
    let late = r#"{"task1": [{"attempt_1": [[1]], "attempt_2": [[6, 7, 8]]}]}"#;
    let late = eval::report(&data, &read("late.json", late).unwrap(), None, Rules::new(&[1, 2]));
    let right: Vec<u64> = late.unwrap().model.pass_at.iter().map(|p| p.passed.right).collect();
    assert_eq!(right, [0, 1]);

    let other = read("other.json", r#"{"x": [{"attempt_1": [[1]], "attempt_2": [[1]]}]}"#);
    assert!(other.unwrap_err().contains("task x is not in split test"));
    let many = read("many.json", r#"{"task1": []}"#).unwrap_err();
    assert!(many.contains("task task1: answers 0 test inputs, but it has 1"), "{many}");
}

#[test]
fn an_empty_answer_is_reported_and_drawn() {
    let dir = tempfile::tempdir().unwrap();
    let (data, _) = answered(&dir.path().join("data"));
    let nothing = evaluation(&data, vec![0; data.seq_len()]);
    let report = eval::report(&data, &nothing, None, Rules::new(&[1, 2])).unwrap();
    report.write(dir.path(), &data, &nothing, &Heading::default()).unwrap();
    assert_eq!(report.model.scores.cell_accuracy, 0.0);
    let text = std::fs::read_to_string(dir.path().join("predictions.jsonl")).unwrap();
    assert!(text.contains(r#""answer":[]"#), "{text}");
}

#[test]
fn boards_are_reported_without_arc_terms() {
    let dir = tempfile::tempdir().unwrap();
    let solved = grid(&["2534", "3452", "4225", "5343"]);
    let puzzle = solved.map(|t| if t == 2 { 1 } else { t });
    let pairs = [Pair { input: puzzle, output: solved.clone() }];
    let data = boards(&dir.path().join("data"), Spec::of(Kind::Sudoku, 4), &pairs);
    let evaluation = evaluation(&data, solved.cells().to_vec());
    let report = eval::report(&data, &evaluation, None, Rules::new(&[1, 2])).unwrap();
    report.write(dir.path(), &data, &evaluation, &Heading::default()).unwrap();
    let table = report.table();
    assert!(table.contains("1 of 1 boards\n") && !table.contains("pass@1"), "{table}");
    assert!(
        table.contains("cell accuracy                            100.00 %            0.00 %"),
        "{table}"
    );
    let text = std::fs::read_to_string(dir.path().join("predictions.jsonl")).unwrap();
    assert!(text.contains(r#""answer":["2534","3452","4225","5343"]"#), "{text}");
}
