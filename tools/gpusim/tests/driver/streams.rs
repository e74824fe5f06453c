//! Order between streams, and between a stream and the host.

use std::sync::Arc;

use cudarc::driver::{CudaContext, CudaStream, sys};

use crate::common::simulate;

/// Two streams without cudarc's own event tracking, and a device buffer of 1024 bytes filled with
/// 1.
fn two_streams() -> (Arc<CudaContext>, Arc<CudaStream>, Arc<CudaStream>, u64) {
    let context = CudaContext::new(0).unwrap();
    // SAFETY: these tests order their streams themselves, or leave it out on purpose.
    unsafe { context.disable_event_tracking() };
    let (first, second) = (context.new_stream().unwrap(), context.new_stream().unwrap());
    let mut address = 0;
    // SAFETY: plain calls of the driver.
    unsafe {
        sys::cuMemAlloc_v2(&mut address, 1024).result().unwrap();
        sys::cuMemsetD8Async(address, 1, 1024, first.cu_stream()).result().unwrap();
    }
    first.synchronize().unwrap();
    (context, first, second, address)
}

fn fill(address: u64, value: u8, stream: &CudaStream) {
    // SAFETY: the buffer of `two_streams` has 1024 bytes.
    let status = unsafe { sys::cuMemsetD8Async(address, value, 1024, stream.cu_stream()) };
    // Where the order is missing the finding may fail any later call.
    let _ = status.result();
}

fn read(address: u64, stream: &CudaStream) -> Vec<u8> {
    let mut host = vec![0_u8; 1024];
    // SAFETY: `host` is large enough and pageable, so the call waits.
    let status = unsafe {
        sys::cuMemcpyDtoHAsync_v2(host.as_mut_ptr().cast(), address, 1024, stream.cu_stream())
    };
    let _ = status.result();
    host
}

#[test]
fn a_missing_event_is_found_under_every_seed() {
    simulate(
        "streams::a_missing_event_is_found_under_every_seed",
        0..50,
        || {
            let (_context, first, second, address) = two_streams();
            fill(address, 7, &first);
            read(address, &second);
        },
        |outcome| outcome.found("unordered streams"),
    );
}

#[test]
fn an_event_orders_two_streams() {
    simulate(
        "streams::an_event_orders_two_streams",
        0..50,
        || {
            let (_context, first, second, address) = two_streams();
            fill(address, 7, &first);
            second.join(&first).unwrap();
            assert!(read(address, &second).iter().all(|&x| x == 7));
            first.join(&second).unwrap();
            fill(address, 8, &first);
            first.synchronize().unwrap();
            assert!(read(address, &second).iter().all(|&x| x == 8));
        },
        |outcome| outcome.clean(),
    );
}

#[test]
fn the_legacy_stream_orders_blocking_streams_only() {
    let body = |flags: u32| {
        move || {
            let (_context, first, _, address) = two_streams();
            let mut stream = std::ptr::null_mut();
            // SAFETY: plain calls of the driver.
            unsafe {
                sys::cuStreamCreate(&mut stream, flags).result().unwrap();
                sys::cuMemsetD8_v2(address, 3, 1024).result().unwrap();
                let _ = sys::cuMemsetD8Async(address, 4, 1024, stream).result();
                let _ = sys::cuStreamSynchronize(stream).result();
            }
            drop(first);
        }
    };
    let name = "streams::the_legacy_stream_orders_blocking_streams_only";
    if std::env::var("GPUSIM_TEST_FLAGS").is_ok_and(|flags| flags == "1") {
        return body(1)();
    }
    simulate(name, 0..6, body(0), |outcome| outcome.clean());
    let environment = [("GPUSIM_TEST_FLAGS", "1".to_owned())];
    if let Some(outcome) = crate::common::simulate_with(name, &environment, || ()) {
        outcome.found("unordered streams");
    }
}

/// 1 KiB of pinned memory, filled with `value`.
fn pinned(value: u8) -> *mut u8 {
    let mut pointer = std::ptr::null_mut();
    // SAFETY: 1024 bytes are allocated and then filled.
    unsafe {
        sys::cuMemHostAlloc(&mut pointer, 1024, 0).result().unwrap();
        pointer.cast::<u8>().write_bytes(value, 1024);
    }
    pointer.cast()
}

#[test]
fn early_reuse_of_a_pinned_buffer_is_found_under_every_seed() {
    simulate(
        "streams::early_reuse_of_a_pinned_buffer_is_found_under_every_seed",
        0..20,
        || {
            let (_context, first, _, address) = two_streams();
            let host = pinned(5);
            // SAFETY: sizes agree; writing the buffer without a wait is the point.
            unsafe {
                sys::cuMemcpyHtoDAsync_v2(address, host.cast(), 1024, first.cu_stream())
                    .result()
                    .unwrap();
                host.write_bytes(6, 1024);
            }
            assert!(first.synchronize().is_err());
        },
        |outcome| outcome.found("pinned host memory changed"),
    );
}

#[test]
fn reuse_of_a_pinned_buffer_after_a_wait_is_clean() {
    simulate(
        "streams::reuse_of_a_pinned_buffer_after_a_wait_is_clean",
        0..20,
        || {
            let (context, first, _, address) = two_streams();
            let host = pinned(5);
            let done = context.new_event(None).unwrap();
            for value in 6..10 {
                // SAFETY: sizes agree, and the event says when the buffer is free again.
                unsafe {
                    sys::cuMemcpyHtoDAsync_v2(address, host.cast(), 1024, first.cu_stream())
                        .result()
                        .unwrap()
                };
                done.record(&first).unwrap();
                done.synchronize().unwrap();
                // SAFETY: as above.
                unsafe { host.write_bytes(value, 1024) };
            }
            assert!(read(address, &first).iter().all(|&x| x == 8));
        },
        |outcome| outcome.clean(),
    );
}

#[test]
fn a_pageable_source_is_read_at_the_call() {
    simulate(
        "streams::a_pageable_source_is_read_at_the_call",
        0..10,
        || {
            let (_context, first, _, address) = two_streams();
            let mut host = vec![9_u8; 1024];
            // SAFETY: sizes agree.
            unsafe {
                sys::cuMemcpyHtoDAsync_v2(address, host.as_ptr().cast(), 1024, first.cu_stream())
                    .result()
                    .unwrap()
            };
            host.fill(0);
            assert!(read(address, &first).iter().all(|&x| x == 9));
        },
        |outcome| outcome.clean(),
    );
}

#[test]
fn a_polling_loop_ends_and_no_time_passes_for_a_measurement() {
    simulate(
        "streams::a_polling_loop_ends_and_no_time_passes_for_a_measurement",
        0..10,
        || {
            let (context, first, _, address) = two_streams();
            let timed = Some(sys::CUevent_flags::CU_EVENT_DEFAULT);
            let (start, end) =
                (context.new_event(timed).unwrap(), context.new_event(timed).unwrap());
            start.record(&first).unwrap();
            fill(address, 2, &first);
            end.record(&first).unwrap();
            while !end.is_complete() {}
            assert!(start.elapsed_ms(&end).unwrap().is_nan());
        },
        |outcome| outcome.clean(),
    );
}
