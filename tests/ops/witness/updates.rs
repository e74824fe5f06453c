use hrm::dtype::DType;
use hrm::ops::adam::{self, Hyper, Moments, Rule};
use hrm::ops::{ema, global_norm, puzzle_emb, sign_sgd_rows};

use super::Witness;
use crate::check::tensor;

pub const ALL: &[Witness] = &[
    Witness::direct("puzzle_emb", |case| {
        let rows = case.room("y", DType::F32);
        puzzle_emb::gather(&case.f32s("table"), &case.ints("ids"), &rows)?;
        case.check("y", &rows);
        Ok(())
    })
    .exact(),
    Witness::direct("sign_sgd_rows", |case| {
        let rates = sign_sgd_rows::factors(case.number("lr"), case.number("weight_decay"));
        let rates = tensor(case.device, DType::F32, &[rates.len()], &rates.map(f64::from));
        let (table, guard) = (case.f32s("table"), case.guard(1.0));
        sign_sgd_rows::step(&table, &case.ints("ids"), &case.f32s("g"), &guard, &rates)?;
        case.check("y", &table);
        Ok(())
    })
    .within(1e-6),
    Witness::direct("adam", |case| {
        let rule = match case.word("rule") {
            "adamw" => Rule::AdamW,
            "adam_atan2" => Rule::AdamAtan2,
            other => panic!("rule {other}"),
        };
        let p = case.f32s("start");
        let zeros = || tensor(case.device, DType::F32, &[p.elems()], &vec![0.0; p.elems()]);
        let (moments, guard) =
            (Moments { m: zeros(), v: zeros() }, case.guard(case.number("scale")));
        let rates = case.about["lr"].as_array().expect("rates");
        assert!(!rates.is_empty(), "{}: no step", case.name);
        for (t, lr) in (1..).zip(rates) {
            let hyper = Hyper {
                lr: lr.as_f64().expect("a rate"),
                weight_decay: case.number("weight_decay"),
                beta1: case.number("beta1"),
                beta2: case.number("beta2"),
                t,
            };
            let (g, factors) = (case.f32s(&format!("g{t}")), hyper.on(case.device)?);
            adam::step(rule, &p, None, &g, &moments, &guard, &factors)?;
        }
        for (what, got) in [("p", &p), ("m", &moments.m), ("v", &moments.v)] {
            case.check(what, got);
        }
        Ok(())
    })
    .within(1e-6),
    Witness::direct("ema", |case| {
        let average = case.f32s("ema");
        ema::step(&average, &case.f32s("p"), &case.guard(1.0), case.number("decay"))?;
        case.check("y", &average);
        Ok(())
    })
    .within(1e-6),
    Witness::direct("global_norm", |case| {
        let (guard, loss) =
            (case.room("y", DType::F32), tensor(case.device, DType::F32, &[1], &[2.0]));
        let max_norm = case.number("max_norm") as f32;
        global_norm::guard(&case.f32s("g"), &loss, max_norm, &guard)?;
        case.check("y", &guard);
        Ok(())
    }),
];
