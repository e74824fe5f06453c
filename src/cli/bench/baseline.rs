//! Steps in PyTorch, by the programs in `tools/baseline`.

use std::path::Path;
use std::process::Command;

use super::shapes::{Baseline, Shape};
use super::{Bench, steps};

/// PyTorch's home, for the CPU and with CUDA (`tools/on-gpu` makes the second).
const PYTHON: &str = "target/venv/bin/python";
const PYTHON_CUDA: &str = "target/venv-cuda/bin/python";

/// A variant of PyTorch's, and how it is timed.
pub struct Variant {
    pub name: &'static str,
    pub command: Command,
    pub steps: usize,
    pub compiles: bool,
}

/// All of PyTorch's variants of a shape; `Err` says why there are none.
pub fn variants(shape: &Shape, threads: usize, args: &Bench) -> Result<Vec<Variant>, String> {
    let baseline = shape.baseline();
    let on_cpu = args.device == "cpu";
    let (python, made_by) = match on_cpu {
        true => (PYTHON, "tools/test makes it"),
        false => (PYTHON_CUDA, "tools/on-gpu makes it"),
    };
    for (path, hint) in [(python, made_by), (baseline.script, "run in the repository")] {
        if !Path::new(path).exists() {
            return Err(format!("{path} is not here ({hint})"));
        }
    }
    if !on_cpu && !baseline.knows_cuda {
        return Err(format!("{}: {} runs on the CPU only", shape.name, baseline.script));
    }
    let Baseline { script, variants, steps: (warm_up, most), .. } = baseline;
    let timed = steps(args).min(*most);
    let names = variants.iter().filter(|name| !args.quick || !compiles(name));
    let variant = |name: &'static str| {
        let mut command = Command::new(python);
        command.arg(script).args(["--one", &format!("{}/{name}", shape.name)]);
        command.args(["--warm-up", &warm_up.to_string(), "--steps", &timed.to_string()]);
        command.args(["--threads", &threads.to_string()]);
        if baseline.knows_cuda {
            command.args(["--device", &args.device]);
        }
        Variant { name, command, steps: warm_up + timed, compiles: compiles(name) }
    };
    Ok(names.map(|name| variant(name)).collect())
}

fn compiles(variant: &str) -> bool {
    variant.starts_with("compile")
}
