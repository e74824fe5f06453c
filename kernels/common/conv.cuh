// The three products of a convolution (src/backend/cpu/conv.rs has formulas and letters), each as
//
//   out[row, col] (+)= sum over k of a[row, k] * b[k, col]  (+ bias[row])
//
// in tiles of shared memory, f32, terms in the order of k. b is never stored: the element (k, col) is
// looked up at col's place, shifted by what term k says, and 0 outside its image. A block computes
// one tile: slice by slice of SLICE terms, the next slice on its way to registers meanwhile.
#pragma once
#include "common/column_sum.cuh"

static const int CONV_THREADS = 128;
static const int SLICE = 16;
static const int PAD = 4; // floats between rows of shared memory; keeps 16-byte alignment
static const int OUTSIDE = -(1 << 28);

struct Conv {
    u32 batch, channels, height, width, maps, kh, kw, stride, padding, map_height, map_width;
    __device__ u32 positions() const { return map_height * map_width; }
    __device__ u32 pixels() const { return height * width; }
    __device__ u32 taps() const { return kh * kw; }
};

// Term k of every sum: a's element in row 0, and where b's lies from a column's place.
struct Term {
    u32 a, b;
    int h, w;
};

// Where a column's image starts, and its place in there.
struct Place {
    u32 start;
    int h, w;
};

// ROWS x COLS outputs of a block, R x C of each thread.
template <int ROWS_, int COLS_, int R_> struct Tile {
    static const int ROWS = ROWS_, COLS = COLS_, R = R_, C = 4;
    static_assert(ROWS / R * (COLS / C) == CONV_THREADS, "a piece for each thread");
};
typedef Tile<64, 64, 8> T64;
typedef Tile<16, 128, 4> T16;

// What the outputs are written to: row r of a column that starts at i is to[i + r * step].
struct Target {
    float* to;
    u32 step;
    const float* bias; // of a row; or null
    bool add;
};

// rows: of a, `a_step` elements apart. b's images are height x width. terms(k) for k in
// [first, end), place(col) and start(col) for col < cols.
template <typename T, typename Terms, typename Places, typename Starts>
__device__ __forceinline__ void product(Target out, const float* __restrict__ a, u32 rows, u32 a_step,
                                        const float* __restrict__ b, u32 height, u32 width,
                                        u32 cols, u32 first, u32 end, Terms terms, Places place,
                                        Starts start) {
    constexpr int R = T::R, C = T::C, A_EACH = T::ROWS * SLICE / CONV_THREADS;
    constexpr int B_EACH = T::COLS * SLICE / CONV_THREADS, B_STEP = CONV_THREADS / T::COLS;
    __shared__ Term table[2][SLICE];
    __shared__ __align__(16) float a_slice[2][SLICE][T::ROWS + PAD];
    __shared__ __align__(16) float b_slice[2][SLICE][T::COLS + PAD];
    const u32 thread = threadIdx.x, row0 = blockIdx.y * T::ROWS, col0 = blockIdx.x * T::COLS;
    const u32 slices = (end - first + SLICE - 1) / SLICE;

    const u32 b_col = thread % T::COLS, b_k = thread / T::COLS;
    Place at = {0, OUTSIDE, 0};
    if (col0 + b_col < cols) at = place(col0 + b_col);

    auto list = [&](u32 slice) {
        const u32 k = first + slice * SLICE + thread;
        if (thread < SLICE) {
            Term term = {0, 0, OUTSIDE, 0};
            if (k < end) term = terms(k);
            table[slice % 2][thread] = term;
        }
    };
    float a_next[A_EACH], b_next[B_EACH];
    auto fetch = [&](u32 slice) {
#pragma unroll
        for (int i = 0; i < A_EACH; i++) {
            const u32 piece = thread + i * CONV_THREADS, k = piece % SLICE;
            const u32 row = row0 + piece / SLICE;
            const bool inside = row < rows && first + slice * SLICE + k < end;
            a_next[i] = inside ? a[table[slice % 2][k].a + row * a_step] : 0.0f;
        }
#pragma unroll
        for (int i = 0; i < B_EACH; i++) {
            const Term term = table[slice % 2][b_k + i * B_STEP];
            const int h = at.h + term.h, w = at.w + term.w;
            const bool inside = static_cast<u32>(h) < height && static_cast<u32>(w) < width;
            b_next[i] = inside ? b[at.start + term.b + h * width + w] : 0.0f;
        }
    };
    auto keep = [&](u32 slice) {
#pragma unroll
        for (int i = 0; i < A_EACH; i++) {
            const u32 piece = thread + i * CONV_THREADS;
            a_slice[slice % 2][piece % SLICE][piece / SLICE] = a_next[i];
        }
#pragma unroll
        for (int i = 0; i < B_EACH; i++) b_slice[slice % 2][b_k + i * B_STEP][b_col] = b_next[i];
    };

    const u32 row = thread / (T::COLS / C) * R, col = thread % (T::COLS / C) * C;
    float sums[R][C] = {};
    if (slices > 0) {
        list(0);
        __syncthreads(); // the first terms are listed
        fetch(0);
        keep(0);
        list(1);
    }
    __syncthreads(); // slice 0 is complete
    for (u32 slice = 0; slice < slices; slice++) {
        const bool more = slice + 1 < slices;
        if (more) fetch(slice + 1);
#pragma unroll
        for (int k = 0; k < SLICE; k++) {
            float x[R], y[C];
#pragma unroll
            for (int r = 0; r < R; r += 4)
                load_f32<float, 4>(&a_slice[slice % 2][k][row + r], *reinterpret_cast<float(*)[4]>(x + r));
            load_f32<float, 4>(&b_slice[slice % 2][k][col], y);
#pragma unroll
            for (int r = 0; r < R; r++)
#pragma unroll
                for (int c = 0; c < C; c++) sums[r][c] = fmaf(x[r], y[c], sums[r][c]);
        }
        if (more) {
            keep(slice + 1);
            list(slice + 2);
        }
        __syncthreads(); // slice + 1 is complete, and nobody reads this one any more
    }
#pragma unroll
    for (int c = 0; c < C; c++) {
        if (col0 + col + c >= cols) break;
        float* to = out.to + start(col0 + col + c);
#pragma unroll
        for (int r = 0; r < R; r++) {
            const u32 at_row = row0 + row + r;
            if (at_row >= rows) break;
            const float sum = sums[r][c] + (out.bias ? out.bias[at_row] : 0.0f);
            float* element = to + static_cast<u64>(at_row) * out.step;
            *element = out.add ? *element + sum : sum;
        }
    }
}

