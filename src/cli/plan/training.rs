//! The plan of a run of `hrm train`.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde_json::json;

use super::{PlanArgs, kind, rooms, settings, sizes, time};
use crate::backend::Device;
use crate::cli::common::precision;
use crate::config::Settings;
use crate::cost::Prediction;
use crate::io::units::{MIB, compact_time, grouped};
use crate::models::{Depth, ModelShape};
use crate::train::needed::Needed;
use crate::train::room::{Room, does_not_fit, for_batches_of, recomputing};
use crate::train::setup;
use crate::{Error, Result};

/// Print the plan.
pub fn run(args: &PlanArgs) -> Result<()> {
    let card = args.card()?;
    let kind = kind(&card);
    let merged = args.settings.merged(kind)?;
    let mut config: Settings = merged.config()?;
    let sizes = sizes::of(&config, args.data.as_deref(), args.puzzles)?;
    config.data.canvas = sizes.canvas;
    let shape = config.shape(sizes.cells, sizes.vocabulary, sizes.puzzle_ids);
    let shape = shape.with_lengths(sizes.lengths.clone());
    let options = setup::options(&config);
    let needed = Needed::of(kind, &shape, options)?;
    let model = shape.build(&Device::shape_only(kind), options.compute())?;
    let dims = model.dims();
    let dense = model.params().elems();
    let puzzle = model.trainable_elems() - dense;
    let rooms = rooms::all(args.vram, card.as_ref())
        .into_iter()
        .map(|room| Room::new(kind, &shape, options, room))
        .collect::<Result<Vec<_>>>()?;
    let recomputed: Vec<(&str, usize)> = recomputing(&shape, options)
        .map(|o| Ok((o.recompute.word(), Needed::of(kind, &shape, o)?.total_bytes())))
        .collect::<Result<_>>()?;
    let total = needed.total_bytes();
    let rows_of = |batch_size| batch_size * options.grad_accum;

    let steps = sizes.rows_per_pass.or((config.train.epochs == 0).then_some(1.0));
    let steps = steps.map(|rows_per_pass| setup::schedule(&config, rows_per_pass).total_steps);
    // A batch that does not fit is predicted at the size that does.
    let predicted = match (&card, rooms[0].largest_batch) {
        (Some(card), Some(largest)) => {
            let batch_size = dims.batch_size.min(largest);
            let shape = for_batches_of(&shape, batch_size);
            let at = |depth| {
                let needed = Needed::at(kind, &shape, options, depth)?;
                Ok::<_, Error>(time::on_card(&needed.work, card))
            };
            let p = at(Depth::FULL)?;
            let batches = dims.batch_size as f64 / batch_size as f64;
            let stages = match steps {
                Some(steps) if model.has_depth_curriculum() => {
                    let stages = Depth::steps(steps).into_iter();
                    stages.map(|(n, depth)| Ok((n, at(depth)?))).collect::<Result<_>>()?
                }
                Some(steps) => vec![(steps, p.clone())],
                None => vec![],
            };
            let all_s = |step_s: fn(&Prediction) -> f64| -> f64 {
                stages.iter().map(|(n, p)| *n as f64 * batches * step_s(p)).sum()
            };
            let run_s = steps.map(|_| [all_s(|p| p.step_s), all_s(|p| p.expected_s)]);
            Some((card, batch_size, p, run_s))
        }
        _ => None,
    };
    let bound = match card {
        None => {
            let rows = positions(&shape);
            let (flops_per_s, basis) = time::of_this_cpu(options.dtype, rows, dims.hidden_size);
            Some((needed.work.total.matmul_flops / flops_per_s, basis))
        }
        Some(_) => None,
    };

    if args.json {
        let mut plan = json!({
            "settings": settings(&merged)?,
            "data": sizes.basis,
            "device": if card.is_some() { "cuda" } else { "cpu" },
            "parameters": dense,
            "puzzle_embedding_parameters": puzzle,
            "memory_bytes": rooms::memory_json(&needed.memory),
            "total_bytes": total,
            "total_bytes_with_recompute": recomputed.iter().copied().collect::<BTreeMap<_, _>>(),
            "matmul_flops_per_step": needed.work.total.matmul_flops,
            "rows_per_step": rows_of(dims.batch_size),
            "steps": steps,
            "room_bytes": rooms[0].bytes,
            "largest_batch": rooms[0].largest_batch,
            "rooms": rooms::json(&rooms),
        });
        if let Some((least_s, basis)) = bound {
            plan["step_s_at_least"] = json!(least_s);
            plan["step_s_basis"] = json!(basis);
        }
        if let Some((card, batch_size, p, run_s)) = predicted {
            plan["predicted"] = time::json(&p, card, batch_size, rows_of(batch_size));
            plan["predicted"]["run_s"] = json!(run_s.map(|[least, _]| least));
            plan["predicted"]["expected_run_s"] = json!(run_s.map(|[_, expected]| expected));
        }
        outln!("{plan}");
        return Ok(());
    }
    let mut text = String::new();
    let _ = writeln!(text, "data         {}", sizes.basis);
    let _ = writeln!(text, "precision    {}", precision(&merged, config.train.precision, kind));
    let _ = writeln!(
        text,
        "parameters   {} and {} in puzzle embeddings",
        grouped(dense),
        grouped(puzzle)
    );
    let _ = writeln!(
        text,
        "step         {} rows of {}, {:.1} GFLOP in matrix products",
        rows_of(dims.batch_size),
        positions_text(&shape),
        needed.work.total.matmul_flops / 1e9
    );
    if let (Some(steps), true) = (steps, model.has_depth_curriculum()) {
        for (n, depth) in Depth::steps(steps).into_iter().filter(|(_, d)| *d != Depth::FULL) {
            let flops = Needed::at(kind, &shape, options, depth)?.work.total.matmul_flops;
            if flops < needed.work.total.matmul_flops {
                let (gflop, n) = (flops / 1e9, grouped(n as usize));
                let _ = writeln!(text, "             {gflop:.1} GFLOP in {n} of its steps");
            }
        }
    }
    text += &rooms::memory_text(&needed.memory, card.as_ref());
    text += &rooms::text(&rooms);
    for (word, bytes) in &recomputed {
        let _ = writeln!(
            text,
            "or           {:.1} MiB with train.recompute={word}",
            *bytes as f64 / MIB
        );
    }
    if total > rooms[0].bytes {
        let (bytes, is) = (rooms[0].bytes, &rooms[0].is[..]);
        let error = does_not_fit(kind, &shape, options, total, (bytes, is))?;
        let _ = writeln!(text, "does not fit {}", error.to_string().replace('\n', "\n           "));
    }
    if let Some((least_s, basis)) = bound {
        let _ = write!(text, "step time    at least {least_s:.3} s: {basis}");
    }
    match predicted {
        Some((card, batch_size, p, run_s)) => {
            text += &time::table(&p, card, batch_size, rows_of(batch_size));
            if let (Some(steps), Some(run_s)) = (steps, run_s) {
                let [least, expected] = run_s.map(compact_time);
                let _ = writeln!(
                    text,
                    "expected     the whole run, {} steps of {} rows: {expected} without validations \
                     ({least} if every unit reached its full rate)",
                    grouped(steps as usize),
                    rows_of(dims.batch_size)
                );
            }
            text += &time::basis_text(&p, card);
        }
        None if card.is_some() => text += "predicted    nothing: it does not fit",
        None => {}
    }
    outln!("{}", text.trim_end());
    Ok(())
}

/// Positions of a micro-batch, filling included.
fn positions(shape: &ModelShape) -> usize {
    let (dims, rows) = (shape.dims(), shape.sizes.batch_size);
    match shape.slots() {
        Some(slots) => rows * dims.prefix + slots.iter().sum::<usize>(),
        None => rows * dims.positions(),
    }
}

fn positions_text(shape: &ModelShape) -> String {
    let (dims, rows) = (shape.dims(), shape.sizes.batch_size);
    match &shape.lengths {
        None => format!("{} positions", dims.positions()),
        Some(lengths) => format!(
            "{:.1} positions on average, packed ({:.1} % of their cells filling; {} padded)",
            positions(shape) as f64 / rows as f64,
            100.0 * lengths.filling(rows),
            dims.positions()
        ),
    }
}
