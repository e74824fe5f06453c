//! What the warps of a block share while they run: memory, clock, counters, and the way to report.

use super::lanes::LANES;
use super::{LaunchConfig, Session};
use crate::check::clock::BlockClock;
use crate::check::handover::Handover;
use crate::check::race::{Before, Conflict};
use crate::memory::{DeviceMemory, INITIALISED, UNADDRESSABLE, UNINITIALISED};
use crate::ptx::Kernel;
use crate::ptx::program::Program;
use crate::report::{Counters, Finding, Kind, SourceLine};
use std::collections::HashMap;

/// Where shared and local memory lie in generic addresses.
pub const SHARED_WINDOW: u64 = 0x7e00_0000_0000;
pub const LOCAL_WINDOW: u64 = 0x7f00_0000_0000;
pub const WINDOW_BYTES: u64 = 1 << 32;

/// Set in the shadow of shared bytes that a cp.async is about to write.
pub const IN_FLIGHT: u8 = 4;

/// Shared memory of the block that runs.
#[derive(Default)]
pub struct Shared {
    pub data: Vec<u8>,
    pub shadow: Vec<u8>,
    pub written: Vec<u64>,
    pub read: Vec<u64>,
    pub read_too: Vec<u64>,
}

impl Shared {
    /// Fresh memory for a block: every variable without data, red zones between them.
    pub fn reset(&mut self, program: &Program, dynamic_start: u32, dynamic_bytes: u32) {
        let bytes = (dynamic_start + dynamic_bytes).next_multiple_of(16) as usize;
        self.data.resize(bytes, 0);
        self.shadow.clear();
        self.shadow.resize(bytes, UNADDRESSABLE);
        for stamps in [&mut self.written, &mut self.read, &mut self.read_too] {
            stamps.resize(bytes / 4, 0);
        }
        for v in &program.shared {
            let start = v.offset as usize;
            self.shadow[start..start + v.bytes as usize].fill(UNINITIALISED);
        }
        let start = dynamic_start as usize;
        self.shadow[start..start + dynamic_bytes as usize].fill(UNINITIALISED);
    }

    pub fn words(&mut self) -> crate::check::race::Words<'_> {
        crate::check::race::Words {
            written: &mut self.written,
            read: &mut self.read,
            read_too: &mut self.read_too,
            of_launch: false,
        }
    }
}

/// Shadow of up to 16 bytes as one number; `None` outside, or when the address is no multiple of the size.
#[inline(always)]
fn states(shadow: &[u8], at: usize, bytes: usize) -> Option<u128> {
    if at & (bytes - 1) != 0 || at >= shadow.len() || shadow.len() - at < bytes {
        return None;
    }
    let s = &shadow[at..at + bytes];
    if let Ok(all) = <[u8; 16]>::try_from(s) {
        return Some(u128::from_le_bytes(all));
    }
    Some(match bytes {
        4 => u32::from_le_bytes([s[0], s[1], s[2], s[3]]).into(),
        8 => u64::from_le_bytes([s[0], s[1], s[2], s[3], s[4], s[5], s[6], s[7]]).into(),
        _ => s.iter().rev().fold(0, |word, &s| word << 8 | u128::from(s)),
    })
}

/// Nothing to report about an access of `bytes` bytes, a power of two.
#[inline(always)]
pub fn fine(shadow: &[u8], at: usize, bytes: usize, write: bool) -> bool {
    const ONES: u128 = 0x0101_0101_0101_0101_0101_0101_0101_0101;
    let ones = ONES >> (128 - 8 * bytes);
    match states(shadow, at, bytes) {
        None => false,
        Some(s) if write => s & (ones * 5) == ones,
        Some(s) => s == ones * u128::from(INITIALISED),
    }
}

/// Counts of one launch; instructions by place in the program.
#[derive(Default)]
pub struct Tally {
    pub issued: Vec<u64>,
    pub lanes: Vec<u64>,
    pub counters: Counters,
}

pub struct Core<'a> {
    pub kernel: &'a Kernel,
    pub program: &'a Program,
    pub config: &'a LaunchConfig,
    pub memory: &'a mut DeviceMemory,
    pub session: &'a mut Session,
    pub shared: Shared,
    pub barriers: Vec<super::barrier::Barrier>,
    pub clock: BlockClock,
    pub block: [u32; 3],
    /// First moment of each block so far, to name the other side of a conflict.
    pub starts: Vec<(u64, [u32; 3])>,
    pub tally: Tally,
    /// Warp instructions that may still be executed.
    pub budget: u64,
    /// Serial of the first memory instruction of the launch.
    pub first_serial: u64,
    /// Why the kernel stopped, once it did.
    pub stopped: Option<String>,
    seen: HashMap<(Kind, usize), u32>,
    pub handover: Handover,
}

