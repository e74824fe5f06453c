//! Time as the device sees it: between two events of the compute stream.

use cudarc::driver::{result, sys};

use super::Cuda;
use crate::Result;

/// Destroyed on drop.
struct Event(sys::CUevent);

impl Drop for Event {
    fn drop(&mut self) {
        // SAFETY: made by `result::event::create`, destroyed once; the driver waits for its use.
        let _ = unsafe { result::event::destroy(self.0) };
    }
}

impl Cuda {
    /// Seconds from the start of the first to the end of the last of what `work` queues. A
    /// simulator answers NaN.
    pub(crate) fn time_s(&self, work: impl FnOnce() -> Result<()>) -> Result<f64> {
        self.bind()?;
        let (start, end) = (self.event()?, self.event()?);
        self.record(&start)?;
        work()?;
        self.record(&end)?;
        // SAFETY: both events are alive and were recorded on one stream; `end` has completed.
        let ms = unsafe {
            result::event::synchronize(end.0)
                .and_then(|()| result::event::elapsed(start.0, end.0))
                .map_err(|e| self.failed("cuEventElapsedTime", e))?
        };
        Ok(ms as f64 * 1e-3)
    }

    fn event(&self) -> Result<Event> {
        let flags = sys::CUevent_flags::CU_EVENT_DEFAULT;
        result::event::create(flags).map(Event).map_err(|e| self.failed("cuEventCreate", e))
    }

    fn record(&self, event: &Event) -> Result<()> {
        self.bind()?;
        // SAFETY: the event is alive, the stream lives as long as self.
        unsafe { result::event::record(event.0, self.compute.raw()) }
            .map_err(|e| self.failed("cuEventRecord", e))
    }
}
