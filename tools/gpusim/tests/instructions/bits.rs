//! Shifts, fields, permutes, tables.

use crate::card::{lanes32, lanes64, lanes64_to32};
use crate::{WORDS, triples, wide_triples};

fn check(body: &str, inputs: &[[u32; 3]], want: impl Fn(u32, u32, u32) -> u32) {
    for (&[a, b, c], got) in inputs.iter().zip(lanes32(body, inputs)) {
        assert_eq!(got, want(a, b, c), "{body} of {a:#x}, {b:#x}, {c:#x}");
    }
}

/// Each of `WORDS` with every shift from 0 to 70 and a few huge ones.
fn shifts() -> Vec<[u32; 3]> {
    let by = (0..70).chain([255, 256, 1 << 31, u32::MAX]);
    by.flat_map(|n| WORDS.iter().map(move |&w| [w, n, w.rotate_left(7)])).collect()
}

#[test]
fn shifts_clamp_at_the_width() {
    let inputs = shifts();
    check("shl.b32 %o, %a, %b;", &inputs, |a, n, _| a.checked_shl(n).unwrap_or(0));
    check("shr.u32 %o, %a, %b;", &inputs, |a, n, _| a.checked_shr(n).unwrap_or(0));
    check("shr.s32 %o, %a, %b;", &inputs, |a, n, _| ((a as i32) >> n.min(31)) as u32);
    let body = "cvt.u16.u32 %h0, %a; shr.s16 %h1, %h0, %b; cvt.u32.u16 %o, %h1;";
    check(body, &inputs, |a, n, _| u32::from(((a as i16) >> n.min(15)) as u16));
    let wide: Vec<[u64; 3]> = inputs
        .iter()
        .map(|&[a, n, c]| [u64::from(c) << 32 | u64::from(a), u64::from(n), 0])
        .collect();
    let body = "cvt.u32.u64 %r0, %db; shl.b64 %do, %da, %r0;";
    for (&[a, n, _], got) in wide.iter().zip(lanes64(body, &wide)) {
        assert_eq!(got, a.checked_shl(n as u32).unwrap_or(0));
    }
}

#[test]
fn funnel_shift() {
    let inputs = shifts();
    let both = |a: u32, b: u32| u64::from(b) << 32 | u64::from(a);
    let body = |mode: &str| format!("mov.u32 %r0, %b; shf.{mode}.b32 %o, %a, %c, %r0;");
    check(&body("l.wrap"), &inputs, |a, n, c| (both(a, c) << (n & 31) >> 32) as u32);
    check(&body("r.wrap"), &inputs, |a, n, c| (both(a, c) >> (n & 31)) as u32);
    check(&body("l.clamp"), &inputs, |a, n, c| (both(a, c) << n.min(32) >> 32) as u32);
    check(&body("r.clamp"), &inputs, |a, n, c| (both(a, c) >> n.min(32)) as u32);
}

/// `lop3`: bit `4a + 2b + c` of the table.
#[test]
fn lop3_every_table() {
    let inputs = triples();
    for lut in 0..256_u32 {
        check(&format!("lop3.b32 %o, %a, %b, %c, {lut};"), &inputs, |a, b, c| {
            (0..32).fold(0, |out, k| {
                let bit = |x: u32| x >> k & 1;
                out | (lut >> (4 * bit(a) + 2 * bit(b) + bit(c)) & 1) << k
            })
        });
    }
}

#[test]
fn logic_of_predicates_and_words() {
    let inputs = triples();
    check("and.b32 %o, %a, %b;", &inputs, |a, b, _| a & b);
    check("or.b32 %o, %a, %b;", &inputs, |a, b, _| a | b);
    check("xor.b32 %o, %a, %b;", &inputs, |a, b, _| a ^ b);
    check("not.b32 %o, %a;", &inputs, |a, _, _| !a);
    let body = "setp.lt.u32 %p0, %a, %b; setp.lt.u32 %p1, %b, %c; xor.pred %p2, %p0, %p1;
        not.pred %p3, %p2; selp.b32 %o, 3, 5, %p3;";
    check(body, &inputs, |a, b, c| if (a < b) ^ (b < c) { 5 } else { 3 });
}

#[test]
fn counts_and_positions() {
    let inputs = triples();
    check("popc.b32 %o, %a;", &inputs, |a, _, _| (0..32).map(|k| a >> k & 1).sum());
    check("clz.b32 %o, %a;", &inputs, |a, _, _| a.leading_zeros());
    check("brev.b32 %o, %a;", &inputs, |a, _, _| {
        (0..32).fold(0, |o, k| o | (a >> k & 1) << (31 - k))
    });
    let find = |a: u32| (0..32).rev().find(|k| a >> k & 1 == 1).unwrap_or(u32::MAX);
    check("bfind.u32 %o, %a;", &inputs, |a, _, _| find(a));
    check("bfind.s32 %o, %a;", &inputs, |a, _, _| find(if (a as i32) < 0 { !a } else { a }));
    check("bfind.shiftamt.u32 %o, %a;", &inputs, |a, _, _| match find(a) {
        u32::MAX => u32::MAX,
        at => 31 - at,
    });
    let wide = wide_triples();
    for (&[a, ..], got) in wide.iter().zip(lanes64_to32("clz.b64 %o, %da;", &wide)) {
        assert_eq!(got, a.leading_zeros());
    }
    for (&[a, ..], got) in wide.iter().zip(lanes64_to32("popc.b64 %o, %da;", &wide)) {
        assert_eq!(got, a.count_ones());
    }
}

