//! `arc-simple`'s encoder against PyTorch's: logits, loss and gradients of a training pass,
//! evaluation.

use hrm::backend::Purpose;
use hrm::models::hrm_seed::Recompute;
use hrm::models::transformer::{Config, Transformer};
use hrm::models::{Carry, Compute, DeviceBatch, Model, Sizes, Workspace};
use hrm::nn::sinusoids;
use hrm::ops::act_halt::metric;
use hrm::ops::draw::Draw;
use hrm::tape::{Mode, Tape};
use hrm::tensor::Tensor;
use serde_json::Value;

use super::segments::{GRAD_TOLERANCE, TOLERANCE};
use crate::common::compare::widen;
use crate::common::devices::devices;
use crate::common::golden::{self, Golden};

fn config(json: &Value) -> (Config, Sizes) {
    let c = &json["config"];
    let int = |key: &str| c[key].as_u64().unwrap_or_else(|| panic!("config.{key}")) as usize;
    let config = Config {
        hidden_size: int("hidden_size"),
        num_heads: int("num_heads"),
        layers: int("layers"),
        expansion: 4.0,
        dropout: c["dropout"].as_f64().expect("config.dropout"),
    };
    let [batch_size, seq_len, vocab_size] = ["batch_size", "seq_len", "vocab_size"].map(int);
    (config, Sizes { batch_size, seq_len, vocab_size, num_puzzle_ids: 1 })
}

#[test]
fn golden_transformer_every_tensor() {
    let of_encoder = |name: &str, _: &Value| name.starts_with("transformer");
    for place in golden::find("of arc-simple's model (transformer)", of_encoder) {
        for (device_name, device) in devices() {
            println!("{} on {device_name}", place.name);
            let golden = place.open();
            for recompute in [Recompute::None, Recompute::Layer] {
                let (config, sizes) = config(&golden.json);
                let compute = Compute { recompute, ..Compute::default() };
                let model = Transformer::new(&device, config, sizes, compute).unwrap();
                load(&model, &golden);
                compare(&model, &golden);
            }
            golden.finish();
        }
    }
}

fn load(model: &Transformer, golden: &Golden) {
    let params = model.params();
    assert_eq!(golden.names("w/").len(), params.names().count(), "{}: parameters", golden.name);
    for name in params.names() {
        let (tensor, full) = (params.part(&params.master, name).unwrap(), format!("w/{name}"));
        assert_eq!(tensor.shape().dims(), golden.shape(&full), "{full}");
        tensor.upload(&golden.f32s(&full)).unwrap();
    }
    model.refresh().unwrap();
}

fn compare(model: &Transformer, golden: &Golden) {
    let (device, dims, params) = (model.device(), model.dims(), model.params());
    let positions = sinusoids::table(dims.seq_len, model.config.hidden_size);
    golden.check_f32("positions", &positions, TOLERANCE);
    let batch = DeviceBatch::new(device, dims.batch_size, dims.seq_len).unwrap();
    let ids = vec![0; dims.batch_size];
    batch.upload(&golden.i32s("inputs"), &golden.i32s("targets"), &ids).unwrap();
    let space = Workspace::new(model, dims.batch_size).unwrap();
    let carry = Carry::new(model).unwrap();
    let draw = Draw { seed: 0, number: 1 }.words();
    let draw = Tensor::from_slice(device, &draw, [draw.len()], Purpose::Workspace).unwrap();
    let out =
        model.train_segment(Tape::new(device), &carry, &batch, &space, &draw, Mode::Set).unwrap();
    golden.check_f32("logits", &out.logits.download().unwrap(), TOLERANCE);
    let sums = space.metrics.download::<f32>().unwrap();
    let loss = sums[metric::LM_LOSS] as f64 / dims.batch_size as f64;
    golden.check("loss", &[loss], TOLERANCE);
    for name in params.names() {
        let gradient = params.part(&params.grad, name).unwrap().download::<f32>().unwrap();
        golden.check(&format!("train/grad/{name}"), &widen(&gradient), GRAD_TOLERANCE);
    }
    let out = model.eval_segment(&carry, &batch, &space).unwrap();
    golden.check_f32("eval_logits", &out.logits.download().unwrap(), TOLERANCE);
}
