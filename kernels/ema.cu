// ema: contract and formula in src/ops/ema/mod.rs. ema, p (n) f32.
#include "common/elementwise.cuh"
#include "common/records.cuh"

extern "C" __global__ void __launch_bounds__(BLOCK)
    ema_step(float* ema, const float* p, const Guard* guard, u32 n, float decay) {
    if (guard->ok == 0.0f) return;
    each_piece<4>(n, aligned(ema, p), [&](auto width, u32 i) {
        constexpr int W = decltype(width)::value;
        float e[W], x[W];
        load_f32<float, W>(ema + i, e);
        load_f32<float, W>(p + i, x);
#pragma unroll
        for (int k = 0; k < W; k++) e[k] = decay * e[k] + (1.0f - decay) * x[k];
        store_f32<float, W>(ema + i, e);
    });
}
