//! Reads of what nothing wrote: accumulators, shared memory, an earlier kernel's output.

use crate::mutation::{Caught, Mutation};

const GLOBAL: &[&str] = &["uninitialised"];
const SHARED: &[&str] = &["shared_uninitialised"];

pub const LIST: &[Mutation] = &[
    Mutation {
        name: "attention: sums not cleared",
        file: "attention_any.cu",
        from: "    clear(c, sums);\n",
        to: "",
        module: "attention_any",
        workload: "attention_f32",
        caught: Caught::Finding {
            kinds: SHARED,
            kernel: "attention_fwd_f32",
            at: &[("attention_any.cu", "const float4 s = sum[(row + i) * c.width() + column];")],
        },
    },
    Mutation {
        name: "embedding: sums not cleared",
        file: "embedding.cu",
        from: "for (int word = 0; word < WORDS; word++) sums[word][me] = {};",
        to: "for (int word = 1; word < WORDS; word++) sums[word][me] = {};",
        module: "embedding",
        workload: "embedding",
        caught: Caught::Finding {
            kinds: SHARED,
            kernel: "embedding_table_part_f32",
            at: &[("embedding.cu", "Vec<float, W> sum = sums[word[j]][me];")],
        },
    },
    Mutation {
        name: "block_sum: sums of warps that there are not",
        file: "common/reduce.cuh",
        from: "warps = blockDim.x / WARP;",
        to: "warps = 16;",
        module: "cross_entropy",
        workload: "cross_entropy",
        caught: Caught::Finding {
            kinds: SHARED,
            kernel: "cross_entropy_fwd_f32",
            at: &[("common/reduce.cuh", "F sum = lane < warps ? partial[lane] : F(0);")],
        },
    },
    Mutation {
        name: "attention: no zeros behind the last key",
        file: "common/attention.cuh",
        from: "row < (rows + STEP - 1) / STEP * STEP;",
        to: "row < rows;",
        module: "attention_fwd",
        workload: "attention_short",
        caught: Caught::Finding {
            kinds: SHARED,
            kernel: "attention_fwd_hd32_bf16",
            at: &[(
                "attention_fwd.cu",
                "if (!TAIL || j < keys) mma_rows<HD>(s[j / 8], s[j / 8 + 1], q, k, j);",
            )],
        },
    },
    Mutation {
        name: "matmul: no zeros behind the last row",
        file: "matmul.cu",
        from: "cp_async_16(to, source, valid);",
        to: "if (valid) cp_async_16(to, source, true);",
        module: "matmul",
        workload: "matmul_bf16",
        caught: Caught::Finding {
            kinds: SHARED,
            kernel: "matmul_fwd_bf16_t64",
            at: &[
                ("matmul.cu", "A::fragments(fa[i], slice,"),
                ("matmul.cu", "B::fragments(fb[j], slice"),
            ],
        },
    },
    Mutation {
        name: "attention: ldmatrix reads rows further than they are apart",
        file: "common/attention.cuh",
        from: "row = lane % 8 + lane / 16 * 8;
    return row * (HD * 2) + chunk_offset<HD>(row, lane / 8 % 2);",
        to: "row = lane % 8 + lane / 16 * 8;
    return row * (HD * 4) + chunk_offset<HD>(row, lane / 8 % 2);",
        module: "attention_fwd",
        workload: "attention_short",
        caught: Caught::Finding {
            kinds: SHARED,
            kernel: "attention_fwd_hd32_bf16",
            at: &[(
                "attention_fwd.cu",
                "if (!TAIL || j < keys) mma_rows<HD>(s[j / 8], s[j / 8 + 1], q, k, j);",
            )],
        },
    },
    // --- what an earlier kernel left out -----------------------------------------------------
    Mutation {
        name: "rms_norm: rstd of the first row left out",
        file: "rms_norm.cu",
        from: "if (lane == 0) rstd[row] = scale;",
        to: "if (lane == 0 && row > 0) rstd[row] = scale;",
        module: "rms_norm",
        workload: "rms_norm",
        caught: Caught::Finding {
            kinds: GLOBAL,
            kernel: "rms_norm_bwd_f32",
            at: &[("rms_norm.cu", "const float scale = rstd[row];")],
        },
    },
    Mutation {
        name: "attention: delta of the last query left out",
        file: "attention_bwd.cu",
        from: "if (row < rows && lane % 4 == 0) delta[",
        to: "if (row + 1 < rows && lane % 4 == 0) delta[",
        module: "attention_bwd",
        workload: "attention_bf16",
        caught: Caught::Finding {
            kinds: GLOBAL,
            kernel: "attention_bwd_dkv_hd32_bf16",
            at: &[(
                "attention_bwd.cu",
                "stat[n] = scales.stats(n < queries, lse + at, n < queries ? delta[at] : 0.0f);",
            )],
        },
    },
    Mutation {
        name: "matmul: a part of the sum more than there are",
        file: "matmul.cu",
        from: "for (u32 p = 0; p < count; p++)",
        to: "for (u32 p = 0; p <= count; p++)",
        module: "matmul",
        workload: "matmul_parts",
        caught: Caught::Finding {
            kinds: &["uninitialised", "out_of_bounds"],
            kernel: "matmul_sum_parts_f32",
            at: &[("matmul.cu", "for (u32 p = 0; p <= count; p++)")],
        },
    },
    Mutation {
        name: "cross_entropy: no gradient for what is not scored",
        file: "cross_entropy.cu",
        from: "for (u32 i = 0; i < v && !add; i++) dx[i] = from_f32<T>(0.0f);
        return;",
        to: "return;",
        module: "cross_entropy",
        workload: "cross_entropy",
        caught: Caught::Finding {
            kinds: GLOBAL,
            kernel: "bias_relu_bwd_f32",
            at: &[("bias_relu.cu", "load_f32<T, W>(dy + at, d);")],
        },
    },
    Mutation {
        name: "swiglu: Set and Add exchanged",
        file: "swiglu.cu",
        from: "if (add) {",
        to: "if (!add) {",
        module: "swiglu",
        workload: "swiglu",
        caught: Caught::Finding {
            kinds: GLOBAL,
            kernel: "swiglu_bwd_f32",
            at: &[("swiglu.cu", "load_f32<T, W>(dx + at, dg);")],
        },
    },
    Mutation {
        name: "matmul: always adds",
        file: "matmul.cu",
        from: "if (add) x += to_f32(*out);",
        to: "x += to_f32(*out);",
        module: "matmul",
        workload: "matmul_f32",
        caught: Caught::Finding {
            kinds: GLOBAL,
            kernel: "matmul_fwd_f32_t64",
            at: &[("matmul.cu", "x += to_f32(*out);")],
        },
    },
    Mutation {
        name: "layer_norm: a part of the rows left out",
        file: "layer_norm.cu",
        from: "store_f32<float, W>(dbias + static_cast<u64>(blockIdx.x) * c + column, of_bias);",
        to: "store_f32<float, W>(dbias + column, of_bias);",
        module: "layer_norm",
        workload: "layer_norm",
        caught: Caught::Finding {
            kinds: &["uninitialised", "block_race"],
            kernel: "layer_norm_part_f32",
            at: &[("layer_norm.cu", "store_f32<float, W>(dbias + column, of_bias);")],
        },
    },
    Mutation {
        name: "global_norm: parts of blocks that there are not",
        file: "global_norm.cu",
        from: "if (threadIdx.x == 0) parts[blockIdx.x] = sum;",
        to: "if (threadIdx.x == 0 && blockIdx.x > 0) parts[blockIdx.x] = sum;",
        module: "global_norm",
        workload: "optimizer",
        caught: Caught::Finding {
            kinds: GLOBAL,
            kernel: "global_norm_guard",
            at: &[(
                "global_norm.cu",
                "for (u32 i = threadIdx.x; i < count; i += GUARD_THREADS) sum += parts[i];",
            )],
        },
    },
];
