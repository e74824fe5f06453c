//! Golden files: a `.safetensors` with its `.json`, and a ledger of which tensors were compared, so
//! that a tensor nobody looked at fails the test.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use safetensors::{Dtype, SafeTensors};
use serde_json::Value;

use super::compare::relative_error;

pub struct Golden {
    pub name: String,
    pub json: Value,
    tensors: BTreeMap<String, Entry>,
    used: RefCell<BTreeSet<String>>,
    failures: RefCell<Vec<String>>,
}

struct Entry {
    shape: Vec<usize>,
    values: Vec<f64>,
}

/// `HRM_GOLDEN_DIR`, else `../shared/golden` beside the package.
pub fn dir() -> PathBuf {
    std::env::var_os("HRM_GOLDEN_DIR")
        .map(PathBuf::from)
        .unwrap_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared/golden"))
}

impl Golden {
    /// `None`, after saying so, where the file is not there.
    pub fn open(name: &str) -> Option<Self> {
        let path = dir().join(format!("{name}.json"));
        let Ok(text) = std::fs::read_to_string(&path) else {
            println!("skipped: golden {name} not found");
            return None;
        };
        let json: Value = serde_json::from_str(&text).expect("golden json");
        let bytes = std::fs::read(path.with_extension("safetensors")).unwrap_or_default();
        let mut tensors = BTreeMap::new();
        if !bytes.is_empty() {
            for (name, view) in SafeTensors::deserialize(&bytes).expect("golden file").iter() {
                let entry = Entry {
                    shape: view.shape().to_vec(),
                    values: values(view.dtype(), view.data()),
                };
                tensors.insert(name.to_owned(), entry);
            }
        }
        let (used, failures) = Default::default();
        Some(Self { name: name.to_owned(), json, tensors, used, failures })
    }

    /// Names of all goldens whose json satisfies `keep`, so that another directory's are found too.
    pub fn list(keep: impl Fn(&str, &Value) -> bool) -> Vec<String> {
        let Ok(entries) = std::fs::read_dir(dir()) else {
            println!("skipped: golden directory {} not found", dir().display());
            return vec![];
        };
        let mut names: Vec<String> = entries
            .filter_map(|e| e.ok()?.path().to_str()?.strip_suffix(".json").map(str::to_owned))
            .filter_map(|path| path.rsplit('/').next().map(str::to_owned))
            .filter(|name| {
                let text = std::fs::read_to_string(dir().join(format!("{name}.json")));
                keep(name, &serde_json::from_str(&text.expect("readable")).expect("golden json"))
            })
            .collect();
        names.sort();
        names
    }

    pub fn has(&self, name: &str) -> bool {
        self.tensors.contains_key(name)
    }

    pub fn names(&self, prefix: &str) -> Vec<String> {
        self.tensors.keys().filter(|n| n.starts_with(prefix)).cloned().collect()
    }

    pub fn shape(&self, name: &str) -> &[usize] {
        &self.entry(name).shape
    }

    /// An input of the test (weights, batches): counts as looked at.
    pub fn f64s(&self, name: &str) -> Vec<f64> {
        self.used.borrow_mut().insert(name.to_owned());
        self.entry(name).values.clone()
    }

    pub fn f32s(&self, name: &str) -> Vec<f32> {
        self.f64s(name).into_iter().map(|x| x as f32).collect()
    }

    pub fn i32s(&self, name: &str) -> Vec<i32> {
        self.f64s(name).into_iter().map(|x| x as i32).collect()
    }

    /// Floats: max|a-b| / max(max|b|, 1e-12).
    pub fn check(&self, name: &str, got: &[f64], tolerance: f64) {
        let want = self.f64s(name);
        let error = relative_error(got, &want);
        if !(error <= tolerance) {
            self.fail(format!("{name}: error {error:e} exceeds {tolerance:e}"));
        }
    }

    pub fn check_f32(&self, name: &str, got: &[f32], tolerance: f64) {
        self.check(name, &super::compare::widen(got), tolerance);
    }

    /// Integers, booleans, counts.
    pub fn check_exact<T: Copy + Into<f64>>(&self, name: &str, got: &[T]) {
        let got: Vec<f64> = got.iter().map(|&x| x.into()).collect();
        let want = self.f64s(name);
        if got != want {
            self.fail(format!("{name}: got {got:?}, want {want:?}"));
        }
    }

    pub fn fail(&self, what: String) {
        self.failures.borrow_mut().push(what);
    }

    /// All comparisons so far passed; for a test that looks at a part of the file.
    pub fn expect_no_failures(&self) {
        let failures = self.failures.borrow();
        assert!(failures.is_empty(), "{}:\n{}", self.name, failures.join("\n"));
    }

    /// All comparisons passed and no tensor was left out.
    pub fn finish(self) {
        let used = self.used.into_inner();
        let left: Vec<_> = self.tensors.keys().filter(|n| !used.contains(*n)).collect();
        let failures = self.failures.into_inner();
        assert!(
            failures.is_empty(),
            "{}: {} failures:\n{}",
            self.name,
            failures.len(),
            failures.join("\n")
        );
        assert!(left.is_empty(), "{}: never compared: {left:?}", self.name);
    }

    fn entry(&self, name: &str) -> &Entry {
        self.tensors.get(name).unwrap_or_else(|| panic!("{}: no tensor {name}", self.name))
    }
}

fn values(dtype: Dtype, data: &[u8]) -> Vec<f64> {
    macro_rules! read {
        ($t:ty) => {
            data.chunks_exact(size_of::<$t>())
                .map(|b| <$t>::from_le_bytes(b.try_into().unwrap()) as f64)
                .collect()
        };
    }
    match dtype {
        Dtype::BF16 => data
            .chunks_exact(2)
            .map(|b| f32::from_bits((u16::from_le_bytes([b[0], b[1]]) as u32) << 16) as f64)
            .collect(),
        Dtype::F32 => read!(f32),
        Dtype::F64 => read!(f64),
        Dtype::I32 => read!(i32),
        Dtype::I64 => read!(i64),
        Dtype::U8 => read!(u8),
        other => panic!("golden dtype {other:?}"),
    }
}
