//! Sizes and shares that several models refuse in the same words.

use std::fmt::Display;

use super::io::PosEncodings;
use crate::{Error, Result};

/// `model.key=value`, and why not.
pub fn refuse<T>(key: &str, value: impl Display, why: &str) -> Result<T> {
    Err(Error::invalid(format!("model.{key}={value} {why}")))
}

pub fn positive(sizes: &[(&str, usize)]) -> Result<()> {
    for &(key, n) in sizes {
        match n {
            0 => return refuse(key, n, "must be at least 1"),
            n if n >= 1 << 31 => return refuse(key, n, "is absurdly large"),
            _ => {}
        }
    }
    Ok(())
}

/// Heads of a whole width that attention has kernels for.
pub fn heads(hidden_size: usize, num_heads: usize) -> Result<()> {
    match hidden_size.is_multiple_of(4 * num_heads) {
        true => Ok(()),
        false => Err(Error::invalid(format!(
            "model.hidden_size={hidden_size} does not divide into model.num_heads={num_heads} heads \
             whose width is a multiple of 4"
        ))),
    }
}

/// A stack of `layers` of one width that attend by heads, each followed by an MLP of `mlp_width`,
/// with dropout.
pub fn layers(
    layers: usize,
    hidden_size: usize,
    num_heads: usize,
    (expansion, mlp_width): (f64, usize),
    dropped: f64,
) -> Result<()> {
    self::expansion(expansion)?;
    positive(&[
        ("hidden_size", hidden_size),
        ("num_heads", num_heads),
        ("h_layers", layers),
        ("expansion * hidden_size", mlp_width),
    ])?;
    heads(hidden_size, num_heads)?;
    // Sites of dropout are numbered below 2^24.
    if layers > 1 << 20 {
        return refuse("h_layers", layers, "is absurdly large");
    }
    dropout(dropped)
}

pub fn deviation(key: &str, sigma: f64) -> Result<()> {
    match sigma.is_finite() && sigma >= 0.0 {
        true => Ok(()),
        false => refuse(key, sigma, "must be 0 or more, and finite"),
    }
}

pub fn probability(key: &str, p: f64) -> Result<()> {
    match (0.0..=1.0).contains(&p) {
        true => Ok(()),
        false => refuse(key, p, "must be between 0 and 1"),
    }
}

pub fn dropout(p: f64) -> Result<()> {
    match (0.0..1.0).contains(&p) {
        true => Ok(()),
        false => refuse("dropout", p, "must be at least 0 and below 1"),
    }
}

pub fn expansion(x: f64) -> Result<()> {
    match x {
        x if x > 0.0 && x <= 64.0 => Ok(()),
        x if !x.is_finite() => refuse("expansion", x, "must be a finite number"),
        x if x > 64.0 => refuse("expansion", x, "is above 64"),
        x => refuse("expansion", x, "must be positive"),
    }
}

/// Positions of a model that mixes them by attention.
pub fn seen_positions(pos: PosEncodings) -> Result<()> {
    match pos {
        PosEncodings::Rope | PosEncodings::Learned => Ok(()),
        PosEncodings::None => refuse(
            "pos_encodings",
            "none",
            "must be rope or learned: attention alone does not see positions",
        ),
    }
}
