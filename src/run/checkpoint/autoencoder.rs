//! Student or teacher in a checkpoint of `hrm distill`, without what only training needs.

use super::weights::with_meta;
use super::{Reader, role};
use crate::formats::{HostTensor, StateDict};
use crate::models::tiny_vae::PROJECTOR;
use crate::{Error, Result};

/// Which of the two models of `hrm distill`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, clap::ValueEnum)]
pub enum Side {
    #[default]
    Student,
    Teacher,
}

impl Side {
    /// What stands before its tensors, and a dot.
    pub fn name(self) -> &'static str {
        match self {
            Side::Student => "student",
            Side::Teacher => "teacher",
        }
    }
}

/// Parameters and buffers under the names of the PyTorch modules; f32.
pub fn autoencoder(reader: &Reader, side: Side) -> Result<StateDict> {
    let mut tensors = vec![];
    for entry in reader.entries() {
        let name = entry.name.strip_prefix(side.name()).and_then(|rest| rest.strip_prefix('.'));
        let Some(name) = name else { continue };
        if role::is_of_training(name) || name.starts_with(PROJECTOR) {
            continue;
        }
        let bytes = reader.tensor_bytes(&entry.name)?;
        tensors
            .push((name.to_owned(), HostTensor { dtype: entry.dtype, shape: entry.shape, bytes }));
    }
    if tensors.is_empty() {
        let what = match side {
            Side::Student => "has no student: no checkpoint of hrm distill",
            Side::Teacher => "has no teacher (model.teacher was none)",
        };
        return Err(Error::corrupt(reader.path(), what));
    }
    with_meta(reader, tensors)
}
