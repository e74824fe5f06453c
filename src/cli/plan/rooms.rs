//! Memory that a run takes, memory that there is, and what fits into it.

use std::fmt::Write as _;

use serde_json::{Map, Value, json};

use crate::cost::Card;
use crate::io::machine;
use crate::io::units::MIB;
use crate::train::needed::Memory;
use crate::train::room::Room;

pub const GIB: usize = 1 << 30;

/// What the batch is to fit, the most important first.
pub fn all(vram: Option<usize>, card: Option<&Card>) -> Vec<(usize, String)> {
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

/// Lines of a plan: what a run takes, part by part.
pub fn memory_text(memory: &Memory, card: Option<&Card>) -> String {
    let mut text = String::new();
    let all = memory.parts().chain([("total", memory.total_bytes())]);
    for (name, bytes) in all {
        let _ = writeln!(text, "memory       {name:<12}{:>10.1} MiB", bytes as f64 / MIB);
    }
    if card.is_some() {
        let _ = writeln!(text, "memory       {CONTEXT_NOTE}");
    }
    text
}

/// What memory figures leave out.
const CONTEXT_NOTE: &str = "the driver's context, its code and libraries come on top: some \
    hundred MiB, not known here";

pub fn memory_json(memory: &Memory) -> Map<String, Value> {
    memory.parts().map(|(name, bytes)| (name.to_owned(), json!(bytes))).collect()
}

/// Lines of a plan: the largest batch of each room.
pub fn text(rooms: &[Room]) -> String {
    let mut text = String::new();
    for room in rooms {
        let fits = match room.largest_batch {
            Some(n) => format!("train.batch_size={n}"),
            None => "not even train.batch_size=1".into(),
        };
        let gib = room.bytes as f64 / GIB as f64;
        let _ = writeln!(text, "largest      {fits} in {gib:.2} GiB ({})", room.is);
    }
    text
}

pub fn json(rooms: &[Room]) -> Value {
    let rooms = rooms.iter().map(|room| {
        json!({
            "room": room.is, "room_bytes": room.bytes, "largest_batch": room.largest_batch,
        })
    });
    rooms.collect()
}
