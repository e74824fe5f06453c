// embedding: contract and formula in src/ops/embedding/mod.rs. Its letters:
//
//   tokens (B, S) i32    table (V, C)    puzzle (B, D) f32    pos (P + S, C) or null
//   y, dy (B, P + S, C)
//   A token outside the table makes its row NaN: the loss is then not finite and the step refused.
//
//   Gradients are f32. That of the small table: `table_part` sums ROWS_PER_PART token rows for each
//   word in shared memory, a thread for COLUMNS columns, so that no two threads share a sum;
//   `table_sum` adds the parts. That of the positions is one `column_sum` over the batch.
//   Orders are fixed: runs agree bit for bit.
#include "common/column_sum.cuh"
#include "common/elementwise.cuh"

static const int WORDS = 16;  // of the vocabulary, per block
static const int AT_ONCE = 8; // rows that a thread has under way

template <typename T>
__device__ __forceinline__ void forward(T* y, const int* tokens, const T* table,
                                        const float* puzzle, const T* pos, u32 n, u32 s, u32 p,
                                        u32 c, u32 v, u32 d, float scale) {
    constexpr int N = 16 / sizeof(T);
    each_piece<N>(n, c % N == 0 && aligned(y, table, pos), [&](auto width, u32 i) {
        constexpr int W = decltype(width)::value;
        const u32 row = i / c, column = i % c, b = row / (p + s), t = row % (p + s);
        float e[W], place[W] = {};
        if (t < p) {
#pragma unroll
            for (int k = 0; k < W; k++) {
                const u32 at = t * c + column + k;
                e[k] = at < d ? to_f32(from_f32<T>(puzzle[static_cast<u64>(b) * d + at])) : 0.0f;
            }
        } else {
            const u32 id = tokens[b * s + t - p];
            if (id < v) {
                load_f32<T, W>(table + static_cast<u64>(id) * c + column, e);
            } else {
#pragma unroll
                for (int k = 0; k < W; k++) e[k] = __int_as_float(0x7fffffff);
            }
        }
        if (pos != nullptr) load_f32<T, W>(pos + t * c + column, place);
#pragma unroll
        for (int k = 0; k < W; k++) e[k] = scale * (e[k] + place[k]);
        store_f32<T, W>(y + i, e);
    });
}

// parts (rows / ROWS_PER_PART, V, C). Grid: parts, column blocks, blocks of WORDS. No barriers: a
// thread's sums are its own.
template <typename T, int W>
__device__ __forceinline__ void part_of(Vec<float, W> (*sums)[PART_THREADS], float* parts,
                                        const int* tokens, const T* dy, u32 rows, u32 s, u32 p,
                                        u32 c, u32 v) {
    const u32 first_word = blockIdx.z * WORDS, me = threadIdx.x;
    const u32 start = blockIdx.x * ROWS_PER_PART, end = min(start + ROWS_PER_PART, rows);
    for (u32 column = (blockIdx.y * blockDim.x + me) * W; column < c;
         column += gridDim.y * blockDim.x * W) {
#pragma unroll
        for (int word = 0; word < WORDS; word++) sums[word][me] = {};
        for (u32 row = start; row < end; row += AT_ONCE) {
            float d[AT_ONCE][W];
            u32 word[AT_ONCE];
#pragma unroll
            for (int j = 0; j < AT_ONCE; j++) {
                word[j] = WORDS;
                if (row + j >= end) continue;
                word[j] = tokens[row + j] - first_word;
                const u64 at = static_cast<u64>((row + j) / s) * (p + s) + p + (row + j) % s;
                load_f32<T, W>(dy + at * c + column, d[j]);
            }
#pragma unroll
            for (int j = 0; j < AT_ONCE; j++) {
                if (word[j] >= WORDS) continue;
                Vec<float, W> sum = sums[word[j]][me];
#pragma unroll
                for (int k = 0; k < W; k++) sum.at[k] += d[j][k];
                sums[word[j]][me] = sum;
            }
        }
        for (u32 word = 0; word < WORDS && first_word + word < v; word++) {
            const u64 row = static_cast<u64>(blockIdx.x) * v + first_word + word;
            *reinterpret_cast<Vec<float, W>*>(parts + row * c + column) = sums[word][me];
        }
    }
}

template <typename T>
__device__ __forceinline__ void table_part(float* parts, const int* tokens, const T* dy, u32 rows,
                                           u32 s, u32 p, u32 c, u32 v) {
    __shared__ Vec<float, COLUMNS> sums[WORDS][PART_THREADS];
    if (c % COLUMNS == 0 && aligned(parts, dy)) {
        part_of<T, COLUMNS>(sums, parts, tokens, dy, rows, s, p, c, v);
    } else {
        auto narrow = reinterpret_cast<Vec<float, 1>(*)[PART_THREADS]>(sums);
        part_of<T, 1>(narrow, parts, tokens, dy, rows, s, p, c, v);
    }
}

template <typename T>
__device__ __forceinline__ void backward_puzzle(float* dpuzzle, const T* dy, u32 n, u32 d,
                                                u32 stride, float scale, u32 add) {
    each_piece<1>(n, false, [&](auto, u32 i) {
        const float g = scale * to_f32(dy[static_cast<u64>(i / d) * stride + i % d]);
        dpuzzle[i] = (add ? dpuzzle[i] : 0.0f) + g;
    });
}

extern "C" __global__ void __launch_bounds__(WARP* SUM_WARPS)
    embedding_table_sum(float* dtable, const float* parts, u32 count, u32 width, u32 add,
                        float scale) {
    column_sum<float>(dtable, parts, count, width, width, scale, add);
}

#define EMBEDDING(T, NAME)                                                                       \
    extern "C" __global__ void __launch_bounds__(BLOCK)                                          \
        embedding_fwd_##NAME(T* y, const int* tokens, const T* table, const float* puzzle,       \
                             const T* pos, u32 n, u32 s, u32 p, u32 c, u32 v, u32 d,             \
                             float scale) {                                                      \
        forward<T>(y, tokens, table, puzzle, pos, n, s, p, c, v, d, scale);                      \
    }                                                                                            \
    extern "C" __global__ void __launch_bounds__(PART_THREADS)                                   \
        embedding_table_part_##NAME(float* parts, const int* tokens, const T* dy, u32 rows,      \
                                    u32 s, u32 p, u32 c, u32 v) {                                \
        table_part<T>(parts, tokens, dy, rows, s, p, c, v);                                      \
    }                                                                                            \
    extern "C" __global__ void __launch_bounds__(BLOCK)                                          \
        embedding_puzzle_##NAME(float* dpuzzle, const T* dy, u32 n, u32 d, u32 stride, u32 add,  \
                                float scale) {                                                   \
        backward_puzzle<T>(dpuzzle, dy, n, d, stride, scale, add);                               \
    }                                                                                            \
    extern "C" __global__ void __launch_bounds__(WARP* SUM_WARPS)                                \
        embedding_pos_##NAME(float* dpos, const T* dy, u32 b, u32 width, u32 add, float scale) { \
        column_sum<T>(dpos, dy, b, width, width, scale, add);                                    \
    }
EMBEDDING(float, f32)
EMBEDDING(bf16, bf16)
