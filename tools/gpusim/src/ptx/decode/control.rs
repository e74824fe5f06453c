//! Branches, calls, barriers, and exchange between the lanes of a warp.

use super::{Decoded, Decoder, Modifiers};
use crate::ptx::program::{AtomOp, BarrierKind, D, NO_SLOT, Op, P, R, ShuffleMode, Slot, VoteMode};
use crate::ptx::syntax::Operand;
use crate::ptx::types::{Space, Ty};

impl<'a> Decoder<'_, 'a> {
    pub(super) fn control(
        &mut self,
        base: &str,
        m: &mut Modifiers<'_>,
        o: &[Operand<'a>],
    ) -> Decoded<bool> {
        match base {
            "bra" => {
                m.take("uni");
                let [Operand::Name(label, 0)] = *o else { return self.refuse("label expected") };
                self.jumps.push((self.program.code.len(), label, self.line));
                self.emit(Op::Bra);
            }
            "brx" => self.brx(m, o)?,
            "call" => self.call(m, o)?,
            "ret" => {
                m.take("uni");
                let op = if self.in_kernel { Op::Exit } else { Op::Ret };
                self.emit(op);
            }
            "exit" => drop(self.emit(Op::Exit)),
            "trap" | "brkpt" => drop(self.emit(Op::Trap)),
            "bar" | "barrier" => self.barrier(base, m, o)?,
            "membar" => {
                let wide = m.take_any(&["gl", "sys"]).is_some() || !m.take("cta");
                self.emit(Op::Fence(wide));
            }
            "fence" => {
                m.take_any(&["acq_rel", "sc"]);
                let wide = m.take_any(&["gpu", "sys", "cluster"]).is_some() || !m.take("cta");
                self.emit(Op::Fence(wide));
            }
            "vote" => return self.vote(m, o),
            "match" => return self.matching(m, o),
            "shfl" => return self.shuffle(m, o),
            "redux" => return self.redux(m, o),
            "activemask" => {
                m.take("b32");
                return self.simple(Op::ActiveMask, o, &[R]);
            }
            "nanosleep" => {
                m.take("u32");
                self.emit(Op::Nop);
            }
            "griddepcontrol" => {
                m.take_any(&["wait", "launch_dependents"]);
                self.emit(Op::Nop);
            }
            "discard" | "applypriority" => {
                m.take_any(&["global"]);
                m.take_any(&["L2", "L2::evict_normal"]);
                self.emit(Op::Nop);
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn brx(&mut self, m: &mut Modifiers<'_>, o: &[Operand<'a>]) -> Decoded<()> {
        m.take("idx");
        m.take("uni");
        self.count(o, 2)?;
        let Operand::Name(table, 0) = o[1] else { return self.refuse("table expected") };
        let Some(targets) = self.branch_targets.get(table).cloned() else {
            return self.refuse("table of branch targets is not defined");
        };
        let a = self.src(&o[0], R)?;
        let list = self.add_list(vec![NO_SLOT; targets.len()]);
        for (i, label) in targets.into_iter().enumerate() {
            self.table_jumps.push((list, i, label));
        }
        let i = self.emit(Op::Brx);
        (i.a, i.list) = (a, list);
        Ok(())
    }

    /// `call (results), f, (arguments)`: copies arguments to the callee's places, calls, copies results.
    fn call(&mut self, m: &mut Modifiers<'_>, o: &[Operand<'a>]) -> Decoded<()> {
        m.take("uni");
        let mut rest = o;
        let mut results = &[][..];
        if let [Operand::List(list), tail @ ..] = rest {
            (results, rest) = (list, tail);
        }
        let [Operand::Name(name, 0), rest @ ..] = rest else {
            return self.refuse("only direct calls are modelled");
        };
        let arguments = match rest {
            [] => &[][..],
            [Operand::List(list)] => list,
            _ => return self.refuse("only direct calls are modelled"),
        };
        let arguments = self.places_of(arguments)?;
        let results = self.places_of(results)?;
        match *name {
            "__assertfail" | "vprintf" => {
                let op = if *name == "vprintf" { Op::Printf } else { Op::AssertFail };
                let list = arguments.iter().chain(&results).copied().collect();
                let list = self.add_list(list);
                self.emit(op).list = list;
                return Ok(());
            }
            _ => {}
        }
        let file = self.file;
        let Some(f) = file.functions.iter().find(|f| f.name == *name && f.body.is_some()) else {
            return self.refuse(format!("function {name} has no body"));
        };
        let entry = self.entry(f);
        if entry.params.len() != arguments.len() || entry.results.len() != results.len() {
            return self.refuse("call does not match the function");
        }
        for (from, &(to, bytes)) in arguments.into_iter().zip(&entry.params) {
            let list = self.add_list(vec![to, from, bytes]);
            self.emit(Op::LocalCopy).list = list;
        }
        self.calls.push((self.program.code.len(), f.name));
        self.call_graph.entry(self.current).or_default().push(f.name);
        self.emit(Op::Call);
        for (to, &(from, bytes)) in results.into_iter().zip(&entry.results) {
            let list = self.add_list(vec![to, from, bytes]);
            self.emit(Op::LocalCopy).list = list;
        }
        Ok(())
    }

    fn places_of(&self, list: &[Operand<'a>]) -> Decoded<Vec<u32>> {
        let place = |operand: &Operand<'a>| match operand {
            Operand::Name(name, 0) => match self.symbols.get(name) {
                Some(super::Symbol::Address(Space::Local, at)) => Ok(at as u32),
                _ => self.refuse(format!("argument {name} is not a .param variable")),
            },
            _ => self.refuse("argument is not a .param variable"),
        };
        list.iter().map(place).collect()
    }

    fn barrier(&mut self, base: &str, m: &mut Modifiers<'_>, o: &[Operand<'a>]) -> Decoded<()> {
        if base == "bar" && m.take("warp") {
            m.take("sync");
            self.count(o, 1)?;
            let a = self.src(&o[0], R)?;
            self.emit(Op::WarpSync).a = a;
            return Ok(());
        }
        let cta = m.take("cta");
        let aligned = m.take("aligned") || base == "bar";
        let mode = m.take_any(&["sync", "arrive", "red"]);
        let reduction = m.take_any(&["popc", "and", "or"]);
        let (kind, result) = match (mode, reduction) {
            (Some("sync"), None) => (BarrierKind::Sync, None),
            (Some("arrive"), None) => (BarrierKind::Arrive, None),
            (Some("red"), Some("popc")) => (BarrierKind::RedPopc, Some(R)),
            (Some("red"), Some("and")) => (BarrierKind::RedAnd, Some(P)),
            (Some("red"), Some("or")) => (BarrierKind::RedOr, Some(P)),
            _ => return self.refuse("form is not modelled"),
        };
        let _ = cta;
        let mut o = o;
        let (mut d, mut c, mut negated) = (NO_SLOT, NO_SLOT, false);
        if let Some(class) = result {
            if m.ty().is_none() || o.len() < 3 {
                return self.refuse("form is not modelled");
            }
            d = self.dst(&o[0], class)?;
            (c, negated) = self.predicate(&o[o.len() - 1])?;
            o = &o[1..o.len() - 1];
        }
        if o.is_empty() || o.len() > 2 || (kind == BarrierKind::Arrive && o.len() != 2) {
            return self.refuse("barrier and thread count expected");
        }
        let a = self.src(&o[0], R)?;
        let b = if o.len() == 2 { self.src(&o[1], R)? } else { NO_SLOT };
        let i = self.emit(Op::Barrier { kind, aligned });
        (i.d, i.a, i.b, i.c, i.imm) = (d, a, b, c, i64::from(negated));
        Ok(())
    }

    fn vote(&mut self, m: &mut Modifiers<'_>, o: &[Operand<'a>]) -> Decoded<bool> {
        if !m.take("sync") {
            return self.refuse("only .sync forms exist on this target");
        }
        let mode = m.find(|w| {
            Some(match w {
                "all" => VoteMode::All,
                "any" => VoteMode::Any,
                "uni" => VoteMode::Uni,
                "ballot" => VoteMode::Ballot,
                _ => return None,
            })
        });
        m.take_any(&["pred", "b32"]);
        let Some(mode) = mode else { return self.refuse("mode expected") };
        self.count(o, 3)?;
        let d = self.dst(&o[0], if mode == VoteMode::Ballot { R } else { P })?;
        let (a, negated) = self.predicate(&o[1])?;
        let c = self.src(&o[2], R)?;
        let i = self.emit(Op::Vote(mode));
        (i.d, i.a, i.c, i.imm) = (d, a, c, i64::from(negated));
        Ok(true)
    }

    /// Result, or result and predicate.
    fn pair(&mut self, operand: &Operand<'a>, class: Slot) -> Decoded<(Slot, Slot)> {
        match operand {
            Operand::Pair(d, q) => {
                Ok((self.dst(&Operand::Name(d, 0), class)?, self.dst(&Operand::Name(q, 0), P)?))
            }
            single => Ok((self.dst(single, class)?, NO_SLOT)),
        }
    }

    fn matching(&mut self, m: &mut Modifiers<'_>, o: &[Operand<'a>]) -> Decoded<bool> {
        let mode = m.take_any(&["any", "all"]);
        let (sync, ty) = (m.take("sync"), m.ty());
        let (Some(mode), true, Some(ty @ (Ty::B32 | Ty::B64))) = (mode, sync, ty) else {
            return self.refuse("form is not modelled");
        };
        self.count(o, 3)?;
        let wide = ty == Ty::B64;
        let (d, q) = self.pair(&o[0], R)?;
        let a = self.src(&o[1], if wide { D } else { R })?;
        let c = self.src(&o[2], R)?;
        let i = self.emit(Op::Match { all: mode == "all", wide });
        (i.d, i.q, i.a, i.c) = (d, q, a, c);
        Ok(true)
    }

    fn shuffle(&mut self, m: &mut Modifiers<'_>, o: &[Operand<'a>]) -> Decoded<bool> {
        let mode = m.find(|w| {
            Some(match w {
                "up" => ShuffleMode::Up,
                "down" => ShuffleMode::Down,
                "bfly" => ShuffleMode::Bfly,
                "idx" => ShuffleMode::Idx,
                _ => return None,
            })
        });
        let (sync, ty) = (m.take("sync"), m.ty());
        let (Some(mode), true, Some(Ty::B32)) = (mode, sync, ty) else {
            return self.refuse("form is not modelled");
        };
        self.count(o, 5)?;
        let (d, q) = self.pair(&o[0], R)?;
        let (a, b) = (self.src(&o[1], R)?, self.src(&o[2], R)?);
        let (clamp, mask) = (self.src(&o[3], R)?, self.src(&o[4], R)?);
        let list = self.add_list(vec![clamp]);
        let i = self.emit(Op::Shuffle(mode));
        (i.d, i.q, i.a, i.b, i.c, i.list) = (d, q, a, b, mask, list);
        Ok(true)
    }

    fn redux(&mut self, m: &mut Modifiers<'_>, o: &[Operand<'a>]) -> Decoded<bool> {
        let sync = m.take("sync");
        let op = m.find(|w| {
            Some(match w {
                "add" => AtomOp::Add,
                "min" => AtomOp::Min,
                "max" => AtomOp::Max,
                "and" => AtomOp::And,
                "or" => AtomOp::Or,
                "xor" => AtomOp::Xor,
                _ => return None,
            })
        });
        let (Some(op), true, Some(ty @ (Ty::U32 | Ty::S32 | Ty::B32))) = (op, sync, m.ty()) else {
            return self.refuse("form is not modelled");
        };
        self.count(o, 3)?;
        let d = self.dst(&o[0], R)?;
        let (a, c) = (self.src(&o[1], R)?, self.src(&o[2], R)?);
        let i = self.emit(Op::Redux(op, ty));
        (i.d, i.a, i.c) = (d, a, c);
        Ok(true)
    }
}
