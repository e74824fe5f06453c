// The mean of a term over n elements, times a factor, in two stages: parts of ELEMS_PER_PART
// elements, a block each, then one block over the parts. f32 inside a part, f64 over the parts; the
// order is fixed: runs agree bit for bit.
#pragma once
#include "common/elementwise.cuh"
#include "common/reduce.cuh"

static const int ELEMS_PER_PART = 4096;

// Grid: a block of BLOCK threads for each part.
template <typename F> __device__ __forceinline__ void mean_part(float* parts, u32 n, F term) {
    __shared__ float partial[BLOCK / WARP];
    const u64 first = static_cast<u64>(blockIdx.x) * ELEMS_PER_PART;
    const u64 end = min(first + ELEMS_PER_PART, static_cast<u64>(n));
    float sum = 0.0f;
    for (u64 i = first + threadIdx.x; i < end; i += BLOCK) sum += term(static_cast<u32>(i));
    sum = block_sum(sum, partial);
    if (threadIdx.x == 0) parts[blockIdx.x] = sum;
}

// One block of BLOCK threads: out[0] = factor * (sum of `count` parts) / n.
__device__ __forceinline__ void mean_of_parts(float* out, const float* parts, u32 count, u32 n,
                                              float factor) {
    __shared__ double partial[BLOCK / WARP];
    double sum = 0.0;
    for (u32 i = threadIdx.x; i < count; i += BLOCK) sum += parts[i];
    sum = block_sum(sum, partial);
    if (threadIdx.x == 0) out[0] = static_cast<float>(factor * sum / n);
}
