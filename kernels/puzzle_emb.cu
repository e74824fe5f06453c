// puzzle_emb: contract in src/ops/puzzle_emb/mod.rs. rows[b] = table[ids[b]]; n = B * D.
//
//   An id outside the table makes its row NaN: the loss is then not finite and the step refused.
#include "common/elementwise.cuh"

extern "C" __global__ void __launch_bounds__(BLOCK)
    puzzle_emb_gather(float* rows, const float* table, const int* ids, u32 n, u32 d, u32 np) {
    each_piece<4>(n, d % 4 == 0 && aligned(rows, table), [&](auto width, u32 i) {
        constexpr int W = decltype(width)::value;
        const u32 id = ids[i / d];
        float v[W];
        if (id < np) {
            load_f32<float, W>(table + static_cast<u64>(id) * d + i % d, v);
        } else {
#pragma unroll
            for (int k = 0; k < W; k++) v[k] = __int_as_float(0x7fffffff);
        }
        store_f32<float, W>(rows + i, v);
    });
}
