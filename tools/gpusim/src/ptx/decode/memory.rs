//! Loads, stores, atomics, asynchronous copies.

use super::{Decoded, Decoder, Modifiers, Symbol};
use crate::ptx::program::{AtomOp, Constant, D, NO_SLOT, Op, R, Slot};
use crate::ptx::syntax::Operand;
use crate::ptx::types::{Space, Ty};

/// Hints that change no result.
const HINTS: &[&str] = &[
    "ca",
    "cg",
    "cs",
    "lu",
    "cv",
    "wb",
    "wt",
    "nc",
    "weak",
    "L1::evict_normal",
    "L1::evict_last",
    "L1::evict_first",
    "L1::evict_unchanged",
    "L1::no_allocate",
    "L2::64B",
    "L2::128B",
    "L2::256B",
    "L2::cache_hint",
    "L2::evict_last",
    "L2::evict_normal",
    "L2::evict_first",
];
/// Memory orders and scopes: with them an access synchronises, and is no race by itself.
const ORDERS: &[&str] = &["volatile", "relaxed", "acquire", "release", "acq_rel", "mmio"];
const SCOPES: &[&str] = &["cta", "cluster", "gpu", "sys"];

impl<'a> Decoder<'_, 'a> {
    pub(super) fn memory(
        &mut self,
        base: &str,
        m: &mut Modifiers<'_>,
        o: &[Operand<'a>],
    ) -> Decoded<bool> {
        match base {
            "ld" | "ldu" => self.load(m, o),
            "st" => self.store(m, o),
            "atom" => self.atom(m, o, true),
            "red" => self.atom(m, o, false),
            "cp" => self.cp_async(m, o),
            "prefetch" | "prefetchu" => {
                while m.take_any(&["L1", "L2", "global", "local"]).is_some() {}
                while m.take_any(HINTS).is_some() {}
                self.count(o, 1)?;
                self.emit(Op::Nop);
                Ok(true)
            }
            "createpolicy" => {
                // A policy is a hint: any value serves.
                while !m.left().is_empty() {
                    m.find(|_| Some(()));
                }
                if o.is_empty() {
                    return self.count(o, 1).map(|()| true);
                }
                let d = self.dst(&o[0], D)?;
                let zero = self.constant(Constant::Bits(0), D);
                let i = self.emit(Op::Mov64);
                (i.d, i.a) = (d, zero);
                Ok(true)
            }
            _ => Ok(false),
        }
    }

    /// Base slot, offset, and the space if the name itself decides it.
    pub(super) fn address(&mut self, operand: &Operand<'a>) -> Decoded<(Slot, i64, Option<Space>)> {
        let Operand::Address(base, offset) = *operand else {
            return self.refuse("address expected");
        };
        let Some(name) = base else {
            return Ok((self.constant(Constant::Bits(0), D), offset, None));
        };
        match self.symbols.get(name) {
            Some(Symbol::Register(_)) => {
                Ok((self.any_width(&Operand::Name(name, 0), D)?, offset, None))
            }
            Some(Symbol::Address(space, at)) => {
                Ok((self.constant(Constant::Bits(at), D), offset, Some(space)))
            }
            Some(Symbol::DynamicShared) => {
                let at = self.dynamic_shared_start();
                Ok((self.constant(Constant::Bits(at), D), offset, Some(Space::Shared)))
            }
            None => self.refuse(format!("address {name} is not defined")),
        }
    }

    /// The space of an access: parameters of functions lie in local memory.
    fn space_of(&self, named: Option<Space>, symbol: Option<Space>) -> Decoded<Space> {
        let named = named.unwrap_or(Space::Generic);
        Ok(match (named, symbol) {
            (Space::Param, Some(space @ (Space::Local | Space::Param))) => space,
            (Space::Param, None) if !self.in_kernel => Space::Local,
            (Space::Generic, Some(Space::Global | Space::Const)) => Space::Global,
            (Space::Generic, Some(_)) => {
                return self.refuse("generic access to a variable of another space");
            }
            (space, Some(symbol)) if symbol != space => {
                return self.refuse("variable lies in another space");
            }
            (space, _) => space,
        })
    }

    fn hints(&self, m: &mut Modifiers<'_>) -> bool {
        while m.take_any(HINTS).is_some() {}
        let ordered = m.take_any(ORDERS).is_some();
        m.take_any(SCOPES);
        ordered
    }

    fn width(&self, m: &mut Modifiers<'_>) -> Decoded<(usize, Ty)> {
        let lanes = match m.take_any(&["v2", "v4"]) {
            Some("v2") => 2,
            Some(_) => 4,
            None => 1,
        };
        match m.ty() {
            Some(ty) if ty.bytes() * lanes as u32 <= 16 && ty != Ty::Pred => Ok((lanes, ty)),
            _ => self.refuse("type or width is not modelled"),
        }
    }

    fn load(&mut self, m: &mut Modifiers<'_>, o: &[Operand<'a>]) -> Decoded<bool> {
        let ordered = self.hints(m);
        let named = m.space();
        let (lanes, ty) = self.width(m)?;
        if o.len() != 2 && o.len() != 3 {
            return self.count(o, 2).map(|()| true);
        }
        let (a, offset, symbol) = self.address(&o[1])?;
        let space = self.space_of(named, symbol)?;
        let class = if ty.bytes() == 8 { D } else { R };
        let (d, list) = self.vector(&o[0], lanes, class)?;
        let i = self.emit(Op::Load { space, bytes: ty.bytes(), signed: ty.is_signed(), ordered });
        (i.d, i.list, i.a, i.imm) = (d, list, a, offset);
        Ok(true)
    }

    fn store(&mut self, m: &mut Modifiers<'_>, o: &[Operand<'a>]) -> Decoded<bool> {
        let ordered = self.hints(m);
        let named = m.space();
        let (lanes, ty) = self.width(m)?;
        if o.len() != 2 && o.len() != 3 {
            return self.count(o, 2).map(|()| true);
        }
        let (a, offset, symbol) = self.address(&o[0])?;
        let space = self.space_of(named, symbol)?;
        if matches!(space, Space::Param | Space::Const) {
            return self.refuse("this space cannot be written");
        }
        let class = if ty.bytes() == 8 { D } else { R };
        let (b, list) = self.vector(&o[1], lanes, class)?;
        let i = self.emit(Op::Store { space, bytes: ty.bytes(), ordered });
        (i.b, i.list, i.a, i.imm) = (b, list, a, offset);
        Ok(true)
    }

    /// One register, or the list of a vector.
    fn vector(&mut self, operand: &Operand<'a>, lanes: usize, class: Slot) -> Decoded<(Slot, u32)> {
        match operand {
            Operand::Vector(parts) if parts.len() == lanes => {
                let mut list = Vec::new();
                for part in parts {
                    list.push(self.any_width(part, class)?);
                }
                Ok((NO_SLOT, self.add_list(list)))
            }
            single if lanes == 1 => Ok((self.any_width(single, class)?, u32::MAX)),
            _ => self.refuse("vector of another width expected"),
        }
    }

    fn atom(&mut self, m: &mut Modifiers<'_>, o: &[Operand<'a>], result: bool) -> Decoded<bool> {
        self.hints(m);
        m.take("noftz");
        let named = m.space();
        let op = m.find(|w| {
            Some(match w {
                "add" => AtomOp::Add,
                "min" => AtomOp::Min,
                "max" => AtomOp::Max,
                "and" => AtomOp::And,
                "or" => AtomOp::Or,
                "xor" => AtomOp::Xor,
                "exch" => AtomOp::Exch,
                "cas" => AtomOp::Cas,
                "inc" => AtomOp::Inc,
                "dec" => AtomOp::Dec,
                _ => return None,
            })
        });
        let (Some(op), Some(ty)) = (op, m.ty()) else {
            return self.refuse("operation and type expected");
        };
        if !atomic_exists(op, ty) || m.take_any(&["v2", "v4"]).is_some() {
            return self.refuse("operation does not exist for this type");
        }
        let skip = usize::from(result);
        let sources = if op == AtomOp::Cas { 2 } else { 1 };
        self.count(o, skip + 1 + sources)?;
        let (a, offset, symbol) = self.address(&o[skip])?;
        let space = self.space_of(named, symbol)?;
        if !matches!(space, Space::Generic | Space::Global | Space::Shared) {
            return self.refuse("space has no atomics");
        }
        let class = super::class_of(ty);
        let d = if result { self.dst(&o[0], class)? } else { NO_SLOT };
        let b = self.src(&o[skip + 1], class)?;
        let c = if sources == 2 { self.src(&o[skip + 2], class)? } else { NO_SLOT };
        let i = self.emit(Op::Atom { space, op, ty });
        (i.d, i.a, i.b, i.c, i.imm) = (d, a, b, c, offset);
        Ok(true)
    }

    fn cp_async(&mut self, m: &mut Modifiers<'_>, o: &[Operand<'a>]) -> Decoded<bool> {
        if !m.take("async") {
            return self.refuse("instruction is not modelled");
        }
        if m.take("commit_group") {
            self.count(o, 0)?;
            self.emit(Op::CpAsyncCommit);
            return Ok(true);
        }
        if m.take("wait_all") {
            self.count(o, 0)?;
            self.emit(Op::CpAsyncWait).imm = -1;
            return Ok(true);
        }
        if m.take("wait_group") {
            let [Operand::Int(groups)] = *o else { return self.refuse("constant expected") };
            self.emit(Op::CpAsyncWait).imm = groups as i64;
            return Ok(true);
        }
        let level = m.take_any(&["ca", "cg"]);
        let spaces = (m.space(), m.space());
        while m.take_any(HINTS).is_some() {}
        if level.is_none() || spaces != (Some(Space::Shared), Some(Space::Global)) || o.len() < 3 {
            return self.refuse("form is not modelled");
        }
        let bytes = match o[2] {
            Operand::Int(n @ 16) => n,
            Operand::Int(n @ (4 | 8)) if level == Some("ca") => n,
            _ => return self.refuse("size must be 4, 8 or 16 (cg: 16)"),
        };
        let (a, to, a_space) = self.address(&o[0])?;
        let (b, from, b_space) = self.address(&o[1])?;
        if a_space.is_some_and(|s| s != Space::Shared)
            || b_space.is_some_and(|s| s != Space::Global)
        {
            return self.refuse("variable lies in another space");
        }
        // A third operand of class D would be a cache policy.
        let c = match o.get(3) {
            None => NO_SLOT,
            Some(size) => self.any_width(size, R)?,
        };
        let policy = c != NO_SLOT && c & crate::ptx::program::CLASS == D;
        let from = self.constant(Constant::Bits(from as u64), D);
        let list = self.add_list(vec![from]);
        let i = self.emit(Op::CpAsync(bytes as u32));
        (i.a, i.imm, i.b, i.list) = (a, to, b, list);
        i.c = if policy { NO_SLOT } else { c };
        Ok(true)
    }
}

fn atomic_exists(op: AtomOp, ty: Ty) -> bool {
    use AtomOp::{Add, And, Cas, Dec, Exch, Inc, Max, Min, Or, Xor};
    match op {
        Add => matches!(
            ty,
            Ty::U32
                | Ty::S32
                | Ty::U64
                | Ty::F32
                | Ty::F64
                | Ty::F16
                | Ty::F16x2
                | Ty::BF16
                | Ty::BF16x2
        ),
        Min | Max => matches!(ty, Ty::U32 | Ty::S32 | Ty::U64 | Ty::S64),
        And | Or | Xor => matches!(ty, Ty::B32 | Ty::B64),
        Exch => matches!(ty, Ty::B32 | Ty::B64 | Ty::U32 | Ty::U64 | Ty::S32 | Ty::F32),
        Cas => matches!(ty, Ty::B16 | Ty::B32 | Ty::B64 | Ty::U32 | Ty::U64 | Ty::S32),
        Inc | Dec => ty == Ty::U32,
    }
}
