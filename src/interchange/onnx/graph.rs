//! Building a model of ONNX: nodes in the order of computation, functions, weights by name.
//!
//! [`Body`] holds the nodes of the graph, of a function or of a loop; [`Graph`] what is around the
//! outermost one. A function of ours is a model-local one: a reader that has no such operator takes its
//! body, so that passes over the same layers are one body and a call each.

use std::collections::HashMap;

use super::proto::*;
use crate::dtype::DType;
use crate::interchange::HostTensor;

/// Where the functions of a file live.
const DOMAIN: &str = "hrm";
const OPSET: i64 = 21;
/// The first that has opset 21.
const IR_VERSION: i64 = 10;
/// Protobuf's own limit.
const MAX_FILE_BYTES: usize = i32::MAX as usize;

/// The name of a value in a graph, a loop or a function.
#[derive(Clone, Debug)]
pub struct Value(pub String);

/// A dimension of an input or output.
#[derive(Clone, Copy)]
pub enum Dim {
    Batch,
    Of(usize),
}

/// Nodes in the order of computation.
#[derive(Default)]
pub struct Body {
    pub nodes: Vec<NodeProto>,
    /// Goes before the names made here: a loop's body sees those around it.
    prefix: &'static str,
}

impl Body {
    pub fn new(prefix: &'static str) -> Self {
        Self { nodes: vec![], prefix }
    }

    /// The one output of an operator.
    pub fn op(&mut self, op: &str, inputs: &[&Value]) -> Value {
        self.op_with(op, inputs, vec![])
    }

    pub fn op_with(&mut self, op: &str, inputs: &[&Value], with: Vec<AttributeProto>) -> Value {
        let [value] = self.ops(op, inputs, with);
        value
    }

    /// All outputs of an operator.
    pub fn ops<const N: usize>(
        &mut self,
        op: &str,
        inputs: &[&Value],
        with: Vec<AttributeProto>,
    ) -> [Value; N] {
        self.node("", op, inputs, with)
    }

    /// The output of a function.
    pub fn call(&mut self, function: &str, inputs: &[&Value]) -> Value {
        let [value] = self.node(DOMAIN, function, inputs, vec![]);
        value
    }

    fn node<const N: usize>(
        &mut self,
        domain: &str,
        op: &str,
        inputs: &[&Value],
        attribute: Vec<AttributeProto>,
    ) -> [Value; N] {
        let name = format!("{}{op}_{}", self.prefix, self.nodes.len());
        let values = std::array::from_fn(|i| match N {
            1 => Value(name.clone()),
            _ => Value(format!("{name}_{i}")),
        });
        self.nodes.push(NodeProto {
            input: inputs.iter().map(|value| value.0.clone()).collect(),
            output: values.iter().map(|value: &Value| value.0.clone()).collect(),
            name,
            op_type: op.to_owned(),
            attribute,
            domain: domain.to_owned(),
        });
        values
    }

    /// A constant vector.
    pub fn ints(&mut self, values: &[i64]) -> Value {
        self.op_with("Constant", &[], vec![ints("value_ints", values)])
    }

    /// A constant scalar.
    pub fn int(&mut self, value: i64) -> Value {
        self.op_with("Constant", &[], vec![int("value_int", value)])
    }

    /// A constant scalar.
    pub fn float(&mut self, value: f32) -> Value {
        self.op_with("Constant", &[], vec![float("value_float", value)])
    }

    /// Equal parts along the last axis.
    pub fn split<const N: usize>(&mut self, x: &Value) -> [Value; N] {
        self.ops("Split", &[x], vec![int("axis", -1), int("num_outputs", N as i64)])
    }

    pub fn reshape(&mut self, x: &Value, shape: &[i64]) -> Value {
        let shape = self.ints(shape);
        self.op("Reshape", &[x, &shape])
    }

    pub fn transpose(&mut self, x: &Value, perm: &[i64]) -> Value {
        self.op_with("Transpose", &[x], vec![ints("perm", perm)])
    }

    /// Element `index` of an axis, which goes.
    pub fn pick(&mut self, x: &Value, index: i64, axis: i64) -> Value {
        let index = self.int(index);
        self.op_with("Gather", &[x, &index], vec![int("axis", axis)])
    }

    /// The value made here as `value`, under another name.
    pub fn rename(&mut self, value: &Value, name: &str) {
        let names = self.nodes.iter_mut().flat_map(|n| n.input.iter_mut().chain(&mut n.output));
        names.filter(|n| **n == value.0).for_each(|n| *n = name.to_owned());
    }
}

pub fn int(name: &str, value: i64) -> AttributeProto {
    let (name, r#type) = (name.to_owned(), attribute::INT);
    AttributeProto { name, r#type, i: Some(value), ..Default::default() }
}

pub fn float(name: &str, value: f32) -> AttributeProto {
    let (name, r#type) = (name.to_owned(), attribute::FLOAT);
    AttributeProto { name, r#type, f: Some(value), ..Default::default() }
}

pub fn ints(name: &str, values: &[i64]) -> AttributeProto {
    let (name, r#type) = (name.to_owned(), attribute::INTS);
    AttributeProto { name, r#type, ints: values.to_vec(), ..Default::default() }
}

pub fn graph_attribute(name: &str, graph: GraphProto) -> AttributeProto {
    let (name, r#type) = (name.to_owned(), attribute::GRAPH);
    AttributeProto { name, r#type, g: Some(graph), ..Default::default() }
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

    /// The file.
    pub fn encode(
        self,
        name: &str,
        doc: &str,
        about: Vec<(String, String)>,
    ) -> Result<Vec<u8>, String> {
        let graph = GraphProto {
            node: self.body.nodes,
            name: name.to_owned(),
            initializer: self.initializers,
            doc_string: doc.to_owned(),
            input: self.inputs,
            output: self.outputs,
        };
        let entry = |(key, value)| StringStringEntryProto { key, value };
        let model = ModelProto {
            ir_version: IR_VERSION,
            producer_name: env!("CARGO_PKG_NAME").into(),
            producer_version: env!("CARGO_PKG_VERSION").into(),
            graph: Some(graph),
            opset_import: vec![opset("", OPSET), opset(DOMAIN, 1)],
            metadata_props: about.into_iter().map(entry).collect(),
            functions: self.functions,
        };
        use prost::Message;
        match model.encoded_len() {
            n if n > MAX_FILE_BYTES => Err(format!(
                "it would have {n} bytes, and ONNX files end at {MAX_FILE_BYTES}; safetensors have \
                 no such limit"
            )),
            _ => Ok(model.encode_to_vec()),
        }
    }
}
