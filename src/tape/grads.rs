//! Gradients by variable while rules run: who writes first sets, everyone after adds.

use super::{Mode, VarId, expect_finite};
use crate::Result;
use crate::backend::{Device, Purpose};
use crate::dtype::DType;
use crate::shape::Shape;
use crate::tensor::Tensor;

pub struct Grads {
    device: Device,
    slots: Vec<Slot>,
    check_finite: bool,
    pub(super) current_op: &'static str,
}

#[derive(Default, Clone)]
enum Slot {
    #[default]
    Empty,
    /// An intermediate gradient; may be shared with another variable's until someone adds to it.
    Own(Tensor),
    /// A gradient with a home outside (a parameter's); `Mode` is what the next writer must do.
    Bound(Tensor, Mode),
}

impl Grads {
    pub(super) fn new(device: &Device, ids: usize, check_finite: bool) -> Self {
        Self {
            device: device.clone(),
            slots: vec![Slot::Empty; ids],
            check_finite,
            current_op: "loss",
        }
    }

    pub(super) fn grow(&mut self, ids: usize) {
        if self.slots.len() < ids {
            self.slots.resize(ids, Slot::Empty);
        }
    }

    pub(super) fn ids(&self) -> usize {
        self.slots.len()
    }

    pub(super) fn bind(&mut self, id: VarId, gradient: Tensor, mode: Mode) {
        self.slots[id.0] = Slot::Bound(gradient, mode);
    }

    pub fn device(&self) -> &Device {
        &self.device
    }

    /// Memory for a rule's own use.
    pub fn alloc(&self, dtype: DType, shape: impl Into<Shape>) -> Result<Tensor> {
        Tensor::uninit(&self.device, dtype, shape, Purpose::Activations)
    }

    /// The gradient of an output, handed over: nobody else will ask. `None`: the output did not
    /// reach the loss, and the rule has nothing to do.
    pub fn take(&mut self, id: VarId) -> Result<Option<Tensor>> {
        match std::mem::take(&mut self.slots[id.0]) {
            Slot::Empty => Ok(None),
            Slot::Own(t) => {
                if self.check_finite {
                    expect_finite(self.current_op, "gradient of the output", &t)?;
                }
                Ok(Some(t))
            }
            Slot::Bound(t, mode) => {
                self.slots[id.0] = Slot::Bound(t.clone(), mode);
                Ok(Some(t))
            }
        }
    }

    /// Where a rule writes an input's gradient, and how. `None`: not wanted.
    pub fn slot(
        &mut self,
        id: Option<VarId>,
        dtype: DType,
        shape: &Shape,
    ) -> Result<Option<(Tensor, Mode)>> {
        let Some(id) = id else { return Ok(None) };
        match &mut self.slots[id.0] {
            Slot::Bound(t, mode) => Ok(Some((t.clone(), std::mem::replace(mode, Mode::Add)))),
            Slot::Own(_) => {
                let Slot::Own(shared) = std::mem::take(&mut self.slots[id.0]) else {
                    unreachable!("matched above")
                };
                let own = self.into_own(shared)?;
                self.slots[id.0] = Slot::Own(own.clone());
                Ok(Some((own, Mode::Add)))
            }
            Slot::Empty => {
                let own = self.alloc(dtype, *shape)?;
                self.slots[id.0] = Slot::Own(own.clone());
                Ok(Some((own, Mode::Set)))
            }
        }
    }

    /// Make `gradient` the input's own, shared and not copied, if it is the first to arrive. False:
    /// there is one already and the caller must add to its [`slot`](Self::slot).
    pub fn share(&mut self, id: VarId, gradient: &Tensor) -> bool {
        let first = matches!(self.slots[id.0], Slot::Empty);
        if first {
            self.slots[id.0] = Slot::Own(gradient.clone());
        }
        first
    }

    /// `gradient` as memory that may be overwritten: itself if nobody else holds it, else a copy.
    pub fn into_own(&self, gradient: Tensor) -> Result<Tensor> {
        if gradient.is_unique() {
            return Ok(gradient);
        }
        let own = self.alloc(gradient.dtype(), *gradient.shape())?;
        own.copy_from(&gradient)?;
        Ok(own)
    }

    /// The finished gradient of a leaf.
    pub fn get(&self, id: Option<VarId>) -> Option<&Tensor> {
        match &self.slots[id?.0] {
            Slot::Empty => None,
            Slot::Own(t) | Slot::Bound(t, _) => Some(t),
        }
    }

    /// A bound gradient that nothing was written to is zero.
    pub(super) fn zero_untouched(&self) -> Result<()> {
        for slot in &self.slots {
            if let Slot::Bound(t, Mode::Set) = slot {
                t.zero()?;
            }
        }
        Ok(())
    }
}
