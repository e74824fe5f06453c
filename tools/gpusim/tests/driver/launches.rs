//! Modules and launches: a hand-written kernel through cudarc, and everything that is wrong with a
//! launch.

use std::ffi::c_void;
use std::sync::Arc;

use cudarc::driver::{
    CudaContext, CudaStream, DevicePtr, LaunchConfig, PushKernelArg, result, sys,
};
use cudarc::nvrtc::Ptx;

use crate::common::simulate;

/// y[i] = a x[i] + y[i] for i < n.
const AXPY: &str = "
.version 8.0
.target sm_80
.address_size 64
.visible .entry axpy(.param .u64 x, .param .u64 y, .param .f32 a, .param .u32 n)
{
    .reg .pred %p<2>;
    .reg .f32 %f<5>;
    .reg .b32 %r<6>;
    .reg .b64 %rd<8>;
    ld.param.u64 %rd1, [x];
    ld.param.u64 %rd2, [y];
    ld.param.f32 %f1, [a];
    ld.param.u32 %r1, [n];
    mov.u32 %r2, %ctaid.x;
    mov.u32 %r3, %ntid.x;
    mov.u32 %r4, %tid.x;
    mad.lo.s32 %r5, %r2, %r3, %r4;
    setp.ge.u32 %p1, %r5, %r1;
    @%p1 bra DONE;
    cvta.to.global.u64 %rd3, %rd1;
    cvta.to.global.u64 %rd4, %rd2;
    mul.wide.u32 %rd5, %r5, 4;
    add.s64 %rd6, %rd3, %rd5;
    add.s64 %rd7, %rd4, %rd5;
    ld.global.f32 %f2, [%rd6];
    ld.global.f32 %f3, [%rd7];
    fma.rn.f32 %f4, %f1, %f2, %f3;
    st.global.f32 [%rd7], %f4;
DONE:
    ret;
}
";

const N: usize = 1000;

struct Program {
    context: Arc<CudaContext>,
    stream: Arc<CudaStream>,
    module: Arc<cudarc::driver::CudaModule>,
}

fn program() -> Program {
    let context = CudaContext::new(0).unwrap();
    let stream = context.new_stream().unwrap();
    let module = context.load_module(Ptx::from_src(AXPY)).unwrap();
    Program { context, stream, module }
}

fn config() -> LaunchConfig {
    LaunchConfig::for_num_elems(N as u32)
}

#[test]
fn a_kernel_computes_and_is_repeatable_in_a_graph() {
    simulate(
        "launches::a_kernel_computes_and_is_repeatable_in_a_graph",
        0..5,
        || {
            let Program { context, module, .. } = program();
            // SAFETY: one stream is used.
            unsafe { context.disable_event_tracking() };
            let stream = context.new_stream().unwrap();
            let axpy = module.load_function("axpy").unwrap();
            let host: Vec<f32> = (0..N).map(|i| i as f32).collect();
            let (x, mut y) = (stream.clone_htod(&host).unwrap(), stream.clone_htod(&host).unwrap());
            stream.synchronize().unwrap();
            let (a, n) = (2.0_f32, N as u32);
            stream.begin_capture(sys::CUstreamCaptureMode::CU_STREAM_CAPTURE_MODE_GLOBAL).unwrap();
            let mut launch = stream.launch_builder(&axpy);
            // SAFETY: the arguments are those of the kernel.
            unsafe { launch.arg(&x).arg(&mut y).arg(&a).arg(&n).launch(config()).unwrap() };
            let graph = stream.end_capture(sys::CUgraphInstantiate_flags(0)).unwrap().unwrap();
            graph.launch().unwrap();
            graph.launch().unwrap();
            let y = stream.clone_dtoh(&y).unwrap();
            assert!(y.iter().zip(&host).all(|(y, x)| *y == 5.0 * x));
        },
        |outcome| outcome.clean(),
    );
}

