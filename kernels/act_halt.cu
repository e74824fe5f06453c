// act_halt: contract and formula in src/ops/act_halt/mod.rs. Letters and metrics as there.
//
//   halted (B) u8    steps (B) i32    q, next_q (B, 2)    rows (B)    q_rows, targets (B, 2) f32
//   admit and reset: blockIdx.x is the slot, blocks along y share its elements.
#include "common/elementwise.cuh"
#include "common/layout.cuh"
#include "common/philox.cuh"
#include "common/records.cuh"
#include "common/reduce.cuh"

// `metric` of src/ops/act_halt/mod.rs.
enum Metric {
    COUNT,
    ACCURACY,
    EXACT_ACCURACY,
    Q_HALT_ACCURACY,
    STEPS,
    LM_LOSS,
    Q_HALT_LOSS,
    Q_CONTINUE_LOSS,
    METRICS
};
static const u32 HALTING = 2; // Stream::Halting of src/rng.rs
static const float NO_TARGET = -1.0f;

template <int N, typename F>
__device__ __forceinline__ void each_piece_of_slot(u32 n, bool wide, F f) {
    const u32 first = blockIdx.y * blockDim.x + threadIdx.x;
    each_piece_of<N>(first, gridDim.y * blockDim.x, n, wide, f);
}

// dst, src: slots of elements of `bytes` each.
extern "C" __global__ void __launch_bounds__(BLOCK)
    act_halt_admit(u8* dst, const u8* halted, const u8* src, const int* starts, u32 bytes) {
    if (!halted[blockIdx.x]) return;
    const u64 first = starts[blockIdx.x];
    const u32 n = (starts[blockIdx.x + 1] - first) * bytes;
    dst += first * bytes;
    src += first * bytes;
    each_piece_of_slot<16>(n, aligned(dst, src), [&](auto width, u32 i) {
        constexpr int W = decltype(width)::value;
        *reinterpret_cast<Vec<u8, W>*>(dst + i) = *reinterpret_cast<const Vec<u8, W>*>(src + i);
    });
}

// z (N, C), init (C).
template <typename T>
__device__ __forceinline__ void reset(T* z, const u8* halted, const T* init, Ints starts, u32 c) {
    constexpr int N = 16 / sizeof(T);
    if (!halted[blockIdx.x]) return;
    const u64 first = starts[blockIdx.x];
    const u32 n = (starts[blockIdx.x + 1] - first) * c;
    z += first * c;
    each_piece_of_slot<N>(n, c % N == 0 && aligned(z, init), [&](auto width, u32 i) {
        constexpr int W = decltype(width)::value;
        *reinterpret_cast<Vec<T, W>*>(z + i) = *reinterpret_cast<const Vec<T, W>*>(init + i % c);
    });
}

template <typename T>
__device__ __forceinline__ void decide(int* steps, u8* halted, const T* q, const Draw* draw, u32 b,
                                       int max_steps, u32 training, u32 q_continue, float prob) {
    const u32 slot = blockIdx.x * blockDim.x + threadIdx.x;
    if (slot >= b) return;
    const int step = halted[slot] ? 1 : steps[slot] + 1;
    bool halt = step >= max_steps;
    if (training && max_steps > 1) {
        const float other = q_continue ? to_f32(q[2 * slot + 1]) : 0.0f;
        const uint4 counter = make_uint4(slot, HALTING, draw->number_low, draw->number_high);
        const uint4 words = philox(draw->seed(), counter);
        const bool explores = unit_f32(words.x) < prob;
        const int min_steps = explores ? 2 + static_cast<int>(words.y % (max_steps - 1)) : 0;
        halt = (halt || to_f32(q[2 * slot]) > other) && step >= min_steps;
    }
    steps[slot] = step;
    halted[slot] = halt;
}

template <typename T>
__device__ __forceinline__ void targets_of(float* targets, const Sequence* rows, const T* next_q,
                                           const int* steps, u32 b, int max_steps) {
    const u32 slot = blockIdx.x * blockDim.x + threadIdx.x;
    if (slot >= b) return;
    targets[2 * slot] = rows[slot].exact;
    float target = NO_TARGET;
    if (next_q != nullptr) {
        const float halt = to_f32(next_q[2 * slot]), go_on = to_f32(next_q[2 * slot + 1]);
        target = 1.0f / (1.0f + expf(-(steps[slot] >= max_steps ? halt : fmaxf(halt, go_on))));
    }
    targets[2 * slot + 1] = target;
}

// One block.
template <typename T>
__device__ __forceinline__ void metrics_of(float* metrics, const Sequence* rows, const T* q,
                                           const float* q_rows, const int* steps, const u8* halted,
                                           u32 b) {
    __shared__ float partial[BLOCK / WARP];
    float sums[METRICS] = {};
    for (u32 slot = threadIdx.x; slot < b; slot += BLOCK) {
        const Sequence row = rows[slot];
        sums[LM_LOSS] += row.loss;
        sums[Q_HALT_LOSS] += q_rows[2 * slot];
        sums[Q_CONTINUE_LOSS] += q_rows[2 * slot + 1];
        if (!halted[slot] || row.valid == 0.0f) continue;
        const float thinks_right = to_f32(q[2 * slot]) >= 0.0f ? 1.0f : 0.0f;
        sums[COUNT] += 1.0f;
        sums[ACCURACY] += row.right / row.valid;
        sums[EXACT_ACCURACY] += row.exact;
        sums[Q_HALT_ACCURACY] += thinks_right == row.exact ? 1.0f : 0.0f;
        sums[STEPS] += steps[slot];
    }
#pragma unroll
    for (int m = 0; m < METRICS; m++) {
        const float sum = block_sum(sums[m], partial);
        if (threadIdx.x == 0) metrics[m] = sum;
    }
}

#define ACT_HALT(T, NAME)                                                                        \
    extern "C" __global__ void __launch_bounds__(BLOCK)                                          \
        act_halt_reset_##NAME(T* z, const u8* halted, const T* init, const int* starts, u32 c) { \
        reset<T>(z, halted, init, starts, c);                                                    \
    }                                                                                            \
    extern "C" __global__ void __launch_bounds__(BLOCK)                                          \
        act_halt_decide_##NAME(int* steps, u8* halted, const T* q, const Draw* draw, u32 b,       \
                               u32 max_steps, u32 training, u32 q_continue, float prob) {        \
        decide<T>(steps, halted, q, draw, b, max_steps, training, q_continue, prob);             \
    }                                                                                            \
    extern "C" __global__ void __launch_bounds__(BLOCK)                                          \
        act_halt_targets_##NAME(float* targets, const Sequence* rows, const T* next_q,           \
                                const int* steps, u32 b, u32 max_steps) {                        \
        targets_of<T>(targets, rows, next_q, steps, b, max_steps);                               \
    }                                                                                            \
    extern "C" __global__ void __launch_bounds__(BLOCK)                                          \
        act_halt_metrics_##NAME(float* metrics, const Sequence* rows, const T* q,                \
                                const float* q_rows, const int* steps, const u8* halted,         \
                                u32 b) {                                                         \
        metrics_of<T>(metrics, rows, q, q_rows, steps, halted, b);                               \
    }
ACT_HALT(float, f32)
ACT_HALT(bf16, bf16)
