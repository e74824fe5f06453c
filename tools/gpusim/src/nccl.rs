//! `libnccl.so` for a world of one rank: collectives are copies in a stream, or nothing but a check
//! in place.
//!
//! More than one rank is refused. What this proves of a program is that it starts, orders its
//! streams and passes buffers that exist and hold data.
#![allow(unsafe_code, non_snake_case, clippy::not_unsafe_ptr_arg_deref)]

use std::collections::HashSet;
use std::ffi::{CStr, c_char, c_int};
use std::sync::Arc;

use crate::driver::{Accesses, CuError, Driver, Gpu, NodeKind, OnDevice, Work, enter_as, out};

/// 2.26.2, of the CUDA 12.8 time.
const VERSION: c_int = 22602;

/// `ncclResult_t` other than success.
#[derive(Clone, Copy)]
struct NcclError(c_int);

impl NcclError {
    const CUDA: Self = Self(1);
    const INVALID_ARGUMENT: Self = Self(4);
    const INVALID_USAGE: Self = Self(5);
}

impl From<CuError> for NcclError {
    fn from(error: CuError) -> Self {
        if error == CuError::INVALID_VALUE { Self::INVALID_ARGUMENT } else { Self::CUDA }
    }
}

impl From<NcclError> for Status {
    fn from(error: NcclError) -> Status {
        error.0
    }
}

type Status = c_int;
type Result<T = ()> = std::result::Result<T, NcclError>;

#[derive(Default)]
pub struct Communicators {
    live: HashSet<usize>,
    group_depth: u32,
}

#[repr(C)]
pub struct UniqueId([u8; 128]);

fn enter(call: &str, body: impl FnOnce(&mut Driver) -> Result) -> Status {
    enter_as(call, body)
}

/// A collective in place: it changes nothing, but it reads and writes.
struct InPlace {
    call: &'static str,
    at: u64,
    bytes: u64,
}

impl Work for InPlace {
    fn label(&self) -> String {
        format!("{} in place, {} bytes", self.call, self.bytes)
    }

    fn kind(&self) -> NodeKind {
        NodeKind::Kernel
    }

    fn run(&self, gpu: &mut Gpu) -> Accesses {
        if let Err(error) = gpu.memory.read(self.at, self.bytes).map(drop) {
            gpu.report_access(&self.label(), error, "buffer");
        }
        let bytes = self.at..self.at + self.bytes;
        Accesses::copy(bytes.clone(), bytes)
    }
}

/// `ncclDataType_t`
fn element_bytes(dtype: c_int) -> Result<u64> {
    Ok(match dtype {
        0 | 1 | 10 | 11 => 1,
        6 | 9 => 2,
        2 | 3 | 7 => 4,
        4 | 5 | 8 => 8,
        _ => return Err(NcclError::INVALID_ARGUMENT),
    })
}

struct Collective {
    call: &'static str,
    from: u64,
    to: u64,
    count: usize,
    dtype: c_int,
    root: c_int,
    communicator: usize,
    stream: usize,
}

impl Collective {
    fn submit(self) -> Status {
        enter(self.call, |driver| {
            if !driver.nccl.live.contains(&self.communicator) || self.root != 0 {
                return Err(NcclError::INVALID_ARGUMENT);
            }
            let bytes = self.count as u64 * element_bytes(self.dtype)?;
            let (call, from, to) = (self.call, self.from, self.to);
            if bytes == 0 {
                return Ok(());
            }
            let work: Arc<dyn Work> = match from == to {
                true => Arc::new(InPlace { call, at: to, bytes }),
                false => Arc::new(OnDevice { to, from, bytes }),
            };
            driver.submit(self.stream, work)?;
            Ok(())
        })
    }
}

#[unsafe(no_mangle)]
pub extern "C" fn ncclGetVersion(version: *mut c_int) -> Status {
    out(version, VERSION).map_or_else(|error| NcclError::from(error).0, |()| 0)
}

#[unsafe(no_mangle)]
pub extern "C" fn ncclGetErrorString(result: Status) -> *const c_char {
    let text: &CStr = match result {
        0 => c"no error",
        1 => c"unhandled cuda error",
        4 => c"invalid argument",
        5 => c"invalid usage",
        _ => c"unknown result code",
    };
    text.as_ptr()
}

#[unsafe(no_mangle)]
pub extern "C" fn ncclGetUniqueId(id: *mut UniqueId) -> Status {
    out(id, UniqueId([0; 128])).map_or_else(|error| NcclError::from(error).0, |()| 0)
}

