//! Launches: parameters are copied at the call, limits are checked at the call, the kernel runs
//! when its turn comes.

use std::ffi::{c_int, c_uint, c_void};
use std::sync::Arc;

use super::error::{CuError, Result, Status};
use super::gpu::Gpu;
use super::probe;
use super::queue::{Accesses, NodeKind, Work};
use super::state::{Driver, as_host_function, enter};
use crate::exec::{self, LaunchConfig, LaunchError};
use crate::ptx::Kernel;

/// `CU_LAUNCH_PARAM_{END,BUFFER_POINTER,BUFFER_SIZE}`
const EXTRA_END: usize = 0;
const EXTRA_POINTER: usize = 1;
const EXTRA_BYTES: usize = 2;

/// `CUlaunchAttributeID`: those that change no result.
const ATTRIBUTE_IGNORE: c_int = 0;
const ATTRIBUTE_PRIORITY: c_int = 8;

pub struct Shape {
    pub grid: [u32; 3],
    pub block: [u32; 3],
    pub shared_bytes: u32,
}

pub struct Launch {
    kernel: Arc<Kernel>,
    config: LaunchConfig,
}

impl Work for Launch {
    fn label(&self) -> String {
        format!("kernel {}", self.kernel.name)
    }

    fn kind(&self) -> NodeKind {
        NodeKind::Kernel
    }

    fn run(&self, gpu: &mut Gpu) -> Accesses {
        let result = gpu.watch_findings(|gpu| {
            exec::run(&self.kernel, &self.config, &mut gpu.memory, &mut gpu.session)
        });
        if let Err(error) = result {
            gpu.report_launch(&self.kernel.name, &error.to_string());
        }
        let touched = std::mem::take(&mut gpu.session.touched);
        Accesses { reads: touched.reads, writes: touched.writes }
    }
}

impl Driver {
    /// Check a launch and copy its parameters.
    pub fn prepare_launch(
        &mut self,
        function: usize,
        shape: Shape,
        params: *const *const c_void,
        extra: *const *const c_void,
    ) -> Result<Launch> {
        let function = self.function("cuLaunchKernel", function)?;
        let kernel = function.kernel.clone();
        let max_dynamic_shared_bytes = function.max_dynamic_shared_bytes;
        let gathered = match (params.is_null(), extra.is_null()) {
            (false, false) => Err("both kernelParams and extra are given".to_owned()),
            (true, false) => packed(&kernel, extra),
            (_, true) => gathered(&kernel, params),
        };
        let params = gathered.map_err(|text| {
            self.gpu.report_launch(&kernel.name, &text);
            CuError::INVALID_VALUE
        })?;
        let Shape { grid, block, shared_bytes } = shape;
        let config = LaunchConfig {
            grid,
            block,
            dynamic_shared_bytes: shared_bytes,
            max_dynamic_shared_bytes,
            params,
        };
        exec::check_launch(&kernel, &config).map_err(|error| {
            self.gpu.report_launch(&kernel.name, &error.to_string());
            match error {
                LaunchError::InvalidValue(_) => CuError::INVALID_VALUE,
                LaunchError::OutOfResources(_) => CuError::LAUNCH_OUT_OF_RESOURCES,
                LaunchError::Failed(_) => CuError::LAUNCH_FAILED,
            }
        })?;
        Ok(Launch { kernel, config })
    }
}

/// The parameter block from one pointer per parameter.
fn gathered(kernel: &Kernel, params: *const *const c_void) -> Result<Vec<u8>, String> {
    let mut block = vec![0; kernel.param_bytes as usize];
    if kernel.params.is_empty() {
        return Ok(block);
    }
    if params.is_null() {
        return Err(format!(
            "kernelParams is null, the kernel has {} parameters",
            kernel.params.len()
        ));
    }
    let mut pointers = vec![0_u8; kernel.params.len() * 8];
    if !probe::read(params as u64, &mut pointers) {
        return Err(format!("kernelParams is not an array of {} pointers", kernel.params.len()));
    }
    for ((index, param), pointer) in kernel.params.iter().enumerate().zip(pointers.chunks_exact(8))
    {
        let pointer = u64::from_ne_bytes(pointer.try_into().expect("chunks of 8"));
        let target = &mut block[param.offset as usize..(param.offset + param.bytes) as usize];
        if pointer == 0 || !probe::read(pointer, target) {
            return Err(format!(
                "parameter {index} (`{}`): {pointer:#x} cannot be read",
                param.name
            ));
        }
    }
    Ok(block)
}

