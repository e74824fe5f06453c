//! Stream capture: work goes to a graph instead of the queue, and what cannot be captured is
//! refused as the driver does.

use std::ffi::c_int;
use std::sync::Arc;
use std::thread::{self, ThreadId};

use super::error::{CuError, Result, Status};
use super::graph::{Graph, Node};
use super::queue::Work;
use super::state::{Driver, enter, out, out_if_wanted};
use super::stream::LEGACY;

/// `CUstreamCaptureMode`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    Global,
    ThreadLocal,
    Relaxed,
}

/// `CUstreamCaptureStatus`
const STATUS_NONE: c_int = 0;
const STATUS_ACTIVE: c_int = 1;
const STATUS_INVALIDATED: c_int = 2;

struct Capture {
    id: u64,
    mode: Mode,
    thread: ThreadId,
    origin: usize,
    /// A blocking stream takes part: the legacy stream must stay out.
    blocking: bool,
    nodes: Vec<Node>,
    /// Streams that take part, in order of joining (the origin first): the nodes that the next one
    /// depends on.
    branches: Vec<(usize, Vec<usize>)>,
    invalid: bool,
}

#[derive(Default)]
pub struct Captures {
    active: Vec<Capture>,
    last_id: u64,
}

impl Captures {
    pub fn holds(&self, key: usize) -> bool {
        self.active.iter().any(|capture| capture.branch(key).is_some())
    }

    fn of(&mut self, key: usize) -> Option<&mut Capture> {
        self.active.iter_mut().find(|capture| capture.branch(key).is_some())
    }

    pub fn invalidate(&mut self, key: usize) {
        if let Some(capture) = self.of(key) {
            capture.invalid = true;
        }
    }

    pub fn invalidate_id(&mut self, id: u64) {
        self.active
            .iter_mut()
            .filter(|capture| capture.id == id)
            .for_each(|capture| capture.invalid = true);
    }
}

impl Capture {
    fn branch(&self, key: usize) -> Option<usize> {
        self.branches.iter().position(|(stream, _)| *stream == key)
    }

    fn usable(&mut self) -> Result<&mut Self> {
        if self.invalid { Err(CuError::STREAM_CAPTURE_INVALIDATED) } else { Ok(self) }
    }

    /// Does every node lead to the origin's last ones?
    fn joined(&self) -> bool {
        let mut reached = vec![false; self.nodes.len()];
        let mut stack = self.branches[0].1.clone();
        while let Some(node) = stack.pop() {
            if !std::mem::replace(&mut reached[node], true) {
                stack.extend(&self.nodes[node].after);
            }
        }
        reached.into_iter().all(|reached| reached)
    }
}

impl Driver {
    /// Add `work` to the graph that stream `key` captures; false if it captures none.
    pub fn capture_work(&mut self, key: usize, work: &Arc<dyn Work>) -> Result<bool> {
        self.refuse_legacy(key)?;
        let Some(capture) = self.captures.of(key) else { return Ok(false) };
        let capture = capture.usable()?;
        let branch = capture.branch(key).expect("`of` found it");
        let node = capture.nodes.len();
        let after = std::mem::replace(&mut capture.branches[branch].1, vec![node]);
        capture.nodes.push(Node { work: work.clone(), after, branch });
        Ok(true)
    }

    /// What an event recorded now in stream `key` stands for, if the stream captures.
    pub fn captured_tail(&mut self, key: usize) -> Result<Option<(u64, Vec<usize>)>> {
        self.refuse_legacy(key)?;
        let Some(capture) = self.captures.of(key) else { return Ok(None) };
        let capture = capture.usable()?;
        let branch = capture.branch(key).expect("`of` found it");
        Ok(Some((capture.id, capture.branches[branch].1.clone())))
    }

