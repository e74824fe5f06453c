// layer_norm: contract and formula in src/ops/layer_norm/mod.rs.
//
//   x, r, s, y, dy (N, C)    mean, rstd (N) f32    gain, bias (C)    dgain, dbias (C) f32
//   Without a residual (r and s are null) x is normalised as it is.
//   A warp per row, held in registers if common/row.cuh can (`wide` holds more, for rows that need
//   it); backward turns dy into ds where it lies. `part` sums dy xhat and dy over ROWS_PER_PART rows, a thread for COLUMNS columns, and
//   must see dy before that; `sum` adds the parts. f32, fixed order: runs agree bit for bit.
#include "common/column_sum.cuh"
#include "common/row.cuh"

template <typename T, int HELD>
__device__ __forceinline__ void forward(T* y, T* s, float* mean, float* rstd, const T* x,
                                        const T* r, const T* gain, const T* bias, u32 n, u32 c,
                                        float eps) {
    const u32 lane = threadIdx.x % WARP;
    const u32 row = blockIdx.x * ROWS_PER_BLOCK + threadIdx.x / WARP;
    if (row >= n) return;
    const u64 start = static_cast<u64>(row) * c;
    y += start, x += start;
    if (r) s += start, r += start;
    float sum = 0.0f, sum_sq = 0.0f, center, scale;
    if (Row<T, HELD>::fits(c) && aligned(y, s, x, r, gain, bias)) {
        Row<T, HELD> v, other;
        v.load(x, c);
        if (r) {
            other.load(r, c);
            Row<T, HELD>::each(c, [&](int k, int i) {
                v.piece[k].at[i] = from_f32<T>(v.at(k, i) + other.at(k, i));
            });
        }
        Row<T, HELD>::each(c, [&](int k, int i) { sum += v.at(k, i); });
        center = warp_sum(sum) / c;
        Row<T, HELD>::each(c, [&](int k, int i) {
            const float d = v.at(k, i) - center;
            sum_sq += d * d;
        });
        scale = 1.0f / sqrtf(warp_sum(sum_sq) / c + eps);
        if (r) Row<T, HELD>::store(s, c, [&](int k, int i) { return v.at(k, i); });
        Row<T, HELD> shift;
        other.load(gain, c);
        shift.load(bias, c);
        Row<T, HELD>::store(y, c, [&](int k, int i) {
            return (v.at(k, i) - center) * scale * other.at(k, i) + shift.at(k, i);
        });
    } else {
        const T* from = r ? s : x;
        for (u32 i = lane; i < c; i += WARP) {
            if (r) s[i] = from_f32<T>(to_f32(x[i]) + to_f32(r[i]));
            sum += to_f32(from[i]);
        }
        center = warp_sum(sum) / c;
        for (u32 i = lane; i < c; i += WARP) {
            const float d = to_f32(from[i]) - center;
            sum_sq += d * d;
        }
        scale = 1.0f / sqrtf(warp_sum(sum_sq) / c + eps);
        for (u32 i = lane; i < c; i += WARP)
            y[i] = from_f32<T>((to_f32(from[i]) - center) * scale * to_f32(gain[i]) + to_f32(bias[i]));
    }
    if (lane == 0) mean[row] = center, rstd[row] = scale;
}

// ds = rstd (g - mean_c(g) - xhat mean_c(g xhat)), g = dy gain.
template <typename T, int HELD>
__device__ __forceinline__ void backward(T* dy, const T* s, const float* mean, const float* rstd,
                                         const T* gain, u32 n, u32 c) {
    const u32 lane = threadIdx.x % WARP;
    const u32 row = blockIdx.x * ROWS_PER_BLOCK + threadIdx.x / WARP;
    if (row >= n) return;
    const u64 start = static_cast<u64>(row) * c;
    dy += start, s += start;
    const float center = mean[row], scale = rstd[row];
    float sum = 0.0f, dot = 0.0f;
    if (Row<T, HELD>::fits(c) && aligned(dy, s, gain)) {
        Row<T, HELD> d, v, w;
        d.load(dy, c);
        v.load(s, c);
        w.load(gain, c);
        const auto g = [&](int k, int i) { return d.at(k, i) * w.at(k, i); };
        const auto xhat = [&](int k, int i) { return (v.at(k, i) - center) * scale; };
        Row<T, HELD>::each(c, [&](int k, int i) {
            sum += g(k, i);
            dot += g(k, i) * xhat(k, i);
        });
        const float mean_g = warp_sum(sum) / c, mean_dot = warp_sum(dot) / c;
        Row<T, HELD>::store(dy, c, [&](int k, int i) {
            return scale * (g(k, i) - mean_g - xhat(k, i) * mean_dot);
        });
    } else {
        const auto g = [&](u32 i) { return to_f32(dy[i]) * to_f32(gain[i]); };
        const auto xhat = [&](u32 i) { return (to_f32(s[i]) - center) * scale; };
        for (u32 i = lane; i < c; i += WARP) {
            sum += g(i);
            dot += g(i) * xhat(i);
        }
        const float mean_g = warp_sum(sum) / c, mean_dot = warp_sum(dot) / c;
        for (u32 i = lane; i < c; i += WARP)
            dy[i] = from_f32<T>(scale * (g(i) - mean_g - xhat(i) * mean_dot));
    }
}

