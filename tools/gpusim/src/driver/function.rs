//! What can be asked of a function, and its dynamic shared memory limit.

use std::ffi::{c_char, c_int};

use super::device::limits;
use super::error::{CuError, Status};
use super::state::{enter, out, out_if_wanted};

/// `CUfunction_attribute`
const MAX_THREADS_PER_BLOCK: c_int = 0;
const SHARED_BYTES: c_int = 1;
const LOCAL_BYTES: c_int = 3;
const REGISTERS: c_int = 4;
const BINARY_VERSION: c_int = 6;
const MAX_DYNAMIC_SHARED_BYTES: c_int = 8;
const SHARED_CARVEOUT: c_int = 9;

#[unsafe(no_mangle)]
pub extern "C" fn cuFuncGetAttribute(
    value: *mut c_int,
    attribute: c_int,
    function: usize,
) -> Status {
    enter("cuFuncGetAttribute", |driver| {
        let function = driver.function("cuFuncGetAttribute", function)?;
        let kernel = &function.kernel;
        let answer = match attribute {
            MAX_THREADS_PER_BLOCK => kernel.max_threads as c_int,
            SHARED_BYTES => kernel.static_shared_bytes as c_int,
            LOCAL_BYTES => kernel.local_bytes as c_int,
            REGISTERS => kernel.registers as c_int,
            BINARY_VERSION => 89,
            MAX_DYNAMIC_SHARED_BYTES => {
                let default = limits::SHARED_PER_BLOCK.saturating_sub(kernel.static_shared_bytes);
                function.max_dynamic_shared_bytes.unwrap_or(default) as c_int
            }
            SHARED_CARVEOUT => function.carveout,
            _ => {
                let text = format!("function attribute {attribute} is not modelled");
                driver.gpu.report_not_modelled("cuFuncGetAttribute", text);
                return Err(CuError::INVALID_VALUE);
            }
        };
        out(value, answer)
    })
}

#[unsafe(no_mangle)]
pub extern "C" fn cuFuncSetAttribute(function: usize, attribute: c_int, value: c_int) -> Status {
    enter("cuFuncSetAttribute", |driver| {
        let found = driver.function("cuFuncSetAttribute", function)?;
        let room = limits::SHARED_PER_BLOCK_OPTIN.saturating_sub(found.kernel.static_shared_bytes);
        match attribute {
            MAX_DYNAMIC_SHARED_BYTES if (0..=room as c_int).contains(&value) => {
                found.max_dynamic_shared_bytes = Some(value as u32);
                Ok(())
            }
            MAX_DYNAMIC_SHARED_BYTES => {
                let name = found.kernel.name.clone();
                let text = format!(
                    "{value} bytes of dynamic shared memory for `{name}`: the card has {room}"
                );
                driver.gpu.report_host("cuFuncSetAttribute", text);
                Err(CuError::INVALID_VALUE)
            }
            SHARED_CARVEOUT if (-1..=100).contains(&value) => {
                found.carveout = value;
                Ok(())
            }
            SHARED_CARVEOUT => Err(CuError::INVALID_VALUE),
            _ => {
                let text = format!("function attribute {attribute} cannot be set here");
                driver.gpu.report_not_modelled("cuFuncSetAttribute", text);
                Err(CuError::INVALID_VALUE)
            }
        }
    })
}

#[unsafe(no_mangle)]
pub extern "C" fn cuFuncGetParamInfo(
    function: usize,
    index: usize,
    offset: *mut usize,
    bytes: *mut usize,
) -> Status {
    enter("cuFuncGetParamInfo", |driver| {
        let function = driver.function("cuFuncGetParamInfo", function)?;
        let param = function.kernel.params.get(index).ok_or(CuError::INVALID_VALUE)?;
        out_if_wanted(bytes, param.bytes as usize);
        out(offset, param.offset as usize)
    })
}

#[unsafe(no_mangle)]
pub extern "C" fn cuFuncGetModule(module: *mut usize, function: usize) -> Status {
    enter("cuFuncGetModule", |driver| {
        let answer = driver.function("cuFuncGetModule", function)?.module;
        out(module, answer)
    })
}

#[unsafe(no_mangle)]
pub extern "C" fn cuFuncGetName(name: *mut *const c_char, function: usize) -> Status {
    enter("cuFuncGetName", |driver| {
        let answer = driver.function("cuFuncGetName", function)?.name.as_ptr();
        out(name, answer)
    })
}

/// A preference of cache over shared memory changes no result.
#[unsafe(no_mangle)]
pub extern "C" fn cuFuncSetCacheConfig(function: usize, config: c_int) -> Status {
    enter("cuFuncSetCacheConfig", |driver| {
        driver.function("cuFuncSetCacheConfig", function)?;
        if (0..=3).contains(&config) { Ok(()) } else { Err(CuError::INVALID_VALUE) }
    })
}
