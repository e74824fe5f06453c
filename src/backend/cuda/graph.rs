//! A step as one graph: recorded once, replayed with the same addresses and parameters.

use cudarc::driver::{result, sys};

use super::Cuda;
use crate::Result;

/// Must be dropped before its device; [`crate::backend::Graph`] holds both.
pub struct Graph {
    exec: sys::CUgraphExec,
}

// SAFETY: a handle, used only through `Cuda`, which binds its context first.
unsafe impl Send for Graph {}

impl Cuda {
    pub(crate) fn begin_capture(&self) -> Result<()> {
        self.bind()?;
        // Thread-local: what other threads do with other streams is none of its business.
        let mode = sys::CUstreamCaptureMode::CU_STREAM_CAPTURE_MODE_THREAD_LOCAL;
        // SAFETY: the stream lives as long as self.
        unsafe { result::stream::begin_capture(self.compute.raw(), mode) }
            .map_err(|e| self.failed("cuStreamBeginCapture", e))
    }

    pub(crate) fn end_capture(&self) -> Result<Graph> {
        self.bind()?;
        // SAFETY: `begin_capture` succeeded; the graph is destroyed once its executable exists.
        unsafe {
            let graph = result::stream::end_capture(self.compute.raw())
                .map_err(|e| self.failed("cuStreamEndCapture", e))?;
            let exec = result::graph::instantiate(graph, sys::CUgraphInstantiate_flags_enum(0));
            let destroyed = result::graph::destroy(graph);
            let exec = exec.map_err(|e| self.failed("cuGraphInstantiate", e))?;
            destroyed.map_err(|e| self.failed("cuGraphDestroy", e))?;
            Ok(Graph { exec })
        }
    }

    pub(crate) fn replay(&self, graph: &Graph) -> Result<()> {
        self.bind()?;
        // SAFETY: the executable was made on this device and not destroyed (`forget` takes it).
        unsafe { result::graph::launch(graph.exec, self.compute.raw()) }
            .map_err(|e| self.failed("cuGraphLaunch", e))
    }

    pub(crate) fn forget(&self, graph: &Graph) {
        if self.synchronize().is_ok() {
            // SAFETY: no replay is running, and the caller drops the handle.
            let _ = unsafe { result::graph::exec_destroy(graph.exec) };
        }
    }
}
