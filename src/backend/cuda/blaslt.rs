//! Matrix products by cuBLASLt, loaded at run time where it is installed.
//!
//! The heuristic is asked once for each shape and its first answer kept: no timing, so a run
//! repeats bit for bit on one card and library. Partial sums are kept in f32 (no reduction in the
//! output's dtype). Everything goes to the compute stream and may be captured: the heuristic is
//! host work.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::ffi::c_void;
use std::sync::Mutex;

use cudarc::cublaslt::result::{self, CublasError};
use cudarc::cublaslt::sys;

use super::Cuda;
use crate::backend::gemm::{Gemm, Layout, Products};
use crate::backend::{Arg, Mode, lock};
use crate::dtype::DType;
use crate::{Error, Result};

use sys::cublasLtMatmulDescAttributes_t as DescAttribute;
use sys::cublasLtMatmulPreferenceAttributes_t as Preference;

/// Alignment beyond which the library knows no faster kernel; also its own default.
const MOST_ALIGNED_BYTES: u64 = 256;

pub struct Blaslt {
    handle: sys::cublasLtHandle_t,
    /// None: the library has no kernel for this product.
    plans: Mutex<HashMap<Key, Option<Plan>>>,
}

/// What the choice of a kernel depends on.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Key {
    layout: Layout,
    m: usize,
    n: usize,
    k: usize,
    dtype: DType,
    out_dtype: DType,
    has_bias: bool,
    /// Alignment of a, b and out.
    aligned_bytes: [u32; 3],
    workspace_bytes: usize,
}

/// Descriptors and kernel of one product. The library is column-major, so it is told that
/// out^T = b^T a^T: its A is our b, its B our a.
struct Plan {
    desc: sys::cublasLtMatmulDesc_t,
    a: sys::cublasLtMatrixLayout_t,
    b: sys::cublasLtMatrixLayout_t,
    out: sys::cublasLtMatrixLayout_t,
    algo: sys::cublasLtMatmulAlgo_t,
}

impl Blaslt {
    /// None where our own kernels shall run. The device's context must be current.
    pub fn open(products: Products) -> Result<Option<Self>> {
        let present = products != Products::Own && super::has_blaslt();
        match products {
            Products::Cublaslt if !present => Err(Error::invalid(
                "HRM_GEMM=cublaslt, but libcublasLt.so is missing: install it or use HRM_GEMM=own",
            )),
            _ if !present => Ok(None),
            _ => {
                let handle = result::create_handle().map_err(|e| {
                    Error::invalid(format!(
                        "libcublasLt.so does not start ({e}): repair it or use HRM_GEMM=own"
                    ))
                })?;
                Ok(Some(Self { handle, plans: Mutex::default() }))
            }
        }
    }
}

