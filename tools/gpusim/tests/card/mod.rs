//! A card for tests: buffers by value, kernels from PTX text, one call to launch.
#![allow(dead_code)] // Each test file uses its part.

use gpusim::exec::{LaunchConfig, LaunchError, Session, run};
use gpusim::memory::DeviceMemory;
use gpusim::ptx::{Module, load};
use gpusim::report::{Finding, Kind};

pub struct Card {
    pub memory: DeviceMemory,
    pub session: Session,
}

impl Default for Card {
    fn default() -> Self {
        Self::new(1)
    }
}

impl Card {
    pub fn new(seed: u64) -> Self {
        let memory = DeviceMemory::new(64 << 20).expect("reserve memory");
        Self { memory, session: Session::new(seed) }
    }

    /// A buffer with data.
    pub fn buffer<T: Bytes>(&mut self, name: &str, values: &[T]) -> u64 {
        let bytes: Vec<u8> = values.iter().flat_map(|v| v.bytes()).collect();
        let at = self.memory.alloc(bytes.len() as u64, name).expect("room");
        self.memory.host_write(at, &bytes).expect("write");
        at
    }

    /// A buffer without data.
    pub fn empty(&mut self, name: &str, bytes: u64) -> u64 {
        self.memory.alloc(bytes, name).expect("room")
    }

    pub fn read<T: Bytes>(&self, at: u64, elems: usize) -> Vec<T> {
        let mut bytes = vec![0; elems * size_of::<T>()];
        self.memory.host_read(at, &mut bytes).expect("read");
        bytes.chunks_exact(size_of::<T>()).map(T::from_bytes).collect()
    }

    pub fn load(&mut self, text: &str) -> Module {
        load(text, &mut self.memory).expect("load")
    }

    /// Launches the only kernel of a module; parameters in order, at their offsets.
    pub fn launch(
        &mut self,
        module: &Module,
        grid: u32,
        block: u32,
        params: &[&dyn Bytes],
    ) -> Result<(), LaunchError> {
        self.launch_with(module, [grid, 1, 1], [block, 1, 1], 0, params)
    }

    pub fn launch_with(
        &mut self,
        module: &Module,
        grid: [u32; 3],
        block: [u32; 3],
        dynamic_shared_bytes: u32,
        params: &[&dyn Bytes],
    ) -> Result<(), LaunchError> {
        let kernel = &module.kernels[0];
        let mut block_of_params = vec![0; kernel.param_bytes as usize];
        for (p, value) in kernel.params.iter().zip(params) {
            let bytes = value.bytes();
            block_of_params[p.offset as usize..][..bytes.len()].copy_from_slice(&bytes);
        }
        let config = LaunchConfig {
            grid,
            block,
            dynamic_shared_bytes,
            max_dynamic_shared_bytes: Some(99 << 10),
            params: block_of_params,
        };
        run(kernel, &config, &mut self.memory, &mut self.session)
    }

    pub fn findings(&self) -> &[Finding] {
        self.session.findings.list()
    }

    /// Fails unless nothing was found.
    pub fn expect_clean(&self) {
        let list: Vec<String> = self.findings().iter().map(ToString::to_string).collect();
        assert!(list.is_empty(), "{}", list.join("\n"));
    }

    /// Fails unless exactly these kinds were found, each on its line.
    pub fn expect(&self, wanted: &[(Kind, u32)]) {
        let mut found: Vec<(Kind, u32)> =
            self.findings().iter().map(|f| (f.kind, f.line)).collect();
        let mut wanted = wanted.to_vec();
        let key = |p: &(Kind, u32)| (p.1, format!("{:?}", p.0));
        found.sort_by_key(key);
        wanted.sort_by_key(key);
        let list: Vec<String> = self.findings().iter().map(ToString::to_string).collect();
        assert_eq!(found, wanted, "{}", list.join("\n"));
    }
}

/// Plain values as they lie in memory.
pub trait Bytes {
    fn bytes(&self) -> Vec<u8>;
    fn from_bytes(bytes: &[u8]) -> Self
    where
        Self: Sized;
}

