use hrm::dtype::DType;
use hrm::ops::adam::{self, Hyper, Moments, Rule};
use hrm::ops::{ema, global_norm, normuon, puzzle_emb, sign_sgd_rows};

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
    Witness::direct("normuon", |case| {
        let (p, guard) = (case.f32s("start"), case.guard(case.number("scale")));
        let of = |n: usize| tensor(case.device, DType::F32, &[n], &vec![0.0; n]);
        let (m, v) = (of(p.elems()).reshape(*p.shape())?, of(p.shape().rows()));
        let hyper =
            normuon::Hyper { momentum: case.number("momentum"), beta2: case.number("beta2") };
        let rates = case.about["lr"].as_array().expect("rates");
        assert!(!rates.is_empty(), "{}: no step", case.name);
        for (t, lr) in (1..).zip(rates) {
            let matrix = normuon::Matrix {
                p: p.clone(),
                copy: None,
                g: case.f32s(&format!("g{t}")),
                m: m.clone(),
                v: v.clone(),
                blocks: case.number("blocks") as usize,
                weight_decay: case.number("weight_decay"),
            };
            let lr = tensor(case.device, DType::F32, &[1], &[lr.as_f64().expect("a rate")]);
            normuon::step(&matrix, hyper, &guard, &lr)?;
        }
        for (what, got) in [("p", &p), ("m", &m), ("v", &v)] {
            case.check(what, got);
        }
        Ok(())
    })
    .within(1e-4),
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
