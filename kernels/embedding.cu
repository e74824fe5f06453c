// embedding: contract and formula in src/ops/embedding/mod.rs. Its letters:
//
//   tokens i32, one to a cell    table (V, C)    puzzle (R, D) f32    pos (places, C) or null
//   y, dy (N, C)
//   A token outside the table, or a place outside pos, makes its position NaN: the loss is then not
//   finite and the step refused.
//
//   Gradients are f32. That of the small table: `table_part` sums ROWS_PER_PART cells for each word
//   in shared memory, a thread for COLUMNS columns, so that no two threads share a sum; `table_sum`
//   adds the parts. That of pos: a block has 32 columns of one place, looks for its position in
//   every row, where places ascend, and sums like `column_sum`.
//   Orders are fixed: runs agree bit for bit.
#include "common/column_sum.cuh"
#include "common/elementwise.cuh"
#include "common/layout.cuh"

static const int WORDS = 16;  // of the vocabulary, per block
static const int AT_ONCE = 8; // rows that a thread has under way

template <typename T>
__device__ __forceinline__ void forward(T* y, const int* tokens, const T* table,
                                        const float* puzzle, const T* pos, Ints starts, Ints row_of,
                                        Ints places, u32 n, u32 p, u32 c, u32 v, u32 d, u32 known,
                                        float scale) {
    constexpr int N = 16 / sizeof(T);
    each_piece<N>(n, c % N == 0 && aligned(y, table, pos), [&](auto width, u32 i) {
        constexpr int W = decltype(width)::value;
        const u32 column = i % c;
        const Position at(i / c, starts, row_of, p);
        const float nan = __int_as_float(0x7fffffff);
        float e[W], of_place[W] = {};
        if (at.t < p) {
#pragma unroll
            for (int k = 0; k < W; k++) {
                const u32 j = at.t * c + column + k;
                e[k] = j < d ? to_f32(from_f32<T>(puzzle[static_cast<u64>(at.row) * d + j])) : 0.0f;
            }
        } else {
            const u32 id = tokens[at.cell];
            if (id < v) {
                load_f32<T, W>(table + static_cast<u64>(id) * c + column, e);
            } else {
#pragma unroll
                for (int k = 0; k < W; k++) e[k] = nan;
            }
        }
        if (pos != nullptr) {
            const u32 place = at.t < p ? at.t : places[i / c];
            if (place < known) {
                load_f32<T, W>(pos + place * c + column, of_place);
            } else {
#pragma unroll
                for (int k = 0; k < W; k++) of_place[k] = nan;
            }
        }
#pragma unroll
        for (int k = 0; k < W; k++) e[k] = scale * (e[k] + of_place[k]);
        store_f32<T, W>(y + i, e);
    });
}

// The slot that cell `i` is in: the last that begins at or before it. starts: those of cells.
__device__ __forceinline__ u32 row_of_cell(u32 i, Ints starts, u32 rows) {
    u32 row = 0;
    for (u32 end = rows; end - row > 1;) {
        const u32 middle = (row + end) / 2;
        if (static_cast<u32>(starts[middle]) <= i) row = middle;
        else end = middle;
    }
    return row;
}

