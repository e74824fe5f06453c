// bias_relu: contract and formula in src/ops/bias_relu/mod.rs.
//
//   x, y, dy (N, C)    bias (C)    dbias (C) f32    n = N * C in forward
//   draw, stream, prob, scale: as in dropout.cu; no draw, no dropout (scale is 1 then).
//   Backward turns dy into dx where it lies and sums its columns on the way, ROWS_PER_PART rows to
//   a part, a thread for COLUMNS columns; `sum` adds the parts. Fixed order: runs agree bit by bit.
#include "common/column_sum.cuh"
#include "common/elementwise.cuh"
#include "common/philox.cuh"
#include "common/records.cuh"

template <typename T>
__device__ __forceinline__ void forward(T* y, const T* x, const T* bias, const Draw* draw, u32 n,
                                        u32 c, u32 stream, float prob, float scale) {
    constexpr int N = 16 / sizeof(T);
    const u64 seed = draw ? draw->seed() : 0;
    const u32 low = draw ? draw->number_low : 0, high = draw ? draw->number_high : 0;
    each_piece<N>(n, c % N == 0 && aligned(y, x, bias), [&](auto width, u32 i) {
        constexpr int W = decltype(width)::value;
        float v[W], b[W];
        load_f32<T, W>(x + i, v);
        load_f32<T, W>(bias + i % c, b);
#pragma unroll
        for (int k = 0; k < W; k++) {
            const float sum = v[k] + b[k];
            v[k] = sum < 0.0f ? 0.0f : sum; // NaN stays
        }
        if (draw) {
            uint4 words;
#pragma unroll
            for (int k = 0; k < W; k++) {
                if (k % 4 == 0) words = philox(seed, make_uint4((i + k) / 4, stream, low, high));
                const u32 word = word_of(words, W == 1 ? i % 4 : k % 4);
                v[k] = unit_f32(word) < prob ? 0.0f : v[k] * scale;
            }
        }
        store_f32<T, W>(y + i, v);
    });
}

template <typename T, int W>
__device__ __forceinline__ void backward_of(T* dy, float* parts, const T* y, u32 n, u32 c,
                                            float scale) {
    const u32 first = blockIdx.x * ROWS_PER_PART, end = min(first + ROWS_PER_PART, n);
    for (u32 column = (blockIdx.y * blockDim.x + threadIdx.x) * W; column < c;
         column += gridDim.y * blockDim.x * W) {
        float sum[W] = {};
#pragma unroll 4
        for (u32 row = first; row < end; row++) {
            const u64 at = static_cast<u64>(row) * c + column;
            float d[W], v[W];
            load_f32<T, W>(dy + at, d);
            load_f32<T, W>(y + at, v);
#pragma unroll
            for (int k = 0; k < W; k++) {
                d[k] = v[k] > 0.0f ? d[k] * scale : 0.0f;
                sum[k] += d[k];
            }
            store_f32<T, W>(dy + at, d);
        }
        store_f32<float, W>(parts + static_cast<u64>(blockIdx.x) * c + column, sum);
    }
}

// parts (n / ROWS_PER_PART, C). Grid: parts, column blocks.
template <typename T>
__device__ __forceinline__ void backward(T* dy, float* parts, const T* y, u32 n, u32 c,
                                         float scale) {
    if (c % COLUMNS == 0 && aligned(dy, parts, y)) {
        backward_of<T, COLUMNS>(dy, parts, y, n, c, scale);
    } else {
        backward_of<T, 1>(dy, parts, y, n, c, scale);
    }
}

extern "C" __global__ void __launch_bounds__(WARP* SUM_WARPS)
    bias_relu_sum(float* dbias, const float* parts, u32 count, u32 c, u32 add) {
    column_sum<float>(dbias, parts, count, c, c, 1.0f, add);
}

#define BIAS_RELU(T, NAME)                                                                       \
    extern "C" __global__ void __launch_bounds__(BLOCK)                                          \
        bias_relu_fwd_##NAME(T* y, const T* x, const T* bias, const Draw* draw, u32 n, u32 c,     \
                             u32 stream, float prob, float scale) {                              \
        forward<T>(y, x, bias, draw, n, c, stream, prob, scale);                                 \
    }                                                                                            \
    extern "C" __global__ void __launch_bounds__(PART_THREADS)                                   \
        bias_relu_bwd_##NAME(T* dy, float* parts, const T* y, u32 n, u32 c, float scale) {       \
        backward<T>(dy, parts, y, n, c, scale);                                                  \
    }
BIAS_RELU(float, f32)
BIAS_RELU(bf16, bf16)
