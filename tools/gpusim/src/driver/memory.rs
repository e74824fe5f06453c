//! Device memory: allocation, stream-ordered or not, and what is asked about a pointer.

use std::ffi::{c_int, c_uint, c_void};
use std::ops::Range;
use std::sync::Arc;

use super::error::{CuError, Result, Status};
use super::gpu::Gpu;
use super::queue::{Accesses, NodeKind, Work};
use super::state::{Driver, enter, out, out_if_wanted};

/// Stream-ordered allocation and release: nothing may touch the memory before the one or after the
/// other.
struct Lifetime {
    bytes: Range<u64>,
    ends: bool,
}

impl Work for Lifetime {
    fn label(&self) -> String {
        let call = if self.ends { "cuMemFreeAsync" } else { "cuMemAllocAsync" };
        format!("{call} of {:#x}", self.bytes.start)
    }

    fn kind(&self) -> NodeKind {
        NodeKind::Empty
    }

    fn run(&self, gpu: &mut Gpu) -> Accesses {
        if self.ends
            && let Err(error) = gpu.memory.free(self.bytes.start)
        {
            gpu.report_access(&self.label(), error, "no live allocation starts there");
        }
        Accesses::write(self.bytes.clone())
    }
}

impl Driver {
    fn allocate(&mut self, bytes: usize) -> Result<u64> {
        self.context()?;
        if bytes == 0 {
            return Err(CuError::INVALID_VALUE);
        }
        self.allocations += 1;
        let name = format!("allocation {}", self.allocations);
        let start = self.gpu.memory.alloc(bytes as u64, &name).ok_or(CuError::OUT_OF_MEMORY)?;
        self.queue.begin_memory(start..start + bytes as u64);
        Ok(start)
    }

    /// The allocation that starts at `address`, and is not yet on its way out.
    fn allocation(&mut self, call: &str, address: u64) -> Result<Range<u64>> {
        match self.gpu.memory.base_and_bytes(address) {
            Some((start, bytes)) if start == address && !self.freeing.contains(&start) => {
                Ok(start..start + bytes)
            }
            _ => {
                let place = self.gpu.memory.locate(address);
                self.gpu.report_host(
                    call,
                    format!("{address:#x} is not the start of a live allocation [{place}]"),
                );
                Err(CuError::INVALID_VALUE)
            }
        }
    }
}

#[unsafe(no_mangle)]
pub extern "C" fn cuMemAlloc_v2(pointer: *mut u64, bytes: usize) -> Status {
    enter("cuMemAlloc", |driver| {
        driver.not_while_capturing()?;
        let address = driver.allocate(bytes)?;
        out(pointer, address)
    })
}

#[unsafe(no_mangle)]
pub extern "C" fn cuMemFree_v2(address: u64) -> Status {
    enter("cuMemFree", |driver| {
        driver.context()?;
        if address == 0 {
            return Ok(());
        }
        driver.not_while_capturing()?;
        let bytes = driver.allocation("cuMemFree", address)?;
        driver.release(bytes, "cuMemFree");
        driver.gpu.memory.free(address).map(drop).map_err(|_| CuError::INVALID_VALUE)
    })
}

#[unsafe(no_mangle)]
pub extern "C" fn cuMemAllocAsync(pointer: *mut u64, bytes: usize, stream: usize) -> Status {
    enter("cuMemAllocAsync", |driver| {
        driver.refuse_memory_node(stream)?;
        let address = driver.allocate(bytes)?;
        let work = Lifetime { bytes: address..address + bytes as u64, ends: false };
        driver.submit(stream, Arc::new(work))?;
        out(pointer, address)
    })
}

#[unsafe(no_mangle)]
pub extern "C" fn cuMemFreeAsync(address: u64, stream: usize) -> Status {
    enter("cuMemFreeAsync", |driver| {
        driver.refuse_memory_node(stream)?;
        let bytes = driver.allocation("cuMemFreeAsync", address)?;
        driver.freeing.insert(address);
        driver.submit(stream, Arc::new(Lifetime { bytes, ends: true }))?;
        driver.freeing.retain(|&start| driver.gpu.memory.base_and_bytes(start).is_some());
        Ok(())
    })
}

impl Driver {
    fn refuse_memory_node(&mut self, stream: usize) -> Result {
        let key = self.stream(stream)?;
        if self.captured_tail(key)?.is_some() {
            self.gpu
                .report_not_modelled("cuMemAllocAsync", "memory nodes of graphs are not modelled");
            return Err(CuError::NOT_SUPPORTED);
        }
        Ok(())
    }
}

#[unsafe(no_mangle)]
pub extern "C" fn cuMemGetInfo_v2(free: *mut usize, total: *mut usize) -> Status {
    enter("cuMemGetInfo", |driver| {
        driver.context()?;
        let (capacity, used) = (driver.gpu.memory.capacity(), driver.gpu.memory.bytes_in_use());
        out_if_wanted(free, (capacity - used) as usize);
        out_if_wanted(total, capacity as usize);
        Ok(())
    })
}

#[unsafe(no_mangle)]
pub extern "C" fn cuMemGetAddressRange_v2(
    base: *mut u64,
    bytes: *mut usize,
    address: u64,
) -> Status {
    enter("cuMemGetAddressRange", |driver| {
        let (start, whole) = driver.gpu.memory.base_and_bytes(address).ok_or(CuError::NOT_FOUND)?;
        out_if_wanted(base, start);
        out_if_wanted(bytes, whole as usize);
        Ok(())
    })
}

/// `CU_MEMORYTYPE_{HOST,DEVICE}`
const HOST: c_uint = 1;
const DEVICE: c_uint = 2;

#[unsafe(no_mangle)]
pub extern "C" fn cuPointerGetAttribute(
    answer: *mut c_void,
    attribute: c_int,
    address: u64,
) -> Status {
    enter("cuPointerGetAttribute", |driver| {
        let device = driver.gpu.memory.base_and_bytes(address);
        let host = driver.pins.hold(&(address..address + 1));
        if device.is_none() && !host {
            return Err(CuError::INVALID_VALUE);
        }
        match (attribute, device) {
            (1, _) => driver.context().and_then(|context| out(answer.cast::<usize>(), context)),
            (2, Some(_)) => out(answer.cast(), DEVICE),
            (2, None) => out(answer.cast(), HOST),
            (3, Some(_)) | (4, None) => out(answer.cast(), address),
            (8, _) => out(answer.cast(), false),
            (9, _) => out(answer.cast(), 0 as c_int),
            (11, Some((start, _))) => out(answer.cast(), start),
            (12, Some((_, bytes))) => out(answer.cast(), bytes as usize),
            _ => {
                let text = format!("pointer attribute {attribute} is not modelled");
                driver.gpu.report_not_modelled("cuPointerGetAttribute", text);
                Err(CuError::INVALID_VALUE)
            }
        }
    })
}
