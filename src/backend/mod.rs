//! Devices and the memory that tensors live in.
//!
//! A device owns one [`Arena`]. The shape-only device runs the same arena with no memory behind
//! it: executing a model there yields the exact bytes, by purpose, that the real run will need.

mod arena;
pub mod cpu;

use std::sync::atomic::{AtomicIsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

pub use arena::{Arena, Purpose, Usage};

use crate::{Error, Result};

/// A cheap handle; clones name the same device.
#[derive(Clone)]
pub struct Device(Arc<Inner>);

struct Inner {
    kind: Kind,
    arena: Mutex<Arena>,
    cost: Mutex<Cost>,
}

enum Kind {
    /// Runs nothing: shapes, memory and cost only.
    Shape,
    Cpu(cpu::Memory),
}

/// Which implementation an op must run.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DeviceKind {
    Shape,
    Cpu,
}

/// Whether a kernel overwrites its output or adds to it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mode {
    Set,
    Add,
}

/// Work counted by the shape-only device: from it `hrm plan` predicts.
#[derive(Clone, Copy, Default, Debug, PartialEq)]
pub struct Cost {
    /// Floating-point operations of matrix products (a multiply-add is two).
    pub matmul_flops: f64,
    /// Bytes that ops read and write once each.
    pub bytes: f64,
    /// Ops executed.
    pub launches: f64,
}

impl Device {
    pub fn cpu() -> Self {
        Self::new(Kind::Cpu(cpu::Memory::default()))
    }

    pub fn shape_only() -> Self {
        Self::new(Kind::Shape)
    }

    fn new(kind: Kind) -> Self {
        Self(Arc::new(Inner { kind, arena: Mutex::default(), cost: Mutex::default() }))
    }

    pub fn kind(&self) -> DeviceKind {
        match self.0.kind {
            Kind::Shape => DeviceKind::Shape,
            Kind::Cpu(_) => DeviceKind::Cpu,
        }
    }

    pub fn is_shape_only(&self) -> bool {
        self.kind() == DeviceKind::Shape
    }

    pub fn name(&self) -> &'static str {
        match self.kind() {
            DeviceKind::Shape => "shape-only",
            DeviceKind::Cpu => "cpu",
        }
    }

    /// Bytes in use and at the peak, by purpose.
    pub fn usage(&self) -> Usage {
        self.arena().usage()
    }

    /// Take one region of `bytes` up front, so that a planned run allocates nothing later.
    pub fn reserve(&self, bytes: usize) -> Result<()> {
        let region = self.arena().add_region(bytes);
        match &self.0.kind {
            Kind::Shape => Ok(()),
            Kind::Cpu(memory) => memory.add(region, bytes),
        }
    }

    pub fn count(&self, cost: Cost) {
        let mut sum = lock(&self.0.cost);
        sum.matmul_flops += cost.matmul_flops;
        sum.bytes += cost.bytes;
        sum.launches += cost.launches;
    }

    pub fn take_cost(&self) -> Cost {
        std::mem::take(&mut *lock(&self.0.cost))
    }

    pub(crate) fn alloc(&self, bytes: usize, purpose: Purpose) -> Result<Arc<Buffer>> {
        let place = match self.arena().alloc(bytes, purpose) {
            Some(place) => place,
            None => {
                self.reserve(arena::growth_bytes(bytes))?;
                self.arena().alloc(bytes, purpose).ok_or_else(|| Error::Device {
                    device: self.name().into(),
                    what: format!("no room for {bytes} bytes after growing"),
                })?
            }
        };
        let memory = match &self.0.kind {
            Kind::Shape => None,
            Kind::Cpu(memory) => Some(memory.range(place.region, place.offset, bytes)?),
        };
        Ok(Arc::new(Buffer {
            device: self.clone(),
            place,
            bytes,
            memory,
            borrows: AtomicIsize::new(0),
        }))
    }

    fn arena(&self) -> MutexGuard<'_, Arena> {
        lock(&self.0.arena)
    }
}

impl PartialEq for Device {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

/// A range of a device's arena; returned to it on drop.
pub struct Buffer {
    device: Device,
    place: arena::Place,
    bytes: usize,
    memory: Option<cpu::Range>,
    /// -1 while written, otherwise the number of readers: the check behind every host slice.
    borrows: AtomicIsize,
}

impl Buffer {
    pub fn device(&self) -> &Device {
        &self.device
    }

    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Where the buffer starts, as (region, byte offset): equal for equal allocation sequences.
    pub fn place(&self) -> (usize, usize) {
        (self.place.region, self.place.offset)
    }

    pub(crate) fn range(&self) -> Result<&cpu::Range> {
        self.memory.as_ref().ok_or_else(|| Error::Device {
            device: self.device.name().into(),
            what: "a tensor without memory was read or written".into(),
        })
    }

    pub(crate) fn start_read(&self) -> bool {
        self.borrows
            .fetch_update(Ordering::Acquire, Ordering::Relaxed, |n| (n >= 0).then_some(n + 1))
            .is_ok()
    }

    pub(crate) fn start_write(&self) -> bool {
        self.borrows.compare_exchange(0, -1, Ordering::Acquire, Ordering::Relaxed).is_ok()
    }

    pub(crate) fn end_read(&self) {
        self.borrows.fetch_sub(1, Ordering::Release);
    }

    pub(crate) fn end_write(&self) {
        self.borrows.store(0, Ordering::Release);
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        self.device.arena().free(&self.place);
    }
}
