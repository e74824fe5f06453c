//! Capture and replay, and what a capture forbids.

use std::sync::Arc;

use cudarc::driver::{CudaContext, CudaStream, sys};

use crate::common::simulate;

const GLOBAL: sys::CUstreamCaptureMode = sys::CUstreamCaptureMode::CU_STREAM_CAPTURE_MODE_GLOBAL;
const NO_FLAGS: sys::CUgraphInstantiate_flags = sys::CUgraphInstantiate_flags(0);
const BYTES: usize = 256;

fn start() -> (Arc<CudaContext>, Arc<CudaStream>, u64, u64) {
    let context = CudaContext::new(0).unwrap();
    // SAFETY: these tests order their streams themselves.
    unsafe { context.disable_event_tracking() };
    let stream = context.new_stream().unwrap();
    let (mut a, mut b) = (0, 0);
    // SAFETY: plain calls of the driver.
    unsafe {
        sys::cuMemAlloc_v2(&mut a, BYTES).result().unwrap();
        sys::cuMemAlloc_v2(&mut b, BYTES).result().unwrap();
        sys::cuMemsetD8_v2(a, 1, BYTES).result().unwrap();
    }
    context.synchronize().unwrap();
    (context, stream, a, b)
}

fn copy(to: u64, from: u64, stream: &CudaStream) -> sys::CUresult {
    // SAFETY: both buffers of `start` have so many bytes, or their absence is the point.
    unsafe { sys::cuMemcpyDtoDAsync_v2(to, from, BYTES, stream.cu_stream()) }
}

fn fill(to: u64, value: u8, stream: &CudaStream) {
    // SAFETY: both buffers of `start` have so many bytes.
    unsafe { sys::cuMemsetD8Async(to, value, BYTES, stream.cu_stream()).result().unwrap() };
}

fn read(from: u64, stream: &CudaStream) -> Vec<u8> {
    let mut host = vec![0; BYTES];
    // SAFETY: the host side is large enough and pageable, so the call waits.
    let status = unsafe {
        sys::cuMemcpyDtoHAsync_v2(host.as_mut_ptr().cast(), from, BYTES, stream.cu_stream())
    };
    status.result().unwrap();
    host
}

#[test]
fn a_graph_runs_at_each_launch_and_not_at_capture() {
    simulate(
        "graphs::a_graph_runs_at_each_launch_and_not_at_capture",
        0..20,
        || {
            let (_context, stream, a, b) = start();
            fill(b, 9, &stream);
            stream.begin_capture(GLOBAL).unwrap();
            copy(b, a, &stream).result().unwrap();
            let graph = stream.end_capture(NO_FLAGS).unwrap().unwrap();
            assert!(read(b, &stream).iter().all(|&x| x == 9));
            for value in [3, 4] {
                fill(a, value, &stream);
                graph.launch().unwrap();
                assert!(read(b, &stream).iter().all(|&x| x == value));
            }
        },
        |outcome| outcome.clean(),
    );
}

#[test]
fn branches_of_a_graph_join_and_are_ordered() {
    simulate(
        "graphs::branches_of_a_graph_join_and_are_ordered",
        0..30,
        || {
            let (context, stream, a, b) = start();
            let side = context.new_stream().unwrap();
            stream.begin_capture(GLOBAL).unwrap();
            fill(a, 5, &stream);
            side.join(&stream).unwrap();
            copy(b, a, &side).result().unwrap();
            stream.join(&side).unwrap();
            fill(a, 6, &stream);
            let graph = stream.end_capture(NO_FLAGS).unwrap().unwrap();
            for _ in 0..3 {
                graph.launch().unwrap();
            }
            assert!(read(b, &stream).iter().all(|&x| x == 5));
            assert!(read(a, &stream).iter().all(|&x| x == 6));
        },
        |outcome| outcome.clean(),
    );
}

#[test]
fn branches_without_an_edge_are_found() {
    simulate(
        "graphs::branches_without_an_edge_are_found",
        0..30,
        || {
            let (context, stream, a, b) = start();
            let side = context.new_stream().unwrap();
            stream.begin_capture(GLOBAL).unwrap();
            side.join(&stream).unwrap();
            fill(a, 5, &stream);
            copy(b, a, &side).result().unwrap();
            stream.join(&side).unwrap();
            let graph = stream.end_capture(NO_FLAGS).unwrap().unwrap();
            // The finding may fail the launch or the wait.
            let _ = graph.launch();
            let _ = stream.synchronize();
        },
        |outcome| outcome.found("unordered streams"),
    );
}

#[test]
fn memory_freed_between_capture_and_replay_is_found() {
    simulate(
        "graphs::memory_freed_between_capture_and_replay_is_found",
        0..5,
        || {
            let (_context, stream, a, b) = start();
            stream.begin_capture(GLOBAL).unwrap();
            copy(b, a, &stream).result().unwrap();
            let graph = stream.end_capture(NO_FLAGS).unwrap().unwrap();
            // SAFETY: freeing what the graph still uses is the point.
            unsafe { sys::cuMemFree_v2(a).result().unwrap() };
            let _ = graph.launch();
            let _ = stream.synchronize();
        },
        |outcome| outcome.found("belongs to no live buffer"),
    );
}

