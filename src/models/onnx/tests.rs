//! What an ONNX file asks of the weights that go into it.

use crate::formats::{HostTensor, StateDict};
use crate::models::{ModelShape, Sizes, transformer};

/// What a graph computes is checked with ONNX Runtime by `tools/interop/onnx_export.py`.
#[test]
fn a_graph_needs_every_weight_of_its_model_in_f32() {
    let sizes = Sizes { batch_size: 2, seq_len: 4, vocab_size: 6, num_puzzle_ids: 1 };
    let config = transformer::Config {
        hidden_size: 8,
        num_heads: 2,
        layers: 1,
        expansion: 2.0,
        dropout: 0.0,
    };
    let specs = transformer::names::specs(&config, sizes.vocab_size).into_iter();
    let tensors = specs
        .map(|spec| (spec.name, HostTensor::from_f32s(spec.shape, &vec![0.5; spec.shape.elems()])));
    let shape = ModelShape::new(config, sizes);
    let weights = StateDict { tensors: tensors.collect(), counters: None, meta: None };
    let file = super::encode(&shape, weights.clone(), vec![], false, None).unwrap();
    assert_eq!(file, super::encode(&shape, weights.clone(), vec![], false, None).unwrap());
    for i in 0..weights.tensors.len() {
        let (mut without, mut rounded) = (weights.clone(), weights.clone());
        let (name, t) = without.tensors.remove(i);
        let refused = super::encode(&shape, without, vec![], false, None).unwrap_err().to_string();
        assert!(refused.contains(&name) && refused.contains("missing"), "{refused}");
        rounded.tensors[i].1 = t.rounded();
        let refused = super::encode(&shape, rounded, vec![], false, None).unwrap_err().to_string();
        assert!(refused.contains(&name) && refused.contains("not f32"), "{refused}");
    }
}
