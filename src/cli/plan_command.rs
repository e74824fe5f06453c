//! `hrm plan`: what a run will need, before it runs. Memory is exact, by the same code on a device
//! without memory; time is a lower bound from a measurement that is named.

use std::fmt::Write as _;

use serde_json::json;

use super::plan::{split_settings, start_threads};
use super::{args, machine, preset_data};
use crate::backend::{Device, DeviceKind, Purpose};
use crate::config::Config;
use crate::data::DataSet;
use crate::models::hrm::{self, Hrm};
use crate::train::needed::Needed;
use crate::train::setup;
use crate::train::trainer::Options;
use crate::{Error, Result};

const MIB: f64 = (1 << 20) as f64;
/// Rows of the probe's product: enough to fill the threads, short of a second.
const PROBE_ROWS: usize = 4096;
const LARGEST_BATCH: usize = 1 << 20;

pub fn run(args: args::PlanArgs) -> Result<()> {
    start_threads(args.threads)?;
    let (preset, overrides) = split_settings(&args.settings)?;
    let mut config = Config::load(preset, args.config.as_deref(), overrides)?;
    let data = match &args.data {
        Some(dir) => DataSet::open(dir)?,
        None => preset_data::built(&config.data)?.ok_or_else(|| {
            Error::invalid(
                "the data set of this preset is not built yet, and the model's size depends on its \
                 puzzles: give --data DIR, or start `hrm train` once",
            )
        })?,
    };
    config.data.canvas = data.canvas();
    let (shape, options) = (setup::model(&config, &data), setup::options(&config));
    let needed = Needed::of(DeviceKind::Cpu, &shape, options)?;
    let (total, matmul_flops) = (needed.total_bytes(), needed.work.total.matmul_flops);
    let names = Purpose::ALL.iter().map(|p| p.name());
    let memory: Vec<(&str, usize)> =
        names.zip(needed.bytes).chain([("gaps", needed.gaps_bytes)]).collect();
    let model =
        Hrm::new(&Device::shape_only(DeviceKind::Cpu), shape.clone(), options.dtype, options.seed)?;
    let (dense, puzzle) = (model.params.elems(), model.trainable_elems() - model.params.elems());

    let (room, room_is) = match args.vram {
        Some(bytes) => (bytes, "--vram"),
        None => match machine::memory_bytes() {
            Some((_, available)) => (available, "memory available here"),
            None => (0, "memory of this machine: unknown, give --vram"),
        },
    };
    let largest = largest_batch(&shape, options, room)?;
    let (n, c) = ((shape.batch_size * shape.positions()).min(PROBE_ROWS), shape.hidden_size);
    let rate = machine::matmul_flops_per_s(options.dtype, n, 3 * c, c);
    let (least_s, threads) = (matmul_flops / rate, rayon::current_num_threads());
    let basis = format!(
        "matrix products alone, at {:.0} GFLOP/s: measured now for 1 s on {threads} threads of this \
         CPU, {n}x{c} by {c}x{} in {}; a real step takes longer",
        rate / 1e9,
        3 * c,
        options.dtype
    );
    if args.json {
        let memory: serde_json::Map<_, _> =
            memory.into_iter().map(|(name, n)| (name.to_owned(), json!(n))).collect();
        let plan = json!({
            "parameters": dense,
            "puzzle_embedding_parameters": puzzle,
            "memory_bytes": memory,
            "total_bytes": total,
            "matmul_flops_per_step": matmul_flops,
            "rows_per_step": shape.batch_size * options.grad_accum,
            "room_bytes": room,
            "largest_batch": largest,
            "step_s_at_least": least_s,
            "step_s_basis": basis,
        });
        println!("{plan}");
        return Ok(());
    }
    let mut text = String::new();
    let _ = writeln!(text, "data         {}", data.dir().display());
    let _ = writeln!(
        text,
        "parameters   {} and {} in puzzle embeddings",
        grouped(dense),
        grouped(puzzle)
    );
    let _ = writeln!(
        text,
        "step         {} rows of {} positions, {:.1} GFLOP in matrix products",
        shape.batch_size * options.grad_accum,
        shape.positions(),
        matmul_flops / 1e9
    );
    for (name, n) in memory {
        let _ = writeln!(text, "memory       {name:<12}{:>10.1} MiB", n as f64 / MIB);
    }
    let _ = writeln!(text, "memory       total       {:>10.1} MiB", total as f64 / MIB);
    let fits = match largest {
        Some(n) => format!("train.batch_size={n}"),
        None => "not even train.batch_size=1".into(),
    };
    let _ =
        writeln!(text, "largest      {fits} in {:.2} GiB ({room_is})", room as f64 / MIB / 1024.0);
    let _ = write!(text, "step time    at least {:.3} s: {basis}", least_s);
    println!("{text}");
    Ok(())
}

