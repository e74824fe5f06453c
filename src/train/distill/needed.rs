//! What a distillation will take, learnt by running a step of each phase on a device without
//! memory.

use super::options::Options;
use super::trainer::Trainer;
use crate::Result;
use crate::backend::{Device, DeviceKind, Work};
use crate::run::checkpoint::Side;
use crate::train::needed::Memory;

/// Memory of a distillation, and the work of its phases.
pub struct Needed {
    /// Memory at the peak of both phases.
    pub memory: Memory,
    /// The teacher's phase, if there is one, then the student's.
    pub phases: Vec<Phase>,
}

/// The part of a distillation in which one of the two models learns.
pub struct Phase {
    /// Which of them.
    pub side: Side,
    /// Parameters of the model.
    pub parameters: usize,
    /// Parameters that are trained beside the model's own: a projector's.
    pub beside: usize,
    /// What one step computes and launches.
    pub work: Work,
}

impl Needed {
    /// Steps of both phases on `kind`; nothing is computed.
    pub fn of(kind: DeviceKind, options: &Options) -> Result<Self> {
        let device = Device::shape_only(kind);
        device.reserve(Device::UNBOUNDED_BYTES)?;
        let trainer = Trainer::new(&device, options.clone())?;
        let sides = [options.teacher.map(|_| Side::Teacher), Some(Side::Student)];
        let phases = sides.into_iter().flatten().map(|side| {
            device.take_work();
            trainer.dry_run(side)?;
            let model = trainer.model(side)?;
            let parameters = model.trainable_elems();
            let beside = model.params().elems() - parameters;
            Ok(Phase { side, parameters, beside, work: device.take_work() })
        });
        let phases = phases.collect::<Result<_>>()?;
        Ok(Self { memory: Memory::of(&device.usage()), phases })
    }
}
