use super::{Moments, Rule};
use crate::Result;
use crate::backend::{Cost, Kernel, kernel};
use crate::ops::launch::{On, width};
use crate::tensor::Tensor;

const ATAN2: Kernel = kernel!("adam", "adam_atan2_step", [Out, Out, Out, Out, In, In, In, U32]);
const ADAMW: Kernel = kernel!("adam", "adamw_step", [Out, Out, Out, Out, In, In, In, U32]);

pub fn step(
    cost: Cost,
    rule: Rule,
    p: &Tensor,
    copy: Option<&Tensor>,
    g: &Tensor,
    Moments { m, v }: &Moments,
    [guard, factors]: [&Tensor; 2],
) -> Result<()> {
    let kernel = match rule {
        Rule::AdamAtan2 => &ATAN2,
        Rule::AdamW => &ADAMW,
    };
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
