//! Sudoku and maze builders: valid boards, honest division of test and train, CSV files.

use std::collections::HashSet;
use std::fs;
use std::path::Path;

use hrm::data::builders::maze::{self, MazeOptions};
use hrm::data::builders::sudoku::{self, Division, SudokuOptions};
use hrm::data::builders::sudoku_board::Shape;
use hrm::data::shard::Shard;
use hrm::data::{DataSet, Grid, augment};
use hrm::io::progress::Progress;
use hrm::rng::{Rng, Stream};

fn digits(grid: &Grid) -> Vec<u8> {
    grid.cells().iter().map(|&t| t - 1).collect()
}

/// (board, solution) of every example.
fn boards(shard: &Shard) -> Vec<(Vec<u8>, Vec<u8>)> {
    let pair = |i| shard.example(i).unwrap().pair;
    (0..shard.examples()).map(|i| (digits(&pair(i).input), digits(&pair(i).output))).collect()
}

fn sudoku(dir: &Path, options: &SudokuOptions) -> DataSet {
    sudoku::generate(dir, options, Progress::Quiet).unwrap();
    let data = DataSet::open(dir).unwrap();
    data.verify().unwrap();
    data
}

#[test]
fn sudoku_boards_have_one_solution_and_test_solutions_are_new() {
    for (size, train, test, num_aug) in [(4, 60, 20, 3), (6, 40, 20, 2), (9, 6, 4, 1)] {
        let dir = tempfile::tempdir().unwrap();
        let options = SudokuOptions { size, train, test, num_aug, ..SudokuOptions::default() };
        let data = sudoku(&dir.path().join("d"), &options);
        assert_eq!((data.vocab_size(), data.seq_len()), (size + 2, size * size));
        assert_eq!(data.num_puzzle_ids(), 1);
        let (train_shard, test_shard) = (data.split("train").unwrap(), data.split("test").unwrap());
        assert_eq!((train_shard.groups(), test_shard.groups()), (train, test));
        assert_eq!(train_shard.examples(), train * (1 + num_aug));
        let shape = Shape::new(size).unwrap();
        let (trained, tested) = (boards(train_shard), boards(test_shard));
        for (board, solution) in trained.iter().chain(&tested) {
            assert!(shape.is_solution(solution));
            assert_eq!(shape.solutions(board), 1);
            assert!(board.iter().zip(solution).all(|(&b, &s)| b == 0 || b == s));
        }
        let distinct: HashSet<_> = tested.iter().map(|(board, _)| board).collect();
        assert_eq!(distinct.len(), test);
        let known: HashSet<_> = trained.iter().map(|(_, solution)| solution.clone()).collect();
        assert!(tested.iter().all(|(_, solution)| !known.contains(solution)));
        if size > 4 {
            let orbits: HashSet<_> = known.iter().map(|s| shape.canonical(s)).collect();
            assert!(tested.iter().all(|(_, s)| !orbits.contains(&shape.canonical(s))));
        }
    }
}

#[test]
fn sudoku_clues_set_the_difficulty_and_impossible_wishes_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let base = SudokuOptions { size: 6, train: 10, test: 5, ..SudokuOptions::default() };
    let clues = |range, name: &str| {
        let data = sudoku(&dir.path().join(name), &SudokuOptions { clues: range, ..base.clone() });
        let boards = boards(data.split("train").unwrap());
        let count = |(b, _): &(Vec<u8>, _)| b.iter().filter(|&&d| d > 0).count();
        boards.iter().map(count).collect::<Vec<_>>()
    };
    assert!(clues(Some((12, 12)), "hard").iter().all(|&n| n == 12));
    assert!(clues(Some((20, 24)), "easy").iter().all(|n| (20..=24).contains(n)));
    let refusal = |options: SudokuOptions| {
        let out = dir.path().join("refused");
        let error = sudoku::generate(&out, &options, Progress::Quiet).unwrap_err().to_string();
        assert!(!out.exists());
        error
    };
    assert!(refusal(SudokuOptions { size: 5, ..base.clone() }).contains("there are 4, 6 and 9"));
    assert!(refusal(SudokuOptions { clues: Some((3, 9)), ..base.clone() }).contains("at least 8"));
    let greedy = SudokuOptions { size: 4, clues: Some((15, 15)), train: 100_000, ..base };
    assert!(refusal(greedy).contains("of 100000 different training boards"));
}

