// depthwise_conv2d: contract and formula in src/ops/depthwise_conv2d/mod.rs.
//
//   x, dx (B, C, H, W)    w, dw (C, 1, K, K)    bias, dbias (C)    y, dy (B, C, OH, OW)    all f32
//   A thread for each element of y and of dx. A block for each tap of each channel for dw, and one
//   more for dbias: sums over images and places in a fixed order, so runs agree bit for bit.
#include "common/elementwise.cuh"
#include "common/reduce.cuh"

// Where tap u of place i lies, or -1 outside.
__device__ __forceinline__ int source(u32 i, u32 u, u32 stride, u32 padding, u32 size) {
    const int at = static_cast<int>(i * stride + u) - static_cast<int>(padding);
    return at < static_cast<int>(size) ? at : -1;
}

extern "C" __global__ void __launch_bounds__(BLOCK)
    depthwise_conv2d_fwd(float* y, const float* x, const float* w, const float* bias, u32 n, u32 c,
                         u32 h, u32 width, u32 oh, u32 ow, u32 k, u32 stride, u32 padding) {
    each_piece<1>(n, false, [&](auto, u32 at) {
        const u32 j = at % ow, i = at / ow % oh, plane = at / (ow * oh), channel = plane % c;
        const float* from = x + static_cast<u64>(plane) * h * width;
        float sum = 0.0f;
        for (u32 u = 0; u < k; u++) {
            const int row = source(i, u, stride, padding, h);
            for (u32 v = 0; v < k; v++) {
                const int column = source(j, v, stride, padding, width);
                if (row >= 0 && column >= 0)
                    sum += w[(channel * k + u) * k + v] * from[row * width + column];
            }
        }
        y[at] = sum + bias[channel];
    });
}

extern "C" __global__ void __launch_bounds__(BLOCK)
    depthwise_conv2d_bwd_x(float* dx, const float* dy, const float* w, u32 n, u32 c, u32 h,
                           u32 width, u32 oh, u32 ow, u32 k, u32 stride, u32 padding, u32 add) {
    each_piece<1>(n, false, [&](auto, u32 at) {
        const u32 column = at % width, row = at / width % h, plane = at / (width * h);
        const float* from = dy + static_cast<u64>(plane) * oh * ow;
        float sum = 0.0f;
        for (u32 u = 0; u < k; u++) {
            for (u32 v = 0; v < k; v++) {
                // Wraps to a large number where the tap lies before the first place.
                const u32 i = row + padding - u, j = column + padding - v;
                if (i % stride == 0 && i / stride < oh && j % stride == 0 && j / stride < ow
                    && row + padding >= u && column + padding >= v)
                    sum += w[(plane % c * k + u) * k + v] * from[i / stride * ow + j / stride];
            }
        }
        dx[at] = (add ? dx[at] : 0.0f) + sum;
    });
}

// Grid: K * K taps and one block more, channels. dw and dbias may be null.
extern "C" __global__ void __launch_bounds__(BLOCK)
    depthwise_conv2d_bwd_w(float* dw, float* dbias, const float* x, const float* dy, u32 b, u32 c,
                           u32 h, u32 width, u32 oh, u32 ow, u32 k, u32 stride, u32 padding,
                           u32 add_w, u32 add_bias) {
    __shared__ float partial[BLOCK / WARP];
    const u32 channel = blockIdx.y, tap = blockIdx.x, places = oh * ow;
    const bool of_bias = tap == k * k;
    float* out = of_bias ? dbias : dw;
    if (out == nullptr) return;
    float sum = 0.0f;
    for (u32 at = threadIdx.x; at < b * places; at += BLOCK) {
        const u32 place = at % places;
        const u64 plane = static_cast<u64>(at / places) * c + channel;
        const float d = dy[plane * places + place];
        if (of_bias) {
            sum += d;
            continue;
        }
        const int row = source(place / ow, tap / k, stride, padding, h);
        const int column = source(place % ow, tap % k, stride, padding, width);
        if (row >= 0 && column >= 0) sum += d * x[(plane * h + row) * width + column];
    }
    sum = block_sum(sum, partial);
    if (threadIdx.x > 0) return;
    const u32 to = of_bias ? channel : channel * k * k + tap;
    out[to] = ((of_bias ? add_bias : add_w) ? out[to] : 0.0f) + sum;
}
