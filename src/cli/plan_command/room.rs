//! Memory: how much there is, and the largest batch that fits it.

use crate::Result;
use crate::backend::DeviceKind;
use crate::models::Config;
use crate::train::needed::Needed;
use crate::train::trainer::Options;

pub const MIB: f64 = (1 << 20) as f64;
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
        shape: &Config,
        options: Options,
        (bytes, is): (usize, String),
    ) -> Result<Self> {
        Ok(Self { bytes, is, largest_batch: largest_batch(kind, shape, options, bytes)? })
    }
}

/// The largest `train.batch_size` whose peak fits in `room` bytes.
fn largest_batch(
    kind: DeviceKind,
    shape: &Config,
    options: Options,
    room: usize,
) -> Result<Option<usize>> {
    let fits = |batch_size: usize| -> Result<bool> {
        let shape = shape.clone().with_batch_size(batch_size);
        Ok(Needed::of(kind, &shape, options)?.total_bytes() <= room)
    };
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

/// 1,234,567
pub fn grouped(n: usize) -> String {
    let digits = n.to_string();
    let comma = |i: usize| i > 0 && (digits.len() - i).is_multiple_of(3);
    let spread = digits.chars().enumerate().map(|(i, c)| (comma(i), c));
    spread.flat_map(|(comma, c)| comma.then_some(',').into_iter().chain([c])).collect()
}

/// `16GiB`, `24GB`, `512MiB`, or plain bytes.
pub fn parse_bytes(text: &str) -> Result<usize, String> {
    let at = text.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(text.len());
    let unit = match text[at..].to_ascii_lowercase().as_str() {
        "" | "b" => 1.0,
        "mb" => 1e6,
        "gb" => 1e9,
        "mib" => MIB,
        "gib" => MIB * 1024.0,
        other => return Err(format!("unit {other}: expected MiB, GiB, MB or GB")),
    };
    let number: f64 = text[..at].trim().parse().map_err(|_| "expected for example 16GiB")?;
    match number.is_finite() && number > 0.0 {
        true => Ok((number * unit) as usize),
        false => Err("must be above 0".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::setup;

    #[test]
    fn sizes_with_units() {
        assert_eq!(parse_bytes("16GiB"), Ok(16 << 30));
        assert_eq!(parse_bytes("1.5 MB"), Ok(1_500_000));
        assert_eq!(parse_bytes("4096"), Ok(4096));
        assert!(parse_bytes("16 potatoes").is_err() && parse_bytes("-1GiB").is_err());
        assert_eq!(grouped(1_234_567), "1,234,567");
        assert_eq!(grouped(123), "123");
    }

    #[test]
    fn the_largest_batch_fits_and_the_next_does_not() {
        let config = crate::config::Config::load(Some("arc-small"), None, &[]).unwrap();
        let (shape, options) = (setup::model_of(&config, 49, 12, 1_000), setup::options(&config));
        let room = 100 << 20;
        for kind in [DeviceKind::Cpu, DeviceKind::Cuda] {
            let total = |batch_size| {
                let shape = shape.clone().with_batch_size(batch_size);
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
