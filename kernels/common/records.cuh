// Small records in device memory, by name: what Rust holds as arrays of the same layout. Every member
// has 4 bytes, since a record starts at any multiple of 4.
#pragma once
#include "common/vec.cuh"

// src/ops/global_norm/mod.rs: nothing is updated unless `ok` is 1.
struct Guard {
    float norm, scale, ok;
};

// src/ops/draw.rs: key and counter of the RNG. In device memory, since a captured step is replayed
// with other numbers.
struct Draw {
    u32 seed_low, seed_high, number_low, number_high;

    __device__ __forceinline__ u64 seed() const {
        return seed_low | static_cast<u64>(seed_high) << 32;
    }
};

// A row of src/ops/cross_entropy/mod.rs: one sequence.
struct Sequence {
    float loss, valid, right, exact;
};
