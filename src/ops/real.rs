//! The number type of the `reference.rs` files: f64 for truth and finite differences, f32, and
//! [`AsBf16`] for "the same rounding points as a bf16 kernel".

use std::iter::Sum;
use std::ops::{Add, AddAssign, Div, Mul, Neg, Sub};

use crate::dtype::{Float, bf16};

pub trait Real:
    Copy
    + PartialOrd
    + Add<Output = Self>
    + Sub<Output = Self>
    + Mul<Output = Self>
    + Div<Output = Self>
    + Neg<Output = Self>
    + AddAssign
    + Sum
    + Default
{
    fn of(x: f64) -> Self;
    fn to_f64(self) -> f64;
    fn exp(self) -> Self;
    fn ln(self) -> Self;
    fn sqrt(self) -> Self;
    fn atan2(self, x: Self) -> Self;

    /// The value as the op's dtype holds it. References call it where the contract rounds.
    fn store(self) -> Self {
        self
    }

    fn max(self, other: Self) -> Self {
        if other > self { other } else { self }
    }
}

macro_rules! real {
    ($t:ty) => {
        impl Real for $t {
            fn of(x: f64) -> Self {
                x as $t
            }
            fn to_f64(self) -> f64 {
                self as f64
            }
            fn exp(self) -> Self {
                self.exp()
            }
            fn ln(self) -> Self {
                self.ln()
            }
            fn sqrt(self) -> Self {
                self.sqrt()
            }
            fn atan2(self, x: Self) -> Self {
                self.atan2(x)
            }
        }
    };
}

real!(f32);
real!(f64);

/// f32 arithmetic; [`store`](Real::store) rounds to bf16.
#[derive(Clone, Copy, Debug, Default, PartialEq, PartialOrd)]
pub struct AsBf16(pub f32);

impl Real for AsBf16 {
    fn of(x: f64) -> Self {
        Self(x as f32)
    }
    fn to_f64(self) -> f64 {
        self.0 as f64
    }
    fn exp(self) -> Self {
        Self(self.0.exp())
    }
    fn ln(self) -> Self {
        Self(self.0.ln())
    }
    fn sqrt(self) -> Self {
        Self(self.0.sqrt())
    }
    fn atan2(self, x: Self) -> Self {
        Self(self.0.atan2(x.0))
    }
    fn store(self) -> Self {
        Self(<bf16 as Float>::from_f32(self.0).to_f32())
    }
}

macro_rules! arithmetic {
    ($($trait:ident $f:ident),+) => {$(
        impl $trait for AsBf16 {
            type Output = Self;
            fn $f(self, other: Self) -> Self {
                Self(self.0.$f(other.0))
            }
        }
    )+};
}

arithmetic!(Add add, Sub sub, Mul mul, Div div);

impl Neg for AsBf16 {
    type Output = Self;
    fn neg(self) -> Self {
        Self(-self.0)
    }
}

impl AddAssign for AsBf16 {
    fn add_assign(&mut self, other: Self) {
        self.0 += other.0;
    }
}

impl Sum for AsBf16 {
    fn sum<I: Iterator<Item = Self>>(terms: I) -> Self {
        Self(terms.map(|x| x.0).sum())
    }
}
