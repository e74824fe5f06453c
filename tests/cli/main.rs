//! The binary in a fresh folder: configuration, runs, resuming, damage, signals, full disks.

mod bench;
mod config;
mod cuda;
mod damage;
mod distill;
mod import;
mod init;
mod lab;
mod places;
mod resume;
mod runs;
mod threads;
