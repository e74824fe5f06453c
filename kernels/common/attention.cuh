// Parts of the tensor-core attention kernels: a tile of rows in shared memory, RoPE, fragments.
//
// A tile is TILE rows of HD bf16. The 16-byte chunks of a row are permuted by the row's place in
// its group of eight, so that ldmatrix (8 rows, one chunk) and the copies below meet every bank
// once.
//
// RoPE pairs column i with i + HD/2. A warp copies whole rows and rotates them in place before the
// barrier that hands the tile to the block. In fragments one thread has both columns of a pair. cos
// and sin are (places, HD), halves alike; only the first half is read.
#pragma once
#include "common/layout.cuh"
#include "common/mma.cuh"

#define LOG2_E 1.4426950408889634f

enum : u32 {
    TILE = 64, // rows of a tile
    STEP = 16, // rows of a fragment: what one warp owns, and the grain of the tail
};

// One head of one row; grid (tiles, NH). A tile of the layout has 16 positions for each warp.
struct Head : Tile {
    u32 nh, hd;
    __device__ __forceinline__ Head(Ints tiles, Ints starts, Ints lengths, u32 nh, u32 hd)
        : Tile(tiles, starts, lengths), nh(nh), hd(hd) {}
    __device__ __forceinline__ u32 stride() const { return 3 * nh * hd; }
    __device__ __forceinline__ size_t part(u32 which) const {
        return static_cast<size_t>(start) * stride() + (which * nh + blockIdx.y) * hd;
    }
    __device__ __forceinline__ size_t y() const {
        return (static_cast<size_t>(start) * nh + blockIdx.y) * hd;
    }
    __device__ __forceinline__ size_t lse() const {
        return static_cast<size_t>(start) * nh + blockIdx.y * room;
    }
};

__device__ __forceinline__ float exp2_fast(float x) {
    float y;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
}

// Sum over the four lanes that hold one row of a fragment.
__device__ __forceinline__ float quad_sum(float x) {
    x += __shfl_xor_sync(0xffffffffu, x, 1);
    return x + __shfl_xor_sync(0xffffffffu, x, 2);
}

__device__ __forceinline__ float quad_max(float x) {
    x = fmaxf(x, __shfl_xor_sync(0xffffffffu, x, 1));
    return fmaxf(x, __shfl_xor_sync(0xffffffffu, x, 2));
}

__device__ __forceinline__ float low(u32 pair) { return __uint_as_float(pair << 16); }
__device__ __forceinline__ float high(u32 pair) { return __uint_as_float(pair & 0xffff0000u); }

// Two columns of the first half and their partners, rotated and rounded.
__device__ __forceinline__ void rotate(u32& x1, u32& x2, float2 c, float2 s) {
    const float a0 = low(x1), a1 = high(x1), b0 = low(x2), b1 = high(x2);
    x1 = pack_bf16(a0 * c.x - b0 * s.x, a1 * c.y - b1 * s.y);
    x2 = pack_bf16(b0 * c.x + a0 * s.x, b1 * c.y + a1 * s.y);
}

// ---- tiles --------------------------------------------------------------------------------------

// Bytes from the start of a tile. `row` may be any row with the same place among eight.
template <int HD> __device__ __forceinline__ u32 chunk_offset(u32 row, u32 chunk) {
    constexpr u32 CHUNKS = HD / 8;
    return (chunk ^ (row / (8 / CHUNKS)) % CHUNKS) * 16;
}

// Calls f(row, chunk, offset) for this thread's share of `rows` rows, up to a whole step, and the
// chunks of the first half; the partner chunk is at offset ^ HD. Eight lanes have eight rows and
// one chunk.
template <int HD, typename F> __device__ __forceinline__ void for_pairs(u32 rows, F f) {
    constexpr u32 PAIRS = HD / 16;
    const u32 first = threadIdx.x / (8 * PAIRS) * 8 + threadIdx.x % 8;
    const u32 chunk = threadIdx.x / 8 % PAIRS, offset = chunk_offset<HD>(first, chunk);
    for (u32 row = first; row < (rows + STEP - 1) / STEP * STEP; row += blockDim.x / PAIRS)
        f(row, chunk, row * (HD * 2) + offset);
}

struct Rows {
    const bf16* at;
    u32 stride;
};

