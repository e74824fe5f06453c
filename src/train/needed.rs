//! What a run will take, learnt by running its code on a device without memory.

use super::trainer::{Options, Trainer};
use crate::Result;
use crate::backend::{Device, DeviceKind, Purpose, Usage, Work};
use crate::eval::Evaluator;
use crate::models::{Depth, ModelShape};

/// Memory at the peak of a run.
pub struct Memory {
    /// Bytes by purpose, in the order of [`Purpose::ALL`].
    pub bytes: [usize; Purpose::ALL.len()],
    /// Holes between tensors that cannot be used at the peak.
    pub gaps_bytes: usize,
}

impl Memory {
    /// What a device has seen so far.
    pub fn of(usage: &Usage) -> Self {
        let gaps_bytes = usage.span_bytes - usage.peak_total_bytes();
        Self { bytes: usage.peak_bytes, gaps_bytes }
    }

    /// Bytes to reserve.
    pub fn total_bytes(&self) -> usize {
        self.bytes.iter().sum::<usize>() + self.gaps_bytes
    }

    /// Names and bytes of all parts.
    pub fn parts(&self) -> impl Iterator<Item = (&'static str, usize)> {
        let names = Purpose::ALL.iter().map(|purpose| purpose.name());
        names.zip(self.bytes).chain([("gaps", self.gaps_bytes)])
    }
}

/// Memory of a training run, and the work of one step.
pub struct Needed {
    /// Memory at the peak.
    pub memory: Memory,
    /// What one step computes and launches.
    pub work: Work,
}

impl Needed {
    /// A training step at full depth, or a batch of validation where that takes more.
    pub fn of(kind: DeviceKind, shape: &ModelShape, options: Options) -> Result<Self> {
        Self::at(kind, shape, options, Depth::FULL)
    }

    /// What [`of`](Self::of) gives where training steps go to this depth.
    pub fn at(
        kind: DeviceKind,
        shape: &ModelShape,
        options: Options,
        depth: Depth,
    ) -> Result<Self> {
        let device = Device::shape_only(kind);
        device.reserve(Device::UNBOUNDED_BYTES)?;
        let mut trainer = Trainer::new(&device, shape, options)?;
        trainer.set_depth(depth);
        Evaluator::new(&*trainer.model, usize::MAX).dry_run(&*trainer.model)?;
        device.take_work();
        trainer.dry_run()?;
        Ok(Self { memory: Memory::of(&device.usage()), work: device.take_work() })
    }

    /// Bytes to reserve.
    pub fn total_bytes(&self) -> usize {
        self.memory.total_bytes()
    }
}
