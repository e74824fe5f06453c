//! `hrm devices`: what this program can train on here, and what is missing.

use clap::Args;
use serde_json::json;

use crate::Result;
use crate::backend::cpu::path::{Path, VARIABLE};
use crate::backend::{Device, DeviceKind, OWN_KERNELS, Products, cuda};
use crate::config::Precision;
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
    let threads = machine::usable_threads();
    let (model, memory) = (machine::cpu_model(), machine::memory_bytes());
    let features = machine::cpu_features().into_iter().filter(|(_, is_here)| *is_here);
    let features: Vec<&str> = features.map(|(name, _)| name).collect();
    let (cards, mut missing) = match cuda::cards() {
        Ok(cards) => (cards, vec![]),
        Err(e) => (vec![], vec![e.to_string()]),
    };
    // What a command that opens the card would say.
    let products = |ordinal| match Device::cuda(ordinal) {
        Ok(device) => device.products(),
        Err(e) => format!("none: {e}"),
    };
    let products: Vec<String> = (0..cards.len()).map(products).collect();
    let is_auto = Products::from_env().is_ok_and(|products| products == Products::Auto);
    if is_auto && products.iter().any(|products| products == OWN_KERNELS) {
        missing.push(format!("cuBLASLt: {}", cuda::no_blaslt()));
    }
    let path = Path::chosen();
    let here: Vec<&str> = Path::here().map(Path::word).collect();
    for path in Path::ALL {
        let lacks = path.lacks();
        if !lacks.is_empty() {
            missing.push(format!("cpu: {} lacks {}", path.word(), lacks.join(", ")));
        }
    }
    let precision = Precision::fastest(DeviceKind::Cpu).word();
    if args.json {
        let cpu = json!({
            "name": "cpu",
            "model": model,
            "threads": threads,
            "features": features,
            "path": path.word(),
            "products": Device::cpu().products(),
            "paths": here,
            "fast_bf16": path.multiplies_bf16(),
            "precision": precision,
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
                "products": products[i],
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
        outln!("         products: {}", products[i]);
    }
    outln!(
        "cpu      {model}, {}, {}; products run on {}",
        count(threads, "thread"),
        features.join(" "),
        path.word()
    );
    outln!("         {VARIABLE} may be {}; train.precision=auto is {precision}", here.join(", "));
    if let Some((total, available)) = memory {
        let (total, available) = (total as f64 / GIB, available as f64 / GIB);
        outln!("         {total:.1} GiB of memory, {available:.1} GiB available");
    }
    missing.iter().for_each(|line| outln!("missing  {line}"));
    Ok(())
}
