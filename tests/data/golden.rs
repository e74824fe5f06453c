//! The official builder and loader, row by row (`arc_dataset`).

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use hrm::data::augment::{self, PuzzleName, Variant};
use hrm::data::canvas::{self, Placement};
use hrm::data::output::Output;
use hrm::data::shard::{GroupBuf, Spec};
use hrm::data::{BatchOptions, DataSet, Grid, Loader, Order, Pair, Position, Sampler};
use serde_json::Value;

use crate::common::golden::{self, Golden};

/// A golden of the official builder's rows, and its fields.
struct Rows(Golden);

fn goldens() -> Vec<Rows> {
    let of_rows = |name: &str, _: &Value| name.starts_with("arc_dataset");
    let places = golden::find("of data rows (arc_dataset)", of_rows);
    places.iter().map(|place| Rows(place.open())).collect()
}

impl Rows {
    /// A tensor that the caller compares.
    fn ints(&self, name: &str) -> Vec<i64> {
        self.0.count(1);
        self.0.f64s(name).into_iter().map(|v| v as i64).collect()
    }

    fn i32s(&self, name: &str) -> Vec<i32> {
        self.ints(name).into_iter().map(|v| v as i32).collect()
    }

    fn json(&self, key: &str) -> &Value {
        &self.0.json[key]
    }

    fn grid(&self, name: &str) -> Grid {
        let shape = self.0.shape(name);
        let cells = self.ints(name).into_iter().map(|v| v as u8).collect();
        Grid::new(shape[0], shape[1], cells).unwrap()
    }

    fn identifiers(&self) -> Vec<String> {
        serde_json::from_value(self.json("identifiers").clone()).unwrap()
    }

    fn seq_len(&self) -> usize {
        self.json("splits")["test"]["metadata"]["seq_len"].as_u64().unwrap() as usize
    }

    fn canvas(&self) -> usize {
        self.seq_len().isqrt()
    }

    fn rows(&self, split: &str) -> Vec<Row> {
        let rows = self.json("splits")[split]["rows"].as_array().unwrap();
        rows.iter().map(Row::parse).collect()
    }
}

/// A stored row of the official builder with the grids that it was made of.
struct Row {
    name: PuzzleName,
    original: Pair,
    at: Placement,
}

impl Row {
    fn parse(row: &Value) -> Self {
        let number = |key: &str| row[key].as_u64().unwrap();
        let grid = |key: &str| {
            let rows: Vec<Vec<i64>> = serde_json::from_value(row[key].clone()).unwrap();
            Grid::from_arc_rows(&rows).unwrap()
        };
        let name = PuzzleName::parse(row["name"].as_str().unwrap());
        assert_eq!(name.to_string(), row["name"].as_str().unwrap());
        assert_eq!(name.task, row["task"].as_str().unwrap());
        Self {
            name,
            original: Pair { input: grid("original_input"), output: grid("original_output") },
            at: Placement { top: number("top") as u8, left: number("left") as u8 },
        }
    }

    fn variant(&self) -> Variant {
        self.name.variant.unwrap_or(Variant::IDENTITY)
    }
}

#[test]
fn golden_rows_are_rebuilt_bit_equal() {
    for golden in goldens() {
        rebuild_rows(&golden);
        golden.0.expect_no_failures();
    }
}

fn rebuild_rows(golden: &Rows) {
    let (identifiers, seq_len) = (golden.identifiers(), golden.seq_len());
    for split in ["train", "test"] {
        let tensor = |what: &str| golden.i32s(&format!("{split}/rows/{what}"));
        let (inputs, labels, ids) = (tensor("inputs"), tensor("labels"), tensor("identifier"));
        let rows = golden.rows(split);
        assert!(!rows.is_empty());
        assert_eq!((rows.len() * seq_len, rows.len()), (inputs.len(), ids.len()));
        for (i, row) in rows.iter().enumerate() {
            assert_eq!(identifiers[ids[i] as usize], row.name.to_string());
            let seen = row.variant().apply_pair(&row.original);
            for (grid, rows) in [(&seen.input, &inputs), (&seen.output, &labels)] {
                let want = &rows[i * seq_len..(i + 1) * seq_len];
                let encoded = canvas::encode(grid, row.at, golden.canvas()).unwrap();
                assert_eq!(encoded, want, "{split} row {i} ({})", row.name);
                assert_eq!(canvas::locate(want, golden.canvas()), Some((grid.clone(), row.at)));
            }
            if row.at == Placement::default() {
                let label = &labels[i * seq_len..(i + 1) * seq_len];
                let cropped = canvas::crop(label, golden.canvas());
                assert_eq!(row.name.undo(&cropped).as_ref(), Some(&row.original.output));
            }
        }
    }
}

