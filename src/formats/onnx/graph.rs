//! A whole model of ONNX: inputs, outputs, functions, weights by name.
//!
//! Functions are ours alone: the file has their nodes in place of their calls, as quantisers and
//! converters look into no function.

use std::collections::HashMap;

use prost::Message;

use super::body::{Body, Value, int};
use super::inline::{Function, Inliner};
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
    /// Cells of a row, where rows are packed.
    Cells,
    /// Positions of such a row: the prefix, then the cells.
    Positions,
    Of(usize),
}

pub fn value_info(name: &str, elem_type: i32, dims: &[Dim], doc: &str) -> ValueInfoProto {
    let dim = |dim: &Dim| {
        let value = match *dim {
            Dim::Batch => DimensionValue::DimParam("B".into()),
            Dim::Cells => DimensionValue::DimParam("cells".into()),
            Dim::Positions => DimensionValue::DimParam("positions".into()),
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

/// A whole model.
pub struct Graph {
    pub body: Body,
    weights: HashMap<String, HostTensor>,
    inputs: Vec<ValueInfoProto>,
    outputs: Vec<ValueInfoProto>,
    initializers: Vec<TensorProto>,
    functions: HashMap<String, Function>,
    /// The place of each position of a row, where rows are packed.
    places: Option<Value>,
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
            functions: HashMap::new(),
            places: None,
        }
    }

    /// Rows of any cells of the canvas, which an input names: those of a packed batch. `prefix`
    /// positions come before them.
    pub fn pack(&mut self, prefix: usize) {
        let doc = "canvas index of each token, y * canvas + x, the same for all rows";
        let cells = self.input("cells", INT64, &[Dim::Cells], doc);
        let first = self.body.int(prefix as i64);
        let mut places = self.body.op("Add", &[&cells, &first]);
        if prefix > 0 {
            let before = self.body.ints(&(0..prefix as i64).collect::<Vec<_>>());
            places = self.body.op_with("Concat", &[&before, &places], vec![int("axis", 0)]);
        }
        self.places = Some(places);
    }

    /// A table with a row for each place, at the places of a row's positions.
    pub fn at_places(&mut self, table: Value) -> Value {
        match &self.places {
            Some(places) => self.body.op("Gather", &[&table, places]),
            None => table,
        }
    }

    /// The dimension of `s` cells, or of those that a packed row has.
    pub fn cells(&self, s: usize) -> Dim {
        if self.places.is_some() { Dim::Cells } else { Dim::Of(s) }
    }

    /// The dimension of `t` positions, or of those that a packed row has.
    pub fn positions(&self, t: usize) -> Dim {
        if self.places.is_some() { Dim::Positions } else { Dim::Of(t) }
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
        let tensor = self.take(name)?;
        Ok(self.initializer(name, tensor))
    }

    /// A linear layer's weight (OUT, IN) as the right factor (IN, OUT) of a product.
    pub fn factor(&mut self, name: &str) -> Result<Value, String> {
        let tensor = self.take(name)?;
        let [out, width] = tensor.shape.bind(name).map_err(|e| e.to_string())?;
        let w: Vec<f32> = tensor.f32s().collect();
        let turned = (0..width).flat_map(|i| (0..out).map(move |o| (o, i)));
        let turned: Vec<f32> = turned.map(|(o, i)| w[o * width + i]).collect();
        Ok(self.initializer(name, HostTensor::from_f32s([width, out], &turned)))
    }

    fn take(&mut self, name: &str) -> Result<HostTensor, String> {
        let missing = || format!("tensor {name} is missing: no weights of this kind of model");
        let tensor = self.weights.remove(name).ok_or_else(missing)?;
        match tensor.dtype {
            DType::F32 => Ok(tensor),
            dtype => Err(format!("tensor {name} is {dtype}, not f32")),
        }
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

    /// A function for [`Body::call`]: inputs by name, and what makes its output of them.
    pub fn define(
        &mut self,
        name: &str,
        inputs: &[String],
        make: impl FnOnce(&mut Body, &[Value]) -> Value,
    ) {
        let mut body = Body::default();
        let values: Vec<Value> = inputs.iter().cloned().map(Value).collect();
        let y = make(&mut body, &values);
        let function = Function { inputs: inputs.to_vec(), output: y.0, nodes: body.nodes };
        self.functions.insert(name.to_owned(), function);
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
        let mut inliner = Inliner::new(&self.functions);
        let node = inliner.inline(&self.body.nodes)?;
        self.initializers.extend(inliner.into_initializers());
        let graph = GraphProto {
            node,
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
            opset_import: vec![OperatorSetIdProto { domain: String::new(), version: OPSET }],
            metadata_props: about.into_iter().map(entry).collect(),
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
