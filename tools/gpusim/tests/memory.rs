//! Device memory: bounds, initialised state, red zones, delayed reuse, parts, and names in reports.

use gpusim::memory::{ALIGN, AccessError, BASE, DeviceMemory};

fn memory() -> DeviceMemory {
    DeviceMemory::new(1 << 20).expect("reserve")
}

#[test]
fn alloc_is_aligned_and_separated() {
    let mut m = memory();
    let (a, b) = (m.alloc(100, "a").unwrap(), m.alloc(100, "b").unwrap());
    assert!(a >= BASE && a.is_multiple_of(ALIGN) && b.is_multiple_of(ALIGN));
    assert!(b - (a + 100) >= 256);
}

#[test]
fn read_before_write_names_the_byte() {
    let mut m = memory();
    let a = m.alloc(16, "a").unwrap();
    m.host_write(a, &[7; 8]).unwrap();
    let mut out = [0; 16];
    assert_eq!(m.host_read(a, &mut out), Err(AccessError::Uninitialised(a + 8)));
    assert_eq!(out[..8], [7; 8]);
    assert_eq!(m.host_read(a, &mut out[..8]), Ok(()));
}

#[test]
fn access_behind_the_end_is_refused() {
    let mut m = memory();
    let a = m.alloc(16, "a").unwrap();
    assert_eq!(m.host_write(a + 8, &[0; 9]), Err(AccessError::Unaddressable(a + 16)));
    assert_eq!(m.locate(a + 16).to_string(), "`a` + 16, 16 bytes, behind its end");
}

#[test]
fn copy_carries_missing_data() {
    let mut m = memory();
    let (a, b) = (m.alloc(8, "a").unwrap(), m.alloc(8, "b").unwrap());
    m.host_write(b, &[1; 8]).unwrap();
    m.host_write(a, &[2; 4]).unwrap();
    m.copy(b, a, 8).unwrap();
    assert_eq!(m.read(b, 8), Err(AccessError::Uninitialised(b + 4)));
}

#[test]
fn freed_memory_is_named_and_not_reused_soon() {
    let mut m = memory();
    let a = m.alloc(1 << 19, "a").unwrap();
    m.free(a).unwrap();
    assert_eq!(m.free(a), Err(AccessError::Unaddressable(a)));
    let b = m.alloc(1 << 19, "b").unwrap();
    assert_ne!(a, b);
    assert_eq!(m.host_write(a, &[1]), Err(AccessError::Unaddressable(a)));
    assert_eq!(m.locate(a + 4).to_string(), "`a` + 4, 524288 bytes, freed");
}

#[test]
fn card_fills_up_and_is_reused_for_ever() {
    let mut m = memory();
    assert_eq!(m.alloc((1 << 20) + 1, "too large"), None);
    for i in 0..100 {
        let a = m.alloc(1 << 20, "whole").unwrap();
        assert_eq!(m.alloc(1, "more"), None);
        m.host_write(a, &[i]).unwrap();
        m.free(a).unwrap();
    }
}

#[test]
fn parts_of_an_arena_have_their_own_bounds() {
    let mut m = memory();
    let arena = m.alloc(4096, "arena").unwrap();
    m.annotate(arena + 256, 100, "x").unwrap();
    m.host_write(arena + 256, &[0; 100]).unwrap();
    assert_eq!(m.host_write(arena + 356, &[0]), Err(AccessError::Unaddressable(arena + 356)));
    assert_eq!(m.locate(arena + 260).to_string(), "`x` + 4, 100 bytes");
    m.retire(arena + 256, 100).unwrap();
    assert_eq!(m.locate(arena + 260).to_string(), "`x` + 4, 100 bytes, freed");
    m.annotate(arena + 256, 50, "y").unwrap();
    assert_eq!(m.read(arena + 256, 1), Err(AccessError::Uninitialised(arena + 256)));
}

#[test]
fn ranges_of_many_pages_end_where_they_should() {
    let mut m = memory();
    let arena = m.alloc(100_000, "arena").unwrap();
    m.annotate(arena, 50_001, "x").unwrap();
    m.annotate(arena + 50_001, 49_999, "y").unwrap();
    m.host_write(arena, &vec![1; 100_000]).unwrap();
    m.retire(arena + 50_001, 49_999).unwrap();
    assert!(m.read(arena, 50_001).is_ok());
    assert_eq!(m.read(arena, 50_002), Err(AccessError::Unaddressable(arena + 50_001)));
    assert_eq!(m.read(arena + 99_999, 1), Err(AccessError::Unaddressable(arena + 99_999)));
    m.retire(arena, 50_001).unwrap();
    assert_eq!(m.read(arena + 4096, 1), Err(AccessError::Unaddressable(arena + 4096)));
}
