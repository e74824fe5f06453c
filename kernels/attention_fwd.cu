// attention forward on tensor cores, bf16, HD 16, 32, 64: contract in src/ops/attention/mod.rs.
//
//   qkv (N, 3*NH*HD)    cos, sin (places, HD) f32 or null    y (N, NH*HD)
//   lse (N*NH) f32, a slot's (NH, T) end to end. Filling is not read; its y is 0.
//   A warp owns 16 queries and keeps their softmax; tiles of 64 keys pass through two stages of
//   shared memory by cp.async, one barrier a tile. Scores and sums are f32, in base 2; P is rounded
//   to bf16. The tail goes in steps of 16 keys: T = 901 costs 912. Up to 8 warps a block.
//   Causal: a block stops at its last query, a warp at its own; the last step of it is masked.
//
//   RoPE is applied on load. A pass before, over k alone, would move 231 KB for a head at T = 901
//   and HD 64: 0.23 us of a 4090's DRAM beside 1.29 us of HMMA. Here each block of 128 queries
//   turns all keys again: 100 of about 480 instructions a tile, which the tensor cores outlast.
//   Counted at HD 64 for one HMMA, 32 clocks of a sub-core on sm_89: 7.5 issue slots in all, 4.3
//   clocks of MUFU (exp2), 9 of shared memory for all four sub-cores, no bank conflict. At HD 16
//   there is four times the softmax for an HMMA: exp2 takes half as long as the products.
#include "common/attention.cuh"
#include "common/sight.cuh"

// One tile of keys into the running softmax of 16 queries. Scores are in base 2: s * scale2.
// `query` is this lane's first, `key` the tile's.
template <int HD, bool TAIL, typename S>
__device__ __forceinline__ void attend(const u32 (&q)[HD / 16][4], u32 k, u32 v, u32 keys,
                                       float scale2, float (&max)[2], float (&sum)[2],
                                       float (&y)[HD / 8][4], S sight, u32 query, u32 key) {
    const float NONE = __uint_as_float(0xff800000u); // -infinity
    float s[TILE / 8][4] = {};
#pragma unroll
    for (u32 j = 0; j < TILE; j += STEP)
        if (!TAIL || j < keys) mma_rows<HD>(s[j / 8], s[j / 8 + 1], q, k, j);
    float new_max[2] = {max[0], max[1]};
#pragma unroll
    for (int n = 0; n < TILE / 8; n++)
#pragma unroll
        for (int e = 0; e < 4; e++) {
            const u32 own = 8 * n + threadIdx.x % 4 * 2 + e % 2;
            if (TAIL && own >= keys) s[n][e] = NONE;
            if (TAIL && sight.causal && key + own > query + e / 2 * 8) s[n][e] = NONE;
            new_max[e / 2] = fmaxf(new_max[e / 2], s[n][e]);
        }
    float shift[2];
#pragma unroll
    for (int r = 0; r < 2; r++) {
        new_max[r] = quad_max(new_max[r]);
        shift[r] = new_max[r] * scale2;
        const float shrink = exp2_fast(max[r] * scale2 - shift[r]);
        max[r] = new_max[r];
        sum[r] *= shrink;
#pragma unroll
        for (int n = 0; n < HD / 8; n++) {
            y[n][2 * r] *= shrink;
            y[n][2 * r + 1] *= shrink;
        }
    }
#pragma unroll
    for (u32 j = 0; j < TILE; j += STEP) {
        if (TAIL && j >= keys) break;
        u32 p[4];
        uint2 words[2][2]; // of these 16 keys, eight by eight, for both queries
        if constexpr (S::SIGHTED)
            if (sight.drops) {
#pragma unroll
                for (int n = 0; n < 2; n++) sight.words(query, key + j + 8 * n, words[n]);
            }
#pragma unroll
        for (int i = 0; i < 4; i++) {
            const float* s2 = &s[j / 8 + i / 2][i % 2 * 2];
            const float p0 = exp2_fast(s2[0] * scale2 - shift[i % 2]);
            const float p1 = exp2_fast(s2[1] * scale2 - shift[i % 2]);
            sum[i % 2] += p0 + p1;
            p[i] = pack_bf16(p0, p1);
            const uint2 own = words[i / 2][i % 2];
            if constexpr (S::SIGHTED)
                if (sight.drops) p[i] = sight.kept(own.x, own.y, p[i]);
        }
        mma_columns<HD>(y, p, v, j);
    }
}

