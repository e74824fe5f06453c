//! An op of your own on the tape, y = x^2, and its gradient:
//! `cargo run --example 04-an-op-of-your-own`.

use hrm::backend::{Device, Mode, Purpose};
use hrm::dtype::DType;
use hrm::tape::{Grads, Rule, Tape, Var, VarId};
use hrm::tensor::Tensor;

/// y = x^2, any shape, f32, on the CPU. Saved: x.
fn square(tape: &mut Tape, x: &Var) -> hrm::Result<Var> {
    let y = tape.alloc(DType::F32, *x.tensor.shape())?;
    let squares: Vec<f32> = x.tensor.read::<f32>()?.iter().map(|x| x * x).collect();
    y.upload(&squares)?;
    let (saved, input) = (x.tensor.clone(), x.id);
    tape.output("square", y, &[x], |output| Box::new(Backward { output, input, x: saved }))
}

struct Backward {
    output: VarId,
    input: Option<VarId>,
    x: Tensor,
}

impl Rule for Backward {
    /// dx = 2 x dy, set or added as the gradient's slot says.
    fn backward(&self, grads: &mut Grads) -> hrm::Result<()> {
        let Some(dy) = grads.take(self.output)? else { return Ok(()) };
        let Some((dx, mode)) = grads.slot(self.input, DType::F32, self.x.shape())? else {
            return Ok(());
        };
        let (dy, x, mut dx) = (dy.read::<f32>()?, self.x.read::<f32>()?, dx.write::<f32>()?);
        for i in 0..x.len() {
            let before = if mode == Mode::Add { dx[i] } else { 0.0 };
            dx[i] = before + 2.0 * x[i] * dy[i];
        }
        Ok(())
    }
}

fn main() -> hrm::Result<()> {
    let device = Device::cpu();
    let of = |values: &[f32]| Tensor::from_slice(&device, values, [3], Purpose::Activations);
    let mut tape = Tape::new(&device);
    let x = tape.leaf(of(&[1.0, -2.0, 3.0])?);
    let y = square(&mut tape, &x)?;
    println!("y  = {:?}", y.tensor.to_f32s()?);
    let grads = tape.backward(&[(&y, of(&[1.0, 1.0, 1.0])?)])?;
    if let Some(dx) = grads.get(x.id) {
        println!("dx = {:?}", dx.to_f32s()?);
    }
    Ok(())
}
