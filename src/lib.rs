//! A training engine for the Hierarchical Reasoning Model (HRM) and its relatives: data sets,
//! autodiff, models, training, evaluation and serving, on CPUs and NVIDIA cards.
//!
//! A trained model is one value, which answers tasks:
//!
//! ```no_run
//! use hrm::{backend::Device, data::task::Task, run::trained::Trained, solve};
//! use std::path::Path;
//!
//! # fn main() -> hrm::Result<()> {
//! let trained = Trained::open(Path::new("runs/arc-small-1"))?;
//! let data = trained.data(None)?;
//! let mut solver = solve::Solver::new(trained, Some(data), &Device::cpu())?;
//! let task = Task::read(Path::new("task.json"))?;
//! let outcome = solver.solve(&task, &solve::Options::default(), |_| None)?;
//! println!("{:?}", outcome.tests[0].attempts);
//! # Ok(())
//! # }
//! ```
//!
//! Below it are a tape and ops that anything can be computed with:
//!
//! ```
//! use hrm::backend::{Device, Purpose};
//! use hrm::{ops::pointwise::relu, tape::Tape, tensor::Tensor};
//!
//! # fn main() -> hrm::Result<()> {
//! let device = Device::cpu();
//! let of = |values: &[f32]| Tensor::from_slice(&device, values, [3], Purpose::Activations);
//! let mut tape = Tape::new(&device);
//! let x = tape.leaf(of(&[-1.0, 0.5, 2.0])?);
//! let y = relu::forward(&mut tape, &x)?;
//! assert_eq!(y.tensor.to_f32s()?, [0.0, 0.5, 2.0]);
//! let grads = tape.backward(&[(&y, of(&[1.0, 1.0, 1.0])?)])?;
//! assert_eq!(grads.get(x.id).unwrap().to_f32s()?, [0.0, 1.0, 1.0]);
//! # Ok(())
//! # }
//! ```
//!
//! `examples/` trains, evaluates, solves a task, adds an op and a model. Features: `serve` (HTTP)
//! and `watch` (the dashboard), on by default; `cuda`, the backend for NVIDIA cards.
//!
//! # Map
//!
//! Import rule (held by `tests/layout.rs`); `a <- b` means that b may use a:
//!
//! ```text
//! error dtype shape rng lengths sequence <- backend <- tensor <- tape <- ops
//! ops                   <- nn <- formats <- models
//! error                 <- io track
//! error shape rng lengths sequence io formats <- data     (data never sees a tensor or a device)
//! backend models nn ops data <- config
//! backend               <- cost
//! models data config track formats io <- run     (what a run is on disk)
//! models data formats io run <- eval             (never imports train)
//! run eval              <- train import
//! io track run          <- watch
//! config models data eval run train <- solve     (train in fit.rs only: fine-tuning)
//! models data eval solve <- serve                (never imports run or train)
//! all                   <- cli <- main
//! ```
//!
//! Dimension letters: `B` batch, `T` positions (puzzle prefix + cells), `S` cells, `P` puzzle
//! prefix (`T = P + S`), `C` width, `NH` heads, `HD` head width, `F` MLP inner width,
//! `V` vocabulary, `NP` puzzle ids, `NL` layers, `N` positions of a batch (`B*T` where rows are
//! padded), `R` rows in slots of an [`ops::layout::Layout`]. `H` and `L` alone are the two
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
pub mod lengths;
pub mod models;
pub mod nn;
pub mod ops;
pub mod rng;
pub mod run;
pub mod sequence;
#[cfg(feature = "serve")]
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