// Rows are maps, columns positions of all images, terms channels and taps.
// Grid: columns, rows.
template <typename T>
__device__ __forceinline__ void correlate(float* maps, const float* images, const float* w,
                                          const float* bias, Conv g, bool add) {
    const u32 positions = g.positions(), depth = g.channels * g.taps();
    product<T>(
        {maps, positions, bias, add}, w, g.maps, depth, images, g.height, g.width,
        g.batch * positions, 0, depth,
        [&](u32 k) {
            const u32 tap = k % g.taps();
            return Term{k, k / g.taps() * g.pixels(), static_cast<int>(tap / g.kw),
                        static_cast<int>(tap % g.kw)};
        },
        [&](u32 n) {
            const u32 at = n % positions;
            return Place{n / positions * g.channels * g.pixels(),
                         static_cast<int>(at / g.map_width * g.stride - g.padding),
                         static_cast<int>(at % g.map_width * g.stride - g.padding)};
        },
        [&](u32 n) { return n / positions * g.maps * positions + n % positions; });
}

// Pixels whose padded place leaves the same rest by the stride, along one side: they see the same
// taps, rest, rest + stride, ..
struct Side {
    u32 rest, taps, first, count;
    int map; // the position that the first pixel sees through the first tap
    __device__ Side(u32 rest, u32 size, u32 kernel, u32 stride, u32 padding) : rest(rest) {
        taps = rest < kernel ? (kernel - rest + stride - 1) / stride : 0;
        first = (rest + stride - padding % stride) % stride;
        count = first < size ? (size - first + stride - 1) / stride : 0;
        map = (static_cast<int>(first + padding) - static_cast<int>(rest)) / static_cast<int>(stride);
    }
};

// Rows are channels, columns pixels of all images, terms maps and the taps that a pixel sees.
// Grid: columns, rows, rests by the stride of both sides.
template <typename T>
__device__ __forceinline__ void spread(float* images, const float* maps, const float* w,
                                       const float* bias, Conv g, bool add) {
    const Side down(blockIdx.z / g.stride, g.height, g.kh, g.stride, g.padding);
    const Side across(blockIdx.z % g.stride, g.width, g.kw, g.stride, g.padding);
    const u32 pixels = down.count * across.count, taps = down.taps * across.taps;
    if (blockIdx.x * T::COLS >= g.batch * pixels) return;
    product<T>(
        {images, g.pixels(), bias, add}, w, g.channels, g.taps(), maps, g.map_height, g.map_width,
        g.batch * pixels, 0, g.maps * taps,
        [&](u32 k) {
            const u32 m = k / taps, u = k % taps / across.taps, v = k % taps % across.taps;
            const u32 tap = (down.rest + u * g.stride) * g.kw + across.rest + v * g.stride;
            return Term{m * g.channels * g.taps() + tap, m * g.positions(), -static_cast<int>(u),
                        -static_cast<int>(v)};
        },
        [&](u32 n) {
            const u32 at = n % pixels;
            return Place{n / pixels * g.maps * g.positions(),
                         down.map + static_cast<int>(at / across.count),
                         across.map + static_cast<int>(at % across.count)};
        },
        [&](u32 n) {
            const u32 at = n % pixels, h = down.first + at / across.count * g.stride;
            return n / pixels * g.channels * g.pixels() + h * g.width + across.first +
                   at % across.count * g.stride;
        });
}

