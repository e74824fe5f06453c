//! Integer, float and logic instructions, comparisons and selections.

use super::{Decoded, Decoder, Modifiers, class_of};
use crate::ptx::program::{
    ApproxOp, Bool, CarryOp, Cmp, Compare, D, FloatMode, FloatOp, IntOp, IntTy, NO_SLOT, Op, P,
    PrmtMode, R, Round, TestClass,
};
use crate::ptx::syntax::Operand;
use crate::ptx::types::Ty;

/// Bitwise operations work on the unsigned type of the width.
fn int_ty(ty: Ty) -> Option<IntTy> {
    Some(match ty {
        Ty::U16 | Ty::B16 => IntTy::U16,
        Ty::S16 => IntTy::S16,
        Ty::U32 | Ty::B32 => IntTy::U32,
        Ty::S32 => IntTy::S32,
        Ty::U64 | Ty::B64 => IntTy::U64,
        Ty::S64 => IntTy::S64,
        _ => return None,
    })
}

fn is_float(ty: Ty) -> bool {
    use Ty::{BF16, BF16x2, F16, F16x2, F32, F64};
    matches!(ty, F16 | F16x2 | BF16 | BF16x2 | F32 | F64)
}

impl<'a> Decoder<'_, 'a> {
    /// True if `base` is one of these.
    pub(super) fn arith(
        &mut self,
        base: &str,
        m: &mut Modifiers<'_>,
        o: &[Operand<'a>],
    ) -> Decoded<bool> {
        match base {
            "add" | "sub" | "mul" | "mad" | "fma" | "div" | "min" | "max" | "abs" | "neg"
            | "rcp" | "sqrt" | "copysign" => self.number(base, m, o),
            "addc" | "subc" | "madc" => self.carry(base, true, m, o),
            "rem" | "sad" | "popc" | "clz" | "brev" | "bfind" | "bfe" | "bfi" | "shl" | "shr"
            | "cnot" | "mul24" | "mad24" => self.integer(base, m, o),
            "and" | "or" | "xor" | "not" => self.logic(base, m, o),
            "rsqrt" | "ex2" | "lg2" | "sin" | "cos" | "tanh" => self.approximate(base, m, o),
            "lop3" => self.lop3(m, o),
            "prmt" => self.prmt(m, o),
            "shf" => self.shf(m, o),
            "dp4a" => {
                let signed = |t: Option<Ty>| t.map(Ty::is_signed);
                let (Some(a_signed), Some(b_signed)) = (signed(m.ty()), signed(m.ty())) else {
                    return self.refuse("two types expected");
                };
                self.simple(Op::Dp4a { a_signed, b_signed }, o, &[R; 4])
            }
            "bmsk" => {
                let clamp = !m.take("wrap") && m.take("clamp");
                m.take("b32");
                self.simple(Op::Bmsk { clamp }, o, &[R; 3])
            }
            "szext" => {
                let clamp = !m.take("wrap") && m.take("clamp");
                let signed = m.ty() == Some(Ty::S32);
                self.simple(Op::Szext { signed, clamp }, o, &[R; 3])
            }
            "setp" => self.setp(m, o),
            "set" => self.set(m, o),
            "selp" => {
                self.count(o, 4)?;
                let Some(ty) = m.ty() else { return self.refuse("type expected") };
                let class = class_of(ty);
                let d = self.dst(&o[0], class)?;
                let (a, b) = (self.src(&o[1], class)?, self.src(&o[2], class)?);
                let (c, negated) = self.predicate(&o[3])?;
                let i = self.emit(Op::Selp(ty));
                (i.d, i.a, i.b, i.c, i.imm) = (d, a, b, c, i64::from(negated));
                Ok(true)
            }
            "slct" => {
                m.take("ftz");
                let (Some(ty), Some(by)) = (m.ty(), m.ty()) else {
                    return self.refuse("two types expected");
                };
                let class = class_of(ty);
                let by_float = by == Ty::F32;
                self.simple(Op::Slct { ty, by_float }, o, &[class, class, class, R])
            }
            "testp" => {
                let class = m.find(|w| {
                    Some(match w {
                        "finite" => TestClass::Finite,
                        "infinite" => TestClass::Infinite,
                        "number" => TestClass::Number,
                        "notanumber" => TestClass::NotANumber,
                        "normal" => TestClass::Normal,
                        "subnormal" => TestClass::Subnormal,
                        _ => return None,
                    })
                });
                let (Some(class), Some(ty)) = (class, m.ty()) else {
                    return self.refuse("class and type expected");
                };
                self.simple(Op::Testp(class, ty), o, &[P, class_of(ty)])
            }
            _ => Ok(false),
        }
    }

    /// Opcodes that exist for integers and floats.
    fn number(&mut self, base: &str, m: &mut Modifiers<'_>, o: &[Operand<'a>]) -> Decoded<bool> {
        let ty = m.left().iter().rev().find_map(|w| Ty::named(w));
        let Some(ty) = ty else { return self.refuse("type is not modelled") };
        if !is_float(ty) {
            return match base {
                "add" | "sub" | "mad" if m.take("cc") => self.carry_out(base, m, o),
                _ => self.integer(base, m, o),
            };
        }
        m.ty();
        let class = class_of(ty);
        let ftz = m.take("ftz");
        let approx = m.take("approx") || (base == "div" && m.take("full"));
        if approx {
            let op = match (base, ty) {
                ("div", Ty::F32) => ApproxOp::Div,
                ("rcp", Ty::F32) => ApproxOp::Rcp,
                ("rcp", Ty::F64) => ApproxOp::RcpF64,
                ("sqrt", Ty::F32) => ApproxOp::Sqrt,
                _ => return self.refuse("approximate form is not modelled"),
            };
            let sources = 1 + usize::from(base == "div");
            return self.simple(Op::Approx(op, ty, ftz), o, &vec![class; 1 + sources]);
        }
        let round = m.round();
        let (op, sources, rounds) = match base {
            "add" => (FloatOp::Add, 2, true),
            "sub" => (FloatOp::Sub, 2, true),
            "mul" => (FloatOp::Mul, 2, true),
            "fma" | "mad" => (FloatOp::Fma, 3, true),
            "div" => (FloatOp::Div, 2, true),
            "rcp" => (FloatOp::Rcp, 1, true),
            "sqrt" => (FloatOp::Sqrt, 1, true),
            "min" => (FloatOp::Min, 2, false),
            "max" => (FloatOp::Max, 2, false),
            "abs" => (FloatOp::Abs, 1, false),
            "neg" => (FloatOp::Neg, 1, false),
            _ => (FloatOp::Copysign, 2, false),
        };
        let wide = matches!(ty, Ty::F32 | Ty::F64);
        let allowed = match round {
            None => !matches!(op, FloatOp::Fma | FloatOp::Div | FloatOp::Rcp | FloatOp::Sqrt),
            Some(Round::Nearest) => rounds,
            Some(_) => rounds && wide,
        };
        let divides = matches!(op, FloatOp::Div | FloatOp::Rcp | FloatOp::Sqrt);
        let copysign = op == FloatOp::Copysign;
        if !allowed || (!wide && (divides || copysign)) || (ty == Ty::F64 && ftz) {
            return self.refuse("rounding or type does not exist for this instruction");
        }
        let sat = rounds && ty != Ty::F64 && m.take("sat");
        let relu = !wide && op == FloatOp::Fma && m.take("relu");
        let nan = matches!(op, FloatOp::Min | FloatOp::Max) && m.take("NaN");
        let mode = FloatMode { round: round.unwrap_or(Round::Nearest), ftz, sat, relu, nan };
        self.simple(Op::Float(op, ty, mode), o, &vec![class; 1 + sources])
    }

    fn integer(&mut self, base: &str, m: &mut Modifiers<'_>, o: &[Operand<'a>]) -> Decoded<bool> {
        let shift_amount = base == "bfind" && m.take("shiftamt");
        let sat = matches!(base, "add" | "sub") && m.take("sat");
        let part = match base {
            "mul" | "mad" => m.take_any(&["lo", "hi", "wide"]),
            "mul24" | "mad24" => m.take_any(&["lo"]),
            _ => None,
        };
        let Some(ty) = m.ty() else { return self.refuse("type expected") };
        let Some(int) = int_ty(ty) else { return self.refuse("type is not modelled here") };
        let class = class_of(ty);
        let op = match (base, part) {
            ("add", _) if sat => IntOp::AddSat,
            ("sub", _) if sat => IntOp::SubSat,
            ("add", _) => IntOp::Add,
            ("sub", _) => IntOp::Sub,
            ("mul", Some("lo")) => IntOp::MulLo,
            ("mul", Some("hi")) => IntOp::MulHi,
            ("mad", Some("lo")) => IntOp::MadLo,
            ("mad", Some("hi")) => IntOp::MadHi,
            ("mul24", Some("lo")) => IntOp::Mul24,
            ("mad24", Some("lo")) => IntOp::Mad24,
            ("mul" | "mad", Some("wide")) if ty.bytes() < 8 => {
                let wide = if ty.bytes() == 2 { R } else { D };
                return match base {
                    "mul" => self.simple(Op::MulWide(int), o, &[wide, class, class]),
                    _ => self.simple(Op::MadWide(int), o, &[wide, class, class, wide]),
                };
            }
            ("div", _) => IntOp::Div,
            ("rem", _) => IntOp::Rem,
            ("min", _) => IntOp::Min,
            ("max", _) => IntOp::Max,
            ("abs", _) => IntOp::Abs,
            ("neg", _) => IntOp::Neg,
            ("sad", _) => IntOp::Sad,
            ("cnot", _) => IntOp::Cnot,
            ("shl", _) => IntOp::Shl,
            ("shr", _) => IntOp::Shr,
            ("popc", _) => return self.simple(Op::Int(IntOp::Popc, int), o, &[R, class]),
            ("clz", _) => return self.simple(Op::Int(IntOp::Clz, int), o, &[R, class]),
            ("brev", _) => IntOp::Brev,
            ("bfind", _) => {
                let op = if shift_amount { IntOp::BfindShift } else { IntOp::Bfind };
                return self.simple(Op::Int(op, int), o, &[R, class]);
            }
            ("bfe", _) => {
                return self.simple(Op::Int(IntOp::Bfe, int), o, &[class, class, R, R]);
            }
            ("bfi", _) => return self.bfi(int, class, o),
            _ => return self.refuse("form is not modelled"),
        };
        let sources = match op {
            IntOp::Abs | IntOp::Neg | IntOp::Cnot | IntOp::Brev => 1,
            IntOp::MadLo | IntOp::MadHi | IntOp::Mad24 | IntOp::Sad => 3,
            IntOp::Shl | IntOp::Shr => return self.simple(Op::Int(op, int), o, &[class, class, R]),
            _ => 2,
        };
        self.simple(Op::Int(op, int), o, &vec![class; 1 + sources])
    }

    fn bfi(&mut self, int: IntTy, class: u32, o: &[Operand<'a>]) -> Decoded<bool> {
        self.count(o, 5)?;
        let d = self.dst(&o[0], class)?;
        let (a, b) = (self.src(&o[1], class)?, self.src(&o[2], class)?);
        let (c, len) = (self.src(&o[3], R)?, self.src(&o[4], R)?);
        let list = self.add_list(vec![len]);
        let i = self.emit(Op::Int(IntOp::Bfi, int));
        (i.d, i.a, i.b, i.c, i.list) = (d, a, b, c, list);
        Ok(true)
    }

    fn carry_out(&mut self, base: &str, m: &mut Modifiers<'_>, o: &[Operand<'a>]) -> Decoded<bool> {
        self.carry_op(base, false, true, m, o)
    }

    fn carry(
        &mut self,
        base: &str,
        takes: bool,
        m: &mut Modifiers<'_>,
        o: &[Operand<'a>],
    ) -> Decoded<bool> {
        let gives = m.take("cc");
        self.carry_op(base.trim_end_matches('c'), takes, gives, m, o)
    }

    fn carry_op(
        &mut self,
        base: &str,
        takes: bool,
        gives: bool,
        m: &mut Modifiers<'_>,
        o: &[Operand<'a>],
    ) -> Decoded<bool> {
        let op = match (base, m.take_any(&["lo", "hi"])) {
            ("add", None) => CarryOp::Add,
            ("sub", None) => CarryOp::Sub,
            ("mad", Some("lo")) => CarryOp::MadLo,
            ("mad", Some("hi")) => CarryOp::MadHi,
            _ => return self.refuse("form is not modelled"),
        };
        let Some(ty) = m.ty().and_then(int_ty) else { return self.refuse("type expected") };
        let class = if matches!(ty, IntTy::U64 | IntTy::S64) { D } else { R };
        let sources = if matches!(op, CarryOp::Add | CarryOp::Sub) { 2 } else { 3 };
        let carry = match self.symbols.get("%cc") {
            Some(super::Symbol::Register(slot)) => slot,
            _ => {
                let slot = self.new_slot(P);
                self.symbols.define_outermost("%cc", super::Symbol::Register(slot));
                slot
            }
        };
        self.simple(Op::Carry { op, ty, takes, gives }, o, &vec![class; 1 + sources])?;
        if let Some(i) = self.program.code.last_mut() {
            i.q = carry;
        }
        Ok(true)
    }

    fn logic(&mut self, base: &str, m: &mut Modifiers<'_>, o: &[Operand<'a>]) -> Decoded<bool> {
        let Some(ty) = m.ty() else { return self.refuse("type expected") };
        if ty == Ty::Pred {
            let op = match base {
                "and" => Op::PredLogic(Bool::And),
                "or" => Op::PredLogic(Bool::Or),
                "xor" => Op::PredLogic(Bool::Xor),
                _ => return self.simple(Op::PredNot, o, &[P, P]),
            };
            self.count(o, 3)?;
            let d = self.dst(&o[0], P)?;
            let ((a, not_a), (b, not_b)) = (self.predicate(&o[1])?, self.predicate(&o[2])?);
            let i = self.emit(op);
            (i.d, i.a, i.b) = (d, a, b);
            i.imm = i64::from(not_a) | i64::from(not_b) << 1;
            return Ok(true);
        }
        let Some(int) = int_ty(ty).filter(|_| ty.is_bits()) else {
            return self.refuse("type is not modelled here");
        };
        let op = match base {
            "and" => IntOp::And,
            "or" => IntOp::Or,
            "xor" => IntOp::Xor,
            _ => return self.simple(Op::Int(IntOp::Not, int), o, &[class_of(ty); 2]),
        };
        self.simple(Op::Int(op, int), o, &[class_of(ty); 3])
    }

    fn approximate(
        &mut self,
        base: &str,
        m: &mut Modifiers<'_>,
        o: &[Operand<'a>],
    ) -> Decoded<bool> {
        if !m.take("approx") {
            return self.refuse("only the approximate form exists");
        }
        let ftz = m.take("ftz");
        let Some(ty) = m.ty() else { return self.refuse("type expected") };
        let half = matches!(ty, Ty::F16 | Ty::F16x2 | Ty::BF16 | Ty::BF16x2);
        let op = match (base, ty) {
            ("rsqrt", Ty::F32) => ApproxOp::Rsqrt,
            ("rsqrt", Ty::F64) => ApproxOp::RsqrtF64,
            ("ex2", Ty::F32) => ApproxOp::Ex2,
            ("ex2", _) if half => ApproxOp::Ex2Half,
            ("lg2", Ty::F32) => ApproxOp::Lg2,
            ("sin", Ty::F32) => ApproxOp::Sin,
            ("cos", Ty::F32) => ApproxOp::Cos,
            ("tanh", Ty::F32) => ApproxOp::Tanh,
            ("tanh", _) if half => ApproxOp::TanhHalf,
            _ => return self.refuse("type does not exist for this instruction"),
        };
        self.simple(Op::Approx(op, ty, ftz), o, &[class_of(ty); 2])
    }

    fn lop3(&mut self, m: &mut Modifiers<'_>, o: &[Operand<'a>]) -> Decoded<bool> {
        self.count(o, 5)?;
        m.take("b32");
        let Operand::Int(lut @ 0..256) = o[4] else {
            return self.refuse("the table must be a constant byte");
        };
        self.simple(Op::Lop3(lut as u8), &o[..4], &[R; 4])
    }

    fn prmt(&mut self, m: &mut Modifiers<'_>, o: &[Operand<'a>]) -> Decoded<bool> {
        m.take("b32");
        let mode = m.find(|w| {
            Some(match w {
                "f4e" => PrmtMode::F4e,
                "b4e" => PrmtMode::B4e,
                "rc8" => PrmtMode::Rc8,
                "ecl" => PrmtMode::Ecl,
                "ecr" => PrmtMode::Ecr,
                "rc16" => PrmtMode::Rc16,
                _ => return None,
            })
        });
        self.simple(Op::Prmt(mode.unwrap_or(PrmtMode::Index)), o, &[R; 4])
    }

    fn shf(&mut self, m: &mut Modifiers<'_>, o: &[Operand<'a>]) -> Decoded<bool> {
        let direction = m.take_any(&["l", "r"]);
        let mode = m.take_any(&["wrap", "clamp"]);
        m.take("b32");
        let (Some(direction), Some(mode)) = (direction, mode) else {
            return self.refuse("direction and mode expected");
        };
        self.simple(Op::Shf { left: direction == "l", wrap: mode == "wrap" }, o, &[R; 4])
    }

    fn comparison(&mut self, m: &mut Modifiers<'_>) -> Decoded<Compare> {
        let cmp = m.find(|w| {
            Some(match w {
                "eq" => Cmp::Eq,
                "ne" => Cmp::Ne,
                "lt" | "lo" => Cmp::Lt,
                "le" | "ls" => Cmp::Le,
                "gt" | "hi" => Cmp::Gt,
                "ge" | "hs" => Cmp::Ge,
                "equ" => Cmp::Equ,
                "neu" => Cmp::Neu,
                "ltu" => Cmp::Ltu,
                "leu" => Cmp::Leu,
                "gtu" => Cmp::Gtu,
                "geu" => Cmp::Geu,
                "num" => Cmp::Num,
                "nan" => Cmp::Nan,
                _ => return None,
            })
        });
        let combine = m.find(|w| {
            Some(match w {
                "and" => Bool::And,
                "or" => Bool::Or,
                "xor" => Bool::Xor,
                _ => return None,
            })
        });
        let ftz = m.take("ftz");
        let (Some(cmp), Some(ty)) = (cmp, m.ty()) else {
            return self.refuse("comparison and type expected");
        };
        Ok(Compare { cmp, ty, ftz, combine: combine.map(|b| (b, false)) })
    }

    fn setp(&mut self, m: &mut Modifiers<'_>, o: &[Operand<'a>]) -> Decoded<bool> {
        let mut compare = self.comparison(m)?;
        self.count(o, 3 + usize::from(compare.combine.is_some()))?;
        let (d, q) = match &o[0] {
            Operand::Pair(p, q) => {
                let mut target = |name| self.dst(&Operand::Name(name, 0), P);
                (target(*p)?, target(*q)?)
            }
            single => (self.dst(single, P)?, NO_SLOT),
        };
        let class = class_of(compare.ty);
        let packed = matches!(compare.ty, Ty::F16x2 | Ty::BF16x2);
        if compare.ty == Ty::Pred || (packed && q == NO_SLOT) {
            return self.refuse("form is not modelled");
        }
        let (a, b) = (self.src(&o[1], class)?, self.src(&o[2], class)?);
        let mut c = NO_SLOT;
        if let Some((combine, _)) = compare.combine {
            let (slot, negated) = self.predicate(&o[3])?;
            c = slot;
            compare.combine = Some((combine, negated));
        }
        let i = self.emit(Op::Setp(compare));
        (i.d, i.q, i.a, i.b, i.c) = (d, q, a, b, c);
        Ok(true)
    }

    fn set(&mut self, m: &mut Modifiers<'_>, o: &[Operand<'a>]) -> Decoded<bool> {
        // The first type is that of the result.
        let Some(to) = m.ty() else { return self.refuse("type expected") };
        let compare = self.comparison(m)?;
        let scalar = compare.ty == Ty::F16 || compare.ty == Ty::BF16 || compare.ty.bytes() >= 4;
        let results = [Ty::U32, Ty::S32, Ty::F32, Ty::F16, Ty::BF16, Ty::F16x2, Ty::BF16x2];
        if compare.combine.is_some() || !scalar || !results.contains(&to) {
            return self.refuse("form is not modelled");
        }
        let class = class_of(compare.ty);
        self.simple(Op::Set(compare, to), o, &[class_of(to), class, class])
    }
}
