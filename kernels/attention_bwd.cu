// attention backward on tensor cores, bf16, HD 16, 32, 64: contract in src/ops/attention/mod.rs.
//
//   dqkv, qkv (N, 3*NH*HD)    y, dy (N, NH*HD)
//   lse, delta (N*NH) f32, a slot's (NH, T) end to end
//   P comes again from lse; P and dS are rounded to bf16, sums are f32. RoPE on load as in forward,
//   its transpose at the store. `add`: dqkv is added to. Filling is not read; its dqkv is 0, or
//   what it was where it is added to.
//   Slots of T > 96: dq by query blocks (with delta = dy . y), then dk and dv by key blocks: 7
//   products for the formula's 5, but nothing is summed across blocks, so the order is fixed
//   without float atomics or f32 partial sums of dq (1.9 MB a head at T = 901, written and read:
//   more DRAM time than two products take).
//   Slots of T <= 96: a block holds a head, and reads it once: 84 KB at T = 82 for 126 KB in two
//   passes.
//   Causal: what a block's positions do not see is passed over in steps of 16, and the step on the
//   diagonal masked.
//   Warps own 16 rows. Steps of 16 keep dq within 128 registers (2 blocks of 8 warps), dk with dv
//   in 168 (2 of 6). Counted at HD 64 for one HMMA, 32 clocks of a sub-core on sm_89: 6.1 issue
//   slots in dq, 5 in dk with dv; 9 clocks of shared memory for all four sub-cores, no bank
//   conflict.
#include "common/attention.cuh"
#include "common/sight.cuh"

struct Scales {
    float scale, scale2; // 1 / sqrt(HD), and for base 2
    __device__ __forceinline__ explicit Scales(float s) : scale(s), scale2(s * LOG2_E) {}
    // What weights() wants of a query; a query past the last gets weight 0.
    __device__ __forceinline__ float2 stats(bool valid, const float* lse, float delta) const {
        return valid ? make_float2(*lse * LOG2_E, delta * scale)
                     : make_float2(__uint_as_float(0x7f800000u), 0.0f);
    }
};

// The weights of two neighbours in a fragment and their gradients, both rounded:
// p = 2^(s scale2 - lse2), ds = p (dp - delta) scale. A query's stats are lse2 and delta * scale.
// With dropout dp is 0 or times `keep`, p 0 or as it is: dv is multiplied by `keep` in the end.
template <typename S>
__device__ __forceinline__ void weights(u32& p, u32& ds, const float* s, const float* dp,
                                        float2 stats0, float2 stats1, Scales c, S sight,
                                        const u32 (&words)[2]) {
    const float p0 = exp2_fast(s[0] * c.scale2 - stats0.x);
    const float p1 = exp2_fast(s[1] * c.scale2 - stats1.x);
    p = pack_bf16(p0, p1);
    float scale0 = c.scale, scale1 = c.scale;
    if constexpr (S::SIGHTED)
        if (sight.drops) {
            p = sight.kept(words[0], words[1], p);
            scale0 *= sight.factor(words[0]), scale1 *= sight.factor(words[1]);
        }
    ds = pack_bf16(p0 * (dp[0] * scale0 - stats0.y), p1 * (dp[1] * scale1 - stats1.y));
}

// No score where this thread's key comes after the query: rows and columns of a step of 16 keys and
// 16 queries whose first is the same. Rows are queries, or keys.
template <bool QUERIES> __device__ __forceinline__ void hide_later(float (&s)[2][4]) {
#pragma unroll
    for (u32 e = 0; e < 8; e++) {
        const u32 row = threadIdx.x % 32 / 4 + e % 4 / 2 * 8;
        const u32 column = threadIdx.x % 4 * 2 + e % 2 + e / 4 * 8;
        if (QUERIES ? column > row : row > column)
            s[e / 4][e % 4] = __uint_as_float(0xff800000u); // -infinity
    }
}

