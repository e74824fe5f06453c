//! Rows packed end to end, in slots larger than some of them, against the same rows one at a time
//! through the padded op, on the same device.

use hrm::Result;
use hrm::backend::{Device, Mode};
use hrm::dtype::DType;
use hrm::ops::attention::{self, Rope, Sight};
use hrm::ops::cross_entropy::{self, IGNORE, Kind};
use hrm::ops::layout::Layout;
use hrm::ops::{act_halt, embedding, take_first};
use hrm::tape::{Tape, Var};
use hrm::tensor::Tensor;

use crate::check::{compare, ints, normal, numbers, tensor};
use crate::common::devices::devices;

/// Places that tables have.
const PLACES: usize = 331;
const DTYPES: [DType; 2] = [DType::F32, DType::Bf16];

/// Slots and the rows in them.
#[derive(Clone, Copy)]
struct Batch {
    prefix: usize,
    /// Positions of each slot, prefix included, and of its row.
    rooms: &'static [usize],
    lengths: &'static [usize],
}

/// Slots begin at odd positions; rows that fill theirs, that fill little of it, that are empty;
/// more than one tile of every kernel, tiles beyond a row, slots of both passes of backward.
const BATCHES: [Batch; 3] = [
    Batch { prefix: 0, rooms: &[7, 1, 19, 3, 171, 40], lengths: &[7, 1, 11, 0, 130, 1] },
    Batch { prefix: 3, rooms: &[33, 4, 297, 101, 90], lengths: &[20, 4, 261, 5, 90] },
    // All rows short.
    Batch { prefix: 1, rooms: &[35, 17, 96, 2], lengths: &[16, 17, 33, 0] },
];

/// A tensor that lies along the positions of a batch: its values in rows, its values in filling.
struct Along {
    width: usize,
    values: Vec<f64>,
}

impl Batch {
    fn positions(&self) -> usize {
        self.rooms.iter().sum()
    }

    /// Slot, first position and positions of each row that is not empty.
    fn rows(&self) -> impl Iterator<Item = (usize, usize, usize)> {
        let starts = self.rooms.iter().scan(0, |end, room| {
            *end += room;
            Some(*end - room)
        });
        let rows = starts.zip(self.lengths).enumerate();
        rows.map(|(r, (start, &t))| (r, start, t)).filter(|(_, _, t)| *t > 0)
    }

    fn in_row(&self, position: usize) -> bool {
        self.rows().any(|(_, start, t)| (start..start + t).contains(&position))
    }

    /// The prefix, then cells with leaps that differ from row to row.
    fn places(&self) -> Vec<i32> {
        let mut places = vec![0; self.positions()];
        for (r, start, t) in self.rows() {
            for i in 0..t {
                let leap = if i < self.prefix { 0 } else { r + i / 5 };
                places[start + i] = (i + leap) as i32;
            }
        }
        assert!(places.iter().all(|&p| (p as usize) < PLACES));
        places
    }

    fn layout(&self, device: &Device) -> Layout {
        let cells: Vec<usize> = self.rooms.iter().map(|room| room - self.prefix).collect();
        let layout = Layout::packed(device, self.prefix, &cells).unwrap();
        let lengths: Vec<i32> = self.lengths.iter().map(|&t| t as i32).collect();
        layout.lengths.upload(&lengths).unwrap();
        layout.places.upload(&self.places()).unwrap();
        layout
    }

    /// Normal in rows, `filling` elsewhere.
    fn along(&self, width: usize, scale: f64, seed: u64, filling: f64) -> Along {
        let mut values = normal(self.positions() * width, scale, seed);
        for (n, values) in values.chunks_exact_mut(width).enumerate() {
            if !self.in_row(n) {
                values.fill(filling);
            }
        }
        Along { width, values }
    }

    /// One to each cell of a row, from `of` its number; `filling` elsewhere.
    fn cells(&self, of: impl Fn(usize) -> i32, filling: i32) -> Vec<i32> {
        let mut all = vec![];
        for (r, (&room, &t)) in self.rooms.iter().zip(self.lengths).enumerate() {
            let cells = 0..room - self.prefix;
            let valid = t.saturating_sub(self.prefix);
            all.extend(cells.map(|i| if i < valid { of(r * 1000 + i) } else { filling }));
        }
        all
    }

