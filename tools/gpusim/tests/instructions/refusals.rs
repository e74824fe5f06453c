//! What is not modelled is refused when the module is loaded, by line and instruction.

use crate::card::{Card, HEADER};
use gpusim::ptx::load;

fn refusal(body: &str) -> (u32, String) {
    let text = format!(
        "{HEADER}.visible .entry k()\n{{\n.reg .b32 %r<8>; .reg .f32 %f<8>; .reg .b64 %rd<4>; .reg .pred %p<2>;\n\
         {body}\nret;\n}}\n"
    );
    let mut card = Card::default();
    let e = load(&text, &mut card.memory).err().unwrap_or_else(|| panic!("{body} is not refused"));
    (e.line, e.to_string())
}

#[test]
fn unknown_instructions_and_modifiers() {
    for body in [
        "wgmma.fence.sync.aligned;",
        "add.f32.frob %f0, %f1, %f2;",
        "mul.s32 %r0, %r1, %r2;",
        "fma.f32 %f0, %f1, %f2, %f3;",
        "shfl.up.b32 %r0, %r1, 1, 0;",
        "cvt.bf16.f32 %r0, %f0;",
        "add.rz.s32 %r0, %r1, %r2;",
        "ld.global.b128 %r0, [%rd0];",
        "mma.sync.aligned.m8n8k4.row.col.f32.f16.f16.f32 {%f0}, {%r0}, {%r1}, {%f1};",
        "cp.async.bulk.commit_group;",
        "atom.global.add.s8 %r0, [%rd0], %r1;",
    ] {
        let (line, text) = refusal(body);
        assert_eq!(line, 8, "{text}");
        let opcode = body.split([' ', ';']).next().unwrap();
        assert!(text.contains(opcode), "{text} does not name {opcode}");
    }
}

#[test]
fn operands_that_do_not_fit() {
    for body in [
        "add.s32 %r0, %r1;",
        "add.s32 %r0, %r1, %rd0;",
        "add.s32 %r0, %r1, %x;",
        "bra NOWHERE;",
        "@%r0 bra NOWHERE;",
        "lop3.b32 %r0, %r1, %r2, %r3, 256;",
        "st.global.u32 [%r9], %r0;",
    ] {
        assert_eq!(refusal(body).0, 8, "{body}");
    }
}

#[test]
fn recursion_and_missing_functions() {
    let mut card = Card::default();
    let recursive = format!(
        "{HEADER}.func f()\n{{\ncall.uni f;\nret;\n}}\n.visible .entry k()\n{{\ncall.uni f;\nret;\n}}\n"
    );
    let e = load(&recursive, &mut card.memory).err().expect("a refusal");
    assert!(e.to_string().contains("recursion"), "{e}");
    let (_, text) = refusal("call.uni malloc;");
    assert!(text.contains("malloc"), "{text}");
}

#[test]
fn a_refused_module_leaves_no_memory_behind() {
    let mut card = Card::default();
    let text = format!("{HEADER}.global .b32 x[100];\n.visible .entry k()\n{{\nfrob;\n}}\n");
    assert!(load(&text, &mut card.memory).is_err());
    assert_eq!(card.memory.bytes_in_use(), 0);
}

/// One of everything that has its own syntax.
const SAMPLE: &str = ".version 8.7
.target sm_80
.address_size 64
.file 1 \"a.cu\"
.global .align 4 .b32 table[3] = {1, -2, 0x3};
.const .align 8 .u64 where = generic(table) + 4;
.extern .shared .align 16 .b8 dyn[];
.func (.param .b32 out) f(.param .b32 x)
{
.reg .b32 %r<4>; ld.param.u32 %r1, [x]; st.param.b32 [out+0], %r1; ret;
}
.visible .entry k(.param .u64 p, .param .align 4 .b8 s[12]) .maxntid 64, 1, 1
{
.reg .b32 %r<9>; .reg .b64 %rd<3>; .reg .pred %p<3>; .reg .f32 %f<6>; .reg .b16 %h;
.shared .align 4 .b8 tile[64]; .local .align 8 .b8 depot[16];
.loc 1 7 5, function_name $info, inlined_at 1 9 2
ld.param.u64 %rd1, [p]; cvta.to.global.u64 %rd1, %rd1; mov.u32 %r1, %tid.x;
setp.lt.and.s32 %p1|%p2, %r1, 5, !%p0; @!%p1 bra $L1;
ld.global.nc.v4.f32 {%f1, %f2, %f3, %f4}, [%rd1+16]; fma.rn.f32 %f1, %f2, 0f3F800000, 1.5;
mov.b32 {%h, _}, %r1; lop3.b32 %r2, %r1, %r1, %r3, 0x96; bfi.b32 %r2, %r1, %r2, 3, 4;
{ .param .b32 a; st.param.b32 [a], %r1; .param .b32 b; call.uni (b), f, (a); ld.param.b32 %r2, [b]; }
t: .branchtargets $L1, $L2; brx.idx %r1, t; $L2: shfl.sync.bfly.b32 %r3|%p1, %r1, 1, 31, -1;
mma.sync.aligned.m16n8k8.row.col.f32.bf16.bf16.f32 {%f1,%f2,%f3,%f4}, {%r1,%r2}, {%r3}, {%f1,%f2,%f3,%f4};
cp.async.ca.shared.global [tile], [%rd1], 4, %r1; cp.async.wait_group 0; bar.sync 0, 32;
atom.global.cas.b32 %r4, [%rd1], 0, %r1; st.shared.u32 [tile+4], %r4;
$L1: ret;
}
.section .debug_str { .b8 0 }
";

#[test]
fn damaged_text_is_refused_and_never_a_panic() {
    let mut card = Card::default();
    assert!(load(SAMPLE, &mut card.memory).is_ok_and(|m| m.kernels.len() == 1));
    let mut load =
        |text: &str| load(text, &mut card.memory).map(|m| m.unload(&mut card.memory)).is_ok();
    for end in (0..SAMPLE.len()).filter(|&end| SAMPLE.is_char_boundary(end)) {
        load(&SAMPLE[..end]);
    }
    // Each word left out, doubled, or replaced by each of a few others.
    let words: Vec<&str> =
        SAMPLE.split_inclusive(&[' ', ',', ';', '[', ']', '{', '}', '\n'][..]).collect();
    for k in 0..words.len() {
        for other in
            ["", ";", "{", "}", "%r1 ", "%rd1 ", "7", ".b32 ", "[", "_", "tile", "f", "$L1", "-"]
        {
            let mut damaged = words.clone();
            damaged[k] = other;
            load(&damaged.concat());
        }
    }
    assert!(load(SAMPLE));
    assert!(card.memory.bytes_in_use() > 0, "the first module is still loaded");
}

#[test]
fn too_much_static_shared_memory() {
    let text = format!("{HEADER}.visible .entry k()\n{{\n.shared .b8 x[49153]; ret;\n}}\n");
    let e = load(&text, &mut Card::default().memory).err().expect("a refusal");
    assert!(e.to_string().contains("48 KiB"), "{e}");
}
