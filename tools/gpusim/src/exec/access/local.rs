//! Local memory of each lane, and the parameters of the kernel.

use super::{Access, Buffer};
use crate::exec::core::{Core, LOCAL_WINDOW};
use crate::exec::lanes::{LANES, lanes};
use crate::exec::warp::Warp;
use crate::report::Kind;

pub fn read_param(
    core: &mut Core<'_>,
    warp: &Warp,
    at: &[u64; LANES],
    a: Access,
    out: &mut Buffer,
) {
    for l in lanes(a.mask) {
        let start = at[l] as usize;
        let to = &mut out[l * a.bytes..(l + 1) * a.bytes];
        match core.config.params.get(start..start.wrapping_add(a.bytes)) {
            Some(from) => to.copy_from_slice(from),
            None => core.report(Kind::ParamOutOfBounds, a.pc, Some(warp.thread(l)), None, |_| {
                format!("read of {} bytes at {start} outside the parameters", a.bytes)
            }),
        }
    }
}

pub fn read(core: &mut Core<'_>, warp: &Warp, at: &[u64; LANES], a: Access, out: &mut Buffer) {
    for l in lanes(a.mask) {
        let Some(first) = place(core, warp, l, at[l], a) else { continue };
        if warp.local_written[first..first + a.bytes].contains(&false) {
            let address = Some(LOCAL_WINDOW + at[l]);
            core.report(Kind::Uninitialised, a.pc, Some(warp.thread(l)), address, |_| {
                "read of local memory that was never written".into()
            });
        }
        out[l * a.bytes..(l + 1) * a.bytes].copy_from_slice(&warp.local[first..first + a.bytes]);
    }
}

pub fn write(core: &mut Core<'_>, warp: &mut Warp, at: &[u64; LANES], a: Access, bytes: &Buffer) {
    for l in lanes(a.mask) {
        let Some(first) = place(core, warp, l, at[l], a) else { continue };
        warp.local_written[first..first + a.bytes].fill(true);
        warp.local[first..first + a.bytes].copy_from_slice(&bytes[l * a.bytes..(l + 1) * a.bytes]);
    }
}

fn place(core: &mut Core<'_>, warp: &Warp, lane: usize, at: u64, a: Access) -> Option<usize> {
    let whole = core.program.local_bytes as u64;
    let address = Some(LOCAL_WINDOW.wrapping_add(at));
    if !at.is_multiple_of(a.bytes as u64) {
        core.report(Kind::Misaligned, a.pc, Some(warp.thread(lane)), address, |_| {
            format!(
                "{}-byte access of local memory at an address that is no multiple of it",
                a.bytes
            )
        });
        return None;
    }
    if at.checked_add(a.bytes as u64).is_none_or(|end| end > whole) {
        core.report(Kind::LocalOutOfBounds, a.pc, Some(warp.thread(lane)), address, |_| {
            format!("access of {} bytes at {at} outside the {whole} bytes of local memory", a.bytes)
        });
        return None;
    }
    Some(lane * whole as usize + at as usize)
}
