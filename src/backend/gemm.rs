//! One matrix product as plain data, for the library behind a device. An op asks [`Device::gemm`]
//! first and launches its own kernels where that says no.

use super::cpu::path::Path;
use super::{Arg, Backend, Device, Mode};
use crate::dtype::DType;
use crate::{Error, Result};

/// How a and b of out (m, n) = sum over k are stored; all row-major and contiguous.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Layout {
    /// a (m, k), b (n, k)
    Nt,
    /// a (m, k), b (k, n)
    Nn,
    /// a (k, m), b (k, n)
    Tn,
}

pub struct Gemm<'a> {
    pub layout: Layout,
    pub m: usize,
    pub n: usize,
    pub k: usize,
    /// Element type of a, b and bias; sums are f32.
    pub dtype: DType,
    pub out_dtype: DType,
    pub out: Arg<'a>,
    pub a: Arg<'a>,
    pub b: Arg<'a>,
    /// (n) or null
    pub bias: Arg<'a>,
    pub mode: Mode,
    /// Scratch of `workspace_bytes`.
    pub workspace: Arg<'a>,
    pub workspace_bytes: usize,
}

/// Who computes matrix products on a CUDA device.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Products {
    /// cuBLASLt where it is installed, else our kernels.
    #[default]
    Auto,
    Own,
    Cublaslt,
}

impl Products {
    /// What the environment's HRM_GEMM asks for.
    pub fn from_env() -> Result<Self> {
        match std::env::var("HRM_GEMM").as_deref() {
            Err(_) | Ok("" | "auto") => Ok(Products::Auto),
            Ok("own") => Ok(Products::Own),
            Ok("cublaslt") => Ok(Products::Cublaslt),
            Ok(other) => Err(Error::invalid(format!(
                "HRM_GEMM is `{other}`: auto (cuBLASLt where it is installed), own or cublaslt"
            ))),
        }
    }
}

/// What [`Device::products`] says of this program.
pub const OWN_KERNELS: &str = "own kernels";

impl Device {
    /// Who computes matrix products here: a library by version and file, or this program.
    pub fn products(&self) -> String {
        match &self.0.backend {
            Backend::Shape(_) => "none".into(),
            Backend::Cpu(_) => format!("{OWN_KERNELS} ({})", Path::chosen().word()),
            Backend::Cuda(cuda) => cuda.library().unwrap_or(OWN_KERNELS).to_owned(),
        }
    }

    /// True: the device's library has computed the product. False: it has none, or none for this
    /// shape, and the caller's kernels must.
    pub fn gemm(&self, gemm: &Gemm) -> Result<bool> {
        match &self.0.backend {
            Backend::Cuda(cuda) => cuda.gemm(gemm),
            _ => Ok(false),
        }
    }
}
