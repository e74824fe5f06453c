// attention for any head size that is a multiple of 4, f32 and bf16, without tensor cores: contract
// in src/ops/attention/mod.rs. bf16 at HD 16, 32, 64 has its own kernels (attention_fwd,
// attention_bwd).
//
//   A block owns R rows (queries; keys for dk and dv) of one head and passes over tiles of R rows
//   of the other side. Tiles and sums are f32 in shared memory; q and k are rotated and rounded to
//   T as they are loaded, the weights as they are stored, so both dtypes keep the contract's
//   rounding points. Products: 4 rows x 2 scores, or 4 rows x 4 columns of a sum, per thread.
//   R is 32, 16 or 8, whatever shared memory holds; block 128. Sums run in a fixed order.
//   A row of a tile is HD / 4 | 1 float4: eight rows meet every bank once.
//   Filling is not read, and zero where it is written.
//   Causal: tiles beyond the diagonal are passed over, weights of that on it masked. Dropout: a
//   thread draws the four keys of a block, for the threads that have their weights.
#include "common/layout.cuh"
#include "common/sight.cuh"

// One head of one call; grid (tiles of R rows, NH).
struct Call : Tile {
    Ints places; // of the slot
    u32 nh, hd, r; // r: rows of a tile
    float scale;
    __device__ Call(Ints tiles, Ints starts, Ints lengths, Ints all_places, u32 nh, u32 hd, u32 r,
                    float scale)
        : Tile(tiles, starts, lengths), places(all_places + start), nh(nh), hd(hd), r(r),
          scale(scale) {}
    __device__ u32 width() const { return hd / 4 | 1; }
    __device__ u32 tile() const { return r * width(); }
    __device__ u32 weights() const { return r + 8; } // floats in a row of weights
    __device__ u32 stride() const { return 3 * nh * hd; }
    __device__ size_t part(u32 which) const {
        return static_cast<size_t>(start) * stride() + (which * nh + blockIdx.y) * hd;
    }
    __device__ size_t y() const { return (static_cast<size_t>(start) * nh + blockIdx.y) * hd; }
    __device__ size_t lse() const { return static_cast<size_t>(start) * nh + blockIdx.y * room; }
};

// Where the angles of a position of the row begin in a table.
__device__ u32 angles(const Call& c, u32 at) { return c.places[at] * c.hd; }

template <typename T> __device__ float rounded(float x) { return to_f32(from_f32<T>(x)); }

// Rows first.. of a head, zeros past the last; rotated where there are tables.
template <typename T>
__device__ void load(const Call& c, float4* tile, const T* __restrict__ x, u32 stride, u32 first,
                     Table cos, Table sin) {
    float* to = reinterpret_cast<float*>(tile);
    const u32 half = c.hd / 2;
    for (u32 row = threadIdx.x / 32; row < c.r; row += blockDim.x / 32) {
        const u32 at = first + row;
        const T* from = x + static_cast<size_t>(at) * stride;
        const u32 angle = cos && at < c.t ? angles(c, at) : 0;
        for (u32 i = threadIdx.x % 32; i < c.hd; i += 32) {
            float v = 0.0f;
            if (at < c.t) {
                v = to_f32(from[i]);
                if (cos) {
                    const float other = i < half ? -to_f32(from[i + half]) : to_f32(from[i - half]);
                    v = rounded<T>(v * cos[angle + i] + other * sin[angle + i]);
                }
            }
            to[row * c.width() * 4 + i] = v;
        }
    }
}

// Rows of sums, each times its factor (1 where there are none), turned back where there are tables;
// zeros for filling, unless it is added to.
template <typename T>
__device__ void store(const Call& c, const float4* tile, T* __restrict__ x, u32 stride,
                      const float* factor, Table cos, Table sin, bool add) {
    const float* from = reinterpret_cast<const float*>(tile);
    const u32 half = c.hd / 2;
    for (u32 row = threadIdx.x / 32; row < c.r && c.first + row < c.room; row += blockDim.x / 32) {
        const u32 at = c.first + row;
        if (at >= c.t && add) break;
        T* to = x + static_cast<size_t>(at) * stride;
        const float* d = from + row * c.width() * 4;
        const u32 angle = cos && at < c.t ? angles(c, at) : 0;
        for (u32 i = threadIdx.x % 32; i < c.hd; i += 32) {
            if (at >= c.t) {
                to[i] = from_f32<T>(0.0f);
                continue;
            }
            float v = d[i] * (factor ? factor[row] : 1.0f);
            if (cos) {
                const u32 j = i < half ? i + half : i - half;
                const float turned = d[j] * sin[angle + j];
                v = v * cos[angle + i] + (i < half ? turned : -turned);
            }
            to[i] = from_f32<T>(add ? to_f32(to[i]) + v : v);
        }
    }
}