// dq += ds k of 16 queries from `first` for all `keys` keys of a tile, whose first is key `from`.
// k_rows, k_columns, v_rows: lane's places.
template <int HD, typename S>
__device__ __forceinline__ void query_pass(float (&dq)[HD / 8][4], const u32 (&q)[HD / 16][4],
                                           const u32 (&dy)[HD / 16][4], const float2 (&stats)[2],
                                           u32 k_rows, u32 k_columns, u32 v_rows, u32 keys,
                                           Scales c, S sight, u32 first, u32 from) {
#pragma unroll 1
    for (u32 j = 0; j < keys; j += STEP) {
        if (sight.causal && from + j > first) break;
        float s[2][4] = {}, dp[2][4] = {};
        mma_rows<HD>(s[0], s[1], q, k_rows, j);
        mma_rows<HD>(dp[0], dp[1], dy, v_rows, j);
        if (j + STEP > keys) {
#pragma unroll
            for (int e = 0; e < 8; e++)
                if (j + 8 * (e / 4) + threadIdx.x % 4 * 2 + e % 2 >= keys)
                    s[e / 4][e % 4] = __uint_as_float(0xff800000u); // -infinity
        }
        if (sight.causal && from + j == first) hide_later<true>(s);
        u32 p, ds[4];
        uint2 words[2][2] = {}; // of the keys, eight by eight, for both queries
        if constexpr (S::SIGHTED)
            if (sight.drops) {
#pragma unroll
                for (int n = 0; n < 2; n++)
                    sight.words(first + threadIdx.x % 32 / 4, from + j + 8 * n, words[n]);
            }
#pragma unroll
        for (int e = 0; e < 4; e++)
            weights(p, ds[e], &s[e / 2][e % 2 * 2], &dp[e / 2][e % 2 * 2], stats[e % 2],
                    stats[e % 2], c, sight, {words[e / 2][e % 2].x, words[e / 2][e % 2].y});
        mma_columns<HD>(dq, ds, k_columns, j);
    }
}

// dk += ds^T q, dv += p^T dy of 16 keys from `first` for all `queries` queries of a tile, whose
// first is query `from`; scores are transposed.
template <int HD, typename S>
__device__ __forceinline__ void key_pass(float (&dk)[HD / 8][4], float (&dv)[HD / 8][4],
                                         const u32 (&k)[HD / 16][4], const u32 (&v)[HD / 16][4],
                                         const float2* stats, u32 q_rows, u32 q_columns,
                                         u32 dy_rows, u32 dy_columns, u32 queries, Scales c,
                                         S sight, u32 first, u32 from) {
#pragma unroll 1
    for (u32 i = sight.causal && first > from ? first - from : 0; i < queries; i += STEP) {
        float s[2][4] = {}, dp[2][4] = {};
        mma_rows<HD>(s[0], s[1], k, q_rows, i);
        mma_rows<HD>(dp[0], dp[1], v, dy_rows, i);
        if (sight.causal && from + i == first) hide_later<false>(s);
        u32 p[4], ds[4];
        u32 words[2][2][2] = {}; // of queries, eight by eight, for both keys
        if constexpr (S::SIGHTED)
            if (sight.drops) {
#pragma unroll
                for (int n = 0; n < 2; n++)
                    sight.words(from + i + 8 * n + threadIdx.x % 4 * 2, first, words[n]);
            }
#pragma unroll
        for (int e = 0; e < 4; e++) {
            const float4 two =
                *reinterpret_cast<const float4*>(stats + i + 8 * (e / 2) + threadIdx.x % 4 * 2);
            weights(p[e], ds[e], &s[e / 2][e % 2 * 2], &dp[e / 2][e % 2 * 2],
                    make_float2(two.x, two.y), make_float2(two.z, two.w), c, sight,
                    words[e / 2][e % 2]);
        }
        mma_columns<HD>(dv, p, dy_columns, i);
        mma_columns<HD>(dk, ds, q_columns, i);
    }
}

// delta = dy . y of the fragment's rows (g and g + 8), in all lanes of the row.
template <int HD>
__device__ __forceinline__ void row_products(float (&delta)[2], u32 (&y)[HD / 16][4],
                                             u32 (&dy)[HD / 16][4]) {
#pragma unroll
    for (int r = 0; r < 2; r++) {
        float sum = 0.0f;
#pragma unroll
        for (int n = 0; n < HD / 8; n++) {
            const u32 a = pair_at<HD>(y, n, r), b = pair_at<HD>(dy, n, r);
            sum += low(a) * low(b) + high(a) * high(b);
        }
        delta[r] = quad_sum(sum);
    }
}

// ---- T > 96, first: dq, and delta for dk and dv. A warp owns 16 queries, passes over all keys ---

