//! What this machine is and what this process takes of it.

use sysinfo::{CpuRefreshKind, Pid, ProcessRefreshKind, ProcessesToUpdate, System};

/// The processor as the system names it.
pub fn cpu_model() -> String {
    let mut system = System::new();
    system.refresh_cpu_specifics(CpuRefreshKind::nothing());
    let brand = system.cpus().first().map(|cpu| cpu.brand().trim().to_owned());
    brand.filter(|brand| !brand.is_empty()).unwrap_or_else(|| std::env::consts::ARCH.to_owned())
}

/// Threads that this process can make use of: processors that it may run on, or fewer where a quota
/// grants the time of fewer.
pub fn usable_threads() -> usize {
    std::thread::available_parallelism().map_or(1, |n| n.get())
}

/// Instruction sets that kernels choose by: name, and whether it is here.
pub fn cpu_features() -> Vec<(&'static str, bool)> {
    #[cfg(target_arch = "x86_64")]
    {
        vec![
            ("avx2", is_x86_feature_detected!("avx2")),
            ("fma", is_x86_feature_detected!("fma")),
            ("avx512f", is_x86_feature_detected!("avx512f")),
            ("avx512bf16", is_x86_feature_detected!("avx512bf16")),
        ]
    }
    #[cfg(target_arch = "aarch64")]
    {
        vec![("neon", std::arch::is_aarch64_feature_detected!("neon"))]
    }
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    vec![]
}

/// Memory of the machine and what of it is free for programs, where the system tells.
pub fn memory_bytes() -> Option<(usize, usize)> {
    let mut system = System::new();
    system.refresh_memory();
    let (total, available) = (system.total_memory() as usize, system.available_memory() as usize);
    (total > 0).then_some((total, available))
}

/// Resident memory of this process.
pub fn resident_bytes() -> Option<usize> {
    let id = sysinfo::get_current_pid().ok()?;
    let mut system = System::new();
    let memory = ProcessRefreshKind::nothing().with_memory();
    system.refresh_processes_specifics(ProcessesToUpdate::Some(&[id]), false, memory);
    Some(system.process(id)?.memory() as usize)
}

/// Highest resident memory of this process so far, which no crate tells.
pub fn peak_resident_bytes() -> Option<usize> {
    let text = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(line.split_whitespace().next()?.parse::<usize>().ok()? * 1024)
}

/// End a process, by its id, and what it started.
pub fn end_process(id: u32) {
    let mut system = System::new();
    system.refresh_processes(ProcessesToUpdate::All, true);
    let mut doomed = vec![Pid::from_u32(id)];
    let mut next = 0;
    while let Some(&parent) = doomed.get(next) {
        let children = system.processes().iter().filter(|(_, p)| p.parent() == Some(parent));
        let children = children.map(|(id, _)| *id).filter(|id| !doomed.contains(id));
        let children: Vec<Pid> = children.collect();
        doomed.extend(children);
        next += 1;
    }
    // Parents first, which could start more.
    for id in doomed {
        system.process(id).map(|process| process.kill());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_of_this_machine_and_process_is_told() {
        let (total, available) = memory_bytes().unwrap();
        let (now, peak) = (resident_bytes().unwrap(), peak_resident_bytes().unwrap());
        assert!(available <= total && now > 1 << 20, "{total} {available} {now}");
        assert!(peak >= 1 << 20 && peak <= total, "{peak} of {total}");
        assert!(!cpu_model().is_empty());
    }
}