/// Reports of one kind at one place in full; the rest adds nothing.
const MOST_PER_PLACE: u32 = 4;

impl<'a> Core<'a> {
    pub fn new(
        kernel: &'a Kernel,
        config: &'a LaunchConfig,
        memory: &'a mut DeviceMemory,
        session: &'a mut Session,
    ) -> Self {
        let (program, now) = (&kernel.program, memory.trace.now);
        let (first_serial, budget) = (memory.trace.serial + 1, session.instruction_budget);
        let instructions = program.code.len();
        Self {
            kernel,
            program,
            config,
            memory,
            session,
            shared: Shared::default(),
            barriers: Vec::new(),
            clock: BlockClock::new(now, now, 0),
            block: [0; 3],
            starts: Vec::new(),
            tally: Tally {
                issued: vec![0; instructions],
                lanes: vec![0; instructions],
                counters: Counters::default(),
            },
            budget,
            first_serial,
            stopped: None,
            seen: HashMap::new(),
            handover: Handover::default(),
        }
    }

    /// x, y, z of a thread of the block.
    pub fn thread(&self, linear: u32) -> [u32; 3] {
        let [x, y, _] = self.config.block;
        [linear % x, linear / x % y, linear / (x * y)]
    }

    /// Reports a finding at an instruction. Text is made only when it will be kept.
    pub fn report(
        &mut self,
        kind: Kind,
        pc: usize,
        thread: Option<u32>,
        address: Option<u64>,
        text: impl FnOnce(&Self) -> String,
    ) {
        let seen = self.seen.entry((kind, pc)).or_insert(0);
        *seen += 1;
        if *seen > MOST_PER_PLACE {
            return;
        }
        let text = text(self);
        let (file, line) = self.program.source(pc);
        let source = |(file, line): (&str, u32)| SourceLine { file: file.to_owned(), line };
        let finding = Finding {
            kind,
            kernel: self.kernel.name.clone(),
            file: file.to_owned(),
            line,
            callers: self.program.callers(pc).into_iter().map(source).collect(),
            block: Some(self.block),
            thread: thread.map(|t| self.thread(t)),
            address,
            buffer: address.map(|a| self.buffer(a)),
            text,
        };
        self.session.findings.add(finding);
    }

    /// The buffer or variable at an address, in words.
    pub fn buffer(&self, address: u64) -> String {
        if (SHARED_WINDOW..SHARED_WINDOW + WINDOW_BYTES).contains(&address) {
            let at = (address - SHARED_WINDOW) as u32;
            let v = self.program.shared.iter().filter(|v| v.offset <= at).max_by_key(|v| v.offset);
            let dynamic = self.dynamic_start();
            if at >= dynamic && self.config.dynamic_shared_bytes > 0 {
                let bytes = self.config.dynamic_shared_bytes;
                return format!("dynamic shared memory + {}, {bytes} bytes", at - dynamic);
            }
            return match v {
                Some(v) => format!("shared `{}` + {}, {} bytes", v.name, at - v.offset, v.bytes),
                None => format!("shared memory + {at}"),
            };
        }
        if (LOCAL_WINDOW..LOCAL_WINDOW + WINDOW_BYTES).contains(&address) {
            return format!("local memory + {}", address - LOCAL_WINDOW);
        }
        self.memory.locate(address).to_string()
    }

    pub fn dynamic_start(&self) -> u32 {
        self.program.shared_end.next_multiple_of(128)
    }

    /// Reports a conflict, unless a fence and an atomic order the two blocks.
    pub fn report_race(
        &mut self,
        global: bool,
        write: bool,
        pc: usize,
        thread: u32,
        address: u64,
        c: Conflict,
    ) {
        if c.other_block && self.handover.acquired(self.start_of(c.time)) {
            return;
        }
        let kind = match (global, c.other_block) {
            (false, _) => Kind::SharedRace,
            (true, true) => Kind::BlockRace,
            (true, false) => Kind::GlobalRace,
        };
        self.report(kind, pc, Some(thread), Some(address), |core| {
            let now = if write { "writes" } else { "reads" };
            let before = if c.before == Before::Write { "wrote" } else { "read" };
            let [x, y, z] = core.thread(c.thread);
            let other = if c.other_block {
                let start = core.start_of(c.time);
                let block = core.starts.iter().find(|(s, _)| *s == start).map_or([0; 3], |b| b.1);
                format!("thread ({x},{y},{z}) of block {block:?}")
            } else {
                format!("thread ({x},{y},{z})")
            };
            let between = if c.other_block { "atomics" } else { "a barrier between" };
            format!("{now} a word that {other} {before} without {between}")
        });
    }

