// attention_cached: contract in src/ops/attention_cached/mod.rs.
//
//   y (R, NH*HD)    k, v (R, CAP, NH*HD)    qkv (R, 3*NH*HD)    cos, sin (places, HD) f32 or null
//   A block has a head of a sequence. It turns q and k, puts k and v into the cache, has the scores
//   of all keys in shared memory, a warp for a key, and sums v by groups of keys, a thread for a
//   column. Sums are f32 in a fixed order. Grid (R, NH), block 128; shared: HD + CAP + max(HD, 128)
//   floats. y is NaN where the cache is full or the place beyond the tables, `known` rows.
#include "common/layout.cuh"
#include "common/reduce.cuh"

static const u32 THREADS = 128, WARPS = THREADS / WARP;

// Element i of one head's q or k at the place whose angles begin at `angle`.
template <typename T>
__device__ __forceinline__ T turned(const T* x, u32 i, u32 hd, Table cos, Table sin, u32 angle) {
    if (!cos) return x[i];
    const float other = i < hd / 2 ? -to_f32(x[i + hd / 2]) : to_f32(x[i - hd / 2]);
    return from_f32<T>(to_f32(x[i]) * cos[angle + i] + other * sin[angle + i]);
}

template <typename T>
__device__ void attend(T* y, T* k, T* v, const T* __restrict__ qkv, Table cos, Table sin,
                       Ints places, Ints lengths, u32 hd, u32 cap, u32 known, float scale) {
    extern __shared__ float shared[]; // q; scores, then weights; sums of groups
    __shared__ float maxima[WARPS], partial[WARPS];
    float *q = shared, *p = q + hd, *sums = p + cap;
    const u32 r = blockIdx.x, c = gridDim.y * hd, own = blockIdx.y * hd;
    const u32 lane = threadIdx.x % WARP, warp = threadIdx.x / WARP;
    const int length = lengths[r];
    const u32 place = places[r];
    y += static_cast<size_t>(r) * c + own;
    if (length < 0 || length >= static_cast<int>(cap) || (cos && place >= known)) {
        const float filling = length < 0 ? 0.0f : __uint_as_float(0x7fc00000u); // NaN
        for (u32 i = threadIdx.x; i < hd; i += THREADS) y[i] = from_f32<T>(filling);
        return;
    }
    const u32 n = length + 1;
    k += static_cast<size_t>(r) * cap * c + own;
    v += static_cast<size_t>(r) * cap * c + own;
    qkv += static_cast<size_t>(r) * 3 * c + own;
    for (u32 i = threadIdx.x; i < hd; i += THREADS) {
        const size_t at = static_cast<size_t>(length) * c + i;
        q[i] = to_f32(turned(qkv, i, hd, cos, sin, place * hd));
        k[at] = turned(qkv + c, i, hd, cos, sin, place * hd);
        v[at] = qkv[2 * c + i];
    }
    __syncthreads();
    float max = __uint_as_float(0xff800000u);
    for (u32 j = warp; j < n; j += WARPS) {
        const T* key = k + static_cast<size_t>(j) * c;
        float s = 0.0f;
        for (u32 i = lane; i < hd; i += WARP) s = fmaf(q[i], to_f32(key[i]), s);
        s = warp_sum(s) * scale;
        max = fmaxf(max, s);
        if (lane == 0) p[j] = s;
    }
    if (lane == 0) maxima[warp] = max;
    __syncthreads();
    for (u32 w = 0; w < WARPS; w++) max = fmaxf(max, maxima[w]);
    float total = 0.0f;
    for (u32 j = threadIdx.x; j < n; j += THREADS) {
        const float e = expf(p[j] - max);
        total += e;
        p[j] = to_f32(from_f32<T>(e));
    }
    total = block_sum(total, partial); // and all weights are there
    const u32 groups = hd < THREADS ? THREADS / hd : 1;
    for (u32 u = threadIdx.x; u < groups * hd; u += THREADS) {
        float sum = 0.0f;
        for (u32 j = u / hd; j < n; j += groups)
            sum = fmaf(p[j], to_f32(v[static_cast<size_t>(j) * c + u % hd]), sum);
        sums[u] = sum;
    }
    __syncthreads();
    for (u32 i = threadIdx.x; i < hd; i += THREADS) {
        float sum = 0.0f;
        for (u32 g = 0; g < groups; g++) sum += sums[g * hd + i];
        y[i] = from_f32<T>(sum / total);
    }
}

#define CACHED(T, NAME)                                                                            \
    extern "C" __global__ void __launch_bounds__(128) attention_cached_fwd_##NAME(                 \
        T* y, T* k, T* v, const T* qkv, const float* cos, const float* sin, const int* places,     \
        const int* lengths, u32 hd, u32 cap, u32 known, float scale) {                             \
        attend<T>(y, k, v, qkv, cos, sin, places, lengths, hd, cap, known, scale);                 \
    }

CACHED(float, f32)
CACHED(bf16, bf16)
