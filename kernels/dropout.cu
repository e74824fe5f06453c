// dropout: contract and formula in src/ops/dropout/mod.rs.
//
//   y[i] = kept ? x[i] * scale : 0, n elements; backward is the same from dy to dx. y may be x.
//   `stream` tells the dropouts of a network apart.
//   Element i takes word i % 4 of block i / 4: the mask does not depend on the width of access.
#include "common/elementwise.cuh"
#include "common/philox.cuh"
#include "common/records.cuh"

template <typename T>
__device__ __forceinline__ void apply(T* y, const T* x, const Draw* draw, u32 n, u32 stream,
                                      float prob, float scale) {
    const u64 seed = draw->seed();
    const u32 low = draw->number_low, high = draw->number_high;
    each_piece<16 / sizeof(T)>(n, aligned(y, x), [&](auto width, u32 i) {
        constexpr int W = decltype(width)::value;
        float v[W];
        load_f32<T, W>(x + i, v);
        uint4 words;
#pragma unroll
        for (int k = 0; k < W; k++) {
            if (k % 4 == 0) words = philox(seed, make_uint4((i + k) / 4, stream, low, high));
            const u32 word = word_of(words, W == 1 ? i % 4 : k % 4);
            v[k] = unit_f32(word) < prob ? 0.0f : v[k] * scale;
        }
        store_f32<T, W>(y + i, v);
    });
}

extern "C" __global__ void __launch_bounds__(BLOCK)
    dropout_fwd_f32(float* y, const float* x, const Draw* draw, u32 n, u32 stream, float prob,
                    float scale) {
    apply(y, x, draw, n, stream, prob, scale);
}

extern "C" __global__ void __launch_bounds__(BLOCK)
    dropout_fwd_bf16(bf16* y, const bf16* x, const Draw* draw, u32 n, u32 stream, float prob,
                     float scale) {
    apply(y, x, draw, n, stream, prob, scale);
}
