//! Gates on what the compiler makes of the kernels: no spills, no stack, and registers, shared
//! memory, occupancy and tensor-core instructions as recorded in `kernels/README.md`.
//!
//! `limits.rs` predicts what each kernel waits for · `table.rs` the recorded table. Needs the CUDA
//! compiler, no GPU. HRM_RECORD_KERNELS=1 writes the table.

#[cfg(feature = "cuda")]
mod limits;
mod table;

#[cfg(feature = "cuda")]
mod gates {
    use std::collections::BTreeMap;
    use std::process::Command;
    use std::sync::OnceLock;
    use std::{env, fs};

    use hrm::backend::Resources;
    use hrm::backend::cuda;
    use hrm::cost::{Block, Card};

    use crate::limits;
    use crate::table::{self, Row};

    const ARCHS: [u32; 2] = [89, 90];
    const README: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/kernels/README.md");

    /// The gated architectures' resources of every kernel; `None` where this build lacks one.
    fn compiled() -> Option<Vec<(&'static str, &'static str, [Resources; 2])>> {
        let of = |all: &[Resources], arch| all.iter().find(|r| r.arch == arch).copied();
        let all: Option<Vec<_>> = cuda::resources()
            .map(|(op, kernel, all)| Some((op, kernel, [of(all, ARCHS[0])?, of(all, ARCHS[1])?])))
            .collect();
        if all.is_none() {
            println!("skipped: kernel gates (HRM_CUDA_ARCHS leaves out sm_89 or sm_90)");
        }
        assert!(all.as_ref().is_none_or(|all| all.len() > 40), "kernels were found");
        all
    }

    #[test]
    fn no_kernel_spills_or_has_a_stack() {
        let Some(all) = compiled() else { return };
        let mut bad = vec![];
        for (_, kernel, resources) in all {
            for r in resources {
                if r.spilled_bytes != 0 || r.stack_bytes != 0 {
                    bad.push(format!("{kernel}: {r:?}"));
                }
            }
        }
        assert!(bad.is_empty(), "spills or stack:\n{}", bad.join("\n"));
    }

    /// Every kernel says how large its blocks are, and one of them fits a multiprocessor.
    #[test]
    fn every_kernel_bounds_its_launch_and_fits() {
        let Some(all) = compiled() else { return };
        let sm = Card::named("4090").unwrap().multiprocessor;
        for (op, kernel, [r, _]) in all {
            assert!(r.threads > 0, "{op}: {kernel} lacks __launch_bounds__");
            assert!(sm.blocks_of(block(r)) > 0, "{op}: {kernel} does not fit sm_89: {r:?}");
        }
    }

    fn block(r: Resources) -> Block {
        Block { threads: r.threads, registers: r.registers, shared_bytes: r.shared_bytes }
    }

    #[test]
    fn kernels_are_as_recorded() {
        let Some(all) = compiled() else { return };
        let text = fs::read_to_string(README).unwrap();
        let recorded = table::parse(&text).unwrap();
        let (counts, limits) = (hmma(), limits::by_kernel());
        if counts.is_none() {
            println!("skipped: HMMA counts (no nvdisasm: tools/cuda-toolchain --sass)");
        }
        let sm = Card::named("4090").unwrap().multiprocessor;
        let now: Vec<Row> = all
            .iter()
            .map(|&(op, kernel, [r89, r90])| {
                let known = recorded.iter().find(|row| row.kernel == kernel);
                let hmma = match counts {
                    Some(counts) => counts.get(kernel).copied(),
                    None => known.and_then(|row| row.hmma),
                };
                Row {
                    op: op.into(),
                    kernel: kernel.into(),
                    registers: [r89.registers, r90.registers],
                    shared_bytes: r89.shared_bytes,
                    threads: r89.threads,
                    blocks: sm.blocks_of(block(r89)),
                    occupancy_percent: (100.0 * sm.occupancy_frac(block(r89))).round() as usize,
                    hmma,
                    limit: limits.get(kernel).copied().unwrap_or("-").into(),
                }
            })
            .collect();
        if env::var_os("HRM_RECORD_KERNELS").is_some() {
            fs::write(README, table::replace(&text, &now).unwrap()).unwrap();
            return;
        }
        let changes = table::changes(&recorded, &now);
        assert!(
            changes.is_empty(),
            "kernels/README.md does not say what was built:\n{}\n\nIf this is wanted, record it: \
             HRM_RECORD_KERNELS=1 cargo test --features cuda --test kernels\n\n{}",
            changes.join("\n"),
            table::render(&now)
        );
    }

