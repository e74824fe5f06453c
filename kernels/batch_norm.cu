// batch_norm: contract and formula in src/ops/batch_norm/mod.rs.
//
//   x, y, dy (B, C, S)    everything else (C), all f32    N = B * S elements of a channel
//   Sums over a channel in two stages: a block for each CHANNEL_PART elements of it, then a thread
//   for each channel over its parts. Moments of a part are about the part's own mean. The order is
//   fixed: runs agree bit for bit.
#include "common/elementwise.cuh"
#include "common/reduce.cuh"

static const u32 CHANNEL_PART = 4096;

// The part of channel blockIdx.y that belongs to this block.
struct ChannelPart {
    u32 c, s, first, end;

    __device__ __forceinline__ ChannelPart(u32 b, u32 c, u32 s) : c(c), s(s) {
        first = blockIdx.x * CHANNEL_PART;
        end = min(first + CHANNEL_PART, b * s);
    }
    __device__ __forceinline__ u32 count() const { return end - first; }
    // f(i) for each element i of this thread.
    template <typename F> __device__ __forceinline__ void each(F f) const {
        for (u32 j = first + threadIdx.x; j < end; j += BLOCK)
            f((static_cast<u64>(j / s) * c + blockIdx.y) * s + j % s);
    }
    __device__ __forceinline__ void store(float* parts, float first, float second) const {
        if (threadIdx.x > 0) return;
        float* pair = parts + 2 * (static_cast<u64>(blockIdx.y) * gridDim.x + blockIdx.x);
        pair[0] = first, pair[1] = second;
    }
};

// parts (C, parts, 2): mean, and sum of squares about it.
extern "C" __global__ void __launch_bounds__(BLOCK)
    batch_norm_part(float* parts, const float* x, u32 b, u32 c, u32 s) {
    __shared__ float partial[BLOCK / WARP];
    const ChannelPart part(b, c, s);
    float sum = 0.0f, sum_sq = 0.0f;
    part.each([&](u64 i) { sum += x[i]; });
    const float mean = block_sum(sum, partial) / part.count();
    part.each([&](u64 i) { sum_sq += (x[i] - mean) * (x[i] - mean); });
    sum_sq = block_sum(sum_sq, partial);
    part.store(parts, mean, sum_sq);
}

// Of `total` elements of each channel: mean, biased and unbiased variance.
extern "C" __global__ void __launch_bounds__(BLOCK)
    batch_norm_moments(float* mean, float* var, float* seen_mean, float* seen_var,
                       const float* parts, u32 count, u32 c, u32 total) {
    each_piece<1>(c, false, [&](auto, u32 channel) {
        const float* pair = parts + 2 * static_cast<u64>(channel) * count;
        float center = 0.0f, sum_sq = 0.0f, n = 0.0f;
        for (u32 k = 0; k < count; k++, pair += 2) {
            const float more = min(CHANNEL_PART, total - k * CHANNEL_PART), all = n + more;
            const float shift = pair[0] - center;
            center += shift * (more / all);
            sum_sq += pair[1] + shift * shift * (n * (more / all));
            n = all;
        }
        mean[channel] = seen_mean[channel] = center;
        var[channel] = sum_sq / n;
        seen_var[channel] = sum_sq / (n - 1.0f);
    });
}

extern "C" __global__ void __launch_bounds__(BLOCK)
    batch_norm_fwd(float* y, const float* x, const float* mean, const float* var,
                   const float* gain, const float* bias, u32 n, u32 c, u32 s, float eps,
                   u32 relu) {
    each_piece<4>(n, s % 4 == 0 && aligned(y, x), [&](auto width, u32 i) {
        constexpr int W = decltype(width)::value;
        const u32 channel = i / s % c;
        const float center = mean[channel], scale = 1.0f / sqrtf(var[channel] + eps);
        float v[W];
        load_f32<float, W>(x + i, v);
#pragma unroll
        for (int k = 0; k < W; k++) {
            v[k] = (v[k] - center) * scale * gain[channel] + bias[channel];
            v[k] = relu && v[k] < 0.0f ? 0.0f : v[k]; // NaN stays
        }
        store_f32<float, W>(y + i, v);
    });
}

// parts (C, parts, 2): sums of g and of g xhat. y is null without ReLU.
extern "C" __global__ void __launch_bounds__(BLOCK)
    batch_norm_bwd_part(float* parts, const float* dy, const float* x, const float* y,
                        const float* mean, const float* var, u32 b, u32 c, u32 s, float eps) {
    __shared__ float partial[BLOCK / WARP];
    const ChannelPart part(b, c, s);
    const float center = mean[blockIdx.y], scale = 1.0f / sqrtf(var[blockIdx.y] + eps);
    float sum = 0.0f, dot = 0.0f;
    part.each([&](u64 i) {
        const float g = y == nullptr || y[i] > 0.0f ? dy[i] : 0.0f;
        sum += g;
        dot += g * ((x[i] - center) * scale);
    });
    sum = block_sum(sum, partial);
    dot = block_sum(dot, partial);
    part.store(parts, sum, dot);
}

// sums (2, C), and where they are not null dgain and dbias.
extern "C" __global__ void __launch_bounds__(BLOCK)
    batch_norm_bwd_sum(float* sums, float* dgain, float* dbias, const float* parts, u32 count,
                       u32 c, u32 add_gain, u32 add_bias) {
    each_piece<1>(c, false, [&](auto, u32 channel) {
        const float* pair = parts + 2 * static_cast<u64>(channel) * count;
        float sum = 0.0f, dot = 0.0f;
        for (u32 k = 0; k < count; k++, pair += 2) sum += pair[0], dot += pair[1];
        sums[channel] = sum, sums[c + channel] = dot;
        if (dgain) dgain[channel] = (add_gain ? dgain[channel] : 0.0f) + dot;
        if (dbias) dbias[channel] = (add_bias ? dbias[channel] : 0.0f) + sum;
    });
}

// dy becomes dx. sums is null in evaluation; total_inv = 1 / N.
extern "C" __global__ void __launch_bounds__(BLOCK)
    batch_norm_bwd(float* dy, const float* x, const float* y, const float* mean,
                   const float* var, const float* gain, const float* sums, u32 n, u32 c, u32 s,
                   float eps, float total_inv) {
    each_piece<4>(n, s % 4 == 0 && aligned(dy, x, y), [&](auto width, u32 i) {
        constexpr int W = decltype(width)::value;
        const u32 channel = i / s % c;
        const float center = mean[channel], scale = 1.0f / sqrtf(var[channel] + eps);
        const float mean_g = sums ? sums[channel] * total_inv : 0.0f;
        const float mean_dot = sums ? sums[c + channel] * total_inv : 0.0f;
        float d[W], v[W], out[W];
        load_f32<float, W>(dy + i, d);
        load_f32<float, W>(x + i, v);
        if (y) load_f32<float, W>(y + i, out);
#pragma unroll
        for (int k = 0; k < W; k++) {
            const float g = y == nullptr || out[k] > 0.0f ? d[k] : 0.0f;
            const float xhat = (v[k] - center) * scale;
            d[k] = gain[channel] * scale * (g - mean_g - xhat * mean_dot);
        }
        store_f32<float, W>(dy + i, d);
    });
}