__device__ void clear(const Call& c, float4* tile) {
    for (u32 i = threadIdx.x; i < c.tile(); i += blockDim.x) tile[i] = make_float4(0, 0, 0, 0);
}

__device__ __forceinline__ float dot(float4 a, float4 b, float sum) {
    return fmaf(a.x, b.x, fmaf(a.y, b.y, fmaf(a.z, b.z, fmaf(a.w, b.w, sum))));
}

// out[i][j] = a_{row + i} . b_{column + j R / 2}
__device__ __forceinline__ void dots(const Call& c, const float4* a, const float4* b, u32 row,
                                     u32 column, float (&out)[4][2]) {
    for (int e = 0; e < 8; e++) out[e / 2][e % 2] = 0.0f;
    const float4 *a0 = a + row * c.width(), *b0 = b + column * c.width();
    for (u32 k = 0; k < c.hd / 4; k++) {
        const float4 bk[2] = {b0[k], b0[c.r / 2 * c.width() + k]};
#pragma unroll
        for (int i = 0; i < 4; i++) {
            const float4 ak = a0[i * c.width() + k];
            out[i][0] = dot(ak, bk[0], out[i][0]);
            out[i][1] = dot(ak, bk[1], out[i][1]);
        }
    }
}

// Calls f(row, column) for this thread's 4 x 2 scores, see `dots`.
template <typename F> __device__ __forceinline__ void for_scores(const Call& c, F f) {
    const u32 columns = c.r / 2;
    for (u32 u = threadIdx.x; u < c.r / 4 * columns; u += blockDim.x)
        f(u / columns * 4, u % columns);
}

// sum_i = sum_i shrink_i + sum_j w[j][i] x_j over `n` rows j; no shrink: 1.
__device__ void accumulate(const Call& c, float4* sum, const float* w, const float4* x, u32 n,
                           const float* shrink) {
    const u32 columns = c.hd / 4;
    for (u32 u = threadIdx.x; u < c.r / 4 * columns; u += blockDim.x) {
        const u32 row = u / columns * 4, column = u % columns;
        float4 acc[4];
#pragma unroll
        for (int i = 0; i < 4; i++) {
            const float f = shrink ? shrink[row + i] : 1.0f;
            const float4 s = sum[(row + i) * c.width() + column];
            acc[i] = make_float4(s.x * f, s.y * f, s.z * f, s.w * f);
        }
        for (u32 j = 0; j < n; j++) {
            const float4 w4 = *reinterpret_cast<const float4*>(w + j * c.weights() + row);
            const float wj[4] = {w4.x, w4.y, w4.z, w4.w};
            const float4 xj = x[j * c.width() + column];
#pragma unroll
            for (int i = 0; i < 4; i++) {
                acc[i].x = fmaf(wj[i], xj.x, acc[i].x);
                acc[i].y = fmaf(wj[i], xj.y, acc[i].y);
                acc[i].z = fmaf(wj[i], xj.z, acc[i].z);
                acc[i].w = fmaf(wj[i], xj.w, acc[i].w);
            }
        }
#pragma unroll
        for (int i = 0; i < 4; i++) sum[(row + i) * c.width() + column] = acc[i];
    }
}

// Calls f(query, key, factor) for all weights of a tile, numbered in it; `query0` and `key0` are its
// first. For dropout only.
template <typename F>
__device__ void for_factors(const Call& c, const Sight& sight, u32 query0, u32 key0, F f) {
    for (u32 u = threadIdx.x; u < c.r * c.r / 4; u += blockDim.x) {
        const u32 query = u % c.r, key = u / c.r * 4;
        const uint4 words = sight.block(query0 + query, key0 + key);
#pragma unroll
        for (u32 k = 0; k < 4; k++) f(query, key + k, sight.factor(word_of(words, k)));
    }
}

