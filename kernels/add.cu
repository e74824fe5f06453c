// add: contract and formula in src/ops/add/mod.rs.
//
//   y = a + b (+ c), each partial sum rounded to the dtype; c may be null. n elements.
//   y may be one of the terms: a thread reads its elements before it writes them, and
//   `y += x` is y = y + x.
#include "common/elementwise.cuh"

template <typename T>
__device__ __forceinline__ void forward(T* y, const T* a, const T* b, const T* c, u32 n) {
    each_piece<16 / sizeof(T)>(n, aligned(y, a, b, c), [&](auto width, u32 i) {
        constexpr int W = decltype(width)::value;
        float sum[W], term[W];
        load_f32<T, W>(a + i, sum);
        load_f32<T, W>(b + i, term);
#pragma unroll
        for (int k = 0; k < W; k++) sum[k] += term[k];
        if (c != nullptr) {
            load_f32<T, W>(c + i, term);
#pragma unroll
            for (int k = 0; k < W; k++) sum[k] = to_f32(from_f32<T>(sum[k])) + term[k];
        }
        store_f32<T, W>(y + i, sum);
    });
}

#define ADD(T, NAME)                                                                             \
    extern "C" __global__ void __launch_bounds__(BLOCK)                                          \
        add_fwd_##NAME(T* y, const T* a, const T* b, const T* c, u32 n) {                        \
        forward<T>(y, a, b, c, n);                                                               \
    }
ADD(float, f32)
ADD(bf16, bf16)
