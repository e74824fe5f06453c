//! Streams: chains of work, the legacy default stream's implicit barriers, and waiting for them.

use std::collections::HashMap;
use std::ffi::{c_int, c_uint};
use std::sync::Arc;
use std::thread::ThreadId;

use super::error::{CuError, Result, Status};
use super::queue::{Mark, Work};
use super::state::{Driver, enter, out, out_if_wanted};

/// `CU_STREAM_NON_BLOCKING`
const NON_BLOCKING: c_uint = 1;
/// `CU_STREAM_LEGACY`, which the null handle means too, and `CU_STREAM_PER_THREAD`.
pub const LEGACY: usize = 1;
const PER_THREAD: usize = 2;

#[derive(Debug)]
pub struct Stream {
    pub lane: usize,
    /// Ordered with the legacy stream.
    pub blocking: bool,
    flags: c_uint,
    priority: c_int,
    context: usize,
    /// The last task submitted.
    pub tail: Option<Mark>,
}

#[derive(Debug, Default)]
pub struct Streams {
    by_handle: HashMap<usize, Stream>,
    per_thread: HashMap<ThreadId, usize>,
    /// Last tasks of destroyed streams, which still run.
    orphans: Vec<Mark>,
}

impl Streams {
    pub fn get(&self, key: usize) -> Option<&Stream> {
        self.by_handle.get(&key)
    }

    pub fn get_mut(&mut self, key: usize) -> Option<&mut Stream> {
        self.by_handle.get_mut(&key)
    }

    fn tails(&self) -> Vec<Mark> {
        let live = self.by_handle.values().filter_map(|stream| stream.tail.clone());
        live.chain(self.orphans.iter().cloned()).collect()
    }
}

impl Driver {
    /// The key of a stream handle; the default streams come into being at their first use.
    pub fn stream(&mut self, handle: usize) -> Result<usize> {
        let context = self.context()?;
        let key = match handle {
            0 | LEGACY => LEGACY,
            PER_THREAD => {
                let fresh = self.handle();
                *self.streams.per_thread.entry(std::thread::current().id()).or_insert(fresh)
            }
            handle if self.streams.by_handle.contains_key(&handle) => return Ok(handle),
            _ => return Err(CuError::INVALID_HANDLE),
        };
        if !self.streams.by_handle.contains_key(&key) {
            self.add_stream(key, 0, 0, context);
        }
        Ok(key)
    }

    fn add_stream(&mut self, key: usize, flags: c_uint, priority: c_int, context: usize) {
        let lane = self.queue.open_lane();
        let blocking = flags & NON_BLOCKING == 0;
        let stream = Stream { lane, blocking, flags, priority, context, tail: None };
        self.streams.by_handle.insert(key, stream);
    }

    /// What the next task of a stream waits for.
    pub fn frontier(&self, key: usize) -> Vec<Mark> {
        let stream = &self.streams.by_handle[&key];
        let mut marks: Vec<Mark> = stream.tail.iter().cloned().collect();
        if key == LEGACY {
            let others =
                self.streams.by_handle.iter().filter(|(other, s)| **other != LEGACY && s.blocking);
            marks.extend(others.filter_map(|(_, s)| s.tail.clone()));
        } else if stream.blocking
            && let Some(legacy) = self.streams.get(LEGACY)
        {
            marks.extend(legacy.tail.clone());
        }
        marks
    }

    /// Submit work to a stream, or add it to the graph that the stream captures (then there is no
    /// mark).
    pub fn submit(&mut self, handle: usize, work: Arc<dyn Work>) -> Result<Option<Mark>> {
        let key = self.stream(handle)?;
        if self.capture_work(key, &work)? {
            return Ok(None);
        }
        Ok(Some(self.enqueue(key, &[], work)))
    }

    /// Submit work that also waits for `extra`.
    pub fn enqueue(&mut self, key: usize, extra: &[Mark], work: Arc<dyn Work>) -> Mark {
        let mut after = self.frontier(key);
        after.extend_from_slice(extra);
        let stream = self.streams.by_handle.get_mut(&key).expect("the caller resolved the key");
        let mark = self.queue.push(stream.lane, &after, work);
        stream.tail = Some(mark.clone());
        self.queue.drift(&mut self.gpu);
        mark
    }

