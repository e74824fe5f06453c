//! NVML, the driver's own library, opened at run time: where there is none, or no card, there is
//! simply nothing to tell.

use nvml_wrapper::enum_wrappers::device::{Clock, TemperatureSensor};
use nvml_wrapper::{Device, Nvml};

use super::Card;

/// The cards of this machine, in NVML's order (by PCI bus, whatever `CUDA_VISIBLE_DEVICES` says).
pub struct Cards(Option<Nvml>);

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
