//! cp.async: what is touched before its group was waited for, and before others may see it.

use crate::{clean, expect, kernel};
use gpusim::report::Kind;

/// Copies 16 bytes for each thread and reads a word of thread `t ^ distance`.
fn copy(distance: u32, wait: &str, sync: &str) -> String {
    let body = format!(
        "mov.u32 %r0, tile; mad.lo.u32 %r1, %t, 16, %r0; mad.wide.u32 %rd4, %t, 16, %rd0;
        xor.b32 %r2, %t, {distance}; mad.lo.u32 %r2, %r2, 16, %r0;
        @@5 cp.async.cg.shared.global [%r1], [%rd4], 16;
        cp.async.commit_group;
        @@7 {wait}
        @@8 {sync}
        @@9 ld.shared.u32 %r3, [%r2];
        mad.wide.u32 %rd5, %t, 4, %rd1; st.global.u32 [%rd5], %r3;"
    );
    kernel(2048, &body)
}

#[test]
fn wait_and_barrier() {
    let text = copy(32, "cp.async.wait_group 0;", "bar.sync 0;");
    clean(&text, 1, 64);
    let mut card = crate::Card::new(3);
    let module = card.load(&text);
    let a = card.buffer("a", &(0..256).collect::<Vec<u32>>());
    let b = card.empty("b", 256);
    card.launch(&module, 1, 64, &[&a, &b, &0_u64]).unwrap();
    let want: Vec<u32> = (0..64).map(|t: u32| 4 * (t ^ 32)).collect();
    assert_eq!(card.read::<u32>(b, 64), want);
}

#[test]
fn own_copy_needs_no_barrier() {
    clean(&copy(0, "cp.async.wait_all;", ""), 1, 64);
}

#[test]
fn missing_wait() {
    expect(&copy(0, "", ""), 1, 64, &[(Kind::AsyncCopy, 9)]);
    expect(&copy(0, "cp.async.wait_group 1;", ""), 1, 64, &[(Kind::AsyncCopy, 9)]);
    expect(&copy(32, "", "bar.sync 0;"), 1, 64, &[(Kind::AsyncCopy, 9)]);
}

#[test]
fn wait_without_barrier_for_others() {
    for seed in crate::SEEDS {
        let mut card = crate::Card::new(seed);
        let module = card.load(&copy(32, "cp.async.wait_group 0;", ""));
        let a = card.buffer("a", &[0_u32; 256]);
        let b = card.empty("b", 256);
        card.launch(&module, 1, 64, &[&a, &b, &0_u64]).unwrap();
        assert!(card.findings().iter().any(|f| f.kind == Kind::SharedRace));
    }
    // Within a warp too.
    let text = copy(1, "cp.async.wait_group 0;", "");
    expect(&text, 1, 32, &[(Kind::SharedRace, 9)]);
    clean(&copy(1, "cp.async.wait_group 0;", "bar.warp.sync -1;"), 1, 32);
}

#[test]
fn barrier_before_the_wait_does_not_help() {
    for seed in crate::SEEDS {
        let mut card = crate::Card::new(seed);
        let module = card.load(&copy(32, "bar.sync 0;", "cp.async.wait_group 0;"));
        let a = card.buffer("a", &[0_u32; 256]);
        let b = card.empty("b", 256);
        card.launch(&module, 1, 64, &[&a, &b, &0_u64]).unwrap();
        let kinds = [Kind::SharedRace, Kind::AsyncCopy];
        assert!(card.findings().iter().any(|f| kinds.contains(&f.kind)));
    }
}