#[test]
fn kernels_of_two_streams_need_an_event() {
    let run = |ordered: bool| {
        let Program { context, module, stream: first } = program();
        // SAFETY: the order of the two streams is the subject.
        unsafe { context.disable_event_tracking() };
        let second = context.new_stream().unwrap();
        let axpy = module.load_function("axpy").unwrap();
        let x = first.clone_htod(&[1.0_f32; N]).unwrap();
        let mut y = first.clone_htod(&[1.0_f32; N]).unwrap();
        first.synchronize().unwrap();
        let (a, n) = (2.0_f32, N as u32);
        for stream in [&first, &second] {
            if ordered {
                second.join(&first).unwrap();
            }
            let mut launch = stream.launch_builder(&axpy);
            // SAFETY: the arguments are those of the kernel.
            let _ = unsafe { launch.arg(&x).arg(&mut y).arg(&a).arg(&n).launch(config()) };
        }
        let _ = context.synchronize();
    };
    let name = "launches::kernels_of_two_streams_need_an_event";
    if std::env::var("GPUSIM_TEST_ORDERED").is_ok() {
        return run(true);
    }
    simulate(name, 0..10, || run(false), |outcome| outcome.found("which kernel axpy writes"));
    for seed in 0..10 {
        let environment =
            [("GPUSIM_TEST_ORDERED", "1".to_owned()), ("GPUSIM_SEED", seed.to_string())];
        if let Some(outcome) = crate::common::simulate_with(name, &environment, || ()) {
            outcome.clean();
        }
    }
}

#[test]
fn a_graph_with_a_stale_pointer_is_found() {
    simulate(
        "launches::a_graph_with_a_stale_pointer_is_found",
        0..3,
        || {
            let Program { context, module, stream } = program();
            // SAFETY: one stream is used; freeing what the graph uses is the point.
            unsafe { context.disable_event_tracking() };
            let axpy = module.load_function("axpy").unwrap();
            let x = stream.clone_htod(&[1.0_f32; N]).unwrap();
            let mut y = stream.clone_htod(&[1.0_f32; N]).unwrap();
            stream.synchronize().unwrap();
            let (a, n) = (2.0_f32, N as u32);
            stream.begin_capture(sys::CUstreamCaptureMode::CU_STREAM_CAPTURE_MODE_GLOBAL).unwrap();
            let mut launch = stream.launch_builder(&axpy);
            // SAFETY: the arguments are those of the kernel.
            unsafe { launch.arg(&x).arg(&mut y).arg(&a).arg(&n).launch(config()).unwrap() };
            let graph = stream.end_capture(sys::CUgraphInstantiate_flags(0)).unwrap().unwrap();
            drop(x);
            let _ = graph.launch();
            let _ = stream.synchronize();
        },
        |outcome| outcome.found("in axpy"),
    );
}

/// Launch with explicit parameter pointers.
fn launch_raw(shape: [u32; 3], shared_bytes: u32, params: &mut [*mut c_void]) -> sys::CUresult {
    let context = CudaContext::new(0).unwrap();
    context.bind_to_thread().unwrap();
    // SAFETY: plain calls of the driver; what is wrong with the launch is the point.
    unsafe {
        let text = std::ffi::CString::new(AXPY).unwrap();
        let module = result::module::load_data(text.as_ptr().cast()).unwrap();
        let axpy = result::module::get_function(module, c"axpy".to_owned()).unwrap();
        let [grid, block, z] = shape;
        let null = std::ptr::null_mut();
        let params = params.as_mut_ptr();
        sys::cuLaunchKernel(axpy, grid, 1, z, block, 1, 1, shared_bytes, null, params, null.cast())
    }
}

fn good_params() -> [*mut c_void; 4] {
    let leak = |value: u64| (Box::leak(Box::new(value)) as *mut u64).cast();
    [leak(0), leak(0), leak(0), leak(0)]
}

