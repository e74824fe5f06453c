//! Layers of one kind, one after the other, as a function that is called with their weights.

use super::body::{Body, Value};
use super::graph::Graph;

pub struct Stack {
    function: String,
    /// What a call hands over besides x.
    weights: Vec<Value>,
}

impl Stack {
    /// A function of `layers` calls of the function `layer`, whose inputs are x, its own weights and
    /// what is `shared`. `weights` are those of all layers, in order, with the names of the inputs.
    pub fn define(
        graph: &mut Graph,
        function: &str,
        layer: &str,
        layers: usize,
        weights: Vec<(String, Value)>,
        shared: &[Value],
    ) -> Self {
        let (mut inputs, mut values): (Vec<_>, Vec<_>) = weights.into_iter().unzip();
        let own = inputs.len();
        inputs.insert(0, "x".to_owned());
        inputs.extend(shared.iter().map(|value| value.0.clone()));
        values.extend(shared.iter().cloned());
        let doc = format!("{layer}, {layers} times");
        graph.define(function, &inputs, &doc, |body, values| {
            let (x, values) = (&values[0], &values[1..]);
            let (weights, shared) = values.split_at(own);
            weights.chunks(own / layers.max(1)).fold(x.clone(), |x, weights| {
                let inputs: Vec<&Value> = [&x].into_iter().chain(weights).chain(shared).collect();
                body.call(layer, &inputs)
            })
        });
        Self { function: function.to_owned(), weights: values }
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