// Starts copying the first `rows` rows of a and b, and zeros up to a whole step.
template <int HD>
__device__ __forceinline__ void copy_tiles(u32 to_a, Rows a, u32 to_b, Rows b, u32 rows) {
    for_pairs<HD>(rows, [&](u32 row, u32 chunk, u32 offset) {
        const bool valid = row < rows;
        const bf16* from_a = a.at + (valid ? row * a.stride + chunk * 8 : 0);
        const bf16* from_b = b.at + (valid ? row * b.stride + chunk * 8 : 0);
        cp_async_16(to_a + offset, from_a, valid);
        cp_async_16(to_a + (offset ^ HD), from_a + HD / 2, valid);
        cp_async_16(to_b + offset, from_b, valid);
        cp_async_16(to_b + (offset ^ HD), from_b + HD / 2, valid);
    });
    cp_async_commit();
}

// The tables of angles, and the places in them of the positions from `first` on.
struct Rope {
    Table cos, sin; // null: no rotation
    Ints places;
    u32 first;
    __device__ __forceinline__ Rope from(u32 t) const { return {cos, sin, places, first + t}; }
    __device__ __forceinline__ u32 place(u32 row) const { return places[first + row]; }
};

// After the warp's copies arrived; it rotates what it copied. A lane takes twice four columns, so
// that neighbours read whole sectors of the tables.
template <int HD> __device__ __forceinline__ void rotate_tile(void* tile, Rope rope, u32 rows) {
    __syncwarp();
    for_pairs<HD>(rows, [&](u32 row, u32 chunk, u32) {
        if (row >= rows) return;
        const u32 angles = rope.place(row) * HD;
#pragma unroll
        for (u32 h = 0; h < 2; h++) {
            // One chunk holds both fours at HD 16: rows 8..15 take the other one first, for the
            // banks.
            const u32 four = HD == 16 ? (h + row / 8) % 2 : chunk + h * (HD / 16);
            const u32 at = row * (HD * 2) + chunk_offset<HD>(row, four / 2) + four % 2 * 8;
            uint2* at1 = reinterpret_cast<uint2*>(static_cast<u8*>(tile) + at);
            uint2* at2 = reinterpret_cast<uint2*>(static_cast<u8*>(tile) + (at ^ HD));
            const float4 c = *reinterpret_cast<const float4*>(rope.cos + angles + four * 4);
            const float4 s = *reinterpret_cast<const float4*>(rope.sin + angles + four * 4);
            uint2 x1 = *at1, x2 = *at2;
            rotate(x1.x, x2.x, make_float2(c.x, c.y), make_float2(s.x, s.y));
            rotate(x1.y, x2.y, make_float2(c.z, c.w), make_float2(s.z, s.w));
            *at1 = x1;
            *at2 = x2;
        }
    });
}

// Where this lane points ldmatrix in the first 16 rows of a tile: as columns of B (rows of the tile
// are its columns), or transposed (rows of the tile are the summed index). Later chunks of the row
// are an xor away.
template <int HD> __device__ __forceinline__ u32 lane_for_rows() {
    const u32 lane = threadIdx.x % 32, row = lane % 8 + lane / 16 * 8;
    return row * (HD * 2) + chunk_offset<HD>(row, lane / 8 % 2);
}

template <int HD> __device__ __forceinline__ u32 lane_for_columns() {
    const u32 lane = threadIdx.x % 32, row = lane % 16;
    return row * (HD * 2) + chunk_offset<HD>(row, lane / 16);
}

// c0, c1 += a b^T for the 16 rows of b from row `first` of a tile: rows 0..7 are the columns of c0,
// rows 8..15 those of c1. `at` = tile + lane_for_rows().
template <int HD>
__device__ __forceinline__ void mma_rows(float (&c0)[4], float (&c1)[4], const u32 (&a)[HD / 16][4],
                                         u32 at, u32 first) {
#pragma unroll
    for (int k = 0; k < HD / 16; k++) {
        u32 b[4];
        ldmatrix_x4(b, (at ^ k * 32) + first * (HD * 2));
        mma_16816(c0, a[k], b[0], b[1]);
        mma_16816(c1, a[k], b[2], b[3]);
    }
}

// c += a b, the same 16 rows being the summed index. `at` = tile + lane_for_columns().
template <int HD>
__device__ __forceinline__ void mma_columns(float (&c)[HD / 8][4], const u32 (&a)[4], u32 at,
                                            u32 first) {
#pragma unroll
    for (int n = 0; n < HD / 16; n++) {
        u32 b[4];
        ldmatrix_x4_trans(b, (at ^ n * 32) + first * (HD * 2));
        mma_16816(c[2 * n], a, b[0], b[1]);
        mma_16816(c[2 * n + 1], a, b[2], b[3]);
    }
}

// 16 rows of a tile from row `first` as an A operand. `at` = tile + lane_for_columns().
template <int HD>
__device__ __forceinline__ void load_fragment(u32 (&a)[HD / 16][4], u32 at, u32 first) {
#pragma unroll
    for (int k = 0; k < HD / 16; k++) ldmatrix_x4(a[k], (at ^ k * 32) + first * (HD * 2));
}

