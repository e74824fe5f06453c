// rms_norm: contract and formula in src/ops/rms_norm/mod.rs.
//
//   x, r (or null), y, dy (N, C)    rstd (N) f32    backward turns dy into ds where it lies
//   A warp per row, held in registers between the sum and the store if common/row.cuh can; `wide`
//   holds more, for rows that need it.
//   Sums in f32, lane stride, then xor butterfly: runs agree bit for bit.
#include "common/row.cuh"

template <typename T, int HELD>
__device__ __forceinline__ void forward(T* y, float* rstd, const T* x, const T* r, u32 n, u32 c,
                                        float eps) {
    const u32 lane = threadIdx.x % WARP;
    const u32 row = blockIdx.x * ROWS_PER_BLOCK + threadIdx.x / WARP;
    if (row >= n) return;
    const u64 start = static_cast<u64>(row) * c;
    y += start, x += start;
    if (r) r += start;
    float sum_sq = 0.0f, scale;
    if (Row<T, HELD>::fits(c) && aligned(y, x, r)) {
        Row<T, HELD> s;
        s.load(x, c);
        if (r) {
            Row<T, HELD> residual;
            residual.load(r, c);
            Row<T, HELD>::each(c, [&](int k, int i) {
                s.piece[k].at[i] = from_f32<T>(s.at(k, i) + residual.at(k, i));
            });
        }
        Row<T, HELD>::each(c, [&](int k, int i) { sum_sq += s.at(k, i) * s.at(k, i); });
        scale = 1.0f / sqrtf(warp_sum(sum_sq) / c + eps);
        Row<T, HELD>::store(y, c, [&](int k, int i) { return s.at(k, i) * scale; });
    } else {
        for (u32 i = lane; i < c; i += WARP) {
            const T s = r ? from_f32<T>(to_f32(x[i]) + to_f32(r[i])) : x[i];
            sum_sq += to_f32(s) * to_f32(s);
            y[i] = s;
        }
        scale = 1.0f / sqrtf(warp_sum(sum_sq) / c + eps);
        for (u32 i = lane; i < c; i += WARP) y[i] = from_f32<T>(to_f32(y[i]) * scale);
    }
    if (lane == 0) rstd[row] = scale;
}

template <typename T, int HELD>
__device__ __forceinline__ void backward(T* dy, const T* y, const float* rstd, u32 n, u32 c) {
    const u32 lane = threadIdx.x % WARP;
    const u32 row = blockIdx.x * ROWS_PER_BLOCK + threadIdx.x / WARP;
    if (row >= n) return;
    const u64 start = static_cast<u64>(row) * c;
    dy += start, y += start;
    const float scale = rstd[row];
    float dot = 0.0f;
    if (Row<T, HELD>::fits(c) && aligned(dy, y)) {
        Row<T, HELD> d, v;
        d.load(dy, c);
        v.load(y, c);
        Row<T, HELD>::each(c, [&](int k, int i) { dot += d.at(k, i) * v.at(k, i); });
        const float mean = warp_sum(dot) / c;
        Row<T, HELD>::store(dy, c,
                      [&](int k, int i) { return scale * (d.at(k, i) - v.at(k, i) * mean); });
    } else {
        for (u32 i = lane; i < c; i += WARP) dot += to_f32(dy[i]) * to_f32(y[i]);
        const float mean = warp_sum(dot) / c;
        for (u32 i = lane; i < c; i += WARP)
            dy[i] = from_f32<T>(scale * (to_f32(dy[i]) - to_f32(y[i]) * mean));
    }
}

#define RMS_NORM(T, HELD, FWD, BWD)                                                              \
    extern "C" __global__ void __launch_bounds__(ROWS_PER_BLOCK* WARP)                           \
        FWD(T* y, float* rstd, const T* x, const T* r, u32 n, u32 c, float eps) {                \
        forward<T, HELD>(y, rstd, x, r, n, c, eps);                                              \
    }                                                                                            \
    extern "C" __global__ void __launch_bounds__(ROWS_PER_BLOCK* WARP)                           \
        BWD(T* dy, const T* y, const float* rstd, u32 n, u32 c) {                                \
        backward<T, HELD>(dy, y, rstd, n, c);                                                    \
    }
RMS_NORM(float, NARROW, rms_norm_fwd_f32, rms_norm_bwd_f32)
RMS_NORM(bf16, NARROW, rms_norm_fwd_bf16, rms_norm_bwd_bf16)
RMS_NORM(float, WIDE, rms_norm_fwd_wide_f32, rms_norm_bwd_wide_f32)
RMS_NORM(bf16, WIDE, rms_norm_fwd_wide_bf16, rms_norm_bwd_wide_bf16)