    /// The cells of row r.
    fn row_cells<'a>(&self, r: usize, start: usize, t: usize, all: &'a [i32]) -> &'a [i32] {
        &all[start - r * self.prefix..][..t - self.prefix]
    }

    /// `got` in rows, against what each row gave alone; elsewhere nothing but `filling`.
    fn compare(&self, what: &str, got: &Tensor, want: &[Vec<f64>], filling: f64) {
        let (width, all) = (got.shape().last(), numbers(got));
        for ((r, start, t), want) in self.rows().zip(want) {
            let row = &all[start * width..(start + t) * width];
            compare(&format!("{what}: row {r}"), row, want, want, got.dtype(), 1e-6);
        }
        for (n, values) in all.chunks_exact(width).enumerate().filter(|(n, _)| !self.in_row(*n)) {
            assert!(values.iter().all(|x| *x == filling), "{what}: filling {n}: {values:?}");
        }
    }
}

impl Along {
    fn tensor(&self, device: &Device, dtype: DType) -> Tensor {
        tensor(device, dtype, &[self.values.len() / self.width, self.width], &self.values)
    }

    /// The row of `t` positions from `start`, (1, T, width).
    fn row(&self, device: &Device, dtype: DType, start: usize, t: usize) -> Tensor {
        let values = &self.values[start * self.width..(start + t) * self.width];
        tensor(device, dtype, &[1, t, self.width], values)
    }
}

/// A gradient to be written or added to, with `before` in it.
fn gradient(device: &Device, like: &Tensor, dtype: DType, before: f64) -> Tensor {
    tensor(device, dtype, like.shape().dims(), &vec![before; like.elems()])
}

/// y of `op`, with `gradients` of its inputs left in place.
fn drive(
    inputs: &[(&Tensor, &Tensor)],
    mode: Mode,
    dy: &Tensor,
    op: impl FnOnce(&mut Tape, &[Var]) -> Result<Var>,
) -> Tensor {
    let mut tape = Tape::new(dy.device());
    let bind = |(x, dx): &(&Tensor, &Tensor)| tape.bind((*x).clone(), (*dx).clone(), mode);
    let inputs: Vec<Var> = inputs.iter().map(bind).collect();
    let y = op(&mut tape, &inputs).unwrap();
    tape.backward(&[(&y, dy.clone())]).unwrap();
    y.tensor
}

/// What a gradient holds before: NaN where it is to be overwritten.
const MODES: [(Mode, f64); 2] = [(Mode::Set, f64::NAN), (Mode::Add, 0.5)];

/// What filling holds after.
fn filling_after(mode: Mode, before: f64) -> f64 {
    if mode == Mode::Set { 0.0 } else { before }
}

/// Heads whose kernels are the plain ones and those of the tensor cores.
#[test]
fn attention_is_that_of_the_rows_alone() {
    for (name, device) in devices() {
        for (i, batch) in BATCHES.iter().enumerate() {
            for (dtype, nh, hd) in [
                (DType::F32, 2, 12),
                (DType::Bf16, 1, 20),
                (DType::Bf16, 3, 16),
                (DType::Bf16, 2, 32),
                (DType::Bf16, 1, 64),
            ] {
                for (causal, (mode, before)) in
                    [(false, MODES[0]), (false, MODES[1]), (true, MODES[0])]
                {
                    let sight = Sight { causal, ..Sight::default() };
                    let at = format!("batch {i} {dtype} heads {nh} x {hd} {mode:?} on {name}");
                    let at = format!("{at}, causal {causal}");
                    attend(batch, &device, dtype, [nh, hd], sight, (mode, before), &at);
                }
            }
        }
    }
}

