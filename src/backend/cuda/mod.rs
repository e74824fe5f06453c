//! The CUDA backend: one context, one compute stream, one copy stream, the arena's regions.
//!
//! `context.rs` owns context and streams, `module.rs` finds kernels, `launch.rs` is the one unsafe
//! launch, `blaslt/` the products of cuBLASLt, `graph.rs` captures a step, `clock.rs` times work,
//! `transfer.rs` the pinned buffers, `hooks.rs` tells a simulator about buffers inside a region.
//! All work is ordered by the compute stream, so memory may be freed and reused in host order.
#![allow(unsafe_code)]

mod blaslt;
mod clock;
mod context;
mod embedded;
mod graph;
mod hooks;
mod launch;
mod module;
mod ranges;
mod transfer;

use std::sync::Mutex;

use cudarc::driver::result::{self, DriverError};
use cudarc::driver::sys;

pub use blaslt::absent as no_blaslt;
pub use embedded::resources;
pub use graph::Graph;
pub use ranges::Range;
pub use transfer::Slot;

use self::context::{Context, Stream};
use super::{Card, Products};
use crate::{Error, Result};

/// Set to 1: every buffer is an allocation of its own, not a part of a region, so that
/// compute-sanitizer sees what leaves one. Slow, and nothing is recorded.
const ALLOC_EACH: &str = "HRM_ALLOC_EACH";

/// Dropped from top to bottom: the library and the streams before their context.
pub struct Cuda {
    ordinal: usize,
    card: Card,
    /// Start of each; 0 where buffers are allocations of their own.
    regions: Mutex<Vec<sys::CUdeviceptr>>,
    is_each_alone: bool,
    modules: module::Modules,
    hooks: Option<hooks::Hooks>,
    blaslt: Option<blaslt::Blaslt>,
    compute: Stream,
    copies: Stream,
    context: Context,
}

// SAFETY: driver handles may be used from any thread whose current context is set, which every
// method does first (`Cuda::bind`); the rest is behind mutexes.
unsafe impl Send for Cuda {}
// SAFETY: as above.
unsafe impl Sync for Cuda {}

/// Why there is no CUDA here, or that there is.
pub fn driver_present() -> Result<()> {
    // SAFETY: tries to open the library and closes it again.
    match unsafe { sys::is_culib_present() } {
        true => Ok(()),
        false => Err(Error::Device {
            device: "cuda".into(),
            what: "no NVIDIA driver here (libcuda.so is missing): use --device cpu, or install \
                   the driver"
                .into(),
        }),
    }
}

/// What the CUDA devices here are, or why there are none.
pub fn cards() -> Result<Vec<Card>> {
    (0..count()?).map(|ordinal| Ok(Cuda::open(ordinal, Products::Own)?.card.clone())).collect()
}

/// CUDA devices here, or why there are none.
pub fn count() -> Result<usize> {
    driver_present()?;
    result::init().map_err(|e| failed("cuda", "cuInit", e))?;
    Ok(result::device::get_count().map_err(|e| failed("cuda", "cuDeviceGetCount", e))? as usize)
}

impl Cuda {
    pub fn open(ordinal: usize, products: Products) -> Result<Self> {
        let here = count()?;
        let name = format!("cuda:{ordinal}");
        if ordinal >= here {
            return Err(Error::Device {
                device: name,
                what: format!("there are {here} CUDA devices here (`hrm devices` lists them)"),
            });
        }
        let fail = |what: &'static str| move |e| failed(&format!("cuda:{ordinal}"), what, e);
        let device = result::device::get(ordinal as i32).map_err(fail("cuDeviceGet"))?;
        let context = Context::retain(device).map_err(fail("open the context"))?;
        context.bind().map_err(fail("cuCtxSetCurrent"))?;
        let hooks = hooks::Hooks::find();
        let card =
            card(device, hooks.is_some()).map_err(fail("ask for the device's properties"))?;
        let compute = Stream::new().map_err(fail("cuStreamCreate"))?;
        let copies = Stream::new().map_err(fail("cuStreamCreate"))?;
        let blaslt = blaslt::Blaslt::open(products)?;
        Ok(Self {
            ordinal,
            card,
            regions: Mutex::default(),
            is_each_alone: std::env::var(ALLOC_EACH).is_ok_and(|set| set == "1"),
            modules: module::Modules::default(),
            hooks,
            blaslt,
            compute,
            copies,
            context,
        })
    }

    pub fn card(&self) -> &Card {
        &self.card
    }

    /// Whose matrix products run: None, our own kernels.
    pub(super) fn library(&self) -> Option<&str> {
        self.blaslt.as_ref().map(blaslt::Blaslt::title)
    }

    pub(super) fn name(&self) -> String {
        format!("cuda:{}", self.ordinal)
    }

    fn failed(&self, what: &str, error: DriverError) -> Error {
        failed(&self.name(), what, error)
    }

    /// Make this device's context the calling thread's.
    fn bind(&self) -> Result<()> {
        self.context.bind().map_err(|e| self.failed("cuCtxSetCurrent", e))
    }

    pub(super) fn add_region(&self, region: usize, bytes: usize) -> Result<()> {
        let start = if self.is_each_alone { 0 } else { self.malloc(bytes)? };
        let mut regions = super::lock(&self.regions);
        assert_eq!(regions.len(), region, "regions are added in order");
        regions.push(start);
        if let Some(hooks) = self.hooks.as_ref().filter(|_| start != 0) {
            hooks.retire(start, bytes, self.compute.raw());
        }
        Ok(())
    }

