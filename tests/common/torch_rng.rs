//! PyTorch's CPU generator, as far as goldens need it: MT19937, and what `uniform_` and `normal_` make of
//! its words in f32.

const N: usize = 624;
const M: usize = 397;

pub struct TorchRng {
    state: [u32; N],
    at: usize,
    /// The second half of the last Box-Muller pair that was drawn alone.
    cached: Option<f64>,
}

impl TorchRng {
    pub fn new(seed: u64) -> Self {
        let mut state = [seed as u32; N];
        for i in 1..N {
            let last = state[i - 1];
            state[i] = 1_812_433_253_u32.wrapping_mul(last ^ (last >> 30)).wrapping_add(i as u32);
        }
        Self { state, at: N, cached: None }
    }

    fn word(&mut self) -> u32 {
        if self.at == N {
            for i in 0..N {
                let y = (self.state[i] & 0x8000_0000) | (self.state[(i + 1) % N] & 0x7fff_ffff);
                let turn = if y & 1 == 1 { 0x9908_b0df } else { 0 };
                self.state[i] = self.state[(i + M) % N] ^ (y >> 1) ^ turn;
            }
            self.at = 0;
        }
        let mut y = self.state[self.at];
        self.at += 1;
        y ^= y >> 11;
        y ^= (y << 7) & 0x9d2c_5680;
        y ^= (y << 15) & 0xefc6_0000;
        y ^ (y >> 18)
    }

    fn unit(&mut self) -> f32 {
        (self.word() & 0xff_ffff) as f32 / 16_777_216.0
    }

    fn unit_f64(&mut self) -> f64 {
        let word = (self.word() as u64) << 32 | self.word() as u64;
        (word & ((1 << 53) - 1)) as f64 / (1_u64 << 53) as f64
    }

    /// `tensor.uniform_(-bound, bound)`
    pub fn uniform(&mut self, n: usize, bound: f64) -> Vec<f32> {
        let (from, to) = (-bound as f32, bound as f32);
        (0..n).map(|_| self.unit() * (to - from) + from).collect()
    }

    /// `torch.randn(n)`
    pub fn normal(&mut self, n: usize) -> Vec<f32> {
        if n < 16 {
            return (0..n).map(|_| self.normal_alone() as f32).collect();
        }
        let mut x: Vec<f32> = (0..n).map(|_| self.unit()).collect();
        x.chunks_exact_mut(16).for_each(box_muller);
        if !n.is_multiple_of(16) {
            let last = &mut x[n - 16..];
            last.iter_mut().for_each(|x| *x = self.unit());
            box_muller(last);
        }
        x
    }

    fn normal_alone(&mut self) -> f64 {
        if let Some(x) = self.cached.take() {
            return x;
        }
        let (u1, u2) = (self.unit_f64(), self.unit_f64());
        let (radius, angle) = ((-2.0 * (-u2).ln_1p()).sqrt(), std::f64::consts::TAU * u1);
        self.cached = Some(radius * angle.sin());
        radius * angle.cos()
    }
}

/// Eight pairs of uniforms, the halves of `x`, to sixteen normals.
fn box_muller(x: &mut [f32]) {
    let (first, second) = x.split_at_mut(8);
    for (a, b) in first.iter_mut().zip(second) {
        let (u1, u2) = (1.0 - *a, *b);
        let (radius, angle) = ((-2.0 * u1.ln()).sqrt(), std::f32::consts::TAU * u2);
        (*a, *b) = (radius * angle.cos(), radius * angle.sin());
    }
}

/// `torch.manual_seed(0)`: `torch.rand(3)`, `torch.randn(3)`.
#[test]
fn first_draws_are_those_of_pytorch() {
    let near = |a: &[f32], b: &[f32]| a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-4);
    let mut rng = TorchRng::new(0);
    let rand: Vec<f32> = (0..3).map(|_| rng.unit()).collect();
    assert!(near(&rand, &[0.4963, 0.7682, 0.0885]), "{rand:?}");
    let randn = TorchRng::new(0).normal(3);
    assert!(near(&randn, &[1.5410, -0.2934, -2.1788]), "{randn:?}");
}
