// A row of C elements in the registers of a warp. Lane l holds pieces of 16 bytes: piece k starts
// at element (32 k + l) N. Rows that do not fit, or do not allow 16-byte access, are walked element
// by element instead: `for (i = lane; i < c; i += WARP)`.
#pragma once
#include "common/elementwise.cuh"
#include "common/reduce.cuh"

static const int ROWS_PER_BLOCK = 4; // a warp each
static const int NARROW = 512;       // elements held: what most models need, in few registers
static const int WIDE = 1024;

template <typename T, int MAX_HELD> struct Row {
    static const int N = 16 / sizeof(T);
    static const int PIECES = MAX_HELD / (N * WARP);
    Vec<T, N> piece[PIECES];

    static __device__ __forceinline__ bool fits(u32 c) { return c <= MAX_HELD && c % N == 0; }
    static __device__ __forceinline__ u32 start(int k) {
        return (k * WARP + threadIdx.x % WARP) * N;
    }

    __device__ __forceinline__ void load(const T* row, u32 c) {
#pragma unroll
        for (int k = 0; k < PIECES; k++)
            if (start(k) < c) piece[k] = *reinterpret_cast<const Vec<T, N>*>(row + start(k));
    }
    __device__ __forceinline__ float at(int k, int i) const { return to_f32(piece[k].at[i]); }

    // f(k, i) for every element of this lane.
    template <typename F> static __device__ __forceinline__ void each(u32 c, F f) {
#pragma unroll
        for (int k = 0; k < PIECES; k++) {
            if (start(k) < c) {
#pragma unroll
                for (int i = 0; i < N; i++) f(k, i);
            }
        }
    }
    // row[..] = f(k, i), rounded.
    template <typename F> static __device__ __forceinline__ void store(T* row, u32 c, F f) {
#pragma unroll
        for (int k = 0; k < PIECES; k++) {
            if (start(k) < c) {
                float v[N];
#pragma unroll
                for (int i = 0; i < N; i++) v[i] = f(k, i);
                store_f32<T, N>(row + start(k), v);
            }
        }
    }
};
