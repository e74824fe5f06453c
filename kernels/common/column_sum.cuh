// Sums over rows, column by column, in two stages: parts of ROWS_PER_PART rows, made by a kernel
// that has other things to do with a row (a thread for COLUMNS columns), then `column_sum` over the
// parts.
#pragma once
#include "common/reduce.cuh"
#include "common/vec.cuh"

static const int ROWS_PER_PART = 128;
static const int PART_THREADS = 128; // at most
static const int COLUMNS = 4;        // 16 bytes of f32
static const int SUM_WARPS = 8;

// out[j] = or += scale * sum over k < count of rows[k * stride + j], for the 32 columns j of this
// block, of `width`. Launch with 32 * SUM_WARPS threads and a block for every 32 columns. Order:
// warp w takes k = w, w + 8, ..; then the warps' sums from 0 to 7.
template <typename T>
__device__ __forceinline__ void column_sum(float* out, const T* rows, u32 count, u64 stride,
                                           u32 width, float scale, bool add) {
    __shared__ float partial[SUM_WARPS][WARP];
    const u32 lane = threadIdx.x % WARP, warp = threadIdx.x / WARP;
    const u32 j = blockIdx.x * WARP + lane;
    float sum = 0.0f;
    if (j < width) {
#pragma unroll 4
        for (u32 k = warp; k < count; k += SUM_WARPS) sum += to_f32(rows[k * stride + j]);
    }
    partial[warp][lane] = sum;
    __syncthreads();
    if (warp > 0 || j >= width) return;
    for (int w = 1; w < SUM_WARPS; w++) sum += partial[w][lane];
    out[j] = (add ? out[j] : 0.0f) + scale * sum;
}
