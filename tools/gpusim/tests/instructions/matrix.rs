//! mma, ldmatrix, stmatrix: the fragment tables of the manual, lane by lane.

use crate::card::{Bytes, Card, HEADER};

/// A kernel that loads `loads` words of each lane, runs `op` over them, and stores `stores` words.
fn fragment_kernel(loads: usize, stores: usize, op: &str) -> String {
    let mut text = format!(
        "{HEADER}.visible .entry k(.param .u64 pi, .param .u64 po)\n{{\n.reg .b32 %t, %i<16>, %o<8>;
        .reg .f32 %fi<16>, %fo<8>; .reg .b64 %rd<4>; mov.u32 %t, %tid.x;
        ld.param.u64 %rd0, [pi]; ld.param.u64 %rd1, [po];
        mad.wide.u32 %rd0, %t, {}, %rd0; mad.wide.u32 %rd1, %t, {}, %rd1;\n",
        4 * loads,
        4 * stores
    );
    for k in 0..loads {
        text += &format!("ld.global.b32 %i{k}, [%rd0+{}]; mov.b32 %fi{k}, %i{k};\n", 4 * k);
    }
    text += op;
    for k in 0..stores {
        text += &format!("\nst.global.b32 [%rd1+{}], %o{k};", 4 * k);
    }
    text + "\nret;\n}\n"
}

fn run(text: &str, input: &[u32], stores: usize) -> Vec<u32> {
    let mut card = Card::default();
    let module = card.load(text);
    let (i, o) = (card.buffer("in", input), card.empty("out", 128 * stores as u64));
    card.launch(&module, 1, 32, &[&i as &dyn Bytes, &o]).unwrap();
    card.expect_clean();
    card.read(o, 32 * stores)
}

/// Small integers of no pattern: every product and sum is exact in every format.
fn value(row: usize, col: usize, salt: usize) -> f32 {
    ((7 * row + 13 * col + 5 * salt + row * col) % 9) as f32 - 4.0
}

/// The product of the shapes 16 x k and k x 8 plus a sum.
fn product(k: usize) -> Vec<Vec<f32>> {
    (0..16)
        .map(|m| {
            (0..8)
                .map(|n| {
                    value(m, n, 3) + (0..k).map(|j| value(m, j, 1) * value(j, n, 2)).sum::<f32>()
                })
                .collect()
        })
        .collect()
}

fn half_bits(x: f32, bf16: bool) -> u32 {
    if bf16 {
        return x.to_bits() >> 16;
    }
    // f16 of a small integer.
    if x == 0.0 {
        return 0;
    }
    let bits = x.to_bits();
    let exponent = (bits >> 23 & 0xff) - 127 + 15;
    bits >> 16 & 0x8000 | exponent << 10 | bits >> 13 & 0x3ff
}

/// Tables "A fragment": element `i` of a lane is at this row and column.
fn a_place(lane: usize, i: usize) -> (usize, usize) {
    let (group, t) = (lane >> 2, lane % 4);
    let row = if i < 2 || (4..6).contains(&i) { group } else { group + 8 };
    let col = t * 2 + (i & 1) + if i >= 4 { 8 } else { 0 };
    (row, col)
}

/// "B fragment" of m16n8k16: row (k) and column (n).
fn b_place(lane: usize, i: usize) -> (usize, usize) {
    let (group, t) = (lane >> 2, lane % 4);
    (t * 2 + (i & 1) + if i >= 2 { 8 } else { 0 }, group)
}

/// "C fragment": the same for every m16n8 shape.
fn c_place(lane: usize, i: usize) -> (usize, usize) {
    let (group, t) = (lane >> 2, lane % 4);
    (if i < 2 { group } else { group + 8 }, t * 2 + (i & 1))
}

fn check_half(k: usize, bf16: bool, f16_acc: bool) {
    let (a_regs, b_regs) = (k / 4, k / 8);
    let acc = if f16_acc { 2 } else { 4 };
    let mut input = Vec::new();
    for lane in 0..32 {
        let pair = |x: f32, y: f32, bf16: bool| half_bits(x, bf16) | half_bits(y, bf16) << 16;
        for r in 0..a_regs {
            let [x, y] = [2 * r, 2 * r + 1].map(|i| {
                let (row, col) = a_place(lane, i);
                value(row, col, 1)
            });
            input.push(pair(x, y, bf16));
        }
        for r in 0..b_regs {
            let [x, y] = [2 * r, 2 * r + 1].map(|i| {
                let (row, col) = b_place(lane, i);
                value(row, col, 2)
            });
            input.push(pair(x, y, bf16));
        }
        let c = |i: usize| {
            let (row, col) = c_place(lane, i);
            value(row, col, 3)
        };
        if f16_acc {
            input.extend([pair(c(0), c(1), false), pair(c(2), c(3), false)]);
        } else {
            input.extend((0..4).map(|i| c(i).to_bits()));
        }
    }
    let names = |prefix: &str, from: usize, count: usize| {
        let list: Vec<String> = (from..from + count).map(|k| format!("%{prefix}{k}")).collect();
        list.join(",")
    };
    let ty = if bf16 { "bf16" } else { "f16" };
    let (acc_ty, fi, fo) = if f16_acc { ("f16", "i", "o") } else { ("f32", "fi", "fo") };
    let mut op = format!(
        "mma.sync.aligned.m16n8k{k}.row.col.{acc_ty}.{ty}.{ty}.{acc_ty} {{{}}}, {{{}}}, {{{}}}, {{{}}};",
        names(fo, 0, acc),
        names("i", 0, a_regs),
        names("i", a_regs, b_regs),
        names(fi, a_regs + b_regs, acc)
    );
    if !f16_acc {
        for k in 0..4 {
            op += &format!(" mov.b32 %o{k}, %fo{k};");
        }
    }
    let words = a_regs + b_regs + acc;
    let got = run(&fragment_kernel(words, acc, &op), &input, acc);
    let want = product(k);
    for lane in 0..32 {
        for i in 0..4 {
            let (row, col) = c_place(lane, i);
            let wanted = want[row][col];
            if f16_acc {
                let bits = got[lane * 2 + i / 2] >> (16 * (i % 2)) & 0xffff;
                assert_eq!(bits, half_bits(wanted, false), "lane {lane} element {i}");
            } else {
                assert_eq!(f32::from_bits(got[lane * 4 + i]), wanted, "lane {lane} element {i}");
            }
        }
    }
}

