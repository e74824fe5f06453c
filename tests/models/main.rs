//! Models against the goldens of the official implementations.

#[path = "../common/mod.rs"]
mod common;

mod distill;
mod engine;
mod grid_golden;
mod grid_lm;
mod hrm;
mod memory;
mod noise;
mod normuon;
mod optim;
mod optim_unit;
mod own;
mod packed;
mod schedule;
mod seed_hrm;
mod segments;
mod tiny_vae_pro;
mod transformer;
mod trm;
mod vae;
