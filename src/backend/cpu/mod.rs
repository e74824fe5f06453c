//! Host memory for tensors, and the numeric building blocks of the CPU ops.
#![allow(unsafe_code)]

pub mod attention;
pub mod conv;
pub mod dropout;
pub mod gemm;
pub mod par;
pub mod path;
mod prefetch;
pub mod scratch;
pub mod simd;
mod transpose;

use std::sync::{Arc, Mutex};

use memmap2::{MmapOptions, MmapRaw};

/// The attribute, beside the module: one import brings both.
pub(crate) use simd::simd;

use crate::{Error, Result};

/// The arena's regions as anonymous mappings: zero, and not in memory before they are touched.
#[derive(Default)]
pub(super) struct Memory {
    regions: Mutex<Vec<Arc<MmapRaw>>>,
}

impl Memory {
    pub(super) fn add(&self, region: usize, bytes: usize) -> Result<()> {
        let map = MmapOptions::new().len(bytes.max(1)).map_anon().map_err(|e| Error::Device {
            device: "cpu".into(),
            what: format!("{bytes} bytes asked for: {e} (`hrm plan` shows what a run needs)"),
        })?;
        let mut regions = super::lock(&self.regions);
        assert_eq!(regions.len(), region, "regions are added in order");
        regions.push(Arc::new(map.into()));
        Ok(())
    }

    pub(super) fn range(&self, region: usize, offset: usize, bytes: usize) -> Result<Range> {
        let region = super::lock(&self.regions)[region].clone();
        assert!(offset + bytes <= region.len(), "arena place outside its region");
        Ok(Range { region, offset, bytes })
    }
}

/// Bytes of a region that one live `Buffer` owns.
pub struct Range {
    region: Arc<MmapRaw>,
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
        // SAFETY: inside the region by the assertion here and the one in `Memory::range`; a new
        // mapping is zero, so initialised; the caller vouches for aliasing.
        unsafe { std::slice::from_raw_parts(self.region.as_mut_ptr().add(self.offset + at), len) }
    }

    /// The elements, exclusively: see [`Range::slice`].
    ///
    /// # Safety
    /// No other reference to these bytes may exist while the result lives.
    #[allow(clippy::mut_from_ref)]
    pub(crate) unsafe fn slice_mut(&self, at: usize, len: usize) -> &mut [u8] {
        assert!(at + len <= self.bytes, "view outside its buffer");
        // SAFETY: as in `slice`.
        unsafe {
            std::slice::from_raw_parts_mut(self.region.as_mut_ptr().add(self.offset + at), len)
        }
    }
}
