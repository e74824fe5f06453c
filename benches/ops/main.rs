//! Every op at the named workloads: milliseconds, GB/s, GFLOP/s.
//!
//! `cargo bench --bench ops -- [WORKLOAD ...] [OP ...] [THREADS]`; without a workload those that suit
//! a CPU. Best of several runs after a warm-up. Bytes and operations are what the shape-only device
//! counts for the same call.

mod table;

use std::time::{Duration, Instant};

use hrm::Result;
use hrm::backend::{Cost, Device, DeviceKind};
use hrm::dtype::DType;
use hrm::ops::workloads::{self, Workload};
use hrm::tape::{Tape, Var};
use hrm::tensor::Tensor;

type Forward = Box<dyn Fn(&mut Tape, &[Var]) -> Result<Var>>;

/// An op's inputs and its call.
pub enum Work {
    /// Differentiable: inputs, then forward.
    Taped(Vec<Tensor>, Forward),
    /// A function over given tensors.
    Plain(Box<dyn Fn() -> Result<()>>),
}

type Build = fn(&Workload, &Device, DType) -> Result<Work>;

const OPS: &[(&str, Build)] = &[
    ("add", table::add),
    ("matmul", table::matmul),
    ("gated_linear", table::gated_linear),
    ("rms_norm", table::rms_norm),
    ("layer_norm", table::layer_norm),
    ("bias_relu", table::bias_relu),
    ("dropout", table::dropout),
    ("swiglu", table::swiglu),
    ("attention", table::attention),
    ("embedding", table::embedding),
    ("take_first", table::take_first),
    ("cross_entropy", table::cross_entropy),
    ("bce_logits", table::bce_logits),
    ("puzzle_emb", table::puzzle_emb),
    ("act_halt", table::act_halt),
    ("global_norm", table::global_norm),
    ("adam", table::adam_atan2),
    ("adamw", table::adamw),
    ("sign_sgd_rows", table::sign_sgd_rows),
    ("ema", table::ema),
    ("cast", table::cast),
];

/// Ops that know one dtype only: timed once.
const F32_ONLY: &[&str] = &["puzzle_emb", "global_norm", "adam", "adamw", "sign_sgd_rows", "ema"];

fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).filter(|a| a != "--bench").collect();
    let known = |arg: &str| {
        OPS.iter().any(|(op, _)| *op == arg)
            || workloads::ALL.iter().any(|w| w.name == arg)
            || arg.parse::<usize>().is_ok()
    };
    if let Some(bad) = args.iter().find(|a| !known(a)) {
        return Err(hrm::Error::invalid(format!("no op, workload or thread count named {bad}")));
    }
    let threads = args.iter().find_map(|a| a.parse().ok()).unwrap_or(0);
    let asked = |name: &str| args.iter().any(|a| a == name);
    let mut chosen: Vec<Workload> = workloads::ALL.into_iter().filter(|w| asked(w.name)).collect();
    if chosen.is_empty() {
        chosen = vec![workloads::ARC_SMALL, workloads::SUDOKU];
    }
    let every_op = !OPS.iter().any(|(op, _)| asked(op));
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("thread pool");
    pool.install(|| {
        println!("threads {}", rayon::current_num_threads());
        println!("workload   op             dtype pass         ms     GB/s  GFLOP/s");
        for workload in &chosen {
            for (op, build) in OPS.iter().filter(|(op, _)| every_op || asked(op)) {
                let dtypes = if F32_ONLY.contains(op) { 1 } else { 2 };
                for dtype in [DType::F32, DType::Bf16].into_iter().take(dtypes) {
                    one(workload, op, *build, dtype)?;
                }
            }
        }
        Ok(())
    })
}

fn one(workload: &Workload, op: &str, build: Build, dtype: DType) -> Result<()> {
    let (shape, cpu) = (Device::shape_only(DeviceKind::Cpu), Device::cpu());
    let (counted, work) = (build(workload, &shape, dtype)?, build(workload, &cpu, dtype)?);
    shape.take_work();
    let passes = match &work {
        Work::Taped(..) => &["fwd", "bwd"][..],
        Work::Plain(_) => &["run"],
    };
    for pass in passes {
        timed(&counted, pass)?;
        let cost = shape.take_work().total;
        report(workload.name, op, dtype, pass, best(&work, pass)?, cost);
    }
    Ok(())
}

/// Seconds of one pass.
fn timed(work: &Work, pass: &str) -> Result<Duration> {
    let (inputs, forward) = match work {
        Work::Plain(f) => {
            let start = Instant::now();
            f()?;
            return Ok(start.elapsed());
        }
        Work::Taped(inputs, forward) => (inputs, forward),
    };
    let device = inputs[0].device();
    if pass == "fwd" {
        let mut tape = Tape::no_grad(device);
        let vars: Vec<Var> = inputs.iter().map(|t| Var::constant(t.clone())).collect();
        let start = Instant::now();
        forward(&mut tape, &vars)?;
        return Ok(start.elapsed());
    }
    let mut tape = Tape::new(device);
    let vars: Vec<Var> = inputs.iter().map(|t| tape.leaf(t.clone())).collect();
    let y = forward(&mut tape, &vars)?;
    let dy = table::filled(device, y.tensor.dtype(), y.tensor.shape().dims())?;
    device.take_work();
    let start = Instant::now();
    tape.backward(&[(&y, dy)])?;
    Ok(start.elapsed())
}

/// The fastest of the runs that fit about 0.1 s.
fn best(work: &Work, pass: &str) -> Result<Duration> {
    timed(work, pass)?;
    let (start, mut best) = (Instant::now(), Duration::MAX);
    while start.elapsed() < Duration::from_millis(100) {
        best = best.min(timed(work, pass)?);
    }
    Ok(best)
}

fn report(workload: &str, op: &str, dtype: DType, pass: &str, time: Duration, cost: Cost) {
    let s = time.as_secs_f64();
    let (gb, gflop) = (cost.bytes * 1e-9 / s, cost.matmul_flops * 1e-9 / s);
    let gflop = if gflop > 0.0 { format!("{gflop:>8.1}") } else { String::new() };
    println!("{workload:<10} {op:<14} {dtype:<5} {pass:<4} {:>10.4} {gb:>8.1} {gflop}", s * 1e3);
}
