//! Pinned host memory: allocation, registration, and the table that tells pinned from pageable.

use std::alloc::Layout;
use std::collections::BTreeMap;
use std::ffi::{c_uint, c_void};
use std::ops::Range;

use super::error::{CuError, Result, Status};
use super::state::{enter, out};

const PAGE_BYTES: usize = 4096;
/// `CU_MEMHOSTALLOC_{PORTABLE,DEVICEMAP,WRITECOMBINED}`
const ALLOC_FLAGS: c_uint = 0x7;
/// `CU_MEMHOSTREGISTER_{PORTABLE,DEVICEMAP}`
const REGISTER_FLAGS: c_uint = 0x3;

#[derive(Debug)]
struct Pin {
    end: u64,
    flags: c_uint,
    /// Allocated here, rather than registered.
    ours: bool,
}

/// Every pinned range of this process, by first address.
#[derive(Debug, Default)]
pub struct Pins(BTreeMap<u64, Pin>);

impl Pins {
    /// Is all of `bytes` pinned memory?
    pub fn hold(&self, bytes: &Range<u64>) -> bool {
        self.covering(bytes.start).is_some_and(|(_, pin)| bytes.end <= pin.end)
    }

    pub fn leaks(&self) -> impl Iterator<Item = Range<u64>> {
        self.0.iter().filter(|(_, pin)| pin.ours).map(|(start, pin)| *start..pin.end)
    }

    fn covering(&self, address: u64) -> Option<(u64, &Pin)> {
        let (start, pin) = self.0.range(..=address).next_back()?;
        (address < pin.end).then_some((*start, pin))
    }

    fn overlap(&self, bytes: &Range<u64>) -> bool {
        self.0.range(..bytes.end).next_back().is_some_and(|(_, pin)| pin.end > bytes.start)
    }
}

/// The bytes of a host range that a caller handed to an asynchronous copy.
pub fn bytes_of(host: &Range<u64>) -> &'static [u8] {
    // SAFETY: the range is pinned (`Pins::hold`) and its release waits for or drops all that refers
    // to it; or it is pageable memory that the caller promised for the duration of this call.
    unsafe { std::slice::from_raw_parts(host.start as *const u8, (host.end - host.start) as usize) }
}

/// As [`bytes_of`], to write.
pub fn bytes_of_mut(host: &Range<u64>) -> &'static mut [u8] {
    // SAFETY: as for `bytes_of`; the destination of a copy is the driver's until the copy is done.
    unsafe {
        std::slice::from_raw_parts_mut(host.start as *mut u8, (host.end - host.start) as usize)
    }
}

fn layout(bytes: usize) -> Result<Layout> {
    Layout::from_size_align(bytes, PAGE_BYTES).map_err(|_| CuError::OUT_OF_MEMORY)
}

#[unsafe(no_mangle)]
pub extern "C" fn cuMemHostAlloc(pointer: *mut *mut c_void, bytes: usize, flags: c_uint) -> Status {
    enter("cuMemHostAlloc", |driver| {
        driver.context()?;
        driver.not_while_capturing()?;
        if flags & !ALLOC_FLAGS != 0 || bytes == 0 {
            return Err(CuError::INVALID_VALUE);
        }
        // SAFETY: the layout has a size that is not zero.
        let start = unsafe { std::alloc::alloc(layout(bytes)?) };
        if start.is_null() {
            return Err(CuError::OUT_OF_MEMORY);
        }
        // Fresh pinned memory holds whatever was there: make that visible.
        // SAFETY: `bytes` were allocated above.
        unsafe { start.write_bytes(0xA5, bytes) };
        let pin = Pin { end: start as u64 + bytes as u64, flags, ours: true };
        driver.pins.0.insert(start as u64, pin);
        out(pointer, start.cast())
    })
}

#[unsafe(no_mangle)]
pub extern "C" fn cuMemAllocHost_v2(pointer: *mut *mut c_void, bytes: usize) -> Status {
    cuMemHostAlloc(pointer, bytes, 0)
}

#[unsafe(no_mangle)]
pub extern "C" fn cuMemFreeHost(pointer: *mut c_void) -> Status {
    enter("cuMemFreeHost", |driver| {
        driver.not_while_capturing()?;
        let start = pointer as u64;
        let pin = driver.pins.0.get(&start).filter(|pin| pin.ours).ok_or(CuError::INVALID_VALUE)?;
        let bytes = start..pin.end;
        driver.release(bytes.clone(), "cuMemFreeHost of pinned memory");
        driver.pins.0.remove(&start);
        // SAFETY: allocated in `cuMemHostAlloc` with this layout, and removed from the table just
        // now.
        unsafe { std::alloc::dealloc(pointer.cast(), layout((bytes.end - start) as usize)?) };
        Ok(())
    })
}

#[unsafe(no_mangle)]
pub extern "C" fn cuMemHostRegister_v2(
    pointer: *mut c_void,
    bytes: usize,
    flags: c_uint,
) -> Status {
    enter("cuMemHostRegister", |driver| {
        driver.context()?;
        driver.not_while_capturing()?;
        let range = pointer as u64..pointer as u64 + bytes as u64;
        if pointer.is_null() || bytes == 0 || flags & !REGISTER_FLAGS != 0 {
            return Err(CuError::INVALID_VALUE);
        }
        if driver.pins.overlap(&range) {
            return Err(CuError::HOST_MEMORY_ALREADY_REGISTERED);
        }
        driver.pins.0.insert(range.start, Pin { end: range.end, flags, ours: false });
        Ok(())
    })
}

#[unsafe(no_mangle)]
pub extern "C" fn cuMemHostUnregister(pointer: *mut c_void) -> Status {
    enter("cuMemHostUnregister", |driver| {
        driver.not_while_capturing()?;
        let start = pointer as u64;
        let pin = driver.pins.0.get(&start).filter(|pin| !pin.ours);
        let bytes = start..pin.ok_or(CuError::HOST_MEMORY_NOT_REGISTERED)?.end;
        driver.release(bytes, "cuMemHostUnregister of memory");
        driver.pins.0.remove(&start);
        Ok(())
    })
}

#[unsafe(no_mangle)]
pub extern "C" fn cuMemHostGetFlags(flags: *mut c_uint, pointer: *mut c_void) -> Status {
    enter("cuMemHostGetFlags", |driver| {
        let (_, pin) = driver.pins.covering(pointer as u64).ok_or(CuError::INVALID_VALUE)?;
        out(flags, pin.flags)
    })
}
