use hrm::ops::attention::{self, Rope, Sight};
use hrm::ops::attention_cached::{self, Cache};
use hrm::ops::dropout::{self, Site};
use hrm::ops::embedding;
use hrm::ops::layer_norm::{self, Affine};
use hrm::ops::layout::Layout;
use hrm::ops::pointwise::{relu, sigmoid};
use hrm::ops::{
    add, bias_relu, cast, halt_head, matmul, reshape, rms_norm, row_embedding, swiglu, take_first,
    transpose,
};

use hrm::tape::{Tape, Var};

use super::{Case, Witness};

fn site(case: &Case) -> Site {
    Site { number: case.int("site") as u32, prob: case.number("prob") as f32 }
}

pub const ALL: &[Witness] = &[
    Witness::gradient("add", |_, tape, x| add::forward(tape, &x.iter().collect::<Vec<_>>())),
    Witness::gradient("attention", |case, tape, x| {
        let rope = case.has("cos").then(|| Rope { cos: case.f32s("cos"), sin: case.f32s("sin") });
        let layout = match case.has("rooms") {
            false => Layout::of(&x[0].tensor, 0)?,
            true => {
                let ints = |name: &str| case.ints(name).download::<i32>();
                let rooms: Vec<usize> = ints("rooms")?.iter().map(|&n| n as usize).collect();
                let layout = Layout::packed(tape.device(), 0, &rooms)?;
                layout.lengths.upload(&ints("lengths")?)?;
                layout.places.upload(&ints("places")?)?;
                layout
            }
        };
        let draw = case.has("draw").then(|| case.ints("draw"));
        let sight = Sight {
            causal: case.about["causal"].as_bool().unwrap_or(false),
            dropout: draw.as_ref().map(|draw| (site(case), draw)),
        };
        attention::forward_with(tape, &x[0], case.int("heads"), rope.as_ref(), &layout, sight)
    }),
    Witness::direct("attention_cached", |case| {
        let rope = case.has("cos").then(|| Rope { cos: case.f32s("cos"), sin: case.f32s("sin") });
        let of = |what: &str| case.read(what, case.dtype());
        let cache = Cache { k: of("k"), v: of("v"), lengths: case.ints("lengths") };
        let (qkv, places) = (Var::constant(of("qkv")), case.ints("places"));
        let (tape, heads) = (&mut Tape::no_grad(case.device), case.int("heads"));
        let y = attention_cached::forward(tape, &qkv, &cache, rope.as_ref(), &places, heads)?;
        case.check("y", &y.tensor);
        case.check("k_after", &cache.k);
        case.check("v_after", &cache.v);
        Ok(())
    }),
    Witness::gradient("relu", |_, tape, x| relu::forward(tape, &x[0])).exact(),
    Witness::gradient("sigmoid", |_, tape, x| sigmoid::forward(tape, &x[0])),
    Witness::gradient("bias_relu", |_, tape, x| bias_relu::forward(tape, &x[0], &x[1])),
    Witness::gradient("bias_relu::with_dropout", |case, tape, x| {
        let draw = case.ints("draw");
        bias_relu::with_dropout(tape, &x[0], &x[1], Some((site(case), &draw)))
    }),
    Witness::gradient("dropout", |case, tape, x| {
        dropout::forward(tape, &x[0], site(case), &case.ints("draw"))
    }),
    Witness::gradient("embedding", |case, tape, x| {
        let (table, rest) = x.split_first().expect("a table");
        let tokens = case.ints("tokens");
        let [b, s] = tokens.dims("tokens (B, S)")?;
        let prefix = if rest.is_empty() { 0 } else { case.int("prefix") };
        let layout = Layout::padded(tape.device(), b, prefix, s)?;
        let scale = case.number("scale") as f32;
        embedding::forward(tape, &tokens, table, rest.first(), rest.get(1), scale, &layout)
    }),
    Witness::gradient("embedding::with_positions", |case, tape, x| {
        let tokens = case.ints("tokens");
        let [b, s] = tokens.dims("tokens (B, S)")?;
        let layout = Layout::padded(tape.device(), b, 0, s)?;
        embedding::with_positions(tape, &tokens, &x[0], &x[1], &layout)
    }),
    Witness::gradient("halt_head", |_, tape, x| {
        halt_head::forward(tape, &x[0], &x[1], &x[2], &x[3])
    }),
    Witness::gradient("rms_norm", |case, tape, x| {
        rms_norm::forward(tape, &x[0], &x[1], case.number("eps") as f32)
    }),
    Witness::gradient("rms_norm::alone", |case, tape, x| {
        rms_norm::alone(tape, &x[0], case.number("eps") as f32)
    }),
    Witness::gradient("row_embedding", |case, tape, x| {
        let (ids, stride) = (case.ints("ids"), case.int("stride"));
        let layout = Layout::of(&x[0].tensor, 0)?;
        row_embedding::forward(tape, &x[0], &x[1], &ids, stride, &layout)
    }),
    Witness::gradient("layer_norm", |case, tape, x| {
        let affine = Affine { gain: &x[2], bias: &x[3] };
        layer_norm::forward(tape, &x[0], &x[1], affine, case.number("eps") as f32)
    }),
    Witness::gradient("layer_norm::alone", |case, tape, x| {
        let affine = Affine { gain: &x[1], bias: &x[2] };
        layer_norm::alone(tape, &x[0], affine, case.number("eps") as f32)
    }),
    Witness::gradient("matmul", |_, tape, x| matmul::linear(tape, &x[0], &x[1], x.get(2))),
    Witness::gradient("swiglu", |_, tape, x| swiglu::forward(tape, &x[0])),
    Witness::gradient("take_first", |_, tape, x| {
        take_first::forward(tape, &x[0], &Layout::of(&x[0].tensor, 0)?)
    })
    .exact(),
    Witness::gradient("transpose", |_, tape, x| transpose::forward(tape, &x[0])).exact(),
    Witness::gradient("reshape", |_, tape, x| reshape::forward(tape, &x[0], [x[0].tensor.elems()]))
        .exact(),
    Witness::direct("cast", |case| {
        let y = case.room("y", case.dtype());
        cast::from_f32(&case.f32s("from"), &y)?;
        case.check("y", &y);
        Ok(())
    })
    .exact(),
];
