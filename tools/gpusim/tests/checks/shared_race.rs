//! Two threads touch a word of shared memory and nothing orders them.

use crate::{clean, expect, kernel};
use gpusim::report::Kind;

/// Each thread writes its word and reads that of another, `sync` between.
fn exchange(distance: u32, sync: &str) -> String {
    let body = format!(
        "mov.u32 %r0, tile; mad.lo.u32 %r1, %t, 4, %r0; xor.b32 %r2, %t, {distance};
        mad.lo.u32 %r2, %r2, 4, %r0;
        @@5 st.shared.u32 [%r1], %t;
        @@6 {sync}
        @@7 ld.shared.u32 %r3, [%r2];"
    );
    kernel(1024, &body)
}

#[test]
fn missing_block_barrier() {
    clean(&exchange(32, "bar.sync 0;"), 1, 64);
    // Depending on the order, the reader comes too early or the writer too late.
    for seed in crate::SEEDS {
        let mut card = crate::Card::new(seed);
        let module = card.load(&exchange(32, ""));
        let a = card.buffer("a", &[0_u32; 64]);
        card.launch(&module, 1, 64, &[&a, &a, &a]).unwrap();
        assert!(
            card.findings()
                .iter()
                .any(|f| f.kind == Kind::SharedRace && (f.line == 7 || f.line == 5))
        );
    }
}

#[test]
fn warp_barrier_does_not_order_warps() {
    for seed in crate::SEEDS {
        let mut card = crate::Card::new(seed);
        let module = card.load(&exchange(32, "bar.warp.sync -1;"));
        let a = card.buffer("a", &[0_u32; 64]);
        card.launch(&module, 1, 64, &[&a, &a, &a]).unwrap();
        assert!(card.findings().iter().any(|f| f.kind == Kind::SharedRace));
    }
}

#[test]
fn missing_warp_barrier() {
    clean(&exchange(1, "bar.warp.sync -1;"), 1, 32);
    clean(&exchange(1, "bar.sync 0;"), 1, 32);
    expect(&exchange(1, ""), 1, 32, &[(Kind::SharedRace, 7)]);
    // A shuffle exchanges registers; it orders no memory.
    let shuffle = "shfl.sync.bfly.b32 %r5, %t, 1, 31, -1;";
    expect(&exchange(1, shuffle), 1, 32, &[(Kind::SharedRace, 7)]);
}

#[test]
fn warp_barrier_of_half_the_lanes_orders_that_half() {
    let body = |mask_high: &str| {
        format!(
            "mov.u32 %r0, tile; mad.lo.u32 %r1, %t, 4, %r0; xor.b32 %r2, %t, 1; mad.lo.u32 %r2, %r2, 4, %r0;
            setp.lt.u32 %p0, %t, 16;
            @@5 st.shared.u32 [%r1], %t;
            @%p0 bra LOW;
            @@8 {mask_high}
            bra JOIN;
            LOW:
            @@9 bar.warp.sync 0x0000ffff;
            JOIN:
            @@10 ld.shared.u32 %r3, [%r2];"
        )
    };
    clean(&kernel(1024, &body("bar.warp.sync 0xffff0000;")), 1, 32);
    expect(&kernel(1024, &body("mov.u32 %r5, 0;")), 1, 32, &[(Kind::SharedRace, 10)]);
}

/// The second round overwrites what the first is still read from.
fn two_rounds(second_barrier: &str) -> String {
    let body = format!(
        "mov.u32 %r0, tile; mad.lo.u32 %r1, %t, 4, %r0; xor.b32 %r2, %t, 32; mad.lo.u32 %r2, %r2, 4, %r0;
        mov.u32 %r4, 0;
        LOOP:
        @@5 st.shared.u32 [%r1], %t;
        bar.sync 0;
        @@7 ld.shared.u32 %r3, [%r2];
        @@8 {second_barrier}
        add.u32 %r4, %r4, 1; setp.lt.u32 %p0, %r4, 3; @%p0 bra LOOP;"
    );
    kernel(1024, &body)
}

#[test]
fn missing_barrier_before_the_next_tile() {
    clean(&two_rounds("bar.sync 0;"), 1, 64);
    for seed in crate::SEEDS {
        let mut card = crate::Card::new(seed);
        let module = card.load(&two_rounds(""));
        let a = card.buffer("a", &[0_u32; 64]);
        card.launch(&module, 1, 64, &[&a, &a, &a]).unwrap();
        let races: Vec<_> = card.findings().iter().filter(|f| f.kind == Kind::SharedRace).collect();
        assert!(!races.is_empty() && races.len() == card.findings().len());
        assert!(races.iter().all(|f| f.line == 5 || f.line == 7));
        assert!(races[0].text.contains("without a barrier"));
        assert!(races[0].buffer.as_deref().unwrap().starts_with("shared `tile`"));
    }
}

