//! When a step is run op by op, when it is recorded as a graph, and when the graph is replayed.
//!
//! A recorded step works in the memory it was recorded with, activations included. Those bytes are
//! free between steps, so others may take them for good: the set of live buffers is compared before
//! each replay, and a step on another set is run op by op. The next one on the same set is
//! recorded: it has just been seen to fit.

use crate::Result;
use crate::backend::{Device, Graph};

#[derive(Default)]
pub struct Recorder {
    graph: Option<Graph>,
    /// Live buffers after the last step that ran op by op.
    ran_on: Option<u64>,
}

/// What to do for the coming step.
pub enum Next {
    Run,
    /// Record it and hand the graph to [`Recorder::replay`].
    Record,
    /// Done: it was replayed.
    Replayed(Result<()>),
}

impl Recorder {
    pub fn next(&mut self, device: &Device) -> Next {
        if !device.as_cuda().is_some_and(|cuda| cuda.can_record()) {
            return Next::Run;
        }
        match &self.graph {
            Some(graph) if graph.is_current() => return Next::Replayed(graph.replay()),
            _ => self.graph = None,
        }
        match self.ran_on == Some(device.live()) {
            true => Next::Record,
            false => Next::Run,
        }
    }

    pub fn is_recorded(&self) -> bool {
        self.graph.is_some()
    }

    pub fn replay(&mut self, graph: Graph) -> Result<()> {
        self.graph.insert(graph).replay()
    }

    /// The step has been queued, one way or the other.
    pub fn ran(&mut self, device: &Device) {
        self.ran_on = Some(device.live());
    }
}
