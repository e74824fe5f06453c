//! Branches, loops, calls, tables: lanes take their own paths and meet again.

use crate::card::{Bytes, Card, HEADER, lanes32};
use gpusim::report::Kind;

#[test]
fn loops_run_as_often_as_each_lane_wants() {
    let inputs: Vec<[u32; 3]> = (0..64).map(|l| [l * 37 % 11, 3, 0]).collect();
    let body = "mov.u32 %o, 0; mov.u32 %r0, 0; LOOP: setp.ge.u32 %p0, %r0, %a; @%p0 bra DONE;
        add.u32 %o, %o, %b; add.u32 %r0, %r0, 1; bra LOOP; DONE:";
    for (&[a, ..], got) in inputs.iter().zip(lanes32(body, &inputs)) {
        assert_eq!(got, 3 * a);
    }
}

#[test]
fn guards_of_both_signs() {
    let inputs: Vec<[u32; 3]> = (0..32).map(|l| [l, 0, 0]).collect();
    let body = "setp.lt.u32 %p0, %a, 10; @%p0 mov.u32 %o, 1; @!%p0 mov.u32 %o, 2;";
    for (&[a, ..], got) in inputs.iter().zip(lanes32(body, &inputs)) {
        assert_eq!(got, if a < 10 { 1 } else { 2 });
    }
}

#[test]
fn nested_branches_meet_before_a_warp_instruction() {
    let inputs: Vec<[u32; 3]> = (0..32).map(|l| [l, 0, 0]).collect();
    let body = "mov.u32 %o, 0; and.b32 %r0, %a, 1; and.b32 %r1, %a, 2; setp.eq.u32 %p0, %r0, 0;
        setp.eq.u32 %p1, %r1, 0; @%p0 bra EVEN; @%p1 bra ODD0; mov.u32 %o, 3; bra JOIN;
        ODD0: mov.u32 %o, 1; bra JOIN; EVEN: @%p1 bra JOIN; mov.u32 %o, 2;
        JOIN: vote.sync.ballot.b32 %r2, 1, -1; popc.b32 %r2, %r2; mad.lo.u32 %o, %r2, 100, %o;";
    for (&[a, ..], got) in inputs.iter().zip(lanes32(body, &inputs)) {
        assert_eq!(got, 3200 + a % 4);
    }
}

fn run(functions: &str, body: &str) -> (Card, Vec<u32>) {
    let text = format!(
        "{HEADER}{functions}\n.visible .entry k(.param .u64 po)\n{{\n.reg .b32 %t, %r<8>; .reg .b64 %rd<4>;
        .reg .pred %p<4>; mov.u32 %t, %tid.x; ld.param.u64 %rd0, [po]; mad.wide.u32 %rd0, %t, 4, %rd0;
        \n{body}\nst.global.u32 [%rd0], %r0; ret;\n}}\n"
    );
    let mut card = Card::default();
    let module = card.load(&text);
    let out = card.empty("out", 256);
    card.launch(&module, 1, 64, &[&out as &dyn Bytes]).unwrap();
    card.expect_clean();
    let got = card.read(out, 64);
    (card, got)
}

#[test]
fn calls_pass_values_and_nest() {
    let functions = ".func (.param .b32 out) twice(.param .b32 x)\n{\n.reg .b32 %r<4>;
        ld.param.u32 %r1, [x]; add.u32 %r1, %r1, %r1; st.param.b32 [out], %r1; ret;\n}
        .func (.param .b32 out) four(.param .b32 x)\n{\n.reg .b32 %r<4>; ld.param.u32 %r1, [x];
        { .param .b32 p0; st.param.b32 [p0], %r1; .param .b32 r0; call.uni (r0), twice, (p0);
        ld.param.b32 %r2, [r0]; }
        { .param .b32 p0; st.param.b32 [p0], %r2; .param .b32 r0; call.uni (r0), twice, (p0);
        ld.param.b32 %r2, [r0]; }
        st.param.b32 [out], %r2; ret;\n}";
    // Only some lanes call, from two places.
    let call = "{ .param .b32 p; st.param.b32 [p], %t; .param .b32 r; call (r), four, (p);
        ld.param.b32 %r0, [r]; }";
    let body = format!(
        "mov.u32 %r0, 7; setp.lt.u32 %p0, %t, 10; setp.gt.u32 %p1, %t, 50; @%p0 bra A; @%p1 bra B; bra J;
        A: {call} bra J; B: {call} add.u32 %r0, %r0, 1; J:"
    );
    let (_, got) = run(functions, &body);
    for (t, got) in got.into_iter().enumerate() {
        let t = t as u32;
        assert_eq!(
            got,
            if t < 10 {
                4 * t
            } else if t > 50 {
                4 * t + 1
            } else {
                7
            }
        );
    }
}

