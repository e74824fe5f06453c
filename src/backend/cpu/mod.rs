//! Host memory for tensors, and the numeric building blocks of the CPU ops.
#![allow(unsafe_code)]

pub mod attention;
pub mod gemm;
pub mod par;
pub mod scratch;
pub mod simd;

use std::ptr::NonNull;
use std::sync::{Arc, Mutex};

use super::arena::ALIGN_BYTES;
use crate::{Error, Result};

/// The arena's regions as host allocations, zeroed by the operating system on first touch.
#[derive(Default)]
pub(super) struct Memory {
    regions: Mutex<Vec<Arc<Region>>>,
}

struct Region {
    start: NonNull<u8>,
    layout: std::alloc::Layout,
}

// SAFETY: a region is plain memory; who may touch which bytes is decided by `Buffer`'s borrow
// count, which is atomic.
unsafe impl Send for Region {}
// SAFETY: as above.
unsafe impl Sync for Region {}

impl Drop for Region {
    fn drop(&mut self) {
        // SAFETY: allocated in `Memory::add` with this layout; ranges hold an `Arc` of the region.
        unsafe { std::alloc::dealloc(self.start.as_ptr(), self.layout) }
    }
}

impl Memory {
    pub(super) fn add(&self, region: usize, bytes: usize) -> Result<()> {
        let too_much = || Error::Device {
            device: "cpu".into(),
            what: format!(
                "out of memory: {bytes} bytes asked for (`hrm plan` shows what a run needs)"
            ),
        };
        let layout = std::alloc::Layout::from_size_align(bytes.max(ALIGN_BYTES), ALIGN_BYTES)
            .map_err(|_| too_much())?;
        // SAFETY: the layout has a non-zero size.
        let start =
            NonNull::new(unsafe { std::alloc::alloc_zeroed(layout) }).ok_or_else(too_much)?;
        let mut regions = super::lock(&self.regions);
        assert_eq!(regions.len(), region, "regions are added in order");
        regions.push(Arc::new(Region { start, layout }));
        Ok(())
    }

    pub(super) fn range(&self, region: usize, offset: usize, bytes: usize) -> Result<Range> {
        let region = super::lock(&self.regions)[region].clone();
        assert!(offset + bytes <= region.layout.size(), "arena place outside its region");
        Ok(Range { region, offset, bytes })
    }
}

/// Bytes of a region that one live `Buffer` owns.
pub struct Range {
    region: Arc<Region>,
    offset: usize,
    bytes: usize,
}

impl Range {
    /// The bytes `at..at + len`, or a panic if they are not inside the range.
    ///
    /// # Safety
    /// No exclusive reference to these bytes may exist while the result lives.
    pub(crate) unsafe fn slice(&self, at: usize, len: usize) -> &[u8] {
        assert!(at + len <= self.bytes, "view outside its buffer");
        // SAFETY: inside the region by the assertion here and the one in `Memory::range`; zeroed
        // at allocation, so initialised; the caller vouches for aliasing.
        unsafe { std::slice::from_raw_parts(self.region.start.as_ptr().add(self.offset + at), len) }
    }

    /// As [`Range::slice`], exclusively.
    ///
    /// # Safety
    /// No other reference to these bytes may exist while the result lives.
    #[allow(clippy::mut_from_ref)]
    pub(crate) unsafe fn slice_mut(&self, at: usize, len: usize) -> &mut [u8] {
        assert!(at + len <= self.bytes, "view outside its buffer");
        // SAFETY: as in `slice`.
        unsafe {
            std::slice::from_raw_parts_mut(self.region.start.as_ptr().add(self.offset + at), len)
        }
    }
}
