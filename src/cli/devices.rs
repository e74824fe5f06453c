//! `hrm devices`: what this program can train on here, and what is missing.

use clap::Args;
use serde_json::json;

use crate::Result;
use crate::backend::cpu::path::Path;
use crate::backend::cuda;
use crate::io::machine;
use crate::io::units::count;

const GIB: f64 = (1_u64 << 30) as f64;

/// Show the devices that training can use, and what is missing
#[derive(Debug, Args)]
#[command(after_long_help = "Example:\n  hrm devices --json")]
pub struct Devices {
    /// One JSON object instead
    #[arg(long)]
    pub json: bool,
}

pub fn run(args: Devices) -> Result<()> {
    let threads = std::thread::available_parallelism().map_or(1, |n| n.get());
    let (model, memory) = (machine::cpu_model(), machine::memory_bytes());
    let of = |here: bool| machine::cpu_features().into_iter().filter(move |f| f.1 == here);
    let features: Vec<&str> = of(true).map(|f| f.0).collect();
    let absent: Vec<&str> = of(false).map(|f| f.0).collect();
    let (cards, mut missing) = match cuda::cards() {
        Ok(cards) => (cards, vec![]),
        Err(e) => (vec![], vec![e.to_string()]),
    };
    if !cards.is_empty() && !cuda::has_blaslt() {
        missing.push(
            "cublasLt (libcublasLt.so.12): matrix products run on this program's own kernels; \
             install it with the CUDA toolkit or as the PyPI package nvidia-cublas-cu12"
                .into(),
        );
    }
    let path = Path::chosen();
    let has_fast_bf16 = path.multiplies_bf16();
    if !has_fast_bf16 {
        missing.push(format!(
            "cpu: no AVX-512 BF16 (absent: {}): bf16 products run in f32; train.precision=f32 may \
             be as fast",
            absent.join(" ")
        ));
    }
    if args.json {
        let cpu = json!({
            "name": "cpu",
            "model": model,
            "threads": threads,
            "features": features,
            "path": path.word(),
            "paths": Path::here().map(Path::word).collect::<Vec<_>>(),
            "fast_bf16": has_fast_bf16,
            "memory_bytes": memory.map(|m| m.0),
            "available_bytes": memory.map(|m| m.1),
        });
        let cards = cards.iter().enumerate().map(|(i, card)| {
            json!({
                "name": format!("cuda:{i}"),
                "model": card.name,
                "compute_capability": card.arch,
                "multiprocessors": card.multiprocessors,
                "memory_bytes": card.memory_bytes,
                "available_bytes": card.free_bytes,
                "driver_cuda_version": card.driver,
                "simulated": card.simulated,
            })
        });
        let devices: Vec<_> = cards.chain([cpu]).collect();
        outln!("{}", json!({ "devices": devices, "missing": missing }));
        return Ok(());
    }
    for (i, card) in cards.iter().enumerate() {
        outln!(
            "cuda:{i}   {}, compute capability {}.{}, {} multiprocessors, driver for CUDA {}.{}{}",
            card.name,
            card.arch / 10,
            card.arch % 10,
            card.multiprocessors,
            card.driver / 1000,
            card.driver % 1000 / 10,
            if card.simulated { ": right results, but times mean nothing" } else { "" }
        );
        let (total, free) = (card.memory_bytes as f64 / GIB, card.free_bytes as f64 / GIB);
        outln!("         {total:.1} GiB of memory, {free:.1} GiB free");
    }
    outln!(
        "cpu      {model}, {}, {}; products run on {}",
        count(threads, "thread"),
        features.join(" "),
        path.word()
    );
    if let Some((total, available)) = memory {
        let (total, available) = (total as f64 / GIB, available as f64 / GIB);
        outln!("         {total:.1} GiB of memory, {available:.1} GiB available");
    }
    missing.iter().for_each(|line| outln!("missing  {line}"));
    Ok(())
}
