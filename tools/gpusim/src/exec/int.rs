//! Integer arithmetic and bit manipulation.

use super::lanes::{LANES, Lane, Registers, map1, map2, map3};
use crate::ptx::program::{CarryOp, Instr, IntOp, IntTy, PrmtMode};
use multiversion::multiversion;

/// What the generic instruction bodies need from a width.
trait Int: Lane + Ord {
    const BITS: u32;
    fn add(self, o: Self) -> Self;
    fn add_sat(self, o: Self) -> Self;
    fn sub(self, o: Self) -> Self;
    fn sub_sat(self, o: Self) -> Self;
    fn mul(self, o: Self) -> Self;
    fn mul_hi(self, o: Self) -> Self;
    fn mul24(self, o: Self) -> Self;
    fn div(self, o: Self) -> Self;
    fn rem(self, o: Self) -> Self;
    fn absolute(self) -> Self;
    fn distance(self, o: Self) -> Self;
    fn bits(self) -> u64;
    fn from_bits(bits: u64) -> Self;
    fn shl(self, by: u32) -> Self;
    fn shr(self, by: u32) -> Self;
    fn negative(self) -> bool;
    fn signed() -> bool;
}

macro_rules! int {
    ($ty:ident, $unsigned:ident, $wide:ident) => {
        impl Int for $ty {
            const BITS: u32 = $ty::BITS;
            #[inline(always)]
            fn add(self, o: Self) -> Self {
                self.wrapping_add(o)
            }
            #[inline(always)]
            fn add_sat(self, o: Self) -> Self {
                self.saturating_add(o)
            }
            #[inline(always)]
            fn sub(self, o: Self) -> Self {
                self.wrapping_sub(o)
            }
            #[inline(always)]
            fn sub_sat(self, o: Self) -> Self {
                self.saturating_sub(o)
            }
            #[inline(always)]
            fn mul(self, o: Self) -> Self {
                self.wrapping_mul(o)
            }
            #[inline(always)]
            fn mul_hi(self, o: Self) -> Self {
                ((self as $wide * o as $wide) >> $ty::BITS) as $ty
            }
            #[inline(always)]
            fn mul24(self, o: Self) -> Self {
                let unused = $ty::BITS.saturating_sub(24);
                ((self << unused) >> unused).wrapping_mul((o << unused) >> unused)
            }
            // Division by zero is undefined on the device; all ones is what cards give.
            #[inline(always)]
            fn div(self, o: Self) -> Self {
                if o == 0 { !0 } else { self.wrapping_div(o) }
            }
            #[inline(always)]
            fn rem(self, o: Self) -> Self {
                if o == 0 { self } else { self.wrapping_rem(o) }
            }
            #[inline(always)]
            #[allow(unused_comparisons)]
            fn absolute(self) -> Self {
                if self < 0 { (0 as $ty).wrapping_sub(self) } else { self }
            }
            #[inline(always)]
            fn distance(self, o: Self) -> Self {
                if self < o { o.wrapping_sub(self) } else { self.wrapping_sub(o) }
            }
            #[inline(always)]
            fn bits(self) -> u64 {
                self as $unsigned as u64
            }
            #[inline(always)]
            fn from_bits(bits: u64) -> Self {
                bits as $ty
            }
            #[inline(always)]
            fn shl(self, by: u32) -> Self {
                if by >= $ty::BITS { 0 } else { self << by }
            }
            #[inline(always)]
            fn shr(self, by: u32) -> Self {
                // Larger shifts give zero, or the sign.
                if by >= $ty::BITS { (self >> ($ty::BITS - 1)) >> 1 } else { self >> by }
            }
            #[inline(always)]
            #[allow(unused_comparisons)]
            fn negative(self) -> bool {
                self < 0
            }
            #[inline(always)]
            fn signed() -> bool {
                $ty::MIN != 0
            }
        }
    };
}

int!(u16, u16, u32);
int!(i16, u16, i32);
int!(u32, u32, u64);
int!(i32, u32, i64);
int!(u64, u64, u128);
int!(i64, u64, i128);

