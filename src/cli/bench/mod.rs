//! `hrm bench`: whole training steps (forward, Q target, backward, optimizer) at fixed shapes, ours
//! beside PyTorch's. Every variant runs in a process of its own, so that its memory is its own and
//! a hopeless one can be ended.
//!
//! `shapes.rs` what is timed · `step.rs` one variant · `child.rs` the process that it runs in ·
//! `baseline.rs` PyTorch's · `limits.rs` what the machine can do · `table.rs` the results ·
//! `record.rs` their place in the repository.

mod baseline;
mod child;
mod limits;
mod record;
mod shapes;
mod step;
mod table;

use std::process::Command;
use std::time::Duration;

use clap::Args;
use serde_json::json;

use self::child::{Ended, Terms};
use self::limits::Limits;
use self::shapes::Shape;
use self::table::{Cut, Line, Results};
use super::common::{bounded_threads, start_threads};
use crate::backend::cpu::path::Path;
use crate::backend::{Device, DeviceKind};
use crate::io::machine;
use crate::io::say::say;
use crate::io::units::count;
use crate::{Error, PROGRAM, Result};

const WARM_UP_STEPS: usize = 3;

/// Time the whole training step in f32 and bf16, beside PyTorch where it is installed
///
/// Shapes of the official model, and of others by name. Each variant runs in a process of its own;
/// the median step and the peak of memory are reported (resident on the CPU, allocated on a GPU),
/// how many times faster than the best PyTorch variant it is, and on the CPU which share its matrix
/// products reach of the rate that was measured for a large one. Leave the machine alone meanwhile.
/// A simulated GPU is refused.
#[derive(Debug, Args)]
#[command(after_long_help = concat!(
    "Examples:\n",
    "  hrm bench                        all shapes, with PyTorch (minutes: it compiles)\n",
    "  hrm bench --quick --no-python    three steps of each\n",
    "  hrm bench --shape b32-s81-h128 --profile --json\n",
    "  hrm bench --shape tiny-vae,tiny-vae-pro,arc-full-b2 --limit-s 300\n",
    "  hrm bench --device cuda          shapes for a GPU, against PyTorch on the same GPU\n",
    "Shapes: b32-s81-h128, b8-s81-h512, b2-s900-h128; for a GPU b256-s81-h512, b16-s900-h512,\n",
    "and at the batch of a large one b768-s81-h512, b100-s900-h512; arc1-b16-h128, arc1-b16-h512,\n",
    "arc1-b100-h512: packed rows of ARC-1 beside PyTorch on the whole canvas;\n",
    "grid-b32-s256-h128: the grid model with NorMuon, over sequences of 256 tokens;\n",
    "tiny-vae, tiny-vae-pro: the student's step of these presets; arc-full-b2: arc-full's model at\n",
    "batch 2 beside nn.TransformerEncoderLayer (minutes, 14 GB); arc-full-b24: for a GPU.",
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
    /// CPU threads; default: all that this process can use, which is also the most
    #[arg(long, value_name = "N", value_parser = super::common::threads)]
    pub threads: Option<usize>,
    /// Seconds that a variant may take; one that would take longer is cut. What compiles first may
    /// take as long for that
    #[arg(long, value_name = "N", default_value_t = 120,
        value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub limit_s: u64,
    /// Say also which ops take the time of our steps (on the CPU)
    #[arg(long)]
    pub profile: bool,
    /// JSON on stdout
    #[arg(long)]
    pub json: bool,
    /// Write the results to benches/results/DATE-MACHINE/ too
    #[arg(long)]
    pub record: bool,
    /// One variant in this process
    #[arg(long, value_name = "SHAPE/DTYPE", hide = true)]
    pub one: Option<String>,
}

