//! `libcuda.so`: the driver API over the simulated card.
//!
//! Exported is what is modelled; a missing symbol is better than one that says yes. Asynchronous
//! work is deferred and run in an order drawn from a seed ([`queue`]), so that a missing wait
//! shows. Each file holds one topic of the API; [`state`] is the gate that every call passes.
#![allow(unsafe_code, non_snake_case, clippy::not_unsafe_ptr_arg_deref)]

mod annotate;
mod capture;
mod context;
mod copy;
mod device;
mod error;
mod event;
mod exit;
mod function;
mod gpu;
mod graph;
mod host;
mod launch;
mod memory;
mod module;
mod occupancy;
mod options;
mod probe;
mod queue;
mod state;
mod stream;
mod transfer;

pub(crate) use copy::OnDevice;
pub(crate) use error::CuError;
pub(crate) use gpu::Gpu;
pub(crate) use queue::{Accesses, NodeKind, Work};
pub(crate) use state::{Driver, enter_as, out};
