// Two standard normal numbers from two random words by Box and Muller's method, the same bits as
// src/ops/gauss_sample/cpu.rs: every step is rounded alone (no fused multiply-add), in its order.
#pragma once
#include "common/philox.cuh"

__device__ __forceinline__ float mul(float a, float b) { return __fmul_rn(a, b); }
__device__ __forceinline__ float sum(float a, float b) { return __fadd_rn(a, b); }

// ln x for normal x > 0: `ln` of src/backend/cpu/simd.rs.
__device__ __forceinline__ float ln_rn(float x) {
    const u32 above = __float_as_uint(x) - 0x3F3504F3u;
    const float e = static_cast<float>(static_cast<int>(above) >> 23);
    const float f = sum(__uint_as_float((above & 0x007FFFFFu) + 0x3F3504F3u), -1.0f);
    float p = 7.0376836e-2f;
    p = sum(mul(p, f), -1.151461e-1f);
    p = sum(mul(p, f), 1.1676999e-1f);
    p = sum(mul(p, f), -1.2420141e-1f);
    p = sum(mul(p, f), 1.4249323e-1f);
    p = sum(mul(p, f), -1.6668058e-1f);
    p = sum(mul(p, f), 2.0000715e-1f);
    p = sum(mul(p, f), -2.4999994e-1f);
    p = sum(mul(p, f), 3.333333e-1f);
    const float z = mul(f, f);
    float y = mul(mul(p, f), z);
    y = sum(y, -mul(2.1219444e-4f, e));
    y = sum(y, -mul(0.5f, z));
    return sum(sum(f, y), mul(0.6933594f, e));
}

__device__ __forceinline__ float2 normal_pair(u32 radius, u32 angle) {
    const float u = static_cast<float>((radius >> 8) + 1) * (1.0f / 16777216.0f);
    const float r = __fsqrt_rn(mul(-2.0f, ln_rn(u)));
    // The quadrant by two bits, the angle inside it by the 22 below, from its middle.
    const float t = sum(static_cast<float>(angle >> 8 & 0x3FFFFFu) * (1.0f / 4194304.0f), -0.5f);
    const float x = mul(t, 1.5707964f), z = mul(x, x);
    float s = sum(mul(-1.9515296e-4f, z), 8.332161e-3f);
    s = sum(mul(s, z), -1.6666655e-1f);
    s = sum(mul(mul(s, z), x), x);
    float c = sum(mul(2.4433157e-5f, z), -1.3887316e-3f);
    c = sum(mul(c, z), 4.1666646e-2f);
    c = sum(sum(mul(mul(c, z), z), -mul(0.5f, z)), 1.0f);
    s = mul(r, s), c = mul(r, c);
    switch (angle >> 30) {
    case 0: return make_float2(c, s);
    case 1: return make_float2(-s, c);
    case 2: return make_float2(-c, -s);
    default: return make_float2(s, -c);
    }
}
