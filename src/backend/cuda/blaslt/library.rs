//! libcublasLt as it is found at run time: its names, its version, the functions that are called.
//!
//! cudarc's own loader knows no name of CUDA 13's library, and panics where a function is missing;
//! of cudarc are the types here.

use std::error::Error;
use std::ffi::{c_int, c_void};
use std::fmt;

use cudarc::cublaslt::sys;
use libloading::Library;

/// What the library is called, in the order in which it is looked for: a toolkit's link, then the
/// files of CUDA 13, 12 and 11, which are all that the PyPI packages have.
pub const NAMES: [&str; 4] =
    ["libcublasLt.so", "libcublasLt.so.13", "libcublasLt.so.12", "libcublasLt.so.11"];

/// A `cublasStatus_t`; a newer library may answer one that has no name here.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(transparent)]
pub struct Status(u32);

impl Status {
    pub const NOT_SUPPORTED: Self = Self(15);

    pub fn result(self) -> Result<(), Self> {
        if self.0 == 0 { Ok(()) } else { Err(self) }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let name = match self.0 {
            1 => "NOT_INITIALIZED",
            3 => "ALLOC_FAILED",
            7 => "INVALID_VALUE",
            8 => "ARCH_MISMATCH",
            11 => "MAPPING_ERROR",
            13 => "EXECUTION_FAILED",
            14 => "INTERNAL_ERROR",
            15 => "NOT_SUPPORTED",
            16 => "LICENSE_ERROR",
            other => return write!(f, "cublasStatus_t {other}"),
        };
        write!(f, "CUBLAS_STATUS_{name}")
    }
}

/// `cublasLtMatmulHeuristicResult_t`, whose status may be any number.
#[repr(C)]
pub struct Heuristic {
    pub algo: sys::cublasLtMatmulAlgo_t,
    workspace_bytes: usize,
    pub state: Status,
    waves: f32,
    reserved: [c_int; 4],
}

const _: () = assert!(size_of::<Heuristic>() == size_of::<sys::cublasLtMatmulHeuristicResult_t>());

macro_rules! functions {
    ($($name:ident = $symbol:literal($($arg:ty),* $(,)?),)*) => {
        /// The functions of the library that are called, under their names without `cublasLt`.
        pub struct Functions {
            $(pub $name: unsafe extern "C" fn($($arg),*) -> Status,)*
        }

        impl Functions {
            /// # Safety
            /// `library` is libcublasLt, and stays loaded.
            unsafe fn find(library: &Library) -> Result<Self, libloading::Error> {
                // SAFETY: the signatures are those of cublasLt.h, as the caller says.
                unsafe { Ok(Self { $($name: *library.get($symbol)?,)* }) }
            }
        }
    };
}

functions! {
    create = b"cublasLtCreate\0"(*mut sys::cublasLtHandle_t),
    destroy = b"cublasLtDestroy\0"(sys::cublasLtHandle_t),
    get_property = b"cublasLtGetProperty\0"(sys::libraryPropertyType, *mut c_int),
    desc_create = b"cublasLtMatmulDescCreate\0"(
        *mut sys::cublasLtMatmulDesc_t, sys::cublasComputeType_t, sys::cudaDataType,
    ),
    desc_destroy = b"cublasLtMatmulDescDestroy\0"(sys::cublasLtMatmulDesc_t),
    desc_set = b"cublasLtMatmulDescSetAttribute\0"(
        sys::cublasLtMatmulDesc_t, sys::cublasLtMatmulDescAttributes_t, *const c_void, usize,
    ),
    layout_create = b"cublasLtMatrixLayoutCreate\0"(
        *mut sys::cublasLtMatrixLayout_t, sys::cudaDataType, u64, u64, i64,
    ),
    layout_destroy = b"cublasLtMatrixLayoutDestroy\0"(sys::cublasLtMatrixLayout_t),
    preference_create = b"cublasLtMatmulPreferenceCreate\0"(*mut sys::cublasLtMatmulPreference_t),
    preference_destroy = b"cublasLtMatmulPreferenceDestroy\0"(sys::cublasLtMatmulPreference_t),
    preference_set = b"cublasLtMatmulPreferenceSetAttribute\0"(
        sys::cublasLtMatmulPreference_t, sys::cublasLtMatmulPreferenceAttributes_t, *const c_void,
        usize,
    ),
    heuristic = b"cublasLtMatmulAlgoGetHeuristic\0"(
        sys::cublasLtHandle_t, sys::cublasLtMatmulDesc_t, sys::cublasLtMatrixLayout_t,
        sys::cublasLtMatrixLayout_t, sys::cublasLtMatrixLayout_t, sys::cublasLtMatrixLayout_t,
        sys::cublasLtMatmulPreference_t, c_int, *mut Heuristic, *mut c_int,
    ),
    matmul = b"cublasLtMatmul\0"(
        sys::cublasLtHandle_t, sys::cublasLtMatmulDesc_t, *const c_void,
        *const c_void, sys::cublasLtMatrixLayout_t, *const c_void, sys::cublasLtMatrixLayout_t,
        *const c_void, *const c_void, sys::cublasLtMatrixLayout_t, *mut c_void,
        sys::cublasLtMatrixLayout_t, *const sys::cublasLtMatmulAlgo_t, *mut c_void, usize,
        sys::cudaStream_t,
    ),
}

/// Why a name leads to no library that can be used.
pub enum Unusable {
    Absent,
    /// There is a file of that name. What is wrong with it.
    Broken(String),
}

/// The functions of the library called `name`. It is never closed: it has exit handlers and memory
/// of its own.
pub fn load(name: &str) -> Result<Functions, Unusable> {
    // SAFETY: initialisers of the library have no preconditions.
    let library = unsafe { Library::new(name) }.map_err(|e| {
        let what = reason(&e);
        // Another name here is that of a library which it needs.
        match what.starts_with(&format!("{name}:")) && what.contains("No such file") {
            true => Unusable::Absent,
            false => Unusable::Broken(what),
        }
    })?;
    // SAFETY: what has all these names is libcublasLt; it stays loaded by `forget`.
    let functions = unsafe { Functions::find(&library) };
    std::mem::forget(library);
    functions.map_err(|e| Unusable::Broken(reason(&e)))
}

/// What the loader says.
fn reason(error: &libloading::Error) -> String {
    error.source().map_or_else(|| error.to_string(), |source| source.to_string())
}

impl Functions {
    /// `13.1`
    pub fn version(&self) -> Result<String, Status> {
        use sys::libraryPropertyType_t as Property;
        let part = |property| {
            let mut value = 0;
            // SAFETY: the value outlives the call.
            unsafe { (self.get_property)(property, &mut value) }.result().map(|()| value)
        };
        Ok(format!("{}.{}", part(Property::MAJOR_VERSION)?, part(Property::MINOR_VERSION)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_lead_nowhere_and_libraries_of_another_kind_are_told_apart() {
        assert!(matches!(load("libcublasLt.so.0"), Err(Unusable::Absent)));
        let Err(Unusable::Broken(what)) = load("libc.so.6") else {
            panic!("libc has no cublasLt functions")
        };
        assert!(what.contains("cublasLtCreate"), "{what}");
    }

    #[test]
    fn a_status_without_a_name_is_said_by_number() {
        assert_eq!(Status(0).result(), Ok(()));
        assert_eq!(Status::NOT_SUPPORTED.to_string(), "CUBLAS_STATUS_NOT_SUPPORTED");
        assert_eq!(Status(99).to_string(), "cublasStatus_t 99");
    }
}
