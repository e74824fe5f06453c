//! Two blocks with one output.

use crate::mutation::{Caught, Mutation};

const BLOCKS: &[&str] = &["block_race"];

pub const LIST: &[Mutation] = &[
    Mutation {
        name: "matmul: parts of the sum in one place",
        file: "matmul.cu",
        from: "const u32 row = place.row + ty + i % 4 + i / 4 * HALF;",
        to: "out -= i == 0 ? static_cast<u64>(blockIdx.z) * m * n : 0;
        const u32 row = place.row + ty + i % 4 + i / 4 * HALF;",
        module: "matmul",
        workload: "matmul_parts",
        caught: Caught::Finding {
            kinds: BLOCKS,
            kernel: "matmul_bwd_dw_f32_t64",
            at: &[("matmul.cu", "store_one(out + static_cast<u64>(row) * n + col,")],
        },
    },
    Mutation {
        name: "rms_norm: blocks overlap by a row",
        file: "rms_norm.cu",
        from: "const u32 row = blockIdx.x * ROWS_PER_BLOCK + threadIdx.x / WARP;
    if (row >= n) return;
    const u64 start = static_cast<u64>(row) * c;
    y += start, x += start;",
        to: "const u32 row = blockIdx.x * (ROWS_PER_BLOCK - 1) + threadIdx.x / WARP;
    if (row >= n) return;
    const u64 start = static_cast<u64>(row) * c;
    y += start, x += start;",
        module: "rms_norm",
        workload: "rms_norm",
        caught: Caught::Finding {
            kinds: BLOCKS,
            kernel: "rms_norm_fwd_f32",
            at: &[("rms_norm.cu", "y[i] = s;")],
        },
    },
    Mutation {
        name: "attention: heads share a place for y",
        file: "common/attention.cuh",
        from: "return (static_cast<size_t>(start) * nh + blockIdx.y) * hd;",
        to: "return static_cast<size_t>(start) * nh * hd;",
        module: "attention_fwd",
        workload: "attention_bf16",
        caught: Caught::Finding {
            kinds: BLOCKS,
            kernel: "attention_fwd_hd32_bf16",
            at: &[(
                "attention_fwd.cu",
                "store_fragment<HD>(to(), width, rows, room(), y, factor, false);",
            )],
        },
    },
    Mutation {
        name: "elementwise: every block starts at the first",
        file: "common/elementwise.cuh",
        from: "const u64 first = static_cast<u64>(blockIdx.x) * blockDim.x + threadIdx.x;",
        to: "const u64 first = threadIdx.x;",
        module: "swiglu",
        workload: "swiglu",
        caught: Caught::Finding {
            kinds: BLOCKS,
            kernel: "swiglu_fwd_f32",
            at: &[("swiglu.cu", "store_f32<T, W>(y + i, u);")],
        },
    },
    Mutation {
        name: "sign_sgd_rows: every block that names a row steps it",
        file: "sign_sgd_rows.cu",
        from: "if (other < r) return; // not the first: for all lanes alike",
        to: "",
        module: "sign_sgd_rows",
        workload: "puzzle_rows",
        caught: Caught::Finding {
            kinds: BLOCKS,
            kernel: "sign_sgd_rows_step",
            at: &[
                ("sign_sgd_rows.cu", "load_f32<float, W>(row, w);"),
                ("sign_sgd_rows.cu", "store_f32<float, W>(row, w);"),
            ],
        },
    },
];
