//! Load of NVIDIA cards through NVML, the driver's own library. It is opened at run time: where there
//! is none, or no card, there is simply nothing to tell.

use nvml_wrapper::enum_wrappers::device::{Clock, TemperatureSensor};
use nvml_wrapper::{Device, Nvml};

/// The cards of this machine, in NVML's order (by PCI bus, whatever `CUDA_VISIBLE_DEVICES` says).
pub struct Cards(Option<Nvml>);

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

impl Cards {
    pub fn open() -> Self {
        Self(Nvml::init().ok())
    }

    pub fn sample(&self) -> Vec<Card> {
        let Some(nvml) = &self.0 else { return vec![] };
        let count = nvml.device_count().unwrap_or(0);
        let cards = (0..count).map(|i| nvml.device_by_index(i).map(|device| card(&device)));
        // A card that fell off the bus keeps its place, so that the others keep their numbers.
        cards.map(Result::unwrap_or_default).collect()
    }
}

fn card(device: &Device) -> Card {
    let busy = device.utilization_rates().ok();
    let memory = device.memory_info().ok();
    let clock = |which| device.clock_info(which).ok().map(f64::from);
    let watts = |milliwatts: u32| f64::from(milliwatts) / 1e3;
    Card {
        name: device.name().unwrap_or_default(),
        busy_percent: busy.as_ref().map(|busy| f64::from(busy.gpu)),
        memory_busy_percent: busy.as_ref().map(|busy| f64::from(busy.memory)),
        memory_used_bytes: memory.as_ref().map(|memory| memory.used as f64),
        memory_total_bytes: memory.as_ref().map(|memory| memory.total as f64),
        temperature_c: device.temperature(TemperatureSensor::Gpu).ok().map(f64::from),
        power_w: device.power_usage().ok().map(watts),
        power_limit_w: device.enforced_power_limit().ok().map(watts),
        sm_clock_mhz: clock(Clock::SM),
        memory_clock_mhz: clock(Clock::Memory),
    }
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
