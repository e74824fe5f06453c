//! Pinned host memory and copies beside the compute stream.
//!
//! A [`Slot`] is one half of a double buffer: page-locked bytes and an event that says when they
//! may be touched again. Uploads run on the copy stream and the compute stream waits for them by
//! event; the host waits only if it comes back to a slot whose copy has not ended.

use cudarc::driver::{result, sys};

use super::Cuda;
use crate::Result;

/// Page-locked host bytes, zero at first. Freed by [`Cuda::free_slot`].
struct Pinned {
    start: *mut u8,
    bytes: usize,
}

pub struct Slot {
    host: Pinned,
    /// Recorded after the last use of `host` (and of the staging memory beside it).
    done: sys::CUevent,
    /// Recorded after the copy, where another stream must wait for it.
    copied: sys::CUevent,
}

// SAFETY: the memory is owned and the events are handles; both are used through `Cuda`.
unsafe impl Send for Slot {}

impl Slot {
    pub fn bytes(&self) -> &[u8] {
        self.host.as_slice()
    }

    pub fn bytes_mut(&mut self) -> &mut [u8] {
        self.host.as_mut_slice()
    }
}

impl Pinned {
    fn as_slice(&self) -> &[u8] {
        // SAFETY: `bytes` bytes from cuMemHostAlloc, zeroed; no copy is in flight when a caller of
        // `Cuda::wait` has waited, which `Upload` and `Readback` do.
        unsafe { std::slice::from_raw_parts(self.start, self.bytes) }
    }

    fn as_mut_slice(&mut self) -> &mut [u8] {
        // SAFETY: as above, and borrowed exclusively.
        unsafe { std::slice::from_raw_parts_mut(self.start, self.bytes) }
    }
}

impl Cuda {
    pub(crate) fn new_slot(&self, bytes: usize) -> Result<Slot> {
        self.bind()?;
        let event = || {
            result::event::create(sys::CUevent_flags::CU_EVENT_DISABLE_TIMING)
                .map_err(|e| self.failed("cuEventCreate", e))
        };
        // SAFETY: `bytes` bytes are allocated, then zeroed, then owned by the slot.
        let start = unsafe {
            let start = result::malloc_host(bytes.max(1), 0)
                .map_err(|e| self.failed(&format!("{bytes} bytes of pinned memory"), e))?;
            start.cast::<u8>().write_bytes(0, bytes);
            start.cast()
        };
        Ok(Slot { host: Pinned { start, bytes }, done: event()?, copied: event()? })
    }

    pub(crate) fn free_slot(&self, slot: &mut Slot) {
        if self.synchronize().is_ok() {
            // SAFETY: nothing runs, and the slot is not used again.
            unsafe {
                let _ = result::free_host(slot.host.start.cast());
                let _ = result::event::destroy(slot.done);
                let _ = result::event::destroy(slot.copied);
            }
        }
    }

    /// Until the slot's bytes may be touched. Returns at once if it was never used.
    pub(crate) fn wait(&self, slot: &Slot) -> Result<()> {
        self.bind()?;
        // SAFETY: the event lives as long as the slot.
        unsafe { result::event::synchronize(slot.done) }
            .map_err(|e| self.failed("cuEventSynchronize", e))
    }

    /// Slot to `staging` on the copy stream, then `staging` to `to` on the compute stream.
    pub(crate) fn send(&self, slot: &Slot, staging: u64, to: u64) -> Result<()> {
        self.bind()?;
        let failed = |e| self.failed("upload a batch", e);
        // SAFETY: `Upload` gives addresses of live tensors of `slot`'s size, and has waited for the
        // slot; the events order the two streams.
        unsafe {
            result::memcpy_htod_async(staging, slot.host.as_slice(), self.copies.raw())
                .map_err(failed)?;
            result::event::record(slot.copied, self.copies.raw()).map_err(failed)?;
            let flags = sys::CUevent_wait_flags::CU_EVENT_WAIT_DEFAULT;
            result::stream::wait_event(self.compute.raw(), slot.copied, flags).map_err(failed)?;
            result::memcpy_dtod_async(to, staging, slot.host.bytes, self.compute.raw())
                .map_err(failed)?;
            result::event::record(slot.done, self.compute.raw()).map_err(failed)
        }
    }

    /// `from` to the slot, behind all work so far; `wait` before reading it.
    pub(crate) fn fetch(&self, slot: &mut Slot, from: u64) -> Result<()> {
        self.bind()?;
        let failed = |e| self.failed("read results back", e);
        // SAFETY: as in `send`.
        unsafe {
            result::memcpy_dtoh_async(slot.host.as_mut_slice(), from, self.compute.raw())
                .map_err(failed)?;
            result::event::record(slot.done, self.compute.raw()).map_err(failed)
        }
    }
}
