//! `hrm bench`: the whole training step (forward, Q target, backward, optimizer) at fixed shapes,
//! ours beside PyTorch's. Every variant runs in a process of its own, so that its memory is its
//! own.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use clap::Args;
use serde_json::json;

use super::common::start_threads;
use crate::backend::{Device, DeviceKind};
use crate::data::Batch;
use crate::dtype::DType;
use crate::io::machine;
use crate::io::say::say;
use crate::io::units::count;
use crate::models::hrm::{Config, Recompute};
use crate::models::{ModelShape, Sizes};
use crate::rng::{Rng, Stream};
use crate::train::optimizer::{OptimizerConfig, Rates, Rule};
use crate::train::setup;
use crate::train::trainer::{Options, Trainer};
use crate::{Error, Result};

const VOCAB: usize = 12;
const PUZZLE_IDS: usize = 1_000;
const WARM_UP_STEPS: usize = 3;
/// PyTorch's home, for the CPU and with CUDA (`tools/on-gpu` makes the second).
const PYTHON: &str = "target/venv/bin/python";
const PYTHON_CUDA: &str = "target/venv-cuda/bin/python";
const BASELINE: &str = "tools/baseline/hrm.py";

/// Names and sizes as in the PyTorch baseline.
struct Shape {
    name: &'static str,
    batch_size: usize,
    seq_len: usize,
    hidden_size: usize,
    num_heads: usize,
    layers: usize,
    halt_max_steps: usize,
}

const SHAPES: [Shape; 6] = [
    shape("b32-s81-h128", [32, 81, 128, 4, 2, 16]),
    shape("b8-s81-h512", [8, 81, 512, 8, 4, 16]),
    shape("b2-s900-h128", [2, 900, 128, 4, 2, 8]),
    shape("b256-s81-h512", [256, 81, 512, 8, 4, 16]),
    shape("b16-s900-h512", [16, 900, 512, 8, 4, 16]),
    // `arc-full`'s model, of which only the name and the batch are here.
    shape(ARC_FULL, [2, 900, 256, 8, 4, 1]),
];
/// The first shapes are for a CPU, the next for a GPU, the rest for who asks: PyTorch needs
/// minutes.
const CPU_SHAPES: usize = 3;
const GPU_SHAPES: usize = 2;
const ARC_FULL: &str = "arc-full-b2";
const ARC_FULL_BASELINE: &str = "tools/baseline/hrm_seed.py";

const fn shape(name: &'static str, sizes: [usize; 6]) -> Shape {
    let [batch_size, seq_len, hidden_size, num_heads, layers, halt_max_steps] = sizes;
    Shape { name, batch_size, seq_len, hidden_size, num_heads, layers, halt_max_steps }
}

/// One line of the table; the names are those of the baseline's JSON.
#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
struct Timing {
    shape: String,
    variant: String,
    step_ms: f64,
    fastest_ms: f64,
    peak_bytes: usize,
}

/// Time the whole training step in f32 and bf16, beside PyTorch where it is installed
///
/// Shapes of the official model. Each variant runs in a process of its own; the median step and the
/// peak of memory are reported (resident on the CPU, allocated on a GPU), and how many times faster
/// than the best PyTorch variant it is. Leave the machine alone meanwhile. A simulated GPU is
/// refused.
#[derive(Debug, Args)]
#[command(after_long_help = concat!(
    "Examples:\n",
    "  hrm bench                        all shapes, with PyTorch (minutes: it compiles)\n",
    "  hrm bench --quick --no-python    three steps of each\n",
    "  hrm bench --shape b32-s81-h128 --json\n",
    "  hrm bench --device cuda          shapes for a GPU, against PyTorch on the same GPU\n",
    "Shapes: b32-s81-h128, b8-s81-h512, b2-s900-h128; for a GPU b256-s81-h512, b16-s900-h512;\n",
    "arc-full-b2: arc-full's model at batch 2 beside nn.TransformerEncoderLayer (minutes, 14 GB).",
))]
pub struct Bench {
    /// cpu, cuda or cuda:N
    #[arg(long, default_value = "cpu")]
    pub device: String,
    /// Shapes, separated by commas; default: those for the device
    #[arg(long, value_name = "SHAPE", value_delimiter = ',')]
    pub shape: Vec<String>,
    /// 3 steps instead of 9, and of PyTorch the eager variants only
    #[arg(long)]
    pub quick: bool,
    /// Leave PyTorch out
    #[arg(long)]
    pub no_python: bool,
    /// CPU threads; default: all
    #[arg(long, value_name = "N", value_parser = super::common::threads)]
    pub threads: Option<usize>,
    /// JSON on stdout
    #[arg(long)]
    pub json: bool,
    /// One variant in this process
    #[arg(long, value_name = "SHAPE/DTYPE", hide = true)]
    pub one: Option<String>,
}

