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
