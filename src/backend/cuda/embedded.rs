//! The kernels inside this binary: PTX, cubins and what the assembler said of each. Made by `build/`.

use crate::backend::Resources;

/// One `kernels/*.cu`.
pub struct Module {
    pub name: &'static str,
    /// Ends in NUL.
    pub ptx: &'static [u8],
    /// (compute capability, cubin)
    pub cubins: &'static [(u32, &'static [u8])],
    pub kernels: &'static [Entry],
}

pub struct Entry {
    pub name: &'static str,
    /// Bytes of each parameter.
    pub params: &'static [usize],
    pub resources: &'static [Resources],
}

include!(concat!(env!("OUT_DIR"), "/kernels.rs"));

pub fn find(kernel: &str) -> Option<(usize, &'static Entry)> {
    MODULES.iter().enumerate().find_map(|(i, module)| {
        Some((i, module.kernels.iter().find(|entry| entry.name == kernel)?))
    })
}

/// (module, kernel, resources by arch) of every kernel.
pub fn resources() -> impl Iterator<Item = (&'static str, &'static str, &'static [Resources])> {
    MODULES.iter().flat_map(|m| m.kernels.iter().map(|k| (m.name, k.name, k.resources)))
}