fn attend(
    batch: &Batch,
    device: &Device,
    dtype: DType,
    [nh, hd]: [usize; 2],
    sight: Sight,
    (mode, before): (Mode, f64),
    at: &str,
) {
    let c = nh * hd;
    let qkv = batch.along(3 * c, 1.5, 1, f64::NAN);
    let dy = batch.along(c, 1.0, 2, f64::NAN);
    let angles: Vec<f64> = normal(PLACES * hd / 2, 1.0, 3);
    let table = |of: fn(f64) -> f64, places: &[i32]| {
        let half = |&p: &i32| angles[p as usize * hd / 2..][..hd / 2].iter().map(|&x| of(x));
        let values = places.iter().flat_map(|p| half(p).chain(half(p))).collect::<Vec<_>>();
        tensor(device, DType::F32, &[places.len(), hd], &values)
    };
    let rope = |places: &[i32]| Rope { cos: table(f64::cos, places), sin: table(f64::sin, places) };
    let (layout, tables) = (batch.layout(device), rope(&Vec::from_iter(0..PLACES as i32)));
    let x = qkv.tensor(device, dtype);
    let dx = gradient(device, &x, dtype, before);
    let y = drive(&[(&x, &dx)], mode, &dy.tensor(device, dtype), |tape, x| {
        attention::forward_with(tape, &x[0], nh, Some(&tables), &layout, sight)
    });
    let (mut ys, mut dxs) = (vec![], vec![]);
    for (_, start, t) in batch.rows() {
        let x = qkv.row(device, dtype, start, t);
        let dx = gradient(device, &x, dtype, before);
        let own = rope(&batch.places()[start..start + t]);
        let y = drive(&[(&x, &dx)], mode, &dy.row(device, dtype, start, t), |tape, x| {
            let layout = Layout::of(&x[0].tensor, 0)?;
            attention::forward_with(tape, &x[0], nh, Some(&own), &layout, sight)
        });
        ys.push(numbers(&y));
        dxs.push(numbers(&dx));
    }
    batch.compare(&format!("attention y, {at}"), &y, &ys, 0.0);
    batch.compare(&format!("attention dqkv, {at}"), &dx, &dxs, filling_after(mode, before));
}

#[test]
fn cross_entropy_is_that_of_the_rows_alone() {
    const V: usize = 11;
    for (name, device) in devices() {
        for (i, batch) in BATCHES.iter().enumerate() {
            for (dtype, (mode, before)) in DTYPES.iter().flat_map(|d| MODES.map(|m| (*d, m))) {
                let at = format!("cross_entropy, batch {i} {dtype} {mode:?} on {name}");
                let logits = batch.along(V, 2.0, 1, f64::NAN);
                let of = |n| if n % 3 == 1 { IGNORE } else { (n * 5 % V) as i32 };
                let labels = batch.cells(of, IGNORE);
                let run = |x: &Tensor, dx: &Tensor, labels: &[i32], layout: &Layout| {
                    let labels = ints(&device, layout.cells_shape().dims(), labels);
                    let drows = &normal(64, 1.0, 4)[..layout.rows() * 4];
                    let drows = tensor(&device, DType::F32, &[layout.rows(), 4], drows);
                    numbers(&drive(&[(x, dx)], mode, &drows, |tape, x| {
                        cross_entropy::forward(tape, Kind::Stablemax, &x[0], &labels, layout)
                    }))
                };
                let x = logits.tensor(&device, dtype);
                let dx = gradient(&device, &x, dtype, before);
                let rows = run(&x, &dx, &labels, &batch.layout(&device));
                let mut dxs = vec![];
                for (r, start, t) in batch.rows() {
                    // As many slots, so that row r has the same gradient of its loss.
                    let cells = batch.row_cells(r, start, t, &labels);
                    let own = logits.row(&device, dtype, start, t);
                    let values = numbers(&own).repeat(r + 1);
                    let x = tensor(&device, dtype, &[r + 1, t, V], &values);
                    let dx = gradient(&device, &x, dtype, before);
                    let layout = Layout::of(&x, batch.prefix).unwrap();
                    let alone = run(&x, &dx, &cells.repeat(r + 1), &layout);
                    let want = &alone[r * 4..];
                    let what = format!("{at}: row {r}");
                    compare(&what, &rows[r * 4..][..4], want, want, DType::F32, 1e-6);
                    dxs.push(numbers(&dx)[r * t * V..].to_vec());
                }
                batch.compare(&at, &dx, &dxs, filling_after(mode, before));
                for (r, _) in batch.lengths.iter().enumerate().filter(|(_, t)| **t == 0) {
                    assert_eq!(rows[r * 4..][..4], [0.0, 0.0, 0.0, 1.0], "{at}: empty row {r}");
                }
            }
        }
    }
}

