//! Calls of the simulator's own, for programs that look them up (`dlsym`) and do without them
//! elsewhere.
//!
//! An engine that hands out parts of one allocation tells here where each part begins and ends. It
//! does so in the order of its host code, while the work that uses the parts is ordered by a
//! stream: so both are queued in that stream, and captured with it.

use std::ffi::{CStr, c_char};
use std::ops::Range;
use std::sync::Arc;

use super::error::{CuError, Result, Status};
use super::exit;
use super::gpu::Gpu;
use super::queue::{Accesses, NodeKind, Work};
use super::state::{enter, lock};

/// Begin (with a name) or end of a part.
struct Part {
    bytes: Range<u64>,
    name: Option<String>,
}

impl Work for Part {
    fn label(&self) -> String {
        match &self.name {
            Some(name) => format!("gpusim_annotate of `{name}`"),
            None => format!("gpusim_retire of {:#x}", self.bytes.start),
        }
    }

    fn kind(&self) -> NodeKind {
        NodeKind::Empty
    }

    fn run(&self, gpu: &mut Gpu) -> Accesses {
        let (start, bytes) = (self.bytes.start, self.bytes.end - self.bytes.start);
        let done = match &self.name {
            Some(name) => gpu.memory.annotate(start, bytes, name),
            None => gpu.memory.retire(start, bytes),
        };
        if let Err(error) = done {
            gpu.report_access(&self.label(), error, "not within a live allocation");
        }
        Accesses::write(self.bytes.clone())
    }
}

fn text(name: *const c_char) -> Result<String> {
    if name.is_null() {
        return Err(CuError::INVALID_VALUE);
    }
    // SAFETY: not null, and by this interface's contract a C string.
    Ok(unsafe { CStr::from_ptr(name) }.to_string_lossy().into_owned())
}

/// From here on in `stream`, `bytes` bytes at `address` are a buffer called `name`, without data.
/// The first call for an allocation makes the rest of that allocation inaccessible.
#[unsafe(no_mangle)]
pub extern "C" fn gpusim_annotate(
    address: u64,
    bytes: usize,
    name: *const c_char,
    stream: usize,
) -> Status {
    enter("gpusim_annotate", |driver| {
        let part = Part { bytes: address..address + bytes as u64, name: Some(text(name)?) };
        driver.submit(stream, Arc::new(part)).map(drop)
    })
}

/// From here on in `stream`, nothing may touch these bytes until they are annotated again.
#[unsafe(no_mangle)]
pub extern "C" fn gpusim_retire(address: u64, bytes: usize, stream: usize) -> Status {
    enter("gpusim_retire", |driver| {
        let part = Part { bytes: address..address + bytes as u64, name: None };
        driver.submit(stream, Arc::new(part)).map(drop)
    })
}

/// Name a whole allocation, at once.
#[unsafe(no_mangle)]
pub extern "C" fn gpusim_name(address: u64, name: *const c_char) -> Status {
    enter("gpusim_name", |driver| {
        driver.gpu.memory.set_name(address, &text(name)?);
        Ok(())
    })
}

/// Write the report now, too. Answers the number of findings so far, repeats included.
#[unsafe(no_mangle)]
pub extern "C" fn gpusim_report() -> u64 {
    let mut guard = lock();
    let Some(driver) = guard.as_mut() else { return 0 };
    exit::write_report(driver);
    driver.gpu.reported()
}