#[test]
fn four_by_four_can_be_divided_by_orbit_too() {
    let dir = tempfile::tempdir().unwrap();
    let division = Some(Division::Orbit);
    let options = SudokuOptions { size: 4, train: 30, test: 10, division, ..Default::default() };
    let data = sudoku(&dir.path().join("d"), &options);
    let shape = Shape::new(4).unwrap();
    let orbits = |split| -> HashSet<_> {
        let boards = boards(data.split(split).unwrap());
        boards.iter().map(|(_, s)| shape.canonical(s)).collect()
    };
    assert_eq!((orbits("train").len(), orbits("test").len()), (1, 1));
    assert!(orbits("train").is_disjoint(&orbits("test")));
}

#[test]
fn generated_data_has_the_same_bytes_with_one_and_two_threads() {
    let dir = tempfile::tempdir().unwrap();
    let build = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        let (s, m) =
            (dir.path().join(format!("s{threads}")), dir.path().join(format!("m{threads}")));
        let sudoku_options = SudokuOptions { size: 6, train: 20, test: 5, ..Default::default() };
        let maze_options = MazeOptions { size: 9, train: 20, test: 5, ..Default::default() };
        pool.install(|| {
            sudoku::generate(&s, &sudoku_options, Progress::Quiet).unwrap();
            maze::generate(&m, &maze_options, Progress::Quiet).unwrap();
        });
        let read = |d: &Path, f: &str| fs::read(d.join(f)).unwrap();
        ["train.shard", "test.shard", "dataset.json"].map(|f| (read(&s, f), read(&m, f)))
    };
    assert!(build(1) == build(2), "files differ");
}

/// Shortest path length from start (3) to goal (4), by flooding.
fn shortest(maze: &Grid) -> usize {
    let n = maze.w();
    let mut reached = vec![false; n * n];
    reached[maze.cells().iter().position(|&t| t == 3).unwrap()] = true;
    for steps in 1.. {
        let before = reached.clone();
        let near = |i: usize| {
            (i >= n && before[i - n])
                || (i + n < n * n && before[i + n])
                || (!i.is_multiple_of(n) && before[i - 1])
                || (i % n < n - 1 && before[i + 1])
        };
        for (i, cell) in reached.iter_mut().enumerate() {
            *cell |= maze.cells()[i] != 1 && near(i);
        }
        if reached[maze.cells().iter().position(|&t| t == 4).unwrap()] {
            return steps;
        }
        assert!(reached != before, "goal is walled off");
    }
    unreachable!()
}

#[test]
fn maze_labels_mark_a_shortest_path_and_test_mazes_are_new() {
    let dir = tempfile::tempdir().unwrap();
    for (size, augment) in [(8, true), (15, false)] {
        let options = MazeOptions { size, train: 20, test: 10, augment, seed: 3 };
        let out = dir.path().join(size.to_string());
        maze::generate(&out, &options, Progress::Quiet).unwrap();
        let data = DataSet::open(&out).unwrap();
        data.verify().unwrap();
        assert_eq!((data.vocab_size(), data.canvas()), (6, size));
        let (train, test) = (data.split("train").unwrap(), data.split("test").unwrap());
        assert_eq!((train.groups(), train.examples()), (20, if augment { 160 } else { 20 }));
        assert_eq!((test.groups(), test.examples()), (10, 10));
        let mut trained = HashSet::new();
        for i in 0..train.examples() {
            let pair = train.example(i).unwrap().pair;
            check_maze(&pair.input, &pair.output);
            trained.extend((0..8).map(|t| augment::transform(&pair.input, t)));
        }
        for i in 0..test.examples() {
            let pair = test.example(i).unwrap().pair;
            check_maze(&pair.input, &pair.output);
            assert!(!trained.contains(&pair.input));
        }
    }
}

fn check_maze(input: &Grid, output: &Grid) {
    let path: Vec<_> = input.cells().iter().zip(output.cells()).filter(|(a, b)| a != b).collect();
    assert!(path.iter().all(|&(&a, &b)| a == 2 && b == 5), "only free cells become path");
    assert_eq!(path.len(), shortest(input) - 1);
    // The marked cells alone connect start and goal.
    let only_path = output.map(|t| if t == 2 { 1 } else { t });
    assert_eq!(shortest(&only_path), path.len() + 1);
}