/// The largest `train.batch_size` whose peak fits in `room` bytes.
fn largest_batch(shape: &hrm::Config, options: Options, room: usize) -> Result<Option<usize>> {
    let fits = |batch_size: usize| -> Result<bool> {
        let shape = hrm::Config { batch_size, ..shape.clone() };
        Ok(Needed::of(DeviceKind::Cpu, &shape, options)?.total_bytes() <= room)
    };
    if !fits(1)? {
        return Ok(None);
    }
    let (mut good, mut bad) = (1, 2);
    while bad <= LARGEST_BATCH && fits(bad)? {
        (good, bad) = (bad, 2 * bad);
    }
    while bad - good > 1 {
        let middle = (good + bad) / 2;
        if fits(middle)? { good = middle } else { bad = middle }
    }
    Ok(Some(good))
}

/// 1,234,567
fn grouped(n: usize) -> String {
    let digits = n.to_string();
    let comma = |i: usize| i > 0 && (digits.len() - i).is_multiple_of(3);
    let spread = digits.chars().enumerate().map(|(i, c)| (comma(i), c));
    spread.flat_map(|(comma, c)| comma.then_some(',').into_iter().chain([c])).collect()
}

/// `16GiB`, `24GB`, `512MiB`, or plain bytes.
pub fn parse_bytes(text: &str) -> Result<usize, String> {
    let at = text.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(text.len());
    let unit = match text[at..].to_ascii_lowercase().as_str() {
        "" | "b" => 1.0,
        "mb" => 1e6,
        "gb" => 1e9,
        "mib" => MIB,
        "gib" => MIB * 1024.0,
        other => return Err(format!("unit {other}: expected MiB, GiB, MB or GB")),
    };
    let number: f64 = text[..at].trim().parse().map_err(|_| "expected for example 16GiB")?;
    match number.is_finite() && number > 0.0 {
        true => Ok((number * unit) as usize),
        false => Err("must be above 0".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    #[test]
    fn sizes_with_units() {
        assert_eq!(parse_bytes("16GiB"), Ok(16 << 30));
        assert_eq!(parse_bytes("1.5 MB"), Ok(1_500_000));
        assert_eq!(parse_bytes("4096"), Ok(4096));
        assert!(parse_bytes("16 potatoes").is_err() && parse_bytes("-1GiB").is_err());
        assert_eq!(grouped(1_234_567), "1,234,567");
        assert_eq!(grouped(123), "123");
    }

    #[test]
    fn the_largest_batch_fits_and_the_next_does_not() {
        let config = Config::load(Some("arc-small"), None, &[]).unwrap();
        let (shape, options) = (setup::model_of(&config, 49, 12, 1_000), setup::options(&config));
        let room = 100 << 20;
        let total = |batch_size| {
            let shape = hrm::Config { batch_size, ..shape.clone() };
            Needed::of(DeviceKind::Cpu, &shape, options).unwrap().total_bytes()
        };
        let largest = largest_batch(&shape, options, room).unwrap().unwrap();
        assert!(total(largest) <= room && total(largest + 1) > room, "{largest}");
        assert_eq!(largest_batch(&shape, options, 1 << 20).unwrap(), None);
    }
}
