// normuon: contract and formula in src/ops/normuon/mod.rs; the products are those of matmul.
//
//   m, g, p (R, K) f32    u, x (R, K) T    v (R) f32    rows (2, R) f32: sums of squares, factors
//   T is what forward computes in. Sums within a row are f32 in a warp, norms f64 over a fixed
//   partition: runs agree bit for bit. The guard being down, u is zeros, and what follows stays finite.
#include "common/records.cuh"
#include "common/row.cuh"

static const float NORM_EPS = 1e-7f;
static const float ROW_EPS = 1e-10f;

// Sums of squares of u go to `parts`, one of each block.
template <typename T>
__device__ __forceinline__ void momentum(T* u, float* m, double* parts, const float* g,
                                         const Guard* guard, float beta, u32 n) {
    __shared__ double partial[BLOCK / WARP];
    const bool ok = guard->ok != 0.0f;
    const float scale = guard->scale;
    double sum = 0.0;
    each_piece<4>(n, aligned(u, m, g), [&](auto width, u32 i) {
        constexpr int W = decltype(width)::value;
        float mi[W], gi[W], ui[W];
        load_f32<float, W>(m + i, mi);
        load_f32<float, W>(g + i, gi);
#pragma unroll
        for (int k = 0; k < W; k++) {
            const float x = scale * gi[k];
            mi[k] = beta * mi[k] + (1.0f - beta) * x;
            ui[k] = ok ? beta * mi[k] + (1.0f - beta) * x : 0.0f;
            sum += static_cast<double>(ui[k]) * ui[k];
        }
        if (ok) store_f32<float, W>(m + i, mi);
        store_f32<T, W>(u + i, ui);
    });
    sum = block_sum(sum, partial);
    if (threadIdx.x == 0) parts[blockIdx.x] = sum;
}

template <typename T> __device__ __forceinline__ void scale(T* x, const float* norm, u32 n) {
    const float factor = *norm;
    each_piece<16 / sizeof(T)>(n, aligned(x), [&](auto width, u32 i) {
        constexpr int W = decltype(width)::value;
        float xi[W];
        load_f32<T, W>(x + i, xi);
#pragma unroll
        for (int k = 0; k < W; k++) xi[k] *= factor;
        store_f32<T, W>(x + i, xi);
    });
}

// squared = c0 I + c1 a + c2 squared, n columns each; the diagonal is every n + 1 elements.
template <typename T>
__device__ __forceinline__ void combine(T* squared, const T* a, float c0, float c1, float c2,
                                        u32 n) {
    const u64 i = static_cast<u64>(blockIdx.x) * BLOCK + threadIdx.x;
    if (i >= static_cast<u64>(n) * n) return;
    const float diagonal = i % (n + 1) == 0 ? c0 : 0.0f;
    squared[i] = from_f32<T>(diagonal + c1 * to_f32(a[i]) + c2 * to_f32(squared[i]));
}

// A warp for each row: v, the row's sum of squares, what the row is multiplied by.
template <typename T>
__device__ __forceinline__ void rows(float* out, float* v, const T* x, const Guard* guard,
                                     float beta2, u32 r, u32 k) {
    const u32 lane = threadIdx.x % WARP;
    const u32 row = blockIdx.x * ROWS_PER_BLOCK + threadIdx.x / WARP;
    if (row >= r) return;
    x += static_cast<u64>(row) * k;
    float sum = 0.0f;
    for (u32 i = lane; i < k; i += WARP) sum += to_f32(x[i]) * to_f32(x[i]);
    sum = warp_sum(sum);
    if (lane > 0) return;
    float moment = v[row];
    if (guard->ok != 0.0f) {
        moment = beta2 * moment + (1.0f - beta2) * (sum / k);
        v[row] = moment;
    }
    out[row] = sum;
    out[r + row] = 1.0f / (sqrtf(moment) + ROW_EPS);
}

