//! Streams, events, pinned memory and graphs through the driver itself: the engine's own transfers
//! leave no room for these bugs.
#![allow(unsafe_code)]

use std::ffi::{CString, c_void};
use std::path::Path;

use cudarc::driver::{result, sys};
use hrm::backend::Device;
use hrm::{Error, Result};

use super::{Planted, Scene};
use crate::mutation::Caught;

/// Where add_fwd reads its terms, here both the same.
const LOADS: &[(&str, &str)] =
    &[("add.cu", "load_f32<T, W>(a + i, sum);"), ("add.cu", "load_f32<T, W>(b + i, term);")];

pub const SCENES: &[Scene] = &[
    Scene {
        name: "no event between upload and kernel",
        play: |device, planted| {
            let s = Stage::zeroed(device)?;
            s.upload(s.copies)?;
            if planted == Planted::No {
                s.order(s.copies, s.compute)?;
            }
            s.add()?;
            s.finish()
        },
        caught: Caught::Finding { kinds: &["stream_race"], kernel: "add_fwd_f32", at: &[] },
    },
    Scene {
        name: "event recorded before the copy it stands for",
        play: |device, planted| {
            let s = Stage::zeroed(device)?;
            if planted == Planted::Yes {
                s.order(s.copies, s.compute)?;
                s.upload(s.copies)?;
            } else {
                s.upload(s.copies)?;
                s.order(s.copies, s.compute)?;
            }
            s.add()?;
            s.finish()
        },
        caught: Caught::Finding { kinds: &["stream_race"], kernel: "add_fwd_f32", at: &[] },
    },
    Scene {
        name: "next batch copied over the one in use",
        play: |device, planted| {
            let s = Stage::zeroed(device)?;
            s.upload(s.copies)?;
            s.order(s.copies, s.compute)?;
            s.add()?;
            if planted == Planted::No {
                s.order(s.compute, s.copies)?;
            }
            s.upload(s.copies)?;
            s.finish()
        },
        caught: Caught::Finding { kinds: &["stream_race"], kernel: "add_fwd_f32", at: &[] },
    },
    Scene {
        name: "pinned buffer filled again too early",
        play: |device, planted| {
            let s = Stage::new(device)?;
            s.upload(s.compute)?;
            if planted == Planted::No {
                s.wait(s.compute)?;
            }
            s.fill(2.0);
            s.add()?;
            s.finish()
        },
        caught: Caught::Finding { kinds: &["host_reuse"], kernel: "copy host to device", at: &[] },
    },
    Scene {
        name: "memory freed while a kernel uses it",
        play: |device, planted| {
            let s = Stage::new(device)?;
            s.upload(s.compute)?;
            s.add()?;
            if planted == Planted::No {
                s.wait(s.compute)?;
            }
            s.free_a()?;
            s.finish()
        },
        caught: Caught::Finding { kinds: &["host"], kernel: "cuMemFree", at: &[] },
    },
    Scene {
        name: "result read before the copy to the host",
        play: |device, planted| {
            let s = Stage::new(device)?;
            s.upload(s.compute)?;
            s.add()?;
            s.download()?;
            if planted == Planted::No {
                s.wait(s.compute)?;
            }
            let got = s.host()[0];
            s.finish()?;
            match got == 2.0 {
                true => Ok(()),
                false => Err(Error::invalid(format!(
                    "\n{}add_fwd_f32: the sum is {got}, not 2\n",
                    crate::parity::DIFFERS
                ))),
            }
        },
        caught: Caught::Values { kernel: "add_fwd_f32" },
    },
    Scene {
        name: "memset counted in elements",
        play: |device, planted| {
            let s = Stage::new(device)?;
            s.zero(if planted == Planted::Yes { ELEMS } else { BYTES })?;
            s.add()?;
            s.finish()
        },
        caught: Caught::Finding { kinds: &["uninitialised"], kernel: "add_fwd_f32", at: LOADS },
    },
    Scene {
        name: "pointer off by two bytes",
        play: |device, planted| {
            let s = Stage::new(device)?;
            s.upload(s.compute)?;
            let (offset, elems) =
                if planted == Planted::Yes { (2, ELEMS - 1) } else { (4, ELEMS - 1) };
            s.launch(s.a + offset, elems)?;
            s.finish()
        },
        caught: Caught::Finding { kinds: &["misaligned"], kernel: "add_fwd_f32", at: LOADS },
    },
    Scene {
        name: "elements counted past the end",
        play: |device, planted| {
            let s = Stage::new(device)?;
            s.upload(s.compute)?;
            s.launch(s.a, if planted == Planted::Yes { ELEMS + 4 } else { ELEMS })?;
            s.finish()
        },
        caught: Caught::Finding { kinds: &["out_of_bounds"], kernel: "add_fwd_f32", at: LOADS },
    },
    Scene {
        name: "graph replayed after its input was freed",
        play: |device, planted| {
            let s = Stage::new(device)?;
            s.upload(s.compute)?;
            let graph = s.captured(|| s.add())?;
            s.wait(s.compute)?;
            if planted == Planted::Yes {
                s.free_a()?;
            }
            s.replay(graph)?;
            s.finish()
        },
        caught: Caught::Finding { kinds: &["use_after_free"], kernel: "add_fwd_f32", at: LOADS },
    },
    Scene {
        name: "shared memory above 48 KiB without the attribute",
        play: |device, planted| {
            let s = Stage::new(device)?;
            if planted == Planted::No {
                s.allow_shared(LARGE_SHARED_BYTES)?;
            }
            s.attention(LARGE_SHARED_BYTES)?;
            s.finish()
        },
        caught: Caught::Finding { kinds: &["launch"], kernel: "attention_fwd_f32", at: &[] },
    },
];