#[multiversion(targets(
    "x86_64+avx512f+avx512bw+avx512dq+avx512vl+avx512cd+avx2+fma+bmi1+bmi2+lzcnt+popcnt",
    "x86_64+avx2+fma+bmi1+bmi2+lzcnt+popcnt"
))]
pub fn run(op: IntOp, ty: IntTy, regs: &mut Registers, i: &Instr, mask: u32, lists: &[Box<[u32]>]) {
    match ty {
        IntTy::U32 => typed::<u32>(op, regs, i, mask, lists),
        IntTy::S32 => typed::<i32>(op, regs, i, mask, lists),
        IntTy::U64 => typed::<u64>(op, regs, i, mask, lists),
        IntTy::S64 => typed::<i64>(op, regs, i, mask, lists),
        IntTy::U16 => typed::<u16>(op, regs, i, mask, lists),
        IntTy::S16 => typed::<i16>(op, regs, i, mask, lists),
    }
}

#[inline(always)]
fn typed<T: Int>(op: IntOp, regs: &mut Registers, i: &Instr, mask: u32, lists: &[Box<[u32]>]) {
    let zero = T::from_bits(0);
    match op {
        IntOp::Add => map2(regs, i, mask, T::add),
        IntOp::AddSat => map2(regs, i, mask, T::add_sat),
        IntOp::Sub => map2(regs, i, mask, T::sub),
        IntOp::SubSat => map2(regs, i, mask, T::sub_sat),
        IntOp::MulLo => map2(regs, i, mask, T::mul),
        IntOp::MulHi => map2(regs, i, mask, T::mul_hi),
        IntOp::MadLo => map3(regs, i, mask, |a: T, b: T, c: T| a.mul(b).add(c)),
        IntOp::MadHi => map3(regs, i, mask, |a: T, b: T, c: T| a.mul_hi(b).add(c)),
        IntOp::Mul24 => map2(regs, i, mask, T::mul24),
        IntOp::Mad24 => map3(regs, i, mask, |a: T, b: T, c: T| a.mul24(b).add(c)),
        IntOp::Div => map2(regs, i, mask, T::div),
        IntOp::Rem => map2(regs, i, mask, T::rem),
        IntOp::Min => map2(regs, i, mask, |a: T, b: T| a.min(b)),
        IntOp::Max => map2(regs, i, mask, |a: T, b: T| a.max(b)),
        IntOp::Abs => map1(regs, i, mask, T::absolute),
        IntOp::Neg => map1(regs, i, mask, |a: T| zero.sub(a)),
        IntOp::Sad => map3(regs, i, mask, |a: T, b: T, c: T| a.distance(b).add(c)),
        IntOp::And => map2(regs, i, mask, |a: T, b: T| T::from_bits(a.bits() & b.bits())),
        IntOp::Or => map2(regs, i, mask, |a: T, b: T| T::from_bits(a.bits() | b.bits())),
        IntOp::Xor => map2(regs, i, mask, |a: T, b: T| T::from_bits(a.bits() ^ b.bits())),
        IntOp::Not => map1(regs, i, mask, |a: T| T::from_bits(!a.bits())),
        IntOp::Cnot => map1(regs, i, mask, |a: T| T::from_bits(u64::from(a == zero))),
        IntOp::Shl => map2(regs, i, mask, |a: T, b: u32| a.shl(b)),
        IntOp::Shr => map2(regs, i, mask, |a: T, b: u32| a.shr(b)),
        IntOp::Popc => map1(regs, i, mask, |a: T| a.bits().count_ones()),
        IntOp::Clz => map1(regs, i, mask, |a: T| a.bits().leading_zeros() - (64 - T::BITS)),
        IntOp::Brev => {
            map1(regs, i, mask, |a: T| T::from_bits(a.bits().reverse_bits() >> (64 - T::BITS)))
        }
        IntOp::Bfind => map1(regs, i, mask, |a: T| find_leading(a).unwrap_or(u32::MAX)),
        IntOp::BfindShift => {
            map1(regs, i, mask, |a: T| find_leading(a).map_or(u32::MAX, |at| T::BITS - 1 - at));
        }
        IntOp::Bfe => map3(regs, i, mask, |a: T, pos: u32, len: u32| extract(a, pos, len)),
        IntOp::Bfi => {
            let len = u32::read(regs, lists[i.list as usize][0]);
            let (a, b, pos) = (T::read(regs, i.a), T::read(regs, i.b), u32::read(regs, i.c));
            let value: [T; LANES] =
                std::array::from_fn(|l| insert(a[l], b[l], pos[l] & 0xff, len[l] & 0xff));
            T::write(regs, i.d, mask, &value);
        }
    }
}

/// Position of the most significant bit that differs from the sign.
#[inline(always)]
fn find_leading<T: Int>(a: T) -> Option<u32> {
    let bits = if a.negative() { T::from_bits(!a.bits()).bits() } else { a.bits() };
    (bits != 0).then(|| 63 - bits.leading_zeros())
}

