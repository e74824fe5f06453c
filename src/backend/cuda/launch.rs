//! The one launch of our kernels, and copies and fills on the compute stream.

use std::ffi::c_void;

use cudarc::driver::{result, sys};

use super::Cuda;
use crate::backend::{Arg, Launch};
use crate::{Error, Result};

/// An argument as the driver wants to point at it.
#[derive(Clone, Copy)]
#[repr(C)]
union Value {
    address: u64,
    size: u32,
    number: f32,
}

impl Cuda {
    pub(crate) fn launch(&self, launch: &Launch) -> Result<()> {
        launch.check()?;
        self.bind()?;
        let function = self.function(launch.kernel, launch.shared_bytes)?;
        let mut values = launch
            .args
            .iter()
            .map(|arg| match arg {
                Arg::Memory(buffer, start_bytes) => {
                    Ok(Value { address: buffer.address()? + *start_bytes as u64 })
                }
                Arg::Null => Ok(Value { address: 0 }),
                Arg::Size(n) => Ok(Value { size: *n as u32 }),
                Arg::F32(x) => Ok(Value { number: *x }),
            })
            .collect::<Result<Vec<_>>>()?;
        let mut pointers: Vec<*mut c_void> =
            values.iter_mut().map(|v| std::ptr::from_mut(v).cast()).collect();
        let three = |n: [usize; 3]| (n[0] as u32, n[1] as u32, n[2] as u32);
        // SAFETY: `Launch::check` compared the arguments with the declaration, `Modules::find` the
        // declaration with the compiled kernel; `values` outlives the call, which copies it.
        unsafe {
            result::launch_kernel(
                function,
                three(launch.grid),
                three(launch.block),
                launch.shared_bytes as u32,
                self.compute.raw(),
                &mut pointers,
            )
        }
        .map_err(|e| self.failed(launch.kernel.name, e))
    }

    pub(crate) fn zero(&self, at: u64, bytes: usize) -> Result<()> {
        self.bind()?;
        // SAFETY: `Tensor` keeps `at..at + bytes` inside a live buffer of this device.
        unsafe { result::memset_d8_async(at, 0, bytes, self.compute.raw()) }
            .map_err(|e| self.failed("cuMemsetD8Async", e))
    }

    pub(crate) fn copy(&self, to: u64, from: u64, bytes: usize) -> Result<()> {
        self.bind()?;
        // SAFETY: as in `zero`, for both ranges.
        unsafe { result::memcpy_dtod_async(to, from, bytes, self.compute.raw()) }
            .map_err(|e| self.failed("cuMemcpyDtoDAsync", e))
    }

    /// Returns when the copy has ended: some systems read pageable memory where it lies.
    pub(crate) fn upload(&self, to: u64, from: &[u8]) -> Result<()> {
        self.bind()?;
        self.refuse_in_capture("an upload")?;
        // SAFETY: as in `zero`; `from` lives until the synchronisation below.
        unsafe { result::memcpy_htod_async(to, from, self.compute.raw()) }
            .map_err(|e| self.failed("cuMemcpyHtoDAsync", e))?;
        self.wait_for_compute()
    }

    /// Waits for all work before it.
    pub(crate) fn download(&self, from: u64, to: &mut [u8]) -> Result<()> {
        self.bind()?;
        self.refuse_in_capture("a download")?;
        // SAFETY: as in `zero`; `to` lives until the synchronisation below.
        unsafe { result::memcpy_dtoh_async(to, from, self.compute.raw()) }
            .map_err(|e| self.failed("cuMemcpyDtoHAsync", e))?;
        self.wait_for_compute()
    }

    fn wait_for_compute(&self) -> Result<()> {
        // SAFETY: the stream lives as long as self.
        unsafe { result::stream::synchronize(self.compute.raw()) }
            .map_err(|e| self.failed("wait for the device", e))
    }

    /// What waits for the device has no place in a captured step.
    fn refuse_in_capture(&self, what: &str) -> Result<()> {
        // SAFETY: the stream lives as long as self.
        let status = unsafe { result::stream::is_capturing(self.compute.raw()) }
            .map_err(|e| self.failed("cuStreamIsCapturing", e))?;
        match status {
            sys::CUstreamCaptureStatus::CU_STREAM_CAPTURE_STATUS_NONE => Ok(()),
            _ => Err(Error::Device {
                device: self.name(),
                what: format!("{what} inside a captured step"),
            }),
        }
    }
}