#[test]
fn a_null_parameter_is_found() {
    simulate(
        "launches::a_null_parameter_is_found",
        0..1,
        || {
            let mut params = good_params();
            params[2] = std::ptr::null_mut();
            let refused = launch_raw([1, 32, 1], 0, &mut params);
            assert_eq!(refused, sys::CUresult::CUDA_ERROR_INVALID_VALUE);
        },
        |outcome| outcome.found("parameter 2 (`a`)"),
    );
}

#[test]
fn a_parameter_that_is_no_pointer_is_found() {
    simulate(
        "launches::a_parameter_that_is_no_pointer_is_found",
        0..1,
        || {
            let mut params = good_params();
            params[3] = 1000 as *mut c_void;
            assert_ne!(launch_raw([1, 32, 1], 0, &mut params), sys::CUresult::CUDA_SUCCESS);
        },
        |outcome| outcome.found("parameter 3 (`n`): 0x3e8 cannot be read"),
    );
}

#[test]
fn too_many_threads_are_found() {
    simulate(
        "launches::too_many_threads_are_found",
        0..1,
        || {
            assert_ne!(
                launch_raw([1, 2048, 1], 0, &mut good_params()),
                sys::CUresult::CUDA_SUCCESS
            );
        },
        |outcome| outcome.found("Launch"),
    );
}

#[test]
fn an_empty_grid_is_found() {
    simulate(
        "launches::an_empty_grid_is_found",
        0..1,
        || {
            assert_ne!(launch_raw([0, 32, 1], 0, &mut good_params()), sys::CUresult::CUDA_SUCCESS);
        },
        |outcome| outcome.found("Launch"),
    );
}

#[test]
fn dynamic_shared_memory_beyond_the_attribute_is_found() {
    simulate(
        "launches::dynamic_shared_memory_beyond_the_attribute_is_found",
        0..1,
        || {
            let refused = launch_raw([1, 32, 1], 64 << 10, &mut good_params());
            assert_eq!(refused, sys::CUresult::CUDA_ERROR_INVALID_VALUE);
        },
        |outcome| outcome.found("Launch"),
    );
}

#[test]
fn a_parameter_block_of_wrong_size_is_found() {
    simulate(
        "launches::a_parameter_block_of_wrong_size_is_found",
        0..1,
        || {
            let Program { context, .. } = program();
            context.bind_to_thread().unwrap();
            let mut block = [0_u8; 24];
            let mut bytes = 20_usize;
            // SAFETY: the list is made as the driver wants it; its size is wrong on purpose.
            unsafe {
                let text = std::ffi::CString::new(AXPY).unwrap();
                let module = result::module::load_data(text.as_ptr().cast()).unwrap();
                let axpy = result::module::get_function(module, c"axpy".to_owned()).unwrap();
                let null = std::ptr::null_mut::<c_void>();
                let mut extra = [
                    std::ptr::without_provenance_mut(1),
                    block.as_mut_ptr().cast(),
                    std::ptr::without_provenance_mut(2),
                    (&raw mut bytes).cast(),
                    null,
                ];
                let refused = sys::cuLaunchKernel(
                    axpy,
                    1,
                    1,
                    1,
                    32,
                    1,
                    1,
                    0,
                    null.cast(),
                    null.cast(),
                    extra.as_mut_ptr(),
                );
                assert_eq!(refused, sys::CUresult::CUDA_ERROR_INVALID_VALUE);
            }
        },
        |outcome| outcome.found("20 bytes of parameters are given, the kernel takes 24"),
    );
}

