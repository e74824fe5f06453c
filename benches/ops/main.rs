//! Every op at the named workloads: milliseconds, GB/s, GFLOP/s.
//!
//! `cargo bench --bench ops -- [--device cuda] [--dtype bf16] [--csv FILE] [WORKLOAD ...] [OP ...]
//! [THREADS]`; without a workload those that suit the device, without a dtype both. Bytes and
//! operations are what the shape-only device counts for the same call. A simulated card is refused:
//! its times mean nothing.

mod measure;
mod table;

use hrm::Result;
use hrm::backend::{Device, DeviceKind};
use hrm::dtype::DType;
use hrm::ops::workloads::{self, Workload};
use hrm::tape::{Tape, Var};
use hrm::tensor::Tensor;

use measure::{Measured, Recorder};

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
    ("gated_mlp", table::gated_mlp),
    ("rms_norm", table::rms_norm),
    ("layer_norm", table::layer_norm),
    ("bias_relu", table::bias_relu),
    ("dropout", table::dropout),
    ("swiglu", table::swiglu),
    ("attention", table::attention),
    ("attention_causal", table::attention_causal),
    ("attention_causal_dropout", table::attention_causal_dropout),
    ("attention_cached", table::attention_cached),
    ("embedding", table::embedding),
    ("row_embedding", table::row_embedding),
    ("take_first", table::take_first),
    ("transpose", table::transpose),
    ("halt_head", table::halt_head),
    ("cross_entropy", table::cross_entropy),
    ("bce_logits", table::bce_logits),
    ("puzzle_emb", table::puzzle_emb),
    ("act_halt", table::act_halt),
    ("global_norm", table::global_norm),
    ("adam", table::adam_atan2),
    ("adamw", table::adamw),
    ("normuon", table::normuon),
    ("sign_sgd_rows", table::sign_sgd_rows),
    ("ema", table::ema),
    ("cast", table::cast),
    ("conv2d", table::conv2d),
    ("conv_transpose2d", table::conv_transpose2d),
    ("max_pool2d", table::max_pool2d),
    ("depthwise_conv2d", table::depthwise_conv2d),
    ("batch_norm", table::batch_norm),
    ("relu", table::relu),
    ("sigmoid", table::sigmoid),
    ("mse", table::mse),
    ("kl_gauss", table::kl_gauss),
    ("gauss_sample", table::gauss_sample),
    ("state_noise", table::state_noise),
];

/// Ops that know one dtype only: timed once.
const F32_ONLY: &[&str] = &[
    "puzzle_emb",
    "global_norm",
    "adam",
    "adamw",
    "sign_sgd_rows",
    "ema",
    "conv2d",
    "conv_transpose2d",
    "max_pool2d",
    "depthwise_conv2d",
    "batch_norm",
    "relu",
    "sigmoid",
    "mse",
    "kl_gauss",
    "gauss_sample",
];

/// What the command line asks for.
struct Args {
    device: Device,
    dtypes: Vec<DType>,
    csv: Option<String>,
    threads: usize,
    workloads: Vec<Workload>,
    ops: Vec<&'static (&'static str, Build)>,
}

fn parse() -> Result<Args> {
    let mut words = std::env::args().skip(1).filter(|a| a != "--bench");
    let (mut device, mut csv, mut threads) = (Device::cpu(), None, 0);
    let (mut chosen, mut ops, mut dtypes) = (vec![], vec![], vec![DType::F32, DType::Bf16]);
    while let Some(word) = words.next() {
        match word.as_str() {
            "--device" => device = measure::device(words.next().as_deref())?,
            "--csv" => csv = words.next(),
            "--dtype" => dtypes = vec![dtype(words.next().as_deref())?],
            _ => {
                let workload = workloads::ALL.into_iter().find(|w| w.name == word);
                let op = OPS.iter().find(|(op, _)| *op == word);
                chosen.extend(workload);
                ops.extend(op);
                if let Ok(n) = word.parse() {
                    threads = n;
                } else if workload.is_none() && op.is_none() {
                    let what = format!("no op, workload or thread count named {word}");
                    return Err(hrm::Error::invalid(what));
                }
            }
        }
    }
    if chosen.is_empty() {
        chosen = match device.kind() {
            DeviceKind::Cpu => vec![workloads::ARC_SMALL, workloads::SUDOKU],
            DeviceKind::Cuda => vec![workloads::ARC_TRAIN, workloads::SUDOKU],
        };
    }
    if ops.is_empty() {
        ops = OPS.iter().collect();
    }
    Ok(Args { device, dtypes, csv, threads, workloads: chosen, ops })
}

fn dtype(word: Option<&str>) -> Result<DType> {
    match word {
        Some("f32") => Ok(DType::F32),
        Some("bf16") => Ok(DType::Bf16),
        _ => Err(hrm::Error::invalid("--dtype: expected f32 or bf16")),
    }
}

fn main() -> Result<()> {
    let args = parse()?;
    let pool =
        rayon::ThreadPoolBuilder::new().num_threads(args.threads).build().expect("thread pool");
    pool.install(|| {
        let mut recorder = Recorder::new(&args.device, args.csv.as_deref())?;
        for workload in &args.workloads {
            for (op, build) in &args.ops {
                let dtypes = match F32_ONLY.contains(op) {
                    true => &[DType::F32][..],
                    false => &args.dtypes,
                };
                for &dtype in dtypes {
                    one(&args.device, workload, op, *build, dtype, &mut recorder)?;
                }
            }
        }
        Ok(())
    })
}

fn one(
    device: &Device,
    workload: &Workload,
    op: &str,
    build: Build,
    dtype: DType,
    recorder: &mut Recorder,
) -> Result<()> {
    let shape = Device::shape_only(device.kind());
    let (counted, work) = (build(workload, &shape, dtype)?, build(workload, device, dtype)?);
    shape.take_work();
    let passes = match &work {
        Work::Taped(..) => &["fwd", "bwd"][..],
        Work::Plain(_) => &["run"],
    };
    for pass in passes {
        once_s(&counted, &shape, pass)?;
        let cost = shape.take_work().total;
        let times_s = recorder.sample(|| once_s(&work, device, pass))?;
        let dtype = dtype.to_string();
        recorder.add(&Measured {
            workload: workload.name,
            op,
            dtype: &dtype,
            pass,
            times_s,
            cost,
        })?;
    }
    Ok(())
}

/// Seconds of one pass.
fn once_s(work: &Work, device: &Device, pass: &str) -> Result<f64> {
    let (inputs, forward) = match work {
        Work::Plain(f) => return device.time_s(f),
        Work::Taped(inputs, forward) => (inputs, forward),
    };
    if pass == "fwd" {
        let mut tape = Tape::no_grad(device);
        let vars: Vec<Var> = inputs.iter().map(|t| Var::constant(t.clone())).collect();
        return device.time_s(|| forward(&mut tape, &vars).map(drop));
    }
    let mut tape = Tape::new(device);
    let vars: Vec<Var> = inputs.iter().map(|t| tape.leaf(t.clone())).collect();
    let y = forward(&mut tape, &vars)?;
    let dy = table::filled(device, y.tensor.dtype(), y.tensor.shape().dims())?;
    device.take_work();
    device.time_s(|| tape.backward(&[(&y, dy)]).map(drop))
}
