//! Devices and the memory that tensors live in.
//!
//! A device owns one [`Arena`]. The shape-only device runs the same arena with no memory behind
//! it: executing a model there yields the exact bytes, by purpose, that the real run will need, and
//! the kernels that it would launch.

mod arena;
mod buffer;
mod card;
pub mod cpu;
#[cfg(feature = "cuda")]
pub mod cuda;
#[cfg(not(feature = "cuda"))]
#[path = "cuda_absent.rs"]
pub mod cuda;
pub mod gemm;
mod kernel;
mod profile;

use std::panic::Location;
use std::sync::{Arc, Mutex, MutexGuard};

pub use arena::{Arena, Purpose, Usage};
pub use buffer::Buffer;
pub use card::Card;
pub use gemm::{Gemm, OWN_KERNELS, Products};
pub use kernel::{Arg, Kernel, Launch, MAX_BLOCKS_Y, Param, Resources, by_dtype};
pub(crate) use kernel::{kernel, kernel_pair};
pub use profile::Span;

use crate::{Error, Result};

/// A cheap handle; clones name the same device.
#[derive(Clone)]
pub struct Device(Arc<Inner>);

struct Inner {
    backend: Backend,
    arena: Mutex<Arena>,
    work: Mutex<Work>,
    profile: profile::Profile,
}

enum Backend {
    /// Runs nothing: shapes, memory and work of the device it stands for.
    Shape(DeviceKind),
    Cpu(cpu::Memory),
    // Boxed: a device is moved about while it is made.
    Cuda(Box<cuda::Cuda>),
}

/// Which implementation an op must run.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DeviceKind {
    Cpu,
    Cuda,
}

/// Whether a kernel overwrites its output or adds to it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mode {
    Set,
    Add,
}

/// Work counted by the shape-only device: from it `hrm plan` predicts.
#[derive(Clone, Copy, Default, Debug, PartialEq)]
pub struct Cost {
    /// Floating-point operations of matrix products (a multiply-add is two): what the formula
    /// needs.
    pub matmul_flops: f64,
    /// What tensor cores execute for them, recomputed products included. 0: other units do them.
    pub tensor_flops: f64,
    /// Instructions outside matrix products, one for each lane, where they are many for the bytes.
    pub lane_ops: f64,
    /// Bytes that are read and written, each once.
    pub bytes: f64,
    /// Ops executed.
    pub launches: f64,
}

/// All that the shape-only device saw.
#[derive(Clone, Default, Debug)]
pub struct Work {
    pub total: Cost,
    /// Kernels of a shape-only CUDA device, in order.
    pub launched: Vec<Launched>,
}

impl Cost {
    /// With `bytes` more to move: a workspace's, which only one implementation has.
    pub fn and_bytes(self, bytes: usize) -> Self {
        Self { bytes: self.bytes + bytes as f64, ..self }
    }

    /// With `bytes` fewer to move: those of an output that a later launch writes.
    pub fn less_bytes(self, bytes: usize) -> Self {
        Self { bytes: self.bytes - bytes as f64, ..self }
    }
}

impl std::ops::AddAssign for Cost {
    fn add_assign(&mut self, more: Cost) {
        self.matmul_flops += more.matmul_flops;
        self.tensor_flops += more.tensor_flops;
        self.lane_ops += more.lane_ops;
        self.bytes += more.bytes;
        self.launches += more.launches;
    }
}

/// One kernel launch: what a prediction needs of it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Launched {
    pub kernel: &'static str,
    /// Blocks; zeros for what the driver does itself, [`COPY`] and [`FILL`].
    pub grid: [usize; 3],
    pub block: [usize; 3],
    /// Dynamic shared memory of a block.
    pub shared_bytes: usize,
    pub cost: Cost,
}

impl Launched {
    pub fn blocks(&self) -> usize {
        self.grid.iter().product()
    }
}

/// Names of the driver's own work among the launches.
pub const COPY: &str = "copy";
pub const FILL: &str = "fill";

impl Device {
    /// To [`reserve`](Self::reserve) on the shape-only device: more than any run.
    pub const UNBOUNDED_BYTES: usize = 1 << 50;

    pub fn cpu() -> Self {
        Self::new(Backend::Cpu(cpu::Memory::default()))
    }

