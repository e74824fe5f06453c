//! An ordinary cudarc program, run on the simulator: what is right stays clean, what is wrong is
//! found.
#![allow(unsafe_code)]

#[path = "../common/mod.rs"]
mod common;

mod memory;
mod streams;
