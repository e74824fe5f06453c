// Sums over a warp and a block, in a fixed order: the same bits every time.
#pragma once

static const int WARP = 32;
static const unsigned ALL_LANES = 0xffffffffu;

// Every lane gets the sum (xor butterfly). All 32 lanes must call it.
template <typename F> __device__ __forceinline__ F warp_sum(F x) {
#pragma unroll
    for (int d = WARP / 2; d > 0; d /= 2) x += __shfl_xor_sync(ALL_LANES, x, d);
    return x;
}

__device__ __forceinline__ float warp_max(float x) {
#pragma unroll
    for (int d = WARP / 2; d > 0; d /= 2) x = fmaxf(x, __shfl_xor_sync(ALL_LANES, x, d));
    return x;
}

// Every thread gets the sum over the block. blockDim.x is a multiple of 32, at most 1024, and all
// threads call it. `partial` holds one F per warp; it may be reused after the call.
template <typename F> __device__ __forceinline__ F block_sum(F x, F* partial) {
    const int lane = threadIdx.x % WARP, warp = threadIdx.x / WARP, warps = blockDim.x / WARP;
    x = warp_sum(x);
    if (lane == 0) partial[warp] = x;
    __syncthreads();
    F sum = lane < warps ? partial[lane] : F(0);
    sum = warp_sum(sum);
    __syncthreads();
    return sum;
}