// The sum over the four neighbours that share a row. Whole warps call it.
__device__ __forceinline__ float sum_of_4(float x) {
    x += __shfl_xor_sync(0xffffffffu, x, 1);
    return x + __shfl_xor_sync(0xffffffffu, x, 2);
}

template <typename T, typename S>
__device__ void forward(const Call& c, T* __restrict__ y, float* __restrict__ lse,
                        const T* __restrict__ qkv, Table cos, Table sin, S sight) {
    extern __shared__ float4 shared[];
    float4 *q = shared, *k = q + c.tile(), *v = k + c.tile(), *sums = v + c.tile();
    float* p = reinterpret_cast<float*>(sums + c.tile()); // [key][query]
    float* factor = p + c.r * c.weights();
    const u32 first = c.first, row = threadIdx.x / 4, lane = threadIdx.x % 4;
    const auto store_y = [&] {
        store(c, sums, y + c.y(), c.nh * c.hd, factor, nullptr, nullptr, false);
    };
    if (first >= c.t) return store_y();
    float max = __uint_as_float(0xff800000u), total = 0.0f;
    load(c, q, qkv + c.part(0), c.stride(), first, cos, sin);
    clear(c, sums);
    const u32 seen = sight.causal ? min(c.t, first + c.r) : c.t;
    for (u32 j0 = 0; j0 < seen; j0 += c.r) {
        const u32 keys = min(c.r, seen - j0);
        load(c, k, qkv + c.part(1), c.stride(), j0, cos, sin);
        load(c, v, qkv + c.part(2), c.stride(), j0, nullptr, nullptr);
        __syncthreads();
        for_scores(c, [&](u32 i, u32 j) {
            float s[4][2];
            dots(c, q, k, i, j, s);
#pragma unroll
            for (int e = 0; e < 2; e++)
                *reinterpret_cast<float4*>(p + (j + e * c.r / 2) * c.weights() + i) =
                    make_float4(s[0][e] * c.scale, s[1][e] * c.scale, s[2][e] * c.scale,
                                s[3][e] * c.scale);
        });
        __syncthreads();
        if (row < c.r) {
            float new_max = max;
            const u32 own = sight.causal ? min(keys, first + row - j0 + 1) : keys;
            for (u32 j = lane; j < own; j += 4) new_max = fmaxf(new_max, p[j * c.weights() + row]);
            new_max = fmaxf(new_max, __shfl_xor_sync(0xffffffffu, new_max, 1));
            new_max = fmaxf(new_max, __shfl_xor_sync(0xffffffffu, new_max, 2));
            float sum = 0.0f;
            for (u32 j = lane; j < own; j += 4) {
                float& at = p[j * c.weights() + row];
                const float e = expf(at - new_max);
                sum += e;
                at = rounded<T>(e);
            }
            if (sight.causal)
                for (u32 j = own + lane; j < keys; j += 4) p[j * c.weights() + row] = 0.0f;
            const float shrink = expf(max - new_max);
            total = total * shrink + sum_of_4(sum);
            max = new_max;
            if (lane == 0) factor[row] = shrink;
        }
        __syncthreads();
        if constexpr (S::SIGHTED)
            if (sight.drops) {
                for_factors(c, sight, first, j0, [&](u32 query, u32 key, float factor) {
                    if (factor == 0.0f) p[key * c.weights() + query] = 0.0f;
                });
                __syncthreads();
            }
        accumulate(c, sums, p, v, keys, factor);
        __syncthreads();
    }
    if (row < c.r && lane == 0) {
        factor[row] = sight.keep / total;
        if (first + row < c.t) lse[c.lse() + first + row] = max + logf(total);
    }
    __syncthreads();
    store_y();
}

