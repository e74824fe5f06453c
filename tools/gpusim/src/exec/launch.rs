//! A launch: its limits, as the driver checks them, and its execution.

use super::block::{self, Order};
use super::class;
use super::core::Core;
use super::warp::{Place, SMS, Warp};
use super::{Session, Touched};
use crate::memory::{BASE, DeviceMemory};
use crate::ptx::Kernel;
use crate::report::{Counters, Finding, Kind};
use std::sync::Arc;

/// Shared memory of a block without the opt-in, and with it (compute capability 8.6 and 8.9).
pub const DEFAULT_SHARED_BYTES: u32 = 48 << 10;
pub const OPT_IN_SHARED_BYTES: u32 = 99 << 10;
/// Parameters of a kernel.
pub const MAX_PARAM_BYTES: u32 = 4096;
const MAX_GRID: [u32; 3] = [i32::MAX as u32, 65_535, 65_535];
const MAX_BLOCK: [u32; 3] = [1024, 1024, 64];
const MAX_THREADS: u32 = 1024;

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
    /// The kernel stopped at a trap, an assertion, a deadlock or its instruction budget.
    #[error("{0}")]
    Failed(String),
}

/// The checks that a driver makes before a launch.
pub fn check_launch(kernel: &Kernel, config: &LaunchConfig) -> Result<(), LaunchError> {
    let name = &kernel.name;
    let invalid = |text: String| Err(LaunchError::InvalidValue(format!("{name}: {text}")));
    let LaunchConfig { grid, block, .. } = config;
    for (what, shape, most) in [("grid", grid, MAX_GRID), ("block", block, MAX_BLOCK)] {
        if shape.iter().zip(most).any(|(&n, most)| n == 0 || n > most) {
            return invalid(format!("{what} {shape:?} is outside 1..={most:?}"));
        }
    }
    let threads: u32 = block.iter().product();
    if threads > MAX_THREADS || threads > kernel.max_threads {
        let most = kernel.max_threads.min(MAX_THREADS);
        return invalid(format!("block of {threads} threads, at most {most}"));
    }
    if let Some(required) = kernel.required_block
        && required != *block
    {
        return invalid(format!("block {block:?}, but the kernel demands {required:?}"));
    }
    if config.params.len() != kernel.param_bytes as usize {
        let (given, wanted) = (config.params.len(), kernel.param_bytes);
        return invalid(format!("{given} bytes of parameters, {wanted} expected"));
    }
    if kernel.param_bytes > MAX_PARAM_BYTES {
        return invalid(format!("{} bytes of parameters", kernel.param_bytes));
    }
    let fixed = kernel.static_shared_bytes;
    let most =
        config.max_dynamic_shared_bytes.unwrap_or(DEFAULT_SHARED_BYTES.saturating_sub(fixed));
    let dynamic = config.dynamic_shared_bytes;
    if dynamic > most {
        return invalid(format!(
            "{dynamic} bytes of dynamic shared memory, at most {most} declared"
        ));
    }
    if dynamic.saturating_add(fixed) > OPT_IN_SHARED_BYTES {
        return Err(LaunchError::OutOfResources(format!(
            "{name}: {dynamic} dynamic and {fixed} static bytes of shared memory, at most {OPT_IN_SHARED_BYTES}"
        )));
    }
    Ok(())
}

/// Checks and executes one launch. Findings and counters go to the session; an error means that a
/// card would have refused the launch or stopped the kernel.
pub fn run(
    kernel: &Arc<Kernel>,
    config: &LaunchConfig,
    memory: &mut DeviceMemory,
    session: &mut Session,
) -> Result<(), LaunchError> {
    if let Err(e) = check_launch(kernel, config) {
        session.findings.add(Finding::new(Kind::Launch, &kernel.name, e.to_string()));
        return Err(e);
    }
    session.launches += 1;
    let seed = session.seed ^ session.launches.wrapping_mul(0xa076_1d64_78bd_642f);
    let mut order = Order::new(seed);
    let grid_id = session.launches;
    let mut core = Core::new(kernel, config, memory, session);
    let threads: u32 = config.block.iter().product();
    let mut warps: Vec<Warp> =
        (0..threads.div_ceil(32) as usize).map(|w| Warp::new(&kernel.program, w)).collect();
    let [x, y, z] = config.grid.map(u64::from);
    for block in order.permutation(x * y * z) {
        let block_id = [block % x, block / x % y, block / (x * y)].map(|n| n as u32);
        let place = Place {
            grid: config.grid,
            block: config.block,
            block_id,
            dynamic_shared_bytes: config.dynamic_shared_bytes,
            total_shared_bytes: config.dynamic_shared_bytes + kernel.static_shared_bytes,
            grid_id,
            sm: (block % u64::from(SMS)) as u32,
        };
        block::run(&mut core, &mut warps, place, &mut order);
        core.tally.counters.blocks += 1;
        core.tally.counters.warps += warps.len() as u64;
        if core.stopped.is_some() {
            break;
        }
    }
    let stopped = core.stopped.take();
    let counters = totals(&core);
    let trace = &mut core.memory.trace;
    let touched = Touched { reads: trace.reads.take(BASE), writes: trace.writes.take(BASE) };
    merge(session.counters.entry(kernel.name.clone()).or_default(), &counters);
    session.touched = touched;
    stopped.map_or(Ok(()), |why| Err(LaunchError::Failed(format!("{}: {why}", kernel.name))))
}

/// Counts by class from counts by place.
fn totals(core: &Core<'_>) -> Counters {
    let mut c = core.tally.counters.clone();
    c.launches = 1;
    c.shared_bytes_per_block =
        u64::from(core.kernel.static_shared_bytes + core.config.dynamic_shared_bytes);
    c.threads_per_block = u64::from(core.config.block.iter().product::<u32>());
    let code = core.program.code.iter();
    for ((i, &issued), &lanes) in code.zip(&core.tally.issued).zip(&core.tally.lanes) {
        if issued > 0 {
            let (class, flops) = class::of(i);
            c.warp_instructions += issued;
            *c.by_class.entry(class).or_default() += issued;
            c.other_flops += flops * lanes;
        }
    }
    c
}

fn merge(sum: &mut Counters, one: &Counters) {
    sum.launches += one.launches;
    sum.blocks += one.blocks;
    sum.warps += one.warps;
    sum.warp_instructions += one.warp_instructions;
    for (class, n) in &one.by_class {
        *sum.by_class.entry(class).or_default() += n;
    }
    sum.sectors_read += one.sectors_read;
    sum.sectors_written += one.sectors_written;
    sum.unique_sectors_read += one.unique_sectors_read;
    sum.unique_sectors_written += one.unique_sectors_written;
    sum.bytes_read += one.bytes_read;
    sum.bytes_written += one.bytes_written;
    sum.bank_conflicts += one.bank_conflicts;
    sum.shared_passes += one.shared_passes;
    sum.mma_flops += one.mma_flops;
    sum.other_flops += one.other_flops;
    sum.shared_bytes_per_block = sum.shared_bytes_per_block.max(one.shared_bytes_per_block);
    sum.threads_per_block = sum.threads_per_block.max(one.threads_per_block);
}
