// The gate of SwiGLU, for the op and for the products that it is fused with: the same bits in both.
// Each step says how it is rounded, so that no compiler fuses it with its neighbour in one kernel
// and not in the other (a mul and an add without .rn may become an fma).
#pragma once

__device__ __forceinline__ float sigmoid(float x) {
    return __frcp_rn(__fadd_rn(1.0f, expf(-x)));
}

// silu(g) u
__device__ __forceinline__ float gated(float g, float u) {
    return __fmul_rn(u, __fmul_rn(g, sigmoid(g)));
}

// The gradients of g and u, given d of silu(g) u.
__device__ __forceinline__ float2 gated_gradients(float d, float g, float u) {
    const float sig = sigmoid(g), slope = __fmaf_rn(g, __fsub_rn(1.0f, sig), 1.0f);
    return make_float2(__fmul_rn(__fmul_rn(__fmul_rn(d, u), sig), slope),
                       __fmul_rn(__fmul_rn(d, g), sig));
}
