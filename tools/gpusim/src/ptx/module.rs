//! A loaded module: its kernels and the variables that need device addresses.

use super::Refusal;
use super::decode::{Globals, decode};
use super::program::Program;
use super::syntax::{File, Function, Initial, Variable};
use super::types::Space;
use crate::memory::DeviceMemory;
use std::sync::Arc;

/// More than this must be dynamic, on every card.
const MAX_STATIC_SHARED_BYTES: u32 = 48 << 10;

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
    pub program: Program,
}

pub struct Module {
    pub kernels: Vec<Arc<Kernel>>,
    globals: Globals,
}

/// Parses and decodes a module, and places its variables in device memory.
pub fn load(text: &str, memory: &mut DeviceMemory) -> Result<Module, Refusal> {
    let file = super::parser::parse(text)?;
    let mut globals = Globals::new();
    let loaded = place(&file, memory, &mut globals).and_then(|()| {
        let entries = file.functions.iter().filter(|f| f.entry && f.body.is_some());
        entries.map(|f| kernel(&file, &globals, f).map(Arc::new)).collect()
    });
    match loaded {
        Ok(kernels) => Ok(Module { kernels, globals }),
        Err(refusal) => {
            release(&globals, memory);
            Err(refusal)
        }
    }
}

fn kernel(file: &File<'_>, globals: &Globals, f: &Function<'_>) -> Result<Kernel, Refusal> {
    let (mut program, static_shared_bytes) = decode(file, globals, f)?;
    if static_shared_bytes > MAX_STATIC_SHARED_BYTES {
        return Err(Refusal {
            line: 0,
            reason: format!("{static_shared_bytes} bytes of static shared memory, at most 48 KiB"),
            text: f.name.to_owned(),
        });
    }
    let registers = super::allocate::share_slots(&mut program);
    let mut params = Vec::new();
    let mut offset = 0_u32;
    for p in &f.params {
        offset = offset.next_multiple_of(p.align);
        params.push(Param { name: p.name.to_owned(), offset, bytes: p.bytes, align: p.align });
        offset += p.bytes;
    }
    let threads = |shape: [u32; 3]| shape.iter().product::<u32>();
    Ok(Kernel {
        name: f.name.to_owned(),
        params,
        param_bytes: offset,
        static_shared_bytes,
        required_block: f.required_block,
        max_threads: f.max_block.or(f.required_block).map_or(1024, threads),
        registers,
        local_bytes: program.local_bytes,
        program,
    })
}

fn place(file: &File<'_>, memory: &mut DeviceMemory, globals: &mut Globals) -> Result<(), Refusal> {
    let refusal = |v: &Variable<'_>, reason: &str| Refusal {
        line: 0,
        reason: reason.to_owned(),
        text: v.name.to_owned(),
    };
    let placed =
        || file.variables.iter().filter(|v| matches!(v.space, Space::Global | Space::Const));
    for v in placed() {
        let address = memory.alloc(u64::from(v.bytes), v.name);
        let address = address.ok_or_else(|| refusal(v, "no device memory left for variable"))?;
        globals.insert(v.name.to_owned(), (address, u64::from(v.bytes)));
    }
    for v in placed() {
        let mut bytes = vec![0; v.bytes as usize];
        let width = v.ty.bytes() as usize;
        for (i, initial) in v.initial.iter().enumerate() {
            let bits = match *initial {
                Initial::Bits(bits) => bits,
                Initial::Address(name, added) => {
                    let known = globals.get(name);
                    let &(address, _) =
                        known.ok_or_else(|| refusal(v, "initialiser is not modelled"))?;
                    address.wrapping_add(added as u64)
                }
            };
            let at = bytes.get_mut(i * width..(i + 1) * width);
            let at = at.ok_or_else(|| refusal(v, "initialiser is longer than the variable"))?;
            at.copy_from_slice(&bits.to_le_bytes()[..width]);
        }
        let written = memory.host_write(globals[v.name].0, &bytes);
        written.map_err(|e| refusal(v, &e.to_string()))?;
    }
    Ok(())
}

fn release(globals: &Globals, memory: &mut DeviceMemory) {
    for &(address, _) in globals.values() {
        // A variable is freed once; a failure would mean that its owner freed it by address.
        let _ = memory.free(address);
    }
}

impl Module {
    pub fn kernel(&self, name: &str) -> Option<Arc<Kernel>> {
        self.kernels.iter().find(|k| k.name == name).cloned()
    }

    /// Address and size of a `.global` or `.const` variable (`cuModuleGetGlobal`).
    pub fn global(&self, name: &str) -> Option<(u64, u64)> {
        self.globals.get(name).copied()
    }

    /// Gives the variables' memory back.
    pub fn unload(self, memory: &mut DeviceMemory) {
        release(&self.globals, memory);
    }
}