/// Gradients of tables are sums over the rows; that of filling is zero.
#[test]
fn embeddings_are_those_of_the_rows_alone() {
    const V: usize = 7;
    for (name, device) in devices() {
        for (i, batch) in BATCHES.iter().enumerate() {
            for (dtype, c) in [(DType::F32, 5), (DType::F32, 40), (DType::Bf16, 40)] {
                for (mode, before) in [(Mode::Set, f64::NAN), (Mode::Add, 0.0)] {
                    let at = format!("embedding, batch {i} {dtype} c {c} {mode:?} on {name}");
                    embed(batch, &device, dtype, [V, c], (mode, before), &at);
                }
            }
        }
    }
}

fn embed(
    batch: &Batch,
    device: &Device,
    dtype: DType,
    [v, c]: [usize; 2],
    (mode, before): (Mode, f64),
    at: &str,
) {
    // Without a prefix there are no puzzles, whatever is in theirs.
    let (slots, d) = (batch.rooms.len(), (batch.prefix * c).max(2) - 1);
    let tokens = batch.cells(|n| (n * 5 % v) as i32, 0);
    let (pos, puzzles) = (normal(PLACES * c, 1.0, 2), normal(slots * d, 1.0, 3));
    let dy = batch.along(c, 1.0, 4, 0.0);
    let table = tensor(device, dtype, &[v, c], &normal(v * c, 1.0, 1));
    let run = |pos: &[f64], puzzles: &[f64], tokens: &[i32], dy: &Tensor, layout: &Layout| {
        let pos = tensor(device, dtype, &[pos.len() / c, c], pos);
        let puzzles = tensor(device, DType::F32, &[layout.rows(), d], puzzles);
        let tokens = ints(device, layout.cells_shape().dims(), tokens);
        let of = |x: &Tensor| gradient(device, x, DType::F32, before);
        let grads = [of(&table), of(&pos), of(&puzzles)];
        let mut inputs = vec![(&table, &grads[0]), (&pos, &grads[1])];
        inputs.extend((batch.prefix > 0).then_some((&puzzles, &grads[2])));
        let y = drive(&inputs, mode, dy, |tape, x| {
            embedding::forward(tape, &tokens, &x[0], x.get(2), Some(&x[1]), 3.0, layout)
        });
        (y, grads.map(|g| numbers(&g)))
    };
    let layout = batch.layout(device);
    let (y, got) = run(&pos, &puzzles, &tokens, &dy.tensor(device, dtype), &layout);
    let mut want = [vec![0.0; v * c], vec![0.0; PLACES * c], vec![0.0; slots * d]];
    let all = numbers(&y);
    for (r, start, t) in batch.rows() {
        let places = &batch.places()[start..start + t];
        let own: Vec<f64> =
            places.iter().flat_map(|&p| pos[p as usize * c..][..c].iter().copied()).collect();
        let layout = Layout::padded(device, 1, batch.prefix, t - batch.prefix).unwrap();
        let cells = batch.row_cells(r, start, t, &tokens);
        let dy = dy.row(device, dtype, start, t);
        let (y, [dtable, dpos, dpuzzle]) = run(&own, &puzzles[r * d..][..d], cells, &dy, &layout);
        assert_eq!(all[start * c..(start + t) * c], numbers(&y), "{at}: y of row {r}");
        want[0].iter_mut().zip(&dtable).for_each(|(sum, g)| *sum += g);
        for (g, &place) in dpos.chunks_exact(c).zip(places) {
            let sum = &mut want[1][place as usize * c..][..c];
            sum.iter_mut().zip(g).for_each(|(sum, g)| *sum += g);
        }
        want[2][r * d..][..d].copy_from_slice(&dpuzzle);
    }
    let tables = if batch.prefix > 0 { &["table", "pos", "puzzle"][..] } else { &["table", "pos"] };
    for (what, (got, want)) in tables.iter().zip(got.iter().zip(&want)) {
        compare(&format!("{at}: {what}"), got, want, want, DType::F32, 1e-6);
    }
}

