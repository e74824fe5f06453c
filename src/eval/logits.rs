//! `hrm eval --save-logits`: what a model's answers are taken from, for other programs to compare.
//! The names are those under which the official evaluation saves its outputs.

use std::path::Path;

use crate::Result;
use crate::data::{DataSet, RowLayout};
use crate::dtype::DType;
use crate::eval::{Evaluator, row_of};
use crate::formats::{Format, HostTensor, StateDict};
use crate::io::file;
use crate::io::say::say;
use crate::models::Model;
use crate::shape::Shape;

/// Writes examples (N, numbers in the split), inputs and labels (N, S), puzzle_identifiers (N),
/// logits (N, S, V), q_halt_logits and q_continue_logits (N) of the examples, which are run through
/// all ACT steps.
pub fn save(
    model: &dyn Model,
    evaluator: &Evaluator,
    data: &DataSet,
    split: &str,
    examples: &[u32],
    layout: RowLayout,
    file: &Path,
) -> Result<()> {
    let (s, v) = (model.dims().seq_len, model.dims().vocab_size);
    let row = |example: &u32| row_of(model, data, split, *example, layout);
    let (mut inputs, mut labels, mut ids) = (vec![], vec![], vec![]);
    for example in examples {
        let row = row(example)?;
        inputs.extend(row.inputs);
        labels.extend(row.labels);
        ids.push(row.puzzle_id);
    }
    let (mut logits, mut q_halt, mut q_continue) = (vec![], vec![], vec![]);
    evaluator.logits(model, examples.iter().map(row), |_, cells, [halt, go_on]| {
        logits.extend_from_slice(cells);
        q_halt.push(halt);
        q_continue.push(go_on);
        Ok(())
    })?;
    let n = examples.len();
    let ints = |shape: &[usize], values: &[i32]| {
        let bytes = values.iter().flat_map(|x| x.to_le_bytes()).collect();
        HostTensor { dtype: DType::I32, shape: Shape::new(shape), bytes }
    };
    let numbers: Vec<i32> = examples.iter().map(|&i| i as i32).collect();
    let tensors = vec![
        ("examples".into(), ints(&[n], &numbers)),
        ("inputs".into(), ints(&[n, s], &inputs)),
        ("labels".into(), ints(&[n, s], &labels)),
        ("puzzle_identifiers".into(), ints(&[n], &ids)),
        ("logits".into(), HostTensor::from_f32s([n, s, v], &logits)),
        ("q_halt_logits".into(), HostTensor::from_f32s([n], &q_halt)),
        ("q_continue_logits".into(), HostTensor::from_f32s([n], &q_continue)),
    ];
    let outputs = StateDict { tensors, counters: None, meta: None };
    file::write(file, &Format::Safetensors.encode(&outputs)?)?;
    say!("logits of {n} examples: {}", file.display());
    Ok(())
}
