//! What a simulator in libcuda's place wants to know: which bytes of a region are a buffer now.
//! Looked up in the loaded library; a real driver has no such symbols, and nothing is called.

use std::ffi::{CString, c_char};

use cudarc::driver::sys;

type Annotate = unsafe extern "C" fn(u64, usize, *const c_char, sys::CUstream);
type Retire = unsafe extern "C" fn(u64, usize, sys::CUstream);

pub struct Hooks {
    annotate: Annotate,
    retire: Retire,
}

impl Hooks {
    pub fn find() -> Option<Self> {
        // SAFETY: the driver is loaded (`driver_present` came first); the signatures are those of
        // tools/gpusim/README.md, and only that library exports the names.
        unsafe {
            let library = sys::culib();
            Some(Self {
                annotate: *library.get::<Annotate>(b"gpusim_annotate\0").ok()?,
                retire: *library.get::<Retire>(b"gpusim_retire\0").ok()?,
            })
        }
    }

    pub fn annotate(&self, at: u64, bytes: usize, name: &str, stream: sys::CUstream) {
        let name = CString::new(name).unwrap_or_default();
        // SAFETY: a simulator checks the range itself and copies the name.
        unsafe { (self.annotate)(at, bytes, name.as_ptr(), stream) }
    }

    pub fn retire(&self, at: u64, bytes: usize, stream: sys::CUstream) {
        // SAFETY: as above.
        unsafe { (self.retire)(at, bytes, stream) }
    }
}
