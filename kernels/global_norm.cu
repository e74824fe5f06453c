// global_norm: contract and formula in src/ops/global_norm/mod.rs.
//
//   g (n) f32    losses (k) f32    parts (blocks) f64
//   `part` sums squares over its share of a fixed grid, `guard` the parts in one block. f64 because
//   squares of huge or tiny gradients leave f32. Fixed order: runs agree bit for bit.
#include "common/elementwise.cuh"
#include "common/records.cuh"
#include "common/reduce.cuh"

static const int GUARD_THREADS = 1024;

extern "C" __global__ void __launch_bounds__(BLOCK)
    global_norm_part(double* parts, const float* g, u32 n) {
    __shared__ double partial[BLOCK / WARP];
    double sum = 0.0;
    each_piece<4>(n, aligned(g), [&](auto width, u32 i) {
        constexpr int W = decltype(width)::value;
        float v[W];
        load_f32<float, W>(g + i, v);
#pragma unroll
        for (int k = 0; k < W; k++) sum += static_cast<double>(v[k]) * v[k];
    });
    sum = block_sum(sum, partial);
    if (threadIdx.x == 0) parts[blockIdx.x] = sum;
}

// One block of GUARD_THREADS.
extern "C" __global__ void __launch_bounds__(GUARD_THREADS)
    global_norm_guard(Guard* guard, const double* parts, const float* losses, u32 count, u32 k,
                      float max_norm) {
    __shared__ double partial[GUARD_THREADS / WARP];
    double sum = 0.0;
    for (u32 i = threadIdx.x; i < count; i += GUARD_THREADS) sum += parts[i];
    const float norm = static_cast<float>(sqrt(block_sum(sum, partial)));
    bool finite = isfinite(norm);
    for (u32 i = threadIdx.x; i < k; i += GUARD_THREADS) finite = finite && isfinite(losses[i]);
    finite = __syncthreads_and(finite);
    if (threadIdx.x > 0) return;
    guard->norm = norm;
    guard->scale = max_norm > 0.0f ? fminf(max_norm / (norm + 1e-6f), 1.0f) : 1.0f;
    guard->ok = finite ? 1.0f : 0.0f;
}
