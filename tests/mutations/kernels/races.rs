//! Accesses of one block that nothing orders: barriers that are missing or in the wrong place.

use crate::mutation::{Caught, Mutation};

const SHARED: &[&str] = &["shared_race"];
const COPY: &[&str] = &["async_copy", "shared_race"];

pub const LIST: &[Mutation] = &[
    // --- between warps -----------------------------------------------------------------------
    Mutation {
        name: "matmul: no barrier behind the copies' wait",
        file: "matmul.cu",
        from: "__syncthreads(); // slice `step`",
        to: "// slice `step`",
        module: "matmul",
        workload: "matmul_bf16",
        caught: Caught::Finding {
            kinds: &["shared_race", "shared_uninitialised"],
            kernel: "matmul_fwd_bf16_t64",
            at: &[
                ("matmul.cu", "A::fragments(fa[i], slice,"),
                ("matmul.cu", "B::fragments(fb[j], slice"),
            ],
        },
    },
    // Needs three slices: the one filled is the one read before.
    Mutation {
        name: "matmul: next slice filled before the barrier",
        file: "matmul.cu",
        from: "__syncthreads(); // slice `step` is complete, and no warp still reads the one \
               filled next
        fill(step + STAGES - 1);",
        to: "fill(step + STAGES - 1);
        __syncthreads();",
        module: "matmul",
        workload: "matmul_bf16",
        caught: Caught::Finding {
            kinds: COPY,
            kernel: "matmul_fwd_bf16_t64",
            at: &[
                ("matmul.cu", "A::template fill<ANY>(slice"),
                ("matmul.cu", "B::template fill<ANY>(slice"),
            ],
        },
    },
    Mutation {
        name: "transpose: columns read before all rows are there",
        file: "transpose.cu",
        from: "__syncthreads();",
        to: "",
        module: "transpose",
        workload: "transpose",
        caught: Caught::Finding {
            kinds: &["shared_race", "shared_uninitialised"],
            kernel: "transpose_fwd_f32",
            at: &[("transpose.cu", "const T v = square[lane][i];")],
        },
    },
    Mutation {
        name: "attention: no barrier behind the tile",
        file: "attention_fwd.cu",
        from: "__syncthreads(); // tile j is complete, and nobody reads the other stage any more",
        to: "",
        module: "attention_fwd",
        workload: "attention_bf16",
        caught: Caught::Finding {
            kinds: &["shared_race", "shared_uninitialised"],
            kernel: "attention_fwd_hd32_bf16",
            at: &[
                ("attention_fwd.cu", "attend<HD, false>(q, kj, vj, TILE"),
                ("attention_fwd.cu", "if (j + TILE < seen) copy(j + TILE);"),
            ],
        },
    },
    // Needs three tiles.
    Mutation {
        name: "attention: next tile copied before the barrier",
        file: "attention_fwd.cu",
        from: "__syncthreads(); // tile j is complete, and nobody reads the other stage any more
        if (j + TILE < seen) copy(j + TILE);",
        to: "if (j + TILE < seen) copy(j + TILE);
        __syncthreads();",
        module: "attention_fwd",
        workload: "attention_bf16",
        caught: Caught::Finding {
            kinds: COPY,
            kernel: "attention_fwd_hd32_bf16",
            at: &[("attention_fwd.cu", "if (j + TILE < seen) copy(j + TILE);")],
        },
    },
    Mutation {
        name: "attention: one buffer for two stages of lse",
        file: "attention_bwd.cu",
        from: "stat = stats[i / TILE % 2];",
        to: "stat = stats[0];",
        module: "attention_bwd",
        workload: "attention_bf16",
        caught: Caught::Finding {
            kinds: SHARED,
            kernel: "attention_bwd_dkv_hd32_bf16",
            at: &[
                ("attention_bwd.cu", "stat[n] = scales.stats("),
                ("attention_bwd.cu", "*reinterpret_cast<const float4*>(stats + i"),
            ],
        },
    },
    Mutation {
        name: "attention: lse and delta used before all are there",
        file: "attention_bwd.cu",
        from: "    }
    __syncthreads();

    bf16* to = dqkv",
        to: "    }

    bf16* to = dqkv",
        module: "attention_bwd",
        workload: "attention_short",
        caught: Caught::Finding {
            kinds: &["shared_race", "shared_uninitialised"],
            kernel: "attention_bwd_short_hd32_bf16",
            at: &[("attention_bwd.cu", "key_pass<HD>(dk, dv, a, b, stats, q_rows,")],
        },
    },
    Mutation {
        name: "attention: weights used before all are there",
        file: "attention_any.cu",
        from: "if (lane == 0) factor[row] = shrink;
        }
        __syncthreads();",
        to: "if (lane == 0) factor[row] = shrink;
        }
        __syncwarp();",
        module: "attention_any",
        workload: "attention_f32",
        caught: Caught::Finding {
            kinds: &["shared_race", "shared_uninitialised"],
            kernel: "attention_fwd_f32",
            at: &[("attention_any.cu", "accumulate(c, sums, p, v, keys, factor);")],
        },
    },
    Mutation {
        name: "attention: next keys loaded over those in use",
        file: "attention_any.cu",
        from: "accumulate(c, sums, p, v, keys, factor);
        __syncthreads();",
        to: "accumulate(c, sums, p, v, keys, factor);",
        module: "attention_any",
        workload: "attention_f32",
        caught: Caught::Finding {
            kinds: SHARED,
            kernel: "attention_fwd_f32",
            at: &[
                ("attention_any.cu", "accumulate(c, sums, p, v, keys, factor);"),
                (
                    "attention_any.cu",
                    "const u32 keys = min(c.r, seen - j0);
        load(c, k, qkv + c.part(1), c.stride(), j0, cos, sin);",
                ),
                (
                    "attention_any.cu",
                    "const u32 keys = min(c.r, seen - j0);
        load(c, k, qkv + c.part(1), c.stride(), j0, cos, sin);
        load(c, v, qkv + c.part(2), c.stride(), j0, nullptr, nullptr);",
                ),
            ],
        },
    },
    Mutation {
        name: "block_sum: no barrier before the sum of sums",
        file: "common/reduce.cuh",
        from: "if (lane == 0) partial[warp] = x;
    __syncthreads();",
        to: "if (lane == 0) partial[warp] = x;",
        module: "cross_entropy",
        workload: "cross_entropy",
        caught: Caught::Finding {
            kinds: &["shared_race", "shared_uninitialised"],
            kernel: "cross_entropy_fwd_f32",
            at: &[("common/reduce.cuh", "F sum = lane < warps ? partial[lane] : F(0);")],
        },
    },
    Mutation {
        name: "block_sum: partial sums overwritten by the next call",
        file: "common/reduce.cuh",
        from: "sum = warp_sum(sum);
    __syncthreads();",
        to: "sum = warp_sum(sum);",
        module: "cross_entropy",
        workload: "cross_entropy",
        caught: Caught::Finding {
            kinds: SHARED,
            kernel: "cross_entropy_fwd_f32",
            at: &[
                ("common/reduce.cuh", "if (lane == 0) partial[warp] = x;"),
                ("common/reduce.cuh", "F sum = lane < warps ? partial[lane] : F(0);"),
            ],
        },
    },
    Mutation {
        name: "column_sum: a warp's barrier for a block's",
        file: "common/column_sum.cuh",
        from: "__syncthreads();",
        to: "__syncwarp();",
        module: "layer_norm",
        workload: "layer_norm",
        caught: Caught::Finding {
            kinds: &["shared_race", "shared_uninitialised"],
            kernel: "layer_norm_sum",
            at: &[("common/column_sum.cuh", "sum += partial[w][lane];")],
        },
    },
    // --- within a warp -----------------------------------------------------------------------
    Mutation {
        name: "attention: lanes rotate what others copied, unsynchronised",
        file: "common/attention.cuh",
        from: "    __syncwarp();\n",
        to: "",
        module: "attention_fwd",
        workload: "attention_bf16",
        caught: Caught::Finding {
            kinds: SHARED,
            kernel: "attention_fwd_hd32_bf16",
            at: &[("common/attention.cuh", "uint2 x1 = *at1, x2 = *at2;")],
        },
    },
    Mutation {
        name: "rms_norm: a lane reads what its neighbour stored",
        file: "rms_norm.cu",
        from: "for (u32 i = lane; i < c; i += WARP) y[i] = from_f32<T>(to_f32(y[i]) * scale);",
        to: "for (u32 i = lane ^ 1; i < c; i += WARP) y[i] = from_f32<T>(to_f32(y[i]) * scale);",
        module: "rms_norm",
        workload: "rms_norm",
        caught: Caught::Finding {
            kinds: &["global_race"],
            kernel: "rms_norm_fwd_f32",
            at: &[("rms_norm.cu", "for (u32 i = lane ^ 1; i < c; i += WARP)")],
        },
    },
];