const ELEMS: usize = 1024;
const BYTES: usize = 4 * ELEMS;
const LARGE_SHARED_BYTES: u32 = 60 << 10;

/// Two streams, pinned memory full of ones, device memory without data, y = a + a.
struct Stage {
    compute: sys::CUstream,
    copies: sys::CUstream,
    pinned: *mut f32,
    a: u64,
    y: u64,
    add: sys::CUfunction,
    attention: sys::CUfunction,
}

fn done<T>(what: &str, outcome: std::result::Result<T, result::DriverError>) -> Result<T> {
    outcome.map_err(|error| Error::invalid(format!("{what}: {error:?}")))
}

/// A kernel of the folder that the engine takes kernels from.
fn function(module: &str, name: &str) -> Result<sys::CUfunction> {
    let folder = std::env::var_os("HRM_KERNELS_DIR").expect("set for scenes");
    let path = Path::new(&folder).join(format!("{module}.ptx"));
    let text = std::fs::read_to_string(path).expect("compiled for scenes");
    let text = CString::new(text).expect("no NUL in PTX");
    let symbol = CString::new(name).expect("no NUL in a name");
    // SAFETY: PTX that ends in NUL; the module stays loaded.
    unsafe {
        let module = done("cuModuleLoadData", result::module::load_data(text.as_ptr().cast()))?;
        done("cuModuleGetFunction", result::module::get_function(module, symbol))
    }
}

impl Stage {
    fn new(device: &Device) -> Result<Self> {
        device.synchronize()?; // makes its context this thread's
        let stream = || result::stream::create(result::stream::StreamKind::NonBlocking);
        // SAFETY: plain allocations; the pinned bytes are filled below.
        let (pinned, a, y) = unsafe {
            (
                done("cuMemHostAlloc", result::malloc_host(BYTES, 0))?,
                done("cuMemAlloc", result::malloc_sync(BYTES))?,
                done("cuMemAlloc", result::malloc_sync(BYTES))?,
            )
        };
        let stage = Self {
            compute: done("cuStreamCreate", stream())?,
            copies: done("cuStreamCreate", stream())?,
            pinned: pinned.cast(),
            a,
            y,
            add: function("add", "add_fwd_f32")?,
            attention: function("attention_any", "attention_fwd_f32")?,
        };
        stage.fill(1.0);
        Ok(stage)
    }

    /// With data in `a`, so that only the order of what follows is in question.
    fn zeroed(device: &Device) -> Result<Self> {
        let stage = Self::new(device)?;
        stage.zero(BYTES)?;
        stage.wait(stage.compute)?;
        Ok(stage)
    }

    fn host(&self) -> &[f32] {
        // SAFETY: allocated and filled in `new`. That a copy may be in flight is what is tested.
        unsafe { std::slice::from_raw_parts(self.pinned, ELEMS) }
    }

    fn fill(&self, value: f32) {
        for i in 0..ELEMS {
            // SAFETY: inside the allocation of `new`; no reference to it is alive.
            unsafe { self.pinned.add(i).write(value) };
        }
    }

    fn upload(&self, stream: sys::CUstream) -> Result<()> {
        // SAFETY: `a` has as many bytes; pinned memory lives as long as the process.
        done("upload", unsafe { result::memcpy_htod_async(self.a, self.host(), stream) })
    }

    fn download(&self) -> Result<()> {
        // SAFETY: as in `upload`, the other way.
        let host = unsafe { std::slice::from_raw_parts_mut(self.pinned, ELEMS) };
        // SAFETY: as above.
        done("download", unsafe { result::memcpy_dtoh_async(host, self.y, self.compute) })
    }

