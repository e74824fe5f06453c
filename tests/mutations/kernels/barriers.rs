//! Barriers and shuffles that not all who must take part in reach, and masks that lie.

use crate::mutation::{Caught, Mutation};

const BARRIER: &[&str] = &["barrier_divergence", "deadlock"];

pub const LIST: &[Mutation] = &[
    Mutation {
        name: "column_sum: threads without a column leave early",
        file: "common/column_sum.cuh",
        from: "float sum = 0.0f;",
        to: "if (j >= width) return;
    float sum = 0.0f;",
        module: "layer_norm",
        workload: "layer_norm",
        caught: Caught::Finding {
            kinds: BARRIER,
            kernel: "layer_norm_sum",
            at: &[("common/column_sum.cuh", "__syncthreads();")],
        },
    },
    Mutation {
        name: "matmul: barrier in a branch that part of a warp takes",
        file: "matmul.cu",
        from: "sums[warp][lane] = sum;
    __syncthreads();",
        to: "sums[warp][lane] = sum;
    if (col < n) __syncthreads();",
        module: "matmul",
        workload: "matmul_f32",
        caught: Caught::Finding {
            kinds: BARRIER,
            kernel: "matmul_bwd_db_f32",
            at: &[("matmul.cu", "if (col < n) __syncthreads();")],
        },
    },
    Mutation {
        name: "attention: a warp without rows leaves before the barrier",
        file: "attention_fwd.cu",
        from: "const u32 rows = first < len ? len - first : 0;",
        to: "const u32 rows = first < len ? len - first : 0;
    if (rows == 0) return;",
        module: "attention_fwd",
        workload: "attention_bf16",
        caught: Caught::Finding {
            kinds: &["barrier_divergence", "deadlock", "shared_uninitialised"],
            kernel: "attention_fwd_hd32_bf16",
            at: &[(
                "attention_fwd.cu",
                "__syncthreads(); // tile j is complete, and nobody reads the other stage any more",
            )],
        },
    },
    Mutation {
        name: "attention: rows without keys pass the barrier by",
        file: "attention_any.cu",
        from: "for (u32 j0 = 0; j0 < seen; j0 += c.r) {
        const u32 keys = min(c.r, seen - j0);",
        to: "for (u32 j0 = 0; j0 < seen; j0 += c.r) {
        const u32 keys = min(c.r, seen - j0);
        if (row >= keys) continue;",
        module: "attention_any",
        workload: "attention_f32",
        caught: Caught::Finding {
            kinds: BARRIER,
            kernel: "attention_fwd_f32",
            at: &[(
                "attention_any.cu",
                "if (row >= keys) continue;
        load(c, k, qkv + c.part(1), c.stride(), j0, cos, sin);
        load(c, v, qkv + c.part(2), c.stride(), j0, nullptr, nullptr);
        __syncthreads();",
            )],
        },
    },
    Mutation {
        name: "global_norm: one thread alone asks whether all are finite",
        file: "global_norm.cu",
        from: "finite = __syncthreads_and(finite);
    if (threadIdx.x > 0) return;",
        to: "if (threadIdx.x > 0) return;
    finite = __syncthreads_and(finite);",
        module: "global_norm",
        workload: "optimizer",
        caught: Caught::Finding {
            kinds: BARRIER,
            kernel: "global_norm_guard",
            at: &[("global_norm.cu", "finite = __syncthreads_and(finite);")],
        },
    },
    Mutation {
        name: "cross_entropy: threads leave before the block's sum",
        file: "cross_entropy.cu",
        from: "if (labels[t] == IGNORE) continue;",
        to: "if (labels[t] == IGNORE) return;",
        module: "cross_entropy",
        workload: "cross_entropy",
        caught: Caught::Finding {
            kinds: &["sync_mask", "barrier_divergence"],
            kernel: "cross_entropy_fwd_f32",
            at: &[("common/reduce.cuh", "x += __shfl_xor_sync(ALL_LANES, x, d);")],
        },
    },
    Mutation {
        name: "attention: half of the warp is missing in the mask",
        file: "common/attention.cuh",
        from: "x += __shfl_xor_sync(0xffffffffu, x, 1);",
        to: "x += __shfl_xor_sync(0x0000ffffu, x, 1);",
        module: "attention_fwd",
        workload: "attention_bf16",
        caught: Caught::Finding {
            kinds: &["sync_mask"],
            kernel: "attention_fwd_hd32_bf16",
            at: &[("common/attention.cuh", "x += __shfl_xor_sync(0x0000ffffu, x, 1);")],
        },
    },
    Mutation {
        name: "attention: sum over lanes of which three do not call",
        file: "attention_fwd.cu",
        from: "sum[r] = quad_sum(sum[r]);",
        to: "if (lane % 4 == 0) sum[r] = quad_sum(sum[r]);",
        module: "attention_fwd",
        workload: "attention_bf16",
        caught: Caught::Finding {
            kinds: &["sync_mask"],
            kernel: "attention_fwd_hd32_bf16",
            at: &[("attention_fwd.cu", "if (lane % 4 == 0) sum[r] = quad_sum(sum[r]);")],
        },
    },
    Mutation {
        name: "attention: shuffle from a lane that takes no part",
        file: "attention_fwd.cu",
        from: "sum[r] = quad_sum(sum[r]);",
        to: "if (lane % 4 == 0) sum[r] += __shfl_xor_sync(0x11111111u, sum[r], 1);",
        module: "attention_fwd",
        workload: "attention_bf16",
        caught: Caught::Finding {
            kinds: &["inactive_lane"],
            kernel: "attention_fwd_hd32_bf16",
            at: &[("attention_fwd.cu", "__shfl_xor_sync(0x11111111u, sum[r], 1);")],
        },
    },
    Mutation {
        name: "attention: rows past the last leave the row's sum",
        file: "attention_any.cu",
        from: "if (row < c.r) {
            float new_max = max;",
        to: "if (first + row < c.t) {
            float new_max = max;",
        module: "attention_any",
        workload: "attention_f32",
        caught: Caught::Finding {
            kinds: &["sync_mask"],
            kernel: "attention_fwd_f32",
            at: &[(
                "attention_any.cu",
                "new_max = fmaxf(new_max, __shfl_xor_sync(0xffffffffu, new_max, 1));",
            )],
        },
    },
    Mutation {
        name: "sign_sgd_rows: a ballot after lanes have left",
        file: "sign_sgd_rows.cu",
        from: "float sum[W] = {};",
        to: "if (column >= d) return;
    float sum[W] = {};",
        module: "sign_sgd_rows",
        workload: "puzzle_rows",
        caught: Caught::Finding {
            kinds: &["sync_mask"],
            kernel: "sign_sgd_rows_step",
            at: &[("sign_sgd_rows.cu", "u32 same = __ballot_sync(ALL_LANES,")],
        },
    },
    Mutation {
        name: "sign_sgd_rows: half of the warp is missing in the mask",
        file: "sign_sgd_rows.cu",
        from: "__ballot_sync(ALL_LANES,",
        to: "__ballot_sync(ALL_LANES >> 16,",
        module: "sign_sgd_rows",
        workload: "puzzle_rows",
        caught: Caught::Finding {
            kinds: &["sync_mask"],
            kernel: "sign_sgd_rows_step",
            at: &[("sign_sgd_rows.cu", "u32 same = __ballot_sync(ALL_LANES >> 16,")],
        },
    },
];
