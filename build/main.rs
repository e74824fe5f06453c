//! Feature `cuda`: kernels/*.cu to PTX (NVRTC) and cubins (ptxas), embedded by `kernels.rs` in
//! OUT_DIR. Needs a compiler, never a GPU or a driver.
//!
//! The compiler is a folder with `bin/ptxas`, `lib64/libnvrtc.so*` and `include/`, the first of
//! HRM_CUDA_HOME, CUDA_HOME, CUDA_PATH and what `tools/cuda-toolchain` fills.
//! HRM_CUDA_ARCHS: cubins to make, default "80,86,89,90,120"; every other card runs the PTX.

mod nvrtc;
mod ptxas;
mod table;

use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};
use std::path::{Path, PathBuf};
use std::{env, fs};

const ARCHS: &str = "80,86,89,90,120";
const HOMES: [&str; 3] = ["HRM_CUDA_HOME", "CUDA_HOME", "CUDA_PATH"];

fn main() {
    println!("cargo:rerun-if-changed=build");
    println!("cargo:rerun-if-changed=kernels");
    if env::var_os("CARGO_FEATURE_CUDA").is_none() {
        return;
    }
    if let Err(error) = build() {
        eprintln!("\nerror: {error}\n");
        std::process::exit(1);
    }
}

fn build() -> Result<(), String> {
    for name in HOMES.iter().chain(&["HRM_CUDA_ARCHS"]) {
        println!("cargo:rerun-if-env-changed={name}");
    }
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
    let home = find_home(&out)?;
    println!("cargo:rerun-if-changed={}", home.join("bin").display());
    let archs = env::var("HRM_CUDA_ARCHS").unwrap_or_else(|_| ARCHS.into());
    let archs: Vec<u32> = archs
        .split(',')
        .filter(|a| !a.is_empty())
        .map(|a| a.trim().parse().map_err(|_| format!("HRM_CUDA_ARCHS: `{a}` is not a number")))
        .collect::<Result<_, _>>()?;
    let compiler = nvrtc::Compiler::load(&home)?;
    let shared = read_all(Path::new("kernels/common"))?;
    let mut modules = vec![];
    for source in sources(Path::new("kernels"))? {
        let name = source.file_stem().and_then(|s| s.to_str()).ok_or("a kernel file's name")?;
        let text = fs::read_to_string(&source).map_err(|e| format!("{}: {e}", source.display()))?;
        let mut hasher = DefaultHasher::new();
        (&text, &shared, &archs, &home, nvrtc::OPTIONS).hash(&mut hasher);
        let stamp = out.join(format!("{name}.stamp"));
        let key = format!("{:016x}", hasher.finish());
        if fs::read_to_string(&stamp).is_ok_and(|old| old == key) {
            modules.push(table::Module::read(&out, name, &archs)?);
            continue;
        }
        let ptx = compiler.compile(&source, &text, &home)?;
        let written = out.join(format!("{name}.ptx"));
        fs::write(&written, ptx + "\0").map_err(|e| format!("{}: {e}", written.display()))?;
        for arch in &archs {
            ptxas::assemble(&home, &out, name, *arch)?;
        }
        fs::write(&stamp, key).map_err(|e| format!("{}: {e}", stamp.display()))?;
        modules.push(table::Module::read(&out, name, &archs)?);
    }
    let generated = out.join("kernels.rs");
    fs::write(&generated, table::render(&modules))
        .map_err(|e| format!("{}: {e}", generated.display()))
}

fn find_home(out: &Path) -> Result<PathBuf, String> {
    let complete = |home: &Path| home.join("bin/ptxas").exists() && home.join("include").exists();
    for name in HOMES {
        if let Some(home) = env::var_os(name).map(PathBuf::from) {
            return match complete(&home) {
                true => Ok(home),
                false => Err(format!(
                    "{name}={} holds no CUDA compiler (bin/ptxas, include/); unset it to use the \
                     one of tools/cuda-toolchain",
                    home.display()
                )),
            };
        }
    }
    // OUT_DIR lies below the target folder, whatever it is called.
    out.ancestors().map(|dir| dir.join("cuda-toolchain")).find(|home| complete(home)).ok_or_else(
        || {
            "feature `cuda` needs the CUDA compiler: run tools/cuda-toolchain (PyPI wheels, no GPU \
             or driver needed), or set CUDA_HOME to a CUDA 12 toolkit"
                .into()
        },
    )
}

fn sources(dir: &Path) -> Result<Vec<PathBuf>, String> {
    let entries = fs::read_dir(dir).map_err(|e| format!("{}: {e}", dir.display()))?;
    let mut files: Vec<PathBuf> = entries.filter_map(|e| Some(e.ok()?.path())).collect();
    files.retain(|path| path.extension().is_some_and(|e| e == "cu"));
    files.sort();
    Ok(files)
}

/// All files of a folder, as one text.
fn read_all(dir: &Path) -> Result<String, String> {
    let entries = fs::read_dir(dir).map_err(|e| format!("{}: {e}", dir.display()))?;
    let mut files: Vec<PathBuf> = entries.filter_map(|e| Some(e.ok()?.path())).collect();
    files.sort();
    files
        .iter()
        .map(|f| fs::read_to_string(f).map_err(|e| format!("{}: {e}", f.display())))
        .collect()
}