    pub fn host_waits(&mut self, mark: &Mark) {
        self.queue.host_saw(mark, &mut self.gpu);
    }

    pub fn synchronize_all(&mut self) -> Result {
        for mark in self.streams.tails() {
            self.host_waits(&mark);
        }
        self.streams.orphans.clear();
        Ok(())
    }
}

#[unsafe(no_mangle)]
pub extern "C" fn cuStreamCreate(stream: *mut usize, flags: c_uint) -> Status {
    cuStreamCreateWithPriority(stream, flags, 0)
}

#[unsafe(no_mangle)]
pub extern "C" fn cuStreamCreateWithPriority(
    stream: *mut usize,
    flags: c_uint,
    priority: c_int,
) -> Status {
    enter("cuStreamCreate", |driver| {
        let context = driver.context()?;
        if flags & !NON_BLOCKING != 0 {
            return Err(CuError::INVALID_VALUE);
        }
        let key = driver.handle();
        driver.add_stream(key, flags, priority.clamp(-5, 0), context);
        out(stream, key)
    })
}

#[unsafe(no_mangle)]
pub extern "C" fn cuStreamDestroy_v2(handle: usize) -> Status {
    enter("cuStreamDestroy", |driver| {
        if driver.captures.holds(handle) {
            driver.captures.invalidate(handle);
            return Err(CuError::STREAM_CAPTURE_UNSUPPORTED);
        }
        let gone = driver.streams.by_handle.remove(&handle).ok_or(CuError::INVALID_HANDLE)?;
        driver.queue.close_lane(gone.lane);
        driver.streams.orphans.extend(gone.tail);
        Ok(())
    })
}

#[unsafe(no_mangle)]
pub extern "C" fn cuStreamSynchronize(handle: usize) -> Status {
    enter("cuStreamSynchronize", |driver| {
        let key = driver.stream(handle)?;
        driver.refuse_captured_stream(key)?;
        let tail = driver.streams.get(key).and_then(|stream| stream.tail.clone());
        tail.iter().for_each(|mark| driver.host_waits(mark));
        Ok(())
    })
}

#[unsafe(no_mangle)]
pub extern "C" fn cuStreamQuery(handle: usize) -> Status {
    enter("cuStreamQuery", |driver| {
        let key = driver.stream(handle)?;
        driver.refuse_captured_stream(key)?;
        match driver.streams.get(key).and_then(|stream| stream.tail.clone()) {
            Some(mark) => driver.query(&mark),
            None => Ok(()),
        }
    })
}

impl Driver {
    /// Has the host seen `mark` finish? Asking lets some time pass, so that a polling loop ends.
    pub fn query(&mut self, mark: &Mark) -> Result {
        self.queue.run_any(&mut self.gpu);
        if !self.queue.is_done(mark) {
            return Err(CuError::NOT_READY);
        }
        self.host_waits(mark);
        Ok(())
    }
}

#[unsafe(no_mangle)]
pub extern "C" fn cuStreamGetCtx(handle: usize, context: *mut usize) -> Status {
    enter("cuStreamGetCtx", |driver| {
        let key = driver.stream(handle)?;
        out(context, driver.streams.by_handle[&key].context)
    })
}

#[unsafe(no_mangle)]
pub extern "C" fn cuStreamGetFlags(handle: usize, flags: *mut c_uint) -> Status {
    enter("cuStreamGetFlags", |driver| {
        let key = driver.stream(handle)?;
        out(flags, driver.streams.by_handle[&key].flags)
    })
}

#[unsafe(no_mangle)]
pub extern "C" fn cuStreamGetPriority(handle: usize, priority: *mut c_int) -> Status {
    enter("cuStreamGetPriority", |driver| {
        let key = driver.stream(handle)?;
        out_if_wanted(priority, driver.streams.by_handle[&key].priority);
        Ok(())
    })
}