    /// First moment of the block that was running at `time`.
    pub fn start_of(&self, time: u64) -> u64 {
        let after = self.starts.partition_point(|&(start, _)| start <= time);
        after.checked_sub(1).map_or(0, |i| self.starts[i].0)
    }

    /// Reports bytes of shared memory that cannot be accessed; true if all can.
    #[inline(always)]
    pub fn shared_ok(
        &mut self,
        pc: usize,
        thread: u32,
        at: u64,
        bytes: usize,
        write: bool,
    ) -> bool {
        fine(&self.shared.shadow, at as usize, bytes, write)
            || self.shared_closer(pc, thread, at, bytes, write)
    }

    #[cold]
    fn shared_closer(
        &mut self,
        pc: usize,
        thread: u32,
        at: u64,
        bytes: usize,
        write: bool,
    ) -> bool {
        if !at.is_multiple_of(bytes as u64) {
            self.report(Kind::Misaligned, pc, Some(thread), Some(SHARED_WINDOW + at), |_| {
                format!(
                    "{bytes}-byte access of shared memory at an address that is no multiple of it"
                )
            });
            return false;
        }
        let states = usize::try_from(at).ok().and_then(|at| self.shared.shadow.get(at..at + bytes));
        let Some(states) = states.filter(|s| s.iter().all(|&s| s != UNADDRESSABLE)) else {
            self.report(
                Kind::SharedOutOfBounds,
                pc,
                Some(thread),
                Some(SHARED_WINDOW + at),
                |_| {
                    let what = if write { "write" } else { "read" };
                    format!("{what} of {bytes} bytes outside every shared variable")
                },
            );
            return false;
        };
        let states = states.iter().fold((INITIALISED, 0), |(and, or), &s| (and & s, or | s));
        if states.1 & IN_FLIGHT != 0 {
            self.report(Kind::AsyncCopy, pc, Some(thread), Some(SHARED_WINDOW + at), |_| {
                let what = if write { "written" } else { "read" };
                format!("{what} while a cp.async to it is in flight: its group was not waited for")
            });
        } else if !write && states.0 != INITIALISED {
            self.report(
                Kind::SharedUninitialised,
                pc,
                Some(thread),
                Some(SHARED_WINDOW + at),
                |_| "read of shared memory that was never written".into(),
            );
        }
        true
    }

    /// The same for global memory.
    #[inline(always)]
    pub fn global_ok(
        &mut self,
        pc: usize,
        thread: u32,
        at: u64,
        bytes: usize,
        write: bool,
    ) -> bool {
        let offset = at.wrapping_sub(crate::memory::BASE) as usize;
        fine(self.memory.parts().1, offset, bytes, write)
            || self.global_closer(pc, thread, at, bytes, write)
    }

    #[cold]
    fn global_closer(
        &mut self,
        pc: usize,
        thread: u32,
        at: u64,
        bytes: usize,
        write: bool,
    ) -> bool {
        use crate::memory::BASE;
        if !at.is_multiple_of(bytes as u64) {
            self.report(Kind::Misaligned, pc, Some(thread), Some(at), |_| {
                format!("{bytes}-byte access at an address that is no multiple of it")
            });
            return false;
        }
        let (_, shadow, _) = self.memory.parts();
        let offset = at.wrapping_sub(BASE) as usize;
        let states = offset.checked_add(bytes).and_then(|end| shadow.get(offset..end));
        let state = states.map_or(UNADDRESSABLE, |s| s.iter().copied().min().unwrap_or(0));
        if state == UNADDRESSABLE {
            let location = self.memory.locate(at);
            let freed =
                location.state == crate::memory::State::Freed && location.offset < location.bytes;
            let kind = if freed { Kind::UseAfterFree } else { Kind::OutOfBounds };
            self.report(kind, pc, Some(thread), Some(at), |_| {
                let what = if write { "write" } else { "read" };
                let of = if freed { "freed memory" } else { "memory outside every buffer" };
                format!("{what} of {bytes} bytes of {of}")
            });
            return false;
        }
        if !write && state != INITIALISED {
            self.report(Kind::Uninitialised, pc, Some(thread), Some(at), |_| {
                "read of memory that was never written".into()
            });
        }
        true
    }
}

/// First lane of a mask, and whether all its lanes hold one value.
pub fn uniform(values: &[u64; LANES], mask: u32) -> Option<u64> {
    let first = values[mask.trailing_zeros() as usize % LANES];
    super::lanes::lanes(mask).all(|l| values[l] == first).then_some(first)
}