template <int HD, typename S>
__device__ __forceinline__ void backward_q(bf16* __restrict__ dqkv, float* __restrict__ delta,
                                           const bf16* __restrict__ qkv,
                                           const bf16* __restrict__ y,
                                           const bf16* __restrict__ dy,
                                           const float* __restrict__ lse, Head head, Rope rope,
                                           Scales scales, u32 add, S sight) {
    __shared__ alignas(128) uint4 tiles[2][2][TILE * HD / 8]; // stage; k, v
    constexpr u32 SIZE = TILE * HD * 2;
    const u32 stride = head.stride(), width = head.nh * HD, lane = threadIdx.x % 32;
    const u32 t = head.t, first = head.first + threadIdx.x / 32 * STEP;
    const u32 rows = first < t ? t - first : 0, room = first < head.room ? head.room - first : 0;
    bf16* const to = dqkv + head.part(0) + first * stride;
    if (head.first >= t) {
        if (!add) clear_rows<HD>(to, stride, room);
        return;
    }
    const u32 seen = sight.causal ? min(t, head.first + blockDim.x / 32 * STEP) : t;
    const bf16 *k = qkv + head.part(1), *v = qkv + head.part(2);
    const u32 shared = shared_address(tiles);
    const auto tile = [&](u32 j) { return shared + j / TILE % 2 * 2 * SIZE; };
    const auto copy = [&](u32 j) {
        copy_tiles<HD>(tile(j), {k + j * stride, stride}, tile(j) + SIZE, {v + j * stride, stride},
                       min(seen - j, u32(TILE)));
    };
    copy(0);

    u32 q[HD / 16][4], g[HD / 16][4];
    float sums[2];
    float2 stats[2];
    const size_t y_at = head.y() + static_cast<size_t>(first) * width;
    load_fragment<HD>(q, y + y_at, width, rows);
    load_fragment<HD>(g, dy + y_at, width, rows);
    row_products<HD>(sums, q, g);
#pragma unroll
    for (int r = 0; r < 2; r++) {
        const u32 row = lane / 4 + 8 * r;
        const size_t at = head.lse() + first + row;
        if (row < rows && lane % 4 == 0) delta[at] = sums[r];
        stats[r] = scales.stats(row < rows, lse + at, sums[r]);
    }
    load_fragment<HD>(q, qkv + head.part(0) + first * stride, stride, rows);
    if (rope.cos) rotate_fragment<HD>(q, rope.from(first), rows);

    float dq[HD / 8][4] = {};
    for (u32 j = 0; j < seen; j += TILE) {
        const u32 keys = min(seen - j, u32(TILE));
        cp_async_wait<0>();
        if (rope.cos) rotate_tile<HD>(tiles[j / TILE % 2][0], rope.from(j), keys);
        __syncthreads(); // tile j is complete, and nobody reads the other stage any more
        if (j + TILE < seen) copy(j + TILE);
        const u32 at = tile(j) + lane_for_rows<HD>();
        if (rows > 0)
            query_pass<HD>(dq, q, g, stats, at, tile(j) + lane_for_columns<HD>(), at + SIZE, keys,
                           scales, sight, first, j);
    }
    if (rope.cos) unrotate_fragment<HD>(dq, rope.from(first), rows);
    store_fragment<HD>(to, stride, rows, room, dq, {1.0f, 1.0f}, add);
}

// ---- T > 96, second: dk and dv. A warp owns 16 keys and passes over all queries -----------------

