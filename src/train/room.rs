//! The memory that a training step may take, and the largest batch that fits it.

use super::needed::Needed;
use super::trainer::Options;
use crate::Result;
use crate::backend::DeviceKind;
use crate::models::{ModelShape, Sizes};
use crate::nn::level::Recompute;

const LARGEST_BATCH: usize = 1 << 20;

/// Memory of a name, and what fits into it.
pub struct Room {
    pub bytes: usize,
    pub is: String,
    pub largest_batch: Option<usize>,
}

impl Room {
    pub fn new(
        kind: DeviceKind,
        shape: &ModelShape,
        options: Options,
        (bytes, is): (usize, String),
    ) -> Result<Self> {
        Ok(Self { bytes, is, largest_batch: largest_batch(kind, shape, options, bytes)? })
    }
}

/// Another setting of a run, and what it takes.
pub struct Way {
    pub settings: String,
    pub bytes: usize,
}

/// Options of a run with each other way to save memory by computing again.
pub fn recomputing(shape: &ModelShape, options: Options) -> impl Iterator<Item = Options> {
    let all = shape.config.arch().recomputations().iter();
    let others = all.filter(move |r| **r != Recompute::None && **r != options.recompute);
    others.map(move |&recompute| Options { recompute, ..options })
}

/// A model's shape for batches of another size.
pub fn for_batches_of(shape: &ModelShape, batch_size: usize) -> ModelShape {
    ModelShape { sizes: Sizes { batch_size, ..shape.sizes }, ..shape.clone() }
}

/// What to change so that a run fits `room` bytes, the least loss of speed first: smaller batches
/// with more of them to a step, as many rows at least; the same batch recomputed; both.
pub fn ways_to_fit(
    kind: DeviceKind,
    shape: &ModelShape,
    options: Options,
    room: usize,
) -> Result<Vec<Way>> {
    let (rows, asked) = (shape.sizes.batch_size * options.grad_accum, options.recompute);
    let mut ways = vec![];
    for options in std::iter::once(options).chain(recomputing(shape, options)) {
        let most = shape.sizes.batch_size;
        let recomputed = match options.recompute == asked {
            true => String::new(),
            false => format!(" train.recompute={}", options.recompute.word()),
        };
        let Some(fitting) = largest_batch_up_to(kind, shape, options, room, most)? else {
            continue;
        };
        let accum = rows.div_ceil(fitting);
        let batch = format!("train.batch_size={fitting} train.grad_accum={accum}");
        let options = Options { grad_accum: accum, ..options };
        let bytes = Needed::of(kind, &for_batches_of(shape, fitting), options)?.total_bytes();
        if bytes <= room {
            ways.push(Way { settings: batch + &recomputed, bytes });
        }
    }
    Ok(ways)
}

/// The error of a run that takes more than there is.
pub fn does_not_fit(
    kind: DeviceKind,
    shape: &ModelShape,
    options: Options,
    needed: usize,
    (room, is): (usize, &str),
) -> Result<crate::Error> {
    let gib = |bytes: usize| bytes as f64 / (1 << 30) as f64;
    let (of_run, of_room) = (gib(needed), gib(room));
    let mut text = format!("a training step takes {of_run:.2} GiB, but {is} is {of_room:.2} GiB.");
    let ways = ways_to_fit(kind, shape, options, room)?;
    text += if ways.is_empty() { " No batch of it fits" } else { " These would fit:" };
    for Way { settings, bytes } in ways {
        text += &format!("\n  {settings}   ({:.2} GiB)", gib(bytes));
    }
    Ok(crate::Error::invalid(text))
}

/// The largest batch that fits, up to `most`.
fn largest_batch_up_to(
    kind: DeviceKind,
    shape: &ModelShape,
    options: Options,
    room: usize,
    most: usize,
) -> Result<Option<usize>> {
    Ok(largest_batch(kind, shape, options, room)?.map(|n| n.min(most)))
}

/// The largest `train.batch_size` whose peak fits in `room` bytes.
fn largest_batch(
    kind: DeviceKind,
    shape: &ModelShape,
    options: Options,
    room: usize,
) -> Result<Option<usize>> {
    largest_of(room, |batch_size| {
        Ok(Needed::of(kind, &for_batches_of(shape, batch_size), options)?.total_bytes())
    })
}

/// The largest batch that takes at most `room` bytes, where `bytes_of` says what a batch takes.
pub fn largest_of(room: usize, bytes_of: impl Fn(usize) -> Result<usize>) -> Result<Option<usize>> {
    let fits = |batch_size: usize| -> Result<bool> { Ok(bytes_of(batch_size)? <= room) };
    if !fits(1)? {
        return Ok(None);
    }
    // One row fits, so what goes wrong with more of them is that they are too many for some kernel.
    let fits = |batch_size| fits(batch_size).unwrap_or(false);
    let (mut good, mut bad) = (1, 2);
    while bad <= LARGEST_BATCH && fits(bad) {
        (good, bad) = (bad, 2 * bad);
    }
    while bad - good > 1 {
        let middle = (good + bad) / 2;
        if fits(middle) { good = middle } else { bad = middle }
    }
    Ok(Some(good))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::setup;

    #[test]
    fn what_does_not_fit_is_answered_with_what_would() {
        let config = crate::config::Settings::load(Some("arc-full"), None, &[]).unwrap();
        let (shape, options) = (config.shape(900, 12, 1), setup::options(&config));
        let (kind, room) = (DeviceKind::Cuda, 4 << 30);
        let needed = Needed::of(kind, &shape, options).unwrap().total_bytes();
        assert!(needed > room && needed < 16 << 30, "{needed}: the preset is for 16 GB");
        let ways = ways_to_fit(kind, &shape, options, room).unwrap();
        assert!(ways.iter().all(|way| way.bytes <= room));
        let settings: Vec<&str> = ways.iter().map(|way| &way.settings[..]).collect();
        assert!(settings[0].starts_with("train.batch_size=") && !settings[0].contains("recompute"));
        for word in ["layer", "cycle"] {
            let same = format!("train.batch_size=24 train.grad_accum=2 train.recompute={word}");
            assert!(settings.contains(&&same[..]), "{settings:?}");
        }
        let error = does_not_fit(kind, &shape, options, needed, (room, "the card")).unwrap();
        let text = error.to_string();
        assert!(text.contains("the card is 4.00 GiB") && text.contains(settings[0]), "{text}");
    }

    #[test]
    fn the_largest_batch_fits_and_the_next_does_not() {
        let config = crate::config::Settings::load(Some("arc-small"), None, &[]).unwrap();
        let (shape, options) = (config.shape(49, 12, 1_000), setup::options(&config));
        let room = 100 << 20;
        for kind in [DeviceKind::Cpu, DeviceKind::Cuda] {
            let total = |batch_size| {
                let shape = for_batches_of(&shape, batch_size);
                Needed::of(kind, &shape, options).unwrap().total_bytes()
            };
            let largest = largest_batch(kind, &shape, options, room).unwrap().unwrap();
            assert!(total(largest) <= room && total(largest + 1) > room, "{kind:?} {largest}");
            assert_eq!(largest_batch(kind, &shape, options, 1 << 20).unwrap(), None);
        }
        // More memory than any grid has blocks for.
        let most = largest_batch(DeviceKind::Cuda, &shape, options, 1 << 42).unwrap().unwrap();
        assert!((1 << 15..1 << 20).contains(&most), "{most}");
    }
}
