// How the positions of a row see each other, and what is dropped of the weights of attention: see
// src/ops/attention/mod.rs. A kernel is made twice: of `Everything`, which costs nothing, and of a
// `Sight`, which says at run time what holds.
//
// A mask is drawn where it is used, in blocks of four keys of one query. Those who hold neighbours of
// a fragment draw a block each and exchange its words.
#pragma once
#include "common/philox.cuh"
#include "common/records.cuh"

// All positions see all, nothing is dropped.
struct Everything {
    static constexpr bool SIGHTED = false, causal = false;
    static constexpr float keep = 1.0f;
};

// One head of one row; what its kernel got.
struct Sight {
    static constexpr bool SIGHTED = true;
    bool causal, drops;
    u32 low, high, stream, first, stride; // block of the row's first query, and from query to query
    u64 seed;
    float prob, keep; // what is kept is multiplied by `keep`

    // `blocks` of four keys to a query; nothing is dropped where there is no draw.
    __device__ __forceinline__ Sight(u32 causal, const Draw* draw, u32 stream, u32 blocks,
                                     float prob, float keep, u32 start, u32 nh)
        : causal(causal), drops(draw != nullptr), low(0), high(0), stream(stream),
          first((start * nh + blockIdx.y) * blocks), stride(nh * blocks), seed(0), prob(prob),
          keep(keep) {
        if (!drops) return;
        low = draw->number_low, high = draw->number_high, seed = draw->seed();
    }

    // The words of four keys from `key`, a multiple of 4.
    __device__ __forceinline__ uint4 block(u32 query, u32 key) const {
        return philox(seed, make_uint4(first + query * stride + key / 4, stream, low, high));
    }

    __device__ __forceinline__ bool dropped(u32 word) const { return unit_f32(word) < prob; }

    __device__ __forceinline__ float factor(u32 word) const { return dropped(word) ? 0.0f : keep; }

    // Two weights in bf16, those that are dropped zero.
    __device__ __forceinline__ u32 kept(u32 word0, u32 word1, u32 pair) const {
        if (dropped(word0)) pair &= 0xffff0000u;
        return dropped(word1) ? pair & 0xffffu : pair;
    }

    // For a fragment whose rows are queries, this thread's `query` and the eighth after it, and whose
    // columns are eight keys from `key`: words of its two keys for both. All lanes call it.
    __device__ __forceinline__ void words(u32 query, u32 key, uint2 (&of_query)[2]) const {
        const bool odd = threadIdx.x % 2;
        const uint4 own = block(query + 8 * odd, key + threadIdx.x % 4 / 2 * 4);
        const uint2 head = make_uint2(own.x, own.y), tail = make_uint2(own.z, own.w);
        const uint2 mine = odd ? tail : head, other = odd ? head : tail;
        const uint2 got = make_uint2(__shfl_xor_sync(0xffffffffu, other.x, 1),
                                     __shfl_xor_sync(0xffffffffu, other.y, 1));
        of_query[0] = odd ? got : mine;
        of_query[1] = odd ? mine : got;
    }

    // For a fragment whose rows are keys, lane / 4 and the eighth after it from `key`, and whose
    // columns are queries, this thread's `query` and the next: word [k][q]. All lanes call it.
    __device__ __forceinline__ void words(u32 query, u32 key, u32 (&of_key)[2][2]) const {
        const u32 me = threadIdx.x / 4 % 4; // the word of this thread's keys, the block it draws
        const uint4 own = block(query + me % 2, key + me / 2 * 8 + threadIdx.x % 32 / 16 * 4);
        // From the thread `d` away: its block's word for this one.
        const uint4 got = make_uint4(word_of(own, me),
                                     __shfl_xor_sync(0xffffffffu, word_of(own, me ^ 1), 4),
                                     __shfl_xor_sync(0xffffffffu, word_of(own, me ^ 2), 8),
                                     __shfl_xor_sync(0xffffffffu, word_of(own, me ^ 3), 12));
#pragma unroll
        for (u32 k = 0; k < 2; k++)
#pragma unroll
            for (u32 q = 0; q < 2; q++) of_key[k][q] = word_of(got, me ^ (2 * k + q));
    }
};

// What a sighted kernel gets behind all else, and the sight of a row from `start` made of it.
#define AND_SIGHT , u32 causal, const Draw *draw, u32 stream, u32 blocks, float prob, float keep
#define SIGHT(start) Sight(causal, draw, stream, blocks, prob, keep, start, nh)
