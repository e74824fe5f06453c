//! Every op against an answer that is not ours: PyTorch's functions and autograd in f64, as
//! `tools/golden/ops` stores them. The other tests of an op compare it with `reference.rs`, which
//! the same hand wrote.

mod images;
mod layers;
mod losses;
mod updates;

use std::collections::BTreeSet;

use hrm::Result;
use hrm::backend::Device;
use hrm::dtype::DType;
use hrm::tape::{Tape, Var};
use hrm::tensor::Tensor;
use serde_json::Value;

use crate::check::{numbers, tensor};
use crate::common::compare::relative_error;
use crate::common::devices::devices;
use crate::common::golden::{self, Golden};

/// Largest error in f32, relative to the tensor's largest element, unless a witness says otherwise:
/// sums of hundreds of terms cancel.
const RTOL: f64 = 5e-5;
/// The same in bf16, where a unit in the last place is 2^-8 to 2^-7 and some ops round twice.
const BF16_RTOL: f64 = 2e-2;

/// How a function is asked for the answers of its cases.
#[derive(Clone, Copy)]
pub struct Witness {
    /// The function, by the word that cases name it with.
    call: &'static str,
    ask: Ask,
    rtol: f64,
}

#[derive(Clone, Copy)]
enum Ask {
    /// y of the inputs that gradients flow to; y and the gradients are compared.
    Gradient(fn(&Case, &mut Tape, &[Var]) -> Result<Var>),
    /// Compares by itself what it makes.
    Direct(fn(&Case) -> Result<()>),
}

impl Witness {
    const fn gradient(call: &'static str, y: fn(&Case, &mut Tape, &[Var]) -> Result<Var>) -> Self {
        Self { call, ask: Ask::Gradient(y), rtol: RTOL }
    }

    const fn direct(call: &'static str, run: fn(&Case) -> Result<()>) -> Self {
        Self { call, ask: Ask::Direct(run), rtol: RTOL }
    }

    const fn within(self, rtol: f64) -> Self {
        Self { rtol, ..self }
    }

    /// Nothing is rounded but once to the dtype: the same numbers.
    const fn exact(self) -> Self {
        self.within(0.0)
    }
}

/// A case of the golden on a device.
pub struct Case<'a> {
    golden: &'a Golden,
    device: &'a Device,
    name: &'a str,
    about: &'a Value,
    rtol: f64,
}

