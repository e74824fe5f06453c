//! Registers of a warp, and how a function of one lane becomes a loop over 32 that vectorises.

use crate::ptx::program::{CLASS, Instr, P, Program, R, Slot, index};

pub const LANES: usize = 32;
pub const ALL: u32 = u32::MAX;

#[derive(Clone, Copy)]
#[repr(align(64))]
pub struct V32(pub [u32; LANES]);

#[derive(Clone, Copy)]
#[repr(align(64))]
pub struct V64(pub [u64; LANES]);

/// What a register holds in a launch's first blocks until it is written: NaN as a float, and as an
/// index far outside of everything. A kernel that reads it computes what no test can pass.
const POISON: u32 = 0x7fff_dead;

#[derive(Clone, Default)]
pub struct Registers {
    pub r: Vec<V32>,
    pub d: Vec<V64>,
    /// One bit for each lane.
    pub p: Vec<u32>,
}

impl Registers {
    pub fn new(program: &Program) -> Self {
        let wide = u64::from(POISON) << 32 | u64::from(POISON);
        Self {
            r: vec![V32([POISON; LANES]); program.r_slots as usize],
            d: vec![V64([wide; LANES]); program.d_slots as usize],
            p: vec![0; program.p_slots as usize],
        }
    }

    #[inline(always)]
    pub fn pred(&self, slot: Slot) -> u32 {
        self.p[index(slot)]
    }

    #[inline(always)]
    pub fn set_pred(&mut self, slot: Slot, mask: u32, value: u32) {
        let p = &mut self.p[index(slot)];
        *p = (*p & !mask) | (value & mask);
    }

    /// A register of any file, zero-extended.
    #[inline(always)]
    pub fn wide(&self, slot: Slot) -> [u64; LANES] {
        if slot & CLASS != R {
            return *u64::file(self, slot);
        }
        let narrow = u32::file(self, slot);
        let mut out = [0; LANES];
        for l in 0..LANES {
            out[l] = u64::from(narrow[l]);
        }
        out
    }

    /// Writes the low bits to a register of any file.
    #[inline(always)]
    pub fn set_wide(&mut self, slot: Slot, mask: u32, value: &[u64; LANES]) {
        if slot & CLASS == R {
            put(self, slot, mask, |l| value[l] as u32);
        } else {
            put(self, slot, mask, |l| value[l]);
        }
    }
}

/// A type that an instruction works on, and how it lies in a register.
pub trait Lane: Copy + Default {
    type Raw: Copy + Default;
    fn from_raw(raw: Self::Raw) -> Self;
    fn to_raw(self) -> Self::Raw;
    fn file(regs: &Registers, slot: Slot) -> &[Self::Raw; LANES];
    fn file_mut(regs: &mut Registers, slot: Slot) -> &mut [Self::Raw; LANES];

    #[inline(always)]
    fn read(regs: &Registers, slot: Slot) -> [Self; LANES] {
        let raw = Self::file(regs, slot);
        let mut out = [Self::default(); LANES];
        for l in 0..LANES {
            out[l] = Self::from_raw(raw[l]);
        }
        out
    }

    #[inline(always)]
    fn write(regs: &mut Registers, slot: Slot, mask: u32, value: &[Self; LANES]) {
        let to = Self::file_mut(regs, slot);
        if mask == ALL {
            for l in 0..LANES {
                to[l] = value[l].to_raw();
            }
        } else {
            for l in 0..LANES {
                to[l] = if mask >> l & 1 == 1 { value[l].to_raw() } else { to[l] };
            }
        }
    }
}

macro_rules! lane {
    ($ty:ty, $file:ident, $raw:ty, $to:expr, $from:expr) => {
        impl Lane for $ty {
            type Raw = $raw;
            #[inline(always)]
            fn from_raw(raw: $raw) -> Self {
                $from(raw)
            }
            #[inline(always)]
            fn to_raw(self) -> $raw {
                $to(self)
            }
            #[inline(always)]
            fn file(regs: &Registers, slot: Slot) -> &[$raw; LANES] {
                &regs.$file[index(slot)].0
            }
            #[inline(always)]
            fn file_mut(regs: &mut Registers, slot: Slot) -> &mut [$raw; LANES] {
                &mut regs.$file[index(slot)].0
            }
        }
    };
}

lane!(u8, r, u32, |v| v as u32, |b| b as u8);
lane!(u16, r, u32, |v| v as u32, |b| b as u16);
lane!(i16, r, u32, |v: i16| v as u16 as u32, |b| b as i16);
lane!(u32, r, u32, |v| v, |b| b);
lane!(i32, r, u32, |v| v as u32, |b| b as i32);
lane!(f32, r, u32, |v: f32| v.to_bits(), f32::from_bits);
lane!(u64, d, u64, |v| v, |b| b);
lane!(i64, d, u64, |v| v as u64, |b| b as i64);
lane!(f64, d, u64, |v: f64| v.to_bits(), f64::from_bits);

/// Stores `f(l)` to the lanes of a mask.
#[inline(always)]
fn put<T: Lane>(regs: &mut Registers, slot: Slot, mask: u32, f: impl Fn(usize) -> T) {
    let to = T::file_mut(regs, slot);
    if mask == ALL {
        for l in 0..LANES {
            to[l] = f(l).to_raw();
        }
    } else {
        for l in 0..LANES {
            let value = f(l).to_raw();
            to[l] = if mask >> l & 1 == 1 { value } else { to[l] };
        }
    }
}

#[inline(always)]
pub fn map1<A: Lane, T: Lane>(regs: &mut Registers, i: &Instr, mask: u32, f: impl Fn(A) -> T) {
    let a = *A::file(regs, i.a);
    put(regs, i.d, mask, |l| f(A::from_raw(a[l])));
}

#[inline(always)]
pub fn map2<A: Lane, B: Lane, T: Lane>(
    regs: &mut Registers,
    i: &Instr,
    mask: u32,
    f: impl Fn(A, B) -> T,
) {
    let (a, b) = (*A::file(regs, i.a), *B::file(regs, i.b));
    put(regs, i.d, mask, |l| f(A::from_raw(a[l]), B::from_raw(b[l])));
}

#[inline(always)]
pub fn map3<A: Lane, B: Lane, C: Lane, T: Lane>(
    regs: &mut Registers,
    i: &Instr,
    mask: u32,
    f: impl Fn(A, B, C) -> T,
) {
    let (a, b, c) = (*A::file(regs, i.a), *B::file(regs, i.b), *C::file(regs, i.c));
    put(regs, i.d, mask, |l| f(A::from_raw(a[l]), B::from_raw(b[l]), C::from_raw(c[l])));
}

/// One bit for each lane for which `f` holds.
#[inline(always)]
pub fn test2<A: Lane>(regs: &Registers, i: &Instr, f: impl Fn(A, A) -> bool) -> u32 {
    let (a, b) = (A::file(regs, i.a), A::file(regs, i.b));
    let mut bits = 0;
    for l in 0..LANES {
        bits |= u32::from(f(A::from_raw(a[l]), A::from_raw(b[l]))) << l;
    }
    bits
}

pub fn is_predicate(slot: Slot) -> bool {
    slot & CLASS == P
}

/// Lanes of a mask, lowest first.
#[inline(always)]
pub fn lanes(mut mask: u32) -> impl Iterator<Item = usize> {
    std::iter::from_fn(move || {
        let lane = mask.trailing_zeros() as usize;
        mask &= mask.wrapping_sub(1);
        (lane < LANES).then_some(lane)
    })
}
