//! Allocation, copies, and misuse of both.

use cudarc::driver::{CudaContext, sys};

use crate::common::simulate;

#[test]
fn copies_and_fills_arrive() {
    simulate(
        "memory::copies_and_fills_arrive",
        0..6,
        || {
            let context = CudaContext::new(0).unwrap();
            assert_eq!(context.compute_capability().unwrap(), (8, 9));
            let stream = context.new_stream().unwrap();
            let values: Vec<f32> = (0..1000).map(|i| i as f32).collect();
            let a = stream.clone_htod(&values).unwrap();
            let mut b = stream.alloc_zeros::<f32>(1000).unwrap();
            stream.memcpy_dtod(&a.slice(0..500), &mut b.slice_mut(500..1000)).unwrap();
            let back = stream.clone_dtoh(&b).unwrap();
            assert!(back[..500].iter().all(|&x| x == 0.0));
            assert_eq!(back[500..], values[..500]);
            let (free, total) = context.mem_get_info().unwrap();
            assert_eq!((total, total - free), (1 << 30, 8000));
        },
        |outcome| outcome.clean(),
    );
}

#[test]
fn reading_what_nothing_wrote_is_found() {
    simulate(
        "memory::reading_what_nothing_wrote_is_found",
        0..1,
        || {
            let context = CudaContext::new(0).unwrap();
            let stream = context.new_stream().unwrap();
            // SAFETY: the missing initialisation is the point.
            let buffer = unsafe { stream.alloc::<f32>(16).unwrap() };
            assert!(stream.clone_dtoh(&buffer).is_err());
        },
        |outcome| outcome.found("was never written"),
    );
}

#[test]
fn freeing_twice_is_found() {
    simulate(
        "memory::freeing_twice_is_found",
        0..1,
        || {
            let _context = CudaContext::new(0).unwrap();
            let mut address = 0;
            // SAFETY: plain calls of the driver; the second release is the point.
            unsafe {
                sys::cuMemAlloc_v2(&mut address, 64).result().unwrap();
                sys::cuMemFree_v2(address).result().unwrap();
                assert!(sys::cuMemFree_v2(address).result().is_err());
            }
        },
        |outcome| outcome.found("not the start of a live allocation"),
    );
}

#[test]
fn freeing_under_pending_work_is_found() {
    simulate(
        "memory::freeing_under_pending_work_is_found",
        0..6,
        || {
            let context = CudaContext::new(0).unwrap();
            let stream = context.new_stream().unwrap();
            let mut address = 0;
            // SAFETY: plain calls of the driver; the missing wait is the point.
            unsafe {
                sys::cuMemAlloc_v2(&mut address, 64).result().unwrap();
                sys::cuMemsetD8Async(address, 1, 64, stream.cu_stream()).result().unwrap();
                assert!(sys::cuMemFree_v2(address).result().is_err());
            }
        },
        |outcome| outcome.found("still in use by memset D8"),
    );
}

#[test]
fn freeing_after_a_wait_is_clean() {
    simulate(
        "memory::freeing_after_a_wait_is_clean",
        0..6,
        || {
            let context = CudaContext::new(0).unwrap();
            let stream = context.new_stream().unwrap();
            let mut address = 0;
            // SAFETY: plain calls of the driver.
            unsafe {
                sys::cuMemAlloc_v2(&mut address, 64).result().unwrap();
                sys::cuMemsetD8Async(address, 1, 64, stream.cu_stream()).result().unwrap();
                sys::cuStreamSynchronize(stream.cu_stream()).result().unwrap();
                sys::cuMemFree_v2(address).result().unwrap();
            }
        },
        |outcome| outcome.clean(),
    );
}

#[test]
fn a_copy_past_the_end_is_found() {
    simulate(
        "memory::a_copy_past_the_end_is_found",
        0..1,
        || {
            let _context = CudaContext::new(0).unwrap();
            let mut address = 0;
            // SAFETY: plain calls of the driver; the host side is large enough.
            unsafe {
                sys::cuMemAlloc_v2(&mut address, 64).result().unwrap();
                let host = [0_u8; 65];
                assert!(sys::cuMemcpyHtoD_v2(address, host.as_ptr().cast(), 65).result().is_err());
            }
        },
        |outcome| outcome.found("not within one allocation"),
    );
}

#[test]
fn what_is_not_modelled_is_refused() {
    simulate(
        "memory::what_is_not_modelled_is_refused",
        0..1,
        || {
            let context = CudaContext::new(0).unwrap();
            let attribute = sys::CUdevice_attribute::CU_DEVICE_ATTRIBUTE_MULTICAST_SUPPORTED;
            assert!(context.attribute(attribute).is_err());
        },
        |outcome| outcome.found("not modelled"),
    );
}
