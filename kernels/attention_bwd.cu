// attention backward on tensor cores, bf16, HD 16, 32, 64: contract in src/ops/attention/mod.rs.
#include "common/attention.cuh"

// The weights of two neighbours in a fragment and their gradients, both rounded:
// p = 2^(s scale2 - lse2), ds = p (dp - delta) scale. `stats` holds lse2 and delta * scale.
__device__ __forceinline__ void weights(u32& p, u32& ds, const float* s, const float* dp,
                                        float2 stats0, float2 stats1, float scale2, float scale) {
    const float p0 = exp2_fast(s[0] * scale2 - stats0.x);
    const float p1 = exp2_fast(s[1] * scale2 - stats1.x);
    p = pack_bf16(p0, p1);
    ds = pack_bf16(p0 * (dp[0] * scale - stats0.y), p1 * (dp[1] * scale - stats1.y));
}

// ---- dq: a warp owns 16 queries and passes over all keys; also delta, which dk and dv need ----------

template <int HD>
__device__ __forceinline__ void backward_q(bf16* __restrict__ dqkv, float* __restrict__ delta,
                                           const bf16* __restrict__ qkv,
                                           const bf16* __restrict__ y,
                                           const bf16* __restrict__ dy,
                                           const float* __restrict__ lse,
                                           const float* __restrict__ cos,
                                           const float* __restrict__ sin, u32 t, u32 nh,
                                           float scale, u32 add) {
    __shared__ alignas(128) uint4 tiles[2][2][TILE * HD / 8]; // stage; k, v
    constexpr u32 SIZE = TILE * HD * 2;
    const Head head = {t, nh, HD};
    const u32 stride = head.stride(), lane = threadIdx.x % 32;
    const u32 first = (blockIdx.x * (blockDim.x / 32) + threadIdx.x / 32) * STEP;
    const u32 rows = first < t ? t - first : 0;
    const bf16 *k = qkv + head.part(1), *v = qkv + head.part(2);
    const u32 shared = shared_address(tiles);
    const auto tile = [&](u32 j, u32 which) { return shared + (j / TILE % 2 * 2 + which) * SIZE; };
    const auto copy = [&](u32 j) {
        copy_tiles<HD>(tile(j, 0), {k + j * stride, stride}, tile(j, 1),
                       {v + j * stride, stride}, t - j);
    };
    copy(0);

    u32 q[HD / 16][4], g[HD / 16][4];
    float2 stats[2];
    const size_t y_at = head.y() + static_cast<size_t>(first) * nh * HD;
    load_fragment<HD>(q, y + y_at, nh * HD, rows);
    load_fragment<HD>(g, dy + y_at, nh * HD, rows);
#pragma unroll
    for (int r = 0; r < 2; r++) {
        float sum = 0.0f;
#pragma unroll
        for (int n = 0; n < HD / 8; n++) {
            const u32 a = pair_at<HD>(q, n, r), b = pair_at<HD>(g, n, r);
            sum += low(a) * low(b) + high(a) * high(b);
        }
        sum = quad_sum(sum);
        const u32 row = lane / 4 + 8 * r;
        const bool valid = row < rows;
        if (valid && lane % 4 == 0) delta[head.lse() + first + row] = sum;
        stats[r] = make_float2(valid ? lse[head.lse() + first + row] * LOG2_E : 0.0f, sum * scale);
    }
    load_fragment<HD>(q, qkv + head.part(0) + first * stride, stride, rows);
    if (cos) rotate_fragment<HD>(q, cos + first * HD, sin + first * HD, rows);

    const float scale2 = scale * LOG2_E;
    float dq[HD / 8][4] = {};
    for (u32 j = 0; j < t; j += TILE) {
        cp_async_wait<0>();
        if (cos) rotate_tile<HD>(tiles[j / TILE % 2][0], cos + j * HD, sin + j * HD, t - j);
        __syncthreads(); // tile j is complete, and nobody reads the other stage any more
        if (j + TILE < t) copy(j + TILE);
        if (rows == 0) continue;
        const u32 k_rows = tile(j, 0) + lane_for_rows<HD>(), v_rows = k_rows + SIZE;
        const u32 k_columns = tile(j, 0) + lane_for_columns<HD>();
        const u32 keys = min(t - j, u32(TILE));
#pragma unroll 1
        for (u32 i = 0; i < keys; i += STEP) {
            float s[2][4] = {}, dp[2][4] = {};
            mma_rows<HD>(s[0], s[1], q, k_rows, i);
            mma_rows<HD>(dp[0], dp[1], g, v_rows, i);
            if (i + STEP > keys) {
#pragma unroll
                for (int e = 0; e < 8; e++)
                    if (i + 8 * (e / 4) + lane % 4 * 2 + e % 2 >= keys)
                        s[e / 4][e % 4] = __uint_as_float(0xff800000u); // -infinity
            }
            u32 p, ds[4];
#pragma unroll
            for (int e = 0; e < 4; e++)
                weights(p, ds[e], &s[e / 2][e % 2 * 2], &dp[e / 2][e % 2 * 2], stats[e % 2],
                        stats[e % 2], scale2, scale);
            mma_columns<HD>(dq, ds, k_columns, i);
        }
    }
    if (rows == 0) return;
    if (cos) unrotate_fragment<HD>(dq, cos + first * HD, sin + first * HD, rows);
    store_fragment<HD>(dqkv + head.part(0) + first * stride, stride, rows, dq, {1.0f, 1.0f}, add);
}

