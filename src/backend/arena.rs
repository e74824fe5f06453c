//! A best-fit allocator over regions of abstract bytes. It touches no memory itself, so the same
//! sequence of requests gives the same places on every device, the shape-only one included. With
//! guard bytes (HRM_GUARD_BYTES) buffers do not touch each other, for tools that look for writes
//! out of bounds. On CUDA HRM_ALLOC_EACH=1 gives each an allocation of its own instead, for tools
//! that know allocations only (compute-sanitizer); places are handed out all the same.

use std::collections::BTreeSet;

/// Every buffer starts on this boundary: a cache line, and what 512-bit and TMA accesses want.
pub const ALIGN_BYTES: usize = 256;

/// What memory is for. `hrm plan` prints one line for each.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash, PartialOrd, Ord)]
pub enum Purpose {
    Weights,
    Gradients,
    Optimizer,
    Carry,
    Activations,
    Workspace,
}

impl Purpose {
    pub const ALL: [Purpose; 6] = [
        Purpose::Weights,
        Purpose::Gradients,
        Purpose::Optimizer,
        Purpose::Carry,
        Purpose::Activations,
        Purpose::Workspace,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Purpose::Weights => "weights",
            Purpose::Gradients => "gradients",
            Purpose::Optimizer => "optimizer",
            Purpose::Carry => "carry",
            Purpose::Activations => "activations",
            Purpose::Workspace => "workspace",
        }
    }
}

/// Bytes by purpose, now and at the moment of the highest total.
#[derive(Clone, Copy, Default, Debug, PartialEq, Eq)]
pub struct Usage {
    pub now_bytes: [usize; 6],
    pub peak_bytes: [usize; 6],
    /// Bytes of all regions that would hold the run: what to reserve.
    pub span_bytes: usize,
}

impl Usage {
    pub fn now_total_bytes(&self) -> usize {
        self.now_bytes.iter().sum()
    }

    pub fn peak_total_bytes(&self) -> usize {
        self.peak_bytes.iter().sum()
    }
}

#[derive(Clone, Debug)]
pub(super) struct Place {
    pub region: usize,
    pub offset: usize,
    /// The guard included.
    bytes: usize,
    /// What the buffer itself takes.
    own_bytes: usize,
    purpose: Purpose,
}

