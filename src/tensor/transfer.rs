//! Copies between host and device that a running step does not wait for.
//!
//! On CUDA both are double buffers of pinned memory; on a CPU the memory is the same and nothing is
//! copied twice. The shape-only device takes the same device memory.

use super::Tensor;
use crate::Result;
use crate::backend::cuda::Slot;
use crate::backend::{DeviceKind, Purpose};
use crate::dtype::{DType, Element};

const SLOTS: usize = 2;

/// Fills one tensor again and again. Each [`send`](Self::send) is seen by the work queued after it,
/// and not by the work queued before it, which may still be running.
pub struct Upload {
    to: Tensor, // (n) i32
    /// Where copies land while an earlier step still reads `to`.
    staging: Vec<Tensor>,
    slots: Slots,
}

impl Upload {
    pub fn new(to: Tensor) -> Result<Self> {
        to.expect_dtype("upload to", DType::I32)?;
        let device = to.device();
        let staging = match device.kind() {
            DeviceKind::Cpu => vec![],
            DeviceKind::Cuda => (0..SLOTS)
                .map(|_| Tensor::uninit(device, DType::I32, *to.shape(), Purpose::Workspace))
                .collect::<Result<_>>()?,
        };
        // The copy stream writes there: earlier work on that memory must be over.
        device.synchronize()?;
        Ok(Self { slots: Slots::new(&to)?, to, staging })
    }

    /// `fill` writes every element.
    pub fn send(&mut self, fill: impl FnOnce(&mut [i32])) -> Result<()> {
        let to = self.to.clone();
        let Some(cuda) = to.device().as_cuda() else {
            if !to.device().is_shape_only() {
                fill(&mut to.write::<i32>()?);
            }
            return Ok(());
        };
        let (i, slot) = self.slots.next();
        cuda.wait(slot)?;
        fill(bytemuck::cast_slice_mut(slot.bytes_mut()));
        cuda.send(slot, self.staging[i].address()?, to.address()?)
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        // Nor may others get the staging memory before the copy stream has ended; if waiting fails
        // the device is lost, and so is what it holds.
        let _ = self.to.device().synchronize();
    }
}

/// Reads one tensor again and again, each time as it is when the work queued so far has ended.
pub struct Readback {
    from: Tensor,
    slots: Slots,
    /// Copies started and not collected, oldest first; on a CPU their content.
    started: std::collections::VecDeque<Started>,
}

enum Started {
    Slot(usize),
    Copied(Vec<u8>),
}

impl Readback {
    pub fn new(from: Tensor) -> Result<Self> {
        Ok(Self { slots: Slots::new(&from)?, from, started: Default::default() })
    }

    /// Queue a copy. At most two may be waiting to be collected.
    pub fn start(&mut self) -> Result<()> {
        assert!(self.started.len() < SLOTS, "collect before starting a third copy");
        let started = match self.from.device().as_cuda() {
            Some(cuda) => {
                let address = self.from.address()?;
                let (i, slot) = self.slots.next();
                cuda.fetch(slot, address)?;
                Started::Slot(i)
            }
            None => Started::Copied(self.from.read_bytes()?.to_vec()),
        };
        self.started.push_back(started);
        Ok(())
    }

    /// The oldest copy started; `None` if there is none. Waits for it.
    pub fn collect<E: Element>(&mut self) -> Result<Option<Vec<E>>> {
        self.from.expect_dtype("read back", E::DTYPE)?;
        match (self.started.pop_front(), self.from.device().as_cuda()) {
            (None, _) => Ok(None),
            (Some(Started::Copied(bytes)), _) => Ok(Some(elements(&bytes))),
            (Some(Started::Slot(i)), Some(cuda)) => {
                let slot = &self.slots.slots[i];
                cuda.wait(slot)?;
                Ok(Some(elements(slot.bytes())))
            }
            (Some(Started::Slot(_)), None) => unreachable!("slots exist on CUDA only"),
        }
    }
}

fn elements<E: Element>(bytes: &[u8]) -> Vec<E> {
    bytes.chunks_exact(size_of::<E>()).map(bytemuck::pod_read_unaligned).collect()
}

/// Pinned memory, used in turn; none on devices that need none.
struct Slots {
    of: Tensor,
    slots: Vec<Slot>,
    next: usize,
}

impl Slots {
    fn new(of: &Tensor) -> Result<Self> {
        let slots = match of.device().as_cuda() {
            Some(cuda) => (0..SLOTS).map(|_| cuda.new_slot(of.bytes())).collect::<Result<_>>()?,
            None => vec![],
        };
        Ok(Self { of: of.clone(), slots, next: 0 })
    }

    fn next(&mut self) -> (usize, &mut Slot) {
        let i = self.next;
        self.next = (i + 1) % SLOTS;
        (i, &mut self.slots[i])
    }
}

impl Drop for Slots {
    fn drop(&mut self) {
        if let Some(cuda) = self.of.device().as_cuda() {
            self.slots.iter_mut().for_each(|slot| cuda.free_slot(slot));
        }
    }
}
