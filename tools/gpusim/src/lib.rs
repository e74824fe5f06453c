//! A GPU on paper: executes PTX on the CPU and reports what a real card would do silently wrong.
//!
//! [`ptx`] turns text into a flat program and refuses what it does not know; [`exec`] runs it warp by
//! warp over [`memory`], whose shadow knows which bytes exist and hold data; [`check`] orders accesses
//! of threads by barriers and finds races; [`report`] collects findings and counters.
//! It says nothing about speed, and models no weak memory between blocks.

pub mod blaslt;
pub mod check;
pub mod driver;
pub mod exec;
pub mod memory;
pub mod nccl;
pub mod ptx;
pub mod report;
