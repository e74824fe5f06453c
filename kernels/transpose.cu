// transpose: contract in src/ops/transpose/mod.rs.
//
//   x (B, rows, cols)    y (B, cols, rows)    either is (B, T, C) and the other (B, C, T)
//   A block moves a square of TILE x TILE, a warp for each of its rows in turn: in through rows of x, out
//   through rows of y, so that both sides touch whole sectors. Between, it lies in shared memory with one
//   element of padding to a row, by which a column meets 32 banks, in bf16 too (33 / 2 words apart).
#include "common/elementwise.cuh"

static const int TILE = 32;
static const int WARPS = BLOCK / TILE;

template <typename T>
__device__ __forceinline__ void move_square(T* y, const T* x, u32 rows, u32 cols, u32 add) {
    __shared__ T square[TILE][TILE + 1];
    const u32 across = (cols + TILE - 1) / TILE, down = (rows + TILE - 1) / TILE;
    const u32 row = blockIdx.x / across % down * TILE, col = blockIdx.x % across * TILE;
    const u64 start = static_cast<u64>(blockIdx.x / across / down) * rows * cols;
    const u32 lane = threadIdx.x % TILE, warp = threadIdx.x / TILE;
    x += start;
    y += start;
#pragma unroll
    for (u32 i = warp; i < TILE; i += WARPS) {
        if (row + i < rows && col + lane < cols)
            square[i][lane] = x[static_cast<u64>(row + i) * cols + col + lane];
    }
    __syncthreads();
#pragma unroll
    for (u32 i = warp; i < TILE; i += WARPS) {
        if (col + i < cols && row + lane < rows) {
            T* to = y + static_cast<u64>(col + i) * rows + row + lane;
            const T v = square[lane][i];
            *to = add ? from_f32<T>(to_f32(*to) + to_f32(v)) : v;
        }
    }
}

#define TRANSPOSE(T, NAME)                                                                       \
    extern "C" __global__ void __launch_bounds__(BLOCK)                                          \
        transpose_fwd_##NAME(T* y, const T* x, u32 rows, u32 cols, u32 add) {                    \
        move_square<T>(y, x, rows, cols, add);                                                   \
    }
TRANSPOSE(float, f32)
TRANSPOSE(bf16, bf16)
