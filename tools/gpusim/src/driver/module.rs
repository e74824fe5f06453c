//! Modules: PTX is loaded, a cubin is answered as by a card that it was not built for.

use std::collections::HashMap;
use std::ffi::{CStr, CString, c_char, c_int, c_uint, c_void};
use std::sync::Arc;

use super::error::{CuError, Result, Status};
use super::state::{Driver, enter, out, out_if_wanted};
use crate::ptx;

const ELF: [u8; 4] = *b"\x7fELF";
const FATBIN: [u8; 4] = 0xba55_ed50_u32.to_le_bytes();
const FATBIN_WRAPPER: [u8; 4] = 0x4662_43b1_u32.to_le_bytes();

/// `CUjit_option`: the logs, and what changes no result.
const INFO_LOG: c_int = 3;
const INFO_LOG_BYTES: c_int = 4;
const ERROR_LOG: c_int = 5;
const ERROR_LOG_BYTES: c_int = 6;
const HARMLESS: [c_int; 11] = [0, 1, 2, 7, 8, 9, 11, 12, 13, 14, 16];

pub struct Function {
    pub module: usize,
    pub name: CString,
    pub kernel: Arc<ptx::Kernel>,
    /// `CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES`, once set.
    pub max_dynamic_shared_bytes: Option<u32>,
    pub carveout: c_int,
}

struct Loaded {
    module: ptx::Module,
    functions: HashMap<String, usize>,
}

#[derive(Default)]
pub struct Modules {
    loaded: HashMap<usize, Loaded>,
    pub functions: HashMap<usize, Function>,
}

impl Driver {
    /// A function whose module is still loaded.
    pub fn function(&mut self, call: &str, handle: usize) -> Result<&mut Function> {
        let Some(function) = self.modules.functions.get(&handle) else {
            return Err(CuError::INVALID_HANDLE);
        };
        if !self.modules.loaded.contains_key(&function.module) {
            let text = format!("function `{}` of a module that was unloaded", function.kernel.name);
            self.gpu.report_host(call, text);
            return Err(CuError::INVALID_HANDLE);
        }
        Ok(self.modules.functions.get_mut(&handle).expect("looked up above"))
    }

    fn load_module(&mut self, image: *const c_void, log: &mut String) -> Result<usize> {
        self.context()?;
        self.not_while_capturing()?;
        if image.is_null() {
            return Err(CuError::INVALID_VALUE);
        }
        // SAFETY: an image is at least a C string: one byte up to its NUL at a time, so a short one
        // is not overrun.
        let text = unsafe { CStr::from_ptr(image.cast::<c_char>()) };
        if [ELF, FATBIN, FATBIN_WRAPPER]
            .iter()
            .any(|magic| text.to_bytes_with_nul().starts_with(magic))
        {
            return Err(CuError::NO_BINARY_FOR_GPU);
        }
        let text = text.to_str().map_err(|_| CuError::INVALID_IMAGE)?;
        let module = ptx::load(text, &mut self.gpu.memory).map_err(|refusal| {
            *log = refusal.to_string();
            self.gpu.report_not_modelled("cuModuleLoadData", log.as_str());
            CuError::INVALID_PTX
        })?;
        let handle = self.handle();
        self.modules.loaded.insert(handle, Loaded { module, functions: HashMap::new() });
        Ok(handle)
    }

    fn module_function(&mut self, module: usize, name: *const c_char) -> Result<usize> {
        let name = c_string(name)?;
        let fresh = self.handle();
        let loaded = self.modules.loaded.get_mut(&module).ok_or(CuError::INVALID_HANDLE)?;
        if let Some(&known) = loaded.functions.get(&name) {
            return Ok(known);
        }
        let kernel = loaded.module.kernel(&name).ok_or(CuError::NOT_FOUND)?;
        loaded.functions.insert(name.clone(), fresh);
        let name = CString::new(name).map_err(|_| CuError::INVALID_VALUE)?;
        let function =
            Function { module, name, kernel, max_dynamic_shared_bytes: None, carveout: -1 };
        self.modules.functions.insert(fresh, function);
        Ok(fresh)
    }
}

fn c_string(text: *const c_char) -> Result<String> {
    if text.is_null() {
        return Err(CuError::INVALID_VALUE);
    }
    // SAFETY: not null, and by the API's contract a C string.
    let text = unsafe { CStr::from_ptr(text) };
    text.to_str().map(str::to_owned).map_err(|_| CuError::INVALID_VALUE)
}

/// Where the caller wants the logs of the compiler.
#[derive(Default)]
struct Logs {
    error: Option<(*mut c_char, usize, *mut *mut c_void)>,
    info: Option<*mut *mut c_void>,
}

impl Logs {
    fn read(
        driver: &mut Driver,
        count: c_uint,
        options: *const c_int,
        values: *mut *mut c_void,
    ) -> Result<Self> {
        let (mut buffer, mut room) = (std::ptr::null_mut(), None);
        let mut logs = Self::default();
        for at in 0..count as usize {
            if options.is_null() || values.is_null() {
                return Err(CuError::INVALID_VALUE);
            }
            // SAFETY: neither is null and the caller says that both hold `count` entries.
            let (option, value) = unsafe { (*options.add(at), values.add(at)) };
            match option {
                // SAFETY: `value` points to an entry of `values`.
                ERROR_LOG => buffer = unsafe { (*value).cast() },
                ERROR_LOG_BYTES => room = Some(value),
                INFO_LOG_BYTES => logs.info = Some(value),
                INFO_LOG => {}
                _ if HARMLESS.contains(&option) => {}
                _ => {
                    driver.gpu.report_not_modelled(
                        "cuModuleLoadDataEx",
                        format!("JIT option {option} is not modelled"),
                    );
                    return Err(CuError::INVALID_VALUE);
                }
            }
        }
        if let Some(room) = room {
            // SAFETY: an entry of `values`; its value is the number of bytes.
            logs.error = Some((buffer, unsafe { *room } as usize, room));
        }
        Ok(logs)
    }

