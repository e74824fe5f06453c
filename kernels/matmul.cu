// matmul: contract and formula in src/ops/matmul/mod.rs. Three products and one column sum:
//
//   fwd     out (m, n) = a (m, k) b (n, k)^T + bias (n)      y  = x w^T + b
//   bwd_dx  out (m, n) = a (m, k) b (k, n)                   dx = dy w
//   bwd_dw  out (m, n) = a (k, m)^T b (k, n), f32            dw = dy^T x
//   swiglu  y (m, f)   = silu(g) u, g and u (m, f) the halves of x (m, k) w (2f, k)^T
//   bwd_db  out (n)    = column sums of a (m, n), f32        db
//
//   All row-major and contiguous; any m, n, k. `add` 1 adds to out. bias may be null.
//   Sums in f32; out is rounded once, at the store. Every order is fixed: runs agree bit for bit.
//   bwd_dw cuts its long k into gridDim.z parts of k_per_split (a multiple of 32), each written to
//   a slice of its own; sum_parts adds the slices in order. fwd and bwd_dx have one part.
//   swiglu and swiglu_bwd (d_gate_up of the product that follows) are bf16 with k % 8 == 0 and
//   f % 8 == 0. They spare what a SwiGLU of its own would move: forward the reading of g and u, and
//   without gradient their writing; backward the writing and reading of its gradient.
//
//   bf16  tensor cores, 4 warps, a tile of out per block, k in slices of 32, three slices of
//         swizzled shared memory filled by cp.async (no bank conflict on either side).
//     t128  128 x 128, a warp 64 x 64: per 16 of k, 8 ldmatrix.x4 feed 32 mma; 2 blocks on an SM.
//           Limited by the tensor cores: on sm_89 an mma takes 8 clocks of an SM, so 32 of them
//           256, while their fragments take 32 clocks of shared memory and their tiles 16.
//     t96   96 x 128, a warp 48 x 64: where its number of tiles divides better among the SMs.
//     t64   64 x 64, a warp 32 x 32: for outputs too small to give every SM a large tile.
//     any   t64 for rows that are no multiple of 16 bytes (vocabulary 12, two Q logits): an
//           operand whose rows are unaligned goes through registers element by element.
//   f32   FMA on CUDA cores, an 8 x 8 square per thread, k in slices of 8, three of them, filled by
//         cp.async of 4 bytes. Limited by the FMA pipe: 16 floats of shared memory per 64 FMA.
#include "common/gate.cuh"
#include "common/mma.cuh"
#include "common/reduce.cuh"

// Parameters of a product kernel, in order; E is the operands' type.
#define PRODUCT_PARAMETERS(OUT, E)                                                                \
    OUT *__restrict__ out, const E *__restrict__ a, const E *__restrict__ b,                      \
        const E *__restrict__ bias, u32 m, u32 n, u32 k, u32 k_per_split, u32 add

// An operand is (extent, k) with k innermost (K_INNER), or (k, extent).
enum Layout { K_INNER, K_OUTER };

__device__ __forceinline__ u64 operand_index(Layout layout, u32 at, u32 extent, u32 at_k, u32 k) {
    return layout == K_INNER ? static_cast<u64>(at) * k + at_k : static_cast<u64>(at_k) * extent + at;
}

// The tile of out that a block computes and its part of k. Neighbouring blocks share rows of a.
template <int ROWS, int COLS> struct Place {
    u32 row, col, k_begin, k_end;
    __device__ Place(u32 n, u32 k, u32 k_per_split) {
        const u32 tiles = (n + COLS - 1) / COLS;
        row = blockIdx.x / tiles * ROWS;
        col = blockIdx.x % tiles * COLS;
        k_begin = blockIdx.z * k_per_split;
        k_end = min(k, k_begin + k_per_split);
    }
};

template <typename Out, typename E>
__device__ __forceinline__ void store_one(Out* out, const E* bias, float x, u32 col, u32 add) {
    if (bias) x += to_f32(bias[col]);
    if (add) x += to_f32(*out);
    *out = from_f32<Out>(x);
}