/// Position and length pairs, inside and outside the word.
fn fields() -> Vec<[u32; 3]> {
    let spans = [0, 1, 5, 16, 31, 32, 33, 64, 200, 255, 256 + 4];
    let pairs = spans.iter().flat_map(|&p| spans.iter().map(move |&l| (p, l)));
    pairs.flat_map(|(p, l)| WORDS.iter().map(move |&w| [w, p, l])).collect()
}

/// The pseudocode of the manual, bit by bit.
#[test]
fn bfe_takes_a_field() {
    let by_bit = |a: u32, pos: u32, len: u32, signed: bool| {
        let (pos, len, msb) = (pos & 0xff, len & 0xff, 31);
        let sign = if !signed || len == 0 { 0 } else { a >> (pos + len - 1).min(msb) & 1 };
        (0..=msb).fold(0, |d, i| {
            let bit = if i < len && pos + i <= msb { a >> (pos + i) & 1 } else { sign };
            d | bit << i
        })
    };
    check("bfe.u32 %o, %a, %b, %c;", &fields(), |a, p, l| by_bit(a, p, l, false));
    check("bfe.s32 %o, %a, %b, %c;", &fields(), |a, p, l| by_bit(a, p, l, true));
}

#[test]
fn bfi_inserts_a_field() {
    check("bfi.b32 %o, %a, 0xdeadbeef, %b, %c;", &fields(), |a, pos, len| {
        let (pos, len) = (pos & 0xff, len & 0xff);
        (0..32).fold(0xdead_beef, |f: u32, i| {
            if i < len && pos + i <= 31 {
                f & !(1 << (pos + i)) | (a >> i & 1) << (pos + i)
            } else {
                f
            }
        })
    });
}

/// The table of modes: bytes of the result, highest first, for selectors 0 to 3.
#[test]
fn prmt_modes() {
    const TABLE: [(&str, [[usize; 4]; 4]); 6] = [
        ("f4e", [[3, 2, 1, 0], [4, 3, 2, 1], [5, 4, 3, 2], [6, 5, 4, 3]]),
        ("b4e", [[5, 6, 7, 0], [6, 7, 0, 1], [7, 0, 1, 2], [0, 1, 2, 3]]),
        ("rc8", [[0, 0, 0, 0], [1, 1, 1, 1], [2, 2, 2, 2], [3, 3, 3, 3]]),
        ("ecl", [[3, 2, 1, 0], [3, 2, 1, 1], [3, 2, 2, 2], [3, 3, 3, 3]]),
        ("ecr", [[0, 0, 0, 0], [1, 1, 1, 0], [2, 2, 1, 0], [3, 2, 1, 0]]),
        ("rc16", [[1, 0, 1, 0], [3, 2, 3, 2], [1, 0, 1, 0], [3, 2, 3, 2]]),
    ];
    let inputs: Vec<[u32; 3]> = (0..4).map(|s| [0x3322_1100, 0x7766_5544, s]).collect();
    for (mode, rows) in TABLE {
        check(&format!("prmt.b32.{mode} %o, %a, %b, %c;"), &inputs, |_, _, s| {
            rows[s as usize].into_iter().fold(0, |word, byte| (word << 8) | (0x11 * byte as u32))
        });
    }
}

#[test]
fn prmt_index_picks_bytes_or_their_sign() {
    let selectors = [0x3210, 0x7654, 0x0246, 0xba98, 0xfedc, 0x8f70];
    let words = [[0x8012_7fff, 0x00ff_8001], [0x1234_5678, 0x9abc_def0]];
    let inputs: Vec<[u32; 3]> =
        words.iter().flat_map(|w| selectors.map(|s| [w[0], w[1], s])).collect();
    check("prmt.b32 %o, %a, %b, %c;", &inputs, |a, b, c| {
        let all = u64::from(b) << 32 | u64::from(a);
        (0..4).fold(0, |word, k| {
            let nibble = c >> (4 * k) & 15;
            let byte = (all >> (8 * (nibble & 7)) & 0xff) as u32;
            let sign = if byte & 0x80 != 0 { 0xff } else { 0 };
            word | (if nibble & 8 != 0 { sign } else { byte }) << (8 * k)
        })
    });
}

#[test]
fn masks_and_extension() {
    let inputs: Vec<[u32; 3]> = [0, 1, 5, 16, 31, 32, 40]
        .iter()
        .flat_map(|&a| [0, 1, 7, 31, 32, 40].map(|b| [a, b, 0]))
        .collect();
    let mask = |a: u32, b: u32| (0..32).filter(|&k| k >= a && k < a + b).fold(0, |m, k| m | 1 << k);
    check("bmsk.clamp.b32 %o, %a, %b;", &inputs, |a, b, _| mask(a.min(32), b.min(32)));
    check("bmsk.wrap.b32 %o, %a, %b;", &inputs, |a, b, _| mask(a & 31, b & 31));
    let inputs: Vec<[u32; 3]> =
        WORDS.iter().flat_map(|&a| [0, 1, 8, 31, 32, 40].map(|b| [a, b, 0])).collect();
    check("szext.clamp.s32 %o, %a, %b;", &inputs, |a, n, _| match n.min(32) {
        0 => 0,
        32 => a,
        n => ((i64::from(a) << (64 - n)) >> (64 - n)) as u32,
    });
    check("szext.wrap.u32 %o, %a, %b;", &inputs, |a, n, _| a & ((1_u64 << (n & 31)) - 1) as u32);
}