#[test]
fn mma_m16n8k16() {
    check_half(16, true, false);
    check_half(16, false, false);
    check_half(16, false, true);
}

#[test]
fn mma_m16n8k8() {
    check_half(8, true, false);
    check_half(8, false, false);
}

/// tf32 of m16n8k8: one element to a register; the low 13 bits are ignored.
#[test]
fn mma_tf32() {
    for k in [4, 8] {
        let (a_regs, b_regs) = (k / 2, k / 4);
        let mut input = Vec::new();
        for lane in 0..32 {
            let (group, t) = (lane >> 2, lane % 4);
            for i in 0..a_regs {
                let (row, col) = (group + 8 * (i & 1), t + 4 * (i >> 1));
                input.push(value(row, col, 1).to_bits() | 0xfff);
            }
            input.extend((0..b_regs).map(|i| value(t + 4 * i, group, 2).to_bits()));
            input.extend((0..4).map(|i| {
                let (row, col) = c_place(lane, i);
                value(row, col, 3).to_bits()
            }));
        }
        let (a, b) = if k == 8 { ("%i0,%i1,%i2,%i3", "%i4,%i5") } else { ("%i0,%i1", "%i2") };
        let c = a_regs + b_regs;
        let op = format!(
            "mma.sync.aligned.m16n8k{k}.row.col.f32.tf32.tf32.f32 {{%fo0,%fo1,%fo2,%fo3}}, {{{a}}}, {{{b}}},
            {{%fi{},%fi{},%fi{},%fi{}}}; mov.b32 %o0,%fo0; mov.b32 %o1,%fo1; mov.b32 %o2,%fo2;
            mov.b32 %o3,%fo3;",
            c,
            c + 1,
            c + 2,
            c + 3
        );
        let got = run(&fragment_kernel(c + 4, 4, &op), &input, 4);
        let want = product(k);
        for lane in 0..32 {
            for i in 0..4 {
                let (row, col) = c_place(lane, i);
                assert_eq!(f32::from_bits(got[lane * 4 + i]), want[row][col], "k {k} lane {lane}");
            }
        }
    }
}

/// Each lane writes 16 bytes of a 32-row tile, so that element (row, col) holds `8 row + col`.
const FILL: &str = ".shared .align 16 .b8 tile[512];
    mul.lo.u32 %i1, %t, 8; add.u32 %i2, %i1, 1; shl.b32 %i2, %i2, 16; or.b32 %i2, %i2, %i1;
    add.u32 %i3, %i2, 0x20002; add.u32 %i4, %i3, 0x20002; add.u32 %i5, %i4, 0x20002;
    mov.u32 %i6, tile; mad.lo.u32 %i6, %t, 16, %i6;
    st.shared.v4.b32 [%i6], {%i2, %i3, %i4, %i5}; bar.warp.sync -1;\n";

#[test]
fn ldmatrix_counts_and_transposition() {
    for (count, trans) in [(1, false), (2, false), (4, false), (1, true), (2, true), (4, true)] {
        let list: Vec<String> = (0..count).map(|k| format!("%o{k}")).collect();
        let trans_word = if trans { ".trans" } else { "" };
        let op = format!(
            "{FILL}ldmatrix.sync.aligned.m8n8.x{count}{trans_word}.shared.b16 {{{}}}, [%i6];",
            list.join(",")
        );
        let got = run(&fragment_kernel(1, count, &op), &[0; 32], count);
        for lane in 0..32 {
            for j in 0..count {
                // Row `lane / 4`, columns `2 (lane % 4)` and the next; rows of matrix j start at 8 j.
                let (row, col) = (lane / 4, 2 * (lane % 4));
                let at = |r: usize, c: usize| (8 * (8 * j + r) + c) as u32;
                let want = if trans {
                    at(col, row) | at(col + 1, row) << 16
                } else {
                    at(row, col) | at(row, col + 1) << 16
                };
                assert_eq!(
                    got[lane * count + j],
                    want,
                    "x{count}{trans_word} lane {lane} matrix {j}"
                );
            }
        }
    }
}

#[test]
fn stmatrix_is_the_inverse_of_ldmatrix() {
    let op = format!(
        "{FILL}ldmatrix.sync.aligned.m8n8.x4.shared.b16 {{%i7,%i8,%i9,%i10}}, [%i6];
        bar.warp.sync -1;
        stmatrix.sync.aligned.m8n8.x4.shared.b16 [%i6], {{%i8,%i7,%i10,%i9}}; bar.warp.sync -1;
        ld.shared.v4.b32 {{%o0,%o1,%o2,%o3}}, [%i6];"
    );
    let got = run(&fragment_kernel(1, 4, &op), &[0; 32], 4);
    for lane in 0..32_u32 {
        // Matrices 0 and 1, 2 and 3 changed places.
        let from = lane ^ 8;
        let want: Vec<u32> =
            (0..4).map(|w| (8 * from + 2 * w) | (8 * from + 2 * w + 1) << 16).collect();
        assert_eq!(got[4 * lane as usize..][..4], want);
    }
}
