//! Events: a moment of a stream that other streams and the host can wait for.
//!
//! There is no clock here. The time between two events is NaN, so that no figure of a simulated run
//! can pass for a measurement.

use std::ffi::c_uint;
use std::sync::Arc;

use super::error::{CuError, Result, Status};
use super::queue::{Empty, Mark};
use super::state::{Driver, enter, out};

/// `CU_EVENT_BLOCKING_SYNC | CU_EVENT_DISABLE_TIMING`
const FLAGS: c_uint = 3;
const DISABLE_TIMING: c_uint = 2;

#[derive(Debug)]
pub enum Recorded {
    Never,
    In(Mark),
    /// In a capture: its id, and the nodes that the event stands for.
    Captured(u64, Vec<usize>),
}

#[derive(Debug)]
pub struct Event {
    flags: c_uint,
    recorded: Recorded,
}

impl Driver {
    fn event(&self, handle: usize) -> Result<&Event> {
        self.events.get(&handle).ok_or(CuError::INVALID_HANDLE)
    }

    /// The task that completes an event; `None` if it was never recorded.
    fn completion(&mut self, handle: usize) -> Result<Option<Mark>> {
        match &self.event(handle)?.recorded {
            Recorded::Never => Ok(None),
            Recorded::In(mark) => Ok(Some(mark.clone())),
            Recorded::Captured(capture, _) => {
                let capture = *capture;
                self.captures.invalidate_id(capture);
                Err(CuError::CAPTURED_EVENT)
            }
        }
    }
}

#[unsafe(no_mangle)]
pub extern "C" fn cuEventCreate(event: *mut usize, flags: c_uint) -> Status {
    enter("cuEventCreate", |driver| {
        driver.context()?;
        if flags & !FLAGS != 0 {
            driver.gpu.report_not_modelled(
                "cuEventCreate",
                format!("event flags {flags:#x} are not modelled"),
            );
            return Err(CuError::INVALID_VALUE);
        }
        let handle = driver.handle();
        driver.events.insert(handle, Event { flags, recorded: Recorded::Never });
        out(event, handle)
    })
}

#[unsafe(no_mangle)]
pub extern "C" fn cuEventDestroy_v2(event: usize) -> Status {
    enter("cuEventDestroy", |driver| {
        driver.events.remove(&event).map(drop).ok_or(CuError::INVALID_HANDLE)
    })
}

#[unsafe(no_mangle)]
pub extern "C" fn cuEventRecord(event: usize, stream: usize) -> Status {
    cuEventRecordWithFlags(event, stream, 0)
}

#[unsafe(no_mangle)]
pub extern "C" fn cuEventRecordWithFlags(event: usize, stream: usize, flags: c_uint) -> Status {
    enter("cuEventRecord", |driver| {
        driver.event(event)?;
        if flags != 0 {
            driver
                .gpu
                .report_not_modelled("cuEventRecord", "external event records are not modelled");
            return Err(CuError::NOT_SUPPORTED);
        }
        let key = driver.stream(stream)?;
        let recorded = match driver.captured_tail(key)? {
            Some((capture, nodes)) => Recorded::Captured(capture, nodes),
            None => Recorded::In(driver.enqueue(key, &[], Arc::new(Empty("event record")))),
        };
        driver.events.get_mut(&event).expect("looked up above").recorded = recorded;
        Ok(())
    })
}

#[unsafe(no_mangle)]
pub extern "C" fn cuStreamWaitEvent(stream: usize, event: usize, flags: c_uint) -> Status {
    enter("cuStreamWaitEvent", |driver| {
        let key = driver.stream(stream)?;
        if flags != 0 {
            driver
                .gpu
                .report_not_modelled("cuStreamWaitEvent", "external event waits are not modelled");
            return Err(CuError::NOT_SUPPORTED);
        }
        match &driver.event(event)?.recorded {
            Recorded::Never => Ok(()),
            Recorded::Captured(capture, nodes) => {
                let (capture, nodes) = (*capture, nodes.clone());
                driver.capture_join(key, capture, &nodes)
            }
            Recorded::In(mark) => {
                let mark = mark.clone();
                driver.refuse_crossing(key)?;
                driver.enqueue(key, &[mark], Arc::new(Empty("event wait")));
                Ok(())
            }
        }
    })
}

#[unsafe(no_mangle)]
pub extern "C" fn cuEventQuery(event: usize) -> Status {
    enter("cuEventQuery", |driver| match driver.completion(event)? {
        Some(mark) => {
            driver.not_while_capturing()?;
            driver.query(&mark)
        }
        None => Ok(()),
    })
}

#[unsafe(no_mangle)]
pub extern "C" fn cuEventSynchronize(event: usize) -> Status {
    enter("cuEventSynchronize", |driver| {
        if let Some(mark) = driver.completion(event)? {
            driver.not_while_capturing()?;
            driver.host_waits(&mark);
        }
        Ok(())
    })
}

#[unsafe(no_mangle)]
pub extern "C" fn cuEventElapsedTime(milliseconds: *mut f32, start: usize, end: usize) -> Status {
    enter("cuEventElapsedTime", |driver| {
        for event in [start, end] {
            let flags = driver.event(event)?.flags;
            let mark = driver.completion(event)?;
            match mark {
                Some(_) if flags & DISABLE_TIMING != 0 => return Err(CuError::INVALID_HANDLE),
                Some(mark) if !driver.queue.is_done(&mark) => return Err(CuError::NOT_READY),
                Some(_) => {}
                None => return Err(CuError::INVALID_HANDLE),
            }
        }
        out(milliseconds, f32::NAN)
    })
}

#[unsafe(no_mangle)]
pub extern "C" fn cuEventElapsedTime_v2(
    milliseconds: *mut f32,
    start: usize,
    end: usize,
) -> Status {
    cuEventElapsedTime(milliseconds, start, end)
}
