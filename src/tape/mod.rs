//! The tape: the list of backward rules recorded by one step, and the gradients they produce.
//!
//! It knows [`Rule`], never an op. A value that no gradient flows to records nothing, so HRM's
//! no-grad cycles cost no memory. Gradients reach a variable in a fixed order (rules run last to
//! first), so sums are the same bits every time.

mod checkpoint;
mod grads;

use crate::backend::{Device, Purpose};
use crate::dtype::DType;
use crate::shape::Shape;
use crate::tensor::Tensor;
use crate::{Error, Result};

pub use crate::backend::Mode;
pub use checkpoint::{checkpoint, checkpoint_all};
pub use grads::Grads;

/// Identifies a variable that a gradient can flow to.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct VarId(pub(crate) usize);

/// A tensor in a computation; `id` is `None` where no gradient is wanted.
#[derive(Clone)]
pub struct Var {
    pub tensor: Tensor,
    pub id: Option<VarId>,
}

impl Var {
    /// A value that no gradient flows to.
    pub fn constant(tensor: Tensor) -> Self {
        Self { tensor, id: None }
    }

    pub fn detach(&self) -> Self {
        Self::constant(self.tensor.clone())
    }
}

/// One op's share of backward: reads the gradient of its output, adds to those of its inputs.
pub trait Rule {
    fn backward(&self, grads: &mut Grads) -> Result<()>;
}

pub struct Tape {
    device: Device,
    /// Each with its op's name, for error messages and ranges.
    rules: Vec<(&'static str, Box<dyn Rule>)>,
    bound: Vec<(VarId, Tensor, Mode)>,
    next_id: usize,
    recording: bool,
    /// Looked at after each op when a failed step is replayed to find its first bad value.
    check_finite: bool,
    /// Where in the model the step is, outermost first.
    scopes: Vec<String>,
    probe: Option<Probe>,
}

/// Sees the output of every scope: (path, tensor).
pub type Probe = Box<dyn FnMut(&str, &Tensor)>;

impl Tape {
    pub fn new(device: &Device) -> Self {
        Self::starting_at(device, 0)
    }

    fn starting_at(device: &Device, next_id: usize) -> Self {
        Self {
            device: device.clone(),
            rules: vec![],
            bound: vec![],
            next_id,
            recording: true,
            check_finite: false,
            scopes: vec![],
            probe: None,
        }
    }

    /// A tape that never records: inference.
    pub fn no_grad(device: &Device) -> Self {
        Self { recording: false, ..Self::new(device) }
    }

    /// Every op output is checked for NaN and infinity; the first one is an error naming the op.
    pub fn checking_finite(mut self) -> Self {
        self.check_finite = true;
        self
    }

    /// Show every scope's output to `probe`.
    pub fn with_probe(mut self, probe: Probe) -> Self {
        self.probe = Some(probe);
        self
    }

    /// Whether somebody looks at every scope's output: then each is made whole.
    pub fn is_probed(&self) -> bool {
        self.probe.is_some()
    }

    pub fn device(&self) -> &Device {
        &self.device
    }

    /// Run `f` as a named part of the model: what probes and error messages speak of.
    pub fn scope(
        &mut self,
        name: impl Into<String>,
        f: impl FnOnce(&mut Tape) -> Result<Var>,
    ) -> Result<Var> {
        let name = name.into();
        let _range = self.device.range(&name);
        self.scopes.push(name);
        let out = f(self)?;
        if let Some(probe) = &mut self.probe {
            probe(&self.scopes.join("."), &out.tensor);
        }
        self.scopes.pop();
        Ok(out)
    }

    /// Run `f` with recording off.
    pub fn paused<T>(&mut self, f: impl FnOnce(&mut Tape) -> Result<T>) -> Result<T> {
        let before = std::mem::replace(&mut self.recording, false);
        let out = f(self);
        self.recording = before;
        out
    }

    /// A variable whose gradient is kept in [`Grads`] for whoever asks.
    pub fn leaf(&mut self, tensor: Tensor) -> Var {
        Var { tensor, id: Some(self.fresh()) }
    }

