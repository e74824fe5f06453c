//! Small planted bugs, each with the kind and the source line that must be found, and beside each the
//! correct twin, which must be clean. Every case runs with several orders of warps and blocks.

#[path = "../card/mod.rs"]
mod card;

mod async_copy;
mod barrier;
mod bounds;
mod counters;
mod global_race;
mod launch;
mod shared_race;

use card::{Bytes, Card, HEADER};
use gpusim::report::Kind;

pub const SEEDS: [u64; 4] = [1, 2, 77, 0xfeed];

/// A kernel `k(a, b, c)` of three pointers in %rd0..2, with the thread in %t and block in %cta.
///
/// `@n` at the start of a line of the body says that source line n starts there.
pub fn kernel(shared_bytes: u32, body: &str) -> String {
    let mut text = format!(
        "{HEADER}.visible .entry k(.param .u64 pa, .param .u64 pb, .param .u64 pc)\n{{
        .reg .b32 %t, %cta, %r<16>; .reg .f32 %f<8>; .reg .b64 %rd<16>; .reg .pred %p<8>; .reg .b16 %h<8>;
        .shared .align 16 .b8 tile[{shared_bytes}];
        mov.u32 %t, %tid.x; mov.u32 %cta, %ctaid.x;
        ld.param.u64 %rd0, [pa]; ld.param.u64 %rd1, [pb]; ld.param.u64 %rd2, [pc];\n"
    );
    for line in body.lines() {
        let line = line.trim();
        match line.strip_prefix("@@") {
            Some(rest) => {
                let (number, code) = rest.split_once(' ').unwrap_or((rest, ""));
                text += &format!(".loc 1 {number} 1\n{code}\n");
            }
            None => text += &format!("{line}\n"),
        }
    }
    text + "ret;\n}\n"
}

/// Runs with buffers of 1024 initialised words, for every seed; the findings are exactly `wanted`.
pub fn expect(text: &str, grid: u32, block: u32, wanted: &[(Kind, u32)]) {
    for seed in SEEDS {
        let mut card = Card::new(seed);
        let module = card.load(text);
        let words: Vec<u32> = (0..1024).collect();
        let [a, b, c] = ["a", "b", "c"].map(|name| card.buffer(name, &words));
        // Whether the launch ends early is up to each finding.
        let _ = card.launch(&module, grid, block, &[&a as &dyn Bytes, &b, &c]);
        card.expect(wanted);
    }
}

pub fn clean(text: &str, grid: u32, block: u32) {
    expect(text, grid, block, &[]);
}