    type Counts = BTreeMap<String, usize>;

    /// Tensor-core instructions of every kernel for sm_89; `None` without a disassembler.
    fn hmma() -> Option<&'static Counts> {
        static COUNTS: OnceLock<Option<Counts>> = OnceLock::new();
        COUNTS.get_or_init(disassemble).as_ref()
    }

    fn disassemble() -> Option<Counts> {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tools/sass-counts");
        let run = Command::new("python3")
            .args([script, "--json", "--arch", "89", env!("OUT_DIR")])
            .output()
            .expect("python3");
        if run.status.code() == Some(3) {
            return None;
        }
        assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
        let counts: serde_json::Value = serde_json::from_slice(&run.stdout).unwrap();
        let of = |v: &serde_json::Value| v["HMMA"].as_u64().unwrap() as usize;
        Some(counts.as_object().unwrap().iter().map(|(k, v)| (k.clone(), of(v))).collect())
    }

    /// bf16 products run on tensor cores, whatever else changes.
    #[test]
    fn bf16_products_are_made_of_hmma() {
        let Some(counts) = hmma() else {
            println!("skipped: HMMA counts (no nvdisasm: tools/cuda-toolchain --sass)");
            return;
        };
        let products = |name: &str| {
            let heads = ["_hd16_", "_hd32_", "_hd64_"].iter().any(|hd| name.contains(hd));
            let matmul = name.starts_with("matmul_") && !name.contains("_db_");
            name.ends_with("_bf16") && heads || matmul && name.contains("_bf16_")
        };
        let kernels: Vec<_> = counts.iter().filter(|(name, _)| products(name)).collect();
        assert!(kernels.len() >= 9 + 9, "{kernels:?}");
        for (name, n) in kernels {
            assert!(*n > 0, "{name} has no HMMA");
        }
        assert!(counts.iter().filter(|(name, _)| name.ends_with("_f32")).all(|(_, n)| *n == 0));
    }

    /// A fused gate has the bits of the op of its own only if no compiler of PTX may fuse a step of
    /// it with its neighbour, as it may an add without `.rn`.
    #[test]
    fn no_step_of_a_gate_may_be_contracted() {
        for (module, kernel) in [
            ("swiglu", "swiglu_fwd_f32"),
            ("swiglu", "swiglu_bwd_f32"),
            ("swiglu", "swiglu_fwd_bf16"),
            ("swiglu", "swiglu_bwd_bf16"),
            ("matmul", "matmul_swiglu_bf16"),
            ("matmul", "matmul_swiglu_bwd_bf16"),
        ] {
            let path = format!("{}/{module}.ptx", env!("OUT_DIR"));
            let ptx = fs::read_to_string(&path).unwrap_or_else(|e| panic!("{path}: {e}"));
            let (_, body) = ptx.split_once(&format!(".entry {kernel}(")).unwrap();
            let (body, _) = body.split_once("\n}\n").unwrap();
            let lines = body.lines().map(str::trim_start);
            let count = |opcode: &str| lines.clone().filter(|l| l.starts_with(opcode)).count();
            // expf brings its argument into range by one add, of an fma's result: no product.
            let ranges = body.lines().filter(|l| l.contains("add.f32") && l.contains("0fCB40007F"));
            assert_eq!(count("add.f32") + count("sub.f32"), ranges.count(), "{kernel}");
            assert!(count("mul.rn.f32") >= 2 && count("rcp.rn.f32") >= 1, "{kernel}");
        }
    }
}