    /// Stream `key` waits for captured nodes: it takes part in that capture from now on.
    pub fn capture_join(&mut self, key: usize, id: u64, nodes: &[usize]) -> Result {
        if key == LEGACY {
            self.captures.invalidate_id(id);
            return Err(CuError::STREAM_CAPTURE_IMPLICIT);
        }
        if let Some(own) = self.captures.of(key)
            && own.id != id
        {
            own.invalid = true;
            self.captures.invalidate_id(id);
            return Err(CuError::STREAM_CAPTURE_MERGE);
        }
        let blocking = self.streams.get(key).is_some_and(|stream| stream.blocking);
        let capture = self.captures.active.iter_mut().find(|capture| capture.id == id);
        let capture = capture.ok_or(CuError::CAPTURED_EVENT)?.usable()?;
        let branch = capture.branch(key).unwrap_or_else(|| {
            capture.branches.push((key, Vec::new()));
            capture.branches.len() - 1
        });
        capture.blocking |= blocking;
        let tail = &mut capture.branches[branch].1;
        tail.extend(nodes.iter().filter(|node| !tail.contains(node)).copied().collect::<Vec<_>>());
        Ok(())
    }

    /// A captured stream must not wait for work outside of its capture.
    pub fn refuse_crossing(&mut self, key: usize) -> Result {
        self.refuse_legacy(key)?;
        match self.captures.of(key) {
            Some(capture) => {
                capture.usable()?.invalid = true;
                Err(CuError::STREAM_CAPTURE_ISOLATION)
            }
            None => Ok(()),
        }
    }

    /// The host cannot wait for, or ask about, a stream that captures.
    pub fn refuse_captured_stream(&mut self, key: usize) -> Result {
        self.refuse_legacy(key)?;
        match self.captures.of(key) {
            Some(capture) => {
                capture.usable()?.invalid = true;
                Err(CuError::STREAM_CAPTURE_UNSUPPORTED)
            }
            None => Ok(()),
        }
    }

    /// For calls that wait for the whole context.
    pub fn refuse_for_any_capture(&mut self) -> Result {
        if self.captures.active.is_empty() {
            return Ok(());
        }
        self.captures.active.iter_mut().for_each(|capture| capture.invalid = true);
        Err(CuError::STREAM_CAPTURE_UNSUPPORTED)
    }

    /// For calls that may wait or allocate: a capture forbids them by its mode.
    pub fn not_while_capturing(&mut self) -> Result {
        let here = thread::current().id();
        let forbids = |capture: &Capture| match capture.mode {
            Mode::Global => true,
            Mode::ThreadLocal => capture.thread == here,
            Mode::Relaxed => false,
        };
        let mut refused = false;
        for capture in self.captures.active.iter_mut().filter(|capture| forbids(capture)) {
            capture.invalid = true;
            refused = true;
        }
        if refused { Err(CuError::STREAM_CAPTURE_UNSUPPORTED) } else { Ok(()) }
    }

    /// Work in the legacy stream would wait for a captured blocking stream.
    fn refuse_legacy(&mut self, key: usize) -> Result {
        let mut refused = false;
        for capture in
            self.captures.active.iter_mut().filter(|capture| key == LEGACY && capture.blocking)
        {
            capture.invalid = true;
            refused = true;
        }
        if refused { Err(CuError::STREAM_CAPTURE_IMPLICIT) } else { Ok(()) }
    }
}

#[unsafe(no_mangle)]
pub extern "C" fn cuStreamBeginCapture_v2(stream: usize, mode: c_int) -> Status {
    enter("cuStreamBeginCapture", |driver| {
        let key = driver.stream(stream)?;
        let mode = match mode {
            0 => Mode::Global,
            1 => Mode::ThreadLocal,
            2 => Mode::Relaxed,
            _ => return Err(CuError::INVALID_VALUE),
        };
        if key == LEGACY {
            return Err(CuError::STREAM_CAPTURE_UNSUPPORTED);
        }
        if driver.captures.holds(key) {
            driver.captures.invalidate(key);
            return Err(CuError::ILLEGAL_STATE);
        }
        driver.captures.last_id += 1;
        driver.captures.active.push(Capture {
            id: driver.captures.last_id,
            mode,
            thread: thread::current().id(),
            origin: key,
            blocking: driver.streams.get(key).is_some_and(|stream| stream.blocking),
            nodes: Vec::new(),
            branches: vec![(key, Vec::new())],
            invalid: false,
        });
        Ok(())
    })
}

