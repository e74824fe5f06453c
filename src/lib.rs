//! `hrm`: a training engine for the Hierarchical Reasoning Model (HRM) and its relatives.
//!
//! Import rule (held by `tests/layout.rs`); `a <- b` means that b may use a:
//!
//! ```text
//! error dtype shape rng <- backend <- tensor <- tape <- ops <- nn <- models
//! (nothing)             <- pickle
//! error shape rng pickle <- data                 (data never sees a tensor or a device)
//! models pickle         <- interchange
//! models data           <- eval                  (never imports train)
//! error                 <- config track
//! backend               <- predict
//! models data eval config track interchange <- train
//! track train           <- watch
//! config models data eval train <- solve
//! models data eval solve <- serve                (never imports train)
//! all                   <- cli <- main
//! ```
//!
//! Dimension letters: `B` batch, `T` positions (puzzle prefix + cells), `S` cells, `P` puzzle
//! prefix (`T = P + S`), `C` width, `NH` heads, `HD` head width, `F` MLP inner width,
//! `V` vocabulary, `NP` puzzle ids, `NL` layers, `N = B*T` rows. `H` and `L` alone are the two
//! reasoning levels and never mean heads or layers.

pub mod backend;
pub mod cli;
pub mod config;
pub mod data;
pub mod dtype;
pub mod error;
pub mod eval;
pub mod interchange;
pub mod models;
pub mod nn;
pub mod ops;
pub mod pickle;
pub mod predict;
pub mod rng;
pub mod serve;
pub mod shape;
pub mod solve;
pub mod tape;
pub mod tensor;
pub mod track;
pub mod train;
pub mod watch;

pub use error::{Error, Result};

/// Program and version, as written into files.
pub const PROGRAM: &str = concat!("hrm ", env!("CARGO_PKG_VERSION"));