/// A pipeline of `stages` buffers that waits until `pending` groups are left.
fn pipeline(stages: u32, pending: u32) -> String {
    let body = format!(
        "mov.u32 %r0, tile; mov.u32 %r4, 0;
        FILL: mad.lo.u32 %r1, %r4, 512, %r0; mad.lo.u32 %r1, %t, 16, %r1; mad.lo.u32 %r2, %r4, 32, %t;
        mad.wide.u32 %rd4, %r2, 16, %rd0;
        @@4 cp.async.cg.shared.global [%r1], [%rd4], 16;
        cp.async.commit_group; add.u32 %r4, %r4, 1; setp.lt.u32 %p0, %r4, {fill}; @%p0 bra FILL;
        mov.u32 %r5, 0;
        LOOP:
        cp.async.wait_group {pending}; bar.sync 0;
        rem.u32 %r6, %r5, {stages}; mad.lo.u32 %r7, %r6, 512, %r0; xor.b32 %r8, %t, 1;
        mad.lo.u32 %r7, %r8, 16, %r7;
        @@9 ld.shared.u32 %r9, [%r7];
        setp.ge.u32 %p1, %r4, 8; @%p1 bra NEXT;
        rem.u32 %r6, %r4, {stages}; mad.lo.u32 %r1, %r6, 512, %r0; mad.lo.u32 %r1, %t, 16, %r1;
        mad.lo.u32 %r2, %r4, 32, %t; mad.wide.u32 %rd4, %r2, 16, %rd0;
        @@13 cp.async.cg.shared.global [%r1], [%rd4], 16;
        NEXT: cp.async.commit_group; add.u32 %r4, %r4, 1; add.u32 %r5, %r5, 1;
        setp.lt.u32 %p0, %r5, 8; @%p0 bra LOOP;",
        fill = stages - 1
    );
    kernel(4096, &body)
}

#[test]
fn pipeline_that_waits_for_the_right_group() {
    clean(&pipeline(3, 1), 1, 32);
    clean(&pipeline(4, 2), 1, 32);
    // The copy also lands on words that were read too early, which the wait reports.
    expect(&pipeline(3, 2), 1, 32, &[(Kind::SharedRace, 4), (Kind::AsyncCopy, 9)]);
}

#[test]
fn zero_fill_reads_only_what_is_there() {
    let body = |size: &str| {
        format!(
            "mov.u32 %r0, tile; mad.lo.u32 %r1, %t, 16, %r0; mad.wide.u32 %rd4, %t, 16, %rd0;
            setp.lt.u32 %p0, %t, 2; selp.b32 %r2, 16, {size}, %p0;
            @@5 cp.async.cg.shared.global [%r1], [%rd4], 16, %r2;
            cp.async.wait_all; ld.shared.v4.u32 {{%r3, %r4, %r5, %r6}}, [%r1];
            mad.wide.u32 %rd5, %t, 16, %rd1; st.global.v4.u32 [%rd5], {{%r3, %r4, %r5, %r6}};"
        )
    };
    for (size, wanted) in [("8", vec![]), ("16", vec![(Kind::OutOfBounds, 5)])] {
        let mut card = crate::Card::new(1);
        let module = card.load(&kernel(512, &body(size)));
        // Two and a half rows.
        let a = card.buffer("a", &(1..11).collect::<Vec<u32>>());
        let b = card.empty("b", 48);
        card.launch(&module, 1, 3, &[&a, &b, &0_u64]).unwrap();
        card.expect(&wanted);
        let copied = if wanted.is_empty() { 10 } else { 8 };
        let want: Vec<u32> = (1..=12).map(|k| if k <= copied { k } else { 0 }).collect();
        assert_eq!(card.read::<u32>(b, 12), want);
    }
}

#[test]
fn writing_under_a_copy_in_flight() {
    let body = "mov.u32 %r0, tile; mad.lo.u32 %r1, %t, 16, %r0; mad.wide.u32 %rd4, %t, 16, %rd0;
        cp.async.cg.shared.global [%r1], [%rd4], 16; cp.async.commit_group;
        @@5 st.shared.u32 [%r1], 0;
        cp.async.wait_group 0;";
    expect(&kernel(512, body), 1, 32, &[(Kind::AsyncCopy, 5)]);
}

#[test]
fn misaligned_copies() {
    let body = "mov.u32 %r0, tile; mad.lo.u32 %r1, %t, 16, %r0; mad.wide.u32 %rd4, %t, 16, %rd0;
        @@5 cp.async.cg.shared.global [%r1], [%rd4+8], 16;
        cp.async.wait_all;";
    expect(&kernel(512, body), 1, 32, &[(Kind::Misaligned, 5)]);
}