#[test]
fn branch_table() {
    let body = "and.b32 %r1, %t, 3; mov.u32 %r0, 0; TABLE: .branchtargets L0, L1, L2, L3;
        brx.idx %r1, TABLE; L0: mov.u32 %r0, 10; bra J; L1: mov.u32 %r0, 11; bra J;
        L2: mov.u32 %r0, 12; bra J; L3: mov.u32 %r0, 13; J:";
    let (_, got) = run("", body);
    for (t, got) in got.into_iter().enumerate() {
        assert_eq!(got, 10 + t as u32 % 4);
    }
}

#[test]
fn special_registers_tell_the_place() {
    let text = format!(
        "{HEADER}.visible .entry k(.param .u64 po)\n{{\n.reg .b32 %r<16>; .reg .b64 %rd0;
        mov.u32 %r0, %ctaid.x; mov.u32 %r1, %ctaid.y; mov.u32 %r2, %nctaid.x; mov.u32 %r3, %tid.x;
        mov.u32 %r4, %tid.y; mov.u32 %r5, %ntid.x; mov.u32 %r6, %ntid.y; mov.u32 %r7, %warpid;
        mad.lo.u32 %r8, %r1, %r2, %r0; mul.lo.u32 %r9, %r5, %r6; mad.lo.u32 %r10, %r4, %r5, %r3;
        mad.lo.u32 %r11, %r8, %r9, %r10; ld.param.u64 %rd0, [po]; mad.wide.u32 %rd0, %r11, 4, %rd0;
        shl.b32 %r7, %r7, 16; or.b32 %r7, %r7, %r11; st.global.u32 [%rd0], %r7; ret;\n}}\n"
    );
    let mut card = Card::default();
    let module = card.load(&text);
    let out = card.empty("out", 4 * 6 * 48);
    card.launch_with(&module, [3, 2, 1], [12, 4, 1], 0, &[&out as &dyn Bytes]).unwrap();
    card.expect_clean();
    for (k, got) in card.read::<u32>(out, 6 * 48).into_iter().enumerate() {
        assert_eq!(got, ((k % 48 / 32) as u32) << 16 | k as u32);
    }
}

#[test]
fn traps_and_endless_loops_end() {
    for (body, kind) in [("trap;", Kind::Trap), ("LOOP: bra LOOP;", Kind::Budget)] {
        let text = format!("{HEADER}.visible .entry k()\n{{\n.loc 1 5 1\n{body}\nret;\n}}\n");
        let mut card = Card::default();
        card.session.instruction_budget = 1 << 20;
        let module = card.load(&text);
        assert!(card.launch(&module, 1, 32, &[]).is_err());
        card.expect(&[(kind, 5)]);
    }
}

#[test]
fn failed_assertion_says_its_text() {
    let text = format!(
        "{HEADER}.extern .func __assertfail(.param .b64 a, .param .b64 b, .param .b32 c, .param .b64 d,
        .param .b64 e);\n.global .align 1 .b8 message[6] = {{120, 32, 62, 32, 48, 0}};
        .global .align 1 .b8 where[5] = {{97, 46, 99, 117, 0}};
        .visible .entry k()\n{{\n.reg .b64 %rd<4>;\n.loc 1 6 1\n
        mov.u64 %rd0, message; cvta.global.u64 %rd0, %rd0; mov.u64 %rd1, where;
        {{ .param .b64 a; st.param.b64 [a], %rd0; .param .b64 b; st.param.b64 [b], %rd1;
        .param .b32 c; st.param.b32 [c], 42; .param .b64 d; st.param.b64 [d], %rd1;
        .param .b64 e; st.param.b64 [e], 1; call.uni __assertfail, (a, b, c, d, e); }}\nret;\n}}\n"
    );
    let mut card = Card::default();
    let module = card.load(&text);
    assert!(card.launch(&module, 1, 1, &[]).is_err());
    card.expect(&[(Kind::Assert, 6)]);
    assert_eq!(card.findings()[0].text, "assertion `x > 0` failed at a.cu:42");
}