macro_rules! bytes {
    ($($ty:ty)*) => {$(
        impl Bytes for $ty {
            fn bytes(&self) -> Vec<u8> {
                self.to_le_bytes().to_vec()
            }
            fn from_bytes(bytes: &[u8]) -> Self {
                Self::from_le_bytes(bytes.try_into().expect("width"))
            }
        }
    )*};
}

bytes!(u8 u16 u32 u64 i16 i32 i64 f32 f64);

pub const HEADER: &str = ".version 8.7\n.target sm_80\n.address_size 64\n.file 1 \"test.cu\"\n";

/// A kernel `k(a, b, c, out)` of four pointers whose lanes compute from up to three loaded words.
///
/// `body` finds 32-bit words in %a, %b, %c and 64-bit ones in %da, %db, %dc, and leaves %o or %do.
pub fn lane_kernel(body: &str, wide_in: bool, wide_out: bool) -> String {
    let mut text = String::from(HEADER);
    text +=
        ".visible .entry k(.param .u64 pa, .param .u64 pb, .param .u64 pc, .param .u64 po)\n{\n";
    text += ".reg .b32 %a, %b, %c, %o, %r<16>; .reg .b64 %da, %db, %dc, %do, %rd<16>;\n";
    text += ".reg .b16 %h<8>; .reg .f32 %f<8>; .reg .f64 %fd<8>; .reg .pred %p<8>; .reg .b32 %t;\n";
    text += "mov.u32 %t, %tid.x;\n";
    let width = if wide_in { 8 } else { 4 };
    for (k, name) in ["a", "b", "c"].iter().enumerate() {
        let at = k + 10;
        let (ty, prefix) = if wide_in { ("b64", "%d") } else { ("b32", "%") };
        text += &format!(
            "ld.param.u64 %rd{at}, [p{name}]; mad.wide.u32 %rd{at}, %t, {width}, %rd{at};\n"
        );
        text += &format!("ld.global.{ty} {prefix}{name}, [%rd{at}];\n");
    }
    text += body;
    let (ty, from, width) = if wide_out { ("b64", "%do", 8) } else { ("b32", "%o", 4) };
    text += &format!("\nld.param.u64 %rd13, [po]; mad.wide.u32 %rd13, %t, {width}, %rd13;\n");
    text += &format!("st.global.{ty} [%rd13], {from};\nret;\n}}\n");
    text
}

/// Runs `body` of [`lane_kernel`] for each triple of words.
pub fn lanes32(body: &str, inputs: &[[u32; 3]]) -> Vec<u32> {
    run_lanes(&lane_kernel(body, false, false), inputs)
}

pub fn lanes64(body: &str, inputs: &[[u64; 3]]) -> Vec<u64> {
    run_lanes(&lane_kernel(body, true, true), inputs)
}

pub fn lanes64_to32(body: &str, inputs: &[[u64; 3]]) -> Vec<u32> {
    run_lanes(&lane_kernel(body, true, false), inputs)
}

pub fn lanes32_to64(body: &str, inputs: &[[u32; 3]]) -> Vec<u64> {
    run_lanes(&lane_kernel(body, false, true), inputs)
}

fn run_lanes<I: Bytes + Copy + Default, O: Bytes>(text: &str, inputs: &[[I; 3]]) -> Vec<O> {
    let mut card = Card::default();
    let module = card.load(text);
    let mut out = Vec::new();
    for chunk in inputs.chunks(256) {
        let column = |k: usize| chunk.iter().map(|row| row[k]).collect::<Vec<I>>();
        let [a, b, c] = ["a", "b", "c"].map(|n| (n.as_bytes()[0] - b'a') as usize).map(column);
        let (a, b, c) = (card.buffer("a", &a), card.buffer("b", &b), card.buffer("c", &c));
        let o = card.empty("out", (chunk.len() * size_of::<O>()) as u64);
        card.launch(&module, 1, chunk.len() as u32, &[&a, &b, &c, &o]).expect("launch");
        out.extend(card.read::<O>(o, chunk.len()));
    }
    card.expect_clean();
    out
}