// dq of R queries, and their delta = dy . y for dk and dv.
template <typename T, typename S>
__device__ void backward_q(const Call& c, T* __restrict__ dqkv, float* __restrict__ delta,
                           const T* __restrict__ qkv, const T* __restrict__ y,
                           const T* __restrict__ dy, const float* __restrict__ lse, Table cos,
                           Table sin, bool add, S sight) {
    extern __shared__ float4 shared[];
    float4 *q = shared, *g = q + c.tile(), *k = g + c.tile(), *v = k + c.tile();
    float4* dq = v + c.tile();
    float* ds = reinterpret_cast<float*>(dq + c.tile()); // [key][query]
    float *row_lse = ds + c.r * c.weights(), *row_delta = row_lse + c.r;
    const auto store_dq = [&] {
        store(c, dq, dqkv + c.part(0), c.stride(), nullptr, cos, sin, add);
    };
    if (c.first >= c.t) return store_dq();
    const u32 first = c.first, row = threadIdx.x / 4, lane = threadIdx.x % 4;
    load(c, q, qkv + c.part(0), c.stride(), first, cos, sin);
    load(c, g, dy + c.y(), c.nh * c.hd, first, nullptr, nullptr);
    load(c, k, y + c.y(), c.nh * c.hd, first, nullptr, nullptr); // k's place is still free
    clear(c, dq);
    __syncthreads();
    if (row < c.r) {
        float sum = 0.0f;
        for (u32 i = lane; i < c.hd / 4; i += 4)
            sum = dot(g[row * c.width() + i], k[row * c.width() + i], sum);
        sum = sum_of_4(sum);
        if (lane == 0) {
            const bool valid = first + row < c.t;
            row_delta[row] = sum;
            row_lse[row] = valid ? lse[c.lse() + first + row] : 0.0f;
            if (valid) delta[c.lse() + first + row] = sum;
        }
    }
    __syncthreads();
    const u32 seen = sight.causal ? min(c.t, first + c.r) : c.t;
    for (u32 j0 = 0; j0 < seen; j0 += c.r) {
        load(c, k, qkv + c.part(1), c.stride(), j0, cos, sin);
        load(c, v, qkv + c.part(2), c.stride(), j0, nullptr, nullptr);
        if constexpr (S::SIGHTED)
            if (sight.drops)
                for_factors(c, sight, first, j0, [&](u32 query, u32 key, float factor) {
                    ds[key * c.weights() + query] = factor;
                });
        __syncthreads();
        for_scores(c, [&](u32 i, u32 j) {
            float s[4][2], dp[4][2];
            dots(c, q, k, i, j, s);
            dots(c, g, v, i, j, dp);
#pragma unroll
            for (int e = 0; e < 8; e++) {
                const u32 query = i + e / 2, key = j + e % 2 * c.r / 2;
                float& at = ds[key * c.weights() + query];
                float p = expf(s[e / 2][e % 2] * c.scale - row_lse[query]), d = dp[e / 2][e % 2];
                if constexpr (S::SIGHTED) {
                    if (sight.drops) d *= at;
                    if (sight.causal && j0 + key > first + query) p = 0.0f;
                }
                at = rounded<T>(p * (d - row_delta[query]) * c.scale);
            }
        });
        __syncthreads();
        accumulate(c, dq, ds, k, min(c.r, seen - j0), nullptr);
        __syncthreads();
    }
    store_dq();
}