pub fn run(args: Bench) -> Result<()> {
    if let Some(variant) = &args.one {
        start_threads(args.threads)?;
        return step::run(variant, steps(&args), args.profile, &device(&args.device)?);
    }
    let device = device(&args.device)?;
    let kind = device.kind();
    let shapes = shapes::chosen(&args.shape, kind)?;
    let on = match device.as_cuda() {
        Some(cuda) => cuda.card().name.clone(),
        None => machine::cpu_model(),
    };
    let products = device.products();
    drop(device); // its memory belongs to the processes that are timed
    let threads = bounded_threads(args.threads);
    let limits = match kind {
        DeviceKind::Cpu => {
            start_threads(Some(threads))?;
            Some(Limits::measured())
        }
        DeviceKind::Cuda => None,
    };
    let flops = shapes.iter().map(|shape| Ok((shape.name.to_owned(), shape.matmul_flops(kind)?)));
    let flops = flops.collect::<Result<_>>()?;
    let path = Path::chosen().word();
    let heading = format!(
        "{on}, products: {products}, {}, median of {} steps after {WARM_UP_STEPS}",
        count(threads, "thread"),
        steps(&args)
    );
    let mut results = Results { heading, lines: vec![], limits, flops, left_out: vec![] };
    for shape in &shapes {
        for dtype in shape.dtypes() {
            let variant = format!("{}/{dtype}", shape.name);
            let ended = ours(&variant, threads, &args);
            let ended = ended.map_err(|e| Error::invalid(format!("{variant}: {e}")))?;
            results.lines.push(line(shape, format!("hrm {dtype}"), ended));
        }
    }
    if args.no_python {
        results.left_out.push("--no-python".into());
    } else {
        for shape in &shapes {
            pytorch(shape, threads, &args, &mut results);
        }
        results.left_out.dedup();
    }
    let json = json!({
        "program": PROGRAM, "command": command_line(), "device": on, "path": path,
        "products": products, "threads": threads, "steps": steps(&args), "warm_up_steps": WARM_UP_STEPS,
        "limit_s": args.limit_s, "limits": results.limits.as_ref().map(Limits::json),
        "matmul_flops": results.flops.iter().cloned().collect::<std::collections::BTreeMap<_, _>>(),
        "pytorch_left_out": results.left_out, "results": results.json(),
    });
    let text = results.text();
    match args.json {
        true => outln!("{json}"),
        false => outln!("{}", text.trim_end()),
    }
    if args.record {
        let path = record::write(&on, &json, &format!("{}\n{text}", command_line()))?;
        say!("recorded: {}", path.display());
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

fn steps(args: &Bench) -> usize {
    if args.quick { 3 } else { 9 }
}

/// What was asked, without the place of the program.
fn command_line() -> String {
    let words = std::env::args().skip(1);
    ["hrm".to_owned()].into_iter().chain(words).collect::<Vec<_>>().join(" ")
}

fn ours(variant: &str, threads: usize, args: &Bench) -> Result<Ended, String> {
    let program = std::env::current_exe().map_err(|e| e.to_string())?;
    let mut command = Command::new(program);
    command.args(["bench", "--one", variant, "--threads", &threads.to_string()]);
    command.args(["--device", &args.device]);
    if args.quick {
        command.arg("--quick");
    }
    if args.profile {
        command.arg("--profile");
    }
    let (steps, limit) = (WARM_UP_STEPS + steps(args), Duration::from_secs(args.limit_s));
    let name = format!("{variant} hrm");
    child::run(&mut command, &Terms { name, steps, compiles: false, limit })
}

/// Add what PyTorch's variants of a shape do, or why they were not timed.
fn pytorch(shape: &Shape, threads: usize, args: &Bench, results: &mut Results) {
    let variants = match baseline::variants(shape, threads, args) {
        Ok(variants) => variants,
        Err(reason) => return results.left_out.push(reason),
    };
    for baseline::Variant { name, mut command, steps, compiles } in variants {
        let limit = Duration::from_secs(args.limit_s);
        let terms =
            Terms { name: format!("{} PyTorch {name}", shape.name), steps, compiles, limit };
        match child::run(&mut command, &terms) {
            Ok(ended) => results.lines.push(line(shape, format!("PyTorch {name}"), ended)),
            Err(e) => results.left_out.push(format!("{} {name}: {e}", shape.name)),
        }
    }
}

/// What became of a variant; said on stderr too.
fn line(shape: &Shape, variant: String, ended: Ended) -> Line {
    let name = shape.name.to_owned();
    let line = match ended {
        Ended::Timed(timing) => {
            say!("{name} {variant}: {:.1} ms", timing.step_ms);
            return Line::Timed(step::Timing { shape: name, variant, ..timing });
        }
        Ended::Cut { after_s, step_ms } => {
            let (cut_after_s, last_step_ms) = (after_s, step_ms);
            Line::Cut(Cut {
                shape: name.clone(),
                variant: variant.clone(),
                cut_after_s,
                last_step_ms,
            })
        }
    };
    say!("{name} {variant}: {}", line.cut().unwrap_or_default());
    line
}
