// halt_head: contract and formula in src/ops/halt_head/mod.rs.
//
//   h, l, dx (B, T, C)    w (2C), or its part of C in `bwd`    bias (1)
//   pooled (B, 2C), rows, drows (B, 2), dw (2C), dbias (1): f32
//   `pool` is a thread per column of one sequence, which it walks from the first position to the
//   last; `fwd` is a warp per sequence; `bwd_params` a thread per parameter, over all sequences.
//   Fixed orders: runs agree bit for bit. dw and dbias may be null.
#include "common/elementwise.cuh"
#include "common/row.cuh"

static const int POOL_THREADS = 128;

// Grid: column blocks, B.
template <typename T>
__device__ __forceinline__ void pool(float* pooled, const T* h, const T* l, u32 t, u32 c) {
    const u32 column = blockIdx.x * POOL_THREADS + threadIdx.x, b = blockIdx.y;
    if (column >= 2 * c) return;
    const T* x = (column < c ? h + column : l + (column - c)) + static_cast<u64>(b) * t * c;
    float sum = 0.0f;
#pragma unroll 8
    for (u32 i = 0; i < t; i++) sum += to_f32(x[static_cast<u64>(i) * c]);
    pooled[static_cast<u64>(b) * 2 * c + column] = sum / t;
}

template <typename T>
__device__ __forceinline__ void forward(float* rows, const float* pooled, const T* w,
                                        const T* bias, u32 b, u32 width) {
    const u32 lane = threadIdx.x % WARP;
    const u32 row = blockIdx.x * ROWS_PER_BLOCK + threadIdx.x / WARP;
    if (row >= b) return;
    pooled += static_cast<u64>(row) * width;
    float z = 0.0f;
    for (u32 i = lane; i < width; i += WARP) z += pooled[i] * to_f32(w[i]);
    z = warp_sum(z) + to_f32(bias[0]);
    if (lane == 0) rows[2 * row] = z, rows[2 * row + 1] = 1.0f / (1.0f + expf(-z));
}

// The gradient of a sequence's logit.
__device__ __forceinline__ float dz_of(const float* rows, const float* drows, u32 b) {
    const float p = rows[2 * b + 1];
    return drows[2 * b] + drows[2 * b + 1] * p * (1.0f - p);
}

extern "C" __global__ void __launch_bounds__(BLOCK)
    halt_head_bwd_params(float* dw, float* dbias, const float* pooled, const float* rows,
                         const float* drows, u32 b, u32 width, u32 add_w, u32 add_bias) {
    const u32 i = blockIdx.x * BLOCK + threadIdx.x;
    float* to = i < width ? dw : dbias;
    if (i > width || !to) return;
    to += i < width ? i : 0;
    float sum = 0.0f;
    for (u32 k = 0; k < b; k++) {
        const float dz = dz_of(rows, drows, k);
        sum += i < width ? dz * pooled[static_cast<u64>(k) * width + i] : dz;
    }
    *to = (i < width ? add_w : add_bias) ? *to + sum : sum;
}

template <typename T>
__device__ __forceinline__ void backward(T* dx, const T* w, const float* rows, const float* drows,
                                         u32 n, u32 t, u32 c, u32 add) {
    constexpr int N = 16 / sizeof(T);
    each_piece<N>(n, c % N == 0 && aligned(dx, w), [&](auto width, u32 i) {
        constexpr int W = decltype(width)::value;
        const float dz = dz_of(rows, drows, i / c / t);
        float sum[W] = {}, v[W];
        if (add) load_f32<T, W>(dx + i, sum);
        load_f32<T, W>(w + i % c, v);
#pragma unroll
        for (int k = 0; k < W; k++) sum[k] += dz * v[k] / t;
        store_f32<T, W>(dx + i, sum);
    });
}

#define HALT_HEAD(T, NAME)                                                                       \
    extern "C" __global__ void __launch_bounds__(POOL_THREADS)                                   \
        halt_head_pool_##NAME(float* pooled, const T* h, const T* l, u32 t, u32 c) {             \
        pool<T>(pooled, h, l, t, c);                                                             \
    }                                                                                            \
    extern "C" __global__ void __launch_bounds__(ROWS_PER_BLOCK* WARP)                           \
        halt_head_fwd_##NAME(float* rows, const float* pooled, const T* w, const T* bias, u32 b, \
                             u32 width) {                                                        \
        forward<T>(rows, pooled, w, bias, b, width);                                             \
    }                                                                                            \
    extern "C" __global__ void __launch_bounds__(BLOCK)                                          \
        halt_head_bwd_##NAME(T* dx, const T* w, const float* rows, const float* drows, u32 n,    \
                             u32 t, u32 c, u32 add) {                                            \
        backward<T>(dx, w, rows, drows, n, t, c, add);                                           \
    }
HALT_HEAD(float, f32)
HALT_HEAD(bf16, bf16)
