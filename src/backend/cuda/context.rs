//! What is opened first and released last: the device's context, then streams in it.

use cudarc::driver::result::{self, DriverError};
use cudarc::driver::sys;

/// The device's primary context, released on drop.
pub struct Context {
    device: sys::CUdevice,
    context: sys::CUcontext,
}

/// A stream that waits for no other, destroyed on drop.
pub struct Stream(sys::CUstream);

impl Context {
    /// The context of a device that cuDeviceGet gave.
    pub fn retain(device: sys::CUdevice) -> Result<Self, DriverError> {
        // SAFETY: the device is the driver's; what is retained is released in `drop`.
        let context = unsafe { result::primary_ctx::retain(device) }?;
        Ok(Self { device, context })
    }

    /// Make it the calling thread's.
    pub fn bind(&self) -> Result<(), DriverError> {
        // SAFETY: the context is retained as long as self.
        unsafe { result::ctx::set_current(self.context) }
    }
}

impl Drop for Context {
    fn drop(&mut self) {
        // SAFETY: retained once, released once.
        let _ = unsafe { result::primary_ctx::release(self.device) };
    }
}

impl Stream {
    /// In the calling thread's context, which must outlive it.
    pub fn new() -> Result<Self, DriverError> {
        result::stream::create(result::stream::StreamKind::NonBlocking).map(Self)
    }

    pub fn raw(&self) -> sys::CUstream {
        self.0
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        // SAFETY: created once, destroyed once; `Cuda` has waited for its work, or never gave any.
        let _ = unsafe { result::stream::destroy(self.0) };
    }
}
