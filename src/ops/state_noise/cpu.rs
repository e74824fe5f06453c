use rayon::prelude::*;

use crate::dtype::Float;
use crate::ops::draw::{Draw, NORMALS, normals};
use crate::ops::layout::Bounds;
use crate::rng::{Stream, philox};

pub fn add<E: Float>(z: &mut [E], draws: &[i32], sigma: &[f32], positions: &Bounds, c: usize) {
    let slots = positions.pieces_mut(z, c).into_par_iter();
    let given = draws.par_chunks_exact(Draw::WORDS).zip(sigma);
    slots.zip(given).filter(|(_, (_, sigma))| **sigma != 0.0).for_each(|(z, (words, &sigma))| {
        let Draw { seed, number } = Draw::of(words);
        for (block, z) in z.chunks_mut(NORMALS).enumerate() {
            let counter =
                [block as u32, Stream::Noise as u32, number as u32, (number >> 32) as u32];
            for (z, normal) in z.iter_mut().zip(normals(philox(seed, counter))) {
                *z = E::from_f32(z.to_f32() + sigma * normal);
            }
        }
    });
}