fn join(call: &'static str, communicator: *mut usize, ranks: c_int, rank: c_int) -> Status {
    enter(call, |driver| {
        driver.context()?;
        if ranks != 1 || rank != 0 {
            driver.gpu.report_not_modelled(call, format!("{ranks} ranks: one is modelled"));
            return Err(NcclError::INVALID_ARGUMENT);
        }
        let handle = driver.handle();
        driver.nccl.live.insert(handle);
        Ok(out(communicator, handle)?)
    })
}

#[unsafe(no_mangle)]
pub extern "C" fn ncclCommInitRank(
    communicator: *mut usize,
    ranks: c_int,
    _id: UniqueId,
    rank: c_int,
) -> Status {
    join("ncclCommInitRank", communicator, ranks, rank)
}

#[unsafe(no_mangle)]
pub extern "C" fn ncclCommInitAll(
    communicators: *mut usize,
    devices: c_int,
    _list: *const c_int,
) -> Status {
    join("ncclCommInitAll", communicators, devices, 0)
}

#[unsafe(no_mangle)]
pub extern "C" fn ncclCommDestroy(communicator: usize) -> Status {
    enter("ncclCommDestroy", |driver| match driver.nccl.live.remove(&communicator) {
        true => Ok(()),
        false => Err(NcclError::INVALID_ARGUMENT),
    })
}

#[unsafe(no_mangle)]
pub extern "C" fn ncclCommAbort(communicator: usize) -> Status {
    ncclCommDestroy(communicator)
}

fn answer(call: &str, communicator: usize, value: *mut c_int, known: c_int) -> Status {
    enter(call, |driver| match driver.nccl.live.contains(&communicator) {
        true => Ok(out(value, known)?),
        false => Err(NcclError::INVALID_ARGUMENT),
    })
}

#[unsafe(no_mangle)]
pub extern "C" fn ncclCommCount(communicator: usize, count: *mut c_int) -> Status {
    answer("ncclCommCount", communicator, count, 1)
}

#[unsafe(no_mangle)]
pub extern "C" fn ncclCommUserRank(communicator: usize, rank: *mut c_int) -> Status {
    answer("ncclCommUserRank", communicator, rank, 0)
}

#[unsafe(no_mangle)]
pub extern "C" fn ncclCommCuDevice(communicator: usize, device: *mut c_int) -> Status {
    answer("ncclCommCuDevice", communicator, device, 0)
}

#[unsafe(no_mangle)]
pub extern "C" fn ncclCommGetAsyncError(communicator: usize, error: *mut c_int) -> Status {
    answer("ncclCommGetAsyncError", communicator, error, 0)
}

/// One rank waits for nobody, so the calls of a group need not be held back.
#[unsafe(no_mangle)]
pub extern "C" fn ncclGroupStart() -> Status {
    enter("ncclGroupStart", |driver| {
        driver.nccl.group_depth += 1;
        Ok(())
    })
}

#[unsafe(no_mangle)]
pub extern "C" fn ncclGroupEnd() -> Status {
    enter("ncclGroupEnd", |driver| {
        let depth = driver.nccl.group_depth.checked_sub(1).ok_or(NcclError::INVALID_USAGE)?;
        driver.nccl.group_depth = depth;
        Ok(())
    })
}

macro_rules! reduction {
    ($name:ident) => {
        #[unsafe(no_mangle)]
        pub extern "C" fn $name(
            from: u64,
            to: u64,
            count: usize,
            dtype: c_int,
            op: c_int,
            communicator: usize,
            stream: usize,
        ) -> Status {
            // Sum, product, max, min and mean of one rank are that rank's data.
            if !(0..=4).contains(&op) {
                return NcclError::INVALID_ARGUMENT.0;
            }
            let call = stringify!($name);
            Collective { call, from, to, count, dtype, root: 0, communicator, stream }.submit()
        }
    };
}

reduction!(ncclAllReduce);
reduction!(ncclReduceScatter);

#[unsafe(no_mangle)]
pub extern "C" fn ncclAllGather(
    from: u64,
    to: u64,
    count: usize,
    dtype: c_int,
    communicator: usize,
    stream: usize,
) -> Status {
    let call = "ncclAllGather";
    Collective { call, from, to, count, dtype, root: 0, communicator, stream }.submit()
}

#[unsafe(no_mangle)]
pub extern "C" fn ncclBroadcast(
    from: u64,
    to: u64,
    count: usize,
    dtype: c_int,
    root: c_int,
    communicator: usize,
    stream: usize,
) -> Status {
    let call = "ncclBroadcast";
    Collective { call, from, to, count, dtype, root, communicator, stream }.submit()
}
