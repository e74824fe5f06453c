//! Shuffles, votes, matches and reductions of a full and of a partial warp.

use crate::card::{Card, HEADER, lanes32};
use gpusim::report::Kind;

fn identity() -> Vec<[u32; 3]> {
    (0..32).map(|l| [100 + l, l, 7 * l % 5]).collect()
}

/// The pseudocode of the manual, for one lane: source lane and predicate.
fn source(mode: &str, lane: i32, b: i32, c: i32) -> (i32, bool) {
    let (bval, cval, segmask) = (b & 31, c & 31, c >> 8 & 31);
    let max_lane = (lane & segmask) | (cval & !segmask);
    let min_lane = lane & segmask;
    let (j, pval) = match mode {
        "up" => (lane - bval, lane - bval >= max_lane),
        "down" => (lane + bval, lane + bval <= max_lane),
        "bfly" => (lane ^ bval, lane ^ bval <= max_lane),
        _ => (min_lane | (bval & !segmask), (min_lane | (bval & !segmask)) <= max_lane),
    };
    (if pval { j } else { lane }, pval)
}

#[test]
fn shuffle_modes_widths_and_clamps() {
    let inputs = identity();
    for mode in ["up", "down", "bfly", "idx"] {
        for b in [0, 1, 3, 8, 16, 31, 33] {
            // Whole warp, widths 8 and 16 as the language passes them, and an odd clamp.
            for c in [0x1f, 0, 0x181f, 0x1800, 0x101f, 0x0b] {
                let body = format!(
                    "shfl.sync.{mode}.b32 %r0|%p0, %a, {b}, {c}, -1; selp.b32 %r1, 1000, 0, %p0;
                    add.u32 %o, %r0, %r1;"
                );
                for (lane, got) in lanes32(&body, &inputs).into_iter().enumerate() {
                    let (from, inside) = source(mode, lane as i32, b, c);
                    let want = 100 + from as u32 + if inside { 1000 } else { 0 };
                    assert_eq!(got, want, "{mode} b={b} c={c:#x} lane {lane}");
                }
            }
        }
    }
}

#[test]
fn shuffle_by_a_lane_of_ones_choice() {
    let body = "shfl.sync.idx.b32 %o, %a, %c, 31, -1;";
    for (l, got) in lanes32(body, &identity()).into_iter().enumerate() {
        assert_eq!(got, 100 + 7 * l as u32 % 5);
    }
}

#[test]
fn votes() {
    let inputs = identity();
    let ballot = lanes32("setp.lt.u32 %p0, %c, 2; vote.sync.ballot.b32 %o, %p0, -1;", &inputs);
    let want = (0..32).filter(|l| 7 * l % 5 < 2).fold(0_u32, |m, l| m | 1 << l);
    assert_eq!(ballot, vec![want; 32]);
    let vote = |mode: &str, limit: u32| {
        let body = format!(
            "setp.lt.u32 %p0, %b, {limit}; vote.sync.{mode}.pred %p1, %p0, -1; selp.u32 %o, 1, 0, %p1;"
        );
        lanes32(&body, &inputs)[5]
    };
    assert_eq!([vote("all", 32), vote("all", 31)], [1, 0]);
    assert_eq!([vote("any", 1), vote("any", 0)], [1, 0]);
    assert_eq!([vote("uni", 32), vote("uni", 0), vote("uni", 3)], [1, 1, 0]);
}

#[test]
fn match_any_and_all() {
    let inputs = identity();
    let any = lanes32("match.any.sync.b32 %o, %c, -1;", &inputs);
    for (l, got) in any.into_iter().enumerate() {
        let want = (0..32).filter(|&m| 7 * m % 5 == 7 * l % 5).fold(0_u32, |w, m| w | 1 << m);
        assert_eq!(got, want);
    }
    let all = "match.all.sync.b32 %r0|%p0, %c, -1; selp.b32 %o, %r0, 77, %p0;";
    assert_eq!(lanes32(all, &inputs), vec![77; 32]);
    let same = "mov.u32 %r1, 9; match.all.sync.b32 %r0|%p0, %r1, -1; selp.b32 %o, %r0, 77, %p0;";
    assert_eq!(lanes32(same, &inputs), vec![u32::MAX; 32]);
}