#[test]
fn a_cluster_launch_is_refused() {
    simulate(
        "launches::a_cluster_launch_is_refused",
        0..1,
        || {
            let Program { context, .. } = program();
            context.bind_to_thread().unwrap();
            // SAFETY: plain calls of the driver with structures of their types.
            unsafe {
                let text = std::ffi::CString::new(AXPY).unwrap();
                let module = result::module::load_data(text.as_ptr().cast()).unwrap();
                let axpy = result::module::get_function(module, c"axpy".to_owned()).unwrap();
                let mut attribute: sys::CUlaunchAttribute = std::mem::zeroed();
                attribute.id = sys::CUlaunchAttributeID::CU_LAUNCH_ATTRIBUTE_CLUSTER_DIMENSION;
                let mut config: sys::CUlaunchConfig = std::mem::zeroed();
                (config.gridDimX, config.gridDimY, config.gridDimZ) = (2, 1, 1);
                (config.blockDimX, config.blockDimY, config.blockDimZ) = (32, 1, 1);
                (config.attrs, config.numAttrs) = (&mut attribute, 1);
                let mut params = good_params();
                let null = std::ptr::null_mut();
                let refused = sys::cuLaunchKernelEx(&config, axpy, params.as_mut_ptr(), null);
                assert_eq!(refused, sys::CUresult::CUDA_ERROR_NOT_SUPPORTED);
            }
        },
        |outcome| outcome.found("launch attribute 4 is not modelled"),
    );
}

#[test]
fn a_cubin_is_answered_as_by_another_card() {
    simulate(
        "launches::a_cubin_is_answered_as_by_another_card",
        0..1,
        || {
            let context = CudaContext::new(0).unwrap();
            context.bind_to_thread().unwrap();
            let image = b"\x7fELF\x02\x01\x01\x33\0\0\0\0";
            // SAFETY: the image is long enough for its first bytes to tell what it is.
            let Err(refused) = (unsafe { result::module::load_data(image.as_ptr().cast()) }) else {
                panic!("a cubin was loaded")
            };
            assert_eq!(refused.0, sys::CUresult::CUDA_ERROR_NO_BINARY_FOR_GPU);
        },
        |outcome| outcome.clean(),
    );
}

#[test]
fn ptx_that_is_not_modelled_is_refused_with_its_line() {
    simulate(
        "launches::ptx_that_is_not_modelled_is_refused_with_its_line",
        0..1,
        || {
            let context = CudaContext::new(0).unwrap();
            context.bind_to_thread().unwrap();
            let text = AXPY.replace("mov.u32 %r2, %ctaid.x;", "frobnicate.u32 %r2, %r3;");
            let text = std::ffi::CString::new(text).unwrap();
            let mut log = [0_u8; 512];
            let mut module = std::ptr::null_mut();
            let mut options = [
                sys::CUjit_option::CU_JIT_ERROR_LOG_BUFFER,
                sys::CUjit_option::CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES,
            ];
            let mut values = [log.as_mut_ptr().cast::<c_void>(), log.len() as *mut c_void];
            // SAFETY: two options with their values; the log is as large as it says.
            let refused = unsafe {
                let image = text.as_ptr().cast();
                sys::cuModuleLoadDataEx(
                    &mut module,
                    image,
                    2,
                    options.as_mut_ptr(),
                    values.as_mut_ptr(),
                )
            };
            assert_eq!(refused, sys::CUresult::CUDA_ERROR_INVALID_PTX);
            let log = String::from_utf8_lossy(&log[..values[1] as usize]).into_owned();
            assert!(log.contains("line 15") && log.contains("frobnicate"), "{log}");
        },
        |outcome| outcome.found("frobnicate"),
    );
}

#[test]
fn a_function_of_an_unloaded_module_is_found() {
    simulate(
        "launches::a_function_of_an_unloaded_module_is_found",
        0..1,
        || {
            let context = CudaContext::new(0).unwrap();
            context.bind_to_thread().unwrap();
            // SAFETY: plain calls of the driver; the early release is the point.
            unsafe {
                let text = std::ffi::CString::new(AXPY).unwrap();
                let module = result::module::load_data(text.as_ptr().cast()).unwrap();
                let axpy = result::module::get_function(module, c"axpy".to_owned()).unwrap();
                result::module::unload(module).unwrap();
                let mut params = good_params();
                let (params, null) = (params.as_mut_ptr(), std::ptr::null_mut::<c_void>());
                let refused = sys::cuLaunchKernel(
                    axpy,
                    1,
                    1,
                    1,
                    1,
                    1,
                    1,
                    0,
                    null.cast(),
                    params,
                    null.cast(),
                );
                assert_eq!(refused, sys::CUresult::CUDA_ERROR_INVALID_HANDLE);
            }
        },
        |outcome| outcome.found("a module that was unloaded"),
    );
}

