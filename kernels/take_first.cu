// take_first: contract in src/ops/take_first/mod.rs.
//
//   x, dx (B, T, C)    y, dy (B, C)    `stride` = T * C elements per sequence
//   Forward runs over the n = B * C elements of y; backward over all B * T * C of dx, which it
//   overwrites, or, where it adds, over the n that have a gradient.
#include "common/elementwise.cuh"

template <typename T>
__device__ __forceinline__ void forward(T* y, const T* x, u32 n, u32 c, u32 stride) {
    constexpr int N = 16 / sizeof(T);
    each_piece<N>(n, c % N == 0 && aligned(y, x), [&](auto width, u32 i) {
        constexpr int W = decltype(width)::value;
        float v[W];
        load_f32<T, W>(x + static_cast<u64>(i / c) * stride + i % c, v);
        store_f32<T, W>(y + i, v);
    });
}

template <typename T>
__device__ __forceinline__ void backward(T* dx, const T* dy, u32 n, u32 c, u32 stride, u32 add) {
    constexpr int N = 16 / sizeof(T);
    const bool wide = c % N == 0 && aligned(dx, dy);
    const u32 span = add ? c : stride;
    each_piece<N>(n, wide, [&](auto width, u32 i) {
        constexpr int W = decltype(width)::value;
        const u32 b = i / span, at = i % span;
        T* to = dx + static_cast<u64>(b) * stride + at;
        float sum[W] = {}, d[W] = {};
        if (add) load_f32<T, W>(to, sum);
        if (at < c) load_f32<T, W>(dy + static_cast<u64>(b) * c + at, d);
#pragma unroll
        for (int k = 0; k < W; k++) sum[k] += d[k];
        store_f32<T, W>(to, sum);
    });
}

#define TAKE_FIRST(T, NAME)                                                                      \
    extern "C" __global__ void __launch_bounds__(BLOCK)                                          \
        take_first_fwd_##NAME(T* y, const T* x, u32 n, u32 c, u32 stride) {                      \
        forward<T>(y, x, n, c, stride);                                                          \
    }                                                                                            \
    extern "C" __global__ void __launch_bounds__(BLOCK)                                          \
        take_first_bwd_##NAME(T* dx, const T* dy, u32 n, u32 c, u32 stride, u32 add) {           \
        backward<T>(dx, dy, n, c, stride, add);                                                  \
    }
TAKE_FIRST(float, f32)
TAKE_FIRST(bf16, bf16)
