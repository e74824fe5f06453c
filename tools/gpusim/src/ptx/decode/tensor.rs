//! Matrix instructions of a warp: ldmatrix, stmatrix, mma.

use super::{Decoded, Decoder, Modifiers};
use crate::ptx::program::{Mma, Op, R, Slot};
use crate::ptx::syntax::Operand;
use crate::ptx::types::{Space, Ty};

impl<'a> Decoder<'_, 'a> {
    pub(super) fn tensor(
        &mut self,
        base: &str,
        m: &mut Modifiers<'_>,
        o: &[Operand<'a>],
    ) -> Decoded<bool> {
        match base {
            "ldmatrix" | "stmatrix" => self.matrix_move(base == "ldmatrix", m, o),
            "mma" => self.mma(m, o),
            _ => Ok(false),
        }
    }

    fn registers_of(
        &mut self,
        operand: &Operand<'a>,
        count: usize,
        write: bool,
    ) -> Decoded<Vec<Slot>> {
        let single = std::slice::from_ref(operand);
        let parts = if let Operand::Vector(parts) = operand { parts.as_slice() } else { single };
        if parts.len() != count {
            return self.refuse(format!("fragment has {} registers, not {count}", parts.len()));
        }
        let slot = |p| if write { self.dst(p, R) } else { self.src(p, R) };
        parts.iter().map(slot).collect()
    }

    fn matrix_move(
        &mut self,
        load: bool,
        m: &mut Modifiers<'_>,
        o: &[Operand<'a>],
    ) -> Decoded<bool> {
        let fixed = m.take("sync") && m.take("aligned") && m.take("m8n8");
        let count = match m.take_any(&["x1", "x2", "x4"]) {
            Some("x1") => 1,
            Some("x2") => 2,
            Some(_) => 4,
            None => return self.refuse("count expected"),
        };
        let trans = m.take("trans");
        let shared = m.space().is_none_or(|s| s == Space::Shared);
        if !fixed || !shared || m.ty() != Some(Ty::B16) {
            return self.refuse("form is not modelled");
        }
        self.count(o, 2)?;
        let (registers, at) = if load { (&o[0], &o[1]) } else { (&o[1], &o[0]) };
        let list = self.registers_of(registers, count as usize, load)?;
        let (a, offset, _) = self.address(at)?;
        let list = self.add_list(list);
        let op = if load { Op::Ldmatrix { count, trans } } else { Op::Stmatrix { count, trans } };
        let i = self.emit(op);
        (i.a, i.imm, i.list) = (a, offset, list);
        Ok(true)
    }

    fn mma(&mut self, m: &mut Modifiers<'_>, o: &[Operand<'a>]) -> Decoded<bool> {
        let fixed = m.take("sync") && m.take("aligned");
        let shape = m.take_any(&["m16n8k16", "m16n8k8", "m16n8k4"]);
        let layout = m.take("row") && m.take("col");
        let types = (m.ty(), m.ty(), m.ty(), m.ty());
        let (Some(d), Some(a), Some(b), Some(c)) = types else {
            return self.refuse("four types expected");
        };
        let f16_acc = d == Ty::F16;
        let half = matches!(a, Ty::F16 | Ty::BF16) && (!f16_acc || a == Ty::F16);
        let bf16 = a == Ty::BF16;
        // Registers of d and c, of a, of b.
        let accumulator = if f16_acc { 2 } else { 4 };
        let (kind, a_regs, b_regs) = match shape {
            Some("m16n8k16") if half => (Mma::M16N8K16 { bf16, f16_acc }, 4, 2),
            Some("m16n8k8") if half => (Mma::M16N8K8 { bf16, f16_acc }, 2, 1),
            Some("m16n8k8") if a == Ty::TF32 => (Mma::M16N8K8Tf32, 4, 2),
            Some("m16n8k4") if a == Ty::TF32 => (Mma::M16N8K4Tf32, 2, 1),
            _ => return self.refuse("shape and types are not modelled"),
        };
        if !fixed || !layout || a != b || c != d || !(f16_acc || d == Ty::F32) {
            return self.refuse("layout or types are not modelled");
        }
        self.count(o, 4)?;
        let mut list = self.registers_of(&o[0], accumulator, true)?;
        list.extend(self.registers_of(&o[1], a_regs, false)?);
        list.extend(self.registers_of(&o[2], b_regs, false)?);
        list.extend(self.registers_of(&o[3], accumulator, false)?);
        let list = self.add_list(list);
        self.emit(Op::Mma(kind)).list = list;
        Ok(true)
    }
}
