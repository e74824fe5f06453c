//! Status codes of the driver API and the two functions that explain them.
//!
//! Names and numbers are those of `cuda.h` 12.8; only codes that this driver can answer are listed,
//! so an unlisted code is `CUDA_ERROR_INVALID_VALUE` for `cuGetErrorName`, as an unknown one is for
//! the real driver.

use std::ffi::{CStr, c_char};

/// A `CUresult` other than success.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CuError(pub i32);

impl From<CuError> for Status {
    fn from(error: CuError) -> Status {
        error.0
    }
}

pub type Result<T = (), E = CuError> = std::result::Result<T, E>;

/// `CUresult`, as the C ABI returns it.
pub type Status = i32;
pub const SUCCESS: Status = 0;

macro_rules! errors {
    ($($name:ident = $code:literal, $text:literal;)*) => {
        impl CuError { $(pub const $name: CuError = CuError($code);)* }

        fn explain(status: Status) -> Option<(&'static CStr, &'static CStr)> {
            let (name, text) = match status {
                SUCCESS => ("CUDA_SUCCESS\0", "no error\0"),
                $($code => (concat!("CUDA_ERROR_", stringify!($name), "\0"), concat!($text, "\0")),)*
                _ => return None,
            };
            let c_str = |text: &'static str| CStr::from_bytes_with_nul(text.as_bytes()).ok();
            c_str(name).zip(c_str(text))
        }
    };
}

errors! {
    INVALID_VALUE = 1, "invalid argument";
    OUT_OF_MEMORY = 2, "out of memory";
    NOT_INITIALIZED = 3, "initialization error";
    INVALID_DEVICE = 101, "invalid device ordinal";
    INVALID_IMAGE = 200, "device kernel image is invalid";
    INVALID_CONTEXT = 201, "invalid device context";
    NO_BINARY_FOR_GPU = 209, "no kernel image is available for execution on the device";
    INVALID_PTX = 218, "a PTX JIT compilation failed";
    FILE_NOT_FOUND = 301, "file not found";
    INVALID_HANDLE = 400, "invalid resource handle";
    ILLEGAL_STATE = 401, "the operation cannot be performed in the present state";
    NOT_FOUND = 500, "named symbol not found";
    NOT_READY = 600, "device not ready";
    ILLEGAL_ADDRESS = 700, "an illegal memory access was encountered";
    LAUNCH_OUT_OF_RESOURCES = 701, "too many resources requested for launch";
    HOST_MEMORY_ALREADY_REGISTERED = 712, "the memory range is already mapped";
    HOST_MEMORY_NOT_REGISTERED = 713, "pointer does not correspond to a registered memory region";
    LAUNCH_FAILED = 719, "unspecified launch failure";
    NOT_PERMITTED = 800, "operation not permitted";
    NOT_SUPPORTED = 801, "operation not supported";
    STREAM_CAPTURE_UNSUPPORTED = 900, "operation not permitted when stream is capturing";
    STREAM_CAPTURE_INVALIDATED = 901, "operation failed due to a previous error during capture";
    STREAM_CAPTURE_MERGE = 902, "operation would result in a merge of separate capture sequences";
    STREAM_CAPTURE_UNMATCHED = 903, "capture was not ended in the same stream as it began";
    STREAM_CAPTURE_UNJOINED = 904, "capturing stream has unjoined work";
    STREAM_CAPTURE_ISOLATION = 905, "dependency created on uncaptured work in another stream";
    STREAM_CAPTURE_IMPLICIT = 906, "the legacy stream would depend on a capturing stream";
    CAPTURED_EVENT = 907, "operation not permitted on an event last recorded in a capturing stream";
    STREAM_CAPTURE_WRONG_THREAD = 908, "the capture was begun by another thread";
    UNKNOWN = 999, "unknown error";
}

fn answer(
    status: Status,
    out: *mut *const c_char,
    which: impl Fn(&'static CStr, &'static CStr) -> &'static CStr,
) -> Status {
    let (result, text) = match explain(status) {
        Some((name, text)) => (SUCCESS, which(name, text).as_ptr()),
        None => (CuError::INVALID_VALUE.0, std::ptr::null()),
    };
    if out.is_null() {
        return CuError::INVALID_VALUE.0;
    }
    // SAFETY: `out` is not null and by the API's contract points to a `const char *`.
    unsafe { out.write(text) };
    result
}

#[unsafe(no_mangle)]
pub extern "C" fn cuGetErrorName(error: Status, out: *mut *const c_char) -> Status {
    answer(error, out, |name, _| name)
}

#[unsafe(no_mangle)]
pub extern "C" fn cuGetErrorString(error: Status, out: *mut *const c_char) -> Status {
    answer(error, out, |_, text| text)
}
