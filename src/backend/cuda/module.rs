//! Kernels by name: their module is loaded at first use (the card's own cubin, else the PTX), their
//! parameters are compared with the declaration, and their shared memory is asked for.

use std::collections::HashMap;
use std::ffi::CString;
use std::sync::Mutex;

use cudarc::driver::{result, sys};

use super::{Cuda, embedded};
use crate::backend::{Kernel, lock};
use crate::{Error, Result};

/// A folder of `<module>.ptx` that replace the embedded ones: to try a kernel without a build.
const KERNELS_DIR: &str = "HRM_KERNELS_DIR";

/// Shared memory of a block, static and dynamic, that needs no opt-in.
const PLAIN_SHARED_BYTES: usize = 48 << 10;

/// Shared memory of a block above which all of the multiprocessor's is asked for: the resident
/// blocks that such a kernel is made for need most of it, and how much the driver would set aside
/// is its own estimate.
const SMALL_SHARED_BYTES: usize = 16 << 10;

#[derive(Default)]
pub struct Modules {
    loaded: Mutex<HashMap<usize, sys::CUmodule>>,
    functions: Mutex<HashMap<&'static str, Function>>,
}

#[derive(Clone, Copy)]
struct Function {
    handle: sys::CUfunction,
    /// Shared memory of a block that the code itself takes.
    static_bytes: usize,
    /// Most dynamic shared memory that a launch has asked for.
    dynamic_bytes: usize,
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
    /// The function of `kernel`, allowed `dynamic_bytes` of dynamic shared memory.
    pub(super) fn function(
        &self,
        kernel: &'static Kernel,
        dynamic_bytes: usize,
    ) -> Result<sys::CUfunction> {
        use sys::CUfunction_attribute as A;
        let mut functions = lock(&self.modules.functions);
        let known = functions.get(kernel.name).copied();
        if let Some(function) = known.filter(|f| dynamic_bytes <= f.dynamic_bytes) {
            return Ok(function.handle);
        }
        let failed =
            |e| self.failed(&format!("{}: {dynamic_bytes} bytes of shared memory", kernel.name), e);
        let (handle, static_bytes) = match known {
            Some(function) => (function.handle, function.static_bytes),
            None => {
                let handle = self.find(kernel)?;
                // SAFETY: the handle came from cuModuleGetFunction of a module that stays loaded.
                let bytes = unsafe {
                    let bytes = A::CU_FUNC_ATTRIBUTE_SHARED_SIZE_BYTES;
                    result::function::get_function_attribute(handle, bytes)
                };
                (handle, bytes.map_err(failed)? as usize)
            }
        };
        let set = |attribute, value| {
            // SAFETY: as above.
            unsafe { result::function::set_function_attribute(handle, attribute, value) }
                .map_err(failed)
        };
        let all_bytes = static_bytes + dynamic_bytes;
        if all_bytes > PLAIN_SHARED_BYTES {
            set(A::CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES, dynamic_bytes as i32)?;
        }
        if all_bytes > SMALL_SHARED_BYTES {
            let most = sys::CUshared_carveout_enum::CU_SHAREDMEM_CARVEOUT_MAX_SHARED;
            set(A::CU_FUNC_ATTRIBUTE_PREFERRED_SHARED_MEMORY_CARVEOUT, most as i32)?;
        }
        functions.insert(kernel.name, Function { handle, static_bytes, dynamic_bytes });
        Ok(handle)
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

#[cfg(test)]
mod tests {
    #![allow(clippy::print_stdout)] // what is skipped is told by name

    use super::*;
    use crate::backend::{Param, Products};

    /// Declared with the parameters that it was compiled with.
    fn kernel(name: &str) -> &'static Kernel {
        let entry = embedded::MODULES.iter().flat_map(|module| module.kernels);
        let entry = entry.into_iter().find(|entry| entry.name == name).unwrap();
        let params = entry.params.iter().map(|ptx| match *ptx {
            "u64" => Param::Out,
            "u32" => Param::U32,
            _ => Param::F32,
        });
        let params = params.collect::<Vec<_>>().leak();
        Box::leak(Box::new(Kernel { op: "any", name: entry.name, params }))
    }

    #[test]
    fn shared_memory_is_asked_for_with_what_the_code_takes() {
        use sys::CUfunction_attribute as A;
        let cuda = match Cuda::open(0, Products::Own) {
            Ok(cuda) => cuda,
            Err(e) => return println!("skipped: shared memory of kernels ({e})"),
        };
        let asked = |name, dynamic_bytes, attribute| {
            let function = cuda.function(kernel(name), dynamic_bytes).unwrap();
            // SAFETY: the function was just found.
            unsafe { result::function::get_function_attribute(function, attribute) }.unwrap()
        };
        let (add, attention) = ("add_fwd_f32", "attention_fwd_hd64_bf16");
        let carveout = A::CU_FUNC_ATTRIBUTE_PREFERRED_SHARED_MEMORY_CARVEOUT;
        assert_eq!(asked(add, 0, carveout), -1, "the driver's choice");
        assert_eq!(asked(add, 17 << 10, carveout), 100);
        assert_eq!(asked(attention, 0, carveout), 100);
        // Beside its 32 KiB, 16 need no opt-in.
        let dynamic = A::CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES;
        assert!(asked(attention, 0, A::CU_FUNC_ATTRIBUTE_SHARED_SIZE_BYTES) >= 32 << 10);
        assert!(asked(attention, 20 << 10, dynamic) >= 20 << 10);
        assert!(asked(attention, 1, dynamic) >= 20 << 10, "it stays allowed");
    }
}
