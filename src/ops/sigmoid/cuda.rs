use crate::backend::{Kernel, kernel};

/// Forward and backward.
pub const KERNELS: [Kernel; 2] = [
    kernel!("sigmoid", "sigmoid_fwd", [Out, In, U32]),
    kernel!("sigmoid", "sigmoid_bwd", [Out, In, U32]),
];
