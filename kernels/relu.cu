// relu: contract and formula in src/ops/relu/mod.rs. n elements; backward turns dy into dx.
#include "common/elementwise.cuh"

extern "C" __global__ void __launch_bounds__(BLOCK) relu_fwd(float* y, const float* x, u32 n) {
    each_piece<4>(n, aligned(y, x), [&](auto width, u32 i) {
        constexpr int W = decltype(width)::value;
        float v[W];
        load_f32<float, W>(x + i, v);
#pragma unroll
        for (int k = 0; k < W; k++) v[k] = v[k] < 0.0f ? 0.0f : v[k]; // NaN stays
        store_f32<float, W>(y + i, v);
    });
}

extern "C" __global__ void __launch_bounds__(BLOCK) relu_bwd(float* dy, const float* y, u32 n) {
    each_piece<4>(n, aligned(dy, y), [&](auto width, u32 i) {
        constexpr int W = decltype(width)::value;
        float d[W], v[W];
        load_f32<float, W>(dy + i, d);
        load_f32<float, W>(y + i, v);
#pragma unroll
        for (int k = 0; k < W; k++) d[k] = v[k] > 0.0f ? d[k] : 0.0f;
        store_f32<float, W>(dy + i, d);
    });
}
