//! Attention forward and backward with rotary tables, causal too. The rate counts the matrix
//! products that exact attention needs: two forward, five backward, causal half of each.

use hrm::backend::Mode;
use hrm::backend::cpu::attention::{Dims, Rope, Sight, backward, forward};
use hrm::dtype::{Float, bf16};

use crate::best_ms;

/// (batch, t, heads, head_dim)
const SHAPES: &[(usize, usize, usize, usize)] = &[
    (32, 82, 4, 32),
    (32, 50, 4, 32),
    (8, 82, 8, 64),
    (2, 901, 4, 32),
    (2, 901, 8, 64),
    (2, 916, 8, 64),
    (2, 900, 8, 32),
    (32, 17, 4, 16),
];

pub fn run() {
    println!("attention    batch    t heads  hd   fwd ms   bwd ms  fwd GFLOP/s  bwd GFLOP/s");
    for &(batch, t, heads, head_dim) in SHAPES {
        let starts: Vec<usize> = (0..=batch).map(|b| b * t).collect();
        let lengths = vec![t as i32; batch];
        let sight = Sight::default();
        let d = Dims { starts: &starts, lengths: &lengths, heads, head_dim, sight };
        one::<bf16>("bf16", d, t);
        one::<f32>("f32", d, t);
        let d = Dims { sight: Sight { causal: true, ..sight }, ..d };
        one::<bf16>("bf16 causal", d, t);
        one::<f32>("f32 causal", d, t);
    }
}

fn one<E: Float>(name: &str, d: Dims, t: usize) {
    let values = |len: usize| -> Vec<E> {
        (0..len).map(|i| E::from_f32((i * 7 % 13) as f32 / 6.5 - 0.8)).collect()
    };
    let batch = d.lengths.len();
    let tokens = batch * t;
    let (qkv, dy) = (values(tokens * 3 * d.c()), values(tokens * d.c()));
    let (mut y, mut dqkv) = (dy.clone(), qkv.clone());
    let mut lse = vec![0.0; tokens * d.heads];
    let table = vec![0.7; t * d.head_dim];
    let places: Vec<i32> = (0..batch).flat_map(|_| 0..t as i32).collect();
    let rope = Some(Rope { cos: &table, sin: &table, places: &places });
    let forward_ms = best_ms(|| forward(d, &qkv, rope, &mut y, &mut lse));
    let backward_ms = best_ms(|| {
        backward(d, &qkv, rope, &y, &lse, &dy, Mode::Set, &mut dqkv);
    });
    let seen = if d.sight.causal { 0.5 * (t + 1) as f64 } else { t as f64 };
    let product_gflop = 2e-9 * (tokens * d.c()) as f64 * seen;
    println!(
        "{name:<12} {batch:>5} {t:>4} {:>5} {:>3} {forward_ms:>8.3} {backward_ms:>8.3} {:>12.1} {:>12.1}",
        d.heads,
        d.head_dim,
        2e3 * product_gflop / forward_ms,
        5e3 * product_gflop / backward_ms,
    );
}
