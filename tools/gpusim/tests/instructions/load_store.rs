//! Widths, vectors, spaces, generic addresses, local memory, parameters, constants.

use crate::card::{Bytes, Card, HEADER, lanes32, lanes32_to64};
use crate::triples;

fn run(body: &str, module_scope: &str, words: usize) -> Vec<u32> {
    let text = format!(
        "{HEADER}{module_scope}\n.visible .entry k(.param .u64 po)\n{{\n.reg .b32 %t, %r<12>;
        .reg .b16 %h<4>; .reg .b64 %rd<8>; .reg .pred %p<4>; mov.u32 %t, %tid.x;
        ld.param.u64 %rd0, [po]; mad.wide.u32 %rd0, %t, {}, %rd0;\n{body}\nret;\n}}\n",
        4 * words
    );
    let mut card = Card::default();
    let module = card.load(&text);
    let out = card.empty("out", 4 * 64 * words as u64);
    card.launch(&module, 1, 64, &[&out as &dyn Bytes]).unwrap();
    card.expect_clean();
    card.read(out, 64 * words)
}

#[test]
fn narrow_loads_extend_by_their_sign() {
    let inputs = triples();
    let spill = ".local .b8 slot[8]; st.local.u32 [slot], %a; ";
    for (load, want) in [
        ("ld.local.s8 %o, [slot];", (|a| a as i8 as u32) as fn(u32) -> u32),
        ("ld.local.u8 %o, [slot+1];", |a| a >> 8 & 0xff),
        ("ld.local.s16 %o, [slot+2];", |a| (a as i32 >> 16) as u32),
        ("ld.local.u16 %o, [slot];", |a| a & 0xffff),
    ] {
        for (&[a, ..], got) in inputs.iter().zip(lanes32(&format!("{spill}{load}"), &inputs)) {
            assert_eq!(got, want(a), "{load} of {a:#x}");
        }
    }
    let body = format!("{spill} ld.local.s32 %do, [slot];");
    for (&[a, ..], got) in inputs.iter().zip(lanes32_to64(&body, &inputs)) {
        assert_eq!(got as i64, i64::from(a as i32));
    }
}

#[test]
fn vectors_move_in_order() {
    let got = run(
        "mul.lo.u32 %r0, %t, 4; add.u32 %r1, %r0, 1; add.u32 %r2, %r0, 2; add.u32 %r3, %r0, 3;
        st.global.v4.u32 [%rd0], {%r0, %r1, %r2, %r3};
        ld.global.v2.u32 {%r4, %r5}, [%rd0+8]; st.global.v2.u32 [%rd0], {%r5, %r4};",
        "",
        4,
    );
    for t in 0..64 {
        assert_eq!(got[4 * t..4 * t + 4], [3, 2, 2, 3].map(|k| 4 * t as u32 + k));
    }
}

#[test]
fn generic_addresses_reach_all_spaces() {
    let got = run(
        ".shared .align 4 .b8 s[256]; .local .align 4 .b8 l[4]; mov.u64 %rd1, s;
        cvta.shared.u64 %rd2, %rd1; mad.wide.u32 %rd2, %t, 4, %rd2; st.u32 [%rd2], %t;
        mov.u64 %rd3, l; cvta.local.u64 %rd4, %rd3; st.u32 [%rd4], 1000;
        ld.u32 %r0, [%rd2]; ld.u32 %r1, [%rd4]; add.u32 %r0, %r0, %r1;
        cvta.to.shared.u64 %rd5, %rd2; sub.u64 %rd5, %rd5, %rd1; cvt.u32.u64 %r2, %rd5; add.u32 %r0, %r0, %r2;
        isspacep.shared %p0, %rd2; isspacep.global %p1, %rd2; isspacep.global %p2, %rd0;
        selp.u32 %r3, 10000, 0, %p0; add.u32 %r0, %r0, %r3;
        selp.u32 %r3, 20000, 0, %p1; add.u32 %r0, %r0, %r3;
        selp.u32 %r3, 40000, 0, %p2; add.u32 %r0, %r0, %r3; st.u32 [%rd0], %r0;",
        "",
        1,
    );
    for (t, got) in got.into_iter().enumerate() {
        assert_eq!(got, 51000 + 5 * t as u32);
    }
}

