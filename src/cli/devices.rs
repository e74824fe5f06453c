//! `hrm devices`: what this program can train on here.

use serde_json::json;

use super::args;
use crate::Result;

pub fn run(args: args::Devices) -> Result<()> {
    let threads = std::thread::available_parallelism().map_or(1, |n| n.get());
    let features = cpu_features();
    if args.json {
        let cpu = json!({ "name": "cpu", "threads": threads, "features": features });
        println!("{}", json!({ "devices": [cpu], "missing": ["cuda: not in this build"] }));
        return Ok(());
    }
    println!("cpu   {threads} threads, {}", features.join(" "));
    println!("cuda  not in this build");
    Ok(())
}

/// Instruction sets that kernels choose by.
fn cpu_features() -> Vec<&'static str> {
    #[cfg(target_arch = "x86_64")]
    {
        let known = [
            ("avx2", is_x86_feature_detected!("avx2")),
            ("fma", is_x86_feature_detected!("fma")),
            ("avx512f", is_x86_feature_detected!("avx512f")),
            ("avx512bf16", is_x86_feature_detected!("avx512bf16")),
        ];
        known.into_iter().filter(|(_, here)| *here).map(|(name, _)| name).collect()
    }
    #[cfg(not(target_arch = "x86_64"))]
    vec!["portable"]
}
