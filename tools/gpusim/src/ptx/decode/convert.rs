//! Moves, conversions of type, packing.

use super::{Decoded, Decoder, Modifiers, Symbol, class_of};
use crate::ptx::program::{CLASS, Convert, D, Op, P, R, Round, Slot, Special};
use crate::ptx::syntax::Operand;
use crate::ptx::types::{Space, Ty};

impl<'a> Decoder<'_, 'a> {
    pub(super) fn convert(
        &mut self,
        base: &str,
        m: &mut Modifiers<'_>,
        o: &[Operand<'a>],
    ) -> Decoded<bool> {
        match base {
            "mov" => self.mov(m, o),
            "cvt" => self.cvt(m, o),
            "cvta" => self.cvta(m, o),
            "isspacep" => {
                let Some(space) = m.space() else { return self.refuse("space expected") };
                self.simple(Op::IsSpace(space), o, &[P, D])
            }
            _ => Ok(false),
        }
    }

    fn mov(&mut self, m: &mut Modifiers<'_>, o: &[Operand<'a>]) -> Decoded<bool> {
        self.count(o, 2)?;
        let Some(ty) = m.ty() else { return self.refuse("type is not modelled") };
        let class = class_of(ty);
        match (&o[0], &o[1]) {
            (_, Operand::Vector(parts)) => {
                let bytes = self.part_bytes(ty, parts.len())?;
                let part_class = if bytes == 8 { D } else { R };
                let mut list = Vec::new();
                for part in parts {
                    list.push(self.src(part, part_class)?);
                }
                let (d, list) = (self.dst(&o[0], class)?, self.add_list(list));
                let i = self.emit(Op::Pack(bytes));
                (i.d, i.list) = (d, list);
            }
            (Operand::Vector(parts), _) => {
                let bytes = self.part_bytes(ty, parts.len())?;
                let part_class = if bytes == 8 { D } else { R };
                let mut list = Vec::new();
                for part in parts {
                    list.push(self.dst(part, part_class)?);
                }
                let (a, list) = (self.src(&o[1], class)?, self.add_list(list));
                let i = self.emit(Op::Unpack(bytes));
                (i.a, i.list) = (a, list);
            }
            (_, Operand::Name(name @ ("%clock" | "%clock64" | "%globaltimer"), 0)) => {
                let special = match *name {
                    "%clock" => Special::Clock,
                    "%clock64" => Special::Clock64,
                    _ => Special::GlobalTimer,
                };
                let class = if special == Special::Clock { R } else { D };
                let d = self.dst(&o[0], class)?;
                self.emit(Op::Special(special)).d = d;
            }
            (_, source) => {
                let op = match class {
                    P => {
                        let (a, negated) = self.predicate(source)?;
                        let d = self.dst(&o[0], P)?;
                        let i = self.emit(Op::MovPred);
                        (i.d, i.a, i.imm) = (d, a, i64::from(negated));
                        return Ok(true);
                    }
                    D => Op::Mov64,
                    _ => Op::Mov32,
                };
                return self.simple(op, o, &[class, class]);
            }
        }
        Ok(true)
    }

    fn part_bytes(&self, ty: Ty, parts: usize) -> Decoded<u32> {
        match (ty.bytes(), parts) {
            (4, 2) => Ok(2),
            (8, 2) => Ok(4),
            (8, 4) => Ok(2),
            (4, 4) | (2, 2) => Ok(1),
            _ => self.refuse("packing is not modelled"),
        }
    }

    /// A register of any integer width: conversions and memory accesses may use a wider one.
    pub(super) fn any_width(&mut self, operand: &Operand<'a>, otherwise: Slot) -> Decoded<Slot> {
        if let Operand::Name(name, 0) = operand
            && let Some(Symbol::Register(slot)) = self.symbols.get(name)
        {
            return match slot & CLASS {
                P => self.refuse("operand is a predicate"),
                _ => Ok(slot),
            };
        }
        match operand {
            Operand::Name("_", 0) => Ok(self.new_slot(otherwise)),
            _ => self.src(operand, otherwise),
        }
    }

    fn cvt(&mut self, m: &mut Modifiers<'_>, o: &[Operand<'a>]) -> Decoded<bool> {
        let integer = m.find(|w| {
            Some(match w {
                "rni" => Round::Nearest,
                "rzi" => Round::Zero,
                "rmi" => Round::Down,
                "rpi" => Round::Up,
                _ => return None,
            })
        });
        // `rna` rounds ties away; only tf32 has it.
        let away = m.take("rna");
        let round = m.round();
        let (ftz, relu) = (m.take("ftz"), m.take("relu"));
        let sat = m.take("sat");
        let (Some(to), Some(from)) = (m.ty(), m.ty()) else {
            return self.refuse("two types expected");
        };
        if away != (to == Ty::TF32 && round.is_none()) || to == Ty::Pred || from == Ty::Pred {
            return self.refuse("form is not modelled");
        }
        let spec = Convert {
            to,
            from,
            round: integer.or(round).unwrap_or(Round::Nearest),
            to_integer: integer.is_some(),
            ftz,
            sat,
            relu,
        };
        if matches!(to, Ty::BF16x2 | Ty::F16x2) {
            if from != Ty::F32 || sat || round.is_none() {
                return self.refuse("form is not modelled");
            }
            return self.simple(Op::ConvertPair(spec), o, &[R, R, R]);
        }
        if from.is_bits() || to.is_bits() || matches!(from, Ty::BF16x2 | Ty::F16x2 | Ty::TF32) {
            return self.refuse("form is not modelled");
        }
        if !rounding_exists(to, from, round.is_some() || away, integer.is_some()) {
            return self.refuse("rounding is missing, or does not exist for these types");
        }
        if relu && !matches!(to, Ty::F16 | Ty::BF16 | Ty::TF32) {
            return self.refuse("modifier .relu does not exist here");
        }
        self.count(o, 2)?;
        let d = self.any_width(&o[0], class_of(to))?;
        let a = self.any_width(&o[1], class_of(from))?;
        let i = self.emit(Op::Convert(spec));
        (i.d, i.a) = (d, a);
        Ok(true)
    }

    fn cvta(&mut self, m: &mut Modifiers<'_>, o: &[Operand<'a>]) -> Decoded<bool> {
        let to = m.take("to");
        let Some(space) = m.space() else { return self.refuse("space expected") };
        if space == Space::Param {
            return self.refuse("generic addresses of parameters are not modelled");
        }
        if m.ty() != Some(Ty::U64) {
            return self.refuse("only 64-bit addresses are modelled");
        }
        let op = if to { Op::FromGeneric(space) } else { Op::ToGeneric(space) };
        self.simple(op, o, &[D, D])
    }
}

/// Which rounding a conversion must have: to integers an integer one, to less precision a float one.
fn rounding_exists(to: Ty, from: Ty, float: bool, integer: bool) -> bool {
    let digits = |ty: Ty| match ty {
        Ty::BF16 => 8,
        Ty::F16 | Ty::TF32 => 11,
        Ty::F32 => 24,
        Ty::F64 => 53,
        _ => 0,
    };
    match (digits(from), digits(to)) {
        (0, 0) => !float && !integer,
        (0, _) => float && !integer,
        (_, 0) => integer && !float,
        (a, b) if a == b && from == to => !float,
        // bf16 has more range than f16, so neither holds the other.
        (a, b) if a > b || (from == Ty::BF16 && to == Ty::F16) => float && !integer,
        _ => !float && !integer,
    }
}