#[test]
fn the_first_position_of_each_slot_is_taken() {
    for (name, device) in devices() {
        for (i, batch) in BATCHES.iter().enumerate() {
            for (dtype, c, (mode, before)) in [(DType::F32, 5), (DType::Bf16, 16)]
                .iter()
                .flat_map(|(d, c)| MODES.map(|m| (*d, *c, m)))
            {
                let at = format!("take_first, batch {i} {dtype} c {c} {mode:?} on {name}");
                let x = batch.along(c, 1.0, 1, 0.25);
                let slots = batch.rooms.len();
                let dy = tensor(&device, dtype, &[slots, c], &normal(slots * c, 1.0, 2));
                let device_x = x.tensor(&device, dtype);
                let dx = gradient(&device, &device_x, dtype, before);
                let y = drive(&[(&device_x, &dx)], mode, &dy, |tape, x| {
                    take_first::forward(tape, &x[0], &batch.layout(&device))
                });
                let (x, dy, mut start) = (numbers(&device_x), numbers(&dy), 0);
                let rest = filling_after(mode, before);
                let mut want = vec![rest; x.len()];
                for (r, room) in batch.rooms.iter().enumerate() {
                    assert_eq!(numbers(&y)[r * c..][..c], x[start * c..][..c], "{at}: row {r}");
                    for (want, dy) in want[start * c..][..c].iter_mut().zip(&dy[r * c..]) {
                        *want += dy;
                    }
                    start += room;
                }
                compare(&at, &numbers(&dx), &want, &want, dtype, 1e-6);
            }
        }
    }
}

/// Whole slots and nothing else, whatever was in them.
#[test]
fn slots_of_any_size_are_reset_and_admitted() {
    for (name, device) in devices() {
        for batch in &BATCHES {
            let layout = batch.layout(&device);
            let halted: Vec<f64> = (0..batch.rooms.len()).map(|r| (r % 2) as f64).collect();
            let halted = tensor(&device, DType::U8, &[halted.len()], &halted);
            let n = batch.positions();
            let slot_of: Vec<usize> =
                batch.rooms.iter().enumerate().flat_map(|(r, &room)| vec![r; room]).collect();
            for (dtype, c) in [(DType::F32, 3), (DType::Bf16, 8), (DType::F32, 1040)] {
                let z = tensor(&device, dtype, &[n, c], &vec![f64::NAN; n * c]);
                let init = tensor(&device, dtype, &[c], &normal(c, 1.0, 1));
                act_halt::reset(&halted, &init, &z, &layout).unwrap();
                let init = numbers(&init);
                for (n, z) in numbers(&z).chunks_exact(c).enumerate() {
                    let as_it_was = z.iter().all(|z| z.is_nan());
                    let good = if slot_of[n] % 2 == 1 { z == init } else { as_it_was };
                    assert!(good, "reset of {dtype}, c {c}, position {n} on {name}");
                }
            }
            for bounds in [layout.positions(), layout.cells(), layout.ones()] {
                let total = bounds.total();
                let src = ints(&device, &[total], &Vec::from_iter(1..=total as i32));
                let dst = ints(&device, &[total], &vec![-1; total]);
                act_halt::admit(&halted, bounds, &src, &dst).unwrap();
                let slots = bounds.sizes().enumerate();
                let slot_of: Vec<usize> = slots.flat_map(|(r, size)| vec![r; size]).collect();
                for (n, got) in numbers(&dst).into_iter().enumerate() {
                    let want = if slot_of[n] % 2 == 1 { (n + 1) as f64 } else { -1.0 };
                    assert_eq!(got, want, "admit, element {n} of {total} on {name}");
                }
            }
        }
    }
}
