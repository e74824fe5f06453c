//! Parameters in flat storage: one buffer per role (f32 master, working copy, gradient), named
//! views.
//!
//! An optimizer step, a norm, a checkpoint are each one pass over a buffer. Every parameter starts
//! on a multiple of `ALIGN_ELEMS`; the gaps hold zeros and stay zero.

use std::collections::HashMap;

use super::init::Init;
use crate::backend::{Device, Purpose};
use crate::dtype::DType;
use crate::ops::cast;
use crate::shape::Shape;
use crate::tape::{Mode, Tape, Var};
use crate::tensor::Tensor;
use crate::{Error, Result};

const ALIGN_ELEMS: usize = 64;

/// A parameter before it has memory.
#[derive(Clone, Debug)]
pub struct Spec {
    pub name: String,
    pub shape: Shape,
    pub init: Init,
    pub role: Role,
}

/// What a parameter is to NorMuon; Adam's rules treat all alike.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Role {
    /// A matrix between hidden states, which is orthogonalised: of `blocks` matrices of one shape,
    /// one below the other, with a share of the weight decay.
    Hidden { blocks: usize, decay_share: f64 },
    /// A head: AdamW.
    Decayed,
    /// An embedding, a bias, a gain: AdamW without weight decay.
    Undecayed,
    /// Embeddings of tasks, likewise: what learns of a new task where weights are frozen.
    Tasks,
}

/// Share of the weight decay that matrices of attention have.
pub const ATTENTION_DECAY: f64 = 0.1;

impl Spec {
    pub fn new(name: impl Into<String>, shape: impl Into<Shape>, init: Init) -> Self {
        let shape = shape.into();
        let role = if shape.dims().len() > 1 { Role::Decayed } else { Role::Undecayed };
        Self { name: name.into(), shape, init, role }
    }

    /// A matrix between hidden states; see [`Role::Hidden`].
    pub fn hidden(self, blocks: usize, decay_share: f64) -> Self {
        Self { role: Role::Hidden { blocks, decay_share }, ..self }
    }

    /// A table of which a row is looked up.
    pub fn embedding(self) -> Self {
        Self { role: Role::Undecayed, ..self }
    }

    /// A table with a row for each task; see [`Role::Tasks`].
    pub fn of_tasks(self) -> Self {
        Self { role: Role::Tasks, ..self }
    }
}

pub struct Params {
    entries: Vec<Entry>,
    by_name: HashMap<String, usize>,
    /// f32, flat.
    pub master: Tensor,
    /// What forward reads: the master itself in f32, a rounded copy in bf16.
    pub work: Tensor,
    /// f32, flat.
    pub grad: Tensor,
}

/// A parameter's place in flat storage.
pub struct Entry {
    pub name: String,
    pub shape: Shape,
    pub start: usize,
    pub role: Role,
    /// It keeps its values, and its gradient stays 0.
    pub is_frozen: bool,
}

impl Params {
    /// Memory for all of `specs`, filled from `seed`. `dtype` is what forward computes in.
    pub fn new(device: &Device, specs: &[Spec], dtype: DType, seed: u64) -> Result<Self> {
        let mut entries = vec![];
        let mut by_name = HashMap::new();
        let mut start = 0;
        for spec in specs {
            by_name.insert(spec.name.clone(), entries.len());
            let Spec { name, shape, role, .. } = spec.clone();
            entries.push(Entry { name, shape, start, role, is_frozen: false });
            start += spec.shape.elems().next_multiple_of(ALIGN_ELEMS);
        }
        let flat = |dtype, purpose| Tensor::zeros(device, dtype, [start], purpose);
        let master = flat(DType::F32, Purpose::Weights)?;
        let work = match dtype {
            DType::F32 => master.clone(),
            _ => flat(dtype, Purpose::Weights)?,
        };
        let params =
            Self { entries, by_name, master, work, grad: flat(DType::F32, Purpose::Gradients)? };
        if !device.is_shape_only() {
            for (i, spec) in specs.iter().enumerate() {
                let values = spec.init.values(spec.shape.elems(), seed, i as u64);
                params.view(&params.master, i)?.upload(&values)?;
            }
        }
        params.refresh()?;
        Ok(params)
    }

    /// Keep the values of all but embeddings of tasks.
    pub fn frozen(mut self, frozen: bool) -> Self {
        for entry in &mut self.entries {
            entry.is_frozen = frozen && entry.role != Role::Tasks;
        }
        self
    }

    /// Recompute the working copy after the master changed.
    pub fn refresh(&self) -> Result<()> {
        self.rounded().map_or(Ok(()), |copy| cast::from_f32(&self.master, copy))
    }

    /// The rounded copy, where forward does not read the master itself.
    pub fn rounded(&self) -> Option<&Tensor> {
        (self.work.dtype() != DType::F32).then_some(&self.work)
    }

    /// Exchange the master's content with another flat buffer's (averaged weights, for the time of
    /// an evaluation).
    pub fn swap_master(&self, flat: &Tensor) -> Result<()> {
        self.master.swap_content(flat)?;
        self.refresh()
    }

    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.entries.iter().map(|e| e.name.as_str())
    }

    /// All parameters in the order of flat storage.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// Trainable numbers, gaps not counted.
    pub fn elems(&self) -> usize {
        self.entries.iter().map(|e| e.shape.elems()).sum()
    }

    /// The part of a flat buffer (master, grad, a moment, ...) that belongs to `name`.
    pub fn part(&self, flat: &Tensor, name: &str) -> Result<Tensor> {
        self.view(flat, self.index(name)?)
    }

    /// All parameters as variables whose gradients go to `grad`, set or added to; frozen ones are
    /// constants.
    pub fn bind(&self, tape: &mut Tape, mode: Mode) -> Result<Bound> {
        let var = |i: usize| {
            let work = self.view(&self.work, i)?;
            Ok(match self.entries[i].is_frozen {
                true => Var::constant(work),
                false => tape.bind(work, self.view(&self.grad, i)?, mode),
            })
        };
        let vars = (0..self.entries.len()).map(var).collect::<Result<_>>()?;
        Ok(self.bound(vars))
    }

    /// All parameters as constants: inference.
    pub fn constants(&self) -> Result<Bound> {
        let vars = (0..self.entries.len())
            .map(|i| Ok(Var::constant(self.view(&self.work, i)?)))
            .collect::<Result<_>>()?;
        Ok(self.bound(vars))
    }

    fn bound(&self, vars: Vec<Var>) -> Bound {
        Bound { by_name: self.by_name.clone(), vars }
    }

    fn view(&self, flat: &Tensor, i: usize) -> Result<Tensor> {
        flat.view(self.entries[i].start, self.entries[i].shape)
    }

    fn index(&self, name: &str) -> Result<usize> {
        lookup(&self.by_name, name)
    }
}

/// A model's parameters as variables of one step.
pub struct Bound {
    by_name: HashMap<String, usize>,
    vars: Vec<Var>,
}

impl Bound {
    /// The variable, where the model has such a parameter.
    pub fn find(&self, name: &str) -> Option<Var> {
        self.by_name.get(name).map(|&i| self.vars[i].clone())
    }

    pub fn get(&self, name: &str) -> Result<Var> {
        Ok(self.vars[lookup(&self.by_name, name)?].clone())
    }
}

fn lookup(by_name: &HashMap<String, usize>, name: &str) -> Result<usize> {
    by_name.get(name).copied().ok_or_else(|| Error::invalid(format!("no parameter named {name}")))
}