// ---- fragments ----------------------------------------------------------------------------------
// Rows g and g + 8 (r = 0, 1), columns 8 n + 2 q and the next; g = lane / 4, q = lane % 4.

template <int HD> __device__ __forceinline__ u32& pair_at(u32 (&a)[HD / 16][4], int n, int r) {
    return a[n / 2][n % 2 * 2 + r];
}

// 16 rows of x as an A operand; zeros from row `rows` on.
template <int HD>
__device__ __forceinline__ void load_fragment(u32 (&a)[HD / 16][4], const bf16* __restrict__ x,
                                              u32 stride, u32 rows) {
    const u32 lane = threadIdx.x % 32;
#pragma unroll
    for (int r = 0; r < 2; r++) {
        const u32 row = lane / 4 + 8 * r;
        const u32* at = reinterpret_cast<const u32*>(x + row * stride + lane % 4 * 2);
#pragma unroll
        for (int n = 0; n < HD / 8; n++) pair_at<HD>(a, n, r) = row < rows ? at[4 * n] : 0;
    }
}

template <int HD>
__device__ __forceinline__ void rotate_fragment(u32 (&a)[HD / 16][4], Rope rope, u32 rows) {
    const u32 lane = threadIdx.x % 32;
#pragma unroll
    for (int r = 0; r < 2; r++) {
        const u32 row = lane / 4 + 8 * r;
        if (row >= rows) continue;
        const u32 angles = rope.place(row) * HD;
#pragma unroll
        for (int n = 0; n < HD / 16; n++) {
            const u32 at = angles + 8 * n + lane % 4 * 2;
            rotate(pair_at<HD>(a, n, r), pair_at<HD>(a, n + HD / 16, r),
                   *reinterpret_cast<const float2*>(rope.cos + at),
                   *reinterpret_cast<const float2*>(rope.sin + at));
        }
    }
}

// The transpose of the rotation, on sums.
template <int HD>
__device__ __forceinline__ void unrotate_fragment(float (&d)[HD / 8][4], Rope rope, u32 rows) {
    const u32 lane = threadIdx.x % 32;
#pragma unroll
    for (int r = 0; r < 2; r++) {
        const u32 row = lane / 4 + 8 * r;
        if (row >= rows) continue;
        const u32 angles = rope.place(row) * HD;
#pragma unroll
        for (int n = 0; n < HD / 16; n++) {
            const u32 at = angles + 8 * n + lane % 4 * 2;
            const float2 c = *reinterpret_cast<const float2*>(rope.cos + at);
            const float2 s = *reinterpret_cast<const float2*>(rope.sin + at);
            float *d1 = &d[n][2 * r], *d2 = &d[n + HD / 16][2 * r];
            const float a0 = d1[0], a1 = d1[1];
            d1[0] = a0 * c.x + d2[0] * s.x;
            d1[1] = a1 * c.y + d2[1] * s.y;
            d2[0] = d2[0] * c.x - a0 * s.x;
            d2[1] = d2[1] * c.y - a1 * s.y;
        }
    }
}

// Rows below `rows`, each times its factor, set or added; zeros in the filling behind them, up to
// `room`, unless it is added to.
template <int HD>
__device__ __forceinline__ void store_fragment(bf16* __restrict__ to, u32 stride, u32 rows,
                                               u32 room, const float (&x)[HD / 8][4],
                                               const float (&factor)[2], bool add) {
    const u32 lane = threadIdx.x % 32;
#pragma unroll
    for (int r = 0; r < 2; r++) {
        const u32 row = lane / 4 + 8 * r;
        if (row >= room || (add && row >= rows)) continue;
        u32* at = reinterpret_cast<u32*>(to + row * stride + lane % 4 * 2);
        if (row >= rows) {
#pragma unroll
            for (int n = 0; n < HD / 8; n++) at[4 * n] = 0;
            continue;
        }
#pragma unroll
        for (int n = 0; n < HD / 8; n++) {
            float x0 = x[n][2 * r] * factor[r], x1 = x[n][2 * r + 1] * factor[r];
            if (add) {
                const u32 old = at[4 * n];
                x0 += low(old);
                x1 += high(old);
            }
            at[4 * n] = pack_bf16(x0, x1);
        }
    }
}

// Zeros in the filling of this warp's 16 rows.
template <int HD> __device__ __forceinline__ void clear_rows(bf16* to, u32 stride, u32 room) {
    const float none[HD / 8][4] = {};
    store_fragment<HD>(to, stride, 0, room, none, {1.0f, 1.0f}, false);
}
