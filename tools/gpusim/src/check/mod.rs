//! Who touched which word when, and whether a barrier lies between.
//!
//! [`clock`] knows which earlier moments of a block are ordered before the present of a warp; [`race`]
//! keeps the last accesses of every 32-bit word as stamps of thread and moment, and compares;
//! [`handover`] knows which blocks of a launch passed their work on to which.

pub mod clock;
pub mod handover;
pub mod race;
