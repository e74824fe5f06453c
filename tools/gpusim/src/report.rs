//! What a run found and what it counted, ready to print or to store as JSON.

use serde::Serialize;
use std::collections::{BTreeMap, HashMap};
use std::fmt;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Global memory outside every buffer.
    OutOfBounds,
    /// Global memory of a buffer that was freed.
    UseAfterFree,
    /// A load of bytes that nothing wrote.
    Uninitialised,
    Misaligned,
    /// Threads of one block touch a global word without a barrier between them.
    GlobalRace,
    /// Blocks of one launch touch a global word without atomics.
    BlockRace,
    SharedOutOfBounds,
    SharedUninitialised,
    SharedRace,
    /// Shared memory read or written while a cp.async to it is in flight.
    AsyncCopy,
    LocalOutOfBounds,
    ParamOutOfBounds,
    /// A block barrier reached by part of a warp, or of the block.
    BarrierDivergence,
    Deadlock,
    /// A `.sync` mask that names absent lanes, or lacks the caller.
    SyncMask,
    /// A shuffle that reads a lane that takes no part in it.
    InactiveLane,
    /// More instructions than a launch may execute.
    Budget,
    Assert,
    Trap,
    /// A launch that the driver would refuse.
    Launch,
    /// A host-side use of the API that is an error or undefined.
    Host,
    /// Two operations of different streams touch the same bytes without an order between them.
    StreamRace,
    /// Pinned host memory that changed while a copy from it was pending.
    HostReuse,
    /// Valid for a real driver perhaps, but not modelled here, and therefore refused.
    NotModelled,
    /// Still allocated when the process ended.
    Leak,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
pub struct SourceLine {
    pub file: String,
    pub line: u32,
}

/// One defect, where it is, and whom it concerns. Fields that do not apply are `None`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    pub kind: Kind,
    pub kernel: String,
    pub file: String,
    pub line: u32,
    /// The calls through which that line's function was inlined, innermost first.
    pub callers: Vec<SourceLine>,
    pub block: Option<[u32; 3]>,
    pub thread: Option<[u32; 3]>,
    pub address: Option<u64>,
    pub buffer: Option<String>,
    pub text: String,
}

impl Finding {
    /// A finding without a place in a kernel.
    pub fn new(kind: Kind, kernel: &str, text: impl Into<String>) -> Self {
        Self {
            kind,
            kernel: kernel.to_owned(),
            file: String::new(),
            line: 0,
            callers: Vec::new(),
            block: None,
            thread: None,
            address: None,
            buffer: None,
            text: text.into(),
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.kind, self.text)?;
        if let Some(buffer) = &self.buffer {
            write!(f, " [{buffer}]")?;
        }
        if !self.kernel.is_empty() {
            write!(f, " in {}", self.kernel)?;
        }
        if self.line > 0 {
            write!(f, " at {}:{}", self.file, self.line)?;
        }
        for caller in &self.callers {
            write!(f, " from {}:{}", caller.file, caller.line)?;
        }
        if let Some([x, y, z]) = self.block {
            write!(f, " block ({x},{y},{z})")?;
        }
        if let Some([x, y, z]) = self.thread {
            write!(f, " thread ({x},{y},{z})")?;
        }
        Ok(())
    }
}

/// Findings, one per kind, kernel and line with its callers; repeats are only counted.
#[derive(Debug, Default)]
pub struct Findings {
    list: Vec<Finding>,
    repeats: Vec<u64>,
    place: HashMap<(Kind, String, SourceLine, Vec<SourceLine>), usize>,
    dropped: u64,
}

/// Distinct findings kept; more than this helps nobody.
const MOST: usize = 1000;

impl Findings {
    pub fn add(&mut self, finding: Finding) {
        let line = SourceLine { file: finding.file.clone(), line: finding.line };
        let key = (finding.kind, finding.kernel.clone(), line, finding.callers.clone());
        if let Some(&i) = self.place.get(&key) {
            self.repeats[i] += 1;
        } else if self.list.len() < MOST {
            self.place.insert(key, self.list.len());
            self.list.push(finding);
            self.repeats.push(1);
        } else {
            self.dropped += 1;
        }
    }

    /// Each finding with how often it occurred.
    pub fn iter(&self) -> impl Iterator<Item = (&Finding, u64)> {
        self.list.iter().zip(self.repeats.iter().copied())
    }

    pub fn list(&self) -> &[Finding] {
        &self.list
    }

    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Findings with their repeats.
    pub fn total(&self) -> u64 {
        self.repeats.iter().sum::<u64>() + self.dropped
    }

    /// Findings beyond the most that are kept.
    pub fn dropped(&self) -> u64 {
        self.dropped
    }
}

/// What one kernel did, over all its launches. The input of a performance model, not a measurement.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Counters {
    pub launches: u64,
    pub blocks: u64,
    pub warps: u64,
    /// Instructions issued, one for a warp whatever lanes are active.
    pub warp_instructions: u64,
    /// The same by class (`int`, `float`, `special`, `control`, `ld_global`, ...).
    pub by_class: BTreeMap<&'static str, u64>,
    /// 32-byte sectors of global memory, summed over warp instructions.
    pub sectors_read: u64,
    pub sectors_written: u64,
    /// Distinct sectors of a launch: what the memory must move at least.
    pub unique_sectors_read: u64,
    pub unique_sectors_written: u64,
    /// Bytes asked for by active lanes.
    pub bytes_read: u64,
    pub bytes_written: u64,
    /// Extra shared memory passes through conflicts, beyond the least for the width.
    pub bank_conflicts: u64,
    /// Shared memory passes in all.
    pub shared_passes: u64,
    pub mma_flops: u64,
    /// Floating-point operations of active lanes, outside mma; fma counts two.
    pub other_flops: u64,
    pub shared_bytes_per_block: u64,
    pub threads_per_block: u64,
}

pub type CountersByKernel = BTreeMap<String, Counters>;