// dk and dv of R keys.
template <typename T, typename S>
__device__ void backward_kv(const Call& c, T* __restrict__ dqkv, const T* __restrict__ qkv,
                            const T* __restrict__ dy, const float* __restrict__ lse,
                            const float* __restrict__ delta, Table cos, Table sin, bool add,
                            S sight) {
    extern __shared__ float4 shared[];
    float4 *k = shared, *v = k + c.tile(), *q = v + c.tile(), *g = q + c.tile();
    float4 *dk = g + c.tile(), *dv = dk + c.tile();
    float* p = reinterpret_cast<float*>(dv + c.tile()); // [query][key]
    float* ds = p + c.r * c.weights();
    const auto store_dkv = [&] {
        store(c, dk, dqkv + c.part(1), c.stride(), nullptr, cos, sin, add);
        store(c, dv, dqkv + c.part(2), c.stride(), nullptr, nullptr, nullptr, add);
    };
    if (c.first >= c.t) return store_dkv();
    load(c, k, qkv + c.part(1), c.stride(), c.first, cos, sin);
    load(c, v, qkv + c.part(2), c.stride(), c.first, nullptr, nullptr);
    clear(c, dk);
    clear(c, dv);
    for (u32 i0 = sight.causal ? c.first : 0; i0 < c.t; i0 += c.r) {
        const u32 queries = min(c.r, c.t - i0);
        load(c, q, qkv + c.part(0), c.stride(), i0, cos, sin);
        load(c, g, dy + c.y(), c.nh * c.hd, i0, nullptr, nullptr);
        if constexpr (S::SIGHTED)
            if (sight.drops)
                for_factors(c, sight, i0, c.first, [&](u32 query, u32 key, float factor) {
                    ds[query * c.weights() + key] = factor;
                });
        __syncthreads();
        for_scores(c, [&](u32 j, u32 i) {
            float s[4][2], dp[4][2];
            dots(c, k, q, j, i, s);
            dots(c, v, g, j, i, dp);
#pragma unroll
            for (int e = 0; e < 2; e++) {
                const u32 query = i + e * c.r / 2;
                if (query >= queries) continue;
                const size_t at = c.lse() + i0 + query;
#pragma unroll
                for (int key = 0; key < 4; key++) {
                    const u32 to = query * c.weights() + j + key;
                    float w = expf(s[key][e] * c.scale - lse[at]), d = dp[key][e];
                    bool kept = true;
                    if constexpr (S::SIGHTED) {
                        if (sight.drops) kept = ds[to] != 0.0f, d *= ds[to];
                        if (sight.causal && c.first + j + key > i0 + query) w = 0.0f;
                    }
                    p[to] = kept ? rounded<T>(w) : 0.0f;
                    ds[to] = rounded<T>(w * (d - delta[at]) * c.scale);
                }
            }
        });
        __syncthreads();
        accumulate(c, dv, p, g, queries, nullptr);
        accumulate(c, dk, ds, q, queries, nullptr);
        __syncthreads();
    }
    if (sight.keep != 1.0f) {
        for (u32 u = threadIdx.x; u < c.tile(); u += blockDim.x) {
            const float4 sum = dv[u];
            dv[u] = make_float4(sum.x * sight.keep, sum.y * sight.keep, sum.z * sight.keep,
                                sum.w * sight.keep);
        }
        __syncthreads();
    }
    store_dkv();
}

#define ROWS const int *tiles, const int *starts, const int *lengths, const int *places, u32 nh
#define CALL                                                                                       \
    { tiles, starts, lengths, places, nh, hd, r, scale }

#define KERNELS(T, NAME, SIGHT_OF, ...)                                                            \
    extern "C" __global__ void __launch_bounds__(128, 4) attention_fwd_##NAME(                     \
        T* y, float* lse, const T* qkv, const float* cos, const float* sin, ROWS, float scale,     \
        u32 hd, u32 r __VA_ARGS__) {                                                               \
        const Call call = CALL;                                                                    \
        forward<T>(call, y, lse, qkv, cos, sin, SIGHT_OF);                                         \
    }                                                                                              \
    extern "C" __global__ void __launch_bounds__(128, 4) attention_bwd_dq_##NAME(                  \
        T* dqkv, float* delta, const T* qkv, const T* y, const T* dy, const float* lse,            \
        const float* cos, const float* sin, ROWS, float scale, u32 add, u32 hd,                    \
        u32 r __VA_ARGS__) {                                                                       \
        const Call call = CALL;                                                                    \
        backward_q<T>(call, dqkv, delta, qkv, y, dy, lse, cos, sin, add, SIGHT_OF);                \
    }                                                                                              \
    extern "C" __global__ void __launch_bounds__(128, 4) attention_bwd_dkv_##NAME(                 \
        T* dqkv, const T* qkv, const T* dy, const float* lse, const float* delta,                  \
        const float* cos, const float* sin, ROWS, float scale, u32 add, u32 hd,                    \
        u32 r __VA_ARGS__) {                                                                       \
        const Call call = CALL;                                                                    \
        backward_kv<T>(call, dqkv, qkv, dy, lse, delta, cos, sin, add, SIGHT_OF);                  \
    }

KERNELS(float, f32, Everything())
KERNELS(bf16, bf16, Everything())
KERNELS(float, sight_f32, SIGHT(call.start), AND_SIGHT)
KERNELS(bf16, sight_bf16, SIGHT(call.start), AND_SIGHT)
