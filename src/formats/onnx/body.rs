//! Nodes in the order of computation, of a graph, a function or a loop.

use super::proto::{self, AttributeProto, GraphProto, NodeProto, TensorProto, attribute};

/// Domain of calls of our functions, which the file has the nodes of.
pub const DOMAIN: &str = "hrm";
/// The operator of a value that is known; its initialiser stands in the file.
pub const CONSTANT: &str = "Constant";

/// The name of a value in a graph, a loop or a function.
#[derive(Clone, Debug)]
pub struct Value(pub String);

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
        let bytes = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        self.constant(proto::INT64, vec![values.len() as i64], bytes)
    }

    /// A constant scalar.
    pub fn int(&mut self, value: i64) -> Value {
        self.constant(proto::INT64, vec![], value.to_le_bytes().into())
    }

    /// A constant scalar.
    pub fn float(&mut self, value: f32) -> Value {
        self.constant(proto::FLOAT, vec![], value.to_le_bytes().into())
    }

    /// A constant scalar.
    pub fn bool(&mut self, value: bool) -> Value {
        self.constant(proto::BOOL, vec![], vec![value as u8])
    }

    fn constant(&mut self, data_type: i32, dims: Vec<i64>, raw_data: Vec<u8>) -> Value {
        let tensor = TensorProto { dims, data_type, raw_data, ..Default::default() };
        let (name, r#type) = ("value".to_owned(), attribute::TENSOR);
        let value = AttributeProto { name, r#type, t: Some(tensor), ..Default::default() };
        self.op_with(CONSTANT, &[], vec![value])
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
