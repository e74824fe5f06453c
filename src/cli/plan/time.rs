//! How long a step takes: on this CPU a lower bound by a measurement, on a card a prediction.

use std::fmt::Write as _;

use serde_json::{Value, json};

use crate::backend::{Work, cuda};
use crate::cli::probe::matmul_flops_per_s;
use crate::cost::{Card, FORMULA, Prediction, REACH, expected_frac};
use crate::dtype::DType;
use crate::io::units::count;

/// Rows of the probe's product: enough to fill the threads, short of a second.
const PROBE_ROWS: usize = 4096;
/// Kernels that the table shows by name.
const SHOWN: usize = 16;

/// Floating-point operations per second of this CPU in matrix products, and how they were measured.
pub fn of_this_cpu(dtype: DType, rows: usize, c: usize) -> (f64, String) {
    let n = rows.min(PROBE_ROWS);
    let rate = matmul_flops_per_s(dtype, n, 3 * c, c);
    let basis = format!(
        "matrix products alone, at {:.0} GFLOP/s: measured now for 1 s on {} of this CPU, \
         {n}x{c} by {c}x{} in {dtype}; a real step takes longer",
        rate / 1e9,
        count(rayon::current_num_threads(), "thread"),
        3 * c,
    );
    (rate, basis)
}

/// Time of a step on a card that is not here.
pub fn on_card(work: &Work, card: &Card) -> Prediction {
    Prediction::new(card, &work.launched, |kernel, arch| {
        let (_, _, all) = cuda::resources().find(|(_, name, _)| *name == kernel)?;
        all.iter().find(|r| r.arch == arch).copied()
    })
}

/// What the figures of a prediction rest on.
fn basis(p: &Prediction, card: &Card) -> Vec<String> {
    let blocks = match p.knows_registers {
        true => "blocks of a multiprocessor by registers, shared memory and threads",
        false => {
            "blocks of a multiprocessor by threads and dynamic shared memory alone (registers \
             need a build with --features cuda)"
        }
    };
    vec![
        "predicted, not measured".into(),
        FORMULA.into(),
        REACH.into(),
        blocks.into(),
        format!(
            "{}: {:.1} TFLOPS in tensor cores, of which mma.sync reaches {:.1} %; {:.0} GB/s; {} \
             multiprocessors at {:.2} GHz",
            card.title,
            card.tensor_flops_per_s / 1e12,
            100.0 * card.mma_frac,
            card.dram_bytes_per_s / 1e9,
            card.multiprocessors,
            card.clock_hz / 1e9
        ),
        card.source.clone(),
        "matrix products by our own kernels; reading data, uploads and the host are left out"
            .into(),
    ]
}

pub fn json(p: &Prediction, card: &Card, batch_size: usize, rows: usize) -> Value {
    let kernels = p.classes.iter().map(|c| {
        json!({
            "kernel": c.kernel,
            "launches": c.launches,
            "matmul_flops": c.matmul_flops,
            "tensor_flops": c.tensor_flops,
            "bytes": c.bytes,
            "busy_s": c.busy_s,
            "expected_busy_s": c.expected_busy_s,
            "expected_basis": expected_frac(c.kernel, c.limit).1,
            "limit": c.limit.name(),
            "wave_frac": c.wave_frac,
        })
    });
    json!({
        "card": card.name,
        "batch_size": batch_size,
        "step_s": p.step_s,
        "samples_per_s": rows as f64 / p.step_s,
        "expected_step_s": p.expected_s,
        "expected_samples_per_s": rows as f64 / p.expected_s,
        "tensor_peak_frac": p.tensor_frac,
        "launches": p.launches,
        "launch_s": p.launch_s(),
        "kernels": kernels.collect::<Vec<_>>(),
        "basis": basis(p, card),
    })
}

pub fn table(p: &Prediction, card: &Card, batch_size: usize, rows: usize) -> String {
    let mut text = format!(
        "predicted    step of {rows} rows (train.batch_size={batch_size}) on {}: not measured\n",
        card.title
    );
    let _ = writeln!(
        text,
        "  {:<32}{:>6}{:>11}{:>11}{:>10}{:>10}{:>7}  limit",
        "kernel", "count", "GFLOP", "MB", "ms", "expected", "waves"
    );
    let mut line = |name: &str,
                    n: usize,
                    flops: f64,
                    bytes: f64,
                    s: [f64; 2],
                    waves: &str,
                    limit: &str| {
        let [least, expected] = s.map(|s| s * 1e3);
        let _ = writeln!(
            text,
            "  {name:<32}{n:>6}{:>11.1}{:>11.1}{least:>10.3}{expected:>10.3}{waves:>7}  {limit}",
            flops / 1e9,
            bytes / 1e6,
        );
    };
    let (shown, rest) = p.classes.split_at(SHOWN.min(p.classes.len()));
    for c in shown {
        let waves = format!("{:.0} %", 100.0 * c.wave_frac);
        let s = [c.busy_s, c.expected_busy_s];
        line(c.kernel, c.launches, c.matmul_flops, c.bytes, s, &waves, c.limit.name());
    }
    let sum = |of: fn(&crate::cost::Class) -> f64| rest.iter().map(of).sum::<f64>();
    if !rest.is_empty() {
        let (name, n) = (format!("{} others", rest.len()), rest.iter().map(|c| c.launches).sum());
        let s = [sum(|c| c.busy_s), sum(|c| c.expected_busy_s)];
        line(&name, n, sum(|c| c.matmul_flops), sum(|c| c.bytes), s, "", "");
    }
    line("between kernels", p.launches, 0.0, 0.0, [p.launch_s(); 2], "", "launch");
    let bytes: f64 = p.classes.iter().map(|c| c.bytes).sum();
    line("step", p.launches, p.matmul_flops, bytes, [p.step_s, p.expected_s], "", "");
    let of_step = |s: f64| (rows as f64 / s, 100.0 * p.tensor_frac * p.step_s / s);
    let ((most, bound), (expected, frac)) = (of_step(p.step_s), of_step(p.expected_s));
    let _ = writeln!(
        text,
        "predicted    at most {most:.1} samples/s, {bound:.1} % of the tensor cores' peak\n\
         expected     {expected:.1} samples/s, {frac:.1} %"
    );
    text
}

/// Lines of a plan: what predictions rest on.
pub fn basis_text(p: &Prediction, card: &Card) -> String {
    let lines = basis(p, card).into_iter().skip(1);
    lines.map(|line| format!("basis        {line}\n")).collect()
}