pub fn run(args: Bench) -> Result<()> {
    if let Some(variant) = &args.one {
        start_threads(args.threads)?;
        let timing = time(variant, steps(&args), &device(&args.device)?)?;
        outln!("{}", json!(timing));
        return Ok(());
    }
    let device = device(&args.device)?;
    let known = || SHAPES.iter().map(|s| s.name);
    let suited = match device.kind() {
        DeviceKind::Cpu => &SHAPES[..CPU_SHAPES],
        DeviceKind::Cuda => &SHAPES[CPU_SHAPES..][..GPU_SHAPES],
    };
    let names: Vec<String> = match args.shape.is_empty() {
        true => suited.iter().map(|s| s.name.to_owned()).collect(),
        false => args.shape.clone(),
    };
    let on = match device.as_cuda() {
        Some(cuda) => cuda.card().name.clone(),
        None => machine::cpu_model(),
    };
    drop(device); // its memory belongs to the processes that are timed
    if let Some(unknown) = names.iter().find(|n| !known().any(|k| k == n.as_str())) {
        let known: Vec<&str> = known().collect();
        return Err(Error::invalid(format!("--shape {unknown}: choose from {}", known.join(", "))));
    }
    let mut timings = vec![];
    for name in &names {
        for dtype in ["f32", "bf16"] {
            let timing = in_own_process(&format!("{name}/{dtype}"), &args)?;
            say!("{name} hrm {dtype}: {:.1} ms", timing.step_ms);
            timings.push(timing);
        }
    }
    let torch = if args.no_python { Err("--no-python".into()) } else { all_pytorch(&names, &args) };
    let reason = match torch {
        Ok(lines) => {
            timings.extend(lines);
            None
        }
        Err(reason) => Some(reason),
    };
    let lines: Vec<_> = names.iter().flat_map(|name| rated(name, &timings)).collect();
    if args.json {
        let lines: Vec<_> = lines
            .iter()
            .map(|(t, ratio)| {
                let mut line = json!(t);
                line["speed_vs_best_pytorch"] = json!(ratio);
                line
            })
            .collect();
        let threads = threads(&args);
        let (steps, warm_up) = (steps(&args), WARM_UP_STEPS);
        outln!(
            "{}",
            json!({ "device": on, "threads": threads, "steps": steps, "warm_up_steps": warm_up,
                    "pytorch_left_out": reason, "results": lines })
        );
        return Ok(());
    }
    outln!(
        "{on}, {}, median of {} steps after {WARM_UP_STEPS}",
        count(threads(&args), "thread"),
        steps(&args)
    );
    let head = ("shape", "variant", "median_ms", "fastest_ms", "peak_MiB");
    outln!("{:<14}{:<22}{:>10}{:>12}{:>10}   speed", head.0, head.1, head.2, head.3, head.4);
    for (t, ratio) in lines {
        let ratio = ratio.map_or(String::new(), |r| format!("{r:.2} x best PyTorch"));
        let mib = t.peak_bytes as f64 / (1 << 20) as f64;
        let (median, fastest) = (t.step_ms, t.fastest_ms);
        outln!(
            "{:<14}{:<22}{median:>10.1}{fastest:>12.1}{mib:>10.0}   {ratio}",
            t.shape,
            t.variant
        );
    }
    if let Some(reason) = reason {
        outln!("PyTorch was not timed: {reason}");
    }
    Ok(())
}

/// A simulator is no device to time.
fn device(name: &str) -> Result<Device> {
    let (device, _) = super::common::device(name)?;
    match device.as_cuda().is_some_and(|cuda| cuda.card().simulated) {
        true => Err(Error::invalid("this card is simulated: its times mean nothing")),
        false => Ok(device),
    }
}