#[unsafe(no_mangle)]
pub extern "C" fn cuStreamEndCapture(stream: usize, graph: *mut usize) -> Status {
    enter("cuStreamEndCapture", |driver| {
        out(graph, 0)?;
        let key = driver.stream(stream)?;
        let capture = driver.captures.of(key).ok_or(CuError::ILLEGAL_STATE)?;
        if capture.origin != key {
            capture.invalid = true;
            return Err(CuError::STREAM_CAPTURE_UNMATCHED);
        }
        if capture.mode != Mode::Relaxed && capture.thread != thread::current().id() {
            return Err(CuError::STREAM_CAPTURE_WRONG_THREAD);
        }
        let id = capture.id;
        let at = driver
            .captures
            .active
            .iter()
            .position(|capture| capture.id == id)
            .expect("found above");
        let capture = driver.captures.active.swap_remove(at);
        if capture.invalid {
            return Err(CuError::STREAM_CAPTURE_INVALIDATED);
        }
        if !capture.joined() {
            return Err(CuError::STREAM_CAPTURE_UNJOINED);
        }
        let handle = driver.handle();
        let nodes: Vec<_> = capture.nodes.into_iter().map(|node| (driver.handle(), node)).collect();
        driver.graphs.insert(handle, Graph { nodes, branches: capture.branches.len() });
        out(graph, handle)
    })
}

fn status(driver: &mut Driver, stream: usize) -> Result<(c_int, u64)> {
    let key = driver.stream(stream)?;
    driver.refuse_legacy(key)?;
    Ok(match driver.captures.of(key) {
        None => (STATUS_NONE, 0),
        Some(capture) if capture.invalid => (STATUS_INVALIDATED, 0),
        Some(capture) => (STATUS_ACTIVE, capture.id),
    })
}

#[unsafe(no_mangle)]
pub extern "C" fn cuStreamIsCapturing(stream: usize, answer: *mut c_int) -> Status {
    enter("cuStreamIsCapturing", |driver| {
        status(driver, stream).and_then(|(status, _)| out(answer, status))
    })
}

#[unsafe(no_mangle)]
pub extern "C" fn cuStreamGetCaptureInfo_v2(
    stream: usize,
    answer: *mut c_int,
    id: *mut u64,
    graph: *mut usize,
    dependencies: *mut *const usize,
    dependency_count: *mut usize,
) -> Status {
    enter("cuStreamGetCaptureInfo", |driver| {
        if !graph.is_null() || !dependencies.is_null() || !dependency_count.is_null() {
            let text = "the graph and the dependencies of a capture in progress are not modelled";
            driver.gpu.report_not_modelled("cuStreamGetCaptureInfo", text);
            return Err(CuError::NOT_SUPPORTED);
        }
        let (status, number) = status(driver, stream)?;
        out_if_wanted(id, number);
        out(answer, status)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::driver::queue::Empty;

    fn capture(edges: &[&[usize]], tail: &[usize]) -> Capture {
        let node =
            |after: &&[usize]| Node { work: Arc::new(Empty("")), after: after.to_vec(), branch: 0 };
        Capture {
            id: 1,
            mode: Mode::Global,
            thread: thread::current().id(),
            origin: 5,
            blocking: false,
            nodes: edges.iter().map(node).collect(),
            branches: vec![(5, tail.to_vec())],
            invalid: false,
        }
    }

    #[test]
    fn a_branch_that_does_not_lead_back_is_unjoined() {
        assert!(capture(&[&[], &[0], &[0], &[1, 2]], &[3]).joined());
        assert!(!capture(&[&[], &[0], &[0]], &[1]).joined());
    }
}
