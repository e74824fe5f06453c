//! Occupancy: blocks of a function that fit one multiprocessor, by threads, shared memory and
//! estimated registers.

use std::ffi::{c_int, c_uint};

use super::device::limits;
use super::error::{CuError, Result, Status};
use super::module::Function;
use super::state::{enter, out};

type SharedOfBlock = Option<unsafe extern "C" fn(c_int) -> usize>;

/// Shared memory of a block as the multiprocessor sets it aside.
fn shared_footprint(function: &Function, dynamic: usize) -> u64 {
    const GRANULE: u64 = 128;
    let asked = u64::from(function.kernel.static_shared_bytes) + dynamic as u64;
    asked.next_multiple_of(GRANULE) + u64::from(limits::SHARED_RESERVED)
}

fn blocks_per_sm(function: &Function, threads: u32, dynamic_shared: usize) -> u32 {
    if threads == 0 || threads > function.kernel.max_threads {
        return 0;
    }
    let warps = threads.div_ceil(32);
    // Registers are given to a warp in units of 256.
    let registers = (function.kernel.registers.max(1) * 32).next_multiple_of(256) * warps;
    let by_shared = u64::from(limits::SHARED_PER_SM) / shared_footprint(function, dynamic_shared);
    (limits::THREADS_PER_SM / (warps * 32))
        .min(limits::BLOCKS_PER_SM)
        .min(limits::REGISTERS / registers)
        .min(by_shared as u32)
}

fn threads(block: c_int) -> Result<u32> {
    u32::try_from(block).ok().filter(|&threads| threads > 0).ok_or(CuError::INVALID_VALUE)
}

#[unsafe(no_mangle)]
pub extern "C" fn cuOccupancyMaxActiveBlocksPerMultiprocessor(
    blocks: *mut c_int,
    function: usize,
    block: c_int,
    dynamic_shared: usize,
) -> Status {
    cuOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(blocks, function, block, dynamic_shared, 0)
}

#[unsafe(no_mangle)]
pub extern "C" fn cuOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(
    blocks: *mut c_int,
    function: usize,
    block: c_int,
    dynamic_shared: usize,
    flags: c_uint,
) -> Status {
    enter("cuOccupancyMaxActiveBlocksPerMultiprocessor", |driver| {
        // The one flag turns a caching override off; caches do not count here.
        if flags > 1 {
            return Err(CuError::INVALID_VALUE);
        }
        let function = driver.function("cuOccupancyMaxActiveBlocksPerMultiprocessor", function)?;
        out(blocks, blocks_per_sm(function, threads(block)?, dynamic_shared) as c_int)
    })
}

#[unsafe(no_mangle)]
pub extern "C" fn cuOccupancyAvailableDynamicSMemPerBlock(
    bytes: *mut usize,
    function: usize,
    blocks: c_int,
    block: c_int,
) -> Status {
    enter("cuOccupancyAvailableDynamicSMemPerBlock", |driver| {
        let function = driver.function("cuOccupancyAvailableDynamicSMemPerBlock", function)?;
        let (blocks, block) = (threads(blocks)?, threads(block)?);
        if blocks_per_sm(function, block, 0) < blocks {
            return Err(CuError::INVALID_VALUE);
        }
        let each = (limits::SHARED_PER_SM / blocks).saturating_sub(limits::SHARED_RESERVED);
        let each = each.min(limits::SHARED_PER_BLOCK_OPTIN) / 128 * 128;
        out(bytes, each.saturating_sub(function.kernel.static_shared_bytes) as usize)
    })
}

#[unsafe(no_mangle)]
pub extern "C" fn cuOccupancyMaxPotentialBlockSize(
    min_grid: *mut c_int,
    block: *mut c_int,
    function: usize,
    shared_of_block: SharedOfBlock,
    dynamic_shared: usize,
    block_limit: c_int,
) -> Status {
    enter("cuOccupancyMaxPotentialBlockSize", |driver| {
        let function = driver.function("cuOccupancyMaxPotentialBlockSize", function)?;
        let limit = match block_limit {
            0 => function.kernel.max_threads,
            limit => threads(limit)?.min(function.kernel.max_threads),
        };
        let shared = |threads: u32| match shared_of_block {
            // SAFETY: the caller's own function, called as it asks.
            Some(of_block) => unsafe { of_block(threads as c_int) },
            None => dynamic_shared,
        };
        let warps = |threads: u32| blocks_per_sm(function, threads, shared(threads)) * threads;
        let candidates = (1..=limit / 32).map(|warps| warps * 32);
        let best = candidates
            .max_by_key(|&threads| (warps(threads), threads))
            .ok_or(CuError::INVALID_VALUE)?;
        out(min_grid, (blocks_per_sm(function, best, shared(best)) * limits::SMS) as c_int)?;
        out(block, best as c_int)
    })
}
