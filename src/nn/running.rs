//! Running statistics of a model's batch norms in flat storage, as parameters are: one buffer for
//! what evaluation uses, one of the same layout for what the last batch showed. One step of the
//! `ema` op under the optimizer's guard brings all layers up to date.

use crate::backend::{Device, Purpose};
use crate::dtype::DType;
use crate::ops::batch_norm::{MOMENTUM, Statistics};
use crate::ops::ema;
use crate::tensor::Tensor;
use crate::{Error, Result};

const ALIGN_ELEMS: usize = 64;

pub struct Running {
    /// Name, channels, where its mean starts; its variance follows.
    norms: Vec<(String, usize, usize)>,
    running: Tensor,
    seen: Tensor,
    /// Batches that the running statistics have seen, the same for every layer.
    batches: Tensor, // (1) i32
}

impl Running {
    /// Mean 0 and variance 1 for each of the layers, by name and channels.
    pub fn new(device: &Device, layers: &[(String, usize)]) -> Result<Self> {
        let mut start = 0;
        let mut norms = vec![];
        for (name, c) in layers {
            norms.push((name.clone(), *c, start));
            start += 2 * c.next_multiple_of(ALIGN_ELEMS);
        }
        let flat = |purpose| Tensor::zeros(device, DType::F32, [start.max(1)], purpose);
        let running = flat(Purpose::Weights)?;
        let batches = Tensor::zeros(device, DType::I32, [1], Purpose::Weights)?;
        let all = Self { norms, running, seen: flat(Purpose::Workspace)?, batches };
        for (name, c) in layers {
            all.used(name)?.var.upload(&vec![1.0_f32; *c])?;
        }
        Ok(all)
    }

    /// What evaluation normalises layer `name` by.
    pub fn used(&self, name: &str) -> Result<Statistics> {
        self.of(&self.running, name)
    }

    /// Where training leaves what it saw at layer `name`.
    pub fn seen(&self, name: &str) -> Result<Statistics> {
        self.of(&self.seen, name)
    }

    /// After a training step: nothing happens if `guard` is down.
    pub fn follow(&self, guard: &Tensor) -> Result<()> {
        match self.norms.is_empty() {
            true => Ok(()),
            false => ema::step(&self.running, &self.seen, guard, MOMENTUM),
        }
    }

    pub fn set_batches(&self, count: u64) -> Result<()> {
        self.batches.upload(&[count as i32])
    }

    /// All buffers under PyTorch's names.
    pub fn tensors(&self) -> Result<Vec<(String, Tensor)>> {
        let mut all = vec![];
        for (name, ..) in &self.norms {
            let Statistics { mean, var } = self.used(name)?;
            all.push((format!("{name}.running_mean"), mean));
            all.push((format!("{name}.running_var"), var));
            all.push((format!("{name}.num_batches_tracked"), self.batches.clone()));
        }
        Ok(all)
    }

    fn of(&self, flat: &Tensor, name: &str) -> Result<Statistics> {
        let found = self.norms.iter().find(|(n, ..)| n == name);
        let &(_, c, start) =
            found.ok_or_else(|| Error::invalid(format!("no batch norm named {name}")))?;
        let var = flat.view(start + c.next_multiple_of(ALIGN_ELEMS), [c])?;
        Ok(Statistics { mean: flat.view(start, [c])?, var })
    }
}