template <int HD, typename S>
__device__ __forceinline__ void backward_kv(bf16* __restrict__ dqkv, const bf16* __restrict__ qkv,
                                            const bf16* __restrict__ dy,
                                            const float* __restrict__ lse,
                                            const float* __restrict__ delta, Head head, Rope rope,
                                            Scales scales, u32 add, S sight) {
    __shared__ alignas(128) uint4 tiles[2][2][TILE * HD / 8]; // stage; q, dy
    __shared__ alignas(16) float2 stats[2][TILE];             // stage
    constexpr u32 SIZE = TILE * HD * 2;
    const u32 stride = head.stride(), width = head.nh * HD;
    const u32 t = head.t, first = head.first + threadIdx.x / 32 * STEP;
    const u32 rows = first < t ? t - first : 0, room = first < head.room ? head.room - first : 0;
    bf16* const to = dqkv + head.part(1) + first * stride; // dk, and dv a width behind
    if (head.first >= t) {
        if (!add) clear_rows<HD>(to, stride, room);
        if (!add) clear_rows<HD>(to + width, stride, room);
        return;
    }
    const bf16 *q = qkv + head.part(0), *g = dy + head.y();
    const u32 shared = shared_address(tiles);
    const auto tile = [&](u32 i) { return shared + i / TILE % 2 * 2 * SIZE; };
    const auto copy = [&](u32 i) {
        copy_tiles<HD>(tile(i), {q + i * stride, stride}, tile(i) + SIZE,
                       {g + i * width, width}, min(t - i, u32(TILE)));
    };
    const u32 begin = sight.causal ? head.first / TILE * TILE : 0;
    copy(begin);

    u32 k[HD / 16][4], v[HD / 16][4];
    load_fragment<HD>(k, qkv + head.part(1) + first * stride, stride, rows);
    load_fragment<HD>(v, qkv + head.part(2) + first * stride, stride, rows);
    if (rope.cos) rotate_fragment<HD>(k, rope.from(first), rows);

    float dk[HD / 8][4] = {}, dv[HD / 8][4] = {};
    for (u32 i = begin; i < t; i += TILE) {
        const u32 queries = min(t - i, u32(TILE));
        float2* const stat = stats[i / TILE % 2];
        for (u32 n = threadIdx.x; n < TILE; n += blockDim.x) {
            const size_t at = head.lse() + i + n;
            stat[n] = scales.stats(n < queries, lse + at, n < queries ? delta[at] : 0.0f);
        }
        cp_async_wait<0>();
        if (rope.cos) rotate_tile<HD>(tiles[i / TILE % 2][0], rope.from(i), queries);
        __syncthreads(); // tile i is complete, and nobody reads the other stage any more
        if (i + TILE < t) copy(i + TILE);
        const u32 at = tile(i) + lane_for_rows<HD>(), columns = tile(i) + lane_for_columns<HD>();
        if (rows > 0)
            key_pass<HD>(dk, dv, k, v, stat, at, columns, at + SIZE, columns + SIZE, queries,
                         scales, sight, first, i);
    }
    if (rope.cos) unrotate_fragment<HD>(dk, rope.from(first), rows);
    store_fragment<HD>(to, stride, rows, room, dk, {1.0f, 1.0f}, add);
    store_fragment<HD>(to + width, stride, rows, room, dv, {sight.keep, sight.keep}, add);
}

// ---- T <= 96: all of it. A block has a head, a warp 16 rows: first as keys, then as queries -----

