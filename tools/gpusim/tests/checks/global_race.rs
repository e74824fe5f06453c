//! Races in global memory: within a block, and between the blocks of a launch.

use crate::card::Card;
use crate::{clean, expect, kernel};
use gpusim::report::Kind;

#[test]
fn two_blocks_write_one_word() {
    let body = |scale: u32| {
        format!(
            "mul.lo.u32 %r0, %cta, {scale}; add.u32 %r0, %r0, %t; mad.wide.u32 %rd4, %r0, 4, %rd0;
            @@5 st.global.u32 [%rd4], 1;"
        )
    };
    clean(&kernel(16, &body(32)), 4, 32);
    // Neighbours overlap by one word. The same value does not excuse it.
    expect(&kernel(16, &body(31)), 4, 32, &[(Kind::BlockRace, 5)]);
    let mut card = Card::default();
    let module = card.load(&kernel(16, &body(31)));
    let a = card.empty("a", 4096);
    card.launch(&module, 2, 32, &[&a, &0_u64, &0_u64]).unwrap();
    assert!(card.findings()[0].text.contains("of block"), "{}", card.findings()[0]);
}

#[test]
fn one_block_reads_what_another_writes() {
    let body = |from: &str| {
        format!(
            "mad.lo.u32 %r0, %cta, 32, %t; mad.wide.u32 %rd4, %r0, 4, %rd0; xor.b32 %r1, %r0, 32;
            mad.wide.u32 %rd5, %r1, 4, {from};
            @@5 ld.global.u32 %r2, [%rd5];
            @@6 st.global.u32 [%rd4], %r2;"
        )
    };
    clean(&kernel(16, &body("%rd1")), 2, 32);
    for seed in crate::SEEDS {
        let mut card = Card::new(seed);
        let module = card.load(&kernel(16, &body("%rd0")));
        let a = card.buffer("a", &[0_u32; 64]);
        card.launch(&module, 2, 32, &[&a, &0_u64, &0_u64]).unwrap();
        assert!(card.findings().iter().any(|f| f.kind == Kind::BlockRace));
        // The next launch comes after it: no race with it.
        let before = card.findings().len();
        let copy = card.load(&kernel(16, &body("%rd1")));
        let b = card.empty("b", 256);
        card.launch(&copy, 2, 32, &[&b, &a, &0_u64]).unwrap();
        assert_eq!(card.findings().len(), before);
    }
}

#[test]
fn blocks_add_by_atomics() {
    let add = |op: &str| kernel(16, &format!("setp.eq.u32 %p0, %t, 0;\n@@5 {op}"));
    clean(&add("red.global.add.u32 [%rd0], 1;"), 4, 64);
    let plain = "@%p0 ld.global.u32 %r0, [%rd0];\n@@6 add.u32 %r0, %r0, 1;\n@@7 @%p0 st.global.u32 [%rd0], %r0;";
    expect(&add(plain), 2, 64, &[(Kind::BlockRace, 5), (Kind::BlockRace, 7)]);
}

/// The last block to arrive adds what all blocks left: ordered by fence and atomic.
#[test]
fn last_block_reads_behind_a_fence() {
    let body = |fence: &str| {
        format!(
            "setp.eq.u32 %p0, %t, 0; @!%p0 bra END; mad.wide.u32 %rd4, %cta, 4, %rd0;
            @@4 st.global.u32 [%rd4], %cta;
            {fence}
            @@6 atom.global.add.u32 %r0, [%rd1], 1;
            setp.ne.u32 %p1, %r0, 3; @%p1 bra END;
            {fence}
            mov.u32 %r1, 0; mov.u32 %r2, 0;
            LOOP: mad.wide.u32 %rd5, %r1, 4, %rd0;
            @@9 ld.global.u32 %r3, [%rd5];
            add.u32 %r2, %r2, %r3; add.u32 %r1, %r1, 1; setp.lt.u32 %p2, %r1, 4; @%p2 bra LOOP;
            @@11 st.global.u32 [%rd2], %r2;
            END:"
        )
    };
    for (fence, wanted) in [("membar.gl;", vec![]), ("", vec![(Kind::BlockRace, 9)])] {
        for seed in crate::SEEDS {
            let mut card = Card::new(seed);
            let module = card.load(&kernel(16, &body(fence)));
            let (a, count, sum) =
                (card.empty("a", 16), card.buffer("count", &[0_u32]), card.empty("sum", 4));
            card.launch(&module, 4, 64, &[&a, &count, &sum]).unwrap();
            card.expect(&wanted);
            assert_eq!(card.read::<u32>(sum, 1), [6]);
        }
    }
}

