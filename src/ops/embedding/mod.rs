//! Input embeddings: puzzle prefix, tokens, optional learned positions, scale.
//!
//! ```text
//!   e[b,t]  = puzzle[b], zero-padded to P C, cut into P tokens  for t < P
//!             table[tokens[b,t-P]]                              for t >= P
//!   y[b,t]  = scale * e[b,t]                                    without positions
//!             scale * 0.7071 * (e[b,t] + pos[place of t])       with learned positions
//!             e[b,t] + pos[place of t]                          by [`with_positions`]
//! ```
//!
//! Rows b and their prefix P lie in a [`Layout`], which also has the place of each position. tokens
//! i32, one to a cell, table (V, C), puzzle (B, D) f32 with D <= P C, pos (places, C), y (N, C) in
//! the table's dtype; puzzle is rounded to that dtype first. P is 0 without puzzle. Gradients
//! of table, puzzle and pos are f32 sums in a fixed order. A token outside the table, or a place
//! outside pos, is an error; on CUDA, where nobody waits to hear of it, it makes its position NaN
//! and the guard refuses the step.
//! Reference: `_input_embeddings` of the official HRM.

mod cpu;
mod cuda;
pub mod reference;

use super::layout::Layout;
use super::{by_float, dispatch, refuse, traffic, written};
use crate::Result;
use crate::dtype::DType;
use crate::tape::{Grads, Rule, Tape, Var, VarId};
use crate::tensor::Tensor;

/// 1 / sqrt(2) as the official implementation writes it.
pub const POSITION_SCALE: f32 = 0.707_106_77;

/// Sizes and arrangement of one call; the letters of the contract.
#[derive(Clone)]
struct Call {
    layout: Layout,
    c: usize,
    v: usize,
    d: usize,
    /// Rows of pos; 0: none.
    places: usize,
    scale: f32,
}

/// `puzzle` (B, D) f32 fills the prefix of `layout`.
pub fn forward(
    tape: &mut Tape,
    tokens: &Tensor,
    table: &Var,
    puzzle: Option<&Var>,
    pos: Option<&Var>,
    scale: f32,
    layout: &Layout,
) -> Result<Var> {
    let factor = if pos.is_some() { scale * POSITION_SCALE } else { scale };
    embed(tape, tokens, table, puzzle, pos, factor, layout)
}

/// The plain sum of a token's embedding and its position's: no prefix, no scale.
pub fn with_positions(
    tape: &mut Tape,
    tokens: &Tensor,
    table: &Var,
    pos: &Var,
    layout: &Layout,
) -> Result<Var> {
    embed(tape, tokens, table, None, Some(pos), 1.0, layout)
}

