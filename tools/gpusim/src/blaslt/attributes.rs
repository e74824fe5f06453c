//! Typed attributes as the C interface passes them: a number, bytes, a size.

use std::ffi::c_void;

use super::status::{BlasError, Result};

/// The value of an attribute that the caller sets.
pub struct Given<'a>(&'a [u8]);

impl<'a> Given<'a> {
    pub fn new(buffer: *const c_void, bytes: usize) -> Result<Self> {
        if buffer.is_null() || bytes > 64 {
            return Err(BlasError::INVALID_VALUE);
        }
        // SAFETY: not null, and the caller says that `bytes` are there.
        Ok(Self(unsafe { std::slice::from_raw_parts(buffer.cast(), bytes) }))
    }

    /// As a 4-byte value; any other size is refused, as the library does.
    pub fn i32(&self) -> Result<i32> {
        self.0.try_into().map(i32::from_ne_bytes).map_err(|_| BlasError::INVALID_VALUE)
    }

    pub fn i64(&self) -> Result<i64> {
        self.0.try_into().map(i64::from_ne_bytes).map_err(|_| BlasError::INVALID_VALUE)
    }

    pub fn u64(&self) -> Result<u64> {
        self.i64().map(|value| value as u64)
    }
}

/// Where the caller wants an attribute's value; a null buffer asks for the size alone.
pub struct Wanted {
    buffer: *mut u8,
    bytes: usize,
    written: *mut usize,
}

impl Wanted {
    pub fn new(buffer: *mut c_void, bytes: usize, written: *mut usize) -> Self {
        Self { buffer: buffer.cast(), bytes, written }
    }

    pub fn give(&self, value: &[u8]) -> Result {
        if !self.written.is_null() {
            // SAFETY: not null, and by the interface's contract it points to a size.
            unsafe { self.written.write(value.len()) };
        }
        if self.bytes == 0 && !self.written.is_null() {
            return Ok(());
        }
        if self.buffer.is_null() || self.bytes < value.len() {
            return Err(BlasError::INVALID_VALUE);
        }
        // SAFETY: the caller gives `bytes` bytes, checked to be enough.
        unsafe { self.buffer.copy_from_nonoverlapping(value.as_ptr(), value.len()) };
        Ok(())
    }

    pub fn i32(&self, value: i32) -> Result {
        self.give(&value.to_ne_bytes())
    }

    pub fn i64(&self, value: i64) -> Result {
        self.give(&value.to_ne_bytes())
    }
}
