// sign_sgd_rows: contract and formula in src/ops/sign_sgd_rows/mod.rs. Its letters:
//
//   table (NP, D)    ids (R) i32    g (R, D)
//   blockIdx.x is r. The first r that names an id owns its row: it sums the gradients of all later
//   ones in order of r, so that no two blocks write a row and runs agree bit for bit. Every warp
//   walks the ids by itself, 32 at a time.
//   Ids outside the table are passed over: puzzle_emb has made their rows NaN before.
#include "common/elementwise.cuh"
#include "common/records.cuh"
#include "common/reduce.cuh"

static const int ROW_THREADS = 128;

// `Factors` of src/ops/sign_sgd_rows/mod.rs.
struct Factors {
    float lr, decay;
};

// Columns column..column+W of the row that this warp's lanes own; all 32 lanes call it.
template <int W>
__device__ __forceinline__ void update(float* table, const int* ids, const float* g, u32 r_count,
                                       u32 d, u32 column, float lr, float decay) {
    const u32 r = blockIdx.x, lane = threadIdx.x % WARP;
    const int id = ids[r];
    float sum[W] = {};
    for (u32 base = 0; base < r_count; base += WARP) {
        u32 same = __ballot_sync(ALL_LANES, base + lane < r_count && ids[base + lane] == id);
        while (same != 0) {
            const u32 other = base + __ffs(same) - 1;
            if (other < r) return; // not the first: for all lanes alike
            same &= same - 1;
            if (column >= d) continue;
            float x[W];
            load_f32<float, W>(g + static_cast<u64>(other) * d + column, x);
#pragma unroll
            for (int k = 0; k < W; k++) sum[k] += x[k];
        }
    }
    if (column >= d) return;
    float* row = table + static_cast<u64>(id) * d + column;
    float w[W];
    load_f32<float, W>(row, w);
#pragma unroll
    for (int k = 0; k < W; k++) {
        const float sign = sum[k] > 0.0f ? 1.0f : sum[k] < 0.0f ? -1.0f : 0.0f;
        w[k] = decay * w[k] - lr * sign;
    }
    store_f32<float, W>(row, w);
}

extern "C" __global__ void __launch_bounds__(ROW_THREADS)
    sign_sgd_rows_step(float* table, const int* ids, const float* g, const Guard* guard,
                       const Factors* factors, u32 r_count, u32 d, u32 np) {
    if (guard->ok == 0.0f || static_cast<u32>(ids[blockIdx.x]) >= np) return;
    const float lr = factors->lr, decay = factors->decay;
    const u32 me = blockIdx.y * ROW_THREADS + threadIdx.x, threads = gridDim.y * ROW_THREADS;
    const u32 first = me / WARP * WARP;
    if (d % 4 == 0 && aligned(table, g)) {
        for (u32 at = first * 4; at < d; at += threads * 4)
            update<4>(table, ids, g, r_count, d, at + me % WARP * 4, lr, decay);
    } else {
        for (u32 at = first; at < d; at += threads)
            update<1>(table, ids, g, r_count, d, at + me % WARP, lr, decay);
    }
}