    /// An error says what is missing: the build's feature, the driver, or the card.
    pub fn cuda(ordinal: usize) -> Result<Self> {
        Self::cuda_with(ordinal, Products::from_env()?)
    }

    pub fn cuda_with(ordinal: usize, products: Products) -> Result<Self> {
        Ok(Self::new(Backend::Cuda(Box::new(cuda::Cuda::open(ordinal, products)?))))
    }

    /// Stands for a device of this kind without having one.
    pub fn shape_only(kind: DeviceKind) -> Self {
        Self::new(Backend::Shape(kind))
    }

    fn new(backend: Backend) -> Self {
        let guard_bytes = std::env::var("HRM_GUARD_BYTES").ok().and_then(|n| n.parse().ok());
        let arena = Mutex::new(Arena::new(guard_bytes.unwrap_or(0)));
        let (work, profile) = Default::default();
        Self(Arc::new(Inner { backend, arena, work, profile }))
    }

    pub fn kind(&self) -> DeviceKind {
        match &self.0.backend {
            Backend::Shape(kind) => *kind,
            Backend::Cpu(_) => DeviceKind::Cpu,
            Backend::Cuda(_) => DeviceKind::Cuda,
        }
    }

    pub fn is_shape_only(&self) -> bool {
        matches!(self.0.backend, Backend::Shape(_))
    }

    pub fn name(&self) -> String {
        match &self.0.backend {
            Backend::Shape(_) => "shape-only".into(),
            Backend::Cpu(_) => "cpu".into(),
            Backend::Cuda(cuda) => cuda.name(),
        }
    }

    /// The backend behind a CUDA device.
    pub fn as_cuda(&self) -> Option<&cuda::Cuda> {
        match &self.0.backend {
            Backend::Cuda(cuda) => Some(cuda),
            _ => None,
        }
    }

    /// Bytes in use and at the peak, by purpose.
    pub fn usage(&self) -> Usage {
        self.arena().usage()
    }

    /// Take one region of `bytes` up front, so that a planned run allocates nothing later. On the
    /// shape-only device: as much as anyone may ask for, to learn how much that is.
    pub fn reserve(&self, bytes: usize) -> Result<()> {
        let region = self.arena().add_region(bytes);
        match &self.0.backend {
            Backend::Shape(_) => Ok(()),
            Backend::Cpu(memory) => memory.add(region, bytes),
            Backend::Cuda(cuda) => cuda.add_region(region, bytes),
        }
    }

    /// Wait until all work is done.
    pub fn synchronize(&self) -> Result<()> {
        self.as_cuda().map_or(Ok(()), |cuda| cuda.synchronize())
    }

    /// A part of the host's work by name, for a profiler, until the result is dropped.
    pub fn range(&self, name: &str) -> Option<cuda::Range> {
        self.as_cuda().and_then(|_| cuda::Range::begin(name))
    }

    /// Seconds that `work` takes: on a CUDA device what it does there, without the host's part.
    pub fn time_s(&self, work: impl FnOnce() -> Result<()>) -> Result<f64> {
        if let Some(cuda) = self.as_cuda() {
            return cuda.time_s(work);
        }
        let start = std::time::Instant::now();
        work()?;
        Ok(start.elapsed().as_secs_f64())
    }

    /// Time each op of the CPU from here on.
    pub fn profile(&self) {
        self.0.profile.start();
    }

    /// What was timed since [`profile`](Self::profile), in the order of first calls; ends it.
    pub fn take_profile(&self) -> Vec<Span> {
        self.0.profile.take()
    }

    /// Whether ops that run from here on are the tape's; what that was before.
    pub(crate) fn set_backward(&self, is_backward: bool) -> bool {
        self.0.profile.set_backward(is_backward)
    }

    /// Run `work` of the op that asks for it at `place`.
    pub(crate) fn timed<T>(&self, place: &'static Location, work: impl FnOnce() -> T) -> T {
        self.0.profile.timed(place, work)
    }