impl Case<'_> {
    fn number(&self, key: &str) -> f64 {
        self.about[key].as_f64().unwrap_or_else(|| panic!("{}: no number `{key}`", self.name))
    }

    fn int(&self, key: &str) -> usize {
        self.number(key) as usize
    }

    fn flag(&self, key: &str) -> bool {
        self.about[key].as_bool().unwrap_or_else(|| panic!("{}: no flag `{key}`", self.name))
    }

    fn word(&self, key: &str) -> &str {
        self.about[key].as_str().unwrap_or_else(|| panic!("{}: no word `{key}`", self.name))
    }

    fn dtype(&self) -> DType {
        match self.word("dtype") {
            "f32" => DType::F32,
            "bf16" => DType::Bf16,
            other => panic!("{}: dtype {other}", self.name),
        }
    }

    fn full(&self, what: &str) -> String {
        format!("{}/{what}", self.name)
    }

    fn has(&self, what: &str) -> bool {
        self.golden.has(&self.full(what))
    }

    fn read(&self, what: &str, dtype: DType) -> Tensor {
        let full = self.full(what);
        tensor(self.device, dtype, self.golden.shape(&full), &self.golden.f64s(&full))
    }

    fn f32s(&self, what: &str) -> Tensor {
        self.read(what, DType::F32)
    }

    fn ints(&self, what: &str) -> Tensor {
        self.read(what, DType::I32)
    }

    fn flags(&self, what: &str) -> Tensor {
        self.read(what, DType::U8)
    }

    /// Room for the answer `what`, full of what must be overwritten.
    fn room(&self, what: &str, dtype: DType) -> Tensor {
        let full = self.full(what);
        let shape = self.golden.shape(&full);
        tensor(self.device, dtype, shape, &vec![f64::NAN; shape.iter().product()])
    }

    /// The guard of a step that is not refused.
    fn guard(&self, scale: f64) -> Tensor {
        tensor(self.device, DType::F32, &[3], &[1.0, scale, 1.0])
    }

    fn check(&self, what: &str, got: &Tensor) {
        let full = self.full(what);
        let (shape, want) = (got.shape().dims(), self.golden.shape(&full));
        if shape != want {
            self.golden.fail(format!("{full}: shape {shape:?}, not {want:?}"));
        }
        let rtol = match got.dtype() {
            DType::Bf16 if self.rtol > 0.0 => BF16_RTOL,
            _ if self.dtype() == DType::Bf16 && self.rtol > 0.0 => BF16_RTOL,
            DType::I32 | DType::U8 => 0.0,
            _ => self.rtol,
        };
        let (got, want) = (numbers(got), self.golden.f64s(&full));
        let columns = if what == "y" { self.columns() } else { 1 };
        let column = |v: &[f64], c| v.iter().skip(c).step_by(columns).copied().collect::<Vec<_>>();
        let error = |c| relative_error(&column(&got, c), &column(&want, c));
        self.golden.judge(&full, (0..columns).map(error).fold(0.0, f64::max), rtol);
    }

    /// Of y, where it is a table of unlike quantities, which are compared by themselves.
    fn columns(&self) -> usize {
        self.about["columns"].as_u64().unwrap_or(1) as usize
    }

    fn run(&self, ask: Ask) -> Result<()> {
        let y = match ask {
            Ask::Gradient(y) => y,
            Ask::Direct(run) => return run(self),
        };
        let names = |key: &str| -> Vec<&str> {
            let list = self.about[key].as_array().into_iter().flatten();
            list.map(|name| name.as_str().expect("a name")).collect()
        };
        let (inputs, always_f32) = (names("inputs"), names("f32"));
        assert!(!inputs.is_empty(), "{}: no inputs", self.name);
        let mut tape = Tape::new(self.device);
        let leaf = |name: &&str| {
            let dtype = if always_f32.contains(name) { DType::F32 } else { self.dtype() };
            tape.leaf(self.read(&format!("x/{name}"), dtype))
        };
        let x: Vec<Var> = inputs.iter().map(leaf).collect();
        let y = y(self, &mut tape, &x)?;
        self.check("y", &y.tensor);
        let dy = self.read("dy", y.tensor.dtype());
        let mut grads = tape.backward(&[(&y, dy)])?;
        for (name, x) in inputs.iter().zip(&x) {
            let gradient = grads.take(x.id.expect("a leaf"))?.expect("a gradient");
            self.check(&format!("d/{name}"), &gradient);
        }
        Ok(())
    }
}

/// The name has `golden` in it, by which tools/test finds what to compare with a set made anew.
#[test]
fn golden_ops_agree_with_pytorch() {
    let all = [layers::ALL, images::ALL, losses::ALL, updates::ALL].concat();
    for place in golden::find("of the ops (ops)", |name, _| name == "ops") {
        for (device_name, device) in devices() {
            println!("{} on {device_name}", place.name);
            let golden = place.open();
            let cases = golden.json["cases"].as_object().expect("cases");
            let mut asked = BTreeSet::new();
            for (name, about) in cases {
                let call = about["call"].as_str().expect("a call");
                let witness = all.iter().find(|witness| witness.call == call);
                let witness = witness.unwrap_or_else(|| panic!("{name}: nobody asks {call}"));
                asked.insert(call);
                let (golden, device, rtol) = (&golden, &device, witness.rtol);
                let case = Case { golden, device, name, about, rtol };
                case.run(witness.ask).unwrap_or_else(|e| panic!("{name}: {e}"));
            }
            let idle: Vec<_> = all.iter().filter(|w| !asked.contains(w.call)).collect();
            let idle: Vec<&str> = idle.iter().map(|witness| witness.call).collect();
            assert!(idle.is_empty(), "no case asks {idle:?}");
            golden.finish();
        }
    }
}
