//! Scalar types and state spaces.

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[rustfmt::skip]
pub enum Ty {
    Pred,
    B8, B16, B32, B64,
    U8, U16, U32, U64,
    S8, S16, S32, S64,
    F16, F16x2, BF16, BF16x2, TF32, F32, F64,
}

impl Ty {
    /// The type named by a modifier without its dot.
    #[rustfmt::skip]
    pub fn named(word: &str) -> Option<Self> {
        Some(match word {
            "pred" => Self::Pred,
            "b8" => Self::B8, "b16" => Self::B16, "b32" => Self::B32, "b64" => Self::B64,
            "u8" => Self::U8, "u16" => Self::U16, "u32" => Self::U32, "u64" => Self::U64,
            "s8" => Self::S8, "s16" => Self::S16, "s32" => Self::S32, "s64" => Self::S64,
            "f16" => Self::F16, "f16x2" => Self::F16x2, "bf16" => Self::BF16,
            "bf16x2" => Self::BF16x2, "tf32" => Self::TF32, "f32" => Self::F32, "f64" => Self::F64,
            _ => return None,
        })
    }

    #[rustfmt::skip]
    pub fn bytes(self) -> u32 {
        match self {
            Self::Pred | Self::B8 | Self::U8 | Self::S8 => 1,
            Self::B16 | Self::U16 | Self::S16 | Self::F16 | Self::BF16 => 2,
            Self::B32 | Self::U32 | Self::S32 | Self::F32 | Self::TF32
            | Self::F16x2 | Self::BF16x2 => 4,
            Self::B64 | Self::U64 | Self::S64 | Self::F64 => 8,
        }
    }

    pub fn is_signed(self) -> bool {
        matches!(self, Self::S8 | Self::S16 | Self::S32 | Self::S64)
    }

    #[rustfmt::skip]
    pub fn is_int(self) -> bool {
        matches!(
            self,
            Self::U8 | Self::U16 | Self::U32 | Self::U64 | Self::S8 | Self::S16 | Self::S32 | Self::S64
        )
    }

    pub fn is_bits(self) -> bool {
        matches!(self, Self::B8 | Self::B16 | Self::B32 | Self::B64)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Space {
    Generic,
    Global,
    Shared,
    Local,
    Param,
    Const,
}

impl Space {
    pub fn named(word: &str) -> Option<Self> {
        Some(match word {
            "global" => Self::Global,
            "shared" | "shared::cta" => Self::Shared,
            "local" => Self::Local,
            "param" | "param::entry" | "param::func" => Self::Param,
            "const" => Self::Const,
            _ => return None,
        })
    }
}
