//! What a stream or a graph node does when its turn comes.

use std::ops::Range;

use crate::driver::gpu::Gpu;

/// The bytes an operation touched; device addresses and pinned host addresses alike.
#[derive(Debug, Default)]
pub struct Accesses {
    pub reads: Vec<Range<u64>>,
    pub writes: Vec<Range<u64>>,
}

impl Accesses {
    pub fn copy(from: Range<u64>, to: Range<u64>) -> Self {
        Self { reads: vec![from], writes: vec![to] }
    }

    pub fn write(bytes: Range<u64>) -> Self {
        Self { reads: Vec::new(), writes: vec![bytes] }
    }
}

/// What sort of graph node an operation is (`CUgraphNodeType`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i32)]
pub enum NodeKind {
    Kernel = 0,
    Memcpy = 1,
    Memset = 2,
    Host = 3,
    Empty = 5,
}

/// One operation. It runs once per submission, and once per launch of each graph that holds it.
pub trait Work: Send + Sync {
    /// How a finding names it, e.g. `kernel adamw_step_f32`.
    fn label(&self) -> String;

    fn kind(&self) -> NodeKind;

    /// Pinned host memory that the operation will read when it runs. The host must leave it alone
    /// until then.
    fn host_source(&self) -> Option<Range<u64>> {
        None
    }

    /// Host memory that it will write. Such work is not run at process end, when the host may have
    /// released it.
    fn host_target(&self) -> Option<Range<u64>> {
        None
    }

    fn run(&self, gpu: &mut Gpu) -> Accesses;
}

/// A point in a stream at which nothing happens: an event record, a join of graph branches.
pub struct Empty(pub &'static str);

impl Work for Empty {
    fn label(&self) -> String {
        self.0.into()
    }

    fn kind(&self) -> NodeKind {
        NodeKind::Empty
    }

    fn run(&self, _: &mut Gpu) -> Accesses {
        Accesses::default()
    }
}
