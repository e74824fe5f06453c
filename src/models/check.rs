//! Sizes and shares that several models refuse in the same words.

use crate::{Error, Result};

pub fn positive(sizes: &[(&str, usize)]) -> Result<()> {
    match sizes.iter().find(|(_, n)| *n == 0) {
        Some((name, _)) => Err(Error::invalid(format!("model.{name} is 0; it must be at least 1"))),
        None => Ok(()),
    }
}

/// Heads of a whole width that attention has kernels for.
pub fn heads(hidden_size: usize, num_heads: usize) -> Result<()> {
    let width = hidden_size / num_heads;
    if hidden_size.is_multiple_of(num_heads) && width.is_multiple_of(4) {
        return Ok(());
    }
    Err(Error::invalid(format!(
        "model.hidden_size={hidden_size} over model.num_heads={num_heads} gives heads of width {}; \
         the width must be a whole multiple of 4",
        hidden_size as f64 / num_heads as f64
    )))
}

pub fn probability(name: &str, p: f64) -> Result<()> {
    match (0.0..=1.0).contains(&p) {
        true => Ok(()),
        false => Err(Error::invalid(format!("model.{name}={p} is not a probability"))),
    }
}

pub fn expansion(x: f64) -> Result<()> {
    match x > 0.0 && x <= 64.0 {
        true => Ok(()),
        false => Err(Error::invalid(format!("model.expansion={x} is not in (0, 64]"))),
    }
}
