//! One product as the library knows it: descriptors, and the kernel that its heuristic names.

use std::ffi::c_void;
use std::mem::MaybeUninit;
use std::ptr::null_mut;
use std::sync::Arc;

use cudarc::cublaslt::sys;

use super::library::{Functions, Heuristic, Status};
use crate::backend::gemm::Layout;
use crate::dtype::DType;

use sys::cublasLtMatmulDescAttributes_t as DescAttribute;
use sys::cublasLtMatmulPreferenceAttributes_t as Preference;

type Result<T, E = Status> = std::result::Result<T, E>;

/// What the choice of a kernel depends on.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Key {
    pub layout: Layout,
    pub m: usize,
    pub n: usize,
    pub k: usize,
    pub dtype: DType,
    pub out_dtype: DType,
    pub has_bias: bool,
    /// Alignment of a, b and out.
    pub aligned_bytes: [u32; 3],
    pub workspace_bytes: usize,
}

/// The library is column-major, so it is told that out^T = b^T a^T: its A is our b, its B our a.
pub struct Plan {
    functions: Arc<Functions>,
    pub desc: sys::cublasLtMatmulDesc_t,
    pub a: sys::cublasLtMatrixLayout_t,
    pub b: sys::cublasLtMatrixLayout_t,
    pub out: sys::cublasLtMatrixLayout_t,
    pub algo: sys::cublasLtMatmulAlgo_t,
}

impl Plan {
    /// With a live `handle` of the library whose `functions` these are.
    pub fn new(
        functions: &Arc<Functions>,
        handle: sys::cublasLtHandle_t,
        key: &Key,
    ) -> Result<Self> {
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
            functions: functions.clone(),
            desc: null_mut(),
            a: null_mut(),
            b: null_mut(),
            out: null_mut(),
            algo: sys::cublasLtMatmulAlgo_t { data: [0; 8] },
        };
        let scale = sys::cudaDataType::CUDA_R_32F;
        // SAFETY: the descriptor is written before it is read, and destroyed in `drop`.
        unsafe { (functions.desc_create)(&mut plan.desc, compute, scale) }.result()?;
        for (layout, dtype, (rows, columns)) in [
            (&mut plan.a, key.dtype, a),
            (&mut plan.b, key.dtype, b),
            (&mut plan.out, key.out_dtype, (n, m)),
        ] {
            let dtype = data_type(dtype);
            // SAFETY: as above.
            unsafe { (functions.layout_create)(layout, dtype, rows, columns, rows as i64) }
                .result()?;
        }
        // cublasOperation_t: CUBLAS_OP_N and CUBLAS_OP_T.
        let operation = i32::from;
        // SAFETY: the attributes have these types.
        unsafe {
            plan.set(DescAttribute::CUBLASLT_MATMUL_DESC_TRANSA, operation(transpose_a))?;
            plan.set(DescAttribute::CUBLASLT_MATMUL_DESC_TRANSB, operation(transpose_b))?;
            if key.has_bias {
                let epilogue = sys::cublasLtEpilogue_t::CUBLASLT_EPILOGUE_BIAS;
                plan.set(DescAttribute::CUBLASLT_MATMUL_DESC_EPILOGUE, epilogue)?;
            }
        }
        plan.algo = plan.best(handle, &Preferences::of(functions, key)?)?;
        Ok(plan)
    }

    /// # Safety
    /// T is the attribute's type.
    pub unsafe fn set<T>(&self, attribute: DescAttribute, value: T) -> Result<()> {
        let value = (&raw const value).cast::<c_void>();
        // SAFETY: the descriptor lives as long as self; the value is copied.
        unsafe { (self.functions.desc_set)(self.desc, attribute, value, size_of::<T>()) }.result()
    }

    /// The first answer of the heuristic.
    fn best(
        &self,
        handle: sys::cublasLtHandle_t,
        preferences: &Preferences,
    ) -> Result<sys::cublasLtMatmulAlgo_t> {
        let (mut found, mut count) = (MaybeUninit::<Heuristic>::uninit(), 0);
        // SAFETY: handle and descriptors are alive, and there is room for the one answer asked for.
        unsafe {
            (self.functions.heuristic)(
                handle,
                self.desc,
                self.a,
                self.b,
                self.out,
                self.out,
                preferences.preference,
                1,
                found.as_mut_ptr(),
                &mut count,
            )
        }
        .result()?;
        if count == 0 {
            return Err(Status::NOT_SUPPORTED);
        }
        // SAFETY: the library wrote an answer; any bits are one.
        let found = unsafe { found.assume_init() };
        found.state.result().map(|()| found.algo)
    }
}

impl Drop for Plan {
    fn drop(&mut self) {
        // SAFETY: made by `new` (or null where it failed half-way) and destroyed once; the library
        // copies what a queued product needs.
        unsafe {
            for layout in [self.a, self.b, self.out].into_iter().filter(|l| !l.is_null()) {
                let _ = (self.functions.layout_destroy)(layout);
            }
            if !self.desc.is_null() {
                let _ = (self.functions.desc_destroy)(self.desc);
            }
        }
    }
}

struct Preferences<'a> {
    functions: &'a Functions,
    preference: sys::cublasLtMatmulPreference_t,
}

impl<'a> Preferences<'a> {
    fn of(functions: &'a Functions, key: &Key) -> Result<Self> {
        let mut preference = null_mut();
        // SAFETY: written before it is read, destroyed in `drop`.
        unsafe { (functions.preference_create)(&mut preference) }.result()?;
        let all = Self { functions, preference };
        let most_bytes = key.workspace_bytes as u64;
        let schemes = sys::cublasLtReductionScheme_t::CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE;
        let [a, b, out] = key.aligned_bytes;
        // SAFETY: the attributes have these types.
        unsafe {
            all.set(Preference::CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, most_bytes)?;
            all.set(Preference::CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK, schemes as u32)?;
            all.set(Preference::CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, b)?;
            all.set(Preference::CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, a)?;
            all.set(Preference::CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, out)?;
            all.set(Preference::CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, out)?;
        }
        Ok(all)
    }

    /// # Safety
    /// T is the attribute's type.
    unsafe fn set<T>(&self, attribute: Preference, value: T) -> Result<()> {
        let value = (&raw const value).cast::<c_void>();
        // SAFETY: the preference lives as long as self; the value is copied.
        unsafe {
            (self.functions.preference_set)(self.preference, attribute, value, size_of::<T>())
        }
        .result()
    }
}

impl Drop for Preferences<'_> {
    fn drop(&mut self) {
        // SAFETY: made once, destroyed once.
        let _ = unsafe { (self.functions.preference_destroy)(self.preference) };
    }
}

fn data_type(dtype: DType) -> sys::cudaDataType {
    match dtype {
        DType::Bf16 => sys::cudaDataType::CUDA_R_16BF,
        _ => sys::cudaDataType::CUDA_R_32F,
    }
}
