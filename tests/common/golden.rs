//! Golden files: a `.safetensors` with its `.json`, and a ledger of which tensors were compared, so
//! that a tensor nobody looked at fails the test.
//!
//! Where they are looked for: in HRM_GOLDEN_DIR, a folder or several with `:` between; without
//! that, in `tests/golden` (in the repository) and in `../shared/golden` beside it where that
//! exists. Nothing found is a failure, unless HRM_GOLDEN_DIR is `none`. Each test appends what it
//! compared to the file that HRM_GOLDEN_REPORT names.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::io::Write;
use std::path::{Path, PathBuf};

use safetensors::{Dtype, SafeTensors};
use serde_json::Value;

use super::compare::{absolute_error, relative_error, said, widen};

/// A golden that exists.
#[derive(Clone, Debug, PartialEq)]
pub struct Place {
    dir: PathBuf,
    pub name: String,
}

pub struct Golden {
    pub name: String,
    pub json: Value,
    place: Place,
    tensors: BTreeMap<String, Entry>,
    used: RefCell<BTreeSet<String>>,
    compared: Cell<usize>,
    failures: RefCell<Vec<String>>,
}

struct Entry {
    shape: Vec<usize>,
    values: Vec<f64>,
}

/// The folders that are read; none where the caller wants none.
fn dirs(chosen: Option<OsString>) -> Vec<PathBuf> {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    match chosen {
        Some(none) if none == "none" => vec![],
        Some(dirs) => std::env::split_paths(&dirs).map(|dir| package.join(dir)).collect(),
        None => {
            let beside = package.join("../shared/golden");
            [package.join("tests/golden")]
                .into_iter()
                .chain(beside.exists().then_some(beside))
                .collect()
        }
    }
}

/// All goldens whose name and json satisfy `keep`, so that another folder's are found too. Panics
/// where there is none, `what` saying what was wanted; empty only for HRM_GOLDEN_DIR=none.
pub fn find(what: &str, keep: impl Fn(&str, &Value) -> bool) -> Vec<Place> {
    find_in(dirs(std::env::var_os("HRM_GOLDEN_DIR")), what, keep)
}

fn find_in(dirs: Vec<PathBuf>, what: &str, keep: impl Fn(&str, &Value) -> bool) -> Vec<Place> {
    if dirs.is_empty() {
        println!("skipped: golden {what} (HRM_GOLDEN_DIR=none)");
        return vec![];
    }
    let mut found = vec![];
    for dir in &dirs {
        let entries = std::fs::read_dir(dir)
            .unwrap_or_else(|e| panic!("goldens are read from {}: {e}", dir.display()));
        let mut paths: Vec<PathBuf> = entries.map(|e| e.expect("an entry").path()).collect();
        paths.retain(|path| path.extension().is_some_and(|e| e == "json"));
        paths.sort();
        for path in paths {
            let name = path.file_stem().and_then(|s| s.to_str()).expect("a UTF-8 name").to_owned();
            let place = Place { dir: dir.clone(), name };
            if keep(&place.name, &place.json()) {
                found.push(place);
            }
        }
    }
    assert!(
        !found.is_empty(),
        "no golden {what} in {dirs:?}: nothing would be compared (make them with tools/golden/make, \
         or say HRM_GOLDEN_DIR=none)"
    );
    found
}

impl Place {
    fn json(&self) -> Value {
        let path = self.dir.join(format!("{}.json", self.name));
        let text = std::fs::read_to_string(&path);
        let text = text.unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        serde_json::from_str(&text).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
    }

    /// A golden that has no tensors may lack the second file.
    pub fn open(&self) -> Golden {
        let bytes = std::fs::read(self.dir.join(format!("{}.safetensors", self.name)));
        let bytes = bytes.unwrap_or_default();
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
        let (used, compared, failures) = Default::default();
        let (name, json, place) = (self.name.clone(), self.json(), self.clone());
        Golden { name, json, place, tensors, used, compared, failures }
    }
}

impl Golden {
    /// Another golden of the same folder.
    pub fn beside(&self, name: &str) -> Golden {
        Place { name: name.to_owned(), ..self.place.clone() }.open()
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
        self.judge(name, relative_error(got, &self.f64s(name)), tolerance);
    }

