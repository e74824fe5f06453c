//! The calls that copy and fill, and when the host may go on: as "API synchronization behavior" of
//! the manual says.

use std::ffi::{c_uchar, c_uint, c_ushort, c_void};
use std::ops::Range;
use std::sync::Arc;

use super::copy::{Fill, OnDevice, Source, ToDevice, ToHost};
use super::error::{CuError, Result, Status};
use super::host::bytes_of;
use super::state::{Driver, enter};
use super::stream::LEGACY;

impl Driver {
    /// Refuse a device range that is not within one live allocation.
    fn check_device(&mut self, call: &str, address: u64, bytes: u64) -> Result {
        match self.gpu.memory.base_and_bytes(address) {
            Some((start, whole)) if bytes <= start + whole - address => Ok(()),
            _ => {
                let place = self.gpu.memory.locate(address);
                let text = format!(
                    "{bytes} bytes at {address:#x} are not within one allocation [{place}]"
                );
                self.gpu.report_host(call, text);
                Err(CuError::INVALID_VALUE)
            }
        }
    }

    /// Pageable memory cannot be part of a graph, since its copies wait.
    fn refuse_pageable_capture(&mut self, stream: usize) -> Result {
        let key = self.stream(stream)?;
        match self.captured_tail(key)? {
            Some(_) => self.refuse_captured_stream(key),
            None => Ok(()),
        }
    }

    fn copy_to_device(
        &mut self,
        call: &str,
        to: u64,
        from: *const c_void,
        bytes: usize,
        stream: Option<usize>,
    ) -> Result {
        if bytes == 0 {
            return Ok(());
        }
        if from.is_null() {
            return Err(CuError::INVALID_VALUE);
        }
        self.check_device(call, to, bytes as u64)?;
        let host = from as u64..from as u64 + bytes as u64;
        let pinned = self.pins.hold(&host);
        if stream.is_none() {
            self.not_while_capturing()?;
        }
        let source = if pinned {
            Source::Pinned(host)
        } else {
            self.refuse_pageable_capture(stream.unwrap_or(LEGACY))?;
            Source::Staged(bytes_of(&host).to_vec())
        };
        let mark = self.submit(stream.unwrap_or(LEGACY), Arc::new(ToDevice { to, source }))?;
        // A pageable source was staged: even the synchronous call may return before the data is on
        // the device.
        if let (None, true, Some(mark)) = (stream, pinned, mark) {
            self.host_waits(&mark);
        }
        Ok(())
    }

    fn copy_to_host(
        &mut self,
        call: &str,
        to: *mut c_void,
        from: u64,
        bytes: usize,
        stream: Option<usize>,
    ) -> Result {
        if bytes == 0 {
            return Ok(());
        }
        if to.is_null() {
            return Err(CuError::INVALID_VALUE);
        }
        self.check_device(call, from, bytes as u64)?;
        let host = to as u64..to as u64 + bytes as u64;
        let waits = stream.is_none() || !self.pins.hold(&host);
        if stream.is_none() {
            self.not_while_capturing()?;
        }
        if waits {
            self.refuse_pageable_capture(stream.unwrap_or(LEGACY))?;
        }
        let mark = self.submit(stream.unwrap_or(LEGACY), Arc::new(ToHost { to: host, from }))?;
        if let (true, Some(mark)) = (waits, mark) {
            self.host_waits(&mark);
        }
        Ok(())
    }

    fn copy_on_device(
        &mut self,
        call: &str,
        to: u64,
        from: u64,
        bytes: usize,
        stream: Option<usize>,
    ) -> Result {
        if bytes == 0 {
            return Ok(());
        }
        self.check_device(call, to, bytes as u64)?;
        self.check_device(call, from, bytes as u64)?;
        if stream.is_none() {
            self.not_while_capturing()?;
        }
        self.submit(
            stream.unwrap_or(LEGACY),
            Arc::new(OnDevice { to, from, bytes: bytes as u64 }),
        )?;
        Ok(())
    }

    /// A copy between addresses that tell by themselves where they lie.
    fn copy_anywhere(
        &mut self,
        call: &str,
        to: u64,
        from: u64,
        bytes: usize,
        stream: Option<usize>,
    ) -> Result {
        let on_device = |address| self.gpu.memory.base_and_bytes(address).is_some();
        match (on_device(to), on_device(from)) {
            (true, true) => self.copy_on_device(call, to, from, bytes, stream),
            (true, false) => self.copy_to_device(call, to, from as *const c_void, bytes, stream),
            (false, true) => self.copy_to_host(call, to as *mut c_void, from, bytes, stream),
            (false, false) => {
                self.gpu.report_not_modelled(call, "a copy from host to host is not modelled");
                Err(CuError::INVALID_VALUE)
            }
        }
    }

