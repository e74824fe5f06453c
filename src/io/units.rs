//! Sizes and times as people write them.

use std::time::Duration;

pub const MIB: f64 = (1 << 20) as f64;
/// Longest time that can be asked for.
const DAY_S: f64 = 86_400.0;

/// `16GiB`, `24GB`, `512MiB`: a number without a unit is refused, since nobody means bytes by it.
pub fn bytes(text: &str) -> Result<usize, String> {
    let at = text.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(text.len());
    let number = text[..at].trim();
    let unit = match text[at..].to_ascii_lowercase().as_str() {
        "" => return Err(format!("give a unit, for example {text}GiB")),
        "b" => 1.0,
        "mb" => 1e6,
        "gb" => 1e9,
        "mib" => MIB,
        "gib" => MIB * 1024.0,
        other => return Err(format!("unit {other}: expected MiB, GiB, MB, GB or B")),
    };
    let number: f64 = number.parse().map_err(|_| "expected for example 16GiB")?;
    match number * unit {
        n if n >= 1.0 && n < usize::MAX as f64 => Ok(n as usize),
        n if n < 1.0 => Err("must be above 0".into()),
        _ => Err("is more than any memory".into()),
    }
}

/// `90`, `90s`, `1.5m`, `1h`; a number alone is seconds.
pub fn duration(text: &str) -> Result<Duration, String> {
    let units = [("h", 3600.0), ("m", 60.0), ("s", 1.0)];
    let unit = units.iter().find_map(|&(unit, s)| Some((text.strip_suffix(unit)?, s)));
    let (number, unit_s) = unit.unwrap_or((text, 1.0));
    match number.trim().parse::<f64>().map(|n| Duration::try_from_secs_f64(n * unit_s)) {
        Ok(Ok(time)) if !time.is_zero() && time.as_secs_f64() <= DAY_S => Ok(time),
        _ => Err("expected a time above 0, at most a day, such as 0.5, 60s or 2m".into()),
    }
}

/// Seconds as `7s`, `3m05s` or `2h10m`.
pub fn compact_time(seconds: f64) -> String {
    let s = seconds.round() as u64;
    match s {
        0..60 => format!("{s}s"),
        60..3600 => format!("{}m{:02}s", s / 60, s % 60),
        _ => format!("{}h{:02}m", s / 3600, s / 60 % 60),
    }
}

/// An integer as `1,234,567`.
pub fn grouped(n: usize) -> String {
    let digits = n.to_string();
    let comma = |i: usize| i > 0 && (digits.len() - i).is_multiple_of(3);
    let spread = digits.chars().enumerate().map(|(i, c)| (comma(i), c));
    spread.flat_map(|(comma, c)| comma.then_some(',').into_iter().chain([c])).collect()
}

/// `1 thread`, `2 threads`
pub fn count(n: usize, thing: &str) -> String {
    format!("{n} {thing}{}", if n == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_with_units() {
        assert_eq!(bytes("16GiB"), Ok(16 << 30));
        assert_eq!(bytes("1.5 MB"), Ok(1_500_000));
        assert_eq!(bytes("4096b"), Ok(4096));
        let refused = ["16", "16 potatoes", "-1GiB", "0GiB", "nanGiB", "1e300GB", "GiB", ""];
        assert!(refused.iter().all(|text| bytes(text).is_err()));
        assert!(bytes("16").unwrap_err().contains("16GiB"));
        assert_eq!(grouped(1_234_567), "1,234,567");
        assert_eq!(grouped(123), "123");
        assert_eq!(
            (count(1, "thread"), count(2, "thread")),
            ("1 thread".into(), "2 threads".into())
        );
    }

    #[test]
    fn times_are_short() {
        let text = [7.4, 59.6, 185.0, 7_800.0].map(compact_time);
        assert_eq!(text, ["7s", "1m00s", "3m05s", "2h10m"]);
    }

    #[test]
    fn times_with_units() {
        for (text, s) in [("90", 90.0), ("0.5", 0.5), ("90s", 90.0), ("1.5m", 90.0), ("1h", 3600.0)]
        {
            assert_eq!(duration(text), Ok(Duration::from_secs_f64(s)), "{text}");
        }
        let refused = ["", "s", "0", "-1s", "nan", "inf", "25h", "5 years"];
        assert!(refused.iter().all(|text| duration(text).is_err()));
    }
}