// parts (cells / ROWS_PER_PART, V, C). Grid: parts, column blocks, blocks of WORDS. No barriers: a
// thread's sums are its own. starts: those of cells, of which there are n.
template <typename T, int W>
__device__ __forceinline__ void part_of(Vec<float, W> (*sums)[PART_THREADS], float* parts,
                                        const int* tokens, const T* dy, Ints starts, u32 n,
                                        u32 rows, u32 p, u32 c, u32 v) {
    const u32 first_word = blockIdx.z * WORDS, me = threadIdx.x;
    const u32 start = blockIdx.x * ROWS_PER_PART, end = min(start + ROWS_PER_PART, n);
    const u32 first_row = row_of_cell(start, starts, rows);
    for (u32 column = (blockIdx.y * blockDim.x + me) * W; column < c;
         column += gridDim.y * blockDim.x * W) {
#pragma unroll
        for (int word = 0; word < WORDS; word++) sums[word][me] = {};
        u32 row = first_row, row_end = starts[row + 1];
        for (u32 cell = start; cell < end; cell += AT_ONCE) {
            float d[AT_ONCE][W];
            u32 word[AT_ONCE];
#pragma unroll
            for (int j = 0; j < AT_ONCE; j++) {
                word[j] = WORDS;
                if (cell + j >= end) continue;
                word[j] = tokens[cell + j] - first_word;
                while (row_end <= cell + j) row_end = starts[++row + 1];
                const u64 at = cell + j + (row + 1) * p;
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
            const u64 to = static_cast<u64>(blockIdx.x) * v + first_word + word;
            *reinterpret_cast<Vec<float, W>*>(parts + to * c + column) = sums[word][me];
        }
    }
}

template <typename T>
__device__ __forceinline__ void table_part(float* parts, const int* tokens, const T* dy,
                                           Ints starts, u32 n, u32 rows, u32 p, u32 c, u32 v) {
    __shared__ Vec<float, COLUMNS> sums[WORDS][PART_THREADS];
    if (c % COLUMNS == 0 && aligned(parts, dy)) {
        part_of<T, COLUMNS>(sums, parts, tokens, dy, starts, n, rows, p, c, v);
    } else {
        auto narrow = reinterpret_cast<Vec<float, 1>(*)[PART_THREADS]>(sums);
        part_of<T, 1>(narrow, parts, tokens, dy, starts, n, rows, p, c, v);
    }
}

template <typename T>
__device__ __forceinline__ void backward_puzzle(float* dpuzzle, const T* dy, Ints starts, u32 n,
                                                u32 d, u32 c, float scale, u32 add) {
    each_piece<1>(n, false, [&](auto, u32 i) {
        const float g = scale * to_f32(dy[static_cast<u64>(starts[i / d]) * c + i % d]);
        dpuzzle[i] = (add ? dpuzzle[i] : 0.0f) + g;
    });
}

// The position of `place` in a row, or NONE.
static const u32 NONE = 0xffffffffu;
__device__ __forceinline__ u32 find(u32 place, u32 start, u32 length, Ints places) {
    // The cells before it on the canvas are at most those before it in the row.
    u32 low = 0, high = min(length, place + 1);
    if (high == place + 1 && places[start + place] == place) return start + place;
    while (low < high) {
        const u32 middle = (low + high) / 2;
        if (static_cast<u32>(places[start + middle]) < place) low = middle + 1;
        else high = middle;
    }
    return low < length && places[start + low] == place ? start + low : NONE;
}

// dpos (places, C); grid (blocks of 32 columns, places). Filling has no gradient and takes no part.
template <typename T>
__device__ __forceinline__ void backward_pos(float* dpos, const T* dy, Ints starts, Ints lengths,
                                             Ints places, u32 rows, u32 c, float scale, u32 add) {
    __shared__ u32 found[WARP * SUM_WARPS];
    __shared__ float partial[SUM_WARPS][WARP];
    const u32 lane = threadIdx.x % WARP, warp = threadIdx.x / WARP;
    const u32 j = blockIdx.x * WARP + lane;
    float sum = 0.0f;
    for (u32 first = 0; first < rows; first += blockDim.x) {
        const u32 row = first + threadIdx.x;
        if (row < rows) found[threadIdx.x] = find(blockIdx.y, starts[row], lengths[row], places);
        __syncthreads();
        for (u32 k = warp; k < blockDim.x && first + k < rows && j < c; k += SUM_WARPS)
            if (found[k] != NONE) sum += to_f32(dy[static_cast<u64>(found[k]) * c + j]);
        __syncthreads();
    }
    partial[warp][lane] = sum;
    __syncthreads();
    if (warp > 0 || j >= c) return;
    for (int w = 1; w < SUM_WARPS; w++) sum += partial[w][lane];
    const u64 to = static_cast<u64>(blockIdx.y) * c + j;
    dpos[to] = (add ? dpos[to] : 0.0f) + scale * sum;
}

extern "C" __global__ void __launch_bounds__(WARP* SUM_WARPS)
    embedding_table_sum(float* dtable, const float* parts, u32 count, u32 width, u32 add,
                        float scale) {
    column_sum<float>(dtable, parts, count, width, width, scale, add);
}

#define EMBEDDING(T, NAME)                                                                       \
    extern "C" __global__ void __launch_bounds__(BLOCK)                                          \
        embedding_fwd_##NAME(T* y, const int* tokens, const T* table, const float* puzzle,       \
                             const T* pos, const int* starts, const int* row_of,                 \
                             const int* places, u32 n, u32 p, u32 c, u32 v, u32 d, u32 known,    \
                             float scale) {                                                      \
        forward<T>(y, tokens, table, puzzle, pos, starts, row_of, places, n, p, c, v, d, known,  \
                   scale);                                                                       \
    }                                                                                            \
    extern "C" __global__ void __launch_bounds__(PART_THREADS)                                   \
        embedding_table_part_##NAME(float* parts, const int* tokens, const T* dy,                \
                                    const int* starts, u32 n, u32 rows, u32 p, u32 c, u32 v) {   \
        table_part<T>(parts, tokens, dy, starts, n, rows, p, c, v);                              \
    }                                                                                            \
    extern "C" __global__ void __launch_bounds__(BLOCK)                                          \
        embedding_puzzle_##NAME(float* dpuzzle, const T* dy, const int* starts, u32 n, u32 d,    \
                                u32 c, u32 add, float scale) {                                   \
        backward_puzzle<T>(dpuzzle, dy, starts, n, d, c, scale, add);                            \
    }                                                                                            \
    extern "C" __global__ void __launch_bounds__(WARP* SUM_WARPS)                                \
        embedding_pos_##NAME(float* dpos, const T* dy, const int* starts, const int* lengths,    \
                             const int* places, u32 rows, u32 c, u32 add, float scale) {         \
        backward_pos<T>(dpos, dy, starts, lengths, places, rows, c, scale, add);                 \
    }
EMBEDDING(float, f32)
EMBEDDING(bf16, bf16)