#[test]
fn threads_of_a_block_need_a_barrier() {
    let body = |sync: &str| {
        format!(
            "mad.wide.u32 %rd4, %t, 4, %rd0; xor.b32 %r0, %t, 32; mad.wide.u32 %rd5, %r0, 4, %rd0;
            @@5 st.global.u32 [%rd4], %t;
            {sync}
            @@7 ld.global.u32 %r1, [%rd5];"
        )
    };
    clean(&kernel(16, &body("bar.sync 0;")), 1, 64);
    for seed in crate::SEEDS {
        let mut card = Card::new(seed);
        let module = card.load(&kernel(16, &body("")));
        let a = card.buffer("a", &[0_u32; 64]);
        card.launch(&module, 1, 64, &[&a, &0_u64, &0_u64]).unwrap();
        assert!(card.findings().iter().any(|f| f.kind == Kind::GlobalRace));
    }
}

#[test]
fn rows_of_odd_length_share_words_without_race() {
    // Sixteen-bit rows of 33: the last of one block and the first of the next are in one word.
    let body = "setp.gt.u32 %p0, %t, 32; @%p0 bra END; mad.lo.u32 %r0, %cta, 33, %t;
        mad.wide.u32 %rd4, %r0, 2, %rd0; cvt.u16.u32 %h0, %r0;
        @@5 st.global.u16 [%rd4], %h0;
        END:";
    clean(&kernel(16, body), 4, 64);
}

#[test]
fn races_can_be_left_out() {
    let mut card = Card::default();
    card.session.races = false;
    let module = card.load(&kernel(16, "@@5 st.global.u32 [%rd0], %cta;"));
    let a = card.empty("a", 4);
    card.launch(&module, 4, 32, &[&a, &0_u64, &0_u64]).unwrap();
    card.expect_clean();
}

#[test]
fn halves_of_words_are_apart() {
    // Sixteen-bit elements: each thread writes its own, then reads it or that of a neighbour.
    let body = |distance: u32, sync: &str| {
        format!(
            "mad.wide.u32 %rd4, %t, 2, %rd0; cvt.u16.u32 %h0, %t; xor.b32 %r0, %t, {distance};
            mad.wide.u32 %rd5, %r0, 2, %rd0;
            @@5 st.global.u16 [%rd4], %h0;
            {sync}
            @@7 ld.global.u16 %h1, [%rd5];"
        )
    };
    clean(&kernel(16, &body(0, "")), 1, 64);
    clean(&kernel(16, &body(1, "bar.sync 0;")), 1, 64);
    clean(&kernel(16, &body(33, "bar.sync 0;")), 1, 64);
    expect(&kernel(16, &body(1, "")), 1, 32, &[(Kind::GlobalRace, 7)]);
    for seed in crate::SEEDS {
        let mut card = Card::new(seed);
        let module = card.load(&kernel(16, &body(33, "")));
        let a = card.buffer("a", &[0_u32; 64]);
        card.launch(&module, 1, 64, &[&a, &0_u64, &0_u64]).unwrap();
        assert!(card.findings().iter().any(|f| f.kind == Kind::GlobalRace));
    }
}
