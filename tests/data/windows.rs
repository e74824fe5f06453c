//! Windows of a data set against its grids, and what has no say in them.

use std::collections::HashSet;

use hrm::data::augment::Variant;
use hrm::data::canvas::Placement;
use hrm::data::output::Output;
use hrm::data::shard::{GroupBuf, Spec};
use hrm::data::{DataSet, Grid, Kind, Pair, RowLayout, Window, window_of};

use crate::fixture;

/// What the puzzle with this id shows in the training split.
fn demonstrations(data: &DataSet, id: u32) -> Vec<Pair> {
    let train = data.split("train").unwrap();
    let examples = (0..train.examples()).map(|i| train.example(i).unwrap());
    examples.filter(|e| e.puzzle_id == id).map(|e| e.pair).collect()
}

#[test]
fn a_window_is_what_the_grids_say_in_every_variant() {
    let dir = tempfile::tempdir().unwrap();
    let data = fixture::asked(&dir.path().join("d"), 3, 6, 0);
    let canvas = data.canvas();
    let (mut transforms, mut cut, mut own) = (HashSet::new(), 0, 0);
    for split in ["train", "test"] {
        let lengths = data.row_lengths(split, RowLayout::Packed).unwrap();
        assert_eq!(lengths.len(), data.split(split).unwrap().examples());
        for (i, &length) in lengths.iter().enumerate() {
            let example = data.example(split, i).unwrap();
            let (shown, input) = (demonstrations(&data, example.puzzle_id), &example.pair.input);
            let grids = || shown.iter().flat_map(|p| [&p.input, &p.output]);
            let h = grids().map(Grid::h).max().unwrap().max(input.h()) + 1;
            let w = grids().map(Grid::w).max().unwrap().max(input.w()) + 1;
            let Placement { top, left } = example.input_at;
            let (down, right) = (canvas - top as usize, canvas - left as usize);
            let expected = Window { top, left, h: h.min(down) as u8, w: w.min(right) as u8 };
            let window = data.window(split, i).unwrap();
            assert_eq!(window, expected, "{split} {i}");
            assert_eq!(window_of(&shown, input, example.input_at, canvas), expected);
            assert_eq!(length as usize, expected.len());
            let holds = top as usize + input.h() <= (top + window.h) as usize;
            assert!(holds && left as usize + input.w() <= (left + window.w) as usize);
            transforms.insert(example.variant.transform);
            cut += (h > down || w > right) as usize;
            let largest = grids().all(|g| g.h() < input.h()) || grids().all(|g| g.w() < input.w());
            own += largest as usize;
        }
    }
    assert_eq!(transforms.len(), 8);
    assert!(cut > 0 && own > 0, "{cut} windows end at the canvas, {own} inputs are the largest");
}

#[test]
fn the_output_that_is_asked_for_has_no_say() {
    let dir = tempfile::tempdir().unwrap();
    let sets =
        [0, 1].map(|answers| fixture::asked(&dir.path().join(format!("{answers}")), 3, 6, answers));
    let [one, other] = &sets;
    let (mut differ, mut exceed) = (0, 0);
    for i in 0..one.split("test").unwrap().examples() {
        let window = one.window("test", i).unwrap();
        assert_eq!(window, other.window("test", i).unwrap(), "example {i}");
        let outputs = sets.each_ref().map(|set| set.example("test", i).unwrap().pair.output);
        differ += ((outputs[0].h(), outputs[0].w()) != (outputs[1].h(), outputs[1].w())) as usize;
        let beyond = |g: &Grid| g.h() > window.h as usize || g.w() > window.w as usize;
        exceed += outputs.iter().filter(|output| beyond(output)).count();
    }
    assert!(differ > 20 && exceed > 0, "{differ} outputs differ, {exceed} exceed their window");
}

#[test]
fn without_demonstrations_the_window_is_the_canvas() {
    let dir = tempfile::tempdir().unwrap();
    // The ids of its test split are not those of its training split.
    let (data, _) = fixture::small(&dir.path().join("small"), 1, 5);
    for i in 0..data.split("test").unwrap().examples() {
        assert_eq!(data.window("test", i).unwrap(), Window::whole(10));
    }

    let grid = Grid::from_fn(2, 2, |_, _| 3);
    let pair = Pair { input: grid.clone(), output: grid };
    let (corner, elsewhere) = (Placement::default(), Placement { top: 3, left: 1 });
    let one = |name: &str, spec: Spec, pair: &Pair, id: u32, output_at: Placement| {
        let dir = dir.path().join(name);
        let mut output = Output::create(&dir, spec, serde_json::json!({})).unwrap();
        let mut buf = GroupBuf::new(spec);
        let stored = buf.store(pair).unwrap();
        buf.begin_puzzle(Variant::IDENTITY);
        buf.push(stored, corner, output_at).unwrap();
        let mut writer = output.writer("train").unwrap();
        writer.push(&buf, &[id]).unwrap();
        output.finish_split("train", writer).unwrap();
        output.finish(&["a".into()][..id as usize]).unwrap();
        let data = DataSet::open(&dir).unwrap();
        (data.window("train", 0).unwrap(), data.row_lengths("train", RowLayout::Packed).unwrap())
    };
    let small = Window { top: 0, left: 0, h: 3, w: 3 };
    assert_eq!(one("same", Spec::arc(8), &pair, 1, corner), (small, vec![9]));
    let whole = (Window::whole(8), vec![64]);
    assert_eq!(one("blank id", Spec::arc(8), &pair, 0, corner), whole);
    assert_eq!(one("elsewhere", Spec::arc(8), &pair, 1, elsewhere), whole);
    let board = Grid::from_fn(4, 4, |r, c| 1 + ((2 * r + r / 2 + c) % 4) as u8);
    let board = Pair { input: board.clone(), output: board };
    let board = one("board", Spec::of(Kind::Sudoku, 4), &board, 1, corner);
    assert_eq!(board, (Window::whole(4), vec![16]));
}
