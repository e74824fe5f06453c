//! Load of the machine and of one process on it, and how W&B's system charts call the numbers.

use sysinfo::{Pid, ProcessRefreshKind, ProcessesToUpdate};

use super::gpu::{Card, Cards};

pub struct System {
    machine: sysinfo::System,
    cards: Cards,
    pid: Option<Pid>,
    sampled: bool,
}

/// One look at the machine.
#[derive(Clone, Debug, Default)]
pub struct Load {
    /// Use of all cores since the look before; the first has none to compare with.
    pub cpu_percent: Option<f64>,
    pub memory_used_bytes: f64,
    pub memory_total_bytes: f64,
    /// Resident memory of the process; `None`: there is no such process here.
    pub process_bytes: Option<f64>,
    pub cards: Vec<Card>,
}

impl System {
    /// `pid`: the process whose memory is of interest.
    pub fn new(pid: Option<u32>) -> Self {
        let (machine, cards) = (sysinfo::System::new(), Cards::open());
        Self { machine, cards, pid: pid.map(Pid::from_u32), sampled: false }
    }

    pub fn sample(&mut self) -> Load {
        let machine = &mut self.machine;
        machine.refresh_cpu_usage();
        machine.refresh_memory();
        if let Some(pid) = self.pid {
            let what = ProcessRefreshKind::nothing().with_memory();
            machine.refresh_processes_specifics(ProcessesToUpdate::Some(&[pid]), true, what);
        }
        let process = self.pid.and_then(|pid| machine.process(pid));
        let first = !std::mem::replace(&mut self.sampled, true);
        Load {
            cpu_percent: (!first).then(|| f64::from(machine.global_cpu_usage())),
            memory_used_bytes: machine.used_memory() as f64,
            memory_total_bytes: machine.total_memory() as f64,
            process_bytes: process.map(|process| process.memory() as f64),
            cards: self.cards.sample(),
        }
    }
}

impl Load {
    /// Under W&B's names.
    pub fn metrics(&self) -> Vec<(String, f64)> {
        let mut all = vec![];
        if let Some(percent) = self.cpu_percent {
            all.push(("cpu".to_owned(), percent));
        }
        if self.memory_total_bytes > 0.0 {
            let percent = 100.0 * self.memory_used_bytes / self.memory_total_bytes;
            all.push(("memory_percent".to_owned(), percent));
        }
        if let Some(bytes) = self.process_bytes {
            all.push(("proc.memory.rssMB".to_owned(), bytes / f64::from(1 << 20)));
        }
        all.extend(self.cards.iter().enumerate().flat_map(|(i, card)| card.metrics(i)));
        all
    }
}
