// pointwise: contracts and formulas in src/ops/pointwise. n elements, f32.
//   Forward makes y of x, backward dx of y and dy, where dy lies.
#include "common/elementwise.cuh"

template <typename F>
__device__ __forceinline__ void forward(float* y, const float* x, u32 n, F y_of) {
    each_piece<4>(n, aligned(y, x), [&](auto width, u32 i) {
        constexpr int W = decltype(width)::value;
        float v[W];
        load_f32<float, W>(x + i, v);
#pragma unroll
        for (int k = 0; k < W; k++) v[k] = y_of(v[k]);
        store_f32<float, W>(y + i, v);
    });
}

template <typename F>
__device__ __forceinline__ void backward(float* dy, const float* y, u32 n, F dx_of) {
    each_piece<4>(n, aligned(dy, y), [&](auto width, u32 i) {
        constexpr int W = decltype(width)::value;
        float d[W], v[W];
        load_f32<float, W>(dy + i, d);
        load_f32<float, W>(y + i, v);
#pragma unroll
        for (int k = 0; k < W; k++) d[k] = dx_of(v[k], d[k]);
        store_f32<float, W>(dy + i, d);
    });
}

// y by x, and dx by y and dy.
#define POINTWISE(OP, Y, DX)                                                                     \
    extern "C" __global__ void __launch_bounds__(BLOCK)                                          \
        OP##_fwd(float* y, const float* x, u32 n) {                                              \
        forward(y, x, n, [](float x) { return Y; });                                             \
    }                                                                                            \
    extern "C" __global__ void __launch_bounds__(BLOCK)                                          \
        OP##_bwd(float* dy, const float* y, u32 n) {                                             \
        backward(dy, y, n, [](float y, float dy) { return DX; });                                \
    }

POINTWISE(relu, x < 0.0f ? 0.0f : x, y > 0.0f ? dy : 0.0f) // NaN stays
POINTWISE(sigmoid, 1.0f / (1.0f + expf(-x)), dy * y * (1.0f - y))