impl Drop for Blaslt {
    fn drop(&mut self) {
        lock(&self.plans).clear();
        // SAFETY: made by `open`, destroyed once; `Cuda` waits for its streams before.
        let _ = unsafe { result::destroy_handle(self.handle) };
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
        let failed = |e: CublasError| Error::Device {
            device: self.name(),
            what: format!("cuBLASLt, {} x {} x {}: {e}", gemm.m, gemm.n, gemm.k),
        };
        let mut plans = lock(&blaslt.plans);
        let plan = match plans.entry(key) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(new) => new.insert(match Plan::new(blaslt.handle, &key) {
                Ok(plan) => Some(plan),
                Err(CublasError(sys::cublasStatus_t::CUBLAS_STATUS_NOT_SUPPORTED)) => None,
                Err(e) => return Err(failed(e)),
            }),
        };
        let Some(plan) = plan else { return Ok(false) };
        let alpha = 1.0_f32;
        let beta = if gemm.mode == Mode::Add { 1.0_f32 } else { 0.0 };
        // SAFETY: descriptors and handle live in `self`; the tensors behind the addresses are as
        // large as the op checked, and stay allocated in stream order. Scalars are read before it
        // returns.
        unsafe {
            if bias != 0 {
                set(plan.desc, DescAttribute::CUBLASLT_MATMUL_DESC_BIAS_POINTER, &bias)
                    .map_err(failed)?;
            }
            result::matmul(
                blaslt.handle,
                plan.desc,
                (&raw const alpha).cast(),
                (&raw const beta).cast(),
                b as *const c_void,
                plan.a,
                a as *const c_void,
                plan.b,
                out as *const c_void,
                plan.out,
                out as *mut c_void,
                plan.out,
                &plan.algo,
                workspace as *mut c_void,
                gemm.workspace_bytes,
                self.compute.cast(),
            )
        }
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

impl Plan {
    fn new(handle: sys::cublasLtHandle_t, key: &Key) -> std::result::Result<Self, CublasError> {
        let (m, n, k) = (key.m as u64, key.n as u64, key.k as u64);
        // (rows, columns) as the library sees our row-major operands, and whether to transpose.
        let (a, transpose_a) = match key.layout {
            Layout::Nt => ((k, n), true),
            Layout::Nn | Layout::Tn => ((n, k), false),
        };
        let (b, transpose_b) = match key.layout {
            Layout::Nt | Layout::Nn => ((k, m), false),
            Layout::Tn => ((m, k), true),
        };
        let compute = match key.dtype {
            DType::F32 => sys::cublasComputeType_t::CUBLAS_COMPUTE_32F_PEDANTIC,
            _ => sys::cublasComputeType_t::CUBLAS_COMPUTE_32F,
        };
        let mut plan = Self {
            desc: result::create_matmul_desc(compute, sys::cudaDataType::CUDA_R_32F)?,
            a: std::ptr::null_mut(),
            b: std::ptr::null_mut(),
            out: std::ptr::null_mut(),
            algo: sys::cublasLtMatmulAlgo_t { data: [0; 8] },
        };
        let matrix = |dtype, (rows, columns)| {
            result::create_matrix_layout(data_type(dtype), rows, columns, rows as i64)
        };
        plan.a = matrix(key.dtype, a)?;
        plan.b = matrix(key.dtype, b)?;
        plan.out = matrix(key.out_dtype, (n, m))?;
        // cublasOperation_t: CUBLAS_OP_N and CUBLAS_OP_T.
        let operation = i32::from;
        // SAFETY: the descriptors were just made and are destroyed in `drop`.
        unsafe {
            let desc = plan.desc;
            set(desc, DescAttribute::CUBLASLT_MATMUL_DESC_TRANSA, &operation(transpose_a))?;
            set(desc, DescAttribute::CUBLASLT_MATMUL_DESC_TRANSB, &operation(transpose_b))?;
            if key.has_bias {
                let epilogue = sys::cublasLtEpilogue_t::CUBLASLT_EPILOGUE_BIAS;
                set(desc, DescAttribute::CUBLASLT_MATMUL_DESC_EPILOGUE, &epilogue)?;
            }
            let preferences = Preferences(result::create_matmul_pref()?);
            preferences.set(
                Preference::CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES,
                key.workspace_bytes as u64,
            )?;
            preferences.set(
                Preference::CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK,
                sys::cublasLtReductionScheme_t::CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE as u32,
            )?;
            let [a, b, out] = key.aligned_bytes;
            for (attribute, bytes) in [
                (Preference::CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, b),
                (Preference::CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, a),
                (Preference::CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, out),
                (Preference::CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, out),
            ] {
                preferences.set(attribute, bytes)?;
            }
            let found = result::get_matmul_algo_heuristic(
                handle,
                desc,
                plan.a,
                plan.b,
                plan.out,
                plan.out,
                preferences.0,
            )?;
            plan.algo = found.algo;
        }
        Ok(plan)
    }
}

impl Drop for Plan {
    fn drop(&mut self) {
        // SAFETY: made by `new` (or null where it failed half-way) and destroyed once; the library
        // copies what a queued product needs.
        unsafe {
            let _ = result::destroy_matmul_desc(self.desc);
            for layout in [self.a, self.b, self.out].into_iter().filter(|l| !l.is_null()) {
                let _ = result::destroy_matrix_layout(layout);
            }
        }
    }
}

struct Preferences(sys::cublasLtMatmulPreference_t);

impl Preferences {
    /// # Safety
    /// T is the attribute's type.
    unsafe fn set<T>(
        &self,
        attribute: Preference,
        value: T,
    ) -> std::result::Result<(), CublasError> {
        // SAFETY: the preference lives as long as self; the value is copied.
        unsafe {
            let value: *const T = &value;
            result::set_matmul_pref_attribute(self.0, attribute, value.cast(), size_of::<T>())
        }
    }
}

impl Drop for Preferences {
    fn drop(&mut self) {
        // SAFETY: made once, destroyed once.
        let _ = unsafe { result::destroy_matmul_pref(self.0) };
    }
}

/// # Safety
/// `desc` is alive and T is the attribute's type.
unsafe fn set<T>(
    desc: sys::cublasLtMatmulDesc_t,
    attribute: DescAttribute,
    value: &T,
) -> std::result::Result<(), CublasError> {
    // SAFETY: as the caller says; the value is copied.
    unsafe {
        result::set_matmul_desc_attribute(
            desc,
            attribute,
            std::ptr::from_ref(value).cast(),
            size_of::<T>(),
        )
    }
}

fn data_type(dtype: DType) -> sys::cudaDataType {
    match dtype {
        DType::Bf16 => sys::cudaDataType::CUDA_R_16BF,
        _ => sys::cudaDataType::CUDA_R_32F,
    }
}