template <int HD, typename S>
__device__ __forceinline__ void forward(bf16* __restrict__ y_out, float* __restrict__ lse,
                                        const bf16* __restrict__ qkv, Head head, Rope rope,
                                        float scale2, S sight) {
    __shared__ alignas(128) uint4 tiles[2][2][TILE * HD / 8]; // stage; k, v
    constexpr u32 SIZE = TILE * HD * 2;
    const u32 stride = head.stride(), width = head.nh * HD;
    const u32 len = head.t, first = head.first + threadIdx.x / 32 * STEP;
    const u32 rows = first < len ? len - first : 0;
    const u32 lane = threadIdx.x % 32;
    const auto to = [&] { return y_out + head.y() + static_cast<size_t>(first) * width; };
    const auto room = [&] { return first < head.room ? head.room - first : 0; };
    if (head.first >= len) return clear_rows<HD>(to(), width, room());
    const u32 seen = sight.causal ? min(len, head.first + blockDim.x / 32 * STEP) : len;
    const bf16* k = qkv + head.part(1);
    const u32 shared = shared_address(tiles);
    const auto tile = [&](u32 j, u32 which) { return shared + (j / TILE % 2 * 2 + which) * SIZE; };
    const auto copy = [&](u32 j) {
        copy_tiles<HD>(tile(j, 0), {k + j * stride, stride}, tile(j, 1),
                       {k + j * stride + width, stride},
                       min(seen - j, u32(TILE)));
    };
    copy(0);

    u32 q[HD / 16][4];
    load_fragment<HD>(q, qkv + head.part(0) + first * stride, stride, rows);
    if (rope.cos) rotate_fragment<HD>(q, rope.from(first), rows);
    float y[HD / 8][4] = {}, sum[2] = {};
    float max[2] = {__uint_as_float(0xff800000u), __uint_as_float(0xff800000u)};
    for (u32 j = 0; j < seen; j += TILE) {
        const u32 keys = min(seen - j, u32(TILE));
        cp_async_wait<0>();
        if (rope.cos) rotate_tile<HD>(tiles[j / TILE % 2][0], rope.from(j), keys);
        __syncthreads(); // tile j is complete, and nobody reads the other stage any more
        if (j + TILE < seen) copy(j + TILE);
        if (rows == 0 || (sight.causal && j > first)) continue;
        const u32 kj = tile(j, 0) + lane_for_rows<HD>(), vj = tile(j, 1) + lane_for_columns<HD>();
        const u32 own = sight.causal ? min(keys, first + STEP - j) : keys, query = first + lane / 4;
        if (own == TILE && !(sight.causal && j + TILE > first + 1))
            attend<HD, false>(q, kj, vj, TILE, scale2, max, sum, y, sight, query, j);
        else
            attend<HD, true>(q, kj, vj, own, scale2, max, sum, y, sight, query, j);
    }

    float factor[2];
#pragma unroll
    for (int r = 0; r < 2; r++) {
        sum[r] = quad_sum(sum[r]);
        factor[r] = sight.keep / sum[r];
        const u32 row = first + lane / 4 + 8 * r;
        if (lane % 4 == 0 && row < len)
            lse[head.lse() + row] = (max[r] * scale2 + __log2f(sum[r])) * 0.693147180559945f;
    }
    store_fragment<HD>(to(), width, rows, room(), y, factor, false);
}

#define FORWARD(HD, NAME, SIGHT_OF, ...)                                                           \
    extern "C" __global__ void __launch_bounds__(256, 2) attention_fwd_##NAME##_bf16(              \
        bf16* y, float* lse, const bf16* qkv, const float* cos, const float* sin,                  \
        const int* tiles, const int* starts, const int* lengths, const int* places, u32 nh,        \
        float scale __VA_ARGS__) {                                                                 \
        const Head head(tiles, starts, lengths, nh, HD);                                           \
        forward<HD>(y, lse, qkv, head, {cos, sin, places, head.start}, scale * LOG2_E, SIGHT_OF);  \
    }

FORWARD(16, hd16, Everything())
FORWARD(32, hd32, Everything())
FORWARD(64, hd64, Everything())
FORWARD(16, sight_hd16, SIGHT(head.start), AND_SIGHT)
FORWARD(32, sight_hd32, SIGHT(head.start), AND_SIGHT)
FORWARD(64, sight_hd64, SIGHT(head.start), AND_SIGHT)