#[test]
fn parameters_can_be_asked_for() {
    simulate(
        "launches::parameters_can_be_asked_for",
        0..1,
        || {
            let context = CudaContext::new(0).unwrap();
            context.bind_to_thread().unwrap();
            // SAFETY: plain calls of the driver.
            unsafe {
                let text = std::ffi::CString::new(AXPY).unwrap();
                let module = result::module::load_data(text.as_ptr().cast()).unwrap();
                let axpy = result::module::get_function(module, c"axpy".to_owned()).unwrap();
                let (mut offset, mut bytes) = (0, 0);
                let mut all = Vec::new();
                let mut index = 0;
                while sys::cuFuncGetParamInfo(axpy, index, &mut offset, &mut bytes).result().is_ok()
                {
                    all.push((offset, bytes));
                    index += 1;
                }
                assert_eq!(all, [(0, 8), (8, 8), (16, 4), (20, 4)]);
            }
        },
        |outcome| outcome.clean(),
    );
}

#[test]
fn a_kernel_node_takes_new_parameters() {
    simulate(
        "launches::a_kernel_node_takes_new_parameters",
        0..3,
        || {
            let Program { context, module, stream } = program();
            // SAFETY: one stream is used.
            unsafe { context.disable_event_tracking() };
            let axpy = module.load_function("axpy").unwrap();
            let x = stream.clone_htod(&[1.0_f32; N]).unwrap();
            let mut y = stream.clone_htod(&[0.0_f32; N]).unwrap();
            stream.synchronize().unwrap();
            let (a, n) = (2.0_f32, N as u32);
            stream.begin_capture(sys::CUstreamCaptureMode::CU_STREAM_CAPTURE_MODE_GLOBAL).unwrap();
            let mut launch = stream.launch_builder(&axpy);
            // SAFETY: the arguments are those of the kernel.
            unsafe { launch.arg(&x).arg(&mut y).arg(&a).arg(&n).launch(config()).unwrap() };
            let graph = stream.end_capture(sys::CUgraphInstantiate_flags(0)).unwrap().unwrap();
            // SAFETY: plain calls of the driver; the new parameters are those of the kernel.
            unsafe {
                let (mut node, mut count) = (std::ptr::null_mut(), 1);
                sys::cuGraphGetNodes(graph.cu_graph(), &mut node, &mut count).result().unwrap();
                let text = std::ffi::CString::new(AXPY).unwrap();
                let again = result::module::load_data(text.as_ptr().cast()).unwrap();
                let function = result::module::get_function(again, c"axpy".to_owned()).unwrap();
                let (mut x_at, mut y_at) = (x.device_ptr(&stream).0, y.device_ptr(&stream).0);
                let (mut a, mut n) = (5.0_f32, 1_u32);
                let mut params = [
                    (&raw mut x_at).cast::<c_void>(),
                    (&raw mut y_at).cast(),
                    (&raw mut a).cast(),
                    (&raw mut n).cast(),
                ];
                let mut new: sys::CUDA_KERNEL_NODE_PARAMS = std::mem::zeroed();
                new.func = function;
                (new.gridDimX, new.gridDimY, new.gridDimZ) = (1, 1, 1);
                (new.blockDimX, new.blockDimY, new.blockDimZ) = (32, 1, 1);
                new.kernelParams = params.as_mut_ptr();
                let exec = graph.cu_graph_exec();
                sys::cuGraphExecKernelNodeSetParams_v2(exec, node, &new).result().unwrap();
            }
            graph.launch().unwrap();
            let y = stream.clone_dtoh(&y).unwrap();
            assert_eq!((y[0], y[1]), (5.0, 0.0));
        },
        |outcome| outcome.clean(),
    );
}