    /// Run a CUDA kernel, or count it where nothing runs.
    pub fn launch(&self, launch: &Launch) -> Result<()> {
        match &self.0.backend {
            Backend::Cuda(cuda) => {
                let _range = self.range(launch.kernel.op);
                cuda.launch(launch)
            }
            Backend::Shape(DeviceKind::Cuda) => {
                launch.check()?;
                let Launch { kernel, grid, block, shared_bytes, cost, .. } = *launch;
                self.count(cost);
                let launched = Launched { kernel: kernel.name, grid, block, shared_bytes, cost };
                self.record(launched);
                Ok(())
            }
            _ => Err(Error::Device {
                device: self.name(),
                what: format!("asked to run the CUDA kernel {}", launch.kernel.name),
            }),
        }
    }

    /// Record `step` as a graph; nothing of it runs. Only on a CUDA device; no allocation may grow
    /// the arena meanwhile, and nothing may wait for the device.
    pub fn capture(&self, step: impl FnOnce() -> Result<()>) -> Result<Graph> {
        let cuda = self.as_cuda().ok_or_else(|| Error::Device {
            device: self.name(),
            what: "cannot capture a step".into(),
        })?;
        cuda.begin_capture()?;
        let recorded = step();
        let (live, device) = (self.live(), self.clone());
        // Made before anything fails: it destroys on drop what was recorded.
        let graph = cuda.end_capture().map(|graph| Graph { graph, live, device });
        recorded.and(graph)
    }

    /// Equal when the same places of the arena are in use.
    pub fn live(&self) -> u64 {
        self.arena().live()
    }

    pub fn count(&self, cost: Cost) {
        lock(&self.0.work).total += cost;
    }

    /// A copy or fill that the driver does: work of a CUDA device like any kernel.
    pub(crate) fn count_transfer(&self, name: &'static str, bytes: usize) {
        if let Backend::Shape(DeviceKind::Cuda) = &self.0.backend {
            let cost = Cost { bytes: bytes as f64, launches: 1.0, ..Cost::default() };
            self.count(cost);
            self.record(Launched {
                kernel: name,
                grid: [0; 3],
                block: [0; 3],
                shared_bytes: 0,
                cost,
            });
        }
    }

    fn record(&self, launched: Launched) {
        lock(&self.0.work).launched.push(launched);
    }

    pub fn take_work(&self) -> Work {
        std::mem::take(&mut *lock(&self.0.work))
    }

    pub(crate) fn alloc(&self, bytes: usize, purpose: Purpose) -> Result<Arc<Buffer>> {
        // Bound first: a guard in the scrutinee would be held while `reserve` locks again.
        let place = self.arena().alloc(bytes, purpose);
        let place = match place {
            Some(place) => place,
            None => {
                let growth_bytes = self.arena().growth_bytes(bytes);
                self.reserve(growth_bytes)?;
                self.arena().alloc(bytes, purpose).ok_or_else(|| Error::Device {
                    device: self.name(),
                    what: format!("no room for {bytes} bytes after growing"),
                })?
            }
        };
        let (region, offset) = (place.region, place.offset);
        let memory = match &self.0.backend {
            Backend::Shape(_) => buffer::Memory::None,
            Backend::Cpu(memory) => buffer::Memory::Host(memory.range(region, offset, bytes)?),
            Backend::Cuda(cuda) => {
                buffer::Memory::Cuda(cuda.open_buffer(region, offset, bytes, purpose.name())?)
            }
        };
        Ok(Arc::new(Buffer::new(self.clone(), place, bytes, memory)))
    }

    fn arena(&self) -> MutexGuard<'_, Arena> {
        lock(&self.0.arena)
    }
}

impl PartialEq for Device {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

/// A recorded step; see [`Device::capture`].
pub struct Graph {
    graph: cuda::Graph,
    device: Device,
    /// [`Device::live`] when it was recorded.
    live: u64,
}

impl Graph {
    /// Whether the memory that the step works in is still nobody else's.
    pub fn is_current(&self) -> bool {
        self.live == self.device.live()
    }

    /// Queue the step again, on the same memory: see [`is_current`](Self::is_current).
    pub fn replay(&self) -> Result<()> {
        self.device.as_cuda().map_or(Ok(()), |cuda| cuda.replay(&self.graph))
    }
}

impl Drop for Graph {
    fn drop(&mut self) {
        if let Some(cuda) = self.device.as_cuda() {
            cuda.forget(&self.graph);
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}
