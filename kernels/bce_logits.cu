// bce_logits: contract and formula in src/ops/bce_logits/mod.rs. n = 2 B entries, all in f32; a
// negative target switches its entry off.
#include "common/elementwise.cuh"

template <typename T>
__device__ __forceinline__ void forward(float* rows, const T* q, const float* targets, u32 n) {
    each_piece<1>(n, false, [&](auto, u32 i) {
        const float x = to_f32(q[i]), t = targets[i];
        rows[i] = t < 0.0f ? 0.0f : fmaxf(x, 0.0f) - x * t + log1pf(expf(-fabsf(x)));
    });
}

template <typename T>
__device__ __forceinline__ void backward(T* dq, const T* q, const float* targets,
                                         const float* drows, u32 n, u32 add) {
    each_piece<1>(n, false, [&](auto, u32 i) {
        const float t = targets[i], sigmoid = 1.0f / (1.0f + expf(-to_f32(q[i])));
        const float g = t < 0.0f ? 0.0f : (sigmoid - t) * drows[i];
        dq[i] = from_f32<T>(add ? to_f32(dq[i]) + g : g);
    });
}

#define BCE_LOGITS(T, NAME)                                                                      \
    extern "C" __global__ void __launch_bounds__(BLOCK)                                          \
        bce_logits_fwd_##NAME(float* rows, const T* q, const float* targets, u32 n) {            \
        forward<T>(rows, q, targets, n);                                                         \
    }                                                                                            \
    extern "C" __global__ void __launch_bounds__(BLOCK)                                          \
        bce_logits_bwd_##NAME(T* dq, const T* q, const float* targets, const float* drows,       \
                              u32 n, u32 add) {                                                  \
        backward<T>(dq, q, targets, drows, n, add);                                              \
    }
BCE_LOGITS(float, f32)
BCE_LOGITS(bf16, bf16)
