use super::{Moments, Rule};
use crate::Result;
use crate::backend::{Kernel, kernel};
use crate::ops::launch::{On, width};
use crate::ops::traffic;
use crate::tensor::Tensor;

const ATAN2: Kernel = kernel!("adam", "adam_atan2_step", [Out, Out, Out, Out, In, In, In, U32]);
const ADAMW: Kernel = kernel!("adam", "adamw_step", [Out, Out, Out, Out, In, In, In, U32]);

pub fn step(
    rule: Rule,
    p: &Tensor,
    copy: Option<&Tensor>,
    g: &Tensor,
    Moments { m, v }: &Moments,
    guard: &Tensor,
    factors: &Tensor,
) -> Result<()> {
    let kernel = match rule {
        Rule::AdamAtan2 => &ATAN2,
        Rule::AdamW => &ADAMW,
    };
    let cost = traffic(7 * p.bytes() + copy.map_or(0, Tensor::bytes));
    let on = On { device: p.device(), kernel, cost };
    let n = p.elems();
    let args = [
        p.into(),
        copy.into(),
        m.into(),
        v.into(),
        g.into(),
        guard.into(),
        factors.into(),
        n.into(),
    ];
    on.pieces(n, width(p.dtype()), &args)
}
