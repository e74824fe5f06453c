use hrm::Result;
use hrm::backend::Device;
use hrm::dtype::DType;
use hrm::ops::layout::Layout;
use hrm::ops::real::Real;
use hrm::ops::row_embedding::{self, reference};
use hrm::tape::{Tape, Var};

use crate::check::{Input, Op, input, ints, op_tests, refuses, tensor};
use crate::common::devices::devices;

struct Case {
    rooms: &'static [usize],
    /// By row.
    ids: &'static [i32],
    stride: usize,
    /// K
    rows: usize,
    c: usize,
}

const CASES: &[Case] = &[
    Case { rooms: &[1], ids: &[0], stride: 1, rows: 1, c: 3 },
    Case { rooms: &[7, 1, 40], ids: &[5, 5, 2], stride: 1, rows: 6, c: 8 },
    // Rows of a table by the quotient, and by the remainder, of one number.
    Case { rooms: &[9, 2, 3, 130], ids: &[17, 8, 23, 3], stride: 8, rows: 3, c: 13 },
    Case { rooms: &[9, 2, 3, 130], ids: &[17, 8, 23, 3], stride: 1, rows: 8, c: 260 },
];

impl Case {
    fn layout(&self, device: &Device) -> Layout {
        Layout::packed(device, 0, self.rooms).unwrap()
    }

    /// The table's row for each position.
    fn picked(&self) -> Vec<usize> {
        let of = |(&room, &id): (&usize, &i32)| vec![id as usize / self.stride % self.rows; room];
        self.rooms.iter().zip(self.ids).flat_map(of).collect()
    }
}

impl Op for Case {
    fn name(&self) -> String {
        let Case { rooms, ids, stride, rows, c } = self;
        format!("row_embedding rooms {rooms:?} ids {ids:?} stride {stride} rows {rows} c {c}")
    }
    fn inputs(&self) -> Vec<Input> {
        let n = self.rooms.iter().sum();
        vec![input(&[n, self.c], 1.0, 1), input(&[self.rows, self.c], 1.0, 2)]
    }
    fn run(&self, tape: &mut Tape, x: &[Var]) -> Result<Var> {
        let layout = self.layout(tape.device());
        let lengths: Vec<i32> = self.rooms.iter().map(|&room| room as i32).collect();
        layout.lengths.upload(&lengths)?;
        let ids = ints(tape.device(), &[self.ids.len()], self.ids);
        row_embedding::forward(tape, &x[0], &x[1], &ids, self.stride, &layout)
    }
    fn forward<R: Real>(&self, x: &[Vec<R>]) -> Vec<R> {
        let mut y = vec![R::default(); x[0].len()];
        reference::forward(&x[0], &x[1], &self.picked(), self.c, &mut y);
        y
    }
    fn backward<R: Real>(&self, x: &[Vec<R>], dy: &[R]) -> Vec<Vec<R>> {
        let mut dtable = vec![R::default(); x[1].len()];
        reference::backward_table(dy, &self.picked(), self.c, &mut dtable);
        vec![dy.to_vec(), dtable]
    }
}

op_tests!(CASES);

/// What lies behind a row in its slot has no share in the table's gradient.
#[test]
fn filling_reaches_no_gradient() {
    for (name, device) in devices() {
        let layout = Layout::packed(&device, 0, &[3, 2]).unwrap();
        layout.lengths.upload(&[2, 0]).unwrap();
        let ids = ints(&device, &[2], &[1, 1]);
        let mut tape = Tape::new(&device);
        let x = Var::constant(tensor(&device, DType::F32, &[5, 1], &[0.0; 5]));
        let table = tape.leaf(tensor(&device, DType::F32, &[2, 1], &[0.0; 2]));
        let y = row_embedding::forward(&mut tape, &x, &table, &ids, 1, &layout).unwrap();
        let nan = f64::NAN;
        let dy = tensor(&device, DType::F32, &[5, 1], &[1.0, 2.0, nan, nan, nan]);
        let grads = tape.backward(&[(&y, dy)]).unwrap();
        let got = grads.get(table.id).unwrap().to_f32s().unwrap();
        assert_eq!(got, [0.0, 3.0], "{name}");
    }
}

#[test]
fn other_rows_are_refused() {
    for (_, device) in devices() {
        let layout = Layout::packed(&device, 0, &[3, 2]).unwrap();
        let var = |shape: &[usize]| {
            let elems = shape.iter().product();
            Var::constant(tensor(&device, DType::F32, shape, &vec![0.0; elems]))
        };
        let tape = &mut Tape::new(&device);
        let ids = ints(&device, &[1], &[0]);
        let y = row_embedding::forward(tape, &var(&[5, 2]), &var(&[4, 2]), &ids, 1, &layout);
        refuses("ids", y, &["row_embedding: ids (R)"]);
        let ids = ints(&device, &[2], &[0, 0]);
        let y = row_embedding::forward(tape, &var(&[5, 2]), &var(&[4, 3]), &ids, 1, &layout);
        refuses("width", y, &["row_embedding: table (K, C)"]);
    }
}