    /// What is queued in `later` from here on waits for what is queued in `earlier` so far.
    fn order(&self, earlier: sys::CUstream, later: sys::CUstream) -> Result<()> {
        let event = result::event::create(sys::CUevent_flags::CU_EVENT_DISABLE_TIMING);
        let event = done("cuEventCreate", event)?;
        let flags = sys::CUevent_wait_flags::CU_EVENT_WAIT_DEFAULT;
        // SAFETY: streams and event are alive.
        unsafe {
            done("cuEventRecord", result::event::record(event, earlier))?;
            done("cuStreamWaitEvent", result::stream::wait_event(later, event, flags))
        }
    }

    fn wait(&self, stream: sys::CUstream) -> Result<()> {
        // SAFETY: the stream is alive.
        done("cuStreamSynchronize", unsafe { result::stream::synchronize(stream) })
    }

    fn finish(&self) -> Result<()> {
        self.wait(self.copies)?;
        self.wait(self.compute)
    }

    fn zero(&self, bytes: usize) -> Result<()> {
        // SAFETY: no more than `a` has.
        done("memset", unsafe { result::memset_d8_async(self.a, 0, bytes, self.compute) })
    }

    fn free_a(&self) -> Result<()> {
        // SAFETY: not used again, or that is the bug.
        done("cuMemFree", unsafe { result::free_sync(self.a) })
    }

    fn add(&self) -> Result<()> {
        self.launch(self.a, ELEMS)
    }

    fn launch(&self, a: u64, elems: usize) -> Result<()> {
        let mut pointers = [self.y, a, a, 0];
        let mut elems = elems as u32;
        let mut params: Vec<*mut c_void> =
            pointers.iter_mut().map(|p| std::ptr::from_mut(p).cast()).collect();
        params.push(std::ptr::from_mut(&mut elems).cast());
        self.run(self.add, [4, 256, 0], &mut params)
    }

    /// One head of a slot without positions, with more shared memory than it needs.
    fn attention(&self, shared_bytes: u32) -> Result<()> {
        self.zero(BYTES)?;
        // Tiles, starts, lengths and places are the zeros that `a` holds.
        let mut pointers = [self.y, self.y + 64, self.a, 0, 0, self.a, self.a, self.a, self.a];
        let (mut heads, mut scale, mut more) = (1_u32, 1.0_f32, [4_u32, 8]);
        let mut params: Vec<*mut c_void> =
            pointers.iter_mut().map(|p| std::ptr::from_mut(p).cast()).collect();
        params.push(std::ptr::from_mut(&mut heads).cast());
        params.push(std::ptr::from_mut(&mut scale).cast());
        params.extend(more.iter_mut().map(|n| std::ptr::from_mut(n).cast::<c_void>()));
        self.run(self.attention, [1, 128, shared_bytes], &mut params)
    }

    fn allow_shared(&self, bytes: u32) -> Result<()> {
        let attribute = sys::CUfunction_attribute::CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES;
        // SAFETY: the function's module stays loaded.
        let set = unsafe {
            result::function::set_function_attribute(self.attention, attribute, bytes as i32)
        };
        done("cuFuncSetAttribute", set)
    }

    fn run(
        &self,
        function: sys::CUfunction,
        [blocks, threads, shared_bytes]: [u32; 3],
        params: &mut [*mut c_void],
    ) -> Result<()> {
        // SAFETY: the callers give a value of the right width for each parameter. What it points to
        // is for the simulator to judge.
        done("cuLaunchKernel", unsafe {
            let (grid, block) = ((blocks, 1, 1), (threads, 1, 1));
            result::launch_kernel(function, grid, block, shared_bytes, self.compute, params)
        })
    }

    /// What `body` queues in the compute stream, as a graph; it does not run.
    fn captured(&self, body: impl FnOnce() -> Result<()>) -> Result<sys::CUgraphExec> {
        let mode = sys::CUstreamCaptureMode::CU_STREAM_CAPTURE_MODE_THREAD_LOCAL;
        // SAFETY: the stream is alive, and nothing in `body` waits for it.
        unsafe {
            done("cuStreamBeginCapture", result::stream::begin_capture(self.compute, mode))?;
            body()?;
            let graph = done("cuStreamEndCapture", result::stream::end_capture(self.compute))?;
            let flags = sys::CUgraphInstantiate_flags_enum(0);
            done("cuGraphInstantiate", result::graph::instantiate(graph, flags))
        }
    }

    fn replay(&self, graph: sys::CUgraphExec) -> Result<()> {
        // SAFETY: instantiated by `captured`, and never destroyed.
        done("cuGraphLaunch", unsafe { result::graph::launch(graph, self.compute) })
    }
}