    /// A variable whose gradient goes to `gradient`: overwritten (`Set`) or added to (`Add`).
    pub fn bind(&mut self, tensor: Tensor, gradient: Tensor, mode: Mode) -> Var {
        let id = self.fresh();
        self.bound.push((id, gradient, mode));
        Var { tensor, id: Some(id) }
    }

    /// Memory for an op's output.
    pub fn alloc(&self, dtype: DType, shape: impl Into<Shape>) -> Result<Tensor> {
        Tensor::uninit(&self.device, dtype, shape, Purpose::Activations)
    }

    /// An op's output. `rule` is asked for only if a gradient flows to one of `inputs`; it gets
    /// the output's id. Anything that only backward needs should be moved into it.
    pub fn output(
        &mut self,
        op: &'static str,
        tensor: Tensor,
        inputs: &[&Var],
        rule: impl FnOnce(VarId) -> Box<dyn Rule>,
    ) -> Result<Var> {
        let [out] = self.outputs(op, [tensor], inputs, |[id]| rule(id))?;
        Ok(out)
    }

    /// The outputs of an op that has several, with one rule for all.
    pub fn outputs<const N: usize>(
        &mut self,
        op: &'static str,
        tensors: [Tensor; N],
        inputs: &[&Var],
        rule: impl FnOnce([VarId; N]) -> Box<dyn Rule>,
    ) -> Result<[Var; N]> {
        if self.check_finite {
            for tensor in &tensors {
                expect_finite(&format!("{}.{op}", self.scopes.join(".")), "output", tensor)?;
            }
        }
        if !self.wants_grad(inputs) {
            return Ok(tensors.map(Var::constant));
        }
        let ids = std::array::from_fn(|_| self.fresh());
        self.rules.push((op, rule(ids)));
        let mut ids = ids.into_iter();
        Ok(tensors.map(|tensor| Var { tensor, id: ids.next() }))
    }

    /// Whether an op on `inputs` will be asked for its rule: if not, nothing need be saved.
    pub fn wants_grad(&self, inputs: &[&Var]) -> bool {
        self.recording && inputs.iter().any(|v| v.id.is_some())
    }

    /// Run all rules, last to first, from the given gradients of outputs.
    pub fn backward(self, seeds: &[(&Var, Tensor)]) -> Result<Grads> {
        let mut grads = Grads::new(&self.device, self.next_id, self.check_finite);
        for (id, gradient, mode) in self.bound {
            grads.bind(id, gradient, mode);
        }
        for (var, gradient) in seeds {
            if let Some(id) = var.id
                && !grads.share(id, gradient)
            {
                return Err(Error::invalid("backward: two gradients for one output"));
            }
        }
        run(self.rules, &mut grads)?;
        grads.zero_untouched()?;
        Ok(grads)
    }

    fn fresh(&mut self) -> VarId {
        self.next_id += 1;
        VarId(self.next_id - 1)
    }
}

fn run(rules: Vec<(&'static str, Box<dyn Rule>)>, grads: &mut Grads) -> Result<()> {
    let device = grads.device().clone();
    let was_backward = device.set_backward(true);
    let result = rules.into_iter().rev().try_for_each(|(op, rule)| {
        let _range = device.range(op);
        grads.current_op = op;
        rule.backward(grads)
    });
    device.set_backward(was_backward);
    result
}

fn expect_finite(op: &str, what: &str, tensor: &Tensor) -> Result<()> {
    let finite = match tensor.dtype() {
        DType::F32 => tensor.read::<f32>()?.iter().all(|x| x.is_finite()),
        DType::Bf16 => tensor.read::<crate::dtype::bf16>()?.iter().all(|x| x.is_finite()),
        DType::I32 | DType::U8 => true,
    };
    match finite {
        true => Ok(()),
        false => Err(Error::invalid(format!("{op}: {what} {} is not finite", tensor.shape()))),
    }
}
