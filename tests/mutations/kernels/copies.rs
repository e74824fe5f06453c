//! Asynchronous copies that are read before they are waited for.

use crate::mutation::{Caught, Mutation};

pub const LIST: &[Mutation] = &[
    Mutation {
        name: "matmul: one group too many in flight",
        file: "matmul.cu",
        from: "cp_async_wait<STAGES - 2>();
        __syncthreads(); // slice",
        to: "cp_async_wait<STAGES - 1>();
        __syncthreads(); // slice",
        module: "matmul",
        workload: "matmul_bf16",
        caught: Caught::Finding {
            kinds: &["async_copy"],
            kernel: "matmul_fwd_bf16_t64",
            at: &[("matmul.cu", "A::fragments(fa[i], slice,")],
        },
    },
    Mutation {
        name: "matmul f32: one group too many in flight",
        file: "matmul.cu",
        from: "cp_async_wait<STAGES - 2>();
        __syncthreads(); // as above",
        to: "cp_async_wait<STAGES - 1>();
        __syncthreads(); // as above",
        module: "matmul",
        workload: "matmul_f32",
        caught: Caught::Finding {
            kinds: &["async_copy"],
            kernel: "matmul_fwd_f32_t64",
            at: &[("matmul.cu", "const float4 lo = *reinterpret_cast<const float4*>(line);")],
        },
    },
    // The last slices are then still in flight when they are read.
    Mutation {
        name: "matmul: no empty groups at the end",
        file: "matmul.cu",
        from: "        }
        cp_async_commit(); // also when empty: the wait below counts groups",
        to: "        cp_async_commit();
        }",
        module: "matmul",
        workload: "matmul_bf16",
        caught: Caught::Finding {
            kinds: &["async_copy"],
            kernel: "matmul_fwd_bf16_t64",
            at: &[("matmul.cu", "A::fragments(fa[i], slice,")],
        },
    },
    Mutation {
        name: "attention: tile rotated while it arrives",
        file: "attention_fwd.cu",
        from: "cp_async_wait<0>();",
        to: "cp_async_wait<1>();",
        module: "attention_fwd",
        workload: "attention_bf16",
        caught: Caught::Finding {
            kinds: &["async_copy"],
            kernel: "attention_fwd_hd32_bf16",
            at: &[("common/attention.cuh", "uint2 x1 = *at1, x2 = *at2;")],
        },
    },
    Mutation {
        name: "attention: copies never committed",
        file: "common/attention.cuh",
        from: "    });
    cp_async_commit();",
        to: "    });",
        module: "attention_bwd",
        workload: "attention_bf16",
        caught: Caught::Finding {
            kinds: &["async_copy"],
            kernel: "attention_bwd_dq_hd32_bf16",
            at: &[("common/attention.cuh", "uint2 x1 = *at1, x2 = *at2;")],
        },
    },
];
