//! A range of a device's arena.

use std::sync::atomic::{AtomicIsize, Ordering};

use super::{Device, arena, cpu};
use crate::{Error, Result};

/// Returned to its arena on drop.
pub struct Buffer {
    device: Device,
    place: arena::Place,
    bytes: usize,
    memory: Memory,
    /// -1 while written, otherwise the number of readers: the check behind every host slice.
    borrows: AtomicIsize,
}

pub(super) enum Memory {
    None,
    Host(cpu::Range),
    /// Address on a CUDA device.
    Cuda(u64),
}

impl Buffer {
    pub(super) fn new(device: Device, place: arena::Place, bytes: usize, memory: Memory) -> Self {
        Self { device, place, bytes, memory, borrows: AtomicIsize::new(0) }
    }

    pub fn device(&self) -> &Device {
        &self.device
    }

    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Where the buffer starts, as (region, byte offset): equal for equal allocation sequences.
    pub fn place(&self) -> (usize, usize) {
        (self.place.region, self.place.offset)
    }

    /// Host memory; an error elsewhere.
    pub(crate) fn range(&self) -> Result<&cpu::Range> {
        match &self.memory {
            Memory::Host(range) => Ok(range),
            _ => Err(self.not_here("read or written as host memory")),
        }
    }

    /// CUDA address; an error elsewhere.
    pub(crate) fn address(&self) -> Result<u64> {
        match &self.memory {
            Memory::Cuda(address) => Ok(*address),
            _ => Err(self.not_here("given to a CUDA kernel")),
        }
    }

    fn not_here(&self, what: &str) -> Error {
        Error::Device {
            device: self.device.name(),
            what: format!("a tensor of this device was {what}"),
        }
    }

    pub(crate) fn start_read(&self) -> bool {
        self.borrows
            .fetch_update(Ordering::Acquire, Ordering::Relaxed, |n| (n >= 0).then_some(n + 1))
            .is_ok()
    }

    pub(crate) fn start_write(&self) -> bool {
        self.borrows.compare_exchange(0, -1, Ordering::Acquire, Ordering::Relaxed).is_ok()
    }

    pub(crate) fn end_read(&self) {
        self.borrows.fetch_sub(1, Ordering::Release);
    }

    pub(crate) fn end_write(&self) {
        self.borrows.store(0, Ordering::Release);
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        if let (Memory::Cuda(address), Some(cuda)) = (&self.memory, self.device.as_cuda()) {
            cuda.close_buffer(*address, self.bytes);
        }
        self.device.arena().free(&self.place);
    }
}
