// mse: contract and formula in src/ops/mse/mod.rs. a, b (n), y, dy (1) f32.
#include "common/mean.cuh"

extern "C" __global__ void __launch_bounds__(BLOCK)
    mse_part(float* parts, const float* a, const float* b, u32 n) {
    mean_part(parts, n, [&](u32 i) {
        const float d = a[i] - b[i];
        return d * d;
    });
}

extern "C" __global__ void __launch_bounds__(BLOCK)
    mse_mean(float* y, const float* parts, u32 count, u32 n) {
    mean_of_parts(y, parts, count, n, 1.0f);
}

// da = or += scale (a - b) dy; of b with a and b exchanged.
extern "C" __global__ void __launch_bounds__(BLOCK)
    mse_bwd(float* da, const float* a, const float* b, const float* dy, u32 n, float scale,
            u32 add) {
    const float factor = scale * dy[0];
    each_piece<4>(n, aligned(da, a, b), [&](auto width, u32 i) {
        constexpr int W = decltype(width)::value;
        float d[W], u[W], v[W];
        if (add) load_f32<float, W>(da + i, d);
        load_f32<float, W>(a + i, u);
        load_f32<float, W>(b + i, v);
#pragma unroll
        for (int k = 0; k < W; k++) d[k] = (add ? d[k] : 0.0f) + factor * (u[k] - v[k]);
        store_f32<float, W>(da + i, d);
    });
}
