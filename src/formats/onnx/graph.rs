//! A whole model of ONNX: inputs, outputs, functions, weights by name.
//!
//! A function of ours is a model-local one: a reader that has no such operator takes its body, so
//! that passes over the same layers are one body and a call each.

use std::collections::HashMap;

use prost::Message;

use super::body::{Body, DOMAIN, Value};
use super::proto::*;
use crate::dtype::DType;
use crate::formats::HostTensor;

const OPSET: i64 = 21;
/// The first that has opset 21.
const IR_VERSION: i64 = 10;
/// Protobuf's own limit.
const MAX_FILE_BYTES: usize = i32::MAX as usize;
/// Smaller tensors stay in the graph, where a runtime folds constants.
const MIN_EXTERNAL_BYTES: usize = 1024;
/// Alignment of a tensor in the file of weights, so that it can be mapped into memory.
const ALIGN_BYTES: usize = 4096;

/// A file, and what must lie beside it.
#[derive(Clone, Debug, PartialEq)]
pub struct Encoded {
    pub model: Vec<u8>,
    pub data: Option<Vec<u8>>,
}

/// A dimension of an input or output.
#[derive(Clone, Copy)]
pub enum Dim {
    Batch,
    Of(usize),
}

pub fn value_info(name: &str, elem_type: i32, dims: &[Dim], doc: &str) -> ValueInfoProto {
    let dim = |dim: &Dim| {
        let value = match *dim {
            Dim::Batch => DimensionValue::DimParam("B".into()),
            Dim::Of(n) => DimensionValue::DimValue(n as i64),
        };
        Dimension { value: Some(value) }
    };
    let shape = Some(TensorShapeProto { dim: dims.iter().map(dim).collect() });
    ValueInfoProto {
        name: name.to_owned(),
        r#type: Some(TypeProto { tensor_type: Some(TypeProtoTensor { elem_type, shape }) }),
        doc_string: doc.to_owned(),
    }
}

fn opset(domain: &str, version: i64) -> OperatorSetIdProto {
    OperatorSetIdProto { domain: domain.to_owned(), version }
}

/// A whole model.
pub struct Graph {
    pub body: Body,
    weights: HashMap<String, HostTensor>,
    inputs: Vec<ValueInfoProto>,
    outputs: Vec<ValueInfoProto>,
    initializers: Vec<TensorProto>,
    functions: Vec<FunctionProto>,
}

impl Graph {
    /// `weights` by official name; those that the model asks for go into the file.
    pub fn new(weights: Vec<(String, HostTensor)>) -> Self {
        Self {
            body: Body::default(),
            weights: weights.into_iter().collect(),
            inputs: vec![],
            outputs: vec![],
            initializers: vec![],
            functions: vec![],
        }
    }

    pub fn input(&mut self, name: &str, elem_type: i32, dims: &[Dim], doc: &str) -> Value {
        self.inputs.push(value_info(name, elem_type, dims, doc));
        Value(name.to_owned())
    }

    pub fn output(&mut self, name: &str, elem_type: i32, dims: &[Dim], value: &Value, doc: &str) {
        self.body.rename(value, name);
        self.outputs.push(value_info(name, elem_type, dims, doc));
    }

    /// A weight as it is. Each is asked for once.
    pub fn weight(&mut self, name: &str) -> Result<Value, String> {
        let missing = || format!("tensor {name} is missing: no weights of this kind of model");
        let tensor = self.weights.remove(name).ok_or_else(missing)?;
        if tensor.dtype != DType::F32 {
            return Err(format!("tensor {name} is {}, not f32", tensor.dtype));
        }
        Ok(self.initializer(name, tensor))
    }

    /// A linear layer's weight (OUT, IN) as the right factor (IN, OUT) of a product.
    pub fn factor(&mut self, name: &str) -> Result<Value, String> {
        let w = self.weight(name)?;
        Ok(self.body.transpose(&w, &[1, 0]))
    }

    pub fn initializer(&mut self, name: &str, tensor: HostTensor) -> Value {
        self.initializers.push(TensorProto {
            dims: tensor.shape.dims().iter().map(|&n| n as i64).collect(),
            data_type: FLOAT,
            name: name.to_owned(),
            raw_data: tensor.bytes,
            ..Default::default()
        });
        Value(name.to_owned())
    }

    /// A function for [`Body::call`]: inputs by name, and what makes its output of them. Functions
    /// that it calls are defined before.
    pub fn define(
        &mut self,
        name: &str,
        inputs: &[String],
        doc: &str,
        make: impl FnOnce(&mut Body, &[Value]) -> Value,
    ) {
        let mut body = Body::default();
        let values: Vec<Value> = inputs.iter().cloned().map(Value).collect();
        let y = make(&mut body, &values);
        self.functions.push(FunctionProto {
            name: name.to_owned(),
            input: inputs.to_vec(),
            output: vec![y.0],
            node: body.nodes,
            doc_string: doc.to_owned(),
            opset_import: vec![opset("", OPSET), opset(DOMAIN, 1)],
            domain: DOMAIN.to_owned(),
        });
    }

    /// The file. With `data_name`, weights of some size go to a file of that name beside it.
    pub fn encode(
        mut self,
        name: &str,
        doc: &str,
        about: Vec<(String, String)>,
        data_name: Option<&str>,
    ) -> Result<Encoded, String> {
        let data = data_name.map(|file| move_out(&mut self.initializers, file));
        let graph = GraphProto {
            node: self.body.nodes,
            name: name.to_owned(),
            initializer: self.initializers,
            doc_string: doc.to_owned(),
            input: self.inputs,
            output: self.outputs,
        };
        let model = ModelProto {
            ir_version: IR_VERSION,
            producer_name: env!("CARGO_PKG_NAME").into(),
            producer_version: env!("CARGO_PKG_VERSION").into(),
            graph: Some(graph),
            opset_import: vec![opset("", OPSET), opset(DOMAIN, 1)],
            metadata_props: about.into_iter().map(entry).collect(),
            functions: self.functions,
        };
        match model.encoded_len() {
            n if n > MAX_FILE_BYTES => Err(format!(
                "it would have {n} bytes, and ends at {MAX_FILE_BYTES}: --external-data puts the \
                 weights into a file of their own"
            )),
            _ => Ok(Encoded { model: model.encode_to_vec(), data }),
        }
    }
}

/// The content of `tensors`, from where they are read in the file `file`.
fn move_out(tensors: &mut [TensorProto], file: &str) -> Vec<u8> {
    let mut data = vec![];
    for tensor in tensors.iter_mut().filter(|t| t.raw_data.len() >= MIN_EXTERNAL_BYTES) {
        data.resize(data.len().next_multiple_of(ALIGN_BYTES), 0);
        let place = [
            ("location", file.to_owned()),
            ("offset", data.len().to_string()),
            ("length", tensor.raw_data.len().to_string()),
        ];
        tensor.external_data = place.map(|(key, value)| entry((key.to_owned(), value))).into();
        tensor.data_location = Some(EXTERNAL);
        data.append(&mut std::mem::take(&mut tensor.raw_data));
    }
    data
}

fn entry((key, value): (String, String)) -> StringStringEntryProto {
    StringStringEntryProto { key, value }
}
