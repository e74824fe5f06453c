//! A loaded module: its kernels and the variables that need device addresses.

use crate::memory::DeviceMemory;
use std::sync::Arc;

/// A kernel parameter: where it lies in the parameter block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Param {
    pub name: String,
    pub offset: u32,
    pub bytes: u32,
    pub align: u32,
}

/// An entry point and what a launch of it must respect.
#[derive(Debug, Clone)]
pub struct Kernel {
    pub name: String,
    pub params: Vec<Param>,
    pub param_bytes: u32,
    pub static_shared_bytes: u32,
    /// `.reqntid`, when the source demands a block shape.
    pub required_block: Option<[u32; 3]>,
    /// `.maxntid`, or the limit of the card.
    pub max_threads: u32,
    /// Registers that are live at once at most: an estimate of what ptxas would need.
    pub registers: u32,
    pub local_bytes: u32,
}

pub struct Module {
    pub kernels: Vec<Arc<Kernel>>,
}

/// Parses and decodes a module, and places its variables in device memory.
pub fn load(_text: &str, _memory: &mut DeviceMemory) -> Result<Module, super::Refusal> {
    unimplemented!("interface first")
}

impl Module {
    pub fn kernel(&self, name: &str) -> Option<Arc<Kernel>> {
        self.kernels.iter().find(|k| k.name == name).cloned()
    }

    /// Address and size of a `.global` or `.const` variable (`cuModuleGetGlobal`).
    pub fn global(&self, _name: &str) -> Option<(u64, u64)> {
        unimplemented!("interface first")
    }

    /// Gives the variables' memory back.
    pub fn unload(self, _memory: &mut DeviceMemory) {
        unimplemented!("interface first")
    }
}
