// Rows of a batch end to end: src/ops/layout.rs. All of it i32 in device memory.
//
//   starts (R + 1)   where each slot begins, and the end of the last
//   row_of (N)       the slot of each position
//   lengths (R)      positions of the row in each slot; those behind are filling
//   places (N)       the place of each position: its row of a table
//   tiles (L, 2)     stretches of slots, a block for each: the slot, the first position in it
#pragma once
#include "common/vec.cuh"

typedef const int* __restrict__ Ints;
typedef const float* __restrict__ Table;

// A position as its row sees it; P positions of the prefix come before a row's cells. Cells alone
// lie end to end, too.
struct Position {
    u32 row, t, cell; // the cell counts where t >= P only

    __device__ __forceinline__ Position(u32 n, Ints starts, Ints row_of, u32 p)
        : row(row_of[n]), t(n - starts[row]), cell(n - (row + 1) * p) {}
};

// This block's tile: where its slot starts, positions of slot and row, its own first of them.
struct Tile {
    u32 start, room, t, first;

    __device__ __forceinline__ Tile(Ints tiles, Ints starts, Ints lengths) {
        const u32 slot = tiles[2 * blockIdx.x];
        first = tiles[2 * blockIdx.x + 1];
        start = starts[slot];
        room = starts[slot + 1] - start;
        t = min(static_cast<u32>(lengths[slot]), room);
    }
};
