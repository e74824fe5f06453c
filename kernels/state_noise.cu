// state_noise: contract and formula in src/ops/state_noise/mod.rs. Letters as there.
//
//   blockIdx.x is the slot, blocks along y share its numbers: a thread for each block of four.
//   Every step is rounded alone, so that the bits are those of src/ops/state_noise/cpu.rs.
#include "common/elementwise.cuh"
#include "common/layout.cuh"
#include "common/normal.cuh"
#include "common/records.cuh"

static const u32 NOISE = 8; // Stream::Noise of src/rng.rs

template <typename T>
__device__ __forceinline__ void add_noise(T* z, const Draw* draws, Table sigma, Ints starts, u32 c) {
    const float scale = sigma[blockIdx.x];
    if (scale == 0.0f) return;
    const Draw& draw = draws[blockIdx.x];
    const u64 seed = draw.seed(), first = starts[blockIdx.x];
    const u32 low = draw.number_low, high = draw.number_high;
    const u32 n = (starts[blockIdx.x + 1] - first) * c;
    z += first * c;
    const u32 thread = blockIdx.y * blockDim.x + threadIdx.x, threads = gridDim.y * blockDim.x;
    each_piece_of<1>(thread, threads, (n + 3) / 4, false, [&](auto, u32 block) {
        const uint4 words = philox(seed, make_uint4(block, NOISE, low, high));
        const float2 a = normal_pair(words.x, words.y), b = normal_pair(words.z, words.w);
        const float four[4] = {a.x, a.y, b.x, b.y};
#pragma unroll
        for (u32 k = 0; k < 4; k++) {
            const u32 i = 4 * block + k;
            if (i < n) z[i] = from_f32<T>(sum(to_f32(z[i]), mul(scale, four[k])));
        }
    });
}

extern "C" __global__ void __launch_bounds__(BLOCK)
    state_noise_add_f32(float* z, const Draw* draws, Table sigma, Ints starts, u32 c) {
    add_noise(z, draws, sigma, starts, c);
}

extern "C" __global__ void __launch_bounds__(BLOCK)
    state_noise_add_bf16(bf16* z, const Draw* draws, Table sigma, Ints starts, u32 c) {
    add_noise(z, draws, sigma, starts, c);
}
