// cast: contract in src/ops/cast/mod.rs. y[i] = x[i] rounded to nearest even; n elements.
#include "common/elementwise.cuh"

template <typename T> __device__ __forceinline__ void from_f32s(T* y, const float* x, u32 n) {
    each_piece<4>(n, aligned(y, x), [&](auto width, u32 i) {
        constexpr int W = decltype(width)::value;
        float v[W];
        load_f32<float, W>(x + i, v);
        store_f32<T, W>(y + i, v);
    });
}

extern "C" __global__ void __launch_bounds__(BLOCK) cast_fwd_f32(float* y, const float* x, u32 n) {
    from_f32s(y, x, n);
}

extern "C" __global__ void __launch_bounds__(BLOCK) cast_fwd_bf16(bf16* y, const float* x, u32 n) {
    from_f32s(y, x, n);
}