    /// Write the error log; sizes become the bytes written.
    fn write(&self, text: &str) {
        if let Some((buffer, room, written)) = self.error {
            let kept = text.len().min(room.saturating_sub(1));
            if !buffer.is_null() && room > 0 {
                // SAFETY: the caller gave `room` bytes at `buffer`; `kept + 1` are written.
                unsafe {
                    buffer.copy_from_nonoverlapping(text.as_ptr().cast(), kept);
                    buffer.add(kept).write(0);
                }
            }
            // SAFETY: an entry of the caller's option values.
            unsafe { *written = kept as *mut c_void };
        }
        if let Some(written) = self.info {
            // SAFETY: an entry of the caller's option values.
            unsafe { *written = std::ptr::null_mut() };
        }
    }
}

#[unsafe(no_mangle)]
pub extern "C" fn cuModuleLoadData(module: *mut usize, image: *const c_void) -> Status {
    enter("cuModuleLoadData", |driver| {
        let handle = driver.load_module(image, &mut String::new())?;
        out(module, handle)
    })
}

#[unsafe(no_mangle)]
pub extern "C" fn cuModuleLoadDataEx(
    module: *mut usize,
    image: *const c_void,
    count: c_uint,
    options: *const c_int,
    values: *mut *mut c_void,
) -> Status {
    enter("cuModuleLoadDataEx", |driver| {
        let logs = Logs::read(driver, count, options, values)?;
        let mut text = String::new();
        let loaded = driver.load_module(image, &mut text);
        logs.write(&text);
        out(module, loaded?)
    })
}

#[unsafe(no_mangle)]
pub extern "C" fn cuModuleLoad(module: *mut usize, path: *const c_char) -> Status {
    enter("cuModuleLoad", |driver| {
        let mut image = std::fs::read(c_string(path)?).map_err(|_| CuError::FILE_NOT_FOUND)?;
        image.push(0);
        let handle = driver.load_module(image.as_ptr().cast(), &mut String::new())?;
        out(module, handle)
    })
}

#[unsafe(no_mangle)]
pub extern "C" fn cuModuleGetFunction(
    function: *mut usize,
    module: usize,
    name: *const c_char,
) -> Status {
    enter("cuModuleGetFunction", |driver| {
        let handle = driver.module_function(module, name)?;
        out(function, handle)
    })
}

#[unsafe(no_mangle)]
pub extern "C" fn cuModuleGetGlobal_v2(
    address: *mut u64,
    bytes: *mut usize,
    module: usize,
    name: *const c_char,
) -> Status {
    enter("cuModuleGetGlobal", |driver| {
        let name = c_string(name)?;
        let loaded = driver.modules.loaded.get(&module).ok_or(CuError::INVALID_HANDLE)?;
        let (start, size) = loaded.module.global(&name).ok_or(CuError::NOT_FOUND)?;
        out_if_wanted(address, start);
        out_if_wanted(bytes, size as usize);
        Ok(())
    })
}

#[unsafe(no_mangle)]
pub extern "C" fn cuModuleUnload(module: usize) -> Status {
    enter("cuModuleUnload", |driver| {
        driver.not_while_capturing()?;
        let loaded = driver.modules.loaded.remove(&module).ok_or(CuError::INVALID_HANDLE)?;
        // Work of this module may be pending; the driver waits for it too.
        driver.queue.run_all(&mut driver.gpu);
        loaded.module.unload(&mut driver.gpu.memory);
        Ok(())
    })
}

/// A library is a module here, and a kernel a function: there is one context.
#[unsafe(no_mangle)]
pub extern "C" fn cuLibraryLoadData(
    library: *mut usize,
    image: *const c_void,
    options: *const c_int,
    values: *mut *mut c_void,
    count: c_uint,
    _library_options: *const c_int,
    _library_values: *const *const c_void,
    library_count: c_uint,
) -> Status {
    enter("cuLibraryLoadData", |driver| {
        if library_count != 0 {
            driver.gpu.report_not_modelled("cuLibraryLoadData", "library options are not modelled");
            return Err(CuError::NOT_SUPPORTED);
        }
        let logs = Logs::read(driver, count, options, values)?;
        let mut text = String::new();
        let loaded = driver.load_module(image, &mut text);
        logs.write(&text);
        out(library, loaded?)
    })
}

#[unsafe(no_mangle)]
pub extern "C" fn cuLibraryUnload(library: usize) -> Status {
    cuModuleUnload(library)
}

#[unsafe(no_mangle)]
pub extern "C" fn cuLibraryGetKernel(
    kernel: *mut usize,
    library: usize,
    name: *const c_char,
) -> Status {
    cuModuleGetFunction(kernel, library, name)
}

#[unsafe(no_mangle)]
pub extern "C" fn cuLibraryGetModule(module: *mut usize, library: usize) -> Status {
    enter("cuLibraryGetModule", |driver| {
        driver.modules.loaded.get(&library).ok_or(CuError::INVALID_HANDLE)?;
        out(module, library)
    })
}

#[unsafe(no_mangle)]
pub extern "C" fn cuKernelGetFunction(function: *mut usize, kernel: usize) -> Status {
    enter("cuKernelGetFunction", |driver| {
        driver.function("cuKernelGetFunction", kernel)?;
        out(function, kernel)
    })
}