/// The parameter block that the caller packed, described by `extra`.
fn packed(kernel: &Kernel, extra: *const *const c_void) -> Result<Vec<u8>, String> {
    let (mut pointer, mut size) = (0_u64, None);
    let mut at = extra;
    loop {
        // SAFETY: by the API's contract `extra` is a list of pairs that ends with
        // CU_LAUNCH_PARAM_END.
        let key = unsafe { *at } as usize;
        if key == EXTRA_END {
            break;
        }
        // SAFETY: a key other than the end is followed by its value.
        let value = unsafe { *at.add(1) };
        match key {
            EXTRA_POINTER => pointer = value as u64,
            EXTRA_BYTES => {
                let mut bytes = [0; 8];
                if !probe::read(value as u64, &mut bytes) {
                    return Err("the size in `extra` cannot be read".into());
                }
                size = Some(u64::from_ne_bytes(bytes));
            }
            _ => return Err(format!("`extra` holds the unknown key {key}")),
        }
        // SAFETY: as above; the list goes on after the pair.
        at = unsafe { at.add(2) };
    }
    if size != Some(u64::from(kernel.param_bytes)) {
        let given = size.unwrap_or(0);
        return Err(format!(
            "{given} bytes of parameters are given, the kernel takes {}",
            kernel.param_bytes
        ));
    }
    let mut block = vec![0; kernel.param_bytes as usize];
    match probe::read(pointer, &mut block) {
        true => Ok(block),
        false => Err("the parameters in `extra` cannot be read".into()),
    }
}

#[unsafe(no_mangle)]
pub extern "C" fn cuLaunchKernel(
    function: usize,
    grid_x: c_uint,
    grid_y: c_uint,
    grid_z: c_uint,
    block_x: c_uint,
    block_y: c_uint,
    block_z: c_uint,
    shared_bytes: c_uint,
    stream: usize,
    params: *const *const c_void,
    extra: *const *const c_void,
) -> Status {
    enter("cuLaunchKernel", |driver| {
        driver.context()?;
        let shape = Shape {
            grid: [grid_x, grid_y, grid_z],
            block: [block_x, block_y, block_z],
            shared_bytes,
        };
        let launch = driver.prepare_launch(function, shape, params, extra)?;
        driver.submit(stream, Arc::new(launch)).map(drop)
    })
}

/// `CUlaunchAttribute`: the value is a union of 64 bytes.
#[repr(C)]
pub struct LaunchAttribute {
    id: c_int,
    pad: [u8; 4],
    value: [u64; 8],
}

/// `CUlaunchConfig`
#[repr(C)]
pub struct LaunchConfigEx {
    grid: [c_uint; 3],
    block: [c_uint; 3],
    shared_bytes: c_uint,
    stream: usize,
    attributes: *const LaunchAttribute,
    attribute_count: c_uint,
}

#[unsafe(no_mangle)]
pub extern "C" fn cuLaunchKernelEx(
    config: *const LaunchConfigEx,
    function: usize,
    params: *const *const c_void,
    extra: *const *const c_void,
) -> Status {
    enter("cuLaunchKernelEx", |driver| {
        driver.context()?;
        // SAFETY: the caller passes null or a structure that it owns.
        let config = unsafe { config.as_ref() }.ok_or(CuError::INVALID_VALUE)?;
        for at in 0..config.attribute_count as usize {
            if config.attributes.is_null() {
                return Err(CuError::INVALID_VALUE);
            }
            // SAFETY: not null, and the caller says that it holds `attribute_count` entries.
            let id = unsafe { (*config.attributes.add(at)).id };
            if id != ATTRIBUTE_IGNORE && id != ATTRIBUTE_PRIORITY {
                driver.gpu.report_not_modelled(
                    "cuLaunchKernelEx",
                    format!("launch attribute {id} is not modelled"),
                );
                return Err(CuError::NOT_SUPPORTED);
            }
        }
        let shape =
            Shape { grid: config.grid, block: config.block, shared_bytes: config.shared_bytes };
        let launch = driver.prepare_launch(function, shape, params, extra)?;
        driver.submit(config.stream, Arc::new(launch)).map(drop)
    })
}

type HostFunction = unsafe extern "C" fn(*mut c_void);

struct HostCall {
    function: HostFunction,
    argument: usize,
}

impl Work for HostCall {
    fn label(&self) -> String {
        "host function".into()
    }

    fn kind(&self) -> NodeKind {
        NodeKind::Host
    }

    fn run(&self, gpu: &mut Gpu) -> Accesses {
        // SAFETY: the caller keeps function and argument valid until the stream has passed this
        // point.
        let calls = as_host_function(|| unsafe { (self.function)(self.argument as *mut c_void) });
        for call in calls {
            gpu.report_host(&call, "was called from a host function, which the driver forbids");
        }
        Accesses::default()
    }
}

#[unsafe(no_mangle)]
pub extern "C" fn cuLaunchHostFunc(
    stream: usize,
    function: Option<HostFunction>,
    argument: *mut c_void,
) -> Status {
    enter("cuLaunchHostFunc", |driver| {
        let function = function.ok_or(CuError::INVALID_VALUE)?;
        driver
            .submit(stream, Arc::new(HostCall { function, argument: argument as usize }))
            .map(drop)
    })
}
