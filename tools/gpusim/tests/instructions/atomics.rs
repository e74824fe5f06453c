//! atom and red: what they leave in memory and what they give back.

use crate::card::{Bytes, Card, HEADER};

/// 64 lanes of two warps apply `op` of type `ty` with operand `value` computed from the thread index.
fn run<T: Bytes + Copy>(ty: &str, op: &str, start: T, width: u32, shared: bool) -> (T, Vec<T>) {
    let class = match ty {
        "f32" => "f32",
        _ if width == 8 => "b64",
        _ => "b32",
    };
    let load = format!("ld.global.{class} %v, [%rd2];");
    let (before, after, place) = if shared {
        (
            format!(
                ".shared .align 8 .b8 cell[8]; setp.ne.u32 %p0, %t, 0; mov.u64 %rd3, cell;
                @%p0 bra READY; ld.global.{class} %s, [%rd0]; st.shared.{class} [cell], %s;
                READY: bar.sync 0;"
            ),
            format!(
                "bar.sync 0; @%p0 bra DONE; ld.shared.{class} %s, [cell]; st.global.{class} [%rd0], %s; DONE:"
            ),
            ".shared".to_owned(),
        )
    } else {
        ("mov.u64 %rd3, %rd0;".to_owned(), String::new(), ".global".to_owned())
    };
    let text = format!(
        "{HEADER}.visible .entry k(.param .u64 pc, .param .u64 pv, .param .u64 po)\n{{
        .reg .b32 %t; .reg .{class} %v, %old, %s; .reg .b64 %rd<4>; .reg .pred %p<2>;
        mov.u32 %t, %tid.x; ld.param.u64 %rd0, [pc]; ld.param.u64 %rd2, [pv]; ld.param.u64 %rd1, [po];
        mad.wide.u32 %rd1, %t, {width}, %rd1; mad.wide.u32 %rd2, %t, {width}, %rd2;
        {load}\n{before}\natom{place}.{op}.{ty} %old, [%rd3], %v;
        st.global.{class} [%rd1], %old;\n{after}\nret;\n}}\n"
    );
    let mut card = Card::default();
    let module = card.load(&text);
    let cell = card.buffer("cell", &[start]);
    let operands: Vec<u8> = (0..64_u32)
        .flat_map(|t| match ty {
            "f32" => (t as f32).to_le_bytes().to_vec(),
            _ if width == 8 => u64::from(t * 3).to_le_bytes().to_vec(),
            _ => (t * 3).to_le_bytes().to_vec(),
        })
        .collect();
    let operands = card.buffer("operands", &operands);
    let out = card.empty("old", u64::from(64 * width));
    card.launch(&module, 1, 64, &[&cell, &operands, &out]).unwrap();
    card.expect_clean();
    (card.read::<T>(cell, 1)[0], card.read(out, 64))
}

#[test]
fn sums_do_not_lose_any() {
    for shared in [false, true] {
        let (total, mut old) = run::<u32>("u32", "add", 10, 4, shared);
        assert_eq!(total, 10 + 3 * (0..64).sum::<u32>());
        // Every old value is a partial sum: all differ but for the zero operand.
        old.sort_unstable();
        old.dedup();
        assert_eq!(old.len(), 63);
        assert_eq!(run::<u64>("u64", "add", 1, 8, shared).0, 1 + 3 * (0..64).sum::<u64>());
        assert_eq!(run::<f32>("f32", "add", 0.5, 4, shared).0, 0.5 + (0..64).sum::<u32>() as f32);
    }
}

#[test]
fn order_and_bits() {
    assert_eq!(run::<u32>("u32", "max", 7, 4, false).0, 189);
    assert_eq!(run::<i32>("s32", "min", 7, 4, false).0, 0);
    assert_eq!(run::<i32>("s32", "max", -7, 4, true).0, 189);
    assert_eq!(run::<u32>("b32", "or", 0x100, 4, false).0, (0..64).fold(0x100, |w, t| w | (3 * t)));
    assert_eq!(run::<u32>("b32", "xor", 1, 4, false).0, (0..64).fold(1, |w, t| w ^ (3 * t)));
    assert_eq!(run::<u32>("b32", "and", 0xff, 4, false).0, 0);
}

#[test]
fn exchange_passes_a_chain() {
    let (last, mut old) = run::<u32>("b32", "exch", 999, 4, false);
    old.push(last);
    old.sort_unstable();
    let mut want: Vec<u32> = (0..64).map(|t| 3 * t).chain([999]).collect();
    want.sort_unstable();
    assert_eq!(old, want);
}

#[test]
fn increment_wraps_at_its_operand() {
    // Operand 3t: with old 0 and limits 0, 3, 6, ... the value stays within the largest limit.
    let (last, old) = run::<u32>("u32", "inc", 0, 4, false);
    assert!(last <= 189 && old.iter().all(|&o| o <= 189));
}

#[test]
fn compare_and_swap_takes_one() {
    let text = format!(
        "{HEADER}.visible .entry k(.param .u64 pc, .param .u64 po)\n{{
        .reg .b32 %t, %old; .reg .b64 %rd<4>; mov.u32 %t, %tid.x;
        ld.param.u64 %rd0, [pc]; ld.param.u64 %rd1, [po]; mad.wide.u32 %rd1, %t, 4, %rd1;
        add.u32 %t, %t, 1; atom.global.cas.b32 %old, [%rd0], 0, %t; st.global.u32 [%rd1], %old;
        ret;\n}}\n"
    );
    let mut card = Card::default();
    let module = card.load(&text);
    let (cell, out) = (card.buffer("cell", &[0_u32]), card.empty("old", 4 * 64));
    card.launch(&module, 1, 64, &[&cell, &out]).unwrap();
    card.expect_clean();
    let winner = card.read::<u32>(cell, 1)[0];
    let old = card.read::<u32>(out, 64);
    assert_eq!(old.iter().filter(|&&o| o == 0).count(), 1);
    assert!(old.iter().all(|&o| o == 0 || o == winner));
    assert_eq!(old[winner as usize - 1], 0);
}

#[test]
fn packed_bf16_addition() {
    let text = format!(
        "{HEADER}.visible .entry k(.param .u64 pc)\n{{\n.reg .b32 %v; .reg .b64 %rd0;
        ld.param.u64 %rd0, [pc]; mov.b32 %v, 0x3f804000;
        red.global.add.noftz.bf16x2 [%rd0], %v;\nret;\n}}\n"
    );
    let mut card = Card::default();
    let module = card.load(&text);
    let cell = card.buffer("cell", &[0_u32]);
    card.launch(&module, 1, 4, &[&cell]).unwrap();
    // 4 times 1 and 2.
    assert_eq!(card.read::<u32>(cell, 1), [0x4080_4100]);
}
