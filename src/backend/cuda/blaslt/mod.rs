//! Matrix products by cuBLASLt, loaded at run time where it is installed.
//!
//! The heuristic is asked once for each shape and its first answer kept: no timing, so a run
//! repeats bit for bit on one card and library. Partial sums are kept in f32 (no reduction in the
//! output's dtype). Everything goes to the compute stream and may be captured: the heuristic is
//! host work.

mod library;
mod plan;

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::ffi::c_void;
use std::sync::{Arc, Mutex};

use cudarc::cublaslt::sys;

use self::library::{Functions, Status, Unusable};
use self::plan::{Key, Plan};
use super::Cuda;
use crate::backend::gemm::{Gemm, Products};
use crate::backend::{Arg, Mode, lock};
use crate::{Error, Result};

use sys::cublasLtMatmulDescAttributes_t as DescAttribute;

/// Alignment beyond which the library knows no faster kernel; also its own default.
const MOST_ALIGNED_BYTES: u64 = 256;

pub struct Blaslt {
    functions: Arc<Functions>,
    handle: sys::cublasLtHandle_t,
    title: String,
    /// None: the library has no kernel for this product.
    plans: Mutex<HashMap<Key, Option<Plan>>>,
}

impl Blaslt {
    /// None where our own kernels shall run. The device's context must be current.
    pub fn open(products: Products) -> Result<Option<Self>> {
        if products == Products::Own {
            return Ok(None);
        }
        let mut broken = vec![];
        for name in library::NAMES {
            let started = library::load(name).and_then(|functions| {
                Self::start(functions, name)
                    .map_err(|e| Unusable::Broken(format!("does not start ({e})")))
            });
            match started {
                Ok(blaslt) => return Ok(Some(blaslt)),
                Err(Unusable::Absent) => {}
                Err(Unusable::Broken(what)) => broken.push(format!("{name}: {what}")),
            }
        }
        if !broken.is_empty() {
            let broken = broken.join("; ");
            return Err(Error::invalid(format!("{broken}: repair it or use HRM_GEMM=own")));
        }
        match products {
            Products::Cublaslt => Err(Error::invalid(format!(
                "HRM_GEMM=cublaslt, but {}, or use HRM_GEMM=own",
                absent()
            ))),
            _ => Ok(None),
        }
    }

    fn start(functions: Functions, name: &str) -> std::result::Result<Self, Status> {
        let title = format!("cuBLASLt {} ({name})", functions.version()?);
        let mut handle = std::ptr::null_mut();
        // SAFETY: a context is current, and the handle is written before it is read.
        unsafe { (functions.create)(&mut handle) }.result()?;
        Ok(Self { functions: Arc::new(functions), handle, title, plans: Mutex::default() })
    }

    /// `cuBLASLt 13.1 (libcublasLt.so.13)`
    pub fn title(&self) -> &str {
        &self.title
    }
}

/// What to do where no name leads to the library.
pub fn absent() -> String {
    format!(
        "there is no {} here: install it with the CUDA toolkit or as the PyPI package \
         nvidia-cublas (nvidia-cublas-cu12 for CUDA 12) and name its folder in LD_LIBRARY_PATH",
        library::NAMES.join(", ")
    )
}

impl Drop for Blaslt {
    fn drop(&mut self) {
        lock(&self.plans).clear();
        // SAFETY: made by `start`, destroyed once; `Cuda` waits for its streams before.
        let _ = unsafe { (self.functions.destroy)(self.handle) };
    }
}

impl Cuda {
    /// False where there is no library, or no kernel in it for this product.
    pub(crate) fn gemm(&self, gemm: &Gemm) -> Result<bool> {
        let Some(blaslt) = &self.blaslt else { return Ok(false) };
        self.bind()?;
        let [out, a, b, bias, workspace] =
            [gemm.out, gemm.a, gemm.b, gemm.bias, gemm.workspace].map(address);
        let (out, a, b, bias, workspace) = (out?, a?, b?, bias?, workspace?);
        let aligned =
            |address: u64| (1 << address.trailing_zeros().min(63)).min(MOST_ALIGNED_BYTES);
        if bias != 0 && aligned(bias) < 16 {
            return Ok(false); // the epilogue's vector loads have no preference to tell it by
        }
        let key = Key {
            layout: gemm.layout,
            m: gemm.m,
            n: gemm.n,
            k: gemm.k,
            dtype: gemm.dtype,
            out_dtype: gemm.out_dtype,
            has_bias: bias != 0,
            aligned_bytes: [a, b, out].map(|address| aligned(address) as u32),
            workspace_bytes: gemm.workspace_bytes,
        };
        let failed = |e: Status| Error::Device {
            device: self.name(),
            what: format!("cuBLASLt, {} x {} x {}: {e}", gemm.m, gemm.n, gemm.k),
        };
        let mut plans = lock(&blaslt.plans);
        let plan = match plans.entry(key) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(new) => {
                new.insert(match Plan::new(&blaslt.functions, blaslt.handle, &key) {
                    Ok(plan) => Some(plan),
                    Err(Status::NOT_SUPPORTED) => None,
                    Err(e) => return Err(failed(e)),
                })
            }
        };
        let Some(plan) = plan else { return Ok(false) };
        let alpha = 1.0_f32;
        let beta = if gemm.mode == Mode::Add { 1.0_f32 } else { 0.0 };
        // SAFETY: descriptors and handle live in `self`; the tensors behind the addresses are as
        // large as the op checked, and stay allocated in stream order. Scalars are read before it
        // returns.
        unsafe {
            if bias != 0 {
                plan.set(DescAttribute::CUBLASLT_MATMUL_DESC_BIAS_POINTER, bias).map_err(failed)?;
            }
            (blaslt.functions.matmul)(
                blaslt.handle,
                plan.desc,
                (&raw const alpha).cast(),
                b as *const c_void,
                plan.a,
                a as *const c_void,
                plan.b,
                (&raw const beta).cast(),
                out as *const c_void,
                plan.out,
                out as *mut c_void,
                plan.out,
                &plan.algo,
                workspace as *mut c_void,
                gemm.workspace_bytes,
                self.compute.raw().cast(),
            )
        }
        .result()
        .map_err(failed)?;
        Ok(true)
    }
}

/// Zero for a null pointer.
fn address(arg: Arg) -> Result<u64> {
    match arg {
        Arg::Memory(buffer, start_bytes) => Ok(buffer.address()? + start_bytes as u64),
        _ => Ok(0),
    }
}
