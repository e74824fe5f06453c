//! Graphs: captured work, and its replays. Launches of one executable graph run one after the
//! other.

use std::ffi::{c_int, c_uint, c_ulonglong, c_void};
use std::sync::Arc;

use super::error::{CuError, Result, Status};
use super::launch;
use super::queue::{Empty, Mark, NodeKind, Work};
use super::state::{Driver, enter, out};

/// `CUDA_GRAPH_INSTANTIATE_FLAG_{AUTO_FREE_ON_LAUNCH,UPLOAD,USE_NODE_PRIORITY}`: no effect on
/// results.
const FLAGS: c_ulonglong = 1 | 2 | 8;

#[derive(Clone)]
pub struct Node {
    pub work: Arc<dyn Work>,
    /// Nodes before it, by index.
    pub after: Vec<usize>,
    /// The captured stream that it came from, the origin being 0. Nodes of a branch form a chain.
    pub branch: usize,
}

/// Nodes with their handles, in an order that respects dependencies.
#[derive(Clone)]
pub struct Graph {
    pub nodes: Vec<(usize, Node)>,
    pub branches: usize,
}

pub struct GraphExec {
    graph: Graph,
    /// One for each branch but the first, which uses the lane of the stream it is launched in.
    lanes: Vec<usize>,
    last: Option<Mark>,
}

impl Driver {
    fn instantiate(&mut self, graph: usize, flags: c_ulonglong) -> Result<usize> {
        let graph = self.graphs.get(&graph).ok_or(CuError::INVALID_HANDLE)?.clone();
        if flags & !FLAGS != 0 {
            let text = format!("instantiation flags {flags:#x} are not modelled");
            self.gpu.report_not_modelled("cuGraphInstantiate", text);
            return Err(CuError::INVALID_VALUE);
        }
        let lanes = (1..graph.branches).map(|_| self.queue.open_lane()).collect();
        let handle = self.handle();
        self.execs.insert(handle, GraphExec { graph, lanes, last: None });
        Ok(handle)
    }

    fn launch_graph(&mut self, exec: usize, stream: usize) -> Result {
        let key = self.stream(stream)?;
        if self.captured_tail(key)?.is_some() {
            self.gpu.report_not_modelled(
                "cuGraphLaunch",
                "a graph launched into a capturing stream is not modelled",
            );
            return Err(CuError::NOT_SUPPORTED);
        }
        let mut start = self.frontier(key);
        let lane = self.streams.get(key).expect("resolved").lane;
        let exec = self.execs.get_mut(&exec).ok_or(CuError::INVALID_HANDLE)?;
        start.extend(exec.last.clone());
        let mut marks: Vec<Mark> = Vec::with_capacity(exec.graph.nodes.len());
        for (_, node) in &exec.graph.nodes {
            let after: Vec<Mark> = match node.after.as_slice() {
                [] => start.clone(),
                nodes => nodes.iter().map(|&node| marks[node].clone()).collect(),
            };
            let lane = if node.branch == 0 { lane } else { exec.lanes[node.branch - 1] };
            marks.push(self.queue.push(lane, &after, node.work.clone()));
        }
        start.append(&mut marks);
        let end = self.queue.push(lane, &start, Arc::new(Empty("end of a graph")));
        exec.last = Some(end.clone());
        self.streams.get_mut(key).expect("resolved").tail = Some(end);
        self.queue.drift(&mut self.gpu);
        Ok(())
    }
}

#[unsafe(no_mangle)]
pub extern "C" fn cuGraphInstantiateWithFlags(
    exec: *mut usize,
    graph: usize,
    flags: c_ulonglong,
) -> Status {
    enter("cuGraphInstantiate", |driver| {
        let handle = driver.instantiate(graph, flags)?;
        out(exec, handle)
    })
}

/// `CUDA_GRAPH_INSTANTIATE_PARAMS`
#[repr(C)]
pub struct InstantiateParams {
    flags: u64,
    upload_stream: usize,
    error_node: usize,
    result: c_int,
}

#[unsafe(no_mangle)]
pub extern "C" fn cuGraphInstantiateWithParams(
    exec: *mut usize,
    graph: usize,
    params: *mut InstantiateParams,
) -> Status {
    enter("cuGraphInstantiate", |driver| {
        // SAFETY: the caller passes null or a structure that it owns.
        let params = unsafe { params.as_mut() }.ok_or(CuError::INVALID_VALUE)?;
        let handle = driver.instantiate(graph, params.flags)?;
        params.error_node = 0;
        params.result = 0;
        out(exec, handle)
    })
}

