//! Counter-based random numbers: Philox4x32-10 (Salmon et al., "Parallel random numbers: as easy
//! as 1, 2, 3", SC 2011). A draw is a pure function of (key, counter), so that any step, sample or
//! thread can be reached without replaying the ones before it, on the host and on a device alike.

use std::convert::Infallible;

use rand_core::utils::fill_bytes_via_next_word;

/// One Philox4x32-10 block: 128 random bits for a 64-bit key and a 128-bit counter.
pub fn philox(key: u64, counter: [u32; 4]) -> [u32; 4] {
    philox_lanes(key, counter.map(|word| [word])).map(|[word]| word)
}

/// N blocks side by side, word by word: what a CPU's vector units want.
#[inline(always)]
pub fn philox_lanes<const N: usize>(key: u64, counters: [[u32; N]; 4]) -> [[u32; N]; 4] {
    let (mut k0, mut k1) = (key as u32, (key >> 32) as u32);
    let [mut a, mut b, mut c, mut d] = counters;
    for round in 0..10 {
        if round > 0 {
            k0 = k0.wrapping_add(0x9E37_79B9);
            k1 = k1.wrapping_add(0xBB67_AE85);
        }
        for i in 0..N {
            let p0 = 0xD251_1F53_u64 * a[i] as u64;
            let p1 = 0xCD9E_8D57_u64 * c[i] as u64;
            (a[i], b[i], c[i], d[i]) = (
                (p1 >> 32) as u32 ^ b[i] ^ k0,
                p1 as u32,
                (p0 >> 32) as u32 ^ d[i] ^ k1,
                p0 as u32,
            );
        }
    }
    [a, b, c, d]
}

/// What random numbers are for: each purpose reads streams of its own. The numbers are part of the
/// file format, since a resumed run depends on them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Stream {
    Init = 1,
    Halting = 2,
    Dropout = 3,
    Order = 4,
    Augment = 5,
    Generate = 6,
    Test = 7,
    Noise = 8,
}

/// A sequential reader of random numbers, fixed by `(seed, stream, index)`.
///
/// It is a generator of the crate `rand`, whose distributions work with it. What a kernel must draw
/// too, or a file remembers, is drawn by the methods here, which no other crate can change.
///
/// ```
/// use hrm::rng::{Rng, Stream};
/// use rand::RngExt;
///
/// let mut rng = Rng::new(7, Stream::Test, 0);
/// let die: u32 = rng.random_range(1..=6);
/// assert!((1..=6).contains(&die));
/// ```
#[derive(Clone, Debug)]
pub struct Rng {
    key: u64,
    stream: u32,
    index: u64,
    block: u32,
    buffer: [u32; 4],
    used: u8,
}

impl Rng {
    pub fn new(seed: u64, stream: Stream, index: u64) -> Self {
        Self { key: seed, stream: stream as u32, index, block: 0, buffer: [0; 4], used: 4 }
    }

    pub fn u32(&mut self) -> u32 {
        if self.used == 4 {
            let counter = [self.block, self.stream, self.index as u32, (self.index >> 32) as u32];
            self.buffer = philox(self.key, counter);
            self.block = self.block.wrapping_add(1);
            self.used = 0;
        }
        self.used += 1;
        self.buffer[self.used as usize - 1]
    }

    pub fn u64(&mut self) -> u64 {
        self.u32() as u64 | (self.u32() as u64) << 32
    }

    /// Uniform in `0..n` without bias (rejection). `n` must be positive.
    pub fn below(&mut self, n: u32) -> u32 {
        assert!(n > 0, "Rng::below(0)");
        let zone = u32::MAX - (u32::MAX - n + 1) % n;
        loop {
            let x = self.u32();
            if x <= zone {
                return x % n;
            }
        }
    }

    /// Uniform in (0, 1) with 53 random bits: safe as the argument of a logarithm.
    pub fn uniform_f64(&mut self) -> f64 {
        ((self.u64() >> 11) as f64 + 0.5) / (1u64 << 53) as f64
    }

