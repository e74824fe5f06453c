//! Bugs of who sees whom and of what is dropped, and of attention with a cache.

use crate::mutation::{Caught, Mutation};

const fn values(kernel: &'static str) -> Caught {
    Caught::Values { kernel }
}

pub const LIST: &[Mutation] = &[
    Mutation {
        name: "causal attention: later keys of the diagonal are seen",
        file: "attention_fwd.cu",
        from: "if (TAIL && sight.causal && key + own > query + e / 2 * 8) s[n][e] = NONE;",
        to: "",
        module: "attention_fwd",
        workload: "attention_bf16_sighted",
        caught: values("attention_fwd_sight_hd32_bf16"),
    },
    Mutation {
        name: "causal attention: a step of queries too few for dk and dv",
        file: "attention_bwd.cu",
        from: "first > from ? first - from : 0;",
        to: "first > from ? first + STEP - from : 0;",
        module: "attention_bwd",
        workload: "attention_bf16_sighted",
        caught: values("attention_bwd_dkv_sight_hd32_bf16"),
    },
    Mutation {
        name: "dropout of probabilities: heads share a mask",
        file: "common/sight.cuh",
        from: "first((start * nh + blockIdx.y) * blocks)",
        to: "first(start * nh * blocks)",
        module: "attention_any",
        workload: "attention_f32_sighted",
        caught: values("attention_fwd_sight_f32"),
    },
    Mutation {
        name: "dropout of probabilities: words from the wrong neighbour",
        file: "common/sight.cuh",
        from: "__shfl_xor_sync(0xffffffffu, word_of(own, me ^ 2), 8)",
        to: "__shfl_xor_sync(0xffffffffu, word_of(own, me ^ 2), 4)",
        module: "attention_bwd",
        workload: "attention_short_sighted",
        caught: values("attention_bwd_short_sight_hd32_bf16"),
    },
    Mutation {
        name: "dropout of probabilities: weights met v before they were dropped",
        file: "attention_any.cu",
        from: "                });
                __syncthreads();
            }
        accumulate(",
        to: "                });
            }
        accumulate(",
        module: "attention_any",
        workload: "attention_f32_sighted",
        caught: Caught::Finding {
            kinds: &["shared_race"],
            kernel: "attention_fwd_sight_f32",
            at: &[
                ("attention_any.cu", "accumulate(c, sums, p, v, keys, factor);"),
                ("attention_any.cu", "if (factor == 0.0f) p[key * c.weights() + query] = 0.0f;"),
            ],
        },
    },
    Mutation {
        name: "cached attention: the newest key is not among those seen",
        file: "attention_cached.cu",
        from: "const u32 n = length + 1;",
        to: "const u32 n = length > 0 ? length : 1;",
        module: "attention_cached",
        workload: "attention_cached",
        caught: values("attention_cached_fwd_f32"),
    },
    Mutation {
        name: "cached attention: scores before the newest key is in the cache",
        file: "attention_cached.cu",
        from: "    __syncthreads();
    float max",
        to: "    float max",
        module: "attention_cached",
        workload: "attention_cached",
        caught: Caught::Finding {
            kinds: &["shared_race", "shared_uninitialised"],
            kernel: "attention_cached_fwd_f32",
            at: &[
                ("attention_cached.cu", "s = fmaf(q[i], to_f32(key[i]), s);"),
                ("attention_cached.cu", "q[i] = to_f32("),
            ],
        },
    },
];
