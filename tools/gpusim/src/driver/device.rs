//! The card: one plausible sm_89 device. Figures are those of a GeForce RTX 4090 where its data
//! sheet gives them.

use std::ffi::{c_char, c_int, c_uint};

use super::error::{CuError, Result, Status};
use super::exit;
use super::options::Options;
use super::state::{Driver, enter, lock, out};

pub const NAME: &str = "gpusim sm_89 (simulated)";
const DRIVER_VERSION: c_int = 12080;
const UUID: [u8; 16] = *b"gpusim-sm89-0000";

/// What launches and occupancy are held to.
pub mod limits {
    pub const THREADS_PER_BLOCK: u32 = 1024;
    pub const BLOCK: [u32; 3] = [1024, 1024, 64];
    pub const GRID: [u32; 3] = [0x7fff_ffff, 65535, 65535];
    pub const SHARED_PER_BLOCK: u32 = 48 << 10;
    pub const SHARED_PER_BLOCK_OPTIN: u32 = 99 << 10;
    pub const SHARED_PER_SM: u32 = 100 << 10;
    pub const SHARED_RESERVED: u32 = 1 << 10;
    pub const SMS: u32 = 128;
    pub const THREADS_PER_SM: u32 = 1536;
    pub const BLOCKS_PER_SM: u32 = 24;
    pub const REGISTERS: u32 = 65536;
}

/// `CUdevice_attribute` by number; `None` where nothing is modelled.
fn attribute(number: c_int) -> Option<u32> {
    use limits::*;
    Some(match number {
        1 => THREADS_PER_BLOCK,
        2..=4 => BLOCK[number as usize - 2],
        5..=7 => GRID[number as usize - 5],
        8 => SHARED_PER_BLOCK,
        9 => 64 << 10,        // constant memory
        10 => 32,             // warp size
        11 => 0x7fff_ffff,    // pitch
        12 | 82 => REGISTERS, // per block, per SM
        13 => 2_520_000,      // clock, kHz
        14 => 512,            // texture alignment
        15 => 1,              // copies overlap
        16 => SMS,
        17 | 18 => 0,      // no time limit, not integrated
        19 => 0,           // mapped host memory is not modelled
        20 => 0,           // compute mode
        31 => 1,           // concurrent kernels
        32 => 0,           // ECC
        33 => 1,           // PCI bus
        34 | 35 | 50 => 0, // PCI device, TCC, PCI domain
        36 => 10_501_000,  // memory clock, kHz
        37 => 384,         // memory bus, bits
        38 => 72 << 20,    // L2
        39 => THREADS_PER_SM,
        40 => 2, // copy engines
        41 => 1, // unified addressing
        75 => 8,
        76 => 9,
        78..=80 => 1, // stream priorities, L1 for globals and locals
        81 => SHARED_PER_SM,
        83 | 84 => 0, // managed memory is not modelled; no multi-GPU board
        86 => 0,      // native host atomics
        87 => 64,     // f32 to f64 rate
        88 | 89 => 0, // pageable and managed access
        90 => 1,      // preemption
        91 | 92 => 0, // host pointers on the device, stream memory operations
        95 => 0,      // cooperative launch is not modelled
        97 => SHARED_PER_BLOCK_OPTIN,
        98 => 0,
        99 => 1, // host registration
        100 | 101 => 0,
        102 => 0, // virtual memory management is not modelled
        106 => BLOCKS_PER_SM,
        107..=109 => 0, // compression, persisting L2
        111 => SHARED_RESERVED,
        115 => 1,       // stream-ordered allocation
        116 | 120 => 0, // RDMA, clusters
        _ => return None,
    })
}

/// A device argument names our one card.
pub fn check(device: c_int) -> Result {
    if device == 0 { Ok(()) } else { Err(CuError::INVALID_DEVICE) }
}

#[unsafe(no_mangle)]
pub extern "C" fn cuInit(flags: c_uint) -> Status {
    if flags != 0 {
        return CuError::INVALID_VALUE.0;
    }
    let mut driver = lock();
    if driver.is_none() {
        let made = Options::from_environment()
            .and_then(|o| Driver::new(o).map_err(|e| format!("reserving memory: {e}")));
        match made {
            Ok(made) => *driver = Some(made),
            Err(text) => {
                eprintln!("gpusim: {text}");
                return CuError::NOT_INITIALIZED.0;
            }
        }
        exit::install();
    }
    super::error::SUCCESS
}

#[unsafe(no_mangle)]
pub extern "C" fn cuDriverGetVersion(version: *mut c_int) -> Status {
    out(version, DRIVER_VERSION).map_or_else(|error| error.0, |()| super::error::SUCCESS)
}

#[unsafe(no_mangle)]
pub extern "C" fn cuDeviceGet(device: *mut c_int, ordinal: c_int) -> Status {
    enter("cuDeviceGet", |_| check(ordinal).and_then(|()| out(device, ordinal)))
}

#[unsafe(no_mangle)]
pub extern "C" fn cuDeviceGetCount(count: *mut c_int) -> Status {
    enter("cuDeviceGetCount", |_| out(count, 1))
}

#[unsafe(no_mangle)]
pub extern "C" fn cuDeviceGetName(name: *mut c_char, bytes: c_int, device: c_int) -> Status {
    enter("cuDeviceGetName", |_| {
        check(device)?;
        if name.is_null() || bytes <= 0 {
            return Err(CuError::INVALID_VALUE);
        }
        let kept = NAME.len().min(bytes as usize - 1);
        // SAFETY: the caller gives room for `bytes`, of which at most `kept + 1` are written.
        unsafe {
            name.copy_from_nonoverlapping(NAME.as_ptr().cast(), kept);
            name.add(kept).write(0);
        }
        Ok(())
    })
}

#[unsafe(no_mangle)]
pub extern "C" fn cuDeviceGetAttribute(value: *mut c_int, number: c_int, device: c_int) -> Status {
    enter("cuDeviceGetAttribute", |driver| {
        check(device)?;
        match attribute(number) {
            Some(known) => out(value, known as c_int),
            None => {
                let text = format!("device attribute {number} is not modelled");
                driver.gpu.report_not_modelled("cuDeviceGetAttribute", text);
                Err(CuError::INVALID_VALUE)
            }
        }
    })
}

#[unsafe(no_mangle)]
pub extern "C" fn cuDeviceTotalMem_v2(bytes: *mut usize, device: c_int) -> Status {
    enter("cuDeviceTotalMem", |driver| {
        check(device).and_then(|()| out(bytes, driver.gpu.memory.capacity() as usize))
    })
}

#[unsafe(no_mangle)]
pub extern "C" fn cuDeviceGetUuid(uuid: *mut [u8; 16], device: c_int) -> Status {
    enter("cuDeviceGetUuid", |_| check(device).and_then(|()| out(uuid, UUID)))
}

#[unsafe(no_mangle)]
pub extern "C" fn cuDeviceGetUuid_v2(uuid: *mut [u8; 16], device: c_int) -> Status {
    cuDeviceGetUuid(uuid, device)
}
