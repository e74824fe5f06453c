use macro_rules_attribute::apply;
use rayon::prelude::*;

use super::Call;
use crate::Result;
use crate::backend::Mode;
use crate::backend::cpu::simd;
use crate::dtype::Float;
use crate::ops::refuse;

impl Call {
    /// The table's row of each row of the batch.
    fn picked(&self) -> Result<Vec<usize>> {
        let pick = |&id: &i32| {
            let id = usize::try_from(id);
            let id = id.map_err(|_| refuse("row_embedding", "an id is negative".into()))?;
            Ok(id / self.stride % self.rows)
        };
        self.ids.read::<i32>()?.iter().map(pick).collect()
    }
}

pub fn forward<E: Float>(call: &Call, x: &[E], table: &[E], y: &mut [E]) -> Result<()> {
    let (c, positions) = (call.c, call.layout.positions());
    let slots = positions.pieces_mut(y, c).into_par_iter().zip(positions.pieces(x, c));
    slots.zip(call.picked()?).for_each(|((y, x), k)| sum(x, &table[k * c..][..c], y));
    Ok(())
}

#[apply(simd)]
fn sum<E: Float>(x: &[E], e: &[E], y: &mut [E]) {
    for (y, x) in y.chunks_exact_mut(e.len()).zip(x.chunks_exact(e.len())) {
        for ((y, x), e) in y.iter_mut().zip(x).zip(e) {
            *y = E::from_f32(x.to_f32() + e.to_f32());
        }
    }
}

/// Sums go over the positions of a row, then over the rows, in order.
pub fn backward_table<E: Float>(
    call: &Call,
    dy: &[E],
    dtable: &mut [f32],
    mode: Mode,
) -> Result<()> {
    let (c, layout) = (call.c, &call.layout);
    let lengths = layout.lengths.read::<i32>()?;
    let slots = layout.positions().pieces(dy, c);
    let sums: Vec<Vec<f32>> = slots
        .into_par_iter()
        .zip(lengths.par_iter())
        .map(|(dy, &length)| column_sums(dy, c, length.max(0) as usize))
        .collect();
    if mode == Mode::Set {
        dtable.fill(0.0);
    }
    for (k, own) in call.picked()?.into_iter().zip(sums) {
        dtable[k * c..][..c].iter_mut().zip(own).for_each(|(g, own)| *g += own);
    }
    Ok(())
}

#[apply(simd)]
fn column_sums<E: Float>(dy: &[E], c: usize, length: usize) -> Vec<f32> {
    let mut sums = vec![0.0; c];
    for dy in dy.chunks_exact(c).take(length) {
        sums.iter_mut().zip(dy).for_each(|(sum, dy)| *sum += dy.to_f32());
    }
    sums
}
