//! Convolutions: tiles of shared memory that are filled while others are read, places that lie
//! outside an image, and sums that end inside a slice.

use crate::mutation::{Caught, Mutation};

const BOUNDS: &[&str] = &["out_of_bounds"];
const ORDER: &[&str] = &["shared_race", "shared_uninitialised"];
const FILE: &str = "common/conv.cuh";

pub const LIST: &[Mutation] = &[
    Mutation {
        name: "conv: terms used before they are listed",
        file: FILE,
        from: "__syncthreads(); // the first terms are listed",
        to: "",
        module: "conv2d",
        workload: "conv2d",
        caught: Caught::Finding {
            kinds: ORDER,
            kernel: "conv2d_fwd_t16",
            at: &[
                (FILE, "a_next[i] = inside ? a[table[slice % 2][k].a + row * a_step] : 0.0f;"),
                (FILE, "const Term term = table[slice % 2][b_k + i * B_STEP];"),
            ],
        },
    },
    Mutation {
        name: "conv: no barrier behind the first slice",
        file: FILE,
        from: "__syncthreads(); // slice 0 is complete",
        to: "",
        module: "conv2d",
        workload: "conv2d",
        caught: Caught::Finding {
            kinds: ORDER,
            kernel: "conv2d_fwd_t16",
            at: &[
                (FILE, "a_next[i] = inside ? a[table[slice % 2][k].a + row * a_step] : 0.0f;"),
                (FILE, "const Term term = table[slice % 2][b_k + i * B_STEP];"),
                (FILE, "load_f32<float, 4>(&a_slice[slice % 2][k][row + r],"),
                (FILE, "load_f32<float, 4>(&b_slice[slice % 2][k][col], y);"),
            ],
        },
    },
    // Needs three slices: the one filled is the one read before.
    Mutation {
        name: "conv: one buffer for two slices of columns",
        file: FILE,
        from: "b_slice[slice % 2][b_k + i * B_STEP][b_col] = b_next[i];",
        to: "b_slice[0][b_k + i * B_STEP][b_col] = b_next[i];",
        module: "conv2d",
        workload: "conv2d",
        caught: Caught::Finding {
            kinds: ORDER,
            kernel: "conv2d_fwd_t16",
            at: &[
                (FILE, "b_slice[0][b_k + i * B_STEP][b_col] = b_next[i];"),
                (FILE, "load_f32<float, 4>(&b_slice[slice % 2][k][col], y);"),
            ],
        },
    },
    Mutation {
        name: "conv: threads without a column leave early",
        file: FILE,
        from: "if (col0 + b_col < cols) at = place(col0 + b_col);",
        to: "if (col0 + b_col >= cols) return;
    at = place(col0 + b_col);",
        module: "conv2d",
        workload: "conv2d",
        caught: Caught::Finding {
            kinds: &["barrier_divergence", "deadlock", "shared_uninitialised"],
            kernel: "conv2d_fwd_t16",
            at: &[
                (FILE, "__syncthreads(); // the first terms are listed"),
                (FILE, "__syncthreads(); // slice 0 is complete"),
                (FILE, "load_f32<float, 4>(&b_slice[slice % 2][k][col], y);"),
            ],
        },
    },
    Mutation {
        name: "conv: a row of weights past the last",
        file: FILE,
        from: "const bool inside = row < rows && first",
        to: "const bool inside = row <= rows && first",
        module: "conv2d",
        workload: "conv2d",
        caught: Caught::Finding {
            kinds: BOUNDS,
            kernel: "conv2d_fwd_t16",
            at: &[(FILE, "a_next[i] = inside ? a[table[slice % 2][k].a + row * a_step] : 0.0f;")],
        },
    },
    Mutation {
        name: "conv: a pixel right of the last column",
        file: FILE,
        from: "static_cast<u32>(w) < width;",
        to: "static_cast<u32>(w) <= width;",
        module: "conv2d",
        workload: "conv2d",
        caught: Caught::Finding {
            kinds: BOUNDS,
            kernel: "conv2d_fwd_t16",
            at: &[(FILE, "b_next[i] = inside ? b[at.start + term.b + h * width + w] : 0.0f;")],
        },
    },
    Mutation {
        name: "conv: a column of outputs past the last",
        file: FILE,
        from: "if (col0 + col + c >= cols) break;",
        to: "if (col0 + col + c > cols) break;",
        module: "conv2d",
        workload: "conv2d",
        caught: Caught::Finding {
            kinds: BOUNDS,
            kernel: "conv2d_fwd_t16",
            at: &[(FILE, "*element = out.add ? *element + sum : sum;")],
        },
    },
    Mutation {
        name: "conv: the last part sums whole slices",
        file: FILE,
        from: "end = min(first + per_part, g.batch * positions);",
        to: "end = first + per_part;",
        module: "conv2d",
        workload: "conv2d",
        caught: Caught::Finding {
            kinds: BOUNDS,
            kernel: "conv2d_bwd_dw_t16",
            at: &[
                (FILE, "a_next[i] = inside ? a[table[slice % 2][k].a + row * a_step] : 0.0f;"),
                (FILE, "b_next[i] = inside ? b[at.start + term.b + h * width + w] : 0.0f;"),
            ],
        },
    },
    Mutation {
        name: "conv: taps to the right look to the right",
        file: FILE,
        from: "-static_cast<int>(v)};",
        to: "static_cast<int>(v)};",
        module: "conv_transpose2d",
        workload: "conv_transpose2d",
        caught: Caught::Values { kernel: "conv_transpose2d_fwd_t64" },
    },
    Mutation {
        name: "conv: a sum over images forgets the last",
        file: FILE,
        from: "count = min(images, batch - first);",
        to: "count = min(images, batch - first - 1);",
        module: "conv_transpose2d",
        workload: "conv_transpose2d",
        caught: Caught::Values { kernel: "conv_transpose2d_sum" },
    },
];
