//! Status codes, the library's version, and its handle.

use std::ffi::{CStr, c_char, c_int};

use crate::driver::{CuError, Driver, enter_as, out};

/// A `cublasStatus_t` other than success.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlasError(pub c_int);

impl BlasError {
    pub const NOT_INITIALIZED: Self = Self(1);
    pub const INVALID_VALUE: Self = Self(7);
    pub const EXECUTION_FAILED: Self = Self(13);
    pub const INTERNAL_ERROR: Self = Self(14);
    pub const NOT_SUPPORTED: Self = Self(15);
}

pub type Result<T = (), E = BlasError> = std::result::Result<T, E>;
pub type Status = c_int;

impl From<CuError> for BlasError {
    fn from(error: CuError) -> Self {
        match error {
            CuError::NOT_INITIALIZED | CuError::INVALID_CONTEXT => Self::NOT_INITIALIZED,
            CuError::INVALID_VALUE | CuError::INVALID_HANDLE => Self::INVALID_VALUE,
            CuError::UNKNOWN => Self::INTERNAL_ERROR,
            _ => Self::EXECUTION_FAILED,
        }
    }
}

impl From<BlasError> for Status {
    fn from(error: BlasError) -> Status {
        error.0
    }
}

/// Run the body of one call of this library.
pub fn enter(call: &str, body: impl FnOnce(&mut Driver) -> Result) -> Status {
    enter_as(call, body)
}

const VERSION: usize = 120_805;
const CUDART_VERSION: usize = 12080;

#[unsafe(no_mangle)]
pub extern "C" fn cublasLtGetVersion() -> usize {
    VERSION
}

#[unsafe(no_mangle)]
pub extern "C" fn cublasLtGetCudartVersion() -> usize {
    CUDART_VERSION
}

#[unsafe(no_mangle)]
pub extern "C" fn cublasLtGetProperty(property: c_int, value: *mut c_int) -> Status {
    let version = VERSION as c_int;
    let part = match property {
        0 => version / 10_000,
        1 => version / 100 % 100,
        2 => version % 100,
        _ => return BlasError::INVALID_VALUE.0,
    };
    out(value, part).map_or_else(|error| BlasError::from(error).0, |()| 0)
}

fn name(status: Status) -> &'static CStr {
    match status {
        0 => c"CUBLAS_STATUS_SUCCESS",
        1 => c"CUBLAS_STATUS_NOT_INITIALIZED",
        7 => c"CUBLAS_STATUS_INVALID_VALUE",
        13 => c"CUBLAS_STATUS_EXECUTION_FAILED",
        14 => c"CUBLAS_STATUS_INTERNAL_ERROR",
        15 => c"CUBLAS_STATUS_NOT_SUPPORTED",
        _ => c"unknown cublasStatus_t",
    }
}

#[unsafe(no_mangle)]
pub extern "C" fn cublasLtGetStatusName(status: Status) -> *const c_char {
    name(status).as_ptr()
}

#[unsafe(no_mangle)]
pub extern "C" fn cublasLtGetStatusString(status: Status) -> *const c_char {
    name(status).as_ptr()
}

#[unsafe(no_mangle)]
pub extern "C" fn cublasLtCreate(handle: *mut usize) -> Status {
    enter("cublasLtCreate", |driver| {
        driver.context()?;
        let fresh = driver.handle();
        driver.blaslt.handles.insert(fresh);
        Ok(out(handle, fresh)?)
    })
}

#[unsafe(no_mangle)]
pub extern "C" fn cublasLtDestroy(handle: usize) -> Status {
    const CALL: &str = "cublasLtDestroy";
    enter(CALL, |driver| {
        if driver.context().is_err() {
            driver.gpu.report_host(CALL, "the handle is destroyed where its context is no more");
        }
        match driver.blaslt.handles.remove(&handle) {
            true => Ok(()),
            false => Err(BlasError::NOT_INITIALIZED),
        }
    })
}
