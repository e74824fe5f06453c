//! Counts that a model of speed rests on.

use crate::{Card, kernel};
use gpusim::report::Counters;

fn run(shared: u32, body: &str, grid: u32, block: u32) -> Counters {
    let mut card = Card::new(1);
    let module = card.load(&kernel(shared, body));
    let words: Vec<u32> = (0..4096).collect();
    let [a, b] = ["a", "b"].map(|name| card.buffer(name, &words));
    card.launch(&module, grid, block, &[&a, &b, &0_u64]).unwrap();
    card.expect_clean();
    card.session.counters["k"].clone()
}

/// Each lane reads one word at a distance of `stride` words.
fn strided(stride: u32) -> Counters {
    run(
        16,
        &format!("mad.wide.u32 %rd4, %t, {}, %rd0; ld.global.u32 %r0, [%rd4];", 4 * stride),
        1,
        64,
    )
}

#[test]
fn sectors_of_global_memory() {
    // Two warps of 128 bytes: four sectors each.
    assert_eq!((strided(1).sectors_read, strided(1).unique_sectors_read), (8, 8));
    assert_eq!(strided(2).sectors_read, 16);
    assert_eq!(strided(8).sectors_read, 64);
    assert_eq!(strided(1).bytes_read, 256);
    // Both warps read the same word.
    let c = strided(0);
    assert_eq!((c.sectors_read, c.unique_sectors_read), (2, 1));
}

#[test]
fn sectors_of_several_blocks_are_unique_once() {
    let c = run(16, "mad.wide.u32 %rd4, %t, 4, %rd0; ld.global.u32 %r0, [%rd4];", 3, 32);
    assert_eq!((c.sectors_read, c.unique_sectors_read, c.blocks), (12, 4, 3));
}

#[test]
fn bank_conflicts() {
    let stride = |words: u32| {
        let body = format!(
            "mov.u32 %r0, tile; mad.lo.u32 %r0, %t, {}, %r0; st.shared.u32 [%r0], %t;",
            4 * words
        );
        let c = run(8192, &body, 1, 32);
        (c.shared_passes, c.bank_conflicts)
    };
    assert_eq!(stride(1), (1, 0));
    assert_eq!(stride(2), (2, 1));
    assert_eq!(stride(33), (1, 0));
    assert_eq!(stride(32), (32, 31));
}

#[test]
fn operations() {
    let body = "mov.f32 %f0, 0f3F800000; fma.rn.f32 %f1, %f0, %f0, %f0; add.f32 %f1, %f1, %f0;
        setp.lt.u32 %p0, %t, 8; @%p0 mul.f32 %f1, %f1, %f1; neg.f32 %f1, %f1;";
    let c = run(16, body, 1, 32);
    assert_eq!(c.other_flops, 32 * 3 + 8);
    assert_eq!(c.by_class["float"], 4);
    let mma = "mov.u32 %r0, 0; mov.f32 %f0, 0f00000000;
        mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%f1, %f2, %f3, %f4}, {%r0, %r0, %r0, %r0},
        {%r0, %r0}, {%f0, %f0, %f0, %f0};";
    assert_eq!(run(16, mma, 1, 64).mma_flops, 2 * 2 * 16 * 8 * 16);
}

#[test]
fn launches_add_up() {
    let mut card = Card::new(1);
    let module = card.load(&kernel(16, ""));
    for _ in 0..3 {
        card.launch(&module, 2, 64, &[&0_u64, &0_u64, &0_u64]).unwrap();
    }
    let c = &card.session.counters["k"];
    assert_eq!((c.launches, c.blocks, c.warps, c.threads_per_block), (3, 6, 12, 64));
    assert_eq!(c.warp_instructions, c.by_class.values().sum::<u64>());
}