/// y = scale * (e + pos).
fn embed(
    tape: &mut Tape,
    tokens: &Tensor,
    table: &Var,
    puzzle: Option<&Var>,
    pos: Option<&Var>,
    scale: f32,
    layout: &Layout,
) -> Result<Var> {
    let [v, c] = table.tensor.dims("embedding table (V, C)")?;
    layout.expect_cells("embedding tokens (B, S)", tokens)?;
    let (b, p) = (layout.rows(), layout.prefix());
    let d = match puzzle {
        Some(puzzle) => {
            puzzle.tensor.expect_dtype("embedding puzzle", DType::F32)?;
            let [_, d] = puzzle.tensor.dims("embedding puzzle (B, D)")?;
            puzzle.tensor.expect_dims("embedding puzzle (B, D)", &[b, d])?;
            d
        }
        None => 0,
    };
    if d > p * c || (d == 0 && p > 0) {
        let room = format!("puzzle rows of {d} do not fill {p} prefix tokens of {c}");
        return Err(refuse("embedding", room));
    }
    let places = match pos {
        Some(pos) => {
            let [places, _] = pos.tensor.dims("embedding pos (T, C)")?;
            // A batch of whole canvases has all places.
            let places = layout.uniform().map_or(places, |t| t.max(places));
            pos.tensor.expect_dims("embedding pos (T, C)", &[places, c])?;
            pos.tensor.expect_dtype("embedding pos", table.tensor.dtype())?;
            places
        }
        None => 0,
    };
    let call = Call { layout: layout.clone(), c, v, d, places, scale };
    let y = tape.alloc(table.tensor.dtype(), layout.shape(c))?;
    let x = cuda::Inputs {
        tokens,
        table: &table.tensor,
        puzzle: puzzle.map(|v| &v.tensor),
        pos: pos.map(|v| &v.tensor),
    };
    let read = [Some(x.tokens), Some(x.table), x.puzzle, x.pos].into_iter().flatten();
    dispatch(
        tape.device(),
        traffic(read.map(Tensor::bytes).sum::<usize>() + y.bytes()),
        || {
            by_float!(y.dtype(), "embedding", E => {
                let tokens = tokens.read::<i32>()?;
                if let Some(bad) = tokens.iter().find(|&&t| t < 0 || t as usize >= v) {
                    return Err(refuse("embedding", format!("token {bad} is outside the vocabulary of {v}")));
                }
                let puzzle = puzzle.map(|p| p.tensor.read::<f32>()).transpose()?;
                let pos = pos.map(|p| p.tensor.read::<E>()).transpose()?;
                cpu::forward::<E>(
                    &call,
                    &tokens,
                    &table.tensor.read()?,
                    puzzle.as_deref().unwrap_or(&[]),
                    pos.as_deref(),
                    &mut y.write()?,
                )
            })
        },
        |cost| cuda::forward(cost, &call, x, &y),
    )?;
    let mut inputs = vec![table];
    inputs.extend(puzzle);
    inputs.extend(pos);
    tape.output("embedding", y, &inputs, |y| {
        Box::new(Backward {
            y,
            call,
            tokens: tokens.clone(),
            table: table.id,
            puzzle: puzzle.and_then(|v| v.id),
            pos: pos.and_then(|v| v.id),
        })
    })
}

struct Backward {
    y: VarId,
    call: Call,
    tokens: Tensor, // one to a cell
    table: Option<VarId>,
    puzzle: Option<VarId>,
    pos: Option<VarId>,
}

impl Rule for Backward {
    fn backward(&self, grads: &mut Grads) -> Result<()> {
        let Some(dy) = grads.take(self.y)? else { return Ok(()) };
        let call = &self.call;
        let &Call { c, v, d, places, .. } = call;
        let b = call.layout.rows();
        let dtable = grads.slot(self.table, DType::F32, &[v, c].into())?;
        let dpuzzle = grads.slot(self.puzzle, DType::F32, &[b, d].into())?;
        let dpos = grads.slot(self.pos, DType::F32, &[places, c].into())?;
        let device = dy.device();
        if let Some((to, mode)) = dtable {
            let of_tokens = self.tokens.elems() * c * dy.dtype().size_bytes();
            dispatch(
                device,
                traffic(self.tokens.bytes() + of_tokens + written(&to, mode)),
                || {
                    by_float!(dy.dtype(), "embedding", E => {
                        let (tokens, dy) = (self.tokens.read()?, dy.read()?);
                        cpu::backward_table::<E>(call, &tokens, &dy, &mut to.write()?, mode);
                        Ok(())
                    })
                },
                |cost| cuda::backward_table(cost, call, &self.tokens, &dy, &to, mode),
            )?;
        }
        if let Some((to, mode)) = dpuzzle {
            dispatch(
                device,
                traffic(to.elems() * dy.dtype().size_bytes() + written(&to, mode)),
                || {
                    by_float!(dy.dtype(), "embedding", E => {
                        cpu::backward_puzzle::<E>(call, &dy.read()?, &mut to.write()?, mode);
                        Ok(())
                    })
                },
                |cost| cuda::backward_puzzle(cost, call, &dy, &to, mode),
            )?;
        }
        if let Some((to, mode)) = dpos {
            dispatch(
                device,
                traffic(dy.bytes() + written(&to, mode)),
                || {
                    by_float!(dy.dtype(), "embedding", E => {
                        cpu::backward_pos::<E>(call, &dy.read()?, &mut to.write()?, mode)
                    })
                },
                |cost| cuda::backward_pos(cost, call, &dy, &to, mode),
            )?;
        }
        Ok(())
    }
}