    fn fill(
        &mut self,
        call: &str,
        to: u64,
        pattern: &[u8],
        count: usize,
        stream: Option<usize>,
    ) -> Result {
        if count == 0 {
            return Ok(());
        }
        let bytes: Range<u64> = to..to + (pattern.len() * count) as u64;
        if !to.is_multiple_of(pattern.len() as u64) {
            self.gpu
                .report_host(call, format!("{to:#x} is not aligned to {} bytes", pattern.len()));
            return Err(CuError::INVALID_VALUE);
        }
        self.check_device(call, to, bytes.end - bytes.start)?;
        if stream.is_none() {
            self.not_while_capturing()?;
        }
        let work = Fill { to, pattern: pattern.to_vec(), count: count as u64 };
        self.submit(stream.unwrap_or(LEGACY), Arc::new(work))?;
        Ok(())
    }
}

#[unsafe(no_mangle)]
pub extern "C" fn cuMemcpyHtoD_v2(to: u64, from: *const c_void, bytes: usize) -> Status {
    enter("cuMemcpyHtoD", |driver| driver.copy_to_device("cuMemcpyHtoD", to, from, bytes, None))
}

#[unsafe(no_mangle)]
pub extern "C" fn cuMemcpyHtoDAsync_v2(
    to: u64,
    from: *const c_void,
    bytes: usize,
    stream: usize,
) -> Status {
    enter("cuMemcpyHtoDAsync", |driver| {
        driver.copy_to_device("cuMemcpyHtoDAsync", to, from, bytes, Some(stream))
    })
}

#[unsafe(no_mangle)]
pub extern "C" fn cuMemcpyDtoH_v2(to: *mut c_void, from: u64, bytes: usize) -> Status {
    enter("cuMemcpyDtoH", |driver| driver.copy_to_host("cuMemcpyDtoH", to, from, bytes, None))
}

#[unsafe(no_mangle)]
pub extern "C" fn cuMemcpyDtoHAsync_v2(
    to: *mut c_void,
    from: u64,
    bytes: usize,
    stream: usize,
) -> Status {
    enter("cuMemcpyDtoHAsync", |driver| {
        driver.copy_to_host("cuMemcpyDtoHAsync", to, from, bytes, Some(stream))
    })
}

#[unsafe(no_mangle)]
pub extern "C" fn cuMemcpyDtoD_v2(to: u64, from: u64, bytes: usize) -> Status {
    enter("cuMemcpyDtoD", |driver| driver.copy_on_device("cuMemcpyDtoD", to, from, bytes, None))
}

#[unsafe(no_mangle)]
pub extern "C" fn cuMemcpyDtoDAsync_v2(to: u64, from: u64, bytes: usize, stream: usize) -> Status {
    enter("cuMemcpyDtoDAsync", |driver| {
        driver.copy_on_device("cuMemcpyDtoDAsync", to, from, bytes, Some(stream))
    })
}

#[unsafe(no_mangle)]
pub extern "C" fn cuMemcpy(to: u64, from: u64, bytes: usize) -> Status {
    enter("cuMemcpy", |driver| driver.copy_anywhere("cuMemcpy", to, from, bytes, None))
}

#[unsafe(no_mangle)]
pub extern "C" fn cuMemcpyAsync(to: u64, from: u64, bytes: usize, stream: usize) -> Status {
    enter("cuMemcpyAsync", |driver| {
        driver.copy_anywhere("cuMemcpyAsync", to, from, bytes, Some(stream))
    })
}

#[unsafe(no_mangle)]
pub extern "C" fn cuMemsetD8_v2(to: u64, value: c_uchar, count: usize) -> Status {
    enter("cuMemsetD8", |driver| driver.fill("cuMemsetD8", to, &[value], count, None))
}

#[unsafe(no_mangle)]
pub extern "C" fn cuMemsetD8Async(to: u64, value: c_uchar, count: usize, stream: usize) -> Status {
    enter("cuMemsetD8Async", |driver| {
        driver.fill("cuMemsetD8Async", to, &[value], count, Some(stream))
    })
}

#[unsafe(no_mangle)]
pub extern "C" fn cuMemsetD16_v2(to: u64, value: c_ushort, count: usize) -> Status {
    enter("cuMemsetD16", |driver| driver.fill("cuMemsetD16", to, &value.to_ne_bytes(), count, None))
}

#[unsafe(no_mangle)]
pub extern "C" fn cuMemsetD16Async(
    to: u64,
    value: c_ushort,
    count: usize,
    stream: usize,
) -> Status {
    enter("cuMemsetD16Async", |driver| {
        driver.fill("cuMemsetD16Async", to, &value.to_ne_bytes(), count, Some(stream))
    })
}

#[unsafe(no_mangle)]
pub extern "C" fn cuMemsetD32_v2(to: u64, value: c_uint, count: usize) -> Status {
    enter("cuMemsetD32", |driver| driver.fill("cuMemsetD32", to, &value.to_ne_bytes(), count, None))
}

#[unsafe(no_mangle)]
pub extern "C" fn cuMemsetD32Async(to: u64, value: c_uint, count: usize, stream: usize) -> Status {
    enter("cuMemsetD32Async", |driver| {
        driver.fill("cuMemsetD32Async", to, &value.to_ne_bytes(), count, Some(stream))
    })
}