/// `bfe`: the field `[pos, pos + len)`, filled with its sign for signed types.
#[inline(always)]
fn extract<T: Int>(a: T, pos: u32, len: u32) -> T {
    let (pos, len) = (pos & 0xff, len & 0xff);
    let msb = T::BITS - 1;
    let last = (pos + len).saturating_sub(1).min(msb);
    let fill = T::signed() && len != 0 && a.bits() >> last & 1 == 1;
    let field = if pos > msb { 0 } else { a.bits() >> pos };
    // Bits of the field that exist in the source.
    let have = len.min(T::BITS.saturating_sub(pos));
    let keep = if have >= 64 { u64::MAX } else { (1 << have) - 1 };
    let sign = if fill { !keep } else { 0 };
    T::from_bits(field & keep | sign)
}

#[inline(always)]
fn insert<T: Int>(a: T, b: T, pos: u32, len: u32) -> T {
    if pos >= T::BITS || len == 0 {
        return b;
    }
    let len = len.min(T::BITS - pos);
    let field = if len >= 64 { u64::MAX } else { (1 << len) - 1 } << pos;
    T::from_bits(b.bits() & !field | a.bits() << pos & field)
}

#[multiversion(targets("x86_64+avx512f+avx512bw+avx512dq+avx512vl+avx2", "x86_64+avx2"))]
pub fn mul_wide(ty: IntTy, add: bool, regs: &mut Registers, i: &Instr, mask: u32) {
    match (ty, add) {
        (IntTy::U32, false) => map2(regs, i, mask, |a: u32, b: u32| u64::from(a) * u64::from(b)),
        (IntTy::S32, false) => map2(regs, i, mask, |a: i32, b: i32| i64::from(a) * i64::from(b)),
        (IntTy::U16, false) => map2(regs, i, mask, |a: u16, b: u16| u32::from(a) * u32::from(b)),
        (_, false) => map2(regs, i, mask, |a: i16, b: i16| i32::from(a) * i32::from(b)),
        (IntTy::U32, true) => map3(regs, i, mask, |a: u32, b: u32, c: u64| {
            (u64::from(a) * u64::from(b)).wrapping_add(c)
        }),
        (IntTy::S32, true) => map3(regs, i, mask, |a: i32, b: i32, c: i64| {
            (i64::from(a) * i64::from(b)).wrapping_add(c)
        }),
        (IntTy::U16, true) => map3(regs, i, mask, |a: u16, b: u16, c: u32| {
            (u32::from(a) * u32::from(b)).wrapping_add(c)
        }),
        (_, true) => map3(regs, i, mask, |a: i16, b: i16, c: i32| {
            (i32::from(a) * i32::from(b)).wrapping_add(c)
        }),
    }
}

/// Extended-precision arithmetic; the carry of each lane is predicate `q`.
pub fn carry(
    op: CarryOp,
    ty: IntTy,
    (takes, gives): (bool, bool),
    regs: &mut Registers,
    i: &Instr,
    mask: u32,
) {
    let bits = if matches!(ty, IntTy::U64 | IntTy::S64) { 64 } else { 32 };
    let signed = matches!(ty, IntTy::S32 | IntTy::S64);
    let (a, b) = (regs.wide(i.a), regs.wide(i.b));
    let c = if matches!(op, CarryOp::MadLo | CarryOp::MadHi) { regs.wide(i.c) } else { [0; LANES] };
    let carry_in = if takes { regs.pred(i.q) } else { 0 };
    let low = (1_u128 << bits) - 1;
    let extend = |x: u64| {
        let x = i128::from(x);
        if signed && x >> (bits - 1) & 1 == 1 { x - (1 << bits) } else { x }
    };
    let mut carry_out = 0;
    let value = std::array::from_fn(|l| {
        let cin = u128::from(carry_in >> l & 1);
        let product = || extend(a[l]).wrapping_mul(extend(b[l])) as u128;
        let (x, y) = match op {
            CarryOp::Add | CarryOp::Sub => (u128::from(a[l]), u128::from(b[l])),
            CarryOp::MadLo => (product() & low, u128::from(c[l])),
            CarryOp::MadHi => (product() >> bits & low, u128::from(c[l])),
        };
        let sum =
            if op == CarryOp::Sub { x.wrapping_sub(y).wrapping_sub(cin) } else { x + y + cin };
        carry_out |= u32::from(sum >> bits & 1 == 1) << l;
        (sum & low) as u64
    });
    regs.set_wide(i.d, mask, &value);
    if gives {
        regs.set_pred(i.q, mask, carry_out);
    }
}

