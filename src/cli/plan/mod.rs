//! `hrm plan`: what a run will need, before it runs. Memory is exact, by the same code on a device
//! without memory; time is a bound from a measurement, or a prediction for a card, and says which.
//!
//! `sizes.rs` what the data adds · `time.rs` step time · `probe.rs` the speed of this CPU.

mod probe;
mod sizes;
mod time;

use std::fmt::Write as _;
use std::path::PathBuf;

use clap::Args;
use clap::builder::RangedU64ValueParser;
use serde_json::json;

use super::common::{SettingsArgs, start_threads, threads};
use crate::backend::{Device, DeviceKind, Purpose};
use crate::config::Settings;
use crate::cost::Card;
use crate::io::machine;
use crate::io::units::{MIB, bytes, grouped};
use crate::train::needed::Needed;
use crate::train::room::{Room, does_not_fit, for_batches_of, recomputing};
use crate::train::setup;
use crate::{Error, Result};

const GIB: usize = 1 << 30;
/// The card that a prediction is for when none is named.
const DEFAULT_CARD: &str = "4090";

/// Say what a run will need before it runs: memory by purpose, parameters, the largest batch, time
///
/// Memory is exact for everything that the engine allocates (the program itself, scratch of its
/// threads and a GPU driver's context come on top). For a CPU the step time is a lower bound,
/// printed with the measurement behind it. For a card it is a prediction from counted work, kernel
/// by kernel, printed with its formula and the card's published figures; no GPU is needed. A data
/// set that is not built yet is taken at its published size.
#[derive(Debug, Args)]
#[command(after_long_help = concat!(
    "Examples:\n",
    "  hrm plan arc-small\n",
    "  hrm plan arc1 --card 4090                     memory, largest batch and step time on that card\n",
    "  hrm plan sudoku-extreme --card h100 --json    every kernel, for scripts\n",
    "  hrm plan arc1 train.precision=f32 --data data/my-arc --vram 16GiB",
))]
pub struct PlanArgs {
    #[command(flatten)]
    pub settings: SettingsArgs,
    /// Folder of a built data set; default: what the preset has built under data/, else published
    /// sizes
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// cpu (default), or cuda: the CUDA engine on the card of --card
    #[arg(long, value_name = "DEVICE")]
    pub device: Option<String>,
    /// Card to predict for: 4090 (default with --device cuda), 4090-laptop, h100, h200
    #[arg(long, value_name = "CARD")]
    pub card: Option<String>,
    /// Puzzle ids, variants included, when no data set is there to count them
    #[arg(long, value_name = "N", conflicts_with = "data",
        value_parser = RangedU64ValueParser::<usize>::new().range(1..1 << 31))]
    pub puzzles: Option<usize>,
    /// Memory that the run may take; default: the card's, or what is available here
    #[arg(long, value_name = "SIZE", value_parser = bytes)]
    pub vram: Option<usize>,
    /// CPU threads of the speed measurement; default: all
    #[arg(long, value_name = "N", value_parser = threads)]
    pub threads: Option<usize>,
    /// One JSON object instead
    #[arg(long)]
    pub json: bool,
}