template <int HD, typename S>
__device__ __forceinline__ void backward_short(bf16* __restrict__ dqkv,
                                               const bf16* __restrict__ qkv,
                                               const bf16* __restrict__ y,
                                               const bf16* __restrict__ dy,
                                               const float* __restrict__ lse, Head head, Rope rope,
                                               Scales scales, u32 add, S sight) {
    extern __shared__ __align__(128) uint4 dynamic[]; // q, dy, k, v; stats
    const u32 size = blockDim.x / 32 * STEP * HD * 2;
    const u32 stride = head.stride(), width = head.nh * HD, lane = threadIdx.x % 32;
    const u32 t = head.t, first = threadIdx.x / 32 * STEP;
    const u32 rows = first < t ? t - first : 0, room = first < head.room ? head.room - first : 0;
    const u32 q_tile = shared_address(dynamic), k_tile = q_tile + 2 * size;
    float2* stats = reinterpret_cast<float2*>(dynamic + 4 * size / 16);
    copy_tiles<HD>(q_tile, {qkv + head.part(0), stride}, q_tile + size,
                   {dy + head.y(), width}, t);
    copy_tiles<HD>(k_tile, {qkv + head.part(1), stride}, k_tile + size,
                   {qkv + head.part(2), stride}, t);
    u32 a[HD / 16][4], b[HD / 16][4];
    load_fragment<HD>(a, y + head.y() + first * width, width, rows);
    cp_async_wait<0>();
    if (rope.cos) {
        rotate_tile<HD>(dynamic, rope, t);
        rotate_tile<HD>(dynamic + 2 * size / 16, rope, t);
    }
    __syncthreads();

    const u32 q_rows = q_tile + lane_for_rows<HD>(), q_columns = q_tile + lane_for_columns<HD>();
    const u32 k_rows = k_tile + lane_for_rows<HD>(), k_columns = k_tile + lane_for_columns<HD>();
    if (rows > 0) {
        float delta[2];
        load_fragment<HD>(b, q_columns + size, first);
        row_products<HD>(delta, a, b);
#pragma unroll
        for (int r = 0; r < 2; r++) {
            const u32 row = lane / 4 + 8 * r;
            if (lane % 4 == 0)
                stats[first + row] =
                    scales.stats(row < rows, lse + head.lse() + first + row, delta[r]);
        }
    }
    __syncthreads();

    bf16* to = dqkv + head.part(0) + first * stride;
    if (rows == 0) {
        for (u32 part = 0; part < 3 && !add; part++)
            clear_rows<HD>(to + part * width, stride, room);
        return;
    }
    {
        float dk[HD / 8][4] = {}, dv[HD / 8][4] = {};
        load_fragment<HD>(a, k_columns, first);
        load_fragment<HD>(b, k_columns + size, first);
        key_pass<HD>(dk, dv, a, b, stats, q_rows, q_columns, q_rows + size, q_columns + size, t,
                     scales, sight, first, 0);
        if (rope.cos) unrotate_fragment<HD>(dk, rope.from(first), rows);
        store_fragment<HD>(to + width, stride, rows, room, dk, {1.0f, 1.0f}, add);
        store_fragment<HD>(to + 2 * width, stride, rows, room, dv, {sight.keep, sight.keep}, add);
    }
    float dq[HD / 8][4] = {};
    const float2 own[2] = {stats[first + lane / 4], stats[first + lane / 4 + 8]};
    load_fragment<HD>(a, q_columns, first);
    load_fragment<HD>(b, q_columns + size, first);
    query_pass<HD>(dq, a, b, own, k_rows, k_columns, k_rows + size, t, scales, sight,
                   first, 0);
    if (rope.cos) unrotate_fragment<HD>(dq, rope.from(first), rows);
    store_fragment<HD>(to, stride, rows, room, dq, {1.0f, 1.0f}, add);
}

#define ROWS const int *tiles, const int *starts, const int *lengths, const int *places, u32 nh
#define HEAD(HD)                                                                                   \
    const Head head(tiles, starts, lengths, nh, HD);                                               \
    const Rope rope = {cos, sin, places, head.start};                                              \
    const Scales scales(scale)

#define BACKWARD(HD, NAME, SIGHT_OF, ...)                                                          \
    extern "C" __global__ void __launch_bounds__(256, 2) attention_bwd_dq_##NAME##_bf16(           \
        bf16* dqkv, float* delta, const bf16* qkv, const bf16* y, const bf16* dy,                  \
        const float* lse, const float* cos, const float* sin, ROWS, float scale,                   \
        u32 add __VA_ARGS__) {                                                                     \
        HEAD(HD);                                                                                  \
        backward_q<HD>(dqkv, delta, qkv, y, dy, lse, head, rope, scales, add, SIGHT_OF);           \
    }                                                                                              \
    extern "C" __global__ void __launch_bounds__(192, 2) attention_bwd_dkv_##NAME##_bf16(          \
        bf16* dqkv, const bf16* qkv, const bf16* dy, const float* lse, const float* delta,         \
        const float* cos, const float* sin, ROWS, float scale, u32 add __VA_ARGS__) {              \
        HEAD(HD);                                                                                  \
        backward_kv<HD>(dqkv, qkv, dy, lse, delta, head, rope, scales, add, SIGHT_OF);             \
    }                                                                                              \
    extern "C" __global__ void __launch_bounds__(192, 2) attention_bwd_short_##NAME##_bf16(        \
        bf16* dqkv, const bf16* qkv, const bf16* y, const bf16* dy, const float* lse,              \
        const float* cos, const float* sin, ROWS, float scale, u32 add __VA_ARGS__) {              \
        HEAD(HD);                                                                                  \
        backward_short<HD>(dqkv, qkv, y, dy, lse, head, rope, scales, add, SIGHT_OF);              \
    }

BACKWARD(16, hd16, Everything())
BACKWARD(32, hd32, Everything())
BACKWARD(64, hd64, Everything())
BACKWARD(16, sight_hd16, SIGHT(head.start), AND_SIGHT)
BACKWARD(32, sight_hd32, SIGHT(head.start), AND_SIGHT)
BACKWARD(64, sight_hd64, SIGHT(head.start), AND_SIGHT)