#[test]
fn module_variables_have_initial_values() {
    let got = run(
        "ld.const.u32 %r0, [table+4]; ld.global.u16 %h0, [words+2]; cvt.u32.u16 %r1, %h0;
        ld.global.u64 %rd1, [pointer]; ld.u16 %h1, [%rd1]; cvt.u32.u16 %r2, %h1;
        add.u32 %r0, %r0, %r1; add.u32 %r0, %r0, %r2; st.global.u32 [%rd0], %r0;",
        ".const .align 4 .b32 table[3] = {1, 200, 3};
        .global .align 2 .u16 words[4] = {7, 0x1000, 9};
        .global .align 8 .u64 pointer = words + 4;",
        1,
    );
    assert_eq!(got, vec![200 + 0x1000 + 9; 64]);
}

#[test]
fn dynamic_shared_memory_starts_behind_the_static_part() {
    let text = format!(
        "{HEADER}.extern .shared .align 16 .b8 dyn[];\n.visible .entry k(.param .u64 po)\n{{
        .reg .b32 %t, %r<4>; .reg .b64 %rd0; .shared .align 4 .b8 fixed[256]; mov.u32 %t, %tid.x;
        ld.param.u64 %rd0, [po]; mad.wide.u32 %rd0, %t, 4, %rd0; shl.b32 %r0, %t, 2;
        mov.u32 %r1, fixed; add.u32 %r1, %r1, %r0; st.shared.u32 [%r1], 5;
        mov.u32 %r2, dyn; add.u32 %r2, %r2, %r0; st.shared.u32 [%r2], %t;
        ld.shared.u32 %r3, [%r1]; ld.shared.u32 %r0, [%r2]; add.u32 %r0, %r0, %r3;
        mov.u32 %r3, %dynamic_smem_size; add.u32 %r0, %r0, %r3; st.global.u32 [%rd0], %r0; ret;\n}}\n"
    );
    let mut card = Card::default();
    let module = card.load(&text);
    assert_eq!(module.kernels[0].static_shared_bytes, 256);
    let out = card.empty("out", 256);
    card.launch_with(&module, [1; 3], [64, 1, 1], 256, &[&out as &dyn Bytes]).unwrap();
    card.expect_clean();
    let want: Vec<u32> = (0..64).map(|t| t + 5 + 256).collect();
    assert_eq!(card.read::<u32>(out, 64), want);
}

#[test]
fn parameters_of_all_widths_and_structures() {
    let text = format!(
        "{HEADER}.visible .entry k(.param .u64 po, .param .u8 pb, .param .f64 pd,
        .param .align 4 .b8 ps[12])\n{{\n.reg .b32 %r<8>; .reg .b64 %rd<4>; .reg .f64 %fd0; .reg .b16 %h0;
        ld.param.u64 %rd0, [po]; ld.param.u8 %h0, [pb]; cvt.u32.u16 %r0, %h0;
        ld.param.f64 %fd0, [pd]; cvt.rzi.u32.f64 %r1, %fd0;
        mov.b64 %rd1, ps; ld.param.u32 %r2, [%rd1+8]; ld.param.u32 %r3, [ps+4];
        st.global.v4.u32 [%rd0], {{%r0, %r1, %r2, %r3}}; ret;\n}}\n"
    );
    let mut card = Card::default();
    let module = card.load(&text);
    let kernel = &module.kernels[0];
    let places: Vec<(u32, u32)> = kernel.params.iter().map(|p| (p.offset, p.bytes)).collect();
    assert_eq!(places, [(0, 8), (8, 1), (16, 8), (24, 12)]);
    assert_eq!(kernel.param_bytes, 36);
    let out = card.empty("out", 16);
    // The structure as one number: only its first eight bytes and then the last four.
    struct Triple([u32; 3]);
    impl Bytes for Triple {
        fn bytes(&self) -> Vec<u8> {
            self.0.iter().flat_map(|w| w.to_le_bytes()).collect()
        }
        fn from_bytes(bytes: &[u8]) -> Self {
            let word = |k: usize| u32::from_bytes(&bytes[4 * k..4 * k + 4]);
            Self([word(0), word(1), word(2)])
        }
    }
    card.launch(&module, 1, 1, &[&out, &200_u8, &7.9_f64, &Triple([1, 2, 3])]).unwrap();
    card.expect_clean();
    assert_eq!(card.read::<u32>(out, 4), [200, 7, 3, 2]);
}
