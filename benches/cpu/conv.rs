//! The three products of the VAEs' layers; a decoder's layer has the same three in other roles.

use hrm::backend::Mode;
use hrm::backend::cpu::conv::{self, Geometry};

use crate::best_ms;

const BATCH: usize = 64;

/// Name, channels, side, maps, kernel, stride.
const LAYERS: &[(&str, usize, usize, usize, usize, usize)] = &[
    ("student 1", 3, 32, 16, 3, 2),
    ("student 2", 16, 16, 32, 3, 2),
    ("student 3", 32, 8, 64, 3, 2),
    ("student 4", 64, 4, 128, 3, 2),
    ("teacher 1", 3, 32, 64, 4, 2),
    ("teacher 2", 64, 16, 128, 4, 2),
    ("teacher 3", 128, 8, 256, 4, 2),
    ("teacher 4", 256, 4, 512, 4, 2),
    ("vgg 2", 64, 32, 64, 3, 1),
];

pub fn run() {
    println!("GFLOP/s      correlate   spread  weights   all three ms");
    for &(name, channels, side, maps, kernel, stride) in LAYERS {
        one(
            name,
            &Geometry {
                batch: BATCH,
                channels,
                height: side,
                width: side,
                maps,
                kernel: [kernel; 2],
                stride,
                padding: 1,
            },
        );
    }
}

fn one(name: &str, g: &Geometry) {
    let values =
        |len: usize| -> Vec<f32> { (0..len).map(|i| (i * 7 % 13) as f32 / 13.0 - 0.4).collect() };
    let (mut images, mut maps) = (values(g.image_elems()), values(g.map_elems()));
    let mut w = values(g.weight_elems());
    let times_ms = [
        best_ms(|| conv::correlate(g, &images, &w, None, Mode::Set, &mut maps)),
        best_ms(|| conv::spread(g, &maps, &w, None, Mode::Set, &mut images)),
        best_ms(|| conv::weights(g, &images, &maps, Mode::Set, &mut w)),
    ];
    let flops = 2.0 * g.map_elems() as f64 * g.depth() as f64;
    let [a, b, c] = times_ms.map(|ms| flops * 1e-6 / ms);
    println!("{name:<12} {a:>9.1} {b:>8.1} {c:>8.1} {:>14.3}", times_ms.iter().sum::<f64>());
}