const QUESTION: &str = "1...3..2........";
const ANSWER: &str = "1243341221344321";
const TESTED: &str = "12..3..2........";

fn csv(dir: &Path, name: &str, rows: &[(&str, &str, &str)]) -> std::path::PathBuf {
    let mut text = String::from("source,question,answer,rating\n");
    rows.iter().for_each(|(q, a, r)| text += &format!("here,{q},{a},{r}\n"));
    let path = dir.join(name);
    fs::write(&path, text).unwrap();
    path
}

#[test]
fn sudoku_csv_is_read_and_bad_rows_are_named() {
    let dir = tempfile::tempdir().unwrap();
    let good = csv(dir.path(), "good.csv", &[(QUESTION, ANSWER, "3"), (ANSWER, ANSWER, "0")]);
    let tested = csv(dir.path(), "tested.csv", &[(TESTED, ANSWER, "3"), (ANSWER, ANSWER, "0")]);
    let out = dir.path().join("d");
    let read = |train: &Path, min_rating| {
        let options = sudoku::CsvOptions {
            train_csv: train.to_owned(),
            test_csv: tested.clone(),
            min_rating,
            num_aug: 2,
            ..Default::default()
        };
        sudoku::from_csv(&out, &options, Progress::Quiet)
    };
    read(&good, Some(1.0)).unwrap();
    let data = DataSet::open(&out).unwrap();
    let (train, test) = (data.split("train").unwrap(), data.split("test").unwrap());
    assert_eq!((train.groups(), train.examples(), test.examples()), (1, 3, 1));
    let text = |b: &[u8]| b.iter().map(|d| (b'0' + d) as char).collect::<String>();
    let (board, solution) = &boards(train)[0];
    assert_eq!((text(board), text(solution)), (QUESTION.replace('.', "0"), ANSWER.to_owned()));
    for (rows, why) in [
        (vec![("1x..............", ANSWER, "1")], "`x` is neither a digit nor a dot"),
        (vec![("4...............", ANSWER, "1")], "does not keep the clues"),
        (vec![(QUESTION, "1143341221344321", "1")], "is no solved board"),
        (vec![(QUESTION, ANSWER, "1"), ("1234", ANSWER, "1")], "line 3: question has 4 cells"),
        (vec![("123", "123", "1")], "3 cells are not a square"),
        (vec![(QUESTION, ANSWER, "hard")], "rating `hard` is no number"),
        (vec![(QUESTION, ANSWER, "NaN")], "rating `NaN` is no number"),
        (vec![(TESTED, ANSWER, "3")], "stand in the test file"),
        (vec![(QUESTION, ANSWER, "0")], "no rows left"),
    ] {
        let bad = csv(dir.path(), "bad.csv", &rows);
        let error = read(&bad, Some(1.0)).unwrap_err().to_string();
        let named = error.contains("bad.csv") || why.contains("test file");
        assert!(named && error.contains(why), "{error}");
    }
    fs::write(dir.path().join("bad.csv"), "a,b\n1,2\n").unwrap();
    let error = read(&dir.path().join("bad.csv"), None).unwrap_err().to_string();
    assert!(error.contains("no column `question`"), "{error}");
}

