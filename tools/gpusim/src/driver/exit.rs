//! The end of the process: what is left runs, findings are summed up, and any of them makes the
//! process fail.

use serde_json::json;

use super::state::{Driver, lock};
use crate::report::{Finding, Kind};

/// The exit code of a process whose run had findings.
const EXIT_FINDINGS: i32 = 86;

pub fn install() {
    // SAFETY: `at_exit` takes no argument and does not unwind. The library stays loaded until then
    // (`-z nodelete`).
    unsafe { libc::atexit(at_exit) };
}

extern "C" fn at_exit() {
    let mut guard = lock();
    let Some(driver) = guard.as_mut() else { return };
    driver.queue.run_out(&mut driver.gpu);
    if driver.options.leaks {
        report_leaks(driver);
    }
    write_report(driver);
    let found =
        driver.gpu.session.findings.list().len() as u64 + driver.gpu.session.findings.dropped();
    if found > 0 {
        eprintln!(
            "gpusim: {found} findings, {} with repeats (seed {})",
            driver.gpu.reported(),
            driver.options.seed
        );
        if driver.options.strict {
            // SAFETY: ends the process; what other exit handlers would do is not needed by a failed
            // run.
            unsafe { libc::_exit(EXIT_FINDINGS) };
        }
    }
}

fn report_leaks(driver: &mut Driver) {
    for (count, what) in [
        (driver.contexts.retained(), "times the primary context was retained and not released"),
        (driver.execs.len(), "executable graphs were not destroyed"),
        (driver.blaslt.handles.len(), "handles of cublasLt were not destroyed"),
    ] {
        if count > 0 {
            driver.gpu.report(Finding::new(Kind::Leak, "exit", format!("{count} {what}")));
        }
    }
    for (start, bytes, name) in driver.gpu.memory.live_buffers() {
        let mut finding = Finding::new(
            Kind::Leak,
            &name,
            format!("{bytes} bytes of device memory were not freed"),
        );
        finding.address = Some(start);
        driver.gpu.report(finding);
    }
    for range in driver.pins.leaks().collect::<Vec<_>>() {
        let place = format!("{:#x}", range.start);
        let text = format!("{} bytes of pinned memory were not freed", range.end - range.start);
        driver.gpu.report(Finding::new(Kind::Leak, &place, text));
    }
}

/// Write the JSON report, if one is asked for.
pub fn write_report(driver: &Driver) {
    let Some(path) = &driver.options.report else { return };
    let session = &driver.gpu.session;
    let findings: Vec<_> = session
        .findings
        .iter()
        .map(|(finding, count)| json!({"count": count, "finding": finding}))
        .collect();
    let report = json!({
        "simulated": true,
        "seed": driver.options.seed,
        "findings": findings,
        "findings_dropped": session.findings.dropped(),
        "counters": session.counters,
    });
    if let Err(error) = std::fs::write(path, format!("{report:#}\n")) {
        eprintln!("gpusim: cannot write {}: {error}", path.display());
    }
}