template <typename T, int W>
__device__ __forceinline__ void part_of(float* dgain, float* dbias, const T* dy, const T* s,
                                        const float* mean, const float* rstd, u32 n, u32 c) {
    const u32 first = blockIdx.x * ROWS_PER_PART, end = min(first + ROWS_PER_PART, n);
    for (u32 column = (blockIdx.y * blockDim.x + threadIdx.x) * W; column < c;
         column += gridDim.y * blockDim.x * W) {
        float of_gain[W] = {}, of_bias[W] = {};
#pragma unroll 4
        for (u32 row = first; row < end; row++) {
            float d[W], v[W];
            load_f32<T, W>(dy + static_cast<u64>(row) * c + column, d);
            load_f32<T, W>(s + static_cast<u64>(row) * c + column, v);
#pragma unroll
            for (int k = 0; k < W; k++) {
                of_gain[k] += d[k] * ((v[k] - mean[row]) * rstd[row]);
                of_bias[k] += d[k];
            }
        }
        store_f32<float, W>(dgain + static_cast<u64>(blockIdx.x) * c + column, of_gain);
        store_f32<float, W>(dbias + static_cast<u64>(blockIdx.x) * c + column, of_bias);
    }
}

// dgain, dbias (parts, C). Grid: parts, column blocks.
template <typename T>
__device__ __forceinline__ void part(float* dgain, float* dbias, const T* dy, const T* s,
                                     const float* mean, const float* rstd, u32 n, u32 c) {
    if (c % COLUMNS == 0 && aligned(dgain, dbias, dy, s)) {
        part_of<T, COLUMNS>(dgain, dbias, dy, s, mean, rstd, n, c);
    } else {
        part_of<T, 1>(dgain, dbias, dy, s, mean, rstd, n, c);
    }
}

extern "C" __global__ void __launch_bounds__(WARP* SUM_WARPS)
    layer_norm_sum(float* out, const float* parts, u32 count, u32 c, u32 add) {
    column_sum<float>(out, parts, count, c, c, 1.0f, add);
}

#define LAYER_NORM(T, HELD, FWD, BWD)                                                            \
    extern "C" __global__ void __launch_bounds__(ROWS_PER_BLOCK* WARP)                           \
        FWD(T* y, T* s, float* mean, float* rstd, const T* x, const T* r, const T* gain,         \
            const T* bias, u32 n, u32 c, float eps) {                                            \
        forward<T, HELD>(y, s, mean, rstd, x, r, gain, bias, n, c, eps);                         \
    }                                                                                            \
    extern "C" __global__ void __launch_bounds__(ROWS_PER_BLOCK* WARP)                           \
        BWD(T* dy, const T* s, const float* mean, const float* rstd, const T* gain, u32 n,       \
            u32 c) {                                                                             \
        backward<T, HELD>(dy, s, mean, rstd, gain, n, c);                                        \
    }
LAYER_NORM(float, NARROW, layer_norm_fwd_f32, layer_norm_bwd_f32)
LAYER_NORM(bf16, NARROW, layer_norm_fwd_bf16, layer_norm_bwd_bf16)
LAYER_NORM(float, WIDE, layer_norm_fwd_wide_f32, layer_norm_bwd_wide_f32)
LAYER_NORM(bf16, WIDE, layer_norm_fwd_wide_bf16, layer_norm_bwd_wide_bf16)

#define PART(T, NAME)                                                                            \
    extern "C" __global__ void __launch_bounds__(PART_THREADS)                                   \
        layer_norm_part_##NAME(float* dgain, float* dbias, const T* dy, const T* s,              \
                               const float* mean, const float* rstd, u32 n, u32 c) {             \
        part<T>(dgain, dbias, dy, s, mean, rstd, n, c);                                          \
    }
PART(float, f32)
PART(bf16, bf16)
