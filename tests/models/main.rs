//! Models against the goldens of the official implementations.

#[path = "../common/mod.rs"]
mod common;

mod engine;
mod hrm;
mod hrm_optim;
mod memory;
mod optim_unit;
