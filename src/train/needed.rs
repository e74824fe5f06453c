//! What a run will take, learnt by running its code on a device without memory.

use super::trainer::{Options, Trainer};
use crate::Result;
use crate::backend::{Device, DeviceKind, Purpose, Work};
use crate::eval::Evaluator;
use crate::models::ModelShape;

/// Memory at the peak, and the work of one step.
pub struct Needed {
    /// By purpose, in the order of [`Purpose::ALL`].
    pub bytes: [usize; Purpose::ALL.len()],
    /// Holes between tensors that cannot be used at the peak.
    pub gaps_bytes: usize,
    pub work: Work,
}

impl Needed {
    /// A training step, and the buffers that validation keeps besides. Validation itself works in
    /// what a step leaves free.
    pub fn of(kind: DeviceKind, shape: &ModelShape, options: Options) -> Result<Self> {
        let device = Device::shape_only(kind);
        device.reserve(Device::UNBOUNDED_BYTES)?;
        let mut trainer = Trainer::new(&device, shape, options)?;
        let _evaluator = Evaluator::new(&*trainer.model)?;
        device.take_work();
        trainer.dry_run()?;
        let usage = device.usage();
        Ok(Self {
            bytes: usage.peak_bytes,
            gaps_bytes: usage.span_bytes - usage.peak_total_bytes(),
            work: device.take_work(),
        })
    }

    /// What to reserve.
    pub fn total_bytes(&self) -> usize {
        self.bytes.iter().sum::<usize>() + self.gaps_bytes
    }
}