    pub fn check_f32(&self, name: &str, got: &[f32], tolerance: f64) {
        self.check(name, &widen(got), tolerance);
    }

    pub fn check_absolute(&self, name: &str, got: &[f64], tolerance: f64) {
        self.judge(name, absolute_error(got, &self.f64s(name)), tolerance);
    }

    /// Integers, booleans, counts.
    pub fn check_exact<T: Copy + Into<f64>>(&self, name: &str, got: &[T]) {
        let got: Vec<f64> = got.iter().map(|&x| x.into()).collect();
        let want = self.f64s(name);
        self.count(1);
        if got != want {
            self.fail(format!("{name}: got {got:?}, want {want:?}"));
        }
    }

    /// The error of a tensor that the caller compared; NaN fails.
    pub fn judge(&self, name: &str, error: f64, tolerance: f64) {
        self.used.borrow_mut().insert(name.to_owned());
        self.count(1);
        said(&format!("{} {name}", self.name), error, tolerance);
        if !(error <= tolerance) {
            self.fail(format!("{name}: error {error:e} exceeds {tolerance:e}"));
        }
    }

    /// Tensors or values that the caller compared with assertions of its own.
    pub fn count(&self, compared: usize) {
        self.compared.set(self.compared.get() + compared);
    }

    pub fn fail(&self, what: String) {
        self.failures.borrow_mut().push(what);
    }

    /// Something was compared and all of it passed; for a test that looks at a part of the file.
    pub fn expect_no_failures(&self) {
        let failures = self.failures.borrow();
        let count = failures.len();
        assert!(count == 0, "{}: {count} failures:\n{}", self.name, failures.join("\n"));
        assert!(self.compared.get() > 0, "{}: nothing was compared", self.name);
        self.report();
    }

    /// All comparisons passed and no tensor was left out.
    pub fn finish(self) {
        self.expect_no_failures();
        let used = self.used.into_inner();
        let left: Vec<_> = self.tensors.keys().filter(|n| !used.contains(*n)).collect();
        assert!(left.is_empty(), "{}: never compared: {left:?}", self.name);
    }

    /// A line "test, golden, comparisons" in HRM_GOLDEN_REPORT.
    fn report(&self) {
        let Some(path) = std::env::var_os("HRM_GOLDEN_REPORT") else { return };
        let thread = std::thread::current();
        let (test, n) = (thread.name().unwrap_or("?"), self.compared.get());
        let golden = self.place.dir.join(&self.name);
        let file = std::fs::File::options().create(true).append(true).open(path);
        // One write, so that lines of tests that run at the same time stay whole.
        let line = format!("{test}\t{}\t{n}\n", golden.display());
        file.and_then(|mut file| file.write_all(line.as_bytes())).expect("HRM_GOLDEN_REPORT");
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

/// What `tests/ops/comparators.rs` holds this file to.
pub fn absence_is_a_failure() {
    let fails = |f: &dyn Fn() -> Vec<Place>| {
        std::panic::catch_unwind(std::panic::AssertUnwindSafe(f)).is_err()
    };
    let empty = tempfile::tempdir().unwrap();
    let found = |dir: &Path| find_in(dirs(Some(dir.into())), "of nothing", |_, _| true);
    assert!(fails(&|| found(empty.path())), "an empty folder");
    assert!(fails(&|| found(&empty.path().join("absent"))), "an absent folder");
    assert_eq!(found(Path::new("none")), []);
    std::fs::write(empty.path().join("a.json"), "{}").unwrap();
    let places = found(empty.path());
    assert_eq!(places[0].name, "a");
    let golden = places[0].open();
    let nothing = std::panic::AssertUnwindSafe(|| golden.expect_no_failures());
    assert!(std::panic::catch_unwind(nothing).is_err(), "nothing compared");
    for (error, passes) in [(0.0, true), (2.0, false), (f64::NAN, false)] {
        let golden = places[0].open();
        golden.judge("planted", error, 1.0);
        let judged = std::panic::AssertUnwindSafe(|| golden.expect_no_failures());
        assert_eq!(std::panic::catch_unwind(judged).is_ok(), passes, "error {error}");
    }
    assert_eq!(dirs(Some("/a:/b".into())), ["/a", "/b"].map(PathBuf::from));
    assert_eq!(dirs(None)[0], Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden"));
}