#[test]
fn golden_dihedral_tables_agree() {
    for golden in goldens() {
        compare_dihedral_tables(&golden);
        golden.0.expect_no_failures();
    }
}

fn compare_dihedral_tables(golden: &Rows) {
    let input = golden.grid("dihedral/in");
    for t in 0..8u8 {
        let turned = golden.grid(&format!("dihedral/t{t}"));
        assert_eq!(augment::transform(&input, t), turned, "transform {t}");
        let inverse = augment::INVERSE[t as usize];
        assert_eq!(golden.json("dihedral_inverse")[t as usize], inverse as u64);
        assert_eq!(augment::transform(&input, inverse), golden.grid(&format!("dihedral/inv_t{t}")));
    }
}

/// The golden's test split as a data set of ours: same rows, ids, puzzles and groups.
fn test_split(golden: &Rows, dir: &std::path::Path) -> DataSet {
    let spec = Spec::arc(golden.canvas());
    let mut output = Output::create(dir, spec, Value::Null).unwrap();
    let mut writer = output.writer("test").unwrap();
    let rows = golden.rows("test");
    let (puzzles, groups) = (golden.ints("test/puzzle_indices"), golden.ints("test/group_indices"));
    let ids = golden.ints("test/puzzle_identifiers");
    for group in groups.windows(2) {
        let mut buf = GroupBuf::new(spec);
        let (first, end) = (group[0] as usize, group[1] as usize);
        for range in puzzles[first..=end].windows(2) {
            for (k, i) in (range[0] as usize..range[1] as usize).enumerate() {
                if k == 0 {
                    buf.begin_puzzle(rows[i].variant());
                }
                let stored = buf.store(&rows[i].original).unwrap();
                buf.push(stored, rows[i].at, rows[i].at).unwrap();
            }
        }
        let ids: Vec<u32> = ids[first..end].iter().map(|&id| id as u32).collect();
        writer.push(&buf, &ids).unwrap();
    }
    output.finish_split("test", writer).unwrap();
    output.finish(&golden.identifiers()[1..]).unwrap();
    DataSet::open(dir).unwrap()
}

#[test]
fn golden_test_batches_agree() {
    for golden in goldens() {
        compare_test_batches(&golden);
        golden.0.expect_no_failures();
    }
}

fn compare_test_batches(golden: &Rows) {
    let dir = tempfile::tempdir().unwrap();
    let data = Arc::new(test_split(golden, &dir.path().join("d")));
    data.verify().unwrap();
    let about = golden.json("test_batches");
    let rows = about["global_batch_size"].as_u64().unwrap() as usize;
    let loader = Loader::eval(data, "test", rows, BatchOptions::default(), 2).unwrap();
    let batches: Vec<_> = loader.map(|l| l.unwrap().batch).collect();
    let sizes: Vec<usize> = serde_json::from_value(about["effective_sizes"].clone()).unwrap();
    assert_eq!(batches.iter().map(|b| b.real_rows).collect::<Vec<_>>(), sizes);
    let stored: Vec<usize> = serde_json::from_value(about["stored"].clone()).unwrap();
    assert!(!stored.is_empty());
    for k in stored {
        let want = |what: &str| golden.i32s(&format!("test_batch{k}/{what}"));
        assert_eq!(batches[k].inputs, want("inputs"), "batch {k}");
        assert_eq!(batches[k].labels, want("labels"), "batch {k}");
        assert_eq!(batches[k].puzzle_ids, want("puzzle_identifiers"), "batch {k}");
    }
}

/// Our batches over the golden's puzzles and groups obey the rules that its own batch obeys:
/// whole runs of one puzzle each, as many of its examples as there is room for.
#[test]
fn golden_train_batches_follow_the_same_rules() {
    for golden in goldens() {
        check_train_batches(&golden);
        golden.0.expect_no_failures();
    }
}

