//! Wrong numbers from right addresses: no checker of accesses can see these, the comparison with
//! the CPU must.

use crate::mutation::{Caught, Mutation};

const ATTENTION: Caught = Caught::Values { kernel: "attention_fwd_hd32_bf16" };

pub const LIST: &[Mutation] = &[
    Mutation {
        name: "attention: swizzle of v on one side only",
        file: "common/attention.cuh",
        from: "return row * (HD * 2) + chunk_offset<HD>(row, lane / 16);",
        to: "return row * (HD * 2) + lane / 16 * 16;",
        module: "attention_fwd",
        workload: "attention_bf16",
        caught: ATTENTION,
    },
    Mutation {
        name: "attention: running sum not rescaled",
        file: "attention_fwd.cu",
        from: "sum[r] *= shrink;",
        to: "",
        module: "attention_fwd",
        workload: "attention_bf16",
        caught: ATTENTION,
    },
    Mutation {
        name: "attention: scores behind the last key count",
        file: "attention_fwd.cu",
        from: "if (TAIL && own >= keys) s[n][e] = NONE;",
        to: "",
        module: "attention_fwd",
        workload: "attention_short",
        caught: ATTENTION,
    },
    Mutation {
        name: "attention: fragments of p in another order",
        file: "attention_fwd.cu",
        from: "const float* s2 = &s[j / 8 + i / 2][i % 2 * 2];",
        to: "const float* s2 = &s[j / 8 + i % 2][i / 2 * 2];",
        module: "attention_fwd",
        workload: "attention_bf16",
        caught: ATTENTION,
    },
    Mutation {
        name: "matmul: swizzle of a on one side only",
        file: "matmul.cu",
        from: "if (LAYOUT == K_INNER) ldmatrix_x4(r, slice + offset(e + row, kk / 8));",
        to: "if (LAYOUT == K_INNER) ldmatrix_x4(r, slice + ((e + row) * CHUNKS + kk / 8) * 8);",
        module: "matmul",
        workload: "matmul_bf16",
        caught: Caught::Values { kernel: "matmul_fwd_bf16_t64" },
    },
    Mutation {
        name: "matmul: b not transposed on its way",
        file: "matmul.cu",
        from: "else ldmatrix_x4_trans(r, slice + offset(kk + row, e / 8));",
        to: "else ldmatrix_x4(r, slice + offset(kk + row, e / 8));",
        module: "matmul",
        workload: "matmul_bf16",
        caught: Caught::Values { kernel: "matmul_bwd_dx_bf16_t64" },
    },
    Mutation {
        name: "matmul: halves of a fragment exchanged",
        file: "matmul.cu",
        from: "fb[j / 2][j % 2 * 2], fb[j / 2][j % 2 * 2 + 1]);",
        to: "fb[j / 2][j % 2 * 2 + 1], fb[j / 2][j % 2 * 2]);",
        module: "matmul",
        workload: "matmul_bf16",
        caught: Caught::Values { kernel: "matmul_fwd_bf16_t64" },
    },
    // Registers that nothing wrote: the simulator has NaN in them.
    Mutation {
        name: "matmul: accumulators not cleared",
        file: "matmul.cu",
        from: "WarpTile() : acc() {",
        to: "WarpTile() {",
        module: "matmul",
        workload: "matmul_bf16",
        caught: Caught::Values { kernel: "matmul_fwd_bf16_t64" },
    },
    Mutation {
        name: "warp_sum: the last step left out",
        file: "common/reduce.cuh",
        from: "for (int d = WARP / 2; d > 0; d /= 2) x += __shfl_xor_sync(ALL_LANES, x, d);",
        to: "for (int d = WARP / 2; d > 1; d /= 2) x += __shfl_xor_sync(ALL_LANES, x, d);",
        module: "rms_norm",
        workload: "rms_norm",
        caught: Caught::Values { kernel: "rms_norm_fwd_f32" },
    },
    Mutation {
        name: "transpose: a gradient overwritten where it is to be added to",
        file: "transpose.cu",
        from: "*to = add ? from_f32<T>(to_f32(*to) + to_f32(v)) : v;",
        to: "*to = v;",
        module: "transpose",
        workload: "transpose",
        caught: Caught::Values { kernel: "transpose_fwd_f32" },
    },
    Mutation {
        name: "act_halt: the reset of every slot",
        file: "act_halt.cu",
        from: "if (!halted[blockIdx.x]) return;
    const u64 first = starts[blockIdx.x];
    const u32 n = (starts[blockIdx.x + 1] - first) * c;",
        to: "const u64 first = starts[blockIdx.x];
    const u32 n = (starts[blockIdx.x + 1] - first) * c;",
        module: "act_halt",
        workload: "act_halt",
        caught: Caught::Values { kernel: "act_halt_reset_f32" },
    },
    Mutation {
        name: "philox: a round less",
        file: "common/philox.cuh",
        from: "round < 10",
        to: "round < 9",
        module: "dropout",
        workload: "dropout",
        caught: Caught::Values { kernel: "dropout_fwd_bf16" },
    },
];
