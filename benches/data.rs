//! Building and decoding ARC data, beside numpy doing the same where it is installed.
//!
//! Rates are per second of CPU time (of one core), so that other work on the machine does not
//! show; the build's wall time is given beside it.
//!
//! `cargo bench --bench data -- [DATASET_DIR] [NUM_AUG]`: task files as fetched by
//! `hrm data fetch arc1`, or made up when the folder is left out.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use hrm::data::builders::arc::{self, ArcOptions};
use hrm::data::builders::sudoku::{self, SudokuOptions};
use hrm::data::{Batch, BatchOptions, DataSet, Dealer, Lengths, Order, RowLayout, Sampler, npy};
use hrm::io::progress::Progress;
use hrm::rng::{Rng, Stream};

/// The Python builder on two cores: 800 tasks, num_aug 100.
const PYTHON_BUILD_EXAMPLES_PER_S: f64 = 350_000.0 / 51.0;
const BATCH_ROWS: usize = 768;

fn main() {
    let mut args = std::env::args().skip(1).filter(|a| a != "--bench");
    let scratch = tempfile::tempdir().expect("temporary folder");
    let raw = args.next().map(PathBuf::from).unwrap_or_else(|| made_up_tasks(scratch.path()));
    let num_aug = args.next().and_then(|n| n.parse().ok()).unwrap_or(100);
    println!("{:<44} {:>14} unit", "what", "value");
    let row = |what: &str, value: f64, unit: &str| println!("{what:<44} {value:>14.1} {unit}");

    let dir = scratch.path().join("built");
    let options = ArcOptions { num_aug, ..ArcOptions::default() };
    let start = Stopwatch::start();
    let (manifest, report) =
        arc::build(&[raw], &dir, &options, Progress::Quiet).expect("build succeeds");
    let (build_s, build_cpu_s) = (start.0.elapsed().as_secs_f64(), start.cpu_s());
    let examples: u64 = manifest.splits.values().map(|s| s.examples).sum();
    let bytes: u64 = manifest.splits.values().map(|s| s.bytes).sum();
    row("tasks", report.tasks as f64, "");
    row("examples", examples as f64, "");
    row("build, wall time", build_s, "s");
    row("build", examples as f64 / build_cpu_s, "examples/CPU s");
    let ratio = examples as f64 / build_s / PYTHON_BUILD_EXAMPLES_PER_S;
    row("build, wall, times the Python record", ratio, "x");
    row("size", bytes as f64 / 1e6, "MB");
    row("size per example", bytes as f64 / examples as f64, "bytes");
    if let Some(peak) = peak_memory_mb() {
        row("peak memory after build", peak, "MB");
    }

    let data = DataSet::open(&dir).expect("data opens");
    let shard = data.split("train").expect("train split");
    let start = Stopwatch::start();
    shard.verify().expect("intact");
    row("verify", shard.examples() as f64 / start.cpu_s(), "examples/CPU s");

    let mut rows = vec![0; 2 * data.seq_len()];
    let (input, label) = rows.split_at_mut(data.seq_len());
    let (mut done, start) = (0u64, Stopwatch::start());
    while start.cpu_s() < 1.0 {
        for i in 0..shard.examples() {
            shard.decode(i, -100, input, label).expect("decodes");
        }
        done += shard.examples() as u64;
    }
    row("decode in order", done as f64 / start.cpu_s(), "examples/CPU s");

    for order in [Order::Groups, Order::Shuffle] {
        let passes = (BATCH_ROWS * 100).div_ceil(shard.groups());
        let sampler = Sampler { passes, ..Sampler::new(order, 1, BATCH_ROWS) };
        let sampler =
            if order == Order::Shuffle { Sampler { passes: 1, ..sampler } } else { sampler };
        let Ok(epoch) = sampler.epoch(shard, 0) else { continue };
        let (mut done, mut index, start) = (0, 0, Stopwatch::start());
        while start.cpu_s() < 1.0 {
            let examples = epoch.examples(shard, index % epoch.batches()).expect("batch exists");
            let options = BatchOptions::default();
            let batch = Batch::assemble(shard, &examples, BATCH_ROWS, options).expect("decodes");
            done += batch.real_rows;
            index += 1;
        }
        let what = format!("batches of {BATCH_ROWS} ({order:?})");
        row(&what, done as f64 / start.cpu_s(), "examples/CPU s");
    }
    packed_batches(&data, &row);
    numpy_batches(&data, scratch.path(), &row);

    let options = SudokuOptions { train: 200, test: 200, ..SudokuOptions::default() };
    let start = Stopwatch::start();
    sudoku::generate(&scratch.path().join("sudoku"), &options, Progress::Quiet).expect("generates");
    row("9x9 Sudoku, divided by orbit", 400.0 / start.cpu_s(), "boards/CPU s");
}

