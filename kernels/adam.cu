// adam: contract and formula in src/ops/adam/mod.rs; a kernel for each rule.
//
//   p, g, m, v (n) f32    copy (n) bf16 or null: p rounded
//   Guard and factors are read from device memory, since a captured step is replayed with others.
#include "common/elementwise.cuh"
#include "common/records.cuh"

// `Factors` of src/ops/adam/mod.rs.
struct Factors {
    float decay, beta1, beta2, step, v_scale;
};

struct AdamAtan2 {
    // atan2 for x >= 0 without a branch, as src/ops/adam/cpu.rs has it.
    static __device__ __forceinline__ float change(float step, float m, float rms) {
        const float a = fabsf(m);
        const float small = fminf(a, rms), large = fmaxf(a, rms);
        float t = large > 0.0f ? small / large : 0.0f;
        const bool upper = t > 0.41421357f;
        t = upper ? (t - 1.0f) / (t + 1.0f) : t;
        const float z = t * t;
        const float poly =
            ((8.0537446e-2f * z - 1.3877686e-1f) * z + 1.997771e-1f) * z - 3.333295e-1f;
        float angle = poly * z * t + t + (upper ? 0.785398163f : 0.0f);
        angle = a > rms ? 1.570796327f - angle : angle;
        return step * copysignf(angle, m);
    }
};

struct AdamW {
    static __device__ __forceinline__ float change(float step, float m, float rms) {
        return step * m / (rms + 1e-8f);
    }
};

template <typename Rule>
__device__ __forceinline__ void step(float* p, bf16* copy, float* m, float* v, const float* g,
                                     const Guard* guard, const Factors* factors, u32 n) {
    if (guard->ok == 0.0f) return;
    const float scale = guard->scale;
    const Factors f = *factors;
    each_piece<4>(n, aligned(p, copy, m, v, g), [&](auto width, u32 i) {
        constexpr int W = decltype(width)::value;
        float pi[W], mi[W], vi[W], gi[W];
        load_f32<float, W>(p + i, pi);
        load_f32<float, W>(m + i, mi);
        load_f32<float, W>(v + i, vi);
        load_f32<float, W>(g + i, gi);
#pragma unroll
        for (int k = 0; k < W; k++) {
            const float x = scale * gi[k];
            mi[k] = f.beta1 * mi[k] + (1.0f - f.beta1) * x;
            vi[k] = f.beta2 * vi[k] + (1.0f - f.beta2) * x * x;
            pi[k] = f.decay * pi[k] - Rule::change(f.step, mi[k], sqrtf(vi[k]) * f.v_scale);
        }
        store_f32<float, W>(p + i, pi);
        store_f32<float, W>(m + i, mi);
        store_f32<float, W>(v + i, vi);
        if (copy != nullptr) store_f32<bf16, W>(copy + i, pi);
    });
}

extern "C" __global__ void __launch_bounds__(BLOCK)
    adam_atan2_step(float* p, bf16* copy, float* m, float* v, const float* g, const Guard* guard,
                    const Factors* factors, u32 n) {
    step<AdamAtan2>(p, copy, m, v, g, guard, factors, n);
}

extern "C" __global__ void __launch_bounds__(BLOCK)
    adamw_step(float* p, bf16* copy, float* m, float* v, const float* g, const Guard* guard,
               const Factors* factors, u32 n) {
    step<AdamW>(p, copy, m, v, g, guard, factors, n);
}