#[multiversion(targets("x86_64+avx512f+avx512bw+avx512dq+avx512vl+avx2", "x86_64+avx2"))]
pub fn lop3(lut: u8, regs: &mut Registers, i: &Instr, mask: u32) {
    // The sum of the eight minterms that the table selects.
    let term = |k: u8| if lut >> k & 1 == 1 { u32::MAX } else { 0 };
    let t: [u32; 8] = std::array::from_fn(|k| term(k as u8));
    map3(regs, i, mask, |a: u32, b: u32, c: u32| {
        let pick = |x: u32, hi: u32, lo: u32| (x & hi) | (!x & lo);
        let a0 = pick(b, pick(c, t[3], t[2]), pick(c, t[1], t[0]));
        let a1 = pick(b, pick(c, t[7], t[6]), pick(c, t[5], t[4]));
        pick(a, a1, a0)
    });
}

/// Byte permute: each nibble of the selector picks a byte of `{b, a}`.
pub fn prmt(mode: PrmtMode, regs: &mut Registers, i: &Instr, mask: u32) {
    map3(regs, i, mask, |a: u32, b: u32, c: u32| permute(mode, a, b, c));
}

fn permute(mode: PrmtMode, a: u32, b: u32, c: u32) -> u32 {
    let bytes = (u64::from(b) << 32 | u64::from(a)).to_le_bytes();
    let s = (c & 3) as usize;
    let from: [usize; 4] = match mode {
        PrmtMode::Index => {
            return u32::from_le_bytes(std::array::from_fn(|k| {
                let nibble = c >> (4 * k) & 15;
                let byte = bytes[(nibble & 7) as usize];
                // The top bit of a nibble spreads the sign instead.
                if nibble & 8 != 0 { ((byte as i8) >> 7) as u8 } else { byte }
            }));
        }
        PrmtMode::F4e => [s, s + 1, s + 2, s + 3],
        PrmtMode::B4e => [s, (s + 7) % 8, (s + 6) % 8, (s + 5) % 8],
        PrmtMode::Rc8 => [s; 4],
        PrmtMode::Ecl => std::array::from_fn(|k| k.max(s)),
        PrmtMode::Ecr => std::array::from_fn(|k| k.min(s)),
        PrmtMode::Rc16 => {
            let h = 2 * (s & 1);
            [h, h + 1, h, h + 1]
        }
    };
    u32::from_le_bytes(from.map(|k| bytes[k]))
}

#[multiversion(targets("x86_64+avx512f+avx512bw+avx512dq+avx512vl+avx2", "x86_64+avx2"))]
pub fn shf(left: bool, wrap: bool, regs: &mut Registers, i: &Instr, mask: u32) {
    map3(regs, i, mask, |a: u32, b: u32, c: u32| {
        let n = if wrap { c & 31 } else { c.min(32) };
        let both = u64::from(b) << 32 | u64::from(a);
        if left { ((both << n) >> 32) as u32 } else { (both >> n) as u32 }
    });
}

pub fn dp4a(a_signed: bool, b_signed: bool, regs: &mut Registers, i: &Instr, mask: u32) {
    let part = |x: u8, signed: bool| if signed { i32::from(x as i8) } else { i32::from(x) };
    map3(regs, i, mask, |a: u32, b: u32, c: i32| {
        let pairs = a.to_le_bytes().into_iter().zip(b.to_le_bytes());
        pairs.fold(c, |sum, (x, y)| sum.wrapping_add(part(x, a_signed) * part(y, b_signed)))
    });
}

/// `bmsk`: `b` ones from bit `a` upwards.
pub fn bmsk(clamp: bool, regs: &mut Registers, i: &Instr, mask: u32) {
    map2(regs, i, mask, |a: u32, b: u32| {
        let (a, b) = if clamp { (a.min(32), b.min(32)) } else { (a & 31, b & 31) };
        let ones = (1_u64 << b) - 1;
        (ones << a) as u32
    });
}

/// `szext`: keeps the low `b` bits, extended with zero or the sign.
pub fn szext(signed: bool, clamp: bool, regs: &mut Registers, i: &Instr, mask: u32) {
    map2(regs, i, mask, |a: u32, b: u32| {
        let n = if clamp { b.min(32) } else { b & 31 };
        match n {
            0 => 0,
            32.. => a,
            _ if signed => ((a << (32 - n)) as i32 >> (32 - n)) as u32,
            _ => a & ((1 << n) - 1),
        }
    });
}