    /// Standard normal (Box-Muller).
    pub fn normal(&mut self) -> f64 {
        let (u, v) = (self.uniform_f64(), self.uniform_f64());
        (-2.0 * u.ln()).sqrt() * (std::f64::consts::TAU * v).cos()
    }

    /// Fisher-Yates.
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for i in (1..items.len()).rev() {
            items.swap(i, self.below(i as u32 + 1) as usize);
        }
    }
}

impl rand_core::TryRng for Rng {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        Ok(self.u32())
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        Ok(self.u64())
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Infallible> {
        fill_bytes_via_next_word(bytes, || self.try_next_u32())
    }
}

/// The top 24 bits of a random word as a float in [0, 1).
#[inline(always)]
pub fn unit_f32(word: u32) -> f32 {
    (word >> 8) as f32 * (1.0 / (1 << 24) as f32)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The published known-answer vectors of Philox4x32-10 (Random123 `kat_vectors`).
    #[test]
    fn philox_matches_published_vectors() {
        assert_eq!(philox(0, [0; 4]), [0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8]);
        assert_eq!(
            philox(u64::MAX, [u32::MAX; 4]),
            [0x408f_276d, 0x41c8_3b0e, 0xa20b_c7c6, 0x6d54_51fd]
        );
        assert_eq!(
            philox(0x299f_31d0_a409_3822, [0x243f_6a88, 0x85a3_08d3, 0x1319_8a2e, 0x0370_7344]),
            [0xd16c_fe09, 0x94fd_cceb, 0x5001_e420, 0x2412_6ea1]
        );
    }

    #[test]
    fn lanes_are_the_blocks_of_their_counters() {
        let counters: [[u32; 5]; 4] = std::array::from_fn(|w| {
            std::array::from_fn(|i| 0x9E37_79B9_u32.wrapping_mul((w * 5 + i) as u32))
        });
        let lanes = philox_lanes(77, counters);
        for i in 0..5 {
            assert_eq!(lanes.map(|word| word[i]), philox(77, counters.map(|word| word[i])));
        }
    }

    #[test]
    fn streams_differ_and_repeat() {
        let draw = |p, s| {
            let mut r = Rng::new(7, p, s);
            (0..9).map(|_| r.u32()).collect::<Vec<_>>()
        };
        assert_eq!(draw(Stream::Init, 3), draw(Stream::Init, 3));
        assert_ne!(draw(Stream::Init, 3), draw(Stream::Init, 4));
        assert_ne!(draw(Stream::Init, 3), draw(Stream::Order, 3));
    }

    #[test]
    fn it_is_a_generator_of_rand_with_the_same_words() {
        use rand_core::Rng as _;
        let (mut own, mut of_rand) = (Rng::new(7, Stream::Test, 1), Rng::new(7, Stream::Test, 1));
        assert_eq!(own.u32(), of_rand.next_u32());
        assert_eq!(own.u64(), of_rand.next_u64());
        let mut bytes = [0; 6];
        of_rand.fill_bytes(&mut bytes);
        let words = [own.u32().to_le_bytes(), own.u32().to_le_bytes()].concat();
        assert_eq!(bytes[..], words[..6]);
        assert_eq!(own.u32(), of_rand.next_u32());
    }

    #[test]
    fn below_is_uniform_and_shuffle_permutes() {
        let mut r = Rng::new(1, Stream::Test, 0);
        let mut counts = [0u32; 7];
        (0..70_000).for_each(|_| counts[r.below(7) as usize] += 1);
        assert!(counts.iter().all(|c| (9_500..10_500).contains(c)), "{counts:?}");
        let mut v: Vec<u32> = (0..100).collect();
        r.shuffle(&mut v);
        let mut sorted = v.clone();
        sorted.sort_unstable();
        assert_eq!(sorted, (0..100).collect::<Vec<_>>());
        assert_ne!(v, sorted);
    }
}