/// The timings of one shape, ours with their speed relative to the fastest of PyTorch's.
fn rated<'a>(name: &str, timings: &'a [Timing]) -> Vec<(&'a Timing, Option<f64>)> {
    let here = || timings.iter().filter(|t| t.shape == name);
    let torch = here().filter(|t| !is_ours(t)).map(|t| t.step_ms).min_by(f64::total_cmp);
    here().map(|t| (t, torch.filter(|_| is_ours(t)).map(|best| best / t.step_ms))).collect()
}

fn is_ours(timing: &Timing) -> bool {
    timing.variant.starts_with("hrm")
}

fn steps(args: &Bench) -> usize {
    if args.quick { 3 } else { 9 }
}

fn threads(args: &Bench) -> usize {
    let all = || std::thread::available_parallelism().map_or(1, |n| n.get());
    args.threads.unwrap_or_else(all)
}

fn in_own_process(variant: &str, args: &Bench) -> Result<Timing> {
    let failed = |what: String| Error::invalid(format!("hrm bench --one {variant}: {what}"));
    let program = std::env::current_exe().map_err(|e| failed(e.to_string()))?;
    let mut command = Command::new(program);
    command.args(["bench", "--one", variant, "--threads", &threads(args).to_string()]);
    command.args(["--device", &args.device]);
    if args.quick {
        command.arg("--quick");
    }
    let output = command.stderr(Stdio::inherit()).output().map_err(|e| failed(e.to_string()))?;
    if !output.status.success() {
        return Err(failed(output.status.to_string()));
    }
    serde_json::from_slice(&output.stdout).map_err(|e| failed(format!("its output: {e}")))
}

/// All PyTorch variants of these shapes; `Err` says why there are none.
fn all_pytorch(names: &[String], args: &Bench) -> Result<Vec<Timing>, String> {
    let (seed, hrm): (Vec<String>, Vec<String>) =
        names.iter().cloned().partition(|name| name == ARC_FULL);
    let mut timings = vec![];
    for (names, script) in [(hrm, BASELINE), (seed, ARC_FULL_BASELINE)] {
        if !names.is_empty() {
            timings.extend(pytorch(&names, script, args)?);
        }
    }
    Ok(timings)
}

fn pytorch(names: &[String], script: &str, args: &Bench) -> Result<Vec<Timing>, String> {
    let python = match args.device.as_str() {
        "cpu" => (PYTHON, "tools/test makes it"),
        _ => (PYTHON_CUDA, "tools/on-gpu makes it"),
    };
    for (path, hint) in [python, (script, "run in the repository")] {
        if !Path::new(path).exists() {
            return Err(format!("{path} is not here ({hint})"));
        }
    }
    // A step of it is near a minute: one says enough.
    let steps = if script == ARC_FULL_BASELINE { 1 } else { steps(args) };
    let (threads, steps) = (threads(args).to_string(), steps.to_string());
    let mut command = Command::new(python.0);
    command.args([script, "--bench", "--json", "--shapes", &names.join(",")]);
    if script == BASELINE {
        command.args(["--device", &args.device]);
    }
    command.args(["--steps", &steps, "--threads", &threads]);
    if args.quick && script == BASELINE {
        command.args(["--variants", "eager-f32,eager-bf16"]);
    }
    say!("timing PyTorch{}", if args.quick { ", eager only" } else { "; it compiles for minutes" });
    let output =
        command.stderr(Stdio::inherit()).output().map_err(|e| format!("{}: {e}", python.0))?;
    if !output.status.success() {
        return Err(format!("{script} failed ({})", output.status));
    }
    let mut timings: Vec<Timing> =
        serde_json::from_slice(&output.stdout).map_err(|e| format!("{script}: {e}"))?;
    timings.iter_mut().for_each(|t| t.variant = format!("PyTorch {}", t.variant));
    Ok(timings)
}