    /// Memory that is not read before it is written, until `free`.
    fn malloc(&self, bytes: usize) -> Result<sys::CUdeviceptr> {
        self.bind()?;
        // SAFETY: the context is current; regions are freed in `drop`, buffers when they close.
        unsafe { result::malloc_sync(bytes.max(1)) }.map_err(|e| Error::Device {
            device: self.name(),
            what: format!(
                "{bytes} bytes asked for, {} of {} free: {e} (`hrm plan` shows what a run needs)",
                result::mem_get_info().map_or(0, |(free, _)| free),
                self.card.memory_bytes
            ),
        })
    }

    /// Whether a step may be recorded: its memory stays where it was.
    pub(crate) fn can_record(&self) -> bool {
        !self.is_each_alone
    }

    /// Address of a place; from here on the bytes belong to one buffer.
    pub(super) fn open_buffer(
        &self,
        region: usize,
        offset: usize,
        bytes: usize,
        name: &str,
    ) -> Result<u64> {
        if self.is_each_alone {
            return self.malloc(bytes);
        }
        let address = super::lock(&self.regions)[region] + offset as u64;
        if let Some(hooks) = self.hooks() {
            hooks.annotate(address, bytes, name, self.compute.raw());
        }
        Ok(address)
    }

    pub(super) fn close_buffer(&self, address: u64, bytes: usize) {
        if self.is_each_alone {
            if self.synchronize().is_ok() {
                // SAFETY: from `open_buffer`, closed once, and no work uses it any more.
                let _ = unsafe { result::free_sync(address) };
            }
            return;
        }
        if let Some(hooks) = self.hooks() {
            hooks.retire(address, bytes, self.compute.raw());
        }
    }

    /// With the context bound: a buffer comes and goes on any thread.
    fn hooks(&self) -> Option<&hooks::Hooks> {
        self.hooks.as_ref().filter(|_| self.bind().is_ok())
    }

    /// Wait for all work.
    pub fn synchronize(&self) -> Result<()> {
        self.bind()?;
        for stream in [self.copies.raw(), self.compute.raw()] {
            // SAFETY: both streams live as long as self.
            unsafe { result::stream::synchronize(stream) }
                .map_err(|e| self.failed("cuStreamSynchronize", e))?;
        }
        Ok(())
    }
}

impl Drop for Cuda {
    fn drop(&mut self) {
        if self.synchronize().is_err() {
            // The context is broken, and all in it: the library must not be asked to clean up.
            std::mem::forget(self.blaslt.take());
            return;
        }
        self.modules.unload();
        for start in super::lock(&self.regions).drain(..).filter(|&start| start != 0) {
            // SAFETY: all work has ended, and no buffer outlives its device (`Buffer` holds it).
            let _ = unsafe { result::free_sync(start) };
        }
    }
}

fn card(device: sys::CUdevice, simulated: bool) -> std::result::Result<Card, DriverError> {
    use sys::CUdevice_attribute as A;
    // SAFETY: `device` came from cuDeviceGet, and its context is current.
    unsafe {
        let attribute = |a| result::device::get_attribute(device, a);
        let major = attribute(A::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR)?;
        let minor = attribute(A::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR)?;
        let mut driver = 0;
        sys::cuDriverGetVersion(&mut driver).result()?;
        Ok(Card {
            name: result::device::get_name(device)?,
            arch: (10 * major + minor) as u32,
            multiprocessors: attribute(A::CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT)? as usize,
            memory_bytes: result::device::total_mem(device)?,
            free_bytes: result::mem_get_info()?.0,
            driver,
            simulated,
        })
    }
}

fn failed(device: &str, what: &str, error: DriverError) -> Error {
    // An unknown code has no text, and asking for it would fail too.
    let name = error
        .error_name()
        .map_or_else(|_| format!("{:?}", error.0), |n| n.to_string_lossy().into());
    let text = error
        .error_string()
        .map_or_else(|_| String::new(), |t| format!(" ({})", t.to_string_lossy()));
    Error::Device { device: device.into(), what: format!("{what}: {name}{text}") }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::print_stdout)] // what is skipped is told by name

    use super::*;

    #[test]
    fn buffers_alone_are_allocations_of_their_own() {
        let mut cuda = match Cuda::open(0, Products::Own) {
            Ok(cuda) => cuda,
            Err(e) => return println!("skipped: allocations of a card ({e})"),
        };
        let range = |address| {
            let (mut start, mut bytes) = (0, 0);
            // SAFETY: the context is current, and both results outlive the call.
            unsafe { sys::cuMemGetAddressRange_v2(&mut start, &mut bytes, address) }
                .result()
                .map(|()| (start, bytes))
        };
        cuda.is_each_alone = false;
        cuda.add_region(0, 4096).unwrap();
        let part = cuda.open_buffer(0, 256, 100, "part").unwrap();
        assert_eq!(range(part).unwrap(), (part - 256, 4096));

        cuda.is_each_alone = true;
        cuda.add_region(1, 1 << 50).unwrap();
        let alone = cuda.open_buffer(1, 256, 100, "alone").unwrap();
        assert_eq!(range(alone).unwrap(), (alone, 100));
        cuda.close_buffer(alone, 100);
        assert!(range(alone).is_err(), "it was freed");
    }
}