// ---- dk, dv: a warp owns 16 keys and passes over all queries; scores are transposed ------------------

template <int HD>
__device__ __forceinline__ void backward_kv(bf16* __restrict__ dqkv, const bf16* __restrict__ qkv,
                                            const bf16* __restrict__ dy,
                                            const float* __restrict__ lse,
                                            const float* __restrict__ delta,
                                            const float* __restrict__ cos,
                                            const float* __restrict__ sin, u32 t, u32 nh,
                                            float scale, u32 add) {
    __shared__ alignas(128) uint4 tiles[2][2][TILE * HD / 8]; // stage; q, dy
    __shared__ float2 stats[2][TILE];            // stage; lse2, delta * scale
    constexpr u32 SIZE = TILE * HD * 2;
    const Head head = {t, nh, HD};
    const u32 stride = head.stride(), lane = threadIdx.x % 32;
    const u32 first = (blockIdx.x * (blockDim.x / 32) + threadIdx.x / 32) * STEP;
    const u32 rows = first < t ? t - first : 0;
    const bf16 *q = qkv + head.part(0), *g = dy + head.y();
    const u32 shared = shared_address(tiles);
    const auto tile = [&](u32 i, u32 which) { return shared + (i / TILE % 2 * 2 + which) * SIZE; };
    const auto copy = [&](u32 i) {
        copy_tiles<HD>(tile(i, 0), {q + i * stride, stride}, tile(i, 1),
                       {g + static_cast<size_t>(i) * nh * HD, nh * HD}, t - i);
    };
    copy(0);

    u32 k[HD / 16][4], v[HD / 16][4];
    load_fragment<HD>(k, qkv + head.part(1) + first * stride, stride, rows);
    load_fragment<HD>(v, qkv + head.part(2) + first * stride, stride, rows);
    if (cos) rotate_fragment<HD>(k, cos + first * HD, sin + first * HD, rows);

    const float scale2 = scale * LOG2_E;
    float dk[HD / 8][4] = {}, dv[HD / 8][4] = {};
    for (u32 i = 0; i < t; i += TILE) {
        float2* stat = stats[i / TILE % 2];
        for (u32 n = threadIdx.x; n < TILE; n += blockDim.x) {
            // Past the last query p becomes 0.
            const size_t at = head.lse() + i + n;
            stat[n] = i + n < t ? make_float2(lse[at] * LOG2_E, delta[at] * scale)
                                : make_float2(__uint_as_float(0x7f800000u), 0.0f);
        }
        cp_async_wait<0>();
        if (cos) rotate_tile<HD>(tiles[i / TILE % 2][0], cos + i * HD, sin + i * HD, t - i);
        __syncthreads(); // tile i is complete, and nobody reads the other stage any more
        if (i + TILE < t) copy(i + TILE);
        if (rows == 0) continue;
        const u32 q_rows = tile(i, 0) + lane_for_rows<HD>(), g_rows = q_rows + SIZE;
        const u32 q_columns = tile(i, 0) + lane_for_columns<HD>(), g_columns = q_columns + SIZE;
        const u32 queries = min(t - i, u32(TILE));
#pragma unroll 1
        for (u32 j = 0; j < queries; j += STEP) {
            float s[2][4] = {}, dp[2][4] = {};
            mma_rows<HD>(s[0], s[1], k, q_rows, j);
            mma_rows<HD>(dp[0], dp[1], v, g_rows, j);
            u32 p[4], ds[4];
#pragma unroll
            for (int e = 0; e < 4; e++) {
                const float4 st =
                    *reinterpret_cast<const float4*>(&stat[j + 8 * (e / 2) + lane % 4 * 2]);
                weights(p[e], ds[e], &s[e / 2][e % 2 * 2], &dp[e / 2][e % 2 * 2],
                        make_float2(st.x, st.y), make_float2(st.z, st.w), scale2, scale);
            }
            mma_columns<HD>(dv, p, g_columns, j);
            mma_columns<HD>(dk, ds, q_columns, j);
        }
    }
    if (rows == 0) return;
    if (cos) unrotate_fragment<HD>(dk, cos + first * HD, sin + first * HD, rows);
    store_fragment<HD>(dqkv + head.part(1) + first * stride, stride, rows, dk, {1.0f, 1.0f}, add);
    store_fragment<HD>(dqkv + head.part(2) + first * stride, stride, rows, dv, {1.0f, 1.0f}, add);
}

#define BACKWARD(HD)                                                                                \
    extern "C" __global__ void __launch_bounds__(256, 2) attention_bwd_dq_hd##HD##_bf16(            \
        bf16* dqkv, float* delta, const bf16* qkv, const bf16* y, const bf16* dy, const float* lse, \
        const float* cos, const float* sin, u32 t, u32 nh, float scale, u32 add) {                  \
        backward_q<HD>(dqkv, delta, qkv, y, dy, lse, cos, sin, t, nh, scale, add);                  \
    }                                                                                               \
    extern "C" __global__ void __launch_bounds__(192, 2) attention_bwd_dkv_hd##HD##_bf16(           \
        bf16* dqkv, const bf16* qkv, const bf16* dy, const float* lse, const float* delta,          \
        const float* cos, const float* sin, u32 t, u32 nh, float scale, u32 add) {                  \
        backward_kv<HD>(dqkv, qkv, dy, lse, delta, cos, sin, t, nh, scale, add);                    \
    }

BACKWARD(16)
BACKWARD(32)
BACKWARD(64)