fn check_train_batches(golden: &Rows) {
    let ids = golden.i32s("train/puzzle_identifiers");
    let (starts, groups) =
        (golden.ints("train/puzzle_indices"), golden.ints("train/group_indices"));
    let size_of: HashMap<i32, usize> =
        ids.iter().zip(starts.windows(2)).map(|(&id, w)| (id, (w[1] - w[0]) as usize)).collect();
    let group_of = |id: i32| {
        let puzzle = ids.iter().position(|&i| i == id).unwrap() as i64;
        groups.windows(2).position(|w| (w[0]..w[1]).contains(&puzzle)).unwrap()
    };
    let check = |batch_ids: &[i32]| {
        let (mut room, mut visited) = (batch_ids.len(), vec![]);
        for run in batch_ids.chunk_by(|a, b| a == b) {
            // A pass may begin with the puzzle that the one before it ended with.
            let mut rows_left = run.len();
            while rows_left > 0 {
                let rows = size_of[&run[0]].min(room);
                assert!(rows_left >= rows, "{rows_left} of {rows} rows: {batch_ids:?}");
                visited.push(group_of(run[0]));
                (rows_left, room) = (rows_left - rows, room - rows);
            }
        }
        visited
    };
    let theirs = golden.i32s("train_batch0/puzzle_identifiers");
    assert!(check(&theirs).len() < groups.len());
    let seq_len = golden.seq_len();
    let (inputs, labels) = (golden.i32s("train_batch0/inputs"), golden.i32s("train_batch0/labels"));
    assert!(!labels.contains(&0) && labels.contains(&-100), "PAD labels are ignored");
    let mut places = HashSet::new();
    for (input, label) in inputs.chunks(seq_len).zip(labels.chunks(seq_len)) {
        let label: Vec<i32> = label.iter().map(|&t| t.max(0)).collect();
        let (_, at) = canvas::locate(input, golden.canvas()).unwrap();
        assert_eq!(canvas::locate(&label, golden.canvas()).unwrap().1, at);
        places.insert((at.top, at.left));
    }
    assert!(places.len() > 1, "rows are translated");

    let dir = tempfile::tempdir().unwrap();
    let spec = Spec::arc(2);
    let mut output = Output::create(&dir.path().join("d"), spec, Value::Null).unwrap();
    let mut writer = output.writer("train").unwrap();
    let dot = Grid::from_fn(1, 1, |_, _| 0);
    for group in groups.windows(2) {
        let mut buf = GroupBuf::new(spec);
        let stored = buf.store(&Pair { input: dot.clone(), output: dot.clone() }).unwrap();
        let own = &ids[group[0] as usize..group[1] as usize];
        for id in own {
            buf.begin_puzzle(Variant::IDENTITY);
            for _ in 0..size_of[id] {
                buf.push(stored, Placement::default(), Placement::default()).unwrap();
            }
        }
        writer.push(&buf, &own.iter().map(|&id| id as u32).collect::<Vec<_>>()).unwrap();
    }
    output.finish_split("train", writer).unwrap();
    output.finish(&golden.identifiers()[1..]).unwrap();
    let data = Arc::new(DataSet::open(&dir.path().join("d")).unwrap());
    let about = golden.json("train_batches");
    let rows = about["global_batch_size"].as_u64().unwrap() as usize;
    let passes = about["epochs_per_iter"].as_u64().unwrap() as usize;
    let sampler = Sampler { passes, ..Sampler::new(Order::Groups, 1, rows) };
    let options = BatchOptions::default();
    let loader =
        Loader::train(data, "train", sampler, None, options, Position::default(), 2).unwrap();
    let first_epoch = loader.map(Result::unwrap).take_while(|l| l.at.epoch == 0);
    let mut visits = vec![];
    first_epoch.for_each(|l| visits.extend(check(&l.batch.puzzle_ids)));
    let count = groups.len() - 1;
    for pass in visits.chunks(count) {
        assert_eq!(pass.iter().collect::<HashSet<_>>().len(), pass.len(), "each group once");
    }
    assert!(visits.len() > (passes - 1) * count, "only an incomplete last batch is dropped");
}
