// cross_entropy: contract and formula in src/ops/cross_entropy/mod.rs. Its letters:
//
//   logits, dx (N, V)    labels i32, one to a cell    rows, drows (R)
//   Forward: a block per row, a thread per token. Backward: a thread per position.
//   All in f32. The loss of a token is log1p of what the other classes weigh beside it, never the
//   log of a rounded ratio: a token that is almost certain keeps its digits.
//   A label that is neither IGNORE nor a class makes the loss NaN: the step is refused.
#include "common/elementwise.cuh"
#include "common/layout.cuh"
#include "common/records.cuh"
#include "common/reduce.cuh"

static const int IGNORE = -100;
static const int TOKEN_THREADS = 512;
static const u32 STABLEMAX = 1; // `kind`; softmax is 0

__device__ __forceinline__ float score(u32 kind, float x, float largest) {
    if (kind == STABLEMAX) return x < 0.0f ? 1.0f / (1.0f - x) : x + 1.0f;
    return expf(x - largest);
}

// The first index of the largest logit.
template <typename T> __device__ __forceinline__ u32 argmax(const T* x, u32 v) {
    u32 best = 0;
    float largest = to_f32(x[0]);
    for (u32 i = 1; i < v; i++) {
        const float xi = to_f32(x[i]);
        if (xi > largest) best = i, largest = xi;
    }
    return best;
}

// -log p[label]. Left out of the sum: the largest class for softmax, whose score is exactly 1; the
// label for stablemax.
template <typename T>
__device__ __forceinline__ float loss_of(u32 kind, const T* x, u32 v, u32 best, u32 label) {
    if (label >= v) return __int_as_float(0x7fffffff);
    const float largest = to_f32(x[best]), of_label = to_f32(x[label]);
    const u32 left_out = kind == STABLEMAX ? label : best;
    float others = 0.0f;
    for (u32 i = 0; i < v; i++)
        if (i != left_out) others += score(kind, to_f32(x[i]), largest);
    if (kind == STABLEMAX) return log1pf(others / score(kind, of_label, largest));
    return log1pf(others) + (largest - of_label);
}

template <typename T>
__device__ __forceinline__ void forward(Sequence* rows, const T* logits, const int* labels,
                                        Ints starts, u32 p, u32 v, u32 kind) {
    __shared__ float partial[TOKEN_THREADS / WARP];
    const u32 b = blockIdx.x;
    const u32 first = starts[b] + p, s = starts[b + 1] - first;
    labels += first - (b + 1) * p;
    logits += static_cast<u64>(first) * v;
    float loss = 0.0f, valid = 0.0f, right = 0.0f;
    for (u32 t = threadIdx.x; t < s; t += blockDim.x) {
        if (labels[t] == IGNORE) continue;
        const T* x = logits + static_cast<u64>(t) * v;
        const u32 label = labels[t], best = argmax(x, v);
        valid += 1.0f;
        right += best == label ? 1.0f : 0.0f;
        loss += loss_of(kind, x, v, best, label);
    }
    loss = block_sum(loss, partial);
    valid = block_sum(valid, partial);
    right = block_sum(right, partial);
    if (threadIdx.x > 0) return;
    rows[b] = {loss / fmaxf(valid, 1.0f), valid, right, right == valid ? 1.0f : 0.0f};
}

// n positions.
template <typename T>
__device__ __forceinline__ void backward(T* dx, const T* logits, const int* labels,
                                         const Sequence* rows, const Sequence* drows, Ints starts,
                                         Ints row_of, u32 n, u32 p, u32 v, u32 kind, u32 add) {
    const u32 position = blockIdx.x * blockDim.x + threadIdx.x;
    if (position >= n) return;
    const Position at(position, starts, row_of, p);
    const int label = at.t < p ? IGNORE : labels[at.cell];
    logits += static_cast<u64>(position) * v;
    dx += static_cast<u64>(position) * v;
    if (label == IGNORE) {
        for (u32 i = 0; i < v && !add; i++) dx[i] = from_f32<T>(0.0f);
        return;
    }
    const float largest = kind == STABLEMAX ? 0.0f : to_f32(logits[argmax(logits, v)]);
    float sum = 0.0f;
    for (u32 i = 0; i < v; i++) sum += score(kind, to_f32(logits[i]), largest);
    const float dtoken = drows[at.row].loss / fmaxf(rows[at.row].valid, 1.0f);
    for (u32 i = 0; i < v; i++) {
        const float si = score(kind, to_f32(logits[i]), largest);
        const float is_label = i == static_cast<u32>(label) ? 1.0f : 0.0f;
        float g = si / sum - is_label;
        // d log s / dx = s'/s, where s' = 1 above zero and s^2 below.
        if (kind == STABLEMAX) g = (si < 1.0f ? si * si : 1.0f) * (1.0f / sum - is_label / si);
        dx[i] = from_f32<T>((add ? to_f32(dx[i]) : 0.0f) + dtoken * g);
    }
}

#define CROSS_ENTROPY(T, NAME)                                                                   \
    extern "C" __global__ void __launch_bounds__(TOKEN_THREADS)                                  \
        cross_entropy_fwd_##NAME(Sequence* rows, const T* logits, const int* labels,             \
                                 const int* starts, u32 p, u32 v, u32 kind) {                    \
        forward<T>(rows, logits, labels, starts, p, v, kind);                                    \
    }                                                                                            \
    extern "C" __global__ void __launch_bounds__(BLOCK)                                          \
        cross_entropy_bwd_##NAME(T* dx, const T* logits, const int* labels,                      \
                                 const Sequence* rows, const Sequence* drows,                    \
                                 const int* starts, const int* row_of, u32 n, u32 p, u32 v,      \
                                 u32 kind, u32 add) {                                            \
        backward<T>(dx, logits, labels, rows, drows, starts, row_of, n, p, v, kind, add);        \
    }
CROSS_ENTROPY(float, f32)
CROSS_ENTROPY(bf16, bf16)
