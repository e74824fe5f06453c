// Loops over elements that need nothing of each other: pieces of N elements where every address
// allows 16-byte access, single elements elsewhere and for the rest.
#pragma once
#include "common/vec.cuh"

static const int BLOCK = 256; // threads

// A width as a value: what a generic lambda takes.
template <int N> struct Width {
    static const int value = N;
};

// Whether 16-byte access is allowed through all of them. Null is.
template <typename... P> __device__ __forceinline__ bool aligned(P... p) {
    return ((reinterpret_cast<u64>(p) | ...) % 16) == 0;
}

// f(Width<N>, i) for each piece i..i+N of n elements if `wide`, f(Width<1>, i) for what is left.
// The caller is number `first` of `step` threads that share the work; any number does.
template <int N, typename F>
__device__ __forceinline__ void each_piece_of(u64 first, u64 step, u32 n, bool wide, F f) {
    u64 done = 0;
    if (wide) {
        done = n / N * N;
        for (u64 i = first * N; i < done; i += step * N) f(Width<N>(), static_cast<u32>(i));
    }
    for (u64 i = done + first; i < n; i += step) f(Width<1>(), static_cast<u32>(i));
}

// The work of a whole grid along x.
template <int N, typename F> __device__ __forceinline__ void each_piece(u32 n, bool wide, F f) {
    const u64 first = static_cast<u64>(blockIdx.x) * blockDim.x + threadIdx.x;
    each_piece_of<N>(first, static_cast<u64>(gridDim.x) * blockDim.x, n, wide, f);
}
