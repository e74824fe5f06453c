//! CIFAR-10 in both published forms. Binary: records of a label and 3072 pixels, channel planes
//! first. Python: a pickled dictionary with `data`, bytes (n, 3072) in the same order, and
//! `labels`.

use std::collections::BTreeMap;
use std::path::Path;

use super::{IMAGE_ELEMS, ImageSet, Images, SetKind};
use crate::formats::pickle::{self, Pickle, Value};
use crate::{Error, Result};

pub const CLASSES: u8 = 10;
const RECORD_BYTES: usize = 1 + IMAGE_ELEMS;
pub const TRAIN_BATCHES: usize = 5;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Form {
    Binary,
    Python,
}

impl Form {
    pub const ALL: [Form; 2] = [Form::Binary, Form::Python];

    /// File names of the batches: five for training, the last for the test.
    pub fn names(self) -> Vec<String> {
        let suffix = match self {
            Form::Binary => ".bin",
            Form::Python => "",
        };
        let train = (1..=TRAIN_BATCHES).map(|i| format!("data_batch_{i}{suffix}"));
        train.chain([format!("test_batch{suffix}")]).collect()
    }

    /// The folder that the published archives hold.
    pub fn folder(self) -> &'static str {
        match self {
            Form::Binary => "cifar-10-batches-bin",
            Form::Python => "cifar-10-batches-py",
        }
    }

    /// Name and MD5 of the published archive.
    pub fn published(self) -> (&'static str, &'static str) {
        match self {
            Form::Binary => ("cifar-10-binary.tar.gz", "c32a1d4ab5d03f1284b67883e8d87530"),
            Form::Python => ("cifar-10-python.tar.gz", "c58f30108f718f92721af3b95e74349a"),
        }
    }
}

pub fn is_batch(name: &str) -> bool {
    Form::ALL.iter().any(|form| form.names().iter().any(|n| n == name))
}

/// The set from its batches by file name; `from` is where they lie, for errors.
pub fn read(from: &Path, batches: &BTreeMap<String, Vec<u8>>) -> Result<ImageSet> {
    let there = |form: &Form| form.names().iter().any(|name| batches.contains_key(name));
    let Some(form) = Form::ALL.into_iter().find(there) else {
        return Err(Error::corrupt(from, "holds no data_batch_1.bin and no data_batch_1"));
    };
    let mut train = (vec![], vec![]);
    let mut test = (vec![], vec![]);
    for (i, name) in form.names().iter().enumerate() {
        let bytes = batches.get(name).ok_or_else(|| {
            let found: Vec<&str> = batches.keys().map(String::as_str).collect();
            let found = found.join(", ");
            Error::corrupt(from, format!("lacks {name} (it has {found}): get it anew"))
        })?;
        let (pixels, labels) = if i < TRAIN_BATCHES { &mut train } else { &mut test };
        let parsed = match form {
            Form::Binary => read_binary(bytes, pixels, labels),
            Form::Python => read_python(bytes, pixels, labels),
        };
        parsed.map_err(|what| Error::corrupt(from.join(name), format!("{what}: get it anew")))?;
    }
    Ok(ImageSet {
        kind: SetKind::Cifar10,
        train: Images::new(train.0, train.1),
        test: Images::new(test.0, test.1),
    })
}

/// A batch as [`read`] takes it; `pixels` and `labels` of its images.
pub fn write_binary(pixels: &[u8], labels: &[u8]) -> Vec<u8> {
    let images = pixels.chunks_exact(IMAGE_ELEMS).zip(labels);
    images.flat_map(|(image, label)| std::iter::once(label).chain(image)).copied().collect()
}

fn read_binary(bytes: &[u8], pixels: &mut Vec<u8>, labels: &mut Vec<u8>) -> Result<(), String> {
    let over = bytes.len() % RECORD_BYTES;
    if bytes.is_empty() || over != 0 {
        return Err(format!(
            "{} bytes are {} whole images of {RECORD_BYTES} bytes and {over} bytes of another",
            bytes.len(),
            bytes.len() / RECORD_BYTES,
        ));
    }
    for (i, record) in bytes.chunks_exact(RECORD_BYTES).enumerate() {
        labels.push(checked_label(i, record[0].into())?);
        pixels.extend(&record[1..]);
    }
    Ok(())
}

fn read_python(bytes: &[u8], pixels: &mut Vec<u8>, labels: &mut Vec<u8>) -> Result<(), String> {
    let pickle = Pickle::load(bytes, pickle::DATA_BATCH)?;
    let entry = |key| {
        let entry = pickle.entry(pickle.root(), key);
        entry.ok_or_else(|| format!("a batch is a dictionary with `{key}`, and this has none"))
    };
    let Value::Array(data) = entry("data")? else {
        return Err("`data` is no numpy array".into());
    };
    let content = match data.content.map(|id| pickle.get(id)) {
        Some(Value::Bytes(content)) => &content[..],
        _ => return Err("`data` is an array without content".into()),
    };
    let byte_wide = ["u1", "uint8", "|u1", "B"].contains(&data.dtype.as_str());
    let n = match data.shape[..] {
        [n, IMAGE_ELEMS] if byte_wide && n > 0 => n,
        _ => {
            let (dtype, shape) = (&data.dtype, &data.shape);
            return Err(format!("`data` is {dtype} {shape:?}, expected u1 [n, {IMAGE_ELEMS}]"));
        }
    };
    if n.checked_mul(IMAGE_ELEMS) != Some(content.len()) {
        return Err(format!("`data` has {} bytes, not {n} x {IMAGE_ELEMS}", content.len()));
    }
    match data.fortran {
        false => pixels.extend(content),
        true => pixels.extend((0..n * IMAGE_ELEMS).map(|i| {
            let (image, pixel) = (i / IMAGE_ELEMS, i % IMAGE_ELEMS);
            content[pixel * n + image]
        })),
    }
    let (Value::List(ids) | Value::Tuple(ids)) = entry("labels")? else {
        return Err("`labels` is no list".into());
    };
    if ids.len() != n {
        return Err(format!("{} labels for {n} images", ids.len()));
    }
    for (i, id) in ids.iter().enumerate() {
        match pickle.get(*id) {
            Value::Int(label) => labels.push(checked_label(i, *label)?),
            _ => return Err(format!("the label of image {i} is no number")),
        }
    }
    Ok(())
}

fn checked_label(i: usize, label: i64) -> Result<u8, String> {
    match u8::try_from(label) {
        Ok(label) if label < CLASSES => Ok(label),
        _ => Err(format!("image {i} has label {label}, CIFAR-10 has 0 to 9")),
    }
}