/// `SHAPE/f32` or `SHAPE/bf16` in this process.
fn time(variant: &str, steps: usize, device: &Device) -> Result<Timing> {
    let unknown = || Error::invalid(format!("--one {variant}: expected SHAPE/f32 or SHAPE/bf16"));
    let (name, dtype_name) = variant.split_once('/').ok_or_else(unknown)?;
    let shape = SHAPES.iter().find(|s| s.name == name).ok_or_else(unknown)?;
    let dtype = match dtype_name {
        "f32" => DType::F32,
        "bf16" => DType::Bf16,
        _ => return Err(unknown()),
    };
    let (model, options) = match name {
        ARC_FULL => arc_full(shape.batch_size, shape.seq_len, dtype)?,
        _ => (model(shape), options(dtype)),
    };
    let mut trainer = Trainer::new(device, &model, options)?;
    let (rows, cells) = (shape.batch_size, shape.batch_size * shape.seq_len);
    let mut rng = Rng::new(0, Stream::Test, 0);
    let mut tokens = |n: usize, below: usize| -> Vec<i32> {
        (0..n).map(|_| rng.below(below as u32) as i32).collect()
    };
    let (inputs, labels) = (tokens(cells, VOCAB), tokens(cells, VOCAB));
    let puzzle_ids: Vec<i32> = tokens(rows, PUZZLE_IDS - 1).iter().map(|id| id + 1).collect();
    let batch = Batch::new(inputs, labels, puzzle_ids);
    let mut step_ms = vec![];
    for step in 0..WARM_UP_STEPS + steps {
        let batches = vec![batch.clone()];
        let start = Instant::now();
        trainer.step(batches, Rates { lr: 1e-4, puzzle_emb_lr: 1e-2 })?;
        if step >= WARM_UP_STEPS {
            step_ms.push(start.elapsed().as_secs_f64() * 1e3);
        }
    }
    step_ms.sort_by(f64::total_cmp);
    Ok(Timing {
        shape: name.to_owned(),
        variant: format!("hrm {dtype_name}"),
        step_ms: step_ms[step_ms.len() / 2],
        fastest_ms: step_ms[0],
        peak_bytes: match device.kind() {
            DeviceKind::Cpu => machine::peak_resident_bytes().unwrap_or(0),
            DeviceKind::Cuda => device.usage().span_bytes,
        },
    })
}

fn model(shape: &Shape) -> ModelShape {
    let config = Config {
        hidden_size: shape.hidden_size,
        num_heads: shape.num_heads,
        h_layers: shape.layers,
        l_layers: shape.layers,
        puzzle_emb_ndim: shape.hidden_size,
        halt_max_steps: shape.halt_max_steps,
        halt_exploration_prob: 0.0,
        ..Config::default()
    };
    let Shape { batch_size, seq_len, .. } = *shape;
    let sizes = Sizes { batch_size, seq_len, vocab_size: VOCAB, num_puzzle_ids: PUZZLE_IDS };
    ModelShape::new(config, sizes)
}

/// The preset's model and optimizer, at a batch of its own and without accumulation.
fn arc_full(batch_size: usize, seq_len: usize, dtype: DType) -> Result<(ModelShape, Options)> {
    let batch = [format!("train.batch_size={batch_size}"), "train.grad_accum=1".to_owned()];
    let preset = crate::config::Settings::load(Some("arc-full"), None, &batch)?;
    let model = preset.shape(seq_len, VOCAB, PUZZLE_IDS);
    Ok((model, Options { dtype, ..setup::options(&preset) }))
}

fn options(dtype: DType) -> Options {
    let optimizer = OptimizerConfig {
        rule: Rule::AdamW,
        beta1: 0.9,
        beta2: 0.95,
        weight_decay: 0.1,
        puzzle_emb_weight_decay: 0.1,
        clip: 0.0,
        ema: 0.0,
    };
    Options { dtype, recompute: Recompute::None, grad_accum: 1, optimizer, seed: 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ratios_compare_with_the_fastest_of_pytorch() {
        let line = |variant: &str, step_ms| Timing {
            shape: "s".into(),
            variant: variant.into(),
            step_ms,
            fastest_ms: step_ms,
            peak_bytes: 0,
        };
        let all = [line("hrm bf16", 10.0), line("PyTorch eager", 40.0), line("PyTorch x", 20.0)];
        let ratios: Vec<_> = rated("s", &all).into_iter().map(|(_, ratio)| ratio).collect();
        assert_eq!(ratios, [Some(2.0), None, None]);
        assert_eq!(rated("s", &all[..1])[0].1, None);
        assert!(rated("other", &all).is_empty());
    }
}
