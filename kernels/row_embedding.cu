// row_embedding: contract and formula in src/ops/row_embedding/mod.rs.
//
//   x, y, dy (N, C)    table (K, C)    dtable (K, C) f32    ids (R) i32    sums (R, C) f32
//   Backward: a thread sums a column over the positions of one row, then a thread sums a column of
//   the table over the rows that took it, both in order, without atomics. R is a batch: the second
//   pass reads ids K C / 256 times from cache and each sum once.
#include "common/elementwise.cuh"
#include "common/layout.cuh"

__device__ __forceinline__ u32 pick(int id, u32 stride, u32 rows) {
    return static_cast<u32>(id) / stride % rows;
}

template <typename T>
__device__ __forceinline__ void forward(T* y, const T* x, const T* table, Ints ids, Ints row_of,
                                        u32 n, u32 c, u32 stride, u32 rows) {
    constexpr int N = 16 / sizeof(T);
    each_piece<N>(n, c % N == 0 && aligned(y, x, table), [&](auto width, u32 i) {
        constexpr int W = decltype(width)::value;
        const u64 k = pick(ids[row_of[i / c]], stride, rows);
        float v[W], e[W];
        load_f32<T, W>(x + i, v);
        load_f32<T, W>(table + k * c + i % c, e);
#pragma unroll
        for (int j = 0; j < W; j++) v[j] += e[j];
        store_f32<T, W>(y + i, v);
    });
}

template <typename T>
__device__ __forceinline__ void row_sums(float* sums, const T* dy, Ints starts, Ints lengths,
                                         u32 c) {
    const u32 row = blockIdx.x, j = blockIdx.y * BLOCK + threadIdx.x;
    if (j >= c) return;
    const u32 start = starts[row], room = starts[row + 1] - start;
    const u32 length = min(static_cast<u32>(max(lengths[row], 0)), room);
    dy += static_cast<u64>(start) * c + j;
    float sum = 0.0f;
#pragma unroll 4
    for (u32 t = 0; t < length; t++) sum += to_f32(dy[static_cast<u64>(t) * c]);
    sums[static_cast<u64>(row) * c + j] = sum;
}

extern "C" __global__ void __launch_bounds__(BLOCK)
    row_embedding_table(float* dtable, const float* sums, const int* ids, u32 batch, u32 c,
                        u32 stride, u32 rows, u32 add) {
    const u32 k = blockIdx.x, j = blockIdx.y * BLOCK + threadIdx.x;
    if (j >= c) return;
    const u64 at = static_cast<u64>(k) * c + j;
    float sum = add ? dtable[at] : 0.0f;
    for (u32 row = 0; row < batch; row++)
        if (pick(ids[row], stride, rows) == k) sum += sums[static_cast<u64>(row) * c + j];
    dtable[at] = sum;
}

#define ROW_EMBEDDING(T, NAME)                                                                   \
    extern "C" __global__ void __launch_bounds__(BLOCK) row_embedding_fwd_##NAME(                \
        T* y, const T* x, const T* table, const int* ids, const int* row_of, u32 n, u32 c,       \
        u32 stride, u32 rows) {                                                                  \
        forward<T>(y, x, table, ids, row_of, n, c, stride, rows);                                \
    }                                                                                            \
    extern "C" __global__ void __launch_bounds__(BLOCK) row_embedding_rows_##NAME(               \
        float* sums, const T* dy, const int* starts, const int* lengths, u32 c) {                \
        row_sums<T>(sums, dy, starts, lengths, c);                                               \
    }
ROW_EMBEDDING(float, f32)
ROW_EMBEDDING(bf16, bf16)
