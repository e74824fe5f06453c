//! Load of NVIDIA cards. A build without feature `cuda` computes on none, and asks none.

#[cfg(feature = "cuda")]
mod nvml;
#[cfg(feature = "cuda")]
pub use nvml::Cards;

/// The cards of a build that has no use for them: none.
#[cfg(not(feature = "cuda"))]
pub struct Cards;

#[cfg(not(feature = "cuda"))]
impl Cards {
    pub fn open() -> Self {
        Self
    }

    pub fn sample(&self) -> Vec<Card> {
        vec![]
    }
}

/// One look at a card. `None`: this card or driver does not tell.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Card {
    pub name: String,
    /// Share of the last moments in which a kernel ran, and in which its memory was at work.
    pub busy_percent: Option<f64>,
    pub memory_busy_percent: Option<f64>,
    pub memory_used_bytes: Option<f64>,
    pub memory_total_bytes: Option<f64>,
    pub temperature_c: Option<f64>,
    pub power_w: Option<f64>,
    pub power_limit_w: Option<f64>,
    pub sm_clock_mhz: Option<f64>,
    pub memory_clock_mhz: Option<f64>,
}

impl Card {
    /// Under W&B's names, of card `i`.
    pub fn metrics(&self, i: usize) -> Vec<(String, f64)> {
        let percent = |part: Option<f64>, whole: Option<f64>| match (part, whole) {
            (Some(part), Some(whole)) if whole > 0.0 => Some(100.0 * part / whole),
            _ => None,
        };
        let all = [
            ("gpu", self.busy_percent),
            ("memory", self.memory_busy_percent),
            ("memoryAllocated", percent(self.memory_used_bytes, self.memory_total_bytes)),
            ("memoryAllocatedBytes", self.memory_used_bytes),
            ("temp", self.temperature_c),
            ("powerWatts", self.power_w),
            ("powerPercent", percent(self.power_w, self.power_limit_w)),
            ("smClock", self.sm_clock_mhz),
            ("memoryClock", self.memory_clock_mhz),
        ];
        let told = all.into_iter().filter_map(|(name, value)| Some((name, value?)));
        told.map(|(name, value)| (format!("gpu.{i}.{name}"), value)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_card_does_not_tell_is_left_out() {
        let card = Card {
            busy_percent: Some(97.0),
            memory_used_bytes: Some(3e9),
            memory_total_bytes: Some(12e9),
            power_w: Some(70.0),
            ..Card::default()
        };
        let named: Vec<(String, f64)> = card.metrics(1);
        let want = [
            ("gpu.1.gpu", 97.0),
            ("gpu.1.memoryAllocated", 25.0),
            ("gpu.1.memoryAllocatedBytes", 3e9),
            ("gpu.1.powerWatts", 70.0),
        ];
        assert_eq!(named, want.map(|(name, value)| (name.to_owned(), value)));
        let unknown = Card { memory_total_bytes: Some(0.0), ..card };
        assert!(unknown.metrics(0).iter().all(|(name, _)| name != "gpu.0.memoryAllocated"));
    }
}
