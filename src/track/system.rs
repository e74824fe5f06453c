//! Load of the machine and of this process, under the names that W&B's system charts know.

use std::time::{Duration, Instant};

use sysinfo::{ProcessRefreshKind, ProcessesToUpdate, get_current_pid};

/// W&B's own client samples this often.
const EVERY: Duration = Duration::from_secs(10);

pub struct System {
    machine: sysinfo::System,
    sampled: Option<Instant>,
}

impl System {
    pub fn new() -> Self {
        Self { machine: sysinfo::System::new(), sampled: None }
    }

    /// A sample, if the last one is long enough ago. Shares of the CPU are since the last sample; the
    /// first one has none to compare with and gives none.
    pub fn due(&mut self) -> Option<Vec<(&'static str, f64)>> {
        if self.sampled.is_some_and(|at| at.elapsed() < EVERY) {
            return None;
        }
        let first = self.sampled.replace(Instant::now()).is_none();
        let machine = &mut self.machine;
        machine.refresh_cpu_usage();
        machine.refresh_memory();
        let mut load = vec![];
        if !first {
            load.push(("cpu", machine.global_cpu_usage() as f64));
        }
        if machine.total_memory() > 0 {
            let used_frac = machine.used_memory() as f64 / machine.total_memory() as f64;
            load.push(("memory_percent", 100.0 * used_frac));
        }
        if let Ok(pid) = get_current_pid() {
            let what = ProcessRefreshKind::nothing().with_memory();
            machine.refresh_processes_specifics(ProcessesToUpdate::Some(&[pid]), false, what);
            if let Some(process) = machine.process(pid) {
                let mib = process.memory() as f64 / (1 << 20) as f64;
                load.push(("proc.memory.rssMB", mib));
            }
        }
        Some(load)
    }
}

impl Default for System {
    fn default() -> Self {
        Self::new()
    }
}
