//! One row, column, position or part too many, read or written, in global and in shared memory.

use crate::mutation::{Caught, Mutation};

const GLOBAL: &[&str] = &["out_of_bounds"];
const SHARED: &[&str] = &["shared_out_of_bounds"];

pub const LIST: &[Mutation] = &[
    Mutation {
        name: "rms_norm: a row past the last",
        file: "rms_norm.cu",
        from: "if (row >= n) return;
    const u64 start = static_cast<u64>(row) * c;
    y += start, x += start;",
        to: "if (row > n) return;
    const u64 start = static_cast<u64>(row) * c;
    y += start, x += start;",
        module: "rms_norm",
        workload: "rms_norm",
        caught: Caught::Finding {
            kinds: GLOBAL,
            kernel: "rms_norm_fwd_f32",
            at: &[(
                "rms_norm.cu",
                "const T s = r ? from_f32<T>(to_f32(x[i]) + to_f32(r[i])) : x[i];",
            )],
        },
    },
    Mutation {
        name: "transpose: a row past the last",
        file: "transpose.cu",
        from: "if (row + i < rows && col + lane < cols)",
        to: "if (row + i <= rows && col + lane < cols)",
        module: "transpose",
        workload: "transpose",
        caught: Caught::Finding {
            kinds: GLOBAL,
            kernel: "transpose_fwd_f32",
            at: &[(
                "transpose.cu",
                "square[i][lane] = x[static_cast<u64>(row + i) * cols + col + lane];",
            )],
        },
    },
    Mutation {
        name: "row: a piece past the width",
        file: "common/row.cuh",
        from: "if (start(k) < c) piece[k] =",
        to: "if (start(k) <= c) piece[k] =",
        module: "rms_norm",
        workload: "rms_norm_wide",
        caught: Caught::Finding {
            kinds: GLOBAL,
            kernel: "rms_norm_fwd_bf16",
            at: &[("common/row.cuh", "if (start(k) <= c) piece[k] =")],
        },
    },
    Mutation {
        name: "cross_entropy: a position past the last",
        file: "cross_entropy.cu",
        from: "if (position >= n) return;",
        to: "if (position > n) return;",
        module: "cross_entropy",
        workload: "cross_entropy",
        caught: Caught::Finding {
            kinds: GLOBAL,
            kernel: "cross_entropy_bwd_f32",
            at: &[("common/layout.cuh", "row(row_of[n])")],
        },
    },
    Mutation {
        name: "cross_entropy: labels are not counted from the prefix",
        file: "common/layout.cuh",
        from: "cell(n - (row + 1) * p)",
        to: "cell(n - row * p)",
        module: "cross_entropy",
        workload: "cross_entropy",
        caught: Caught::Finding {
            kinds: GLOBAL,
            kernel: "cross_entropy_bwd_f32",
            at: &[("cross_entropy.cu", "const int label = at.t < p ? IGNORE : labels[at.cell];")],
        },
    },
    Mutation {
        name: "matmul: rows of out past the last",
        file: "matmul.cu",
        from: "if (row + 8 * i >= m) break;
        Out* out_row",
        to: "if (row + 8 * i > m) break;
        Out* out_row",
        module: "matmul",
        workload: "matmul_bf16",
        caught: Caught::Finding {
            kinds: GLOBAL,
            kernel: "matmul_fwd_bf16_t64",
            at: &[(
                "matmul.cu",
                "store_two(out_row + col + 8 * j, bias, x[0], x[1], col + 8 * j, n, paired, add);",
            )],
        },
    },
    // The neighbour's first column, and at the end nobody's.
    Mutation {
        name: "matmul: a column of out past the last",
        file: "matmul.cu",
        from: "if (col + 1 < n) store_one(out + 1,",
        to: "if (col < n) store_one(out + 1,",
        module: "matmul",
        workload: "matmul_bf16_any",
        caught: Caught::Finding {
            kinds: &["out_of_bounds", "global_race", "block_race"],
            kernel: "matmul_fwd_bf16_any",
            at: &[
                ("matmul.cu", "if (col < n) store_one(out + 1,"),
                ("matmul.cu", "if (col < n) store_one(out, bias, x0, col, add);"),
            ],
        },
    },
    Mutation {
        name: "matmul: a row of an operand past the last",
        file: "matmul.cu",
        from: "const bool valid = e < extent && kk < k_end;",
        to: "const bool valid = e <= extent && kk < k_end;",
        module: "matmul",
        workload: "matmul_bf16",
        caught: Caught::Finding {
            kinds: GLOBAL,
            kernel: "matmul_fwd_bf16_t64",
            at: &[("matmul.cu", "cp_async_16(to, source, valid);")],
        },
    },
    Mutation {
        name: "matmul: an element past an unaligned row",
        file: "matmul.cu",
        from: "v.at[j] = valid && j < room ? source[j] : bf16(0.0f);",
        to: "v.at[j] = valid && j <= room ? source[j] : bf16(0.0f);",
        module: "matmul",
        workload: "matmul_bf16_any",
        caught: Caught::Finding {
            kinds: GLOBAL,
            kernel: "matmul_fwd_bf16_any",
            at: &[("matmul.cu", "v.at[j] = valid && j <= room ? source[j] : bf16(0.0f);")],
        },
    },
    Mutation {
        name: "attention: queries past the last",
        file: "common/attention.cuh",
        from: "= row < rows ? at[4 * n] : 0;",
        to: "= at[4 * n];",
        module: "attention_fwd",
        workload: "attention_bf16",
        caught: Caught::Finding {
            kinds: GLOBAL,
            kernel: "attention_fwd_hd32_bf16",
            at: &[("common/attention.cuh", "pair_at<HD>(a, n, r) = at[4 * n];")],
        },
    },
    Mutation {
        name: "attention: places past the last position",
        file: "common/attention.cuh",
        from: "if (row >= rows) return;
        const u32 angles",
        to: "const u32 angles",
        module: "attention_fwd",
        workload: "attention_bf16",
        caught: Caught::Finding {
            kinds: GLOBAL,
            kernel: "attention_fwd_hd32_bf16",
            at: &[(
                "common/attention.cuh",
                "__device__ __forceinline__ u32 place(u32 row) const { return places[first + row]; }",
            )],
        },
    },
    Mutation {
        name: "attention: lse of rows past the last",
        file: "attention_fwd.cu",
        from: "if (lane % 4 == 0 && row < len)",
        to: "if (lane % 4 == 0)",
        module: "attention_fwd",
        workload: "attention_bf16",
        caught: Caught::Finding {
            kinds: &["out_of_bounds", "block_race"],
            kernel: "attention_fwd_hd32_bf16",
            at: &[("attention_fwd.cu", "lse[head.lse() + row] =")],
        },
    },
    Mutation {
        name: "attention: keys past the last",
        file: "attention_any.cu",
        from: "if (at < c.t) {
                v = to_f32(from[i]);",
        to: "if (at <= c.t) {
                v = to_f32(from[i]);",
        module: "attention_any",
        workload: "attention_f32",
        caught: Caught::Finding {
            kinds: GLOBAL,
            kernel: "attention_fwd_f32",
            at: &[
                ("attention_any.cu", "v = to_f32(from[i]);"),
                (
                    "attention_any.cu",
                    "v = rounded<T>(v * cos[angle + i] + other * sin[angle + i]);",
                ),
            ],
        },
    },
    Mutation {
        name: "elementwise: a whole piece where there is a rest",
        file: "common/elementwise.cuh",
        from: "done = n / N * N;",
        to: "done = (n + N - 1) / N * N;",
        module: "adam",
        workload: "optimizer",
        caught: Caught::Finding {
            kinds: GLOBAL,
            kernel: "adam_atan2_step",
            at: &[("adam.cu", "load_f32<float, W>(p + i, pi);")],
        },
    },
    Mutation {
        name: "embedding: tokens are not counted from the prefix",
        file: "common/layout.cuh",
        from: "cell(n - (row + 1) * p)",
        to: "cell(n - row * p)",
        module: "embedding",
        workload: "embedding",
        caught: Caught::Finding {
            kinds: GLOBAL,
            kernel: "embedding_fwd_f32",
            at: &[("embedding.cu", "const u32 id = tokens[at.cell];")],
        },
    },
    Mutation {
        name: "embedding: a part's last rows are past the last",
        file: "embedding.cu",
        from: "end = min(start + ROWS_PER_PART, n);",
        to: "end = start + ROWS_PER_PART;",
        module: "embedding",
        workload: "embedding",
        caught: Caught::Finding {
            kinds: GLOBAL,
            kernel: "embedding_table_part_f32",
            at: &[
                ("embedding.cu", "word[j] = tokens[cell + j] - first_word;"),
                ("embedding.cu", "while (row_end <= cell + j) row_end = starts[++row + 1];"),
                ("embedding.cu", "load_f32<T, W>(dy + at * c + column, d[j]);"),
            ],
        },
    },
    Mutation {
        name: "dropout: n counted in bytes",
        file: "dropout.cu",
        from: "each_piece<16 / sizeof(T)>(n, aligned(y, x),",
        to: "each_piece<16 / sizeof(T)>(n * sizeof(T), aligned(y, x),",
        module: "dropout",
        workload: "dropout",
        caught: Caught::Finding {
            kinds: &["out_of_bounds", "uninitialised"],
            kernel: "dropout_fwd_bf16",
            at: &[("dropout.cu", "load_f32<T, W>(x + i, v);")],
        },
    },
    // --- shared memory -----------------------------------------------------------------------
    Mutation {
        name: "column_sum: a warp past the last",
        file: "common/column_sum.cuh",
        from: "for (int w = 1; w < SUM_WARPS; w++)",
        to: "for (int w = 1; w <= SUM_WARPS; w++)",
        module: "layer_norm",
        workload: "layer_norm",
        caught: Caught::Finding {
            kinds: SHARED,
            kernel: "layer_norm_sum",
            at: &[("common/column_sum.cuh", "sum += partial[w][lane];")],
        },
    },
    Mutation {
        name: "matmul: a stage less than are used",
        file: "matmul.cu",
        from: "__shared__ alignas(128) bf16 slices[STAGES][A::ELEMS + B::ELEMS];",
        to: "__shared__ alignas(128) bf16 slices[STAGES - 1][A::ELEMS + B::ELEMS];",
        module: "matmul",
        workload: "matmul_bf16",
        caught: Caught::Finding {
            kinds: SHARED,
            kernel: "matmul_fwd_bf16_t64",
            at: &[
                ("matmul.cu", "A::template fill<ANY>(slice"),
                ("matmul.cu", "B::template fill<ANY>(slice"),
            ],
        },
    },
    Mutation {
        name: "attention: rows wider than the launch counts",
        file: "attention_any.cu",
        from: "return hd / 4 | 1;",
        to: "return (hd / 4 | 1) + 2;",
        module: "attention_any",
        workload: "attention_f32",
        caught: Caught::Finding {
            kinds: SHARED,
            kernel: "attention_fwd_f32",
            at: &[
                (
                    "attention_any.cu",
                    "*reinterpret_cast<float4*>(p + (j + e * c.r / 2) * c.weights() + i) =",
                ),
                (
                    "attention_any.cu",
                    "make_float4(s[0][e] * c.scale, s[1][e] * c.scale, s[2][e] * c.scale,",
                ),
            ],
        },
    },
];
