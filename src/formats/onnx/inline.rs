//! Functions of ours put in place of their calls, and constants among the initialisers: what is
//! left is a graph that any tool sees whole, with each weight as an input of the operator that it
//! belongs to.

use std::collections::HashMap;

use super::body::{CONSTANT, DOMAIN};
use super::proto::{NodeProto, TensorProto};

/// Nodes that compute one value of several, by name.
pub struct Function {
    pub inputs: Vec<String>,
    pub output: String,
    pub nodes: Vec<NodeProto>,
}

pub struct Inliner<'a> {
    functions: &'a HashMap<String, Function>,
    /// Without names, in the order of their first use.
    constants: Vec<TensorProto>,
}

impl<'a> Inliner<'a> {
    pub fn new(functions: &'a HashMap<String, Function>) -> Self {
        Self { functions, constants: vec![] }
    }

    /// `nodes` of a graph or of a loop's body without calls and constants.
    pub fn inline(&mut self, nodes: &[NodeProto]) -> Result<Vec<NodeProto>, String> {
        self.expand(nodes, "", HashMap::new())
    }

    /// The constants of all nodes so far.
    pub fn into_initializers(self) -> impl Iterator<Item = TensorProto> {
        let named = |(i, tensor)| TensorProto { name: constant_name(i), ..tensor };
        self.constants.into_iter().enumerate().map(named)
    }

    /// `prefix` goes before names made in `nodes`, `names` says what others are called outside.
    fn expand(
        &mut self,
        nodes: &[NodeProto],
        prefix: &str,
        mut names: HashMap<String, String>,
    ) -> Result<Vec<NodeProto>, String> {
        let mut all = vec![];
        for node in nodes {
            if node.op_type == CONSTANT {
                let tensor = node.attribute.first().and_then(|attribute| attribute.t.clone());
                let tensor =
                    tensor.ok_or_else(|| format!("constant {} has no value", node.name))?;
                names.insert(node.output[0].clone(), self.constant(tensor));
                continue;
            }
            for output in node.output.iter().filter(|_| !prefix.is_empty()) {
                names.entry(output.clone()).or_insert_with(|| format!("{prefix}{output}"));
            }
            let named = |name: &String| names.get(name).unwrap_or(name).clone();
            let (inputs, outputs) = (node.input.iter().map(named), node.output.iter().map(named));
            if node.domain == DOMAIN {
                let function = self.functions.get(&node.op_type);
                let function =
                    function.ok_or_else(|| format!("function {} is not defined", node.op_type))?;
                let mut inside: HashMap<_, _> =
                    function.inputs.iter().cloned().zip(inputs).collect();
                inside.extend(outputs.map(|output| (function.output.clone(), output)));
                let prefix = format!("{prefix}{}/", node.name);
                all.extend(self.expand(&function.nodes, &prefix, inside)?);
                continue;
            }
            let (input, output) = (inputs.collect(), outputs.collect());
            let mut attribute = node.attribute.clone();
            for body in attribute.iter_mut().filter_map(|attribute| attribute.g.as_mut()) {
                body.node = self.expand(&body.node, prefix, names.clone())?;
            }
            let name = format!("{prefix}{}", node.name);
            all.push(NodeProto { input, output, name, attribute, ..node.clone() });
        }
        Ok(all)
    }

    fn constant(&mut self, tensor: TensorProto) -> String {
        let at = self.constants.iter().position(|known| *known == tensor);
        constant_name(at.unwrap_or_else(|| {
            self.constants.push(tensor);
            self.constants.len() - 1
        }))
    }
}

fn constant_name(i: usize) -> String {
    format!("constant_{i}")
}