// --- bf16, tensor cores ---------------------------------------------------------------------

static const int THREADS = 128, SLICE_K = 32, STAGES = 3;

// An operand's slice in shared memory: rows of 16-byte chunks of the innermost dimension, chunks
// permuted within a row so that eight rows of one chunk column fall on different banks. GATED: the
// operand holds `extent` gate rows, then as many up rows, and a slice takes turns, 32 rows of each.
template <int EXTENT, Layout LAYOUT, bool GATED = false> struct Slice {
    static const int ELEMS = EXTENT * SLICE_K;
    static const int CHUNKS = (LAYOUT == K_INNER ? SLICE_K : EXTENT) / 8;
    static const int PER_THREAD = ELEMS / 8 / THREADS;

    static __device__ __forceinline__ int offset(int row, int chunk) {
        const int swizzle = CHUNKS == 4 ? row / 2 % 4 : row % 8;
        return (row * CHUNKS + (chunk ^ swizzle)) * 8;
    }

    // Fill with elements [begin, begin + EXTENT) x [at_k, at_k + SLICE_K); zeros outside.
    template <bool ANY>
    static __device__ __forceinline__ void fill(bf16* slice, const bf16* from, u32 begin, u32 extent,
                                                u32 at_k, u32 k_end, u32 k) {
        const bool aligned = !ANY || ((LAYOUT == K_INNER ? k : extent) % 8 == 0 &&
                                      reinterpret_cast<u64>(from) % 16 == 0);
#pragma unroll
        for (int i = 0; i < PER_THREAD; i++) {
            const int index = i * THREADS + threadIdx.x, row = index / CHUNKS, chunk = index % CHUNKS;
            const int inside = LAYOUT == K_INNER ? row : chunk * 8;
            const u32 e = begin + (GATED ? inside / 64 * 32 + inside % 32 : inside);
            const u32 kk = at_k + (LAYOUT == K_INNER ? chunk * 8 : row);
            const u32 half = GATED && inside / 32 % 2 ? extent : 0;
            const bf16* source = from + operand_index(LAYOUT, half + e, extent, kk, k);
            bf16* to = slice + offset(row, chunk);
            const bool valid = e < extent && kk < k_end;
            if (aligned) {
                cp_async_16(to, source, valid);
            } else {
                const u32 room = LAYOUT == K_INNER ? k_end - kk : extent - e;
                Vec<bf16, 8> v;
#pragma unroll
                for (int j = 0; j < 8; j++) v.at[j] = valid && j < room ? source[j] : bf16(0.0f);
                *reinterpret_cast<Vec<bf16, 8>*>(to) = v;
            }
        }
    }

    // Four 8 x 8 fragments; this lane names row lane % 8 of the one at (e, kk), multiples of 8.
    static __device__ __forceinline__ void fragments(u32 (&r)[4], const bf16* slice, int e, int kk) {
        const int row = threadIdx.x % 8;
        if (LAYOUT == K_INNER) ldmatrix_x4(r, slice + offset(e + row, kk / 8));
        else ldmatrix_x4_trans(r, slice + offset(kk + row, e / 8));
    }
};

// Two neighbours in a row; `paired` says that they may be stored as one.
template <typename Out>
__device__ __forceinline__ void store_two(Out* out, const bf16* bias, float x0, float x1, u32 col,
                                          u32 n, bool paired, u32 add) {
    if (paired) {
        if (col >= n) return;
        float x[2] = {x0, x1};
        if (bias) x[0] += to_f32(bias[col]), x[1] += to_f32(bias[col + 1]);
        if (add) {
            float old[2];
            load_f32<Out, 2>(out, old);
            x[0] += old[0], x[1] += old[1];
        }
        store_f32<Out, 2>(out, x);
    } else {
        if (col < n) store_one(out, bias, x0, col, add);
        if (col + 1 < n) store_one(out + 1, bias, x1, col + 1, add);
    }
}

