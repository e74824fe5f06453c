//! Host functions in streams, pinned memory's lifetime, and copies that cannot be right.

use std::ffi::c_void;
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, AtomicU32, Ordering};

use cudarc::driver::{CudaContext, CudaStream, sys};

use crate::common::simulate;

fn start() -> (Arc<CudaContext>, Arc<CudaStream>, u64) {
    let context = CudaContext::new(0).unwrap();
    let stream = context.new_stream().unwrap();
    let mut address = 0;
    // SAFETY: a plain call of the driver.
    unsafe { sys::cuMemAlloc_v2(&mut address, 1024).result().unwrap() };
    (context, stream, address)
}

fn pinned() -> *mut u8 {
    let mut host = std::ptr::null_mut();
    // SAFETY: so many bytes are allocated, then filled.
    unsafe {
        sys::cuMemHostAlloc(&mut host, 1024, 0).result().unwrap();
        host.cast::<u8>().write_bytes(1, 1024);
    }
    host.cast()
}

static CALLS: AtomicU32 = AtomicU32::new(0);
static STATUS: AtomicI32 = AtomicI32::new(0);

unsafe extern "C" fn count(_: *mut c_void) {
    CALLS.fetch_add(1, Ordering::Relaxed);
}

unsafe extern "C" fn call_the_driver(_: *mut c_void) {
    // SAFETY: a plain call of the driver, forbidden here.
    let status = unsafe { sys::cuCtxSynchronize() };
    STATUS.store(status as i32, Ordering::Relaxed);
}

#[test]
fn a_host_function_runs_in_stream_order() {
    simulate(
        "hosts::a_host_function_runs_in_stream_order",
        0..10,
        || {
            let (_context, stream, _) = start();
            // SAFETY: the function takes no argument.
            unsafe {
                sys::cuLaunchHostFunc(stream.cu_stream(), Some(count), std::ptr::null_mut())
                    .result()
                    .unwrap();
            }
            stream.synchronize().unwrap();
            assert_eq!(CALLS.load(Ordering::Relaxed), 1);
        },
        |outcome| outcome.clean(),
    );
}

#[test]
fn a_host_function_must_not_call_the_driver() {
    simulate(
        "hosts::a_host_function_must_not_call_the_driver",
        0..3,
        || {
            let (_context, stream, _) = start();
            // SAFETY: the function takes no argument.
            unsafe {
                let null = std::ptr::null_mut();
                let _ =
                    sys::cuLaunchHostFunc(stream.cu_stream(), Some(call_the_driver), null).result();
            }
            let _ = stream.synchronize();
            let status = STATUS.load(Ordering::Relaxed);
            assert_eq!(status, sys::CUresult::CUDA_ERROR_NOT_PERMITTED as i32);
        },
        |outcome| outcome.found("was called from a host function"),
    );
}

#[test]
fn releasing_pinned_memory_under_a_copy_is_found() {
    simulate(
        "hosts::releasing_pinned_memory_under_a_copy_is_found",
        0..10,
        || {
            let (_context, stream, address) = start();
            let host = pinned();
            // SAFETY: sizes agree; the early release is the point, and the simulator finishes the copy
            // first.
            unsafe {
                let _ = sys::cuMemcpyHtoDAsync_v2(address, host.cast(), 1024, stream.cu_stream());
                assert!(sys::cuMemFreeHost(host.cast()).result().is_err());
            }
        },
        |outcome| outcome.found("still in use by copy host to device"),
    );
}

#[test]
fn two_streams_on_one_pinned_buffer_need_an_event() {
    simulate(
        "hosts::two_streams_on_one_pinned_buffer_need_an_event",
        0..10,
        || {
            let (context, stream, address) = start();
            let other = context.new_stream().unwrap();
            let host = pinned();
            // SAFETY: sizes agree; the missing event is the point.
            unsafe {
                sys::cuMemsetD8_v2(address, 3, 1024).result().unwrap();
                context.synchronize().unwrap();
                let to = host.cast();
                let _ = sys::cuMemcpyDtoHAsync_v2(to, address, 512, stream.cu_stream()).result();
                let half = address + 512;
                let _ =
                    sys::cuMemcpyHtoDAsync_v2(half, host.cast(), 512, other.cu_stream()).result();
            }
            let _ = context.synchronize();
        },
        |outcome| outcome.found("unordered streams"),
    );
}

#[test]
fn registered_memory_counts_as_pinned() {
    simulate(
        "hosts::registered_memory_counts_as_pinned",
        0..10,
        || {
            let (_context, stream, address) = start();
            let mut host = vec![4_u8; 1024];
            // SAFETY: sizes agree, and the memory outlives its registration; writing it early is the
            // point.
            unsafe {
                sys::cuMemHostRegister_v2(host.as_mut_ptr().cast(), 1024, 0).result().unwrap();
                let from = host.as_ptr().cast();
                sys::cuMemcpyHtoDAsync_v2(address, from, 1024, stream.cu_stream())
                    .result()
                    .unwrap();
            }
            host.fill(5);
            assert!(stream.synchronize().is_err());
            // SAFETY: registered above, and no copy is pending.
            unsafe { sys::cuMemHostUnregister(host.as_mut_ptr().cast()).result().unwrap() };
        },
        |outcome| outcome.found("pinned host memory changed"),
    );
}

#[test]
fn a_copy_onto_itself_is_found() {
    simulate(
        "hosts::a_copy_onto_itself_is_found",
        0..3,
        || {
            let (_context, stream, address) = start();
            // SAFETY: within the buffer; the overlap is the point.
            unsafe {
                sys::cuMemsetD8Async(address, 3, 1024, stream.cu_stream()).result().unwrap();
                let _ = sys::cuMemcpyDtoDAsync_v2(address + 8, address, 64, stream.cu_stream())
                    .result();
            }
            let _ = stream.synchronize();
        },
        |outcome| outcome.found("source and destination overlap"),
    );
}

#[test]
fn a_fill_off_its_alignment_is_found() {
    simulate(
        "hosts::a_fill_off_its_alignment_is_found",
        0..1,
        || {
            let (_context, stream, address) = start();
            // SAFETY: within the buffer; the alignment is the point.
            let refused = unsafe { sys::cuMemsetD32Async(address + 2, 0, 4, stream.cu_stream()) };
            assert_eq!(refused, sys::CUresult::CUDA_ERROR_INVALID_VALUE);
        },
        |outcome| outcome.found("is not aligned to 4 bytes"),
    );
}