/// Packed batches in the order `shuffle`, whose epoch is the whole split.
fn packed_batches(data: &DataSet, row: &dyn Fn(&str, f64, &str)) {
    let shard = data.split("train").expect("train split");
    let start = Stopwatch::start();
    let lengths = Lengths::of(data, "train", Order::Shuffle, RowLayout::Packed).expect("examples");
    row("lengths of all rows", start.cpu_s() * 1e3, "ms");
    let slots = lengths.slots(BATCH_ROWS);
    row("left empty in packed batches", 100.0 * lengths.filling(BATCH_ROWS), "%");
    let dealer =
        Dealer::new(data, "train", RowLayout::Packed, slots).expect("slots hold the split");
    let sampler = Sampler::new(Order::Shuffle, 1, BATCH_ROWS);
    let Ok(epoch) = sampler.epoch(shard, 0) else { return };
    let start = Stopwatch::start();
    let dealt = dealer.deal(shard, &epoch).expect("an epoch of the split");
    row("dealing an epoch", start.cpu_s() * 1e3, "ms");
    row("rows that found no slot", dealt.left_out() as f64, "");
    let (mut done, mut index, start) = (0, 0, Stopwatch::start());
    while start.cpu_s() < 1.0 {
        let examples = dealt.examples(index % dealt.batches());
        let options = BatchOptions::default();
        let batch = Batch::packed(data, "train", examples, dealt.slots(), options);
        done += batch.expect("decodes").real_rows;
        index += 1;
    }
    let what = format!("packed batches of {BATCH_ROWS} (Shuffle)");
    row(&what, done as f64 / start.cpu_s(), "examples/CPU s");
}

/// Random tasks of the usual sizes.
fn made_up_tasks(scratch: &Path) -> PathBuf {
    let raw = scratch.join("raw");
    let mut rng = Rng::new(1, Stream::Test, 0);
    for (set, count) in [("training", 400), ("evaluation", 400)] {
        fs::create_dir_all(raw.join(set)).expect("folder");
        for k in 0..count {
            let (h, w) = (3 + rng.below(18), 3 + rng.below(18));
            let mut grid = || -> Vec<Vec<u32>> {
                (0..h).map(|_| (0..w).map(|_| rng.below(10)).collect()).collect()
            };
            let pair = |g: &mut dyn FnMut() -> Vec<Vec<u32>>| serde_json::json!({"input": g(), "output": g()});
            let pairs: Vec<_> = (0..4).map(|_| pair(&mut grid)).collect();
            let task = serde_json::json!({ "train": pairs[..3], "test": pairs[3..] });
            fs::write(raw.join(set).join(format!("{k}.json")), task.to_string()).expect("task");
        }
    }
    raw
}

/// CPU seconds of this process, all threads, user and system; wall seconds where /proc is absent.
struct Stopwatch(Instant, Option<f64>);

impl Stopwatch {
    fn start() -> Self {
        Self(Instant::now(), cpu_s())
    }

    fn cpu_s(&self) -> f64 {
        let spent = cpu_s().zip(self.1).map(|(now, then)| now - then);
        spent.unwrap_or(self.0.elapsed().as_secs_f64()).max(0.01)
    }
}

fn cpu_s() -> Option<f64> {
    const TICKS_PER_S: f64 = 100.0;
    let stat = fs::read_to_string("/proc/self/stat").ok()?;
    let after_name = stat.rsplit_once(')')?.1;
    let ticks: Vec<f64> =
        after_name.split_whitespace().skip(11).take(2).filter_map(|t| t.parse().ok()).collect();
    Some(ticks.iter().sum::<f64>() / TICKS_PER_S)
}

/// VmHWM: the most memory this process has had resident.
fn peak_memory_mb() -> Option<f64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|l| l.starts_with("VmHWM:"))?;
    Some(line.split_whitespace().nth(1)?.parse::<f64>().ok()? / 1e3)
}

const NUMPY: &str = "
import sys, time, numpy as np
d, rows = sys.argv[1], int(sys.argv[2])
x, y, p = (np.load(f'{d}/train/all__{n}.npy', mmap_mode='r') for n in ('inputs', 'labels', 'puzzle_identifiers'))
rng, done, start = np.random.default_rng(0), 0, time.process_time()
while time.process_time() - start < 2:
    i = rng.integers(0, len(x), rows)
    a, b = x[i].astype(np.int32), y[i].astype(np.int32)
    b[b == 0] = -100
    done += rows
print(done / (time.process_time() - start))
";

fn numpy_batches(data: &DataSet, scratch: &Path, row: &dyn Fn(&str, f64, &str)) {
    let has_numpy = Command::new("python3").args(["-c", "import numpy"]).output();
    if !has_numpy.is_ok_and(|o| o.status.success()) {
        println!("numpy is not installed for python3: no comparison");
        return;
    }
    let dir = scratch.join("npy");
    npy::export(data, &dir, None, Progress::Quiet).expect("export succeeds");
    let mut python = Command::new("python3");
    let output = python.args(["-c", NUMPY]).arg(&dir).arg(BATCH_ROWS.to_string()).output();
    let text = String::from_utf8(output.expect("python3 runs").stdout).expect("text");
    let what = format!("numpy: batches of {BATCH_ROWS} from .npy");
    row(&what, text.trim().parse().expect("a number"), "examples/CPU s");
}
