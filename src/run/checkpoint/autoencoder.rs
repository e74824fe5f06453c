//! Student or teacher in a checkpoint of `hrm distill`, without what only training needs.

use super::Reader;
use super::weights::{Weights, with_meta};
use crate::formats::{HostTensor, StateDict};
use crate::models::tiny_vae::PROJECTOR;
use crate::{Error, Result};

/// What stands before the names of tensors that only training needs.
const TRAINING: &[&str] = &["exp_avg.", "exp_avg_sq.", AVERAGED, PROJECTOR];
const AVERAGED: &str = "ema.";

/// Which of the two.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, clap::ValueEnum)]
pub enum Side {
    #[default]
    Student,
    Teacher,
}

impl Side {
    fn prefix(self) -> &'static str {
        match self {
            Side::Student => "student.",
            Side::Teacher => "teacher.",
        }
    }
}

/// Parameters and buffers under the names of the PyTorch modules; f32. `weights`: averaged where the run
/// kept them unless others are asked for. The choice comes back.
pub fn autoencoder(
    reader: &Reader,
    side: Side,
    weights: Option<Weights>,
) -> Result<(StateDict, Weights)> {
    let prefix = side.prefix();
    let find = |name: &str| reader.entries().iter().find(|e| e.name == name);
    let names = reader.entries().iter().filter_map(|e| e.name.strip_prefix(prefix));
    let has_average = names.clone().any(|name| name.starts_with(AVERAGED));
    let chosen = match (weights, has_average) {
        (Some(Weights::Averaged), false) => {
            let what = "has no averaged weights (train.ema was 0): take the trained ones";
            return Err(Error::corrupt(reader.path(), what));
        }
        (Some(chosen), _) => chosen,
        (None, true) => Weights::Averaged,
        (None, false) => Weights::Trained,
    };
    let mut tensors = vec![];
    for name in names.filter(|name| !TRAINING.iter().any(|role| name.starts_with(role))) {
        let averaged = find(&format!("{prefix}{AVERAGED}{name}"));
        let trained = find(&format!("{prefix}{name}"));
        let entry = averaged.filter(|_| chosen == Weights::Averaged).or(trained);
        let Some(entry) = entry else { continue };
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
    Ok((with_meta(reader, tensors)?, chosen))
}
