//! Kernels by name: their module is loaded at first use (the card's own cubin, else the PTX), and
//! their parameters are compared with the declaration.

use std::collections::HashMap;
use std::ffi::CString;
use std::sync::Mutex;

use cudarc::driver::{result, sys};

use super::{Cuda, embedded};
use crate::backend::{Kernel, lock};
use crate::{Error, Result};

/// A folder of `<module>.ptx` that replace the embedded ones: to try a kernel without a build.
const KERNELS_DIR: &str = "HRM_KERNELS_DIR";

/// Dynamic shared memory that needs no opt-in.
const PLAIN_SHARED_BYTES: usize = 48 << 10;

#[derive(Default)]
pub struct Modules {
    loaded: Mutex<HashMap<usize, sys::CUmodule>>,
    functions: Mutex<HashMap<&'static str, Function>>,
}

#[derive(Clone, Copy)]
struct Function {
    handle: sys::CUfunction,
    /// Dynamic shared memory that launches may ask for so far.
    shared_bytes: usize,
}

impl Modules {
    /// Nothing may run any more.
    pub fn unload(&self) {
        lock(&self.functions).clear();
        for (_, module) in lock(&self.loaded).drain() {
            // SAFETY: loaded by `module` below and unloaded once.
            let _ = unsafe { result::module::unload(module) };
        }
    }
}

impl Cuda {
    /// The function of `kernel`, allowed `shared_bytes` of dynamic shared memory.
    pub(super) fn function(
        &self,
        kernel: &'static Kernel,
        shared_bytes: usize,
    ) -> Result<sys::CUfunction> {
        let mut functions = lock(&self.modules.functions);
        let mut function = match functions.get(kernel.name) {
            Some(known) => *known,
            None => Function { handle: self.find(kernel)?, shared_bytes: PLAIN_SHARED_BYTES },
        };
        if shared_bytes > function.shared_bytes {
            let attribute =
                sys::CUfunction_attribute::CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES;
            // SAFETY: the handle came from cuModuleGetFunction of a module that stays loaded.
            unsafe {
                result::function::set_function_attribute(
                    function.handle,
                    attribute,
                    shared_bytes as i32,
                )
            }
            .map_err(|e| {
                self.failed(&format!("{}: {shared_bytes} bytes of shared memory", kernel.name), e)
            })?;
            function.shared_bytes = shared_bytes;
        }
        functions.insert(kernel.name, function);
        Ok(function.handle)
    }

    fn find(&self, kernel: &Kernel) -> Result<sys::CUfunction> {
        let module = self.module(embedded::module_of(kernel)?)?;
        let name = kernel.name;
        let symbol = CString::new(name).expect("a kernel name without NUL");
        // SAFETY: the module is loaded and stays so.
        unsafe { result::module::get_function(module, symbol) }.map_err(|e| self.failed(name, e))
    }

    fn load_file(&self, path: &std::path::Path) -> Result<sys::CUmodule> {
        let mut text = std::fs::read(path).map_err(Error::io(path, "read the kernel"))?;
        text.push(0);
        // SAFETY: the text ends in NUL; the driver refuses what is not PTX.
        unsafe { result::module::load_data(text.as_ptr().cast()) }
            .map_err(|e| self.failed(&format!("load {}", path.display()), e))
    }

    fn module(&self, index: usize) -> Result<sys::CUmodule> {
        let mut loaded = lock(&self.modules.loaded);
        if let Some(module) = loaded.get(&index) {
            return Ok(*module);
        }
        self.bind()?;
        let embedded = &embedded::MODULES[index];
        if let Some(dir) = std::env::var_os(KERNELS_DIR) {
            let path = std::path::Path::new(&dir).join(format!("{}.ptx", embedded.name));
            if path.exists() {
                let module = self.load_file(&path)?;
                loaded.insert(index, module);
                return Ok(module);
            }
        }
        let cubin = embedded.cubins.iter().find(|(arch, _)| *arch == self.card.arch);
        let load = |image: &[u8]| {
            // SAFETY: a cubin as ptxas wrote it, or PTX that ends in NUL.
            unsafe { result::module::load_data(image.as_ptr().cast()) }
        };
        let module = match cubin.map(|(_, image)| load(image)) {
            Some(Ok(module)) => module,
            Some(Err(e)) if e.0 != sys::CUresult::CUDA_ERROR_NO_BINARY_FOR_GPU => {
                return Err(self.failed(&format!("load the cubin of {}", embedded.name), e));
            }
            _ => load(embedded.ptx).map_err(|e| match e.0 {
                sys::CUresult::CUDA_ERROR_UNSUPPORTED_PTX_VERSION => Error::Device {
                    device: self.name(),
                    what: format!(
                        "the driver (CUDA {}.{}) is older than this build's PTX (CUDA 12.8), and no \
                         cubin fits compute capability {}: update the driver",
                        self.card.driver / 1000,
                        self.card.driver % 1000 / 10,
                        self.card.arch
                    ),
                },
                _ => self.failed(&format!("load the PTX of {}", embedded.name), e),
            })?,
        };
        loaded.insert(index, module);
        Ok(module)
    }
}