#[test]
fn maze_csv_keeps_the_charset() {
    let dir = tempfile::tempdir().unwrap();
    let (question, answer) = ("S  # ## G", "So #o##oG");
    let good = csv(dir.path(), "good.csv", &[(question, answer, "1")]);
    let tested = csv(dir.path(), "tested.csv", &[("S  ## ##G", "Soo##o##G", "1")]);
    let options = maze::CsvOptions {
        train_csv: good.clone(),
        test_csv: tested.clone(),
        augment: true,
        ..Default::default()
    };
    let out = dir.path().join("d");
    maze::from_csv(&out, &options, Progress::Quiet).unwrap();
    let data = DataSet::open(&out).unwrap();
    let train = data.split("train").unwrap();
    assert_eq!((train.groups(), train.examples()), (1, 8));
    let example = train.example(0).unwrap().pair;
    assert_eq!(example.input.cells(), [3, 2, 2, 1, 2, 1, 1, 2, 4]);
    assert_eq!(example.output.cells(), [3, 5, 2, 1, 5, 1, 1, 5, 4]);
    let bad = csv(dir.path(), "bad.csv", &[("S  # ##?G", answer, "1")]);
    let options =
        maze::CsvOptions { train_csv: bad, test_csv: tested.clone(), ..Default::default() };
    let error = maze::from_csv(&out, &options, Progress::Quiet).unwrap_err().to_string();
    assert!(error.contains("maze 0: `?` is not one of"), "{error}");
    for (question, answer, why) in [
        ("S  # ## G", "S  # ## G", "marks no connected path"),
        ("S  # ## G", "So #oo#oG", "is not the same maze at row 1, column 2"),
        ("S  # ## G", "Soo#o##oG", "marks 4 cells; a shortest path has 3"),
        ("S  # ##SG", "Soo#o##SG", "is of a maze with 2 cells `S`"),
        ("S  # ##  ", "Soo#o##o ", "is of a maze with 0 cells `G`"),
        ("S  #####G", "S  #####G", "without a way from `S` to `G`"),
        ("S       G", "Soo  oooG", "marks 5 cells; a shortest path has 3"),
    ] {
        let bad = csv(dir.path(), "bad.csv", &[(question, answer, "1")]);
        let (train_csv, test_csv) = (bad, tested.clone());
        let options = maze::CsvOptions { train_csv, test_csv, ..Default::default() };
        let error = maze::from_csv(&out, &options, Progress::Quiet).unwrap_err().to_string();
        assert!(error.contains("maze 0: ") && error.contains(why), "{error}, expected {why}");
    }
    // Turned by half: the same maze.
    let turned = csv(dir.path(), "turned.csv", &[("G ## #  S", "Go##o# oS", "1")]);
    let options = maze::CsvOptions { train_csv: good, test_csv: turned, ..Default::default() };
    let error = maze::from_csv(&out, &options, Progress::Quiet).unwrap_err().to_string();
    assert!(error.contains("all 1 training boards stand in the test file"), "{error}");
}

#[test]
fn a_sample_is_what_shuffling_all_rows_gives_and_0_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let generated = SudokuOptions { size: 4, train: 12, test: 3, ..SudokuOptions::default() };
    let data = sudoku(&dir.path().join("g"), &generated);
    let file = |split: &str| {
        let text = |b: &[u8]| b.iter().map(|d| (b'0' + d) as char).collect::<String>();
        let rows: Vec<_> = boards(data.split(split).unwrap())
            .iter()
            .map(|(board, solution)| (text(board), text(solution)))
            .collect();
        let rows: Vec<_> = rows.iter().map(|(q, a)| (q.as_str(), a.as_str(), "1")).collect();
        csv(dir.path(), &format!("{split}.csv"), &rows)
    };
    let (train_csv, test_csv) = (file("train"), file("test"));
    let build = |subsample| {
        let (train_csv, test_csv) = (train_csv.clone(), test_csv.clone());
        let options = sudoku::CsvOptions { train_csv, test_csv, subsample, ..Default::default() };
        let out = dir.path().join("d");
        let built = sudoku::from_csv(&out, &options, Progress::Quiet);
        built.map(|_| boards(DataSet::open(&out).unwrap().split("train").unwrap()))
    };
    let mut expected = boards(data.split("train").unwrap());
    assert_eq!(build(Some(usize::MAX)).unwrap(), expected);
    Rng::new(0, Stream::Generate, u64::MAX).shuffle(&mut expected);
    assert_eq!(build(Some(5)).unwrap(), expected[..5]);
    assert!(build(Some(0)).unwrap_err().to_string().contains("--subsample 0"));
}

#[test]
fn what_is_no_text_of_lines_is_refused_before_it_fills_the_memory() {
    let dir = tempfile::tempdir().unwrap();
    let sparse = dir.path().join("sparse.csv");
    fs::File::create(&sparse).unwrap().set_len(5 << 30).unwrap();
    let (train_csv, test_csv) = (sparse.clone(), sparse);
    let options = sudoku::CsvOptions { train_csv, test_csv, ..Default::default() };
    let built = sudoku::from_csv(&dir.path().join("d"), &options, Progress::Quiet);
    let error = built.unwrap_err().to_string();
    assert!(error.contains("a line has more than 64 KiB"), "{error}");
}
