//! Safetensors, by the crate of its authors. Our metadata stands in `__metadata__`.

use std::collections::HashMap;

use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};

use super::convert::{self, Foreign};
use super::{HostTensor, META_KEY, StateDict};
use crate::dtype::DType;

pub fn encode(tensors: &[(String, HostTensor)], meta: Option<&str>) -> Result<Vec<u8>, String> {
    let views = tensors.iter().map(|(name, t)| {
        let dtype = match t.dtype {
            DType::F32 => Dtype::F32,
            DType::Bf16 => Dtype::BF16,
            DType::I32 => Dtype::I32,
            DType::U8 => Dtype::U8,
        };
        let view = TensorView::new(dtype, t.shape.dims().to_vec(), &t.bytes);
        view.map(|view| (name.clone(), view)).map_err(|e| format!("tensor {name}: {e}"))
    });
    let views = views.collect::<Result<Vec<_>, _>>()?;
    // One entry only: of several, the order would differ from file to file.
    let about = match meta {
        Some(meta) => (META_KEY, meta),
        None => ("format", "pt"),
    };
    let about = HashMap::from([(about.0.to_owned(), about.1.to_owned())]);
    safetensors::serialize(views, Some(about)).map_err(|e| e.to_string())
}

pub fn decode(bytes: &[u8]) -> Result<StateDict, String> {
    let broken = |e| format!("neither a .pt file of torch.save nor safetensors ({e})");
    let (_, header) = SafeTensors::read_metadata(bytes).map_err(broken)?;
    let meta = header.metadata().as_ref().and_then(|about| about.get(META_KEY).cloned());
    let file = SafeTensors::deserialize(bytes).map_err(broken)?;
    let mut tensors = vec![];
    for name in header.offset_keys() {
        let view = file.tensor(&name).map_err(|e| format!("tensor {name}: {e}"))?;
        let from = match view.dtype() {
            Dtype::F16 => Foreign::F16,
            Dtype::BF16 => Foreign::Bf16,
            Dtype::F32 => Foreign::F32,
            Dtype::F64 => Foreign::F64,
            Dtype::BOOL => Foreign::Bool,
            Dtype::U8 => Foreign::U8,
            Dtype::I32 => Foreign::I32,
            Dtype::I64 => Foreign::I64,
            other => return Err(format!("tensor {name} is {other:?}, which no model here has")),
        };
        let tensor = convert::tensor(from, view.shape(), view.data().to_vec());
        tensors.push((name.clone(), tensor.map_err(|e| format!("tensor {name} {e}"))?));
    }
    Ok(StateDict { tensors, counters: None, meta })
}
