//! Layers of one kind, one after the other, as a function that is called with their weights.

use super::body::{Body, Value};
use super::graph::Graph;

pub struct Stack {
    function: String,
    /// What a call hands over besides x.
    weights: Vec<Value>,
}

impl Stack {
    /// A function that calls the function `layer` once for each of `layers`: with x, the layer's
    /// own weights, here with the names of the new function's inputs, and what is `shared`.
    pub fn define(
        graph: &mut Graph,
        function: &str,
        layer: &str,
        layers: Vec<Vec<(String, Value)>>,
        shared: &[Value],
    ) -> Self {
        let lens: Vec<usize> = layers.iter().map(Vec::len).collect();
        let (mut inputs, mut weights): (Vec<_>, Vec<_>) = layers.into_iter().flatten().unzip();
        inputs.insert(0, "x".to_owned());
        inputs.extend(shared.iter().map(|value| value.0.clone()));
        graph.define(function, &inputs, |body, values| {
            let (x, mut rest) = (values[0].clone(), &values[1..]);
            let shared = &rest[weights.len()..];
            lens.iter().fold(x, |x, len| {
                let (own, after) = rest.split_at(*len);
                rest = after;
                let inputs: Vec<&Value> = [&x].into_iter().chain(own).chain(shared).collect();
                body.call(layer, &inputs)
            })
        });
        weights.extend(shared.iter().cloned());
        Self { function: function.to_owned(), weights }
    }

    pub fn pass(&self, body: &mut Body, x: &Value) -> Value {
        let inputs: Vec<&Value> = [x].into_iter().chain(&self.weights).collect();
        body.call(&self.function, &inputs)
    }

    /// One pass over the sum of `terms`.
    pub fn pass_sum(&self, body: &mut Body, terms: &[&Value]) -> Value {
        let x = body.op("Sum", terms);
        self.pass(body, &x)
    }
}
