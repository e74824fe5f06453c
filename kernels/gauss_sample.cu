// gauss_sample: contract and formula in src/ops/gauss_sample/mod.rs. All n elements, f32.
//   `stream` tells the draws of one step apart.
#include "common/elementwise.cuh"
#include "common/normal.cuh"
#include "common/records.cuh"

extern "C" __global__ void __launch_bounds__(BLOCK)
    gauss_sample_fwd(float* z, const float* mu, const float* log_var, const float* eps, u32 n) {
    each_piece<1>(n, false,
                  [&](auto, u32 i) { z[i] = mu[i] + eps[i] * expf(0.5f * log_var[i]); });
}

extern "C" __global__ void __launch_bounds__(BLOCK)
    gauss_sample_bwd(float* dlog_var, const float* dz, const float* log_var, const float* eps,
                     u32 n, u32 add) {
    each_piece<1>(n, false, [&](auto, u32 i) {
        const float d = 0.5f * dz[i] * eps[i] * expf(0.5f * log_var[i]);
        dlog_var[i] = (add ? dlog_var[i] : 0.0f) + d;
    });
}

// A thread for each block of four.
extern "C" __global__ void __launch_bounds__(BLOCK)
    gauss_sample_draw(float* eps, const Draw* draw, u32 n, u32 stream) {
    const u64 seed = draw->seed();
    const u32 low = draw->number_low, high = draw->number_high, blocks = (n + 3) / 4;
    each_piece<1>(blocks, false, [&](auto, u32 block) {
        const uint4 words = philox(seed, make_uint4(block, stream, low, high));
        const float2 a = normal_pair(words.x, words.y), b = normal_pair(words.z, words.w);
        const float four[4] = {a.x, a.y, b.x, b.y};
#pragma unroll
        for (u32 k = 0; k < 4; k++)
            if (4 * block + k < n) eps[4 * block + k] = four[k];
    });
}
