//! What models with states do, whichever they are.

use super::{ARCHITECTURES, Carry, Compute, Model, ModelConfig, ModelShape, Sizes, Starts};
use crate::backend::{Device, Purpose};
use crate::ops::draw::Draw;
use crate::ops::gauss_sample::reference::draw;
use crate::tensor::Tensor;

/// A small one of each kind that has states, for batches of three, on the CPU.
pub fn models_with_states() -> Vec<Box<dyn Model>> {
    let sizes = Sizes { batch_size: 3, seq_len: 5, vocab_size: 4, num_puzzle_ids: 2 };
    let small = ARCHITECTURES.iter().map(|arch| {
        let text = format!("arch = \"{}\"\nhidden_size = 8\nnum_heads = 2", arch.word());
        let config: ModelConfig = toml::from_str(&text).unwrap();
        ModelShape::new(config, sizes).build(&Device::cpu(), Compute::default()).unwrap()
    });
    let models: Vec<_> = small.filter(|model| !model.states().is_empty()).collect();
    assert!(models.len() >= 2);
    models
}

#[test]
fn rows_that_start_are_disturbed_by_their_own_draws_and_others_are_not() {
    for model in models_with_states() {
        let mut carry = Carry::new(&*model).unwrap();
        let of = |slot: u64, state: u64| Draw { seed: 9, number: 2 * slot + state };
        let words = |state| {
            let words: Vec<i32> = (0..3).flat_map(|slot| of(slot, state).words()).collect();
            Tensor::from_slice(model.device(), &words, [3, Draw::WORDS], Purpose::Carry)
        };
        carry.starts = Some(Starts::new(0.5, vec![words(0).unwrap(), words(1).unwrap()]).unwrap());
        for _ in 0..2 {
            carry.halted.upload(&[1_u8, 0, 1]).unwrap();
            for (_, state) in &carry.states {
                state.upload(&vec![2.0_f32; state.elems()]).unwrap();
            }
            carry.disturb_starts().unwrap();
            for (state, (name, z)) in carry.states.iter().enumerate() {
                let z = z.to_f32s().unwrap();
                for (slot, z) in z.chunks(z.len() / 3).enumerate() {
                    let normal = draw(z.len(), 0, of(slot as u64, state as u64));
                    let sigma = if slot == 1 { 0.0 } else { 0.5 };
                    let near = |(z, n): (&f32, f64)| (*z as f64 - 2.0 - sigma * n).abs() < 1e-5;
                    assert!(z.iter().zip(normal).all(near), "{name} of slot {slot}");
                }
            }
        }
    }
}
