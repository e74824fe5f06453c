//! What a kernel says to its host: printf, failed assertions, traps.

use super::access::{self, Access, Buffer};
use super::core::Core;
use super::lanes::{LANES, lanes};
use super::warp::Warp;
use crate::memory::BASE;
use crate::ptx::program::{Instr, Op};
use crate::ptx::types::Space;
use crate::report::Kind;

/// Ends the kernel with the reason that the first lane gives.
pub fn stop(core: &mut Core<'_>, warp: &Warp, i: &Instr, pc: usize, mask: u32) {
    let lane = mask.trailing_zeros() as usize;
    let thread = warp.thread(lane);
    let (kind, text) = if i.op == Op::AssertFail {
        // Arguments: message, file, line, function, size of a character.
        let places = core.program.list(i);
        let pointer = |k: usize| local_word(core, warp, lane, places[k], 8);
        let (message, file) = (text_at(core, pointer(0)), text_at(core, pointer(1)));
        let line = local_word(core, warp, lane, places[2], 4);
        (Kind::Assert, format!("assertion `{message}` failed at {file}:{line}"))
    } else {
        (Kind::Trap, "trap".to_owned())
    };
    core.report(kind, pc, Some(thread), None, |_| text.clone());
    core.stopped = Some(text);
}

fn local_word(core: &Core<'_>, warp: &Warp, lane: usize, at: u32, bytes: usize) -> u64 {
    let start = lane * core.program.local_bytes as usize + at as usize;
    let mut word = [0; 8];
    if let Some(from) = warp.local.get(start..start + bytes) {
        word[..bytes].copy_from_slice(from);
    }
    u64::from_le_bytes(word)
}

/// A string of device memory, to its zero byte.
fn text_at(core: &Core<'_>, at: u64) -> String {
    let mut out = Vec::new();
    for k in 0..1024 {
        match core.memory.read(at.wrapping_add(k), 1) {
            Ok(&[byte]) if byte != 0 => out.push(byte),
            _ => break,
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// `vprintf(format, arguments)`: prints for each lane, and gives the number of arguments back.
pub fn print(core: &mut Core<'_>, warp: &mut Warp, i: &Instr, mask: u32) {
    let places = core.program.list(i).to_vec();
    for lane in lanes(mask) {
        let format = text_at(core, local_word(core, warp, lane, places[0], 8));
        let arguments = local_word(core, warp, lane, places[1], 8);
        let (text, count) = formatted(core, warp, lane, &format, arguments);
        print!("{text}");
        if let Some(&to) = places.get(2) {
            let start = lane * core.program.local_bytes as usize + to as usize;
            warp.local[start..start + 4].copy_from_slice(&u32::to_le_bytes(count));
            warp.local_written[start..start + 4].fill(true);
        }
    }
}

fn argument(core: &mut Core<'_>, warp: &mut Warp, lane: usize, at: u64, bytes: usize) -> u64 {
    let mut out: Buffer = [0; LANES * 16];
    let (space, at) = access::resolve(at);
    let a = Access { pc: 0, bytes, mask: 1 << lane, ordered: false };
    if space == Space::Global && at < BASE {
        return 0;
    }
    access::read(core, warp, space, &[at; LANES], a, &mut out);
    let mut word = [0; 8];
    word[..bytes].copy_from_slice(&out[lane * bytes..(lane + 1) * bytes]);
    u64::from_le_bytes(word)
}

/// The subset of printf that device code uses: flags and widths are dropped, precision is kept.
fn formatted(
    core: &mut Core<'_>,
    warp: &mut Warp,
    lane: usize,
    format: &str,
    arguments: u64,
) -> (String, u32) {
    let mut out = String::new();
    let (mut at, mut count) = (arguments, 0);
    let mut rest = format.chars();
    while let Some(c) = rest.next() {
        if c != '%' {
            out.push(c);
            continue;
        }
        let mut spec = String::new();
        let kind = loop {
            match rest.next() {
                Some(c) if c.is_ascii_alphabetic() && !matches!(c, 'l' | 'h' | 'z') => break c,
                Some('%') | None => break '%',
                Some(c) => spec.push(c),
            }
        };
        if kind == '%' {
            out.push('%');
            continue;
        }
        let float = matches!(kind, 'f' | 'e' | 'g' | 'a');
        let wide = float || spec.contains("l") || spec.contains('z') || matches!(kind, 's' | 'p');
        let bytes = if wide { 8 } else { 4 };
        at = at.next_multiple_of(bytes);
        let value = argument(core, warp, lane, at, bytes as usize);
        at += bytes;
        count += 1;
        let precision = spec.split_once('.').and_then(|(_, p)| p.parse().ok());
        match kind {
            'd' | 'i' if wide => out += &(value as i64).to_string(),
            'd' | 'i' => out += &(value as i32).to_string(),
            'u' => out += &value.to_string(),
            'x' => out += &format!("{value:x}"),
            'X' => out += &format!("{value:X}"),
            'p' => out += &format!("{value:#x}"),
            'c' => out.push(char::from(value as u8)),
            's' => out += &text_at(core, value),
            'e' => out += &format!("{:.*e}", precision.unwrap_or(6), f64::from_bits(value)),
            'g' => out += &f64::from_bits(value).to_string(),
            _ => out += &format!("{:.*}", precision.unwrap_or(6), f64::from_bits(value)),
        }
    }
    (out, count)
}
