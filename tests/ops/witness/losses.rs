use hrm::dtype::DType;
use hrm::ops::act_halt::{self, Halting};
use hrm::ops::cross_entropy::{self, Kind};
use hrm::ops::layout::Layout;
use hrm::ops::{bce_logits, mse};

use super::Witness;

pub const ALL: &[Witness] = &[
    Witness::gradient("cross_entropy", |case, tape, x| {
        let kind = match case.word("kind") {
            "softmax" => Kind::Softmax,
            "stablemax" => Kind::Stablemax,
            other => panic!("kind {other}"),
        };
        let labels = case.ints("labels");
        let ([_, t, _], [_, s]) = (x[0].tensor.dims("logits")?, labels.dims("labels")?);
        let layout = Layout::of(&x[0].tensor, t - s)?;
        cross_entropy::forward(tape, kind, &x[0], &labels, &layout)
    }),
    Witness::gradient("bce_logits", |case, tape, x| {
        bce_logits::forward(tape, &x[0], &case.f32s("targets"))
    }),
    Witness::gradient("mse", |_, tape, x| mse::forward(tape, &x[0], &x[1])),
    Witness::direct("act_halt::admit", |case| {
        let slots = case.f32s("dst");
        let halted = case.flags("halted");
        let b = halted.elems();
        let layout = Layout::padded(slots.device(), b, 0, slots.elems() / b)?;
        act_halt::admit(&halted, layout.cells(), &case.f32s("src"), &slots)?;
        case.check("y", &slots);
        Ok(())
    })
    .exact(),
    Witness::direct("act_halt::reset", |case| {
        let z = case.f32s("z");
        let layout = Layout::of(&z, 0)?;
        act_halt::reset(&case.flags("halted"), &case.f32s("init"), &z, &layout)?;
        case.check("y", &z);
        Ok(())
    })
    .exact(),
    Witness::direct("act_halt::decide", |case| {
        let how = Halting {
            max_steps: case.int("max_steps") as i32,
            training: case.flag("training"),
            q_continue: case.flag("q_continue"),
            exploration_prob: case.number("exploration_prob") as f32,
        };
        let (steps, halted) = (case.ints("steps"), case.flags("halted"));
        act_halt::decide(&case.f32s("q"), how, Some(&case.ints("draw")), &steps, &halted)?;
        case.check("new_steps", &steps);
        case.check("new_halted", &halted);
        Ok(())
    }),
    Witness::direct("act_halt::targets", |case| {
        let (y, most) = (case.room("y", DType::F32), case.int("max_steps") as i32);
        let next_q = case.f32s("next_q");
        act_halt::targets(&case.f32s("rows"), Some(&next_q), &case.ints("steps"), most, &y)?;
        case.check("y", &y);
        Ok(())
    }),
    Witness::direct("act_halt::metrics", |case| {
        let [rows, q, q_rows] = ["rows", "q", "q_rows"].map(|what| case.f32s(what));
        let (steps, halted) = (case.ints("steps"), case.flags("halted"));
        let y = case.room("y", DType::F32);
        act_halt::metrics(&rows, &q, &q_rows, &steps, &halted, &y)?;
        case.check("y", &y);
        Ok(())
    }),
];
