// Element types and wide memory access. T is float or bf16; arithmetic is always in f32 and a value
// is rounded to bf16 once, at the store.
#pragma once
#include <cuda_bf16.h>

typedef __nv_bfloat16 bf16;
typedef unsigned int u32;
typedef unsigned long long u64;
typedef unsigned char u8;

__device__ __forceinline__ float to_f32(float x) { return x; }
__device__ __forceinline__ float to_f32(bf16 x) { return __bfloat162float(x); }

template <typename T> __device__ __forceinline__ T from_f32(float x);
template <> __device__ __forceinline__ float from_f32<float>(float x) { return x; }
template <> __device__ __forceinline__ bf16 from_f32<bf16>(float x) { return __float2bfloat16_rn(x); }

// N elements moved by one instruction; 16 bytes at most. The address must be a multiple of its size.
template <typename T, int N> struct alignas(sizeof(T) * N) Vec {
    T at[N];
};

template <typename T, int N>
__device__ __forceinline__ void load_f32(const T* __restrict__ from, float (&to)[N]) {
    const Vec<T, N> v = *reinterpret_cast<const Vec<T, N>*>(from);
#pragma unroll
    for (int i = 0; i < N; i++) to[i] = to_f32(v.at[i]);
}

template <typename T, int N>
__device__ __forceinline__ void store_f32(T* __restrict__ to, const float (&from)[N]) {
    Vec<T, N> v;
#pragma unroll
    for (int i = 0; i < N; i++) v.at[i] = from_f32<T>(from[i]);
    *reinterpret_cast<Vec<T, N>*>(to) = v;
}
