//! Accesses outside of buffers and variables, of freed memory, of memory without data, misaligned.

use crate::card::{Bytes, Card};
use crate::{clean, expect, kernel};
use gpusim::report::Kind;

const COPY: &str = "mad.wide.u32 %rd4, %t, 4, %rd0; mad.wide.u32 %rd5, %t, 4, %rd1;
    @@3 ld.global.u32 %r0, [%rd4];
    @@4 st.global.u32 [%rd5], %r0;";

#[test]
fn copy_of_the_right_size_is_clean() {
    clean(&kernel(16, COPY), 1, 1024);
}

fn sized(a_words: usize, b_words: usize, threads: u32) -> Card {
    let mut card = Card::default();
    let module = card.load(&kernel(16, COPY));
    let a = card.buffer("a", &vec![1_u32; a_words]);
    let b = card.buffer("b", &vec![0_u32; b_words]);
    card.launch(&module, 1, threads, &[&a as &dyn Bytes, &b, &0_u64]).unwrap();
    card
}

#[test]
fn one_word_behind_the_end() {
    let card = sized(63, 64, 64);
    card.expect(&[(Kind::OutOfBounds, 3)]);
    let found = &card.findings()[0];
    assert_eq!(found.thread, Some([63, 0, 0]));
    assert_eq!(found.block, Some([0, 0, 0]));
    assert_eq!(found.buffer.as_deref(), Some("`a` + 252, 252 bytes, behind its end"));
    assert_eq!(found.file, "test.cu");
    sized(64, 63, 64).expect(&[(Kind::OutOfBounds, 4)]);
    sized(64, 64, 64).expect_clean();
}

#[test]
fn null_pointer() {
    let mut card = Card::default();
    let module = card.load(&kernel(16, COPY));
    let b = card.empty("b", 256);
    card.launch(&module, 1, 32, &[&0_u64 as &dyn Bytes, &b, &0_u64]).unwrap();
    card.expect(&[(Kind::OutOfBounds, 3)]);
}

#[test]
fn freed_buffer() {
    let mut card = Card::default();
    let module = card.load(&kernel(16, COPY));
    let (a, b) = (card.buffer("a", &[1_u32; 32]), card.empty("b", 128));
    card.memory.free(a).unwrap();
    card.launch(&module, 1, 32, &[&a as &dyn Bytes, &b, &0_u64]).unwrap();
    card.expect(&[(Kind::UseAfterFree, 3)]);
    assert_eq!(card.findings()[0].buffer.as_deref(), Some("`a` + 0, 128 bytes, freed"));
}

#[test]
fn memory_without_data() {
    let mut card = Card::default();
    let module = card.load(&kernel(16, COPY));
    let (a, b) = (card.empty("a", 128), card.empty("b", 128));
    card.memory.host_write(a, &[0; 100]).unwrap();
    card.launch(&module, 1, 32, &[&a as &dyn Bytes, &b, &0_u64]).unwrap();
    card.expect(&[(Kind::Uninitialised, 3)]);
    assert_eq!(card.findings()[0].thread, Some([25, 0, 0]));
}

#[test]
fn what_a_kernel_writes_is_data_for_the_next() {
    let mut card = Card::default();
    let module = card.load(&kernel(16, COPY));
    let (a, b, c) = (card.buffer("a", &[7_u32; 32]), card.empty("b", 128), card.empty("c", 128));
    card.launch(&module, 1, 32, &[&a as &dyn Bytes, &b, &0_u64]).unwrap();
    card.launch(&module, 1, 32, &[&b as &dyn Bytes, &c, &0_u64]).unwrap();
    card.expect_clean();
    assert_eq!(card.read::<u32>(c, 32), [7; 32]);
}

#[test]
fn misaligned_vector() {
    let body = |offset: u32| {
        format!(
            "mad.wide.u32 %rd4, %t, 16, %rd0;
            @@7 ld.global.v4.u32 {{%r0, %r1, %r2, %r3}}, [%rd4+{offset}];"
        )
    };
    expect(&kernel(16, &body(8)), 1, 32, &[(Kind::Misaligned, 7)]);
    clean(&kernel(16, &body(16)), 1, 32);
}

#[test]
fn shared_bounds_are_those_of_each_variable() {
    let body = |last: u32| {
        format!(
            ".shared .align 4 .b8 next[128]; mov.u32 %r0, tile; mad.lo.u32 %r0, %t, 4, %r0;
            @@9 st.shared.u32 [%r0+{last}], %t;"
        )
    };
    clean(&kernel(128, &body(0)), 1, 32);
    expect(&kernel(128, &body(4)), 1, 32, &[(Kind::SharedOutOfBounds, 9)]);
}

#[test]
fn shared_without_data() {
    let body = |threads: u32| {
        format!(
            "mov.u32 %r0, tile; mad.lo.u32 %r0, %t, 4, %r0; setp.lt.u32 %p0, %t, {threads};
            @%p0 st.shared.u32 [%r0], %t; bar.sync 0;
            @@5 ld.shared.u32 %r1, [%r0];"
        )
    };
    clean(&kernel(256, &body(64)), 1, 64);
    expect(&kernel(256, &body(63)), 1, 64, &[(Kind::SharedUninitialised, 5)]);
}

#[test]
fn shared_memory_of_the_last_block_is_gone() {
    // Each block would find what the one before left there.
    let body = "mov.u32 %r0, tile; setp.eq.u32 %p0, %cta, 9; @%p0 st.shared.u32 [%r0], 1;
        @@6 ld.shared.u32 %r1, [%r0];";
    expect(&kernel(256, body), 4, 1, &[(Kind::SharedUninitialised, 6)]);
}

#[test]
fn local_bounds_and_data() {
    let body = |at: u32| {
        format!(
            ".local .align 4 .b8 slot[16]; st.local.u32 [slot], %t; mov.u64 %rd4, slot;
            @@8 ld.local.u32 %r0, [%rd4+{at}];"
        )
    };
    clean(&kernel(16, &body(0)), 1, 32);
    expect(&kernel(16, &body(4)), 1, 32, &[(Kind::Uninitialised, 8)]);
    expect(&kernel(16, &body(16)), 1, 32, &[(Kind::LocalOutOfBounds, 8)]);
}

#[test]
fn parts_of_an_arena_are_buffers() {
    let mut card = Card::default();
    let module = card.load(&kernel(16, COPY));
    let arena = card.empty("arena", 4096);
    card.memory.annotate(arena, 128, "x").unwrap();
    card.memory.annotate(arena + 256, 124, "y").unwrap();
    card.memory.host_write(arena, &[0; 128]).unwrap();
    card.launch(&module, 1, 32, &[&arena as &dyn Bytes, &(arena + 256), &0_u64]).unwrap();
    card.expect(&[(Kind::OutOfBounds, 4)]);
    assert_eq!(card.findings()[0].buffer.as_deref(), Some("`y` + 124, 124 bytes, behind its end"));
}
