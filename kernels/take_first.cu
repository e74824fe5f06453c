// take_first: contract in src/ops/take_first/mod.rs.
//
//   x, dx (N, C)    y, dy (R, C)
//   Forward runs over the n = R * C elements of y; backward over all N * C of dx, which it
//   overwrites, or, where it adds, over the n that have a gradient.
#include "common/elementwise.cuh"
#include "common/layout.cuh"

template <typename T>
__device__ __forceinline__ void forward(T* y, const T* x, Ints starts, u32 n, u32 c) {
    constexpr int N = 16 / sizeof(T);
    each_piece<N>(n, c % N == 0 && aligned(y, x), [&](auto width, u32 i) {
        constexpr int W = decltype(width)::value;
        float v[W];
        load_f32<T, W>(x + static_cast<u64>(starts[i / c]) * c + i % c, v);
        store_f32<T, W>(y + i, v);
    });
}

template <typename T>
__device__ __forceinline__ void backward(T* dx, const T* dy, Ints starts, Ints row_of, u32 n, u32 c,
                                         u32 add) {
    constexpr int N = 16 / sizeof(T);
    const bool wide = c % N == 0 && aligned(dx, dy);
    each_piece<N>(n, wide, [&](auto width, u32 i) {
        constexpr int W = decltype(width)::value;
        const u32 row = add ? i / c : row_of[i / c], first = starts[row];
        const u32 position = add ? first : i / c;
        T* to = dx + static_cast<u64>(position) * c + i % c;
        float sum[W] = {}, d[W] = {};
        if (add) load_f32<T, W>(to, sum);
        if (position == first) load_f32<T, W>(dy + static_cast<u64>(row) * c + i % c, d);
#pragma unroll
        for (int k = 0; k < W; k++) sum[k] += d[k];
        store_f32<T, W>(to, sum);
    });
}

#define TAKE_FIRST(T, NAME)                                                                      \
    extern "C" __global__ void __launch_bounds__(BLOCK)                                          \
        take_first_fwd_##NAME(T* y, const T* x, const int* starts, u32 n, u32 c) {               \
        forward<T>(y, x, starts, n, c);                                                          \
    }                                                                                            \
    extern "C" __global__ void __launch_bounds__(BLOCK)                                          \
        take_first_bwd_##NAME(T* dx, const T* dy, const int* starts, const int* row_of, u32 n,   \
                              u32 c, u32 add) {                                                  \
        backward<T>(dx, dy, starts, row_of, n, c, add);                                          \
    }
TAKE_FIRST(float, f32)
TAKE_FIRST(bf16, bf16)
