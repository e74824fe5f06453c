//! A launch: its limits, as the driver checks them, and its execution.

use super::Session;
use crate::memory::DeviceMemory;
use crate::ptx::Kernel;
use std::sync::Arc;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LaunchConfig {
    pub grid: [u32; 3],
    pub block: [u32; 3],
    pub dynamic_shared_bytes: u32,
    /// `CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES` as set by the host; 48 KiB less the static
    /// part when it never was (`None`).
    pub max_dynamic_shared_bytes: Option<u32>,
    /// The parameter block, each parameter at its offset.
    pub params: Vec<u8>,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LaunchError {
    /// `CUDA_ERROR_INVALID_VALUE`.
    #[error("{0}")]
    InvalidValue(String),
    /// `CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES`.
    #[error("{0}")]
    OutOfResources(String),
    /// The kernel stopped at a trap, an assertion, or an access no card survives.
    #[error("{0}")]
    Failed(String),
}

/// The checks that a driver makes before a launch.
pub fn check_launch(_kernel: &Kernel, _config: &LaunchConfig) -> Result<(), LaunchError> {
    unimplemented!("interface first")
}

/// Checks and executes one launch. Findings and counters go to the session; an error means that a
/// card would have refused the launch or stopped the kernel.
pub fn run(
    _kernel: &Arc<Kernel>,
    _config: &LaunchConfig,
    _memory: &mut DeviceMemory,
    _session: &mut Session,
) -> Result<(), LaunchError> {
    unimplemented!("interface first")
}
