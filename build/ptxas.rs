//! PTX to a cubin, and the report of registers and spills beside it.

use std::fs;
use std::path::Path;
use std::process::Command;

/// Writes `<name>.<arch>.cubin` and `<name>.<arch>.txt`.
pub fn assemble(home: &Path, out: &Path, name: &str, arch: u32) -> Result<(), String> {
    let ptx = out.join(format!("{name}.ptx"));
    let plain = out.join(format!("{name}.plain.ptx"));
    // ptxas takes no NUL at the end.
    let text = fs::read_to_string(&ptx).map_err(|e| format!("{}: {e}", ptx.display()))?;
    fs::write(&plain, text.trim_end_matches('\0'))
        .map_err(|e| format!("{}: {e}", plain.display()))?;
    let cubin = out.join(format!("{name}.{arch}.cubin"));
    let run = Command::new(home.join("bin/ptxas"))
        .args(["-v", "-lineinfo", &format!("-arch=sm_{arch}"), "-o"])
        .args([&cubin, &plain])
        .output()
        .map_err(|e| format!("bin/ptxas: {e}"))?;
    let report = String::from_utf8_lossy(&run.stderr);
    if !run.status.success() {
        return Err(format!("ptxas, {name} for sm_{arch}:\n{report}"));
    }
    let written = out.join(format!("{name}.{arch}.txt"));
    fs::write(&written, &*report).map_err(|e| format!("{}: {e}", written.display()))
}