#[unsafe(no_mangle)]
pub extern "C" fn cuGraphLaunch(exec: usize, stream: usize) -> Status {
    enter("cuGraphLaunch", |driver| driver.launch_graph(exec, stream))
}

#[unsafe(no_mangle)]
pub extern "C" fn cuGraphUpload(exec: usize, stream: usize) -> Status {
    enter("cuGraphUpload", |driver| {
        driver.stream(stream)?;
        driver.execs.get(&exec).map(drop).ok_or(CuError::INVALID_HANDLE)
    })
}

#[unsafe(no_mangle)]
pub extern "C" fn cuGraphExecDestroy(exec: usize) -> Status {
    enter("cuGraphExecDestroy", |driver| {
        let gone = driver.execs.remove(&exec).ok_or(CuError::INVALID_HANDLE)?;
        gone.lanes.into_iter().for_each(|lane| driver.queue.close_lane(lane));
        Ok(())
    })
}

#[unsafe(no_mangle)]
pub extern "C" fn cuGraphDestroy(graph: usize) -> Status {
    enter("cuGraphDestroy", |driver| {
        driver.graphs.remove(&graph).map(drop).ok_or(CuError::INVALID_HANDLE)
    })
}

#[unsafe(no_mangle)]
pub extern "C" fn cuGraphGetNodes(graph: usize, nodes: *mut usize, count: *mut usize) -> Status {
    enter("cuGraphGetNodes", |driver| {
        let graph = driver.graphs.get(&graph).ok_or(CuError::INVALID_HANDLE)?;
        if nodes.is_null() {
            return out(count, graph.nodes.len());
        }
        // SAFETY: the caller passes null or the room in `nodes`.
        let room = *unsafe { count.as_ref() }.ok_or(CuError::INVALID_VALUE)?;
        for at in 0..room {
            let handle = graph.nodes.get(at).map_or(0, |(handle, _)| *handle);
            // SAFETY: the caller gives room for `room` handles.
            unsafe { nodes.add(at).write(handle) };
        }
        out(count, room.min(graph.nodes.len()))
    })
}

#[unsafe(no_mangle)]
pub extern "C" fn cuGraphNodeGetType(node: usize, kind: *mut c_int) -> Status {
    enter("cuGraphNodeGetType", |driver| {
        let mut nodes = driver.graphs.values().flat_map(|graph| &graph.nodes);
        let (_, found) =
            nodes.find(|(handle, _)| *handle == node).ok_or(CuError::INVALID_HANDLE)?;
        out(kind, found.work.kind() as c_int)
    })
}

/// `CUDA_KERNEL_NODE_PARAMS_v2`
#[repr(C)]
pub struct KernelNodeParams {
    function: usize,
    grid: [c_uint; 3],
    block: [c_uint; 3],
    shared_bytes: c_uint,
    params: *const *const c_void,
    extra: *const *const c_void,
    kernel: usize,
    context: usize,
}

#[unsafe(no_mangle)]
pub extern "C" fn cuGraphExecKernelNodeSetParams_v2(
    exec: usize,
    node: usize,
    params: *const KernelNodeParams,
) -> Status {
    enter("cuGraphExecKernelNodeSetParams", |driver| {
        // SAFETY: the caller passes null or a structure that it owns.
        let new = unsafe { params.as_ref() }.ok_or(CuError::INVALID_VALUE)?;
        let shape =
            launch::Shape { grid: new.grid, block: new.block, shared_bytes: new.shared_bytes };
        let function = if new.function != 0 { new.function } else { new.kernel };
        let work = driver.prepare_launch(function, shape, new.params, new.extra)?;
        let exec = driver.execs.get_mut(&exec).ok_or(CuError::INVALID_HANDLE)?;
        let (_, old) = exec
            .graph
            .nodes
            .iter_mut()
            .find(|(handle, _)| *handle == node)
            .ok_or(CuError::INVALID_VALUE)?;
        if old.work.kind() != NodeKind::Kernel {
            return Err(CuError::INVALID_VALUE);
        }
        old.work = Arc::new(work);
        Ok(())
    })
}