// A warp for each row.
template <typename T>
__device__ __forceinline__ void apply(float* p, bf16* copy, const T* x, const float* norm,
                                      const float* rows, const Guard* guard, const float* lr,
                                      float factor, float decay, u32 r, u32 k) {
    const u32 lane = threadIdx.x % WARP;
    const u32 row = blockIdx.x * ROWS_PER_BLOCK + threadIdx.x / WARP;
    if (row >= r || guard->ok == 0.0f) return;
    const float kept = 1.0f - *lr * decay;
    const float length = *lr * factor * *norm * rows[r + row];
    const u64 start = static_cast<u64>(row) * k;
    for (u32 i = lane; i < k; i += WARP) {
        const float next = kept * p[start + i] - length * to_f32(x[start + i]);
        p[start + i] = next;
        if (copy != nullptr) copy[start + i] = from_f32<bf16>(next);
    }
}

// One block: 1 / (norm + eps) of what was summed in parts.
extern "C" __global__ void __launch_bounds__(BLOCK)
    normuon_norm(float* norm, const double* parts, u32 count) {
    __shared__ double partial[BLOCK / WARP];
    double sum = 0.0;
    for (u32 i = threadIdx.x; i < count; i += BLOCK) sum += parts[i];
    sum = block_sum(sum, partial);
    if (threadIdx.x == 0) *norm = 1.0f / (static_cast<float>(sqrt(sum)) + NORM_EPS);
}

// One block: the norm of all rows over their norm once they are multiplied.
extern "C" __global__ void __launch_bounds__(BLOCK)
    normuon_length(float* norm, const float* rows, u32 r) {
    __shared__ double partial[BLOCK / WARP];
    double before = 0.0, after = 0.0;
    for (u32 i = threadIdx.x; i < r; i += BLOCK) {
        const double sum = rows[i], factor = rows[r + i];
        before += sum;
        after += sum * factor * factor;
    }
    before = block_sum(before, partial);
    after = block_sum(after, partial);
    if (threadIdx.x == 0) *norm = static_cast<float>(sqrt(before) / (sqrt(after) + ROW_EPS));
}

#define NORMUON(T, NAME)                                                                         \
    extern "C" __global__ void __launch_bounds__(BLOCK)                                          \
        normuon_momentum_##NAME(T* u, float* m, double* parts, const float* g,                   \
                                const Guard* guard, float beta, u32 n) {                         \
        momentum<T>(u, m, parts, g, guard, beta, n);                                             \
    }                                                                                            \
    extern "C" __global__ void __launch_bounds__(BLOCK)                                          \
        normuon_scale_##NAME(T* x, const float* norm, u32 n) {                                   \
        scale<T>(x, norm, n);                                                                    \
    }                                                                                            \
    extern "C" __global__ void __launch_bounds__(BLOCK)                                          \
        normuon_combine_##NAME(T* squared, const T* a, float c0, float c1, float c2, u32 n) {    \
        combine<T>(squared, a, c0, c1, c2, n);                                                   \
    }                                                                                            \
    extern "C" __global__ void __launch_bounds__(ROWS_PER_BLOCK* WARP)                           \
        normuon_rows_##NAME(float* out, float* v, const T* x, const Guard* guard, float beta2,   \
                            u32 r, u32 k) {                                                      \
        rows<T>(out, v, x, guard, beta2, r, k);                                                  \
    }                                                                                            \
    extern "C" __global__ void __launch_bounds__(ROWS_PER_BLOCK* WARP)                           \
        normuon_apply_##NAME(float* p, bf16* copy, const T* x, const float* norm,                \
                             const float* rows, const Guard* guard, const float* lr,             \
                             float factor, float decay, u32 r, u32 k) {                          \
        apply<T>(p, copy, x, norm, rows, guard, lr, factor, decay, r, k);                        \
    }
NORMUON(float, f32)
NORMUON(bf16, bf16)
