//! `hrm devices`: what this program can train on here, and what is missing.

use serde_json::json;

use super::{args, machine};
use crate::Result;

const GIB: f64 = (1_u64 << 30) as f64;

pub fn run(args: args::Devices) -> Result<()> {
    let threads = std::thread::available_parallelism().map_or(1, |n| n.get());
    let (model, memory) = (machine::cpu_model(), machine::memory_bytes());
    let of = |here: bool| machine::cpu_features().into_iter().filter(move |f| f.1 == here);
    let features: Vec<&str> = of(true).map(|f| f.0).collect();
    let absent: Vec<&str> = of(false).map(|f| f.0).collect();
    let mut missing = vec!["cuda: not in this build".to_owned()];
    if !machine::has_fast_bf16() {
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
            "fast_bf16": machine::has_fast_bf16(),
            "memory_bytes": memory.map(|m| m.0),
            "available_bytes": memory.map(|m| m.1),
        });
        println!("{}", json!({ "devices": [cpu], "missing": missing }));
        return Ok(());
    }
    println!("cpu      {model}, {threads} threads, {}", features.join(" "));
    if let Some((total, available)) = memory {
        let (total, available) = (total as f64 / GIB, available as f64 / GIB);
        println!("         {total:.1} GiB of memory, {available:.1} GiB available");
    }
    missing.iter().for_each(|line| println!("missing  {line}"));
    Ok(())
}
