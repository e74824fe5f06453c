//! Bugs in host code. Each is a scene that is played right, or with the bug: through the engine's
//! interface, or through the driver's where the engine leaves no room for the bug.

mod engine;
mod raw;

use hrm::Result;
use hrm::backend::Device;

use crate::mutation::Caught;

/// A scene, and what its bug must be found as.
pub struct Scene {
    pub name: &'static str,
    pub play: fn(&Device, Planted) -> Result<()>,
    pub caught: Caught,
}

/// Whether the bug is in.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Planted {
    No,
    Yes,
}

pub const LISTS: [&[Scene]; 2] = [engine::SCENES, raw::SCENES];

/// The kernel files that scenes load by themselves.
pub const MODULES: [&str; 2] = ["add", "attention_any"];
