//! `kernels.rs`: every module with its PTX, cubins and kernels, as Rust constants.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

pub struct Module {
    name: String,
    out: PathBuf,
    archs: Vec<u32>,
    kernels: Vec<Kernel>,
}

struct Kernel {
    name: String,
    /// PTX type of each parameter: u64 (every pointer), u32, f32.
    params: Vec<String>,
    /// Threads of the largest block, as `__launch_bounds__` says.
    threads: usize,
    /// A row for each arch: registers, spilled bytes, stack bytes, static shared bytes.
    resources: Vec<[usize; 4]>,
}

impl Module {
    /// From the files that the compilers left in `out`.
    pub fn read(out: &Path, name: &str, archs: &[u32]) -> Result<Self, String> {
        let read =
            |file: String| fs::read_to_string(out.join(&file)).map_err(|e| format!("{file}: {e}"));
        let mut kernels = entries(&read(format!("{name}.ptx"))?);
        for arch in archs {
            let report = read(format!("{name}.{arch}.txt"))?;
            for kernel in &mut kernels {
                let found = resources(&report, &kernel.name).ok_or_else(|| {
                    format!("ptxas says nothing of {} for sm_{arch}", kernel.name)
                })?;
                kernel.resources.push(found);
            }
        }
        Ok(Self { name: name.into(), out: out.into(), archs: archs.into(), kernels })
    }
}

/// The `.entry` functions of a PTX text.
fn entries(ptx: &str) -> Vec<Kernel> {
    let mut found = vec![];
    for part in ptx.split(".visible .entry ").skip(1) {
        let Some((name, rest)) = part.split_once('(') else { continue };
        let list = rest.split(')').next().unwrap_or("");
        let kind = |p: &str| p.split_whitespace().next().unwrap_or("").to_owned();
        let params = list.split(".param .").skip(1).map(kind).collect();
        let head = rest.split('{').next().unwrap_or("");
        let threads = head.split(".maxntid").nth(1).map_or(0, |bounds| {
            let sizes = bounds.split('.').next().unwrap_or("").split(',');
            sizes.filter_map(|n| n.trim().parse::<usize>().ok()).product()
        });
        found.push(Kernel { name: name.trim().into(), params, threads, resources: vec![] });
    }
    found
}

/// Of `ptxas -v`: registers, spilled bytes, stack bytes, static shared bytes of one kernel.
fn resources(report: &str, kernel: &str) -> Option<[usize; 4]> {
    let start = report.find(&format!("Compiling entry function '{kernel}' "))?;
    let rest = &report[start + 1..];
    let own = rest.split("Compiling entry function").next()?;
    let before = |unit: &str| -> Option<usize> {
        let at = own.find(unit)?;
        own[..at].split_whitespace().next_back()?.parse().ok()
    };
    Some([
        before(" registers")?,
        before(" bytes spill stores")? + before(" bytes spill loads")?,
        before(" bytes stack frame")?,
        before(" bytes smem").unwrap_or(0),
    ])
}

pub fn render(modules: &[Module]) -> String {
    let mut text = String::from("pub static MODULES: &[Module] = &[\n");
    for m in modules {
        let path =
            |file: String| format!("include_bytes!({:?})", m.out.join(file).display().to_string());
        let _ = writeln!(text, "Module {{ name: {:?},", m.name);
        let _ = writeln!(text, "  ptx: {},", path(format!("{}.ptx", m.name)));
        let _ = writeln!(text, "  cubins: &[");
        for arch in &m.archs {
            let _ = writeln!(text, "    ({arch}, {}),", path(format!("{}.{arch}.cubin", m.name)));
        }
        let _ = writeln!(text, "  ],\n  kernels: &[");
        for k in &m.kernels {
            let _ = write!(
                text,
                "    Entry {{ name: {:?}, params: &{:?}, resources: &[",
                k.name, k.params
            );
            for (arch, [registers, spilled, stack, shared]) in m.archs.iter().zip(&k.resources) {
                let _ = write!(
                    text,
                    "Resources {{ arch: {arch}, threads: {}, registers: {registers}, \
                     spilled_bytes: {spilled}, stack_bytes: {stack}, shared_bytes: {shared} }}, ",
                    k.threads
                );
            }
            let _ = writeln!(text, "] }},");
        }
        let _ = writeln!(text, "  ] }},");
    }
    text + "];\n"
}