impl Place {
    /// A number of its own, to be combined by exclusive or (the mixer of SplitMix64).
    fn mark(&self) -> u64 {
        [self.region, self.offset, self.bytes].iter().fold(0x9E37_79B9_7F4A_7C15, |mark, &n| {
            let x = mark ^ n as u64;
            let x = (x ^ (x >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
            let x = (x ^ (x >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
            x ^ (x >> 31)
        })
    }
}

#[derive(Default)]
pub struct Arena {
    /// Left free behind every buffer.
    guard_bytes: usize,
    regions: Vec<Region>,
    usage: Usage,
    /// Changes with the set of places in use; see [`Arena::live`].
    live: u64,
}

#[derive(Default)]
struct Region {
    bytes: usize,
    /// Free holes by (length, offset), for best fit, and by (offset, length), to merge neighbours.
    by_bytes: BTreeSet<(usize, usize)>,
    by_offset: BTreeSet<(usize, usize)>,
    high_bytes: usize,
}

fn round_up(bytes: usize) -> usize {
    bytes.max(1).next_multiple_of(ALIGN_BYTES)
}

impl Arena {
    pub fn new(guard_bytes: usize) -> Self {
        Self { guard_bytes, ..Self::default() }
    }

    /// How much to add when a request does not fit: large steps, so that growth is rare.
    pub(super) fn growth_bytes(&self, request_bytes: usize) -> usize {
        round_up(round_up(request_bytes) + self.guard_bytes).max(64 << 20)
    }

    /// Returns the new region's number.
    pub fn add_region(&mut self, bytes: usize) -> usize {
        let mut region = Region { bytes, ..Region::default() };
        region.insert(0, bytes);
        self.regions.push(region);
        self.regions.len() - 1
    }

    pub(super) fn alloc(&mut self, bytes: usize, purpose: Purpose) -> Option<Place> {
        let own_bytes = round_up(bytes);
        let bytes = round_up(own_bytes + self.guard_bytes);
        let (region, offset) = self
            .regions
            .iter_mut()
            .enumerate()
            .find_map(|(i, region)| region.take(bytes).map(|offset| (i, offset)))?;
        self.usage.now_bytes[purpose as usize] += own_bytes;
        if self.usage.now_total_bytes() > self.usage.peak_total_bytes() {
            self.usage.peak_bytes = self.usage.now_bytes;
        }
        let place = Place { region, offset, bytes, own_bytes, purpose };
        self.live ^= place.mark();
        Some(place)
    }

    pub(super) fn free(&mut self, place: &Place) {
        self.usage.now_bytes[place.purpose as usize] -= place.own_bytes;
        self.live ^= place.mark();
        self.regions[place.region].insert(place.offset, place.bytes);
    }

    /// Equal when the same places are in use: then the same requests get the same places.
    pub fn live(&self) -> u64 {
        self.live
    }

    pub fn usage(&self) -> Usage {
        let used_bytes = |r: &Region| r.high_bytes;
        Usage { span_bytes: self.regions.iter().map(used_bytes).sum(), ..self.usage }
    }
}

impl Region {
    /// The smallest hole that fits. The last one, up to the region's end, comes after all others,
    /// so that places do not depend on how large a region is.
    fn take(&mut self, bytes: usize) -> Option<usize> {
        let mut fitting = self.by_bytes.range((bytes, 0)..);
        let is_last = |&&(hole_bytes, offset): &&(usize, usize)| offset + hole_bytes == self.bytes;
        let inside = fitting.clone().find(|hole| !is_last(hole));
        let &(hole_bytes, offset) = inside.or_else(|| fitting.next())?;
        self.remove(offset, hole_bytes);
        if hole_bytes > bytes {
            self.insert_raw(offset + bytes, hole_bytes - bytes);
        }
        self.high_bytes = self.high_bytes.max(offset + bytes);
        Some(offset)
    }

    fn insert(&mut self, mut offset: usize, mut bytes: usize) {
        if let Some(&(o, b)) = self.by_offset.range(..(offset, 0)).next_back()
            && o + b == offset
        {
            self.remove(o, b);
            (offset, bytes) = (o, bytes + b);
        }
        if let Some(&(o, b)) = self.by_offset.range((offset + bytes, 0)..).next()
            && o == offset + bytes
        {
            self.remove(o, b);
            bytes += b;
        }
        debug_assert!(offset + bytes <= self.bytes);
        self.insert_raw(offset, bytes);
    }

    fn insert_raw(&mut self, offset: usize, bytes: usize) {
        self.by_bytes.insert((bytes, offset));
        self.by_offset.insert((offset, bytes));
    }

    fn remove(&mut self, offset: usize, bytes: usize) {
        self.by_bytes.remove(&(bytes, offset));
        self.by_offset.remove(&(offset, bytes));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holes_merge_and_are_reused() {
        let mut a = Arena::default();
        a.add_region(10 * ALIGN_BYTES);
        let p: Vec<_> = (0..10).map(|_| a.alloc(1, Purpose::Weights).unwrap()).collect();
        assert!(a.alloc(1, Purpose::Weights).is_none());
        for i in [3, 5, 4] {
            a.free(&p[i]);
        }
        let big = a.alloc(3 * ALIGN_BYTES, Purpose::Carry).unwrap();
        assert_eq!(big.offset, 3 * ALIGN_BYTES);
        assert_eq!(a.usage().peak_total_bytes(), 10 * ALIGN_BYTES);
        assert_eq!(a.usage().now_bytes[Purpose::Carry as usize], 3 * ALIGN_BYTES);
    }

    #[test]
    fn guarded_buffers_keep_their_distance_and_count_as_before() {
        let mut a = Arena::new(ALIGN_BYTES);
        let request_bytes = 100 << 20;
        a.add_region(a.growth_bytes(request_bytes));
        let big = a.alloc(request_bytes, Purpose::Weights).expect("room for what was asked for");
        assert_eq!(a.usage().now_total_bytes(), request_bytes);
        a.free(&big);
        let [one, two] = [1, 1].map(|n| a.alloc(n, Purpose::Weights).unwrap().offset);
        assert_eq!(two - one, 2 * ALIGN_BYTES);
    }

    #[test]
    fn places_do_not_depend_on_the_size_of_the_region() {
        let places = |region_bytes: usize| {
            let mut rng = crate::rng::Rng::new(5, crate::rng::Stream::Test, 1);
            let mut a = Arena::default();
            a.add_region(region_bytes);
            let mut live: Vec<Place> = vec![];
            let mut offsets = vec![];
            for _ in 0..2_000 {
                if rng.below(2) == 0 || live.is_empty() {
                    let place = a.alloc(rng.below(9_000) as usize, Purpose::Activations).unwrap();
                    offsets.push(place.offset);
                    live.push(place);
                } else {
                    let p = live.swap_remove(rng.below(live.len() as u32) as usize);
                    a.free(&p);
                }
            }
            (offsets, a.usage().span_bytes)
        };
        let (wanted, span_bytes) = places(1 << 40);
        assert_eq!(places(span_bytes), (wanted, span_bytes));
    }

    #[test]
    fn random_requests_never_overlap() {
        let mut rng = crate::rng::Rng::new(3, crate::rng::Stream::Test, 0);
        let mut a = Arena::default();
        a.add_region(1 << 20);
        let mut live: Vec<Place> = vec![];
        for _ in 0..5_000 {
            if rng.below(2) == 0 || live.is_empty() {
                if let Some(p) = a.alloc(rng.below(20_000) as usize, Purpose::Workspace) {
                    assert!(
                        live.iter()
                            .all(|q| p.offset + p.bytes <= q.offset
                                || q.offset + q.bytes <= p.offset)
                    );
                    live.push(p);
                }
            } else {
                let p = live.swap_remove(rng.below(live.len() as u32) as usize);
                a.free(&p);
            }
        }
        live.iter().for_each(|p| a.free(p));
        assert_eq!((a.usage().now_total_bytes(), a.live()), (0, 0));
        assert!(a.alloc(1 << 20, Purpose::Workspace).is_some(), "all holes merged back");
    }
}
