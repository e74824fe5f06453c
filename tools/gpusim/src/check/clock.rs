//! Moments of a run, and the order that barriers give them.
//!
//! Time is a counter that advances at each synchronisation, over all blocks and launches, so a stamp
//! also tells the block and launch it belongs to: blocks run one after another.

/// Synchronisation state of the warps of one block.
pub struct BlockClock {
    /// First moment of the launch, and of this block.
    pub launch_start: u64,
    pub block_start: u64,
    /// Accesses before this moment are ordered before the present of every warp of the block.
    pub floor: u64,
    now: u64,
    warps: Vec<WarpClock>,
}

#[derive(Clone)]
struct WarpClock {
    time: u64,
    /// Accesses before it are ordered between all lanes of the warp.
    synced: u64,
    /// For each warp, the moment before which its accesses are ordered before this warp's present.
    seen: Vec<u64>,
    /// Made by the first partial `bar.warp.sync`: the same for pairs of lanes.
    pairs: Option<Box<[[u64; 32]; 32]>>,
}

impl BlockClock {
    /// A block that starts at moment `now`.
    pub fn new(launch_start: u64, now: u64, warps: usize) -> Self {
        let warp = WarpClock { time: now, synced: now, seen: vec![now; warps], pairs: None };
        let warps = vec![warp; warps];
        Self { launch_start, block_start: now, floor: now, now, warps }
    }

    /// The moment that accesses of a warp happen at.
    #[inline(always)]
    pub fn time(&self, warp: usize) -> u64 {
        self.warps[warp].time
    }

    /// A moment after everything in the block, for the next one to start at.
    pub fn end(&self) -> u64 {
        self.now + 1
    }

    /// `bar.warp.sync` of some lanes; `all` if these are all that live.
    pub fn sync_warp(&mut self, warp: usize, lanes: u32, all: bool) {
        self.now += 1;
        let now = self.now;
        let w = &mut self.warps[warp];
        w.time = now;
        if all {
            w.synced = now;
            return;
        }
        let pairs = w.pairs.get_or_insert_with(|| Box::new([[0; 32]; 32]));
        for a in crate::exec::lanes::lanes(lanes) {
            for b in crate::exec::lanes::lanes(lanes) {
                pairs[a][b] = now;
            }
        }
    }

    /// A warp arrives at a block barrier; the moment up to which others will see its accesses.
    pub fn arrive(&mut self, warp: usize) -> u64 {
        self.now += 1;
        self.warps[warp].time = self.now;
        self.now
    }

    /// A barrier completes: the waiting warps see what each arrived warp did before it arrived.
    pub fn complete(&mut self, arrived: &[(usize, u64)], waiting: &[usize], all: bool) {
        let mut seen = vec![0; self.warps.len()];
        for &(v, moment) in arrived {
            for (s, &other) in seen.iter_mut().zip(&self.warps[v].seen) {
                *s = other.max(*s);
            }
            seen[v] = moment.max(seen[v]);
        }
        self.now += 1;
        for &w in waiting {
            let warp = &mut self.warps[w];
            for (mine, &s) in warp.seen.iter_mut().zip(&seen) {
                *mine = s.max(*mine);
            }
            warp.synced = warp.synced.max(seen[w]);
            warp.time = self.now;
        }
        if all {
            self.floor = self.now;
        }
    }

    /// Is an access of `thread` at `time`, in this block, ordered before the present of a lane?
    pub fn ordered(&self, time: u64, thread: u32, warp: usize, lane: usize) -> bool {
        let (other_warp, other_lane) = (thread as usize / 32, thread as usize % 32);
        if time < self.floor {
            return true;
        }
        let w = &self.warps[warp];
        if other_warp != warp {
            return time < w.seen[other_warp];
        }
        other_lane == lane
            || time < w.synced
            || w.pairs.as_ref().is_some_and(|p| time < p[other_lane][lane])
    }
}
