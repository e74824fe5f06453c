// swiglu: contract and formula in src/ops/swiglu/mod.rs.
//
//   x, dx (N, 2F): gate in columns 0..F, up in F..2F    y, dy (N, F)    n = N * F
//   In f32; rounded once, at the store. The gate's sigmoid is computed again in backward.
#include "common/elementwise.cuh"
#include "common/gate.cuh"

template <typename T>
__device__ __forceinline__ void forward(T* y, const T* x, u32 n, u32 f) {
    constexpr int N = 16 / sizeof(T);
    each_piece<N>(n, f % N == 0 && aligned(y, x), [&](auto width, u32 i) {
        constexpr int W = decltype(width)::value;
        const T* gate = x + static_cast<u64>(i / f) * (2 * f) + i % f;
        float g[W], u[W];
        load_f32<T, W>(gate, g);
        load_f32<T, W>(gate + f, u);
#pragma unroll
        for (int k = 0; k < W; k++) u[k] = gated(g[k], u[k]);
        store_f32<T, W>(y + i, u);
    });
}

template <typename T>
__device__ __forceinline__ void backward(T* dx, const T* x, const T* dy, u32 n, u32 f, u32 add) {
    constexpr int N = 16 / sizeof(T);
    each_piece<N>(n, f % N == 0 && aligned(dx, x, dy), [&](auto width, u32 i) {
        constexpr int W = decltype(width)::value;
        const u64 at = static_cast<u64>(i / f) * (2 * f) + i % f;
        float g[W], u[W], d[W], dg[W] = {}, du[W] = {};
        load_f32<T, W>(x + at, g);
        load_f32<T, W>(x + at + f, u);
        load_f32<T, W>(dy + i, d);
        if (add) {
            load_f32<T, W>(dx + at, dg);
            load_f32<T, W>(dx + at + f, du);
        }
#pragma unroll
        for (int k = 0; k < W; k++) {
            const float2 more = gated_gradients(d[k], g[k], u[k]);
            dg[k] = __fadd_rn(dg[k], more.x);
            du[k] = __fadd_rn(du[k], more.y);
        }
        store_f32<T, W>(dx + at, dg);
        store_f32<T, W>(dx + at + f, du);
    });
}

#define SWIGLU(T, NAME)                                                                          \
    extern "C" __global__ void __launch_bounds__(BLOCK)                                          \
        swiglu_fwd_##NAME(T* y, const T* x, u32 n, u32 f) {                                      \
        forward<T>(y, x, n, f);                                                                  \
    }                                                                                            \
    extern "C" __global__ void __launch_bounds__(BLOCK)                                          \
        swiglu_bwd_##NAME(T* dx, const T* x, const T* dy, u32 n, u32 f, u32 add) {               \
        backward<T>(dx, x, dy, n, f, add);                                                       \
    }
SWIGLU(float, f32)
SWIGLU(bf16, bf16)
