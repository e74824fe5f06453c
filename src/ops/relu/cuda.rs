use crate::backend::{Kernel, kernel};

/// Forward and backward.
pub const KERNELS: [Kernel; 2] =
    [kernel!("relu", "relu_fwd", [Out, In, U32]), kernel!("relu", "relu_bwd", [Out, In, U32])];
