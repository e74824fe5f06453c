//! Input embeddings: puzzle prefix, tokens, optional learned positions, scale.
//!
//! ```text
//!   e[b,t]  = puzzle[b], zero-padded to P C, cut into P tokens  for t < P
//!             table[tokens[b,t-P]]                              for t >= P
//!   y[b,t]  = scale * e[b,t]                                    without positions
//!             scale * 0.7071 * (e[b,t] + pos[t])                with learned positions
//!             e[b,t] + pos[t]                                   by [`with_positions`]
//! ```
//!
//! tokens (B, S) i32, table (V, C), puzzle (B, D) f32 with D <= P C, pos (P + S, C), y (B, P + S,
//! C) in the table's dtype; puzzle is rounded to that dtype first. P is 0 without puzzle. Gradients
//! of table, puzzle and pos are f32 sums in a fixed order. A token outside the table is an error;
//! on CUDA, where nobody waits to hear of it, it makes its row NaN and the guard refuses the step.
//! Reference: `_input_embeddings` of the official HRM.

mod cpu;
mod cuda;
pub mod reference;

use super::{by_float, dispatch, refuse, traffic, written};
use crate::Result;
use crate::dtype::DType;
use crate::tape::{Grads, Rule, Tape, Var, VarId};
use crate::tensor::Tensor;

/// 1 / sqrt(2) as the official implementation writes it.
pub const POSITION_SCALE: f32 = 0.707_106_77;

/// Sizes of one call; the letters of the contract.
#[derive(Clone, Copy, Debug)]
pub struct Dims {
    pub b: usize,
    pub s: usize,
    pub p: usize,
    pub c: usize,
    pub v: usize,
    pub d: usize,
}

/// What comes before the tokens.
#[derive(Clone, Copy)]
pub struct Prefix<'a> {
    pub puzzle: &'a Var, // (B, D) f32
    /// P
    pub tokens: usize,
}

pub fn forward(
    tape: &mut Tape,
    tokens: &Tensor,
    table: &Var,
    prefix: Option<Prefix>,
    pos: Option<&Var>,
    scale: f32,
) -> Result<Var> {
    let factor = if pos.is_some() { scale * POSITION_SCALE } else { scale };
    embed(tape, tokens, table, prefix, pos, factor)
}

/// The plain sum of a token's embedding and its position's: no prefix, no scale.
pub fn with_positions(tape: &mut Tape, tokens: &Tensor, table: &Var, pos: &Var) -> Result<Var> {
    embed(tape, tokens, table, None, Some(pos), 1.0)
}

/// y = scale * (e + pos).
fn embed(
    tape: &mut Tape,
    tokens: &Tensor,
    table: &Var,
    prefix: Option<Prefix>,
    pos: Option<&Var>,
    scale: f32,
) -> Result<Var> {
    let [b, s] = tokens.dims("embedding tokens (B, S)")?;
    let [v, c] = table.tensor.dims("embedding table (V, C)")?;
    tokens.expect_dtype("embedding tokens", DType::I32)?;
    let (p, d) = match prefix {
        Some(Prefix { puzzle, tokens: p }) => {
            puzzle.tensor.expect_dtype("embedding puzzle", DType::F32)?;
            let [_, d] = puzzle.tensor.dims("embedding puzzle (B, D)")?;
            puzzle.tensor.expect_dims("embedding puzzle (B, D)", &[b, d])?;
            if d > p * c {
                let room = format!("puzzle rows of {d} do not fit {p} prefix tokens of {c}");
                return Err(refuse("embedding", room));
            }
            (p, d)
        }
        None => (0, 0),
    };
    let puzzle = prefix.map(|p| p.puzzle);
    let dims = Dims { b, s, p, c, v, d };
    if let Some(pos) = pos {
        pos.tensor.expect_dims("embedding pos (T, C)", &[p + s, c])?;
        pos.tensor.expect_dtype("embedding pos", table.tensor.dtype())?;
    }
    let y = tape.alloc(table.tensor.dtype(), [b, p + s, c])?;
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
                    dims,
                    &tokens,
                    &table.tensor.read()?,
                    puzzle.as_deref().unwrap_or(&[]),
                    pos.as_deref(),
                    scale,
                    &mut y.write()?,
                );
                Ok(())
            })
        },
        |cost| cuda::forward(cost, dims, x, scale, &y),
    )?;
    let mut inputs = vec![table];
    inputs.extend(puzzle);
    inputs.extend(pos);
    tape.output("embedding", y, &inputs, |y| {
        Box::new(Backward {
            y,
            dims,
            scale,
            tokens: tokens.clone(),
            table: table.id,
            puzzle: puzzle.and_then(|v| v.id),
            pos: pos.and_then(|v| v.id),
        })
    })
}

struct Backward {
    y: VarId,
    dims: Dims,
    scale: f32,
    tokens: Tensor, // (B, S)
    table: Option<VarId>,
    puzzle: Option<VarId>,
    pos: Option<VarId>,
}

impl Rule for Backward {
    fn backward(&self, grads: &mut Grads) -> Result<()> {
        let Some(dy) = grads.take(self.y)? else { return Ok(()) };
        let Dims { b, s, p, c, v, d } = self.dims;
        let dtable = grads.slot(self.table, DType::F32, &[v, c].into())?;
        let dpuzzle = grads.slot(self.puzzle, DType::F32, &[b, d].into())?;
        let dpos = grads.slot(self.pos, DType::F32, &[p + s, c].into())?;
        let (device, dims, scale) = (dy.device(), self.dims, self.scale);
        if let Some((to, mode)) = dtable {
            let of_tokens = b * s * c * dy.dtype().size_bytes();
            dispatch(
                device,
                traffic(self.tokens.bytes() + of_tokens + written(&to, mode)),
                || {
                    by_float!(dy.dtype(), "embedding", E => {
                        let (tokens, dy) = (self.tokens.read()?, dy.read()?);
                        cpu::backward_table::<E>(dims, &tokens, &dy, scale, &mut to.write()?, mode);
                        Ok(())
                    })
                },
                |cost| cuda::backward_table(cost, dims, &self.tokens, &dy, scale, &to, mode),
            )?;
        }
        if let Some((to, mode)) = dpuzzle {
            dispatch(
                device,
                traffic(to.elems() * dy.dtype().size_bytes() + written(&to, mode)),
                || {
                    by_float!(dy.dtype(), "embedding", E => {
                        cpu::backward_puzzle::<E>(dims, &dy.read()?, scale, &mut to.write()?, mode);
                        Ok(())
                    })
                },
                |cost| cuda::backward_puzzle(cost, dims, &dy, scale, &to, mode),
            )?;
        }
        if let Some((to, mode)) = dpos {
            dispatch(
                device,
                traffic(dy.bytes() + written(&to, mode)),
                || {
                    by_float!(dy.dtype(), "embedding", E => {
                        cpu::backward_pos::<E>(dims, &dy.read()?, scale, &mut to.write()?, mode);
                        Ok(())
                    })
                },
                |cost| cuda::backward_pos(cost, dims, &dy, scale, &to, mode),
            )?;
        }
        Ok(())
    }
}
