//! The binary in a fresh folder: configuration, runs, resuming, damage, signals, full disks.

mod config;
mod cuda;
mod damage;
mod distill;
mod import;
mod lab;
mod places;
mod resume;
mod runs;