#[test]
fn redux() {
    let inputs: Vec<[u32; 3]> =
        (0..32_u32).map(|l| [l.wrapping_mul(0x0765_4321) ^ 5, 0, 0]).collect();
    let values: Vec<u32> = inputs.iter().map(|i| i[0]).collect();
    let signed = values.iter().map(|&v| v as i32);
    for (op, want) in [
        ("add.u32", values.iter().fold(0_u32, |s, &v| s.wrapping_add(v))),
        ("min.u32", *values.iter().min().unwrap()),
        ("max.s32", signed.clone().max().unwrap() as u32),
        ("min.s32", signed.min().unwrap() as u32),
        ("and.b32", values.iter().fold(u32::MAX, |s, v| s & v)),
        ("or.b32", values.iter().fold(0, |s, v| s | v)),
        ("xor.b32", values.iter().fold(0, |s, v| s ^ v)),
    ] {
        let body = format!("redux.sync.{op} %o, %a, -1;");
        assert_eq!(lanes32(&body, &inputs), vec![want; 32], "{op}");
    }
}

#[test]
fn masks_and_lane_numbers() {
    let inputs = identity();
    for (name, want) in [
        ("%laneid", (|l| l) as fn(u32) -> u32),
        ("%lanemask_eq", |l| 1 << l),
        ("%lanemask_lt", |l| (0..32).filter(|&m| m < l).fold(0, |w, m| w | 1 << m)),
        ("%lanemask_le", |l| (0..32).filter(|&m| m <= l).fold(0, |w, m| w | 1 << m)),
        ("%lanemask_gt", |l| (0..32).filter(|&m| m > l).fold(0, |w, m| w | 1 << m)),
        ("%lanemask_ge", |l| (0..32).filter(|&m| m >= l).fold(0, |w, m| w | 1 << m)),
    ] {
        let got = lanes32(&format!("mov.u32 %o, {name};"), &inputs);
        assert_eq!(got, (0..32).map(want).collect::<Vec<u32>>(), "{name}");
    }
}

/// A kernel whose odd lanes take another branch, around `odd` and `even`.
fn divergent(even: &str, odd: &str) -> String {
    format!(
        "{HEADER}.visible .entry k(.param .u64 po)\n{{\n.reg .b32 %t, %r<8>; .reg .pred %p<4>;
        .reg .b64 %rd<4>; mov.u32 %t, %tid.x; mov.u32 %r0, 0; and.b32 %r1, %t, 1;
        setp.ne.u32 %p0, %r1, 0;\n@%p0 bra ODD;\n.loc 1 10 1\n{even}\nbra JOIN;\nODD:\n.loc 1 20 1\n{odd}\n
        JOIN:\nld.param.u64 %rd0, [po]; mad.wide.u32 %rd0, %t, 4, %rd0; st.global.u32 [%rd0], %r0;
        ret;\n}}\n"
    )
}

#[test]
fn divergent_lanes_exchange_within_their_mask() {
    let mut card = Card::default();
    let module = card
        .load(&divergent("shfl.sync.bfly.b32 %r0, %t, 2, 31, 0x55555555;", "activemask.b32 %r0;"));
    let out = card.empty("out", 128);
    card.launch(&module, 1, 32, &[&out]).unwrap();
    card.expect_clean();
    for (l, got) in card.read::<u32>(out, 32).into_iter().enumerate() {
        assert_eq!(got, if l % 2 == 0 { l as u32 ^ 2 } else { 0xaaaa_aaaa });
    }
}

#[test]
fn shuffle_from_a_lane_elsewhere_is_found() {
    let mut card = Card::default();
    let module = card.load(&divergent("shfl.sync.bfly.b32 %r0, %t, 1, 31, 0x55555555;", ""));
    let out = card.empty("out", 128);
    card.launch(&module, 1, 32, &[&out]).unwrap();
    card.expect(&[(Kind::InactiveLane, 10)]);
}

#[test]
fn mask_of_lanes_that_never_come_is_found() {
    let mut card = Card::default();
    let module = card.load(&divergent("bar.warp.sync 0xffffffff;", ""));
    let out = card.empty("out", 128);
    card.launch(&module, 1, 32, &[&out]).unwrap();
    assert!(card.findings().iter().any(|f| f.kind == Kind::SyncMask && f.line == 10));
}

#[test]
fn warp_sync_at_two_places_meets() {
    let mut card = Card::default();
    let module = card.load(&divergent("bar.warp.sync -1;", "bar.warp.sync -1;"));
    let out = card.empty("out", 128);
    card.launch(&module, 1, 32, &[&out]).unwrap();
    card.expect_clean();
}
