//! What the counters call an instruction.

use crate::ptx::program::{FloatOp, Instr, Op};
use crate::ptx::types::{Space, Ty};

/// The class, and floating-point operations of one lane.
pub fn of(i: &Instr) -> (&'static str, u64) {
    match i.op {
        Op::Float(op, ty, _) => {
            let each = if op == FloatOp::Fma { 2 } else { 1 };
            let packed = matches!(ty, Ty::F16x2 | Ty::BF16x2);
            let none = matches!(op, FloatOp::Neg | FloatOp::Abs | FloatOp::Copysign);
            let flops = if none { 0 } else { each * if packed { 2 } else { 1 } };
            let class = match ty {
                Ty::F32 => "float",
                Ty::F64 => "double",
                _ => "half",
            };
            (class, flops)
        }
        Op::Approx(..) => ("special", 1),
        Op::Convert(_) | Op::ConvertPair(_) => ("convert", 0),
        Op::Mov32 | Op::Mov64 | Op::MovPred | Op::Pack(_) | Op::Unpack(_) => ("move", 0),
        Op::Load { space, .. } => (
            match space {
                Space::Global | Space::Generic => "ld_global",
                Space::Shared => "ld_shared",
                Space::Local => "ld_local",
                Space::Param | Space::Const => "ld_const",
            },
            0,
        ),
        Op::Store { space, .. } => (
            match space {
                Space::Shared => "st_shared",
                Space::Local => "st_local",
                _ => "st_global",
            },
            0,
        ),
        Op::Atom { space, .. } => {
            (if space == Space::Shared { "atom_shared" } else { "atom_global" }, 0)
        }
        Op::CpAsync(_) | Op::CpAsyncCommit | Op::CpAsyncWait => ("cp_async", 0),
        Op::Ldmatrix { .. } | Op::Stmatrix { .. } => ("matrix_move", 0),
        Op::Mma(_) => ("mma", 0),
        Op::Barrier { .. } | Op::WarpSync | Op::Fence(_) => ("barrier", 0),
        Op::Vote(_) | Op::Match { .. } | Op::Shuffle(_) | Op::Redux(..) => ("exchange", 0),
        Op::Bra | Op::Brx | Op::Call | Op::Ret | Op::Exit => ("control", 0),
        Op::Setp(_) | Op::Set(..) | Op::Selp(_) | Op::Slct { .. } | Op::Testp(..) => ("compare", 0),
        Op::PredLogic(_) | Op::PredNot => ("compare", 0),
        Op::LocalCopy | Op::Nop | Op::Trap | Op::AssertFail | Op::Printf => ("other", 0),
        Op::Special(_) | Op::ActiveMask => ("other", 0),
        _ => ("int", 0),
    }
}