#[test]
fn waiting_for_a_captured_stream_is_refused_and_spoils_the_capture() {
    simulate(
        "graphs::waiting_for_a_captured_stream_is_refused_and_spoils_the_capture",
        0..1,
        || {
            let (_context, stream, a, b) = start();
            stream.begin_capture(GLOBAL).unwrap();
            let refused = stream.synchronize().unwrap_err();
            assert_eq!(refused.0, sys::CUresult::CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED);
            let spoilt = copy(b, a, &stream);
            assert_eq!(spoilt, sys::CUresult::CUDA_ERROR_STREAM_CAPTURE_INVALIDATED);
            let Err(ended) = stream.end_capture(NO_FLAGS) else { panic!("the capture is spoilt") };
            assert_eq!(ended.0, sys::CUresult::CUDA_ERROR_STREAM_CAPTURE_INVALIDATED);
            // The stream is usable again.
            fill(a, 2, &stream);
            assert!(read(a, &stream).iter().all(|&x| x == 2));
        },
        |outcome| outcome.clean(),
    );
}

#[test]
fn allocation_while_capturing_is_refused() {
    simulate(
        "graphs::allocation_while_capturing_is_refused",
        0..1,
        || {
            let (_context, stream, ..) = start();
            stream.begin_capture(GLOBAL).unwrap();
            let mut address = 0;
            // SAFETY: a plain call of the driver.
            let refused = unsafe { sys::cuMemAlloc_v2(&mut address, 64) };
            assert_eq!(refused, sys::CUresult::CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED);
            assert!(stream.end_capture(NO_FLAGS).is_err());
        },
        |outcome| outcome.clean(),
    );
}

#[test]
fn a_fork_that_does_not_come_back_is_refused() {
    simulate(
        "graphs::a_fork_that_does_not_come_back_is_refused",
        0..1,
        || {
            let (context, stream, a, _) = start();
            let side = context.new_stream().unwrap();
            stream.begin_capture(GLOBAL).unwrap();
            side.join(&stream).unwrap();
            fill(a, 5, &side);
            let Err(ended) = stream.end_capture(NO_FLAGS) else { panic!("a branch is open") };
            assert_eq!(ended.0, sys::CUresult::CUDA_ERROR_STREAM_CAPTURE_UNJOINED);
        },
        |outcome| outcome.clean(),
    );
}

#[test]
fn a_capture_cannot_wait_for_work_outside() {
    simulate(
        "graphs::a_capture_cannot_wait_for_work_outside",
        0..1,
        || {
            let (context, stream, ..) = start();
            let outside = context.new_event(None).unwrap();
            outside.record(&context.new_stream().unwrap()).unwrap();
            stream.begin_capture(GLOBAL).unwrap();
            let refused = stream.wait(&outside).unwrap_err();
            assert_eq!(refused.0, sys::CUresult::CUDA_ERROR_STREAM_CAPTURE_ISOLATION);
            assert!(stream.end_capture(NO_FLAGS).is_err());
        },
        |outcome| outcome.clean(),
    );
}

#[test]
fn a_pinned_source_is_read_at_each_launch() {
    simulate(
        "graphs::a_pinned_source_is_read_at_each_launch",
        0..20,
        || {
            let (_context, stream, a, _) = start();
            let mut host = std::ptr::null_mut();
            // SAFETY: the allocation has `BYTES` bytes, and is written only when no launch is
            // pending.
            unsafe {
                sys::cuMemHostAlloc(&mut host, BYTES, 0).result().unwrap();
                stream.begin_capture(GLOBAL).unwrap();
                sys::cuMemcpyHtoDAsync_v2(a, host, BYTES, stream.cu_stream()).result().unwrap();
                let graph = stream.end_capture(NO_FLAGS).unwrap().unwrap();
                for value in [3, 4] {
                    host.cast::<u8>().write_bytes(value, BYTES);
                    graph.launch().unwrap();
                    assert!(read(a, &stream).iter().all(|&x| x == value));
                }
            }
        },
        |outcome| outcome.clean(),
    );
}

#[test]
fn the_legacy_stream_must_not_meet_a_captured_blocking_stream() {
    simulate(
        "graphs::the_legacy_stream_must_not_meet_a_captured_blocking_stream",
        0..1,
        || {
            let (_context, _, a, _) = start();
            let (mut stream, mut graph) = (std::ptr::null_mut(), std::ptr::null_mut());
            // SAFETY: plain calls of the driver.
            unsafe {
                sys::cuStreamCreate(&mut stream, 0).result().unwrap();
                let mode = sys::CUstreamCaptureMode::CU_STREAM_CAPTURE_MODE_RELAXED;
                sys::cuStreamBeginCapture_v2(stream, mode).result().unwrap();
                let refused = sys::cuMemsetD8_v2(a, 2, BYTES);
                assert_eq!(refused, sys::CUresult::CUDA_ERROR_STREAM_CAPTURE_IMPLICIT);
                let ended = sys::cuStreamEndCapture(stream, &mut graph);
                assert_eq!(ended, sys::CUresult::CUDA_ERROR_STREAM_CAPTURE_INVALIDATED);
                assert!(graph.is_null());
            }
        },
        |outcome| outcome.clean(),
    );
}

#[test]
fn two_captures_cannot_merge() {
    simulate(
        "graphs::two_captures_cannot_merge",
        0..1,
        || {
            let (context, stream, ..) = start();
            let other = context.new_stream().unwrap();
            let event = context.new_event(None).unwrap();
            stream.begin_capture(GLOBAL).unwrap();
            other.begin_capture(GLOBAL).unwrap();
            event.record(&stream).unwrap();
            let refused = other.wait(&event).unwrap_err();
            assert_eq!(refused.0, sys::CUresult::CUDA_ERROR_STREAM_CAPTURE_MERGE);
            assert!(stream.end_capture(NO_FLAGS).is_err() && other.end_capture(NO_FLAGS).is_err());
        },
        |outcome| outcome.clean(),
    );
}