// Rows are maps, columns channels and taps, terms positions of all images, `per_part` of them.
// parts (count, M, C, KH, KW). Grid: columns, rows, parts.
template <typename T>
__device__ __forceinline__ void weights(float* parts, const float* images, const float* maps,
                                        Conv g, u32 per_part, bool add) {
    const u32 positions = g.positions(), depth = g.channels * g.taps();
    const u32 first = blockIdx.z * per_part, end = min(first + per_part, g.batch * positions);
    product<T>(
        {parts + static_cast<u64>(blockIdx.z) * g.maps * depth, depth, nullptr, add}, maps, g.maps,
        positions, images, g.height, g.width, depth, first, end,
        [&](u32 n) {
            const u32 image = n / positions, at = n % positions;
            return Term{image * g.maps * positions + at, image * g.channels * g.pixels(),
                        static_cast<int>(at / g.map_width * g.stride),
                        static_cast<int>(at % g.map_width * g.stride)};
        },
        [&](u32 k) {
            const u32 tap = k % g.taps();
            return Place{k / g.taps() * g.pixels(), static_cast<int>(tap / g.kw - g.padding),
                         static_cast<int>(tap % g.kw - g.padding)};
        },
        [&](u32 k) { return k; });
}

static const int CHANNEL_THREADS = 256;

// parts (count, C): sums over `images` images of values (B, C, places). Grid: channels, parts.
__device__ __forceinline__ void channel_part(float* parts, const float* values, u32 batch,
                                             u32 channels, u32 places, u32 images) {
    __shared__ float partial[CHANNEL_THREADS / WARP];
    const u32 first = blockIdx.y * images, count = min(images, batch - first);
    float sum = 0.0f;
    for (u32 i = threadIdx.x; i < count * places; i += CHANNEL_THREADS) {
        const u64 row = static_cast<u64>(first + i / places) * channels + blockIdx.x;
        sum += values[row * places + i % places];
    }
    sum = block_sum(sum, partial);
    if (threadIdx.x == 0) parts[blockIdx.y * channels + blockIdx.x] = sum;
}

#define CONV_PARAMS                                                                                \
    u32 batch, u32 channels, u32 height, u32 width, u32 map_count, u32 kh, u32 kw, u32 stride,     \
        u32 padding, u32 map_height, u32 map_width
#define CONV_ARGS                                                                                  \
    Conv {                                                                                         \
        batch, channels, height, width, map_count, kh, kw, stride, padding, map_height, map_width  \
    }

#define CONV_PRODUCTS(OP, CORRELATE, SPREAD, TILE, NAME)                                           \
    extern "C" __global__ void __launch_bounds__(CONV_THREADS)                                     \
        OP##_##CORRELATE##_##NAME(float* maps, const float* images, const float* w,                \
                                  const float* bias, CONV_PARAMS, u32 add) {                       \
        correlate<TILE>(maps, images, w, bias, CONV_ARGS, add);                                    \
    }                                                                                              \
    extern "C" __global__ void __launch_bounds__(CONV_THREADS)                                     \
        OP##_##SPREAD##_##NAME(float* images, const float* maps, const float* w,                   \
                               const float* bias, CONV_PARAMS, u32 add) {                          \
        spread<TILE>(images, maps, w, bias, CONV_ARGS, add);                                       \
    }                                                                                              \
    extern "C" __global__ void __launch_bounds__(CONV_THREADS)                                     \
        OP##_bwd_dw_##NAME(float* parts, const float* images, const float* maps, CONV_PARAMS,      \
                           u32 per_part, u32 add) {                                                \
        weights<TILE>(parts, images, maps, CONV_ARGS, per_part, add);                              \
    }

// All kernels of an op whose names for the first two products are CORRELATE and SPREAD.
#define CONV_KERNELS(OP, CORRELATE, SPREAD)                                                        \
    CONV_PRODUCTS(OP, CORRELATE, SPREAD, T64, t64)                                                 \
    CONV_PRODUCTS(OP, CORRELATE, SPREAD, T16, t16)                                                 \
    extern "C" __global__ void __launch_bounds__(CHANNEL_THREADS)                                  \
        OP##_bwd_db(float* parts, const float* values, u32 batch, u32 channels, u32 places,        \
                    u32 images) {                                                                  \
        channel_part(parts, values, batch, channels, places, images);                              \
    }                                                                                              \
    extern "C" __global__ void __launch_bounds__(WARP* SUM_WARPS)                                  \
        OP##_sum(float* out, const float* parts, u32 count, u32 width, u32 add) {                  \
        column_sum<float>(out, parts, count, width, width, 1.0f, add);                             \
    }
