//! Access of the wrong width: vectors where the address allows none.

use crate::mutation::{Caught, Mutation};

const MISALIGNED: &[&str] = &["misaligned"];

pub const LIST: &[Mutation] = &[
    Mutation {
        name: "elementwise: 4 bytes of alignment pass for 16",
        file: "common/elementwise.cuh",
        from: "return ((reinterpret_cast<u64>(p) | ...) % 16) == 0;",
        to: "return ((reinterpret_cast<u64>(p) | ...) % 4) == 0;",
        module: "add",
        workload: "add_views",
        caught: Caught::Finding {
            kinds: MISALIGNED,
            kernel: "add_fwd_f32",
            at: &[("add.cu", "load_f32<T, W>(a + i, sum);")],
        },
    },
    Mutation {
        name: "row: widths that are no multiple of a piece",
        file: "common/row.cuh",
        from: "return c <= MAX_HELD && c % N == 0;",
        to: "return c <= MAX_HELD;",
        module: "rms_norm",
        workload: "rms_norm",
        caught: Caught::Finding {
            kinds: &["misaligned", "out_of_bounds"],
            kernel: "rms_norm_fwd_f32",
            at: &[("common/row.cuh", "if (start(k) < c) piece[k] =")],
        },
    },
    Mutation {
        name: "matmul: 16-byte copies of unaligned rows",
        file: "matmul.cu",
        from: "const bool aligned = !ANY || ((LAYOUT == K_INNER ? k : extent) % 8 == 0 &&
                                      reinterpret_cast<u64>(from) % 16 == 0);",
        to: "const bool aligned = true;",
        module: "matmul",
        workload: "matmul_bf16_any",
        caught: Caught::Finding {
            kinds: MISALIGNED,
            kernel: "matmul_fwd_bf16_any",
            at: &[("matmul.cu", "cp_async_16(to, source, valid);")],
        },
    },
    Mutation {
        name: "matmul: pairs stored in rows of odd width",
        file: "matmul.cu",
        from: "const bool paired = n % 2 == 0 &&",
        to: "const bool paired =",
        module: "matmul",
        workload: "matmul_bf16_any",
        caught: Caught::Finding {
            kinds: MISALIGNED,
            kernel: "matmul_fwd_bf16_any",
            at: &[("matmul.cu", "store_f32<Out, 2>(out, x);")],
        },
    },
    Mutation {
        name: "attention: ldmatrix between two chunks",
        file: "common/attention.cuh",
        from: "return row * (HD * 2) + chunk_offset<HD>(row, lane / 8 % 2);",
        to: "return row * (HD * 2) + chunk_offset<HD>(row, lane / 8 % 2) + 8;",
        module: "attention_fwd",
        workload: "attention_short",
        caught: Caught::Finding {
            kinds: MISALIGNED,
            kernel: "attention_fwd_hd32_bf16",
            at: &[(
                "attention_fwd.cu",
                "if (!TAIL || j < keys) mma_rows<HD>(s[j / 8], s[j / 8 + 1], q, k, j);",
            )],
        },
    },
];