// The quarter of a ROWS x COLS tile of out that one of four warps holds.
template <int ROWS, int COLS> struct WarpTile {
    static constexpr int MT = ROWS / 32, NT = COLS / 16;
    float acc[MT][NT][4];
    int row, col; // of acc[0][0][0] in the tile

    __device__ __forceinline__ WarpTile() : acc() {
        const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
        row = warp / 2 * (ROWS / 2) + lane / 4;
        col = warp % 2 * (COLS / 2) + lane % 4 * 2;
    }
};

// Sum over k from k_begin to k_end of rows row.. of a times rows col.. of b (columns if K_OUTER).
template <typename A, typename B, bool ANY, int ROWS, int COLS>
__device__ __forceinline__ void accumulate(WarpTile<ROWS, COLS>& tile, const bf16* a, const bf16* b,
                                           u32 row, u32 m, u32 col, u32 n, u32 k_begin, u32 k_end,
                                           u32 k) {
    typedef WarpTile<ROWS, COLS> W;
    __shared__ alignas(128) bf16 slices[STAGES][A::ELEMS + B::ELEMS];
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    const int warp_row = warp / 2 * (ROWS / 2), warp_col = warp % 2 * (COLS / 2);
    const u32 steps = (k_end - k_begin + SLICE_K - 1) / SLICE_K;

    auto fill = [&](u32 step) {
        if (step < steps) {
            bf16* slice = slices[step % STAGES];
            const u32 at_k = k_begin + step * SLICE_K;
            A::template fill<ANY>(slice, a, row, m, at_k, k_end, k);
            B::template fill<ANY>(slice + A::ELEMS, b, col, n, at_k, k_end, k);
        }
        cp_async_commit(); // also when empty: the wait below counts groups
    };

    for (int step = 0; step < STAGES - 1; step++) fill(step);
    for (u32 step = 0; step < steps; step++) {
        cp_async_wait<STAGES - 2>();
        __syncthreads(); // slice `step` is complete, and no warp still reads the one filled next
        fill(step + STAGES - 1);
        const bf16* slice = slices[step % STAGES];
#pragma unroll
        for (int kk = 0; kk < SLICE_K; kk += 16) {
            u32 fa[W::MT][4], fb[W::NT / 2][4];
#pragma unroll
            for (int i = 0; i < W::MT; i++)
                A::fragments(fa[i], slice, warp_row + 16 * i + lane / 8 % 2 * 8, kk + lane / 16 * 8);
#pragma unroll
            for (int j = 0; j < W::NT / 2; j++)
                B::fragments(fb[j], slice + A::ELEMS, warp_col + 16 * j + lane / 16 * 8,
                             kk + lane / 8 % 2 * 8);
#pragma unroll
            for (int i = 0; i < W::MT; i++)
#pragma unroll
                for (int j = 0; j < W::NT; j++)
                    mma_16816(tile.acc[i][j], fa[i], fb[j / 2][j % 2 * 2], fb[j / 2][j % 2 * 2 + 1]);
        }
    }
}

template <int ROWS, int COLS, Layout LA, Layout LB, bool ANY, typename Out>
__device__ __forceinline__ void product_bf16(PRODUCT_PARAMETERS(Out, bf16)) {
    typedef WarpTile<ROWS, COLS> W;
    const Place<ROWS, COLS> place(n, k, k_per_split);
    W tile;
    accumulate<Slice<ROWS, LA>, Slice<COLS, LB>, ANY>(tile, a, b, place.row, m, place.col, n,
                                                      place.k_begin, place.k_end, k);

    out += static_cast<u64>(blockIdx.z) * m * n;
    const bool paired = n % 2 == 0 && reinterpret_cast<u64>(out) % (2 * sizeof(Out)) == 0;
    const u32 row = place.row + tile.row, col = place.col + tile.col;
#pragma unroll
    for (int i = 0; i < 2 * W::MT; i++) {
        if (row + 8 * i >= m) break;
        Out* out_row = out + static_cast<u64>(row + 8 * i) * n;
#pragma unroll
        for (int j = 0; j < W::NT; j++) {
            const float* x = tile.acc[i / 2][j] + i % 2 * 2;
            store_two(out_row + col + 8 * j, bias, x[0], x[1], col + 8 * j, n, paired, add);
        }
    }
}

