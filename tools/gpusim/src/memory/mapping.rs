//! A zeroed, lazily committed array of plain integers, far larger than the machine's memory.
//!
//! Pages cost nothing until touched. The only `unsafe` of device memory is here.

#![allow(unsafe_code)]

use std::io;
use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;

/// Integers for which all-zero bytes are a value.
pub trait Plain: Copy {
    const ZERO: Self;
}
impl Plain for u8 {
    const ZERO: Self = 0;
}
impl Plain for u32 {
    const ZERO: Self = 0;
}
impl Plain for u64 {
    const ZERO: Self = 0;
}

const PAGE_BYTES: usize = 4096;

pub struct Mapping<T: Plain> {
    start: NonNull<T>,
    elems: usize,
}

// SAFETY: the mapping is owned, private memory without interior mutability.
unsafe impl<T: Plain + Send> Send for Mapping<T> {}
// SAFETY: as above; shared access only reads.
unsafe impl<T: Plain + Sync> Sync for Mapping<T> {}

impl<T: Plain> Mapping<T> {
    pub fn new(elems: usize) -> io::Result<Self> {
        let bytes = elems.checked_mul(size_of::<T>()).ok_or(io::ErrorKind::OutOfMemory)?;
        // SAFETY: an anonymous private mapping at an address of the kernel's choice; failure is checked.
        let start = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                bytes.max(1),
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE,
                -1,
                0,
            )
        };
        if start == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let start = NonNull::new(start.cast()).ok_or(io::ErrorKind::OutOfMemory)?;
        Ok(Self { start, elems })
    }

    /// Sets a range to zero, whole pages by giving them back.
    pub fn zero(&mut self, range: std::ops::Range<usize>) {
        let per_page = PAGE_BYTES / size_of::<T>();
        let inner = range.start.next_multiple_of(per_page)..range.end / per_page * per_page;
        if inner.start >= inner.end {
            self[range].fill(T::ZERO);
            return;
        }
        self[range.start..inner.start].fill(T::ZERO);
        self[inner.end..range.end].fill(T::ZERO);
        self.discard(inner);
    }

    /// Gives whole pages of `range` back to the system; they read as zero afterwards.
    pub fn discard(&mut self, range: std::ops::Range<usize>) {
        let range = range.start.min(self.elems)..range.end.min(self.elems);
        let first = (range.start * size_of::<T>()).next_multiple_of(PAGE_BYTES);
        let last = range.end * size_of::<T>() / PAGE_BYTES * PAGE_BYTES;
        if first < last {
            // SAFETY: [first, last) lies inside the mapping (clamped above) and is page aligned.
            unsafe {
                let at = self.start.as_ptr().cast::<u8>().add(first);
                libc::madvise(at.cast(), last - first, libc::MADV_DONTNEED);
            }
        }
    }
}

impl<T: Plain> Deref for Mapping<T> {
    type Target = [T];
    fn deref(&self) -> &[T] {
        // SAFETY: `elems` elements were mapped readable; any bytes are a valid T.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.elems) }
    }
}

impl<T: Plain> DerefMut for Mapping<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        // SAFETY: as in `deref`, and the borrow of self is exclusive.
        unsafe { std::slice::from_raw_parts_mut(self.start.as_ptr(), self.elems) }
    }
}

impl<T: Plain> Drop for Mapping<T> {
    fn drop(&mut self) {
        let bytes = (self.elems * size_of::<T>()).max(1);
        // SAFETY: the address and length are those of the mapping made in `new`, unmapped once.
        unsafe { libc::munmap(self.start.as_ptr().cast(), bytes) };
    }
}
