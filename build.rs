//! Feature `cuda`: kernels/*.cu to PTX (NVRTC) and cubins (ptxas), embedded by `kernels.rs` in
//! OUT_DIR. Needs a compiler, never a GPU or a driver.
//!
//! HRM_CUDA_ARCHS: cubins to make, default "80,86,89,90,120"; every other card runs the PTX.

#[path = "build/home.rs"]
mod home;
#[path = "build/nvrtc.rs"]
mod nvrtc;
#[path = "build/ptxas.rs"]
mod ptxas;
#[path = "build/table.rs"]
mod table;

use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};
use std::path::{Path, PathBuf};
use std::{env, fs};

const ARCHS: &str = "80,86,89,90,120";

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
    for name in home::VARIABLES.iter().chain(&["HRM_CUDA_ARCHS"]) {
        println!("cargo:rerun-if-env-changed={name}");
    }
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
    let home = home::find(&out)?;
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
        let ptx =
            compiler.compile(&source, &text, &[Path::new("kernels"), &home.join("include")])?;
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
