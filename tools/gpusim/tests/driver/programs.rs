//! Random programs over several streams that order themselves by events just as much as they must:
//! no finding, and the values of the same program run in host order.

use std::sync::Arc;

use cudarc::driver::{CudaContext, CudaEvent, CudaStream, sys};

use crate::common::simulate;

const BUFFERS: usize = 4;
const BYTES: usize = 64;
const OPERATIONS: usize = 60;

/// xorshift
struct Dice(u64);

impl Dice {
    fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % n as u64) as usize
    }
}

/// A device buffer, what it must hold, and the events after its last write and the reads since.
struct Buffer {
    at: u64,
    value: u8,
    written: Option<CudaEvent>,
    read: Vec<CudaEvent>,
}

impl Buffer {
    fn readable(&self, stream: &CudaStream) {
        self.written.iter().for_each(|event| stream.wait(event).unwrap());
    }

    fn writable(&self, stream: &CudaStream) {
        self.readable(stream);
        self.read.iter().for_each(|event| stream.wait(event).unwrap());
    }
}

fn program(seed: u64) {
    let mut dice = Dice(seed * 2 + 1);
    let context = CudaContext::new(0).unwrap();
    // SAFETY: the program orders its streams itself.
    unsafe { context.disable_event_tracking() };
    let streams: [Arc<CudaStream>; 3] = std::array::from_fn(|_| context.new_stream().unwrap());
    let mut buffers: [Buffer; BUFFERS] = std::array::from_fn(|_| {
        let mut at = 0;
        // SAFETY: plain calls of the driver.
        unsafe {
            sys::cuMemAlloc_v2(&mut at, BYTES).result().unwrap();
            sys::cuMemsetD8_v2(at, 0, BYTES).result().unwrap();
        }
        Buffer { at, value: 0, written: None, read: Vec::new() }
    });
    context.synchronize().unwrap();
    let recorded = |stream: &CudaStream| {
        let event = context.new_event(None).unwrap();
        event.record(stream).unwrap();
        event
    };
    for value in 1..=OPERATIONS as u8 {
        let stream = &streams[dice.below(streams.len())];
        let (to, from) = (dice.below(BUFFERS), dice.below(BUFFERS));
        buffers[to].writable(stream);
        if to == from {
            let at = buffers[to].at;
            // SAFETY: all buffers have so many bytes.
            let status = unsafe { sys::cuMemsetD8Async(at, value, BYTES, stream.cu_stream()) };
            status.result().unwrap();
            buffers[to].value = value;
        } else {
            buffers[from].readable(stream);
            let (target, source) = (buffers[to].at, buffers[from].at);
            // SAFETY: as above.
            let status =
                unsafe { sys::cuMemcpyDtoDAsync_v2(target, source, BYTES, stream.cu_stream()) };
            status.result().unwrap();
            buffers[to].value = buffers[from].value;
            buffers[from].read.push(recorded(stream));
        }
        buffers[to].written = Some(recorded(stream));
        buffers[to].read.clear();
        if dice.below(20) == 0 {
            streams[dice.below(streams.len())].synchronize().unwrap();
        }
    }
    for buffer in &buffers {
        let mut host = [0_u8; BYTES];
        buffer.readable(&streams[0]);
        let to = host.as_mut_ptr().cast();
        // SAFETY: sizes agree, and pageable memory makes the call wait.
        let status =
            unsafe { sys::cuMemcpyDtoHAsync_v2(to, buffer.at, BYTES, streams[0].cu_stream()) };
        status.result().unwrap();
        assert_eq!(host, [buffer.value; BYTES]);
    }
}

#[test]
fn ordered_programs_are_clean_and_right_under_every_seed() {
    let seed = || std::env::var("GPUSIM_SEED").unwrap().parse().unwrap();
    simulate(
        "programs::ordered_programs_are_clean_and_right_under_every_seed",
        0..40,
        || program(seed()),
        |outcome| outcome.clean(),
    );
}
