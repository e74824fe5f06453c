//! Barriers that not all reach, or not together.

use crate::{clean, expect, kernel};
use gpusim::report::Kind;

#[test]
fn barrier_in_a_branch() {
    let body = |condition: &str| {
        format!(
            "{condition} @%p0 bra SKIP;
            @@4 bar.sync 0;
            SKIP:
            @@5 st.global.u32 [%rd0], 1;"
        )
    };
    // Taken by no thread: every one reaches the barrier.
    let body_clean = body("setp.gt.u32 %p0, %t, 100;").replace("st.global.u32 [%rd0], 1;", "");
    clean(&kernel(16, &body_clean), 1, 64);
    // Half of a warp, which then exits.
    let half = body("setp.gt.u32 %p0, %t, 15;").replace("st.global.u32 [%rd0], 1;", "");
    expect(&kernel(16, &half), 1, 32, &[(Kind::BarrierDivergence, 4)]);
}

#[test]
fn a_warp_that_exits_before_the_barrier() {
    let body = "setp.ge.u32 %p0, %t, 32; @%p0 bra END;
        @@4 bar.sync 0;
        END:";
    expect(&kernel(16, body), 1, 64, &[(Kind::BarrierDivergence, 4)]);
    clean(&kernel(16, body), 1, 32);
}

#[test]
fn lanes_of_one_warp_at_two_barriers() {
    let body = "and.b32 %r0, %t, 1; setp.eq.u32 %p0, %r0, 0; @%p0 bra EVEN;
        @@4 bar.sync 0;
        bra END;
        EVEN:
        @@6 bar.sync 0;
        END:";
    // Both halves arrive, but not with the same instruction.
    let found = |seed| {
        let mut card = crate::Card::new(seed);
        let module = card.load(&kernel(16, body));
        let a = card.buffer("a", &[0_u32; 4]);
        let _ = card.launch(&module, 1, 32, &[&a, &a, &a]);
        card.findings().iter().map(|f| f.kind).collect::<Vec<_>>()
    };
    assert!(found(1).contains(&Kind::BarrierDivergence));
}

#[test]
fn warps_at_different_barriers_wait_for_ever() {
    let body = "setp.ge.u32 %p0, %t, 32; @%p0 bra OTHER;
        @@4 bar.sync 0;
        bra END;
        OTHER:
        @@6 bar.sync 1;
        END:";
    for seed in crate::SEEDS {
        let mut card = crate::Card::new(seed);
        let module = card.load(&kernel(16, body));
        let a = card.buffer("a", &[0_u32; 4]);
        assert!(card.launch(&module, 1, 64, &[&a, &a, &a]).is_err());
        assert!(card.findings().iter().any(|f| f.kind == Kind::Deadlock));
    }
}

#[test]
fn counts_that_differ_or_are_no_warps() {
    let body = |count: u32| format!("@@4 bar.sync 1, {count};");
    clean(&kernel(16, &body(64)), 1, 64);
    for (count, threads) in [(48, 64), (96, 64)] {
        let mut card = crate::Card::new(1);
        let module = card.load(&kernel(16, &body(count)));
        let a = card.buffer("a", &[0_u32; 4]);
        let _ = card.launch(&module, 1, threads, &[&a, &a, &a]);
        assert!(!card.findings().is_empty(), "{count} of {threads}");
    }
}

#[test]
fn reductions_at_a_barrier() {
    let body = "setp.lt.u32 %p0, %t, 10;
        bar.red.popc.u32 %r0, 0, %p0; bar.red.and.pred %p1, 0, %p0; bar.red.or.pred %p2, 0, !%p0;
        selp.u32 %r1, 100, 0, %p1; selp.u32 %r2, 1000, 0, %p2; add.u32 %r0, %r0, %r1;
        add.u32 %r0, %r0, %r2; mad.wide.u32 %rd4, %t, 4, %rd0; st.global.u32 [%rd4], %r0;";
    let mut card = crate::Card::new(1);
    let module = card.load(&kernel(16, body));
    let a = card.empty("a", 256);
    card.launch(&module, 1, 64, &[&a, &a, &a]).unwrap();
    card.expect_clean();
    assert_eq!(card.read::<u32>(a, 64), [1010; 64]);
}

#[test]
fn spinning_on_another_warp_makes_progress() {
    // Warp 0 waits for a flag that warp 1 sets.
    let body =
        "setp.lt.u32 %p0, %t, 32; setp.eq.u32 %p1, %t, 0; @%p1 st.volatile.shared.u32 [tile], 0;
        bar.sync 0; @%p0 bra SPIN; st.volatile.shared.u32 [tile], 1; bra END;
        SPIN: ld.volatile.shared.u32 %r0, [tile]; setp.eq.u32 %p2, %r0, 0; @%p2 bra SPIN;
        END:";
    clean(&kernel(16, body), 1, 64);
}

#[test]
fn matrix_instruction_of_half_a_warp() {
    let body = |limit: u32| {
        format!(
            "mov.u32 %r0, tile; mad.lo.u32 %r1, %t, 16, %r0; st.shared.v4.u32 [%r1], {{%t, %t, %t, %t}};
            bar.warp.sync -1; setp.ge.u32 %p0, %t, {limit}; @%p0 bra END;
            @@6 ldmatrix.sync.aligned.m8n8.x1.shared.b16 {{%r2}}, [%r1];
            END:"
        )
    };
    clean(&kernel(512, &body(32)), 1, 32);
    let mut card = crate::Card::new(1);
    let module = card.load(&kernel(512, &body(16)));
    let a = card.buffer("a", &[0_u32; 4]);
    let _ = card.launch(&module, 1, 32, &[&a, &a, &a]);
    assert!(card.findings().iter().any(|f| f.kind == Kind::SyncMask && f.line == 6));
}
