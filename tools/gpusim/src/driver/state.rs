//! The driver's state, and the gate through which every call enters it.
//!
//! One lock guards everything, so calls of several host threads are serial; host threads count as
//! one for ordering.

use std::cell::Cell;
use std::collections::{HashMap, HashSet};
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::capture::Captures;
use super::context::Contexts;
use super::error::{CuError, Result, SUCCESS, Status};
use super::event::Event;
use super::gpu::Gpu;
use super::graph::{Graph, GraphExec};
use super::host::Pins;
use super::module::Modules;
use super::options::Options;
use super::queue::Queue;
use super::stream::Streams;
use crate::exec::Session;
use crate::memory::DeviceMemory;
use crate::{blaslt, nccl};

pub struct Driver {
    pub options: Options,
    pub gpu: Gpu,
    pub queue: Queue,
    pub contexts: Contexts,
    pub streams: Streams,
    pub events: HashMap<usize, Event>,
    pub captures: Captures,
    pub graphs: HashMap<usize, Graph>,
    pub execs: HashMap<usize, GraphExec>,
    pub modules: Modules,
    pub blaslt: blaslt::Objects,
    pub nccl: nccl::Communicators,
    pub pins: Pins,
    /// How many device allocations were made.
    pub allocations: u64,
    /// Allocations that a stream will free.
    pub freeing: HashSet<u64>,
    next_handle: usize,
}

impl Driver {
    pub fn new(options: Options) -> std::io::Result<Self> {
        let memory = DeviceMemory::new(options.memory_bytes)?;
        let session = Session { races: options.races, ..Session::new(options.seed) };
        Ok(Self {
            gpu: Gpu::new(memory, session),
            queue: Queue::new(options.seed),
            options,
            contexts: Contexts::default(),
            streams: Streams::default(),
            events: HashMap::new(),
            captures: Captures::default(),
            graphs: HashMap::new(),
            execs: HashMap::new(),
            modules: Modules::default(),
            blaslt: blaslt::Objects::default(),
            nccl: nccl::Communicators::default(),
            pins: Pins::default(),
            allocations: 0,
            freeing: HashSet::new(),
            next_handle: 0x6000_0000_0000,
        })
    }

    /// A handle that no other object has or had, and that faults when taken for a pointer.
    pub fn handle(&mut self) -> usize {
        self.next_handle += 16;
        self.next_handle
    }

    /// Memory is about to go: run all work and report what the host has not waited for.
    pub fn release(&mut self, bytes: Range<u64>, what: &str) {
        if let Some(user) = self.queue.user_of(bytes.clone(), &mut self.gpu) {
            let place = match self.pins.hold(&bytes) {
                true => format!("{:#x}..{:#x}", bytes.start, bytes.end),
                false => self.gpu.place(&bytes),
            };
            self.gpu.report_host(
                what,
                format!("{place} is still in use by {user}, which the host has not waited for"),
            );
        }
        self.queue.forget_host_memory(bytes);
    }
}

static DRIVER: Mutex<Option<Driver>> = Mutex::new(None);

thread_local! {
    /// Set while a host function of a stream runs: it must not call the driver.
    static IN_HOST_FUNCTION: Cell<bool> = const { Cell::new(false) };
}

/// Calls that host functions made, to be reported once the function has returned.
static FORBIDDEN: Mutex<Vec<String>> = Mutex::new(Vec::new());

pub fn lock() -> MutexGuard<'static, Option<Driver>> {
    DRIVER.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Run `body` as the host function of a stream; answers the driver calls that it made.
pub fn as_host_function(body: impl FnOnce()) -> Vec<String> {
    IN_HOST_FUNCTION.set(true);
    body();
    IN_HOST_FUNCTION.set(false);
    std::mem::take(&mut FORBIDDEN.lock().unwrap_or_else(PoisonError::into_inner))
}

/// Run the body of one API call. A finding of that call turns success into an error in strict mode.
pub fn enter(call: &str, body: impl FnOnce(&mut Driver) -> Result) -> Status {
    enter_as(call, body)
}

/// As [`enter`], for a library with status codes of its own.
pub fn enter_as<E: From<CuError> + Into<Status>>(
    call: &str,
    body: impl FnOnce(&mut Driver) -> Result<(), E>,
) -> Status {
    let code = |error: CuError| E::from(error).into();
    if IN_HOST_FUNCTION.get() {
        FORBIDDEN.lock().unwrap_or_else(PoisonError::into_inner).push(call.to_owned());
        return code(CuError::NOT_PERMITTED);
    }
    let mut guard = lock();
    let Some(driver) = guard.as_mut() else {
        return code(CuError::NOT_INITIALIZED);
    };
    driver.gpu.take_failure();
    let result = catch_unwind(AssertUnwindSafe(|| body(driver))).unwrap_or_else(|_| {
        driver.gpu.report_not_modelled(
            call,
            "the simulator itself failed in this call; this is a bug of gpusim",
        );
        Err(CuError::UNKNOWN.into())
    });
    let failure = driver.gpu.take_failure().filter(|_| driver.options.strict);
    match (result, failure) {
        (Err(error), _) => error.into(),
        (Ok(()), Some(failure)) => code(failure),
        (Ok(()), None) => SUCCESS,
    }
}

/// Store a result where the caller wants it.
pub fn out<T>(pointer: *mut T, value: T) -> Result {
    if pointer.is_null() {
        return Err(CuError::INVALID_VALUE);
    }
    // SAFETY: not null, and by the API's contract it points to a `T` that the caller owns.
    unsafe { pointer.write(value) };
    Ok(())
}

/// As [`out`], for results that the caller may leave out.
pub fn out_if_wanted<T>(pointer: *mut T, value: T) {
    if !pointer.is_null() {
        // SAFETY: as in `out`.
        unsafe { pointer.write(value) };
    }
}
