//! The decoded program: a flat array of instructions over numbered register slots.
//!
//! Each slot holds one register of all 32 lanes. Immediates and special registers that are constant for
//! a warp are slots too, filled when the warp starts, so that operands are read in one way only.

use super::types::{Space, Ty};

/// A register slot; the two top bits say which file it is in.
pub type Slot = u32;

/// 32-bit and narrower registers; bits above a narrow register's width mean nothing.
pub const R: Slot = 0;
/// 64-bit registers.
pub const D: Slot = 1 << 30;
/// Predicates: one bit for each lane.
pub const P: Slot = 2 << 30;
pub const CLASS: Slot = 3 << 30;
pub const NO_SLOT: Slot = u32::MAX;

pub fn index(slot: Slot) -> usize {
    (slot & !CLASS) as usize
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Guard {
    /// `NO_SLOT`: always.
    pub slot: Slot,
    pub negated: bool,
}

#[derive(Debug, Clone)]
pub struct Instr {
    pub op: Op,
    pub guard: Guard,
    pub d: Slot,
    /// A second result: `d|p`.
    pub q: Slot,
    pub a: Slot,
    pub b: Slot,
    pub c: Slot,
    /// Address offset, branch target, or mask, by opcode.
    pub imm: i64,
    /// Further operands: index into [`Program::lists`].
    pub list: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IntTy {
    U16,
    S16,
    U32,
    S32,
    U64,
    S64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[rustfmt::skip]
pub enum IntOp {
    Add, Sub, MulLo, MulHi, MadLo, MadHi, Mul24, Mad24, Div, Rem, Min, Max, Abs, Neg, Sad,
    And, Or, Xor, Not, Cnot, Shl, Shr,
    Popc, Clz, Brev, Bfind, BfindShift, Bfe, Bfi,
    AddSat, SubSat,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CarryOp {
    Add,
    Sub,
    MadLo,
    MadHi,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Round {
    Nearest,
    Zero,
    Down,
    Up,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[rustfmt::skip]
pub enum FloatOp {
    Add, Sub, Mul, Fma, Div, Rcp, Sqrt, Min, Max, Neg, Abs, Copysign,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FloatMode {
    pub round: Round,
    pub ftz: bool,
    pub sat: bool,
    pub relu: bool,
    /// `.NaN`: min and max of a NaN are NaN.
    pub nan: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[rustfmt::skip]
pub enum ApproxOp {
    Ex2, Lg2, Rcp, Rsqrt, Sqrt, Sin, Cos, Tanh, Div,
    RcpF64, RsqrtF64,
    TanhHalf, Ex2Half,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[rustfmt::skip]
pub enum Cmp {
    Eq, Ne, Lt, Le, Gt, Ge,
    // The same, true if either is NaN.
    Equ, Neu, Ltu, Leu, Gtu, Geu,
    Num, Nan,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bool {
    And,
    Or,
    Xor,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Compare {
    pub cmp: Cmp,
    pub ty: Ty,
    pub ftz: bool,
    /// Combination with predicate `c`, and whether that is negated.
    pub combine: Option<(Bool, bool)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Convert {
    pub to: Ty,
    pub from: Ty,
    pub round: Round,
    /// Float to float of one type rounds to an integer value.
    pub to_integer: bool,
    pub ftz: bool,
    pub sat: bool,
    pub relu: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PrmtMode {
    Index,
    F4e,
    B4e,
    Rc8,
    Ecl,
    Ecr,
    Rc16,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TestClass {
    Finite,
    Infinite,
    Number,
    NotANumber,
    Normal,
    Subnormal,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[rustfmt::skip]
pub enum AtomOp {
    Add, Min, Max, And, Or, Xor, Exch, Cas, Inc, Dec,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VoteMode {
    All,
    Any,
    Uni,
    Ballot,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ShuffleMode {
    Up,
    Down,
    Bfly,
    Idx,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BarrierKind {
    Sync,
    Arrive,
    RedPopc,
    RedAnd,
    RedOr,
}

/// Special registers that change while a warp runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Special {
    Clock,
    Clock64,
    GlobalTimer,
}

/// The product `m x n x k` of a matrix instruction, by operand type; accumulators are f32 or f16.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[rustfmt::skip]
pub enum Mma {
    M16N8K16 { bf16: bool, f16_acc: bool },
    M16N8K8 { bf16: bool, f16_acc: bool },
    M16N8K8Tf32,
    M16N8K4Tf32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[rustfmt::skip]
pub enum Op {
    Int(IntOp, IntTy),
    MulWide(IntTy),
    MadWide(IntTy),
    Carry { op: CarryOp, ty: IntTy, takes: bool, gives: bool },
    Lop3(u8),
    Prmt(PrmtMode),
    Shf { left: bool, wrap: bool },
    Dp4a { a_signed: bool, b_signed: bool },
    Bmsk { clamp: bool },
    Szext { signed: bool, clamp: bool },
    Float(FloatOp, Ty, FloatMode),
    Approx(ApproxOp, Ty, bool),
    Setp(Compare),
    Set(Compare, Ty),
    Selp(Ty),
    Slct { ty: Ty, by_float: bool },
    Testp(TestClass, Ty),
    Convert(Convert),
    /// `cvt.rn.bf16x2.f32 d, a, b` and its like: `a` to the upper half.
    ConvertPair(Convert),
    Mov32,
    Mov64,
    MovPred,
    PredLogic(Bool),
    PredNot,
    /// `mov.b32 d, {..}`: parts in the list, each of the width in bytes.
    Pack(u32),
    /// `mov.b32 {..}, a`.
    Unpack(u32),
    Special(Special),
    ActiveMask,

    Load { space: Space, bytes: u32, signed: bool, ordered: bool },
    Store { space: Space, bytes: u32, ordered: bool },
    Atom { space: Space, op: AtomOp, ty: Ty },
    ToGeneric(Space),
    FromGeneric(Space),
    IsSpace(Space),
    /// Copy between two places of local memory: argument passing. Offsets and size are in the list.
    LocalCopy,
    /// Bytes of the copy; source size is `b` when given.
    CpAsync(u32),
    CpAsyncCommit,
    CpAsyncWait,
    Ldmatrix { count: u32, trans: bool },
    Stmatrix { count: u32, trans: bool },
    Mma(Mma),

    Bra,
    Brx,
    Call,
    Ret,
    Exit,
    Barrier { kind: BarrierKind, aligned: bool },
    WarpSync,
    Vote(VoteMode),
    Match { all: bool, wide: bool },
    Shuffle(ShuffleMode),
    Redux(AtomOp, Ty),
    /// Memory fence: true for `.gpu` and `.sys`.
    Fence(bool),
    Trap,
    Nop,
    AssertFail,
    Printf,
}

/// A value known when a warp starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Constant {
    Bits(u64),
    Tid(u8),
    Ntid(u8),
    Ctaid(u8),
    Nctaid(u8),
    LaneId,
    WarpId,
    NumWarps,
    LaneMaskEq,
    LaneMaskLt,
    LaneMaskLe,
    LaneMaskGt,
    LaneMaskGe,
    DynamicSharedBytes,
    TotalSharedBytes,
    GridId,
    SmId,
    NumSms,
    WarpSize,
}

/// A variable of shared memory: its place, with the red zones between variables.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SharedVariable {
    pub name: String,
    pub offset: u32,
    pub bytes: u32,
    pub dynamic: bool,
}

/// Deeper chains of inlined calls are cut.
const MOST_CALLERS: usize = 16;

/// Source file (index into `files`) and line; `caller` is where it was inlined, 0 for nowhere.
#[derive(Debug, Clone, Copy, Default)]
pub struct SourcePlace {
    pub file: u32,
    pub line: u32,
    pub caller: u32,
}

#[derive(Debug, Clone, Default)]
pub struct Program {
    pub code: Vec<Instr>,
    pub lists: Vec<Box<[Slot]>>,
    /// Place of each instruction: index into `places`.
    pub place: Vec<u32>,
    pub places: Vec<SourcePlace>,
    pub files: Vec<String>,
    pub r_slots: u32,
    pub d_slots: u32,
    pub p_slots: u32,
    /// Slots filled when a warp starts.
    pub constants: Vec<(Slot, Constant)>,
    pub shared: Vec<SharedVariable>,
    /// End of the last static variable, red zones included; dynamic shared memory starts behind it.
    pub shared_end: u32,
    pub local_bytes: u32,
}

impl Program {
    pub fn list(&self, i: &Instr) -> &[Slot] {
        &self.lists[i.list as usize]
    }

    /// File and line of an instruction, empty when the text has no `.loc`.
    pub fn source(&self, pc: usize) -> (&str, u32) {
        self.place.get(pc).map_or(("", 0), |&p| self.line_of(self.places[p as usize]))
    }

    /// The calls through which an instruction's function was inlined, innermost first.
    pub fn callers(&self, pc: usize) -> Vec<(&str, u32)> {
        let mut callers = Vec::new();
        let mut at = self.place.get(pc).map_or(0, |&p| self.places[p as usize].caller);
        while at != 0 && callers.len() < MOST_CALLERS {
            let place = self.places[at as usize];
            callers.push(self.line_of(place));
            at = place.caller;
        }
        callers
    }

    fn line_of(&self, place: SourcePlace) -> (&str, u32) {
        (self.files.get(place.file as usize).map_or("", String::as_str), place.line)
    }
}
