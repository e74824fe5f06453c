//! The plan of a run of `hrm distill`: both phases, the teacher's and the student's.

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::{PlanArgs, kind, rooms, settings, time};
use crate::cli::distill::dataset;
use crate::config::{DistillConfig, DistillData};
use crate::cost::{Card, Prediction};
use crate::dtype::DType;
use crate::io::progress::Progress;
use crate::io::units::{compact_time, grouped};
use crate::run::checkpoint::Side;
use crate::train::distill::{Length, Needed, Options, Phase};
use crate::train::room::{Room, largest_of};
use crate::{Error, Result};

/// Shape of the product that this CPU's speed is measured with: a convolution's, about.
const PROBE: (usize, usize) = (4096, 256);

/// A phase, its steps, and how long one takes.
struct Timed {
    phase: Phase,
    steps: u64,
    time: Time,
}

enum Time {
    /// Seconds at least, on this CPU.
    AtLeast(f64),
    /// What is predicted for a card.
    Predicted(Prediction),
    /// It does not fit the card.
    Unknown,
}

/// Print the plan.
pub fn run(args: &PlanArgs) -> Result<()> {
    for (flag, is_given) in [("--data", args.data.is_some()), ("--puzzles", args.puzzles.is_some())]
    {
        if is_given {
            return Err(Error::invalid(format!(
                "{flag}: a distillation has images, name them with data.dataset=NAME or PATH"
            )));
        }
    }
    let card = args.card()?;
    let kind = kind(&card);
    let merged = args.settings.merged::<DistillConfig>(kind)?;
    let config = merged.config()?;
    let (images, basis) = images(&config.data)?;
    let length = Length::of(&config, images);
    let options = Options::of(&config, length.batch);
    let Needed { memory, phases } = Needed::of(kind, &options)?;
    let total = memory.total_bytes();
    let rooms = rooms::all(args.vram, card.as_ref()).into_iter().map(|(bytes, is)| {
        let largest_batch = largest_of(bytes, |batch_size| {
            let options = Options { batch_size, ..options.clone() };
            Ok(Needed::of(kind, &options)?.memory.total_bytes())
        });
        Ok(Room { bytes, is, largest_batch: largest_batch? })
    });
    let rooms: Vec<Room> = rooms.collect::<Result<_>>()?;
    let fits = total <= rooms[0].bytes;
    let measured = card.is_none().then(|| time::of_this_cpu(DType::F32, PROBE.0, PROBE.1));
    let phases = phases.into_iter().map(|phase| Timed {
        time: match (&measured, &card) {
            (Some((rate, _)), _) => Time::AtLeast(phase.work.total.matmul_flops / rate),
            (None, Some(card)) if fits => Time::Predicted(time::on_card(&phase.work, card)),
            _ => Time::Unknown,
        },
        steps: match phase.side {
            Side::Teacher => length.teacher_steps,
            Side::Student => length.student_steps,
        },
        phase,
    });
    let phases: Vec<Timed> = phases.collect();
    let cpu_basis = measured.map(|(_, basis)| basis);
    if args.json {
        let of_phases = phases.iter().map(|timed| {
            (timed.phase.side.name().to_owned(), json_of(timed, card.as_ref(), length.batch))
        });
        let mut plan = json!({
            "settings": settings(&merged)?,
            "data": basis,
            "device": if card.is_some() { "cuda" } else { "cpu" },
            "memory_bytes": rooms::memory_json(&memory),
            "total_bytes": total,
            "rows_per_step": length.batch,
            "phases": of_phases.collect::<serde_json::Map<_, _>>(),
            "room_bytes": rooms[0].bytes,
            "largest_batch": rooms[0].largest_batch,
            "rooms": rooms::json(&rooms),
        });
        if let Some(basis) = cpu_basis {
            plan["step_s_basis"] = json!(basis);
        }
        outln!("{plan}");
        return Ok(());
    }
    let mut text = format!("data         {basis}\n");
    for Timed { phase, .. } in &phases {
        let _ = write!(text, "parameters   {} in the {}", grouped(phase.parameters), name(phase));
        let _ = match phase.beside {
            0 => writeln!(text),
            n => writeln!(text, " and {} in its projector", grouped(n)),
        };
    }
    for Timed { phase, steps, .. } in &phases {
        let _ = writeln!(
            text,
            "phase        {}: {} steps of {} images, {:.1} GFLOP in products each",
            name(phase),
            grouped(*steps as usize),
            length.batch,
            phase.work.total.matmul_flops / 1e9
        );
    }
    text += &rooms::memory_text(&memory, card.as_ref());
    text += &rooms::text(&rooms);
    if !fits {
        let _ = writeln!(text, "does not fit {}: make train.batch_size smaller", rooms[0].is);
    }
    for timed in &phases {
        text += &text_of(timed, card.as_ref(), length.batch);
    }
    if let Some(basis) = cpu_basis {
        let _ = writeln!(text, "basis        {basis}");
    }
    if let (Some(card), Some(Time::Predicted(p))) = (&card, phases.last().map(|t| &t.time)) {
        text += &time::basis_text(p, card);
    }
    outln!("{}", text.trim_end());
    Ok(())
}

fn name(phase: &Phase) -> &'static str {
    phase.side.name()
}

/// Training images, and where their number comes from. A set by name has its published number, so
/// that nothing is fetched; a path is read.
fn images(data: &DistillData) -> Result<(usize, String)> {
    let limited = |n: usize| match data.train_images {
        0 => n,
        limit => n.min(limit),
    };
    Ok(match dataset::by_name(&data.dataset) {
        Some(source) => {
            let n = limited(source.train_images());
            (n, format!("{}: {} images to train on, as published", source.name(), grouped(n)))
        }
        None => {
            let mut data = data.clone();
            data.dataset = dataset::absolute(&data.dataset)?;
            let n = dataset::read(&data, Progress::Shown)?.train.n;
            (n, format!("{}: {} images to train on", data.dataset, grouped(n)))
        }
    })
}

fn json_of(timed: &Timed, card: Option<&Card>, batch_size: usize) -> Value {
    let Timed { phase, steps, time } = timed;
    let mut json = json!({
        "parameters": phase.parameters,
        "projector_parameters": phase.beside,
        "steps": steps,
        "matmul_flops_per_step": phase.work.total.matmul_flops,
    });
    match (time, card) {
        (Time::AtLeast(s), _) => json["step_s_at_least"] = json!(s),
        (Time::Predicted(p), Some(card)) => {
            json["predicted"] = time::json(p, card, batch_size, batch_size);
        }
        _ => {}
    }
    json
}

fn text_of(timed: &Timed, card: Option<&Card>, batch_size: usize) -> String {
    let (name, steps) = (name(&timed.phase), timed.steps);
    let all_s = |step_s: f64| compact_time(step_s * steps as f64);
    match (&timed.time, card) {
        (Time::AtLeast(s), _) => {
            format!("step time    {name}: at least {s:.3} s, {} for all steps\n", all_s(*s))
        }
        (Time::Predicted(p), Some(card)) => format!(
            "{}expected     {name}: {} for all steps, not measured ({} if every unit reached its full \
             rate)\n",
            time::table(p, card, batch_size, batch_size),
            all_s(p.expected_s),
            all_s(p.step_s)
        ),
        _ => format!("predicted    {name}: nothing, it does not fit\n"),
    }
}