/// A race that needs three stages: the third tile lands in the buffer of the first, which a slow
/// warp still reads, since only every second round has a barrier.
#[test]
fn race_of_a_ring_of_buffers() {
    let ring = |stages: u32| {
        let body = format!(
            "mov.u32 %r0, tile; mov.u32 %r4, 0; xor.b32 %r6, %t, 32;
            LOOP:
            rem.u32 %r5, %r4, {stages}; mad.lo.u32 %r1, %r5, 256, %r0;
            mad.lo.u32 %r2, %t, 4, %r1; mad.lo.u32 %r3, %r6, 4, %r1;
            @@5 st.shared.u32 [%r2], %r4;
            bar.sync 0;
            @@7 ld.shared.u32 %r7, [%r3];
            add.u32 %r4, %r4, 1; setp.lt.u32 %p0, %r4, 6; @%p0 bra LOOP;"
        );
        kernel(1024, &body)
    };
    // Two stages and one barrier a round: a writer is at most one barrier ahead of a reader.
    clean(&ring(2), 1, 64);
    for seed in crate::SEEDS {
        let mut card = crate::Card::new(seed);
        let module = card.load(&ring(1));
        let a = card.buffer("a", &[0_u32; 64]);
        card.launch(&module, 1, 64, &[&a, &a, &a]).unwrap();
        assert!(card.findings().iter().any(|f| f.kind == Kind::SharedRace));
    }
}

#[test]
fn one_instruction_writes_one_word_from_many_lanes() {
    let store = |value: &str| kernel(16, &format!("@@4 st.shared.u32 [tile], {value};"));
    clean(&store("5"), 1, 32);
    expect(&store("%t"), 1, 32, &[(Kind::SharedRace, 4)]);
}

#[test]
fn lanes_may_write_halves_of_one_word() {
    let body = "mov.u32 %r0, tile; mad.lo.u32 %r1, %t, 2, %r0; cvt.u16.u32 %h0, %t;
        st.shared.u16 [%r1], %h0; bar.sync 0; ld.shared.u32 %r2, [tile];";
    clean(&kernel(256, body), 1, 64);
}

#[test]
fn atomics_do_not_race_with_each_other_but_with_loads() {
    let body = |load: &str| {
        format!(
            "setp.eq.u32 %p0, %t, 0; @%p0 st.shared.u32 [tile], 0; bar.sync 0;
            @@4 red.shared.add.u32 [tile], 1;
            @@5 {load}
            bar.sync 0; ld.shared.u32 %r1, [tile];"
        )
    };
    clean(&kernel(16, &body("")), 1, 64);
    for seed in crate::SEEDS {
        let mut card = crate::Card::new(seed);
        let module = card.load(&kernel(16, &body("ld.shared.u32 %r0, [tile];")));
        let a = card.buffer("a", &[0_u32; 64]);
        card.launch(&module, 1, 64, &[&a, &a, &a]).unwrap();
        assert!(card.findings().iter().any(|f| f.kind == Kind::SharedRace));
    }
}

#[test]
fn named_barriers_order_those_who_meet_there() {
    // Two pairs of warps, each with its own barrier.
    let body = |distance: u32| {
        format!(
            "mov.u32 %r0, tile; mad.lo.u32 %r1, %t, 4, %r0; xor.b32 %r2, %t, {distance};
            mad.lo.u32 %r2, %r2, 4, %r0; shr.u32 %r3, %t, 6; add.u32 %r3, %r3, 1;
            @@5 st.shared.u32 [%r1], %t;
            @@6 bar.sync %r3, 64;
            @@7 ld.shared.u32 %r4, [%r2];"
        )
    };
    clean(&kernel(1024, &body(32)), 1, 128);
    for seed in crate::SEEDS {
        let mut card = crate::Card::new(seed);
        let module = card.load(&kernel(1024, &body(64)));
        let a = card.buffer("a", &[0_u32; 64]);
        card.launch(&module, 1, 128, &[&a, &a, &a]).unwrap();
        let kinds = [Kind::SharedRace, Kind::SharedUninitialised];
        assert!(card.findings().iter().any(|f| f.kind == Kind::SharedRace));
        assert!(card.findings().iter().all(|f| kinds.contains(&f.kind)));
    }
}

#[test]
fn producer_arrives_and_consumer_waits() {
    let body = |signal: &str| {
        format!(
            "mov.u32 %r0, tile; and.b32 %r1, %t, 31; mad.lo.u32 %r1, %r1, 4, %r0; setp.ge.u32 %p0, %t, 32;
            @%p0 bra CONSUMER;
            @@5 st.shared.u32 [%r1], %t;
            {signal}
            bra END;
            CONSUMER:
            @@8 bar.sync 1, 64;
            @@9 ld.shared.u32 %r2, [%r1];
            END:"
        )
    };
    clean(&kernel(1024, &body("bar.arrive 1, 64;")), 1, 64);
}

#[test]
fn ldmatrix_reads_rows_of_other_lanes() {
    let body = |sync: &str| {
        format!(
            "mov.u32 %r0, tile; mad.lo.u32 %r1, %t, 16, %r0;
            st.shared.v4.u32 [%r1], {{%t, %t, %t, %t}};
            {sync}
            @@6 ldmatrix.sync.aligned.m8n8.x4.shared.b16 {{%r2, %r3, %r4, %r5}}, [%r1];"
        )
    };
    clean(&kernel(512, &body("bar.warp.sync -1;")), 1, 32);
    expect(&kernel(512, &body("")), 1, 32, &[(Kind::SharedRace, 6)]);
}
