//! `hrm`: a training engine for the Hierarchical Reasoning Model (HRM) and its relatives.
//!
//! Import rule (held by `tests/layout.rs`); `a <- b` means that b may use a:
//!
//! ```text
//! error dtype shape rng <- backend <- tensor <- tape <- ops <- nn <- models
//! error                 <- io config track
//! models                <- formats
//! error shape rng io formats <- data             (data never sees a tensor or a device)
//! backend               <- cost
//! models data config track formats io <- run     (what a run is on disk)
//! models data formats io run <- eval             (never imports train)
//! run eval              <- train import
//! track run             <- watch
//! config models data eval run train <- solve     (train in fit.rs only: fine-tuning)
//! models data eval solve <- serve                (never imports run or train)
//! all                   <- cli <- main
//! ```
//!
//! Dimension letters: `B` batch, `T` positions (puzzle prefix + cells), `S` cells, `P` puzzle
//! prefix (`T = P + S`), `C` width, `NH` heads, `HD` head width, `F` MLP inner width,
//! `V` vocabulary, `NP` puzzle ids, `NL` layers, `N = B*T` rows. `H` and `L` alone are the two
//! reasoning levels and never mean heads or layers.

#![deny(clippy::print_stdout, clippy::print_stderr)] // they panic where nobody reads any more

pub mod backend;
pub mod cli;
pub mod config;
pub mod cost;
pub mod data;
pub mod dtype;
pub mod error;
pub mod eval;
pub mod formats;
pub mod import;
pub mod io;
pub mod models;
pub mod nn;
pub mod ops;
pub mod rng;
pub mod run;
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