pub fn run(args: PlanArgs) -> Result<()> {
    start_threads(args.threads)?;
    let merged = args.settings.merged()?;
    let mut config: Settings = merged.config()?;
    let card = card(args.device.as_deref(), args.card.as_deref())?;
    let kind = if card.is_some() { DeviceKind::Cuda } else { DeviceKind::Cpu };
    let sizes = sizes::of(&config.data, args.data.as_deref(), args.puzzles)?;
    config.data.canvas = sizes.canvas;
    let shape = config.shape(sizes.cells, sizes.vocabulary, sizes.puzzle_ids);
    let options = setup::options(&config);
    let needed = Needed::of(kind, &shape, options)?;
    let model = shape.build(&Device::shape_only(kind), options.compute())?;
    let dims = model.dims();
    let dense = model.params().elems();
    let puzzle = model.trainable_elems() - dense;
    let rooms = rooms(args.vram, card.as_ref())
        .into_iter()
        .map(|room| Room::new(kind, &shape, options, room))
        .collect::<Result<Vec<_>>>()?;
    let recomputed: Vec<(&str, usize)> = recomputing(&shape, options)
        .map(|o| Ok((o.recompute.word(), Needed::of(kind, &shape, o)?.total_bytes())))
        .collect::<Result<_>>()?;
    let names = Purpose::ALL.iter().map(|p| p.name());
    let memory: Vec<(&str, usize)> =
        names.zip(needed.bytes).chain([("gaps", needed.gaps_bytes)]).collect();
    let total = needed.total_bytes();
    let rows_of = |batch_size| batch_size * options.grad_accum;

    // A batch that does not fit is predicted at the size that does.
    let predicted = match (&card, rooms[0].largest_batch) {
        (Some(card), Some(largest)) => {
            let batch_size = dims.batch_size.min(largest);
            let needed = Needed::of(kind, &for_batches_of(&shape, batch_size), options)?;
            Some((card, batch_size, time::on_card(&needed, card)))
        }
        _ => None,
    };
    let bound = match card {
        None => {
            let rows = dims.batch_size * dims.positions();
            Some(time::on_this_cpu(&needed, options.dtype, rows, dims.hidden_size))
        }
        Some(_) => None,
    };

    if args.json {
        let memory: serde_json::Map<_, _> =
            memory.into_iter().map(|(name, n)| (name.to_owned(), json!(n))).collect();
        let rooms_json = rooms.iter().map(
            |r| json!({"room": r.is, "room_bytes": r.bytes, "largest_batch": r.largest_batch}),
        );
        let settings: serde_json::Map<_, _> = merged
            .entries()?
            .map(|(key, value, source)| (key, json!({"value": value, "from": source})))
            .collect();
        let mut plan = json!({
            "settings": settings,
            "data": sizes.basis,
            "device": if card.is_some() { "cuda" } else { "cpu" },
            "parameters": dense,
            "puzzle_embedding_parameters": puzzle,
            "memory_bytes": memory,
            "total_bytes": total,
            "total_bytes_with_recompute": recomputed.iter().copied().collect::<std::collections::BTreeMap<_, _>>(),
            "matmul_flops_per_step": needed.work.total.matmul_flops,
            "rows_per_step": rows_of(dims.batch_size),
            "room_bytes": rooms[0].bytes,
            "largest_batch": rooms[0].largest_batch,
            "rooms": rooms_json.collect::<Vec<_>>(),
        });
        if let Some((least_s, basis)) = bound {
            plan["step_s_at_least"] = json!(least_s);
            plan["step_s_basis"] = json!(basis);
        }
        if let Some((card, batch_size, p)) = predicted {
            plan["predicted"] = time::json(&p, card, batch_size, rows_of(batch_size));
        }
        outln!("{plan}");
        return Ok(());
    }
    let mut text = String::new();
    let _ = writeln!(text, "data         {}", sizes.basis);
    let _ = writeln!(
        text,
        "parameters   {} and {} in puzzle embeddings",
        grouped(dense),
        grouped(puzzle)
    );
    let _ = writeln!(
        text,
        "step         {} rows of {} positions, {:.1} GFLOP in matrix products",
        rows_of(dims.batch_size),
        dims.positions(),
        needed.work.total.matmul_flops / 1e9
    );
    for (name, n) in memory {
        let _ = writeln!(text, "memory       {name:<12}{:>10.1} MiB", n as f64 / MIB);
    }
    let _ = writeln!(text, "memory       total       {:>10.1} MiB", total as f64 / MIB);
    if card.is_some() {
        let _ = writeln!(text, "memory       {}", time::CONTEXT_NOTE);
    }
    for room in &rooms {
        let fits = match room.largest_batch {
            Some(n) => format!("train.batch_size={n}"),
            None => "not even train.batch_size=1".into(),
        };
        let gib = room.bytes as f64 / GIB as f64;
        let _ = writeln!(text, "largest      {fits} in {gib:.2} GiB ({})", room.is);
    }
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
        Some((card, batch_size, p)) => {
            text += &time::table(&p, card, batch_size, rows_of(batch_size));
        }
        None if card.is_some() => text += "predicted    nothing: it does not fit",
        None => {}
    }
    outln!("{}", text.trim_end());
    Ok(())
}

/// The card to predict for; none: the CPU.
fn card(device: Option<&str>, card: Option<&str>) -> Result<Option<Card>> {
    match (device, card) {
        (None | Some("cpu"), None) => Ok(None),
        (Some("cuda"), None) => Card::named(DEFAULT_CARD).map(Some),
        (None | Some("cuda"), Some(name)) => Card::named(name).map(Some),
        (Some("cpu"), Some(name)) => {
            Err(Error::invalid(format!("--device cpu and --card {name} exclude each other")))
        }
        (Some(other), _) => {
            Err(Error::invalid(format!("--device {other}: a plan is for cpu or cuda")))
        }
    }
}

/// What the batch is to fit, the most important first.
fn rooms(vram: Option<usize>, card: Option<&Card>) -> Vec<(usize, String)> {
    match (vram, card) {
        (Some(bytes), _) => vec![(bytes, "--vram".into())],
        (None, Some(card)) => {
            let mut all = vec![(card.memory_bytes, format!("all memory of the {}", card.title))];
            for gib in [16, 24] {
                if gib * GIB != card.memory_bytes {
                    all.push((gib * GIB, format!("a card of {gib} GiB")));
                }
            }
            all
        }
        (None, None) => match machine::memory_bytes() {
            Some((_, available)) => vec![(available, "memory available here".into())],
            None => vec![(0, "memory of this machine: unknown, give --vram".into())],
        },
    }
}