#define BF16(NAME, OUT, ROWS, COLS, LA, LB, ANY, BLOCKS)                                          \
    extern "C" __global__ void __launch_bounds__(THREADS, BLOCKS)                                  \
        matmul_##NAME(PRODUCT_PARAMETERS(OUT, bf16)) {                                             \
        product_bf16<ROWS, COLS, LA, LB, ANY>(out, a, b, bias, m, n, k, k_per_split, add);         \
    }
#define BF16_TILES(NAME, OUT, LA, LB)                                                              \
    BF16(NAME##_bf16_t128, OUT, 128, 128, LA, LB, false, 2)                                        \
    BF16(NAME##_bf16_t64, OUT, 64, 64, LA, LB, false, 4)                                           \
    BF16(NAME##_bf16_any, OUT, 64, 64, LA, LB, true, 4)

BF16_TILES(fwd, bf16, K_INNER, K_INNER)
BF16(fwd_bf16_t96, bf16, 96, 128, K_INNER, K_INNER, false, 2)
BF16_TILES(bwd_dx, bf16, K_INNER, K_OUTER)
BF16(bwd_dx_bf16_t96, bf16, 96, 128, K_INNER, K_OUTER, false, 2)
BF16_TILES(bwd_dw, float, K_OUTER, K_OUTER)

// 128 rows x 64 pairs a block. The products are rounded before the gate, as if stored and read.
extern "C" __global__ void __launch_bounds__(THREADS, 2)
    matmul_swiglu_bf16(bf16* __restrict__ y, bf16* __restrict__ gate_up, const bf16* __restrict__ x,
                       const bf16* __restrict__ w, u32 m, u32 f, u32 k) {
    typedef WarpTile<128, 128> W;
    const u32 tiles = (f + 63) / 64, row0 = blockIdx.x / tiles * 128, col0 = blockIdx.x % tiles * 64;
    W tile;
    accumulate<Slice<128, K_INNER>, Slice<128, K_INNER, true>, false>(tile, x, w, row0, m, col0, f, 0,
                                                                      k, k);

    const u32 row = row0 + tile.row, col = col0 + tile.col % 64 + tile.col / 64 * 32;
#pragma unroll
    for (int i = 0; i < 2 * W::MT; i++) {
        const u64 n = row + 8 * i;
        if (n >= m) break;
#pragma unroll
        for (int j = 0; j < W::NT / 2; j++) {
            const u32 at = col + 8 * j;
            if (at >= f) break;
            float g[2], u[2], yy[2];
#pragma unroll
            for (int h = 0; h < 2; h++) {
                g[h] = to_f32(bf16(tile.acc[i / 2][j][i % 2 * 2 + h]));
                u[h] = to_f32(bf16(tile.acc[i / 2][j + W::NT / 2][i % 2 * 2 + h]));
                yy[h] = gated(g[h], u[h]);
            }
            store_f32<bf16, 2>(y + n * f + at, yy);
            if (gate_up) {
                store_f32<bf16, 2>(gate_up + n * 2 * f + at, g);
                store_f32<bf16, 2>(gate_up + n * 2 * f + f + at, u);
            }
        }
    }
}

// The way back: d = dy (m, k) w (k, f), rounded, is the gradient of silu(g) u; d_gate_up is (m, 2f).
extern "C" __global__ void __launch_bounds__(THREADS, 2)
    matmul_swiglu_bwd_bf16(bf16* __restrict__ d_gate_up, const bf16* __restrict__ gate_up,
                           const bf16* __restrict__ dy, const bf16* __restrict__ w, u32 m, u32 f,
                           u32 k) {
    typedef WarpTile<128, 128> W;
    const u32 tiles = (f + 127) / 128, row0 = blockIdx.x / tiles * 128, col0 = blockIdx.x % tiles * 128;
    W tile;
    accumulate<Slice<128, K_INNER>, Slice<128, K_OUTER>, false>(tile, dy, w, row0, m, col0, f, 0, k, k);

#pragma unroll
    for (int i = 0; i < 2 * W::MT; i++) {
        const u64 n = row0 + tile.row + 8 * i;
        if (n >= m) break;
#pragma unroll
        for (int j = 0; j < W::NT; j++) {
            const u32 col = col0 + tile.col + 8 * j;
            if (col >= f) break;
            const u64 at = n * 2 * f + col;
            float g[2], u[2], dg[2], du[2];
            load_f32<bf16, 2>(gate_up + at, g);
            load_f32<bf16, 2>(gate_up + at + f, u);
#pragma unroll
            for (int h = 0; h < 2; h++) {
                const float d = to_f32(bf16(tile.acc[i / 2][j][i % 2 * 2 + h]));
                const float2 more = gated_gradients(d, g[h], u[h]);
                dg[h] = more.x, du[h] = more.y;
            }
            store_f32<bf16, 2>(d_gate_up + at, dg);
            store_f32<bf16, 2>(d_gate_up + at + f, du);
        }
    }
}

// --- f32, CUDA cores ------------------------------------------------------------------------

template <int TILE, Layout LA, Layout LB>
__device__ __forceinline__ void product_f32(PRODUCT_PARAMETERS(float, float)) {
    const int SIDE = TILE / 8, F32_THREADS = SIDE * SIDE, HALF = TILE / 2, STEP = 8;
    // (k, extent) for both operands; the padding keeps float4 alignment and spreads the banks.
    typedef float Lines[STEP][TILE + 4];
    __shared__ alignas(16) Lines slices[STAGES][2];

    const Place<TILE, TILE> place(n, k, k_per_split);
    const int tid = threadIdx.x, ty = tid / SIDE * 4, tx = tid % SIDE * 4;
    const u32 steps = (place.k_end - place.k_begin + STEP - 1) / STEP;

    auto fill_side = [&](Layout layout, Lines& to, const float* from, u32 begin, u32 extent, u32 at_k) {
#pragma unroll
        for (int i = 0; i < TILE * STEP / F32_THREADS; i++) {
            const int index = i * F32_THREADS + tid;
            const int e = layout == K_INNER ? index / STEP : index % TILE;
            const int kk = layout == K_INNER ? index % STEP : index / TILE;
            cp_async_4(&to[kk][e], from + operand_index(layout, begin + e, extent, at_k + kk, k),
                       begin + e < extent && at_k + kk < place.k_end);
        }
    };
    auto fill = [&](u32 step) {
        if (step < steps) {
            const u32 at_k = place.k_begin + step * STEP;
            fill_side(LA, slices[step % STAGES][0], a, place.row, m, at_k);
            fill_side(LB, slices[step % STAGES][1], b, place.col, n, at_k);
        }
        cp_async_commit();
    };

    float acc[8][8] = {};
    for (int step = 0; step < STAGES - 1; step++) fill(step);
    for (u32 step = 0; step < steps; step++) {
        cp_async_wait<STAGES - 2>();
        __syncthreads(); // as above
        fill(step + STAGES - 1);
#pragma unroll 2
        for (int kk = 0; kk < STEP; kk++) {
            // A thread's rows are ty .. ty + 3 and HALF + ty .. ; columns likewise.
            float x[2][8];
#pragma unroll
            for (int side = 0; side < 2; side++) {
                const float* line = slices[step % STAGES][side][kk] + (side ? tx : ty);
                const float4 lo = *reinterpret_cast<const float4*>(line);
                const float4 hi = *reinterpret_cast<const float4*>(line + HALF);
                x[side][0] = lo.x, x[side][1] = lo.y, x[side][2] = lo.z, x[side][3] = lo.w;
                x[side][4] = hi.x, x[side][5] = hi.y, x[side][6] = hi.z, x[side][7] = hi.w;
            }
#pragma unroll
            for (int i = 0; i < 8; i++)
#pragma unroll
                for (int j = 0; j < 8; j++) acc[i][j] = fmaf(x[0][i], x[1][j], acc[i][j]);
        }
    }

    out += static_cast<u64>(blockIdx.z) * m * n;
#pragma unroll
    for (int i = 0; i < 8; i++) {
        const u32 row = place.row + ty + i % 4 + i / 4 * HALF;
#pragma unroll
        for (int j = 0; j < 8; j++) {
            const u32 col = place.col + tx + j % 4 + j / 4 * HALF;
            if (row < m && col < n)
                store_one(out + static_cast<u64>(row) * n + col, bias, acc[i][j], col, add);
        }
    }
}

#define F32(NAME, TILE, LA, LB, BLOCKS)                                                            \
    extern "C" __global__ void __launch_bounds__(TILE * TILE / 64, BLOCKS)                         \
        matmul_##NAME##_f32_t##TILE(PRODUCT_PARAMETERS(float, float)) {                            \
        product_f32<TILE, LA, LB>(out, a, b, bias, m, n, k, k_per_split, add);                     \
    }
#define F32_TILES(NAME, LA, LB) F32(NAME, 128, LA, LB, 2) F32(NAME, 64, LA, LB, 4)

F32_TILES(fwd, K_INNER, K_INNER)
F32_TILES(bwd_dx, K_INNER, K_OUTER)
F32_TILES(bwd_dw, K_OUTER, K_OUTER)

// --- sums -----------------------------------------------------------------------------------

// out[i] (+)= parts[0][i] + parts[1][i] + ..., in this order.
extern "C" __global__ void __launch_bounds__(256)
    matmul_sum_parts_f32(float* __restrict__ out, const float* __restrict__ parts, u32 elems,
                         u32 count, u32 add) {
    const u32 i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= elems) return;
    float sum = 0.0f;
    for (u32 p = 0; p < count; p++) sum += parts[static_cast<u64>(p) * elems + i];
    out[i] = add ? out[i] + sum : sum;
}

// parts[blockIdx.y][c] = sum over rows [blockIdx.y * rows_per_part, ...) of dy[r][c]. A warp takes
// every eighth row of 32 columns; the eight sums are added in order.
template <typename E>
__device__ __forceinline__ void column_sums(float* __restrict__ parts, const E* __restrict__ dy,
                                            u32 m, u32 n, u32 rows_per_part) {
    __shared__ float sums[8][WARP];
    const u32 lane = threadIdx.x % WARP, warp = threadIdx.x / WARP, col = blockIdx.x * WARP + lane;
    const u32 begin = blockIdx.y * rows_per_part, end = min(m, begin + rows_per_part);
    float sum = 0.0f;
    if (col < n)
        for (u32 r = begin + warp; r < end; r += 8) sum += to_f32(dy[static_cast<u64>(r) * n + col]);
    sums[warp][lane] = sum;
    __syncthreads();
    if (warp > 0 || col >= n) return;
#pragma unroll
    for (int w = 1; w < 8; w++) sum += sums[w][lane];
    parts[static_cast<u64>(blockIdx.y) * n + col] = sum;
}

#define COLUMN_SUMS(E)                                                                             \
    extern "C" __global__ void __launch_bounds__(256) matmul_bwd_db_##E(                           \
        float* __restrict__ parts, const E* __restrict__ dy, u32 m, u32 n, u32 rows_per_part) {    \
        column_sums<E>(parts, dy, m, n, rows_per_part);                                            \
    }
COLUMN_SUMS(bf16)
typedef float f32;
COLUMN_SUMS(f32)
