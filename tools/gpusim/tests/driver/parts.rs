//! The simulator's own calls: parts of an allocation begin and end in stream order.

use std::ffi::{CString, c_char};

use cudarc::driver::{CudaContext, sys};

use crate::common::simulate;

type Annotate = unsafe extern "C" fn(u64, usize, *const c_char, sys::CUstream) -> i32;
type Retire = unsafe extern "C" fn(u64, usize, sys::CUstream) -> i32;

fn annotate(at: u64, bytes: usize, name: &str, stream: sys::CUstream) {
    let name = CString::new(name).unwrap();
    // SAFETY: the simulator is loaded and exports the symbol with this signature.
    unsafe {
        let call = sys::culib().get::<Annotate>(b"gpusim_annotate\0").unwrap();
        call(at, bytes, name.as_ptr(), stream);
    }
}

fn retire(at: u64, bytes: usize, stream: sys::CUstream) {
    // SAFETY: as in `annotate`.
    unsafe {
        let call = sys::culib().get::<Retire>(b"gpusim_retire\0").unwrap();
        call(at, bytes, stream);
    }
}

fn arena() -> (std::sync::Arc<cudarc::driver::CudaStream>, u64) {
    let context = CudaContext::new(0).unwrap();
    let mut address = 0;
    // SAFETY: a plain call of the driver.
    unsafe { sys::cuMemAlloc_v2(&mut address, 4096).result().unwrap() };
    (context.new_stream().unwrap(), address)
}

fn fill(at: u64, bytes: usize, stream: sys::CUstream) {
    // SAFETY: within the arena; what it may touch of it is the point of these tests.
    let _ = unsafe { sys::cuMemsetD8Async(at, 1, bytes, stream) }.result();
}

#[test]
fn parts_live_one_after_the_other_in_stream_order() {
    simulate(
        "parts::parts_live_one_after_the_other_in_stream_order",
        0..20,
        || {
            let (stream, at) = arena();
            for name in ["activations", "gradients"] {
                annotate(at, 512, name, stream.cu_stream());
                fill(at, 512, stream.cu_stream());
                retire(at, 512, stream.cu_stream());
            }
            stream.synchronize().unwrap();
        },
        |outcome| outcome.clean(),
    );
}

#[test]
fn a_write_behind_a_part_is_found() {
    simulate(
        "parts::a_write_behind_a_part_is_found",
        0..5,
        || {
            let (stream, at) = arena();
            annotate(at, 512, "activations", stream.cu_stream());
            fill(at, 513, stream.cu_stream());
            let _ = stream.synchronize();
        },
        |outcome| outcome.found("activations"),
    );
}

#[test]
fn a_use_of_a_retired_part_is_found() {
    simulate(
        "parts::a_use_of_a_retired_part_is_found",
        0..5,
        || {
            let (stream, at) = arena();
            annotate(at, 512, "activations", stream.cu_stream());
            retire(at, 512, stream.cu_stream());
            fill(at, 512, stream.cu_stream());
            let _ = stream.synchronize();
        },
        |outcome| outcome.found("belongs to no live buffer"),
    );
}

#[test]
fn a_new_part_holds_no_old_data() {
    simulate(
        "parts::a_new_part_holds_no_old_data",
        0..5,
        || {
            let (stream, at) = arena();
            annotate(at, 512, "activations", stream.cu_stream());
            fill(at, 512, stream.cu_stream());
            annotate(at, 512, "gradients", stream.cu_stream());
            let mut host = [0_u8; 512];
            // SAFETY: sizes agree.
            let _ = unsafe {
                sys::cuMemcpyDtoHAsync_v2(host.as_mut_ptr().cast(), at, 512, stream.cu_stream())
            }
            .result();
        },
        |outcome| outcome.found("was never written"),
    );
}
