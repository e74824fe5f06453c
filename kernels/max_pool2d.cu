// max_pool2d: contract and formula in src/ops/max_pool2d/mod.rs.
//
//   x, dx (planes, H, W)    y, dy (planes, H / 2, W / 2)    n windows
//   A thread for each window in forward. In backward a thread for each pixel of dx, which looks at
//   its window, if it has one: every element is written once.
#include "common/elementwise.cuh"

// Where the window's largest element lies, seen from its first: 0, 1, W or W + 1. NaN wins.
__device__ __forceinline__ u32 largest(const float* x, u32 w) {
    u32 best = 0;
    for (const u32 at : {1u, w, w + 1}) {
        if (x[at] > x[best] || isnan(x[at])) best = at;
    }
    return best;
}

extern "C" __global__ void __launch_bounds__(BLOCK)
    max_pool2d_fwd(float* y, const float* x, u32 n, u32 h, u32 w) {
    const u32 i = blockIdx.x * BLOCK + threadIdx.x, cols = w / 2, rows = h / 2;
    if (i >= n) return;
    const u32 row = i / cols % rows, plane = i / cols / rows;
    x += (static_cast<u64>(plane) * h + 2 * row) * w + 2 * (i % cols);
    y[i] = x[largest(x, w)];
}

// n pixels.
extern "C" __global__ void __launch_bounds__(BLOCK)
    max_pool2d_bwd(float* dx, const float* x, const float* dy, u32 n, u32 h, u32 w, u32 add) {
    const u32 i = blockIdx.x * BLOCK + threadIdx.x, cols = w / 2, rows = h / 2;
    if (i >= n) return;
    const u32 col = i % w, row = i / w % h, plane = i / w / h;
    float d = 0.0f;
    if (col / 2 < cols && row / 2 < rows) {
        const float* window = x + (static_cast<u64>(plane) * h + row / 2 * 2) * w + col / 2 * 2;
        if (largest(window, w) == row % 2 * w + col % 2)
            d = dy[(static_cast<u64>(plane) * rows + row / 2) * cols + col / 2];
    }
    dx[i] = add ? dx[i] + d : d;
}
