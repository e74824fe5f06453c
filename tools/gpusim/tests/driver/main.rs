//! An ordinary cudarc program, run on the simulator: what is right stays clean, what is wrong is
//! found.
#![allow(unsafe_code)]

#[path = "../common/mod.rs"]
mod common;

mod blaslt;
mod graphs;
mod hosts;
mod launches;
mod memory;
mod nccl;
mod parts;
mod programs;
mod streams;
mod wrapper;
