//! `libcublasLt.so`: matrix products over the simulated card's memory.
//!
//! One product is one operation of a stream, like a kernel. Accumulation is f32; algorithms differ
//! in nothing but their name, so their limits and their order of summation are not those of the
//! real library. What is not modelled is refused with `CUBLAS_STATUS_NOT_SUPPORTED`.
#![allow(unsafe_code, non_snake_case, clippy::not_unsafe_ptr_arg_deref)]

mod algorithm;
mod attributes;
mod descriptors;
mod matmul;
mod problem;
mod product;
mod status;

pub use descriptors::Objects;
