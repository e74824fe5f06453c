//! Repeats, the flush of caches between them, and the table or CSV that results.

use std::fs::File;
use std::io::Write;
use std::time::{Duration, Instant};

use hrm::backend::{Cost, Device, Purpose};
use hrm::dtype::DType;
use hrm::tensor::Tensor;
use hrm::{Error, Result};

/// More than twice the second-level cache of any card.
const FLUSH_BYTES: usize = 256 << 20;
/// Runs on a card; on a CPU as many as fit 0.1 s.
const RUNS: usize = 30;
const WARM_UP_RUNS: usize = 3;

pub struct Measured<'a> {
    pub workload: &'a str,
    pub op: &'a str,
    pub dtype: &'a str,
    pub pass: &'a str,
    /// In ascending order.
    pub times_s: Vec<f64>,
    pub cost: Cost,
}

/// `cpu`, `cuda` or `cuda:N`; a simulator is no device to time.
pub fn device(name: Option<&str>) -> Result<Device> {
    let unknown = || Error::invalid("--device: expected cpu, cuda or cuda:N");
    let name = name.ok_or_else(unknown)?;
    if name == "cpu" {
        return Ok(Device::cpu());
    }
    let ordinal = match name.strip_prefix("cuda").ok_or_else(unknown)? {
        "" => 0,
        rest => rest.strip_prefix(':').and_then(|n| n.parse().ok()).ok_or_else(unknown)?,
    };
    let device = Device::cuda(ordinal)?;
    if device.as_cuda().is_some_and(|cuda| cuda.card().simulated) {
        return Err(Error::invalid("this card is simulated: its times mean nothing"));
    }
    Ok(device)
}

pub struct Recorder {
    csv: Option<File>,
    /// Overwritten before each run on a card, so that no run finds its inputs in the cache. The
    /// host queues the run meanwhile, so launches are not waited for either.
    flush: Option<Tensor>,
}

impl Recorder {
    pub fn new(device: &Device, csv: Option<&str>) -> Result<Self> {
        let flush = match device.as_cuda() {
            Some(_) => Some(Tensor::uninit(device, DType::U8, [FLUSH_BYTES], Purpose::Workspace)?),
            None => None,
        };
        let csv = csv
            .map(|path| File::create(path).map_err(Error::io(path, "write results")))
            .transpose()?;
        let mut recorder = Self { csv, flush };
        recorder
            .line("workload,op,dtype,pass,median_us,fastest_us,slowest_us,gb_per_s,tflop_per_s")?;
        println!("device {}, {} threads", device.name(), rayon::current_num_threads());
        println!("workload   op             dtype pass  median ms   fastest     GB/s  GFLOP/s");
        Ok(recorder)
    }

    /// Times of many runs, in ascending order.
    pub fn sample(&self, run: impl Fn() -> Result<f64>) -> Result<Vec<f64>> {
        let once = || {
            if let Some(flush) = &self.flush {
                flush.zero()?;
            }
            run()
        };
        for _ in 0..WARM_UP_RUNS {
            once()?;
        }
        let (start, mut times_s) = (Instant::now(), vec![]);
        let enough = |runs: usize| match self.flush {
            Some(_) => runs == RUNS,
            None => runs > 0 && start.elapsed() > Duration::from_millis(100),
        };
        while !enough(times_s.len()) {
            times_s.push(once()?);
        }
        times_s.sort_by(f64::total_cmp);
        Ok(times_s)
    }

    /// Rates are those of the median.
    pub fn add(&mut self, m: &Measured) -> Result<()> {
        let t = &m.times_s;
        let (median_s, fastest_s, slowest_s) = (t[t.len() / 2], t[0], t[t.len() - 1]);
        let (gb, gflop) = (m.cost.bytes * 1e-9 / median_s, m.cost.matmul_flops * 1e-9 / median_s);
        let shown = if gflop > 0.0 { format!("{gflop:>8.1}") } else { String::new() };
        println!(
            "{:<10} {:<14} {:<5} {:<4} {:>10.4} {:>9.4} {gb:>8.1} {shown}",
            m.workload,
            m.op,
            m.dtype,
            m.pass,
            median_s * 1e3,
            fastest_s * 1e3
        );
        let us = [median_s, fastest_s, slowest_s].map(|s| format!("{:.3}", s * 1e6)).join(",");
        let name = [m.workload, m.op, m.dtype, m.pass].join(",");
        self.line(&format!("{name},{us},{gb:.2},{:.4}", gflop * 1e-3))
    }

    fn line(&mut self, text: &str) -> Result<()> {
        match &mut self.csv {
            Some(file) => writeln!(file, "{text}").map_err(Error::io("the CSV file", "write")),
            None => Ok(()),
        }
    }
}
