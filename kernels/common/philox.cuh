// Philox4x32-10, the same stream as src/rng.rs.
#pragma once
#include "common/vec.cuh"

__device__ __forceinline__ uint4 philox(u64 key, uint4 c) {
    u32 k0 = static_cast<u32>(key), k1 = static_cast<u32>(key >> 32);
#pragma unroll
    for (int round = 0; round < 10; round++) {
        if (round > 0) {
            k0 += 0x9E3779B9u;
            k1 += 0xBB67AE85u;
        }
        const u32 lo0 = 0xD2511F53u * c.x, hi0 = __umulhi(0xD2511F53u, c.x);
        const u32 lo1 = 0xCD9E8D57u * c.z, hi1 = __umulhi(0xCD9E8D57u, c.z);
        c = make_uint4(hi1 ^ c.y ^ k0, lo1, hi0 ^ c.w ^ k1, lo0);
    }
    return c;
}

// The top 24 bits of a random word as a float in [0, 1).
__device__ __forceinline__ float unit_f32(u32 word) {
    return static_cast<float>(word >> 8) * (1.0f / 16777216.0f);
}

__device__ __forceinline__ u32 word_of(uint4 w, u32 j) {
    return j < 2 ? (j == 0 ? w.x : w.y) : (j == 2 ? w.z : w.w);
}
