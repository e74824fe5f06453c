//! The bytes of a checkpoint: a safetensors file whose `__metadata__` holds our state and
//! checksums.
//!
//! ```text
//! u64 LE header length | JSON header, padded with spaces to 8 bytes | tensors, no gaps
//! __metadata__: format         "hrm-checkpoint-1"
//!               meta           JSON of `Meta`
//!               meta_blake3    of that string
//!               tensors_blake3 JSON: name -> blake3 of the tensor's bytes
//!               header_blake3  of length + header, itself written as 64 zeros
//! ```
//!
//! Any safetensors reader loads it. Ours refuses a file with one bit changed anywhere, and says in
//! which section; nothing here panics or allocates more than the header's own length on any input.

use std::ops::Range;

use serde_json::{Map, Value, json};

use crate::dtype::DType;
use crate::shape::{MAX_RANK, Shape};

const FORMAT: &str = "hrm-checkpoint-1";
pub(super) const LENGTH_BYTES: usize = 8;
/// Far above any header of ours; a length beyond it is damage.
pub(super) const MAX_HEADER_BYTES: u64 = 64 << 20;
const NO_HASH: &str = "0000000000000000000000000000000000000000000000000000000000000000";

#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    pub name: String,
    pub dtype: DType,
    pub shape: Shape,
    /// Bytes from the end of the header.
    pub start: u64,
    pub bytes: u64,
    pub hash: blake3::Hash,
}

/// What is wrong, and in which part of the file.
#[derive(Debug, PartialEq)]
pub(super) struct Damage {
    pub section: String,
    pub what: String,
}

fn damage(section: impl Into<String>, what: impl Into<String>) -> Damage {
    Damage { section: section.into(), what: what.into() }
}

/// Length field and padded header.
pub(super) fn encode(meta: &str, entries: &[Entry]) -> Vec<u8> {
    let hashes: Map<String, Value> =
        entries.iter().map(|e| (e.name.clone(), json!(e.hash.to_hex().as_str()))).collect();
    let mut header = Map::new();
    header.insert(
        "__metadata__".into(),
        json!({
            "format": FORMAT,
            "meta": meta,
            "meta_blake3": blake3::hash(meta.as_bytes()).to_hex().as_str(),
            "tensors_blake3": Value::Object(hashes).to_string(),
            "header_blake3": NO_HASH,
        }),
    );
    for e in entries {
        header.insert(
            e.name.clone(),
            json!({
                "dtype": dtype_name(e.dtype),
                "shape": e.shape.dims(),
                "data_offsets": [e.start, e.start + e.bytes],
            }),
        );
    }
    let mut text = Value::Object(header).to_string().into_bytes();
    text.resize(text.len().next_multiple_of(8), b' ');
    let hash = header_hash(&text);
    if let Some(place) = hash_place(&text) {
        text[place].copy_from_slice(hash.to_hex().as_bytes());
    }
    let mut out = (text.len() as u64).to_le_bytes().to_vec();
    out.append(&mut text);
    out
}

/// `text` is the header without its length. Returns the metadata and the tensors in file order.
pub(super) fn decode(text: &[u8]) -> Result<(String, Vec<Entry>), Damage> {
    let broken = |what: String| damage("header", what);
    let json: Value = serde_json::from_slice(text).map_err(|e| broken(e.to_string()))?;
    let Value::Object(mut table) = json else { return Err(broken("not a JSON object".into())) };
    let foreign = || broken("no checkpoint of hrm".into());
    let Some(Value::Object(about)) = table.shift_remove("__metadata__") else {
        return Err(foreign());
    };
    let field = |key: &str| about.get(key).and_then(Value::as_str);
    if field("format") != Some(FORMAT) {
        return Err(foreign());
    }
    let required = |key: &str| field(key).ok_or_else(|| broken(format!("{key} is missing")));
    let meta = required("meta")?;
    if blake3::hash(meta.as_bytes()).to_hex().as_str() != required("meta_blake3")? {
        return Err(damage("metadata", "checksum differs"));
    }
    let hash = required("header_blake3")?;
    let place = hash_place(text).filter(|p| &text[p.clone()] == hash.as_bytes());
    let place = place.ok_or_else(|| broken("header_blake3 is not a checksum".into()))?;
    let mut zeroed = text.to_vec();
    zeroed[place].copy_from_slice(NO_HASH.as_bytes());
    if header_hash(&zeroed).to_hex().as_str() != hash {
        return Err(broken("checksum differs".into()));
    }
    let hashes: Map<String, Value> = serde_json::from_str(required("tensors_blake3")?)
        .map_err(|e| broken(format!("tensors_blake3: {e}")))?;
    let mut entries = table
        .into_iter()
        .map(|(name, value)| entry(name, &value, &hashes))
        .collect::<Result<Vec<_>, _>>()?;
    entries.sort_by_key(|e| (e.start, e.bytes));
    let mut end = 0;
    for e in &entries {
        if e.start != end {
            return Err(broken(format!("tensor {} starts at {}, not {end}", e.name, e.start)));
        }
        end = e.start + e.bytes;
    }
    Ok((meta.to_owned(), entries))
}

fn entry(name: String, value: &Value, hashes: &Map<String, Value>) -> Result<Entry, Damage> {
    let parsed = (|| {
        let dtype = dtype_of(value.get("dtype")?.as_str()?)?;
        let dims = value.get("shape")?.as_array()?;
        let dims =
            dims.iter().map(|d| usize::try_from(d.as_u64()?).ok()).collect::<Option<Vec<_>>>()?;
        let mut bytes = dtype.size_bytes() as u64;
        for &d in &dims {
            bytes = bytes.checked_mul(d as u64)?;
        }
        let offsets = value.get("data_offsets")?.as_array()?;
        let [start, end] = offsets.as_slice() else { return None };
        let (start, end) = (start.as_u64()?, end.as_u64()?);
        let hash = blake3::Hash::from_hex(hashes.get(&name)?.as_str()?).ok()?;
        (dims.len() <= MAX_RANK && end.checked_sub(start)? == bytes).then(|| Entry {
            name: name.clone(),
            dtype,
            shape: Shape::new(&dims),
            start,
            bytes,
            hash,
        })
    })();
    parsed.ok_or_else(|| damage("header", format!("the entry of tensor {name} makes no sense")))
}

fn header_hash(zeroed: &[u8]) -> blake3::Hash {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&(zeroed.len() as u64).to_le_bytes()).update(zeroed);
    hasher.finalize()
}

/// Where the header's own checksum stands. Inside a JSON string the quotes of the key would be
/// escaped, so the key occurs once or the header is not ours.
fn hash_place(text: &[u8]) -> Option<Range<usize>> {
    let key = br#""header_blake3":""#;
    let mut places = text.windows(key.len()).enumerate().filter(|(_, w)| w == key);
    let start = places.next()?.0 + key.len();
    let place = start..start + NO_HASH.len();
    (places.next().is_none() && place.end <= text.len()).then_some(place)
}

fn dtype_name(dtype: DType) -> &'static str {
    match dtype {
        DType::F32 => "F32",
        DType::Bf16 => "BF16",
        DType::I32 => "I32",
        DType::U8 => "U8",
    }
}

fn dtype_of(name: &str) -> Option<DType> {
    [DType::F32, DType::Bf16, DType::I32, DType::U8].into_iter().find(|d| dtype_name(*d) == name)
}
