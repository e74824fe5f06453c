//! Round trip, and damage of every kind: nothing loads but what was written.

use std::path::PathBuf;

use super::*;
use crate::backend::{Device, Purpose};
use crate::dtype::{DType, bf16};
use crate::rng::{self, Rng};
use crate::shape::Shape;

fn meta() -> Meta {
    Meta {
        program: "hrm test".into(),
        plan: "preset = \"arc-small\"\n".into(),
        state: State {
            step: 7,
            position: Position { epoch: 1, index: 3 },
            samples: 224,
            seed: u64::MAX,
            best_val_loss: f64::INFINITY,
            best_step: 0,
            waited: 2,
            validated: 5,
            data_digest: "0".repeat(64),
            pending: vec![0.1, f64::NAN, -0.0],
        },
    }
}

fn tensors(device: &Device, fill: bool) -> Vec<Named> {
    let make = |name: &str, dtype, dims: &[usize], salt: u64| {
        let t = Tensor::zeros(device, dtype, dims, Purpose::Weights).unwrap();
        if fill {
            let mut rng = Rng::new(1, rng::Stream::Test, salt);
            t.write_bytes().unwrap().iter_mut().for_each(|b| *b = rng.u32() as u8);
        }
        (name.to_owned(), t)
    };
    vec![
        make("model.weight", DType::F32, &[3, 5], 1),
        make("work \"odd\" name", DType::Bf16, &[7], 2),
        make("empty", DType::F32, &[0, 4], 3),
        make("carry/steps", DType::I32, &[4], 4),
        make("carry/halted", DType::U8, &[3], 5),
    ]
}

fn bytes_of(tensors: &[Named]) -> Vec<Vec<u8>> {
    tensors.iter().map(|(_, t)| t.read_bytes().unwrap().to_vec()).collect()
}

struct Saved {
    dir: tempfile::TempDir,
    device: Device,
    bytes: Vec<u8>,
}

impl Saved {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let device = Device::cpu();
        let path = dir.path().join("good.safetensors");
        let size = save(&path, &meta(), &tensors(&device, true)).unwrap();
        let bytes = std::fs::read(&path).unwrap();
        assert_eq!(size, bytes.len() as u64);
        Self { dir, device, bytes }
    }

    fn put(&self, bytes: &[u8]) -> PathBuf {
        let path = self.dir.path().join("changed.safetensors");
        std::fs::write(&path, bytes).unwrap();
        path
    }

    /// Open and load all of it, as a resuming run does.
    fn load(&self, bytes: &[u8]) -> Result<Meta> {
        let reader = Reader::open(&self.put(bytes))?;
        reader.load(&tensors(&self.device, false))?;
        Ok(reader.meta)
    }

    fn data_start(&self) -> usize {
        8 + u64::from_le_bytes(self.bytes[..8].try_into().unwrap()) as usize
    }
}

#[test]
fn round_trip_restores_every_bit_and_leaves_no_temporary_file() {
    let saved = Saved::new();
    let reader = Reader::open(&saved.dir.path().join("good.safetensors")).unwrap();
    let fresh = tensors(&saved.device, false);
    reader.load(&fresh).unwrap();
    let aligned = |e: &Entry| e.start.is_multiple_of(e.dtype.size_bytes() as u64);
    assert!(saved.data_start().is_multiple_of(8) && reader.entries().iter().all(aligned));
    assert_eq!(bytes_of(&fresh), bytes_of(&tensors(&saved.device, true)));
    let (got, want) = (&reader.meta, meta());
    assert_eq!(format!("{got:?}"), format!("{want:?}"), "NaN compares by its text");
    let bits = |m: &Meta| m.state.pending.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
    assert_eq!(bits(got), bits(&want));
    assert_eq!(std::fs::read_dir(saved.dir.path()).unwrap().count(), 1);
}

#[test]
fn other_safetensors_readers_load_it() {
    let saved = Saved::new();
    let file = safetensors::SafeTensors::deserialize(&saved.bytes).unwrap();
    for (name, tensor) in tensors(&saved.device, true) {
        let view = file.tensor(&name).unwrap();
        assert_eq!(view.shape(), tensor.shape().dims());
        assert_eq!(view.data(), &*tensor.read_bytes().unwrap());
    }
    assert_eq!(file.len(), 5);
}

#[test]
fn bit_flip_anywhere_is_refused_with_its_section() {
    let saved = Saved::new();
    let reader = Reader::open(&saved.put(&saved.bytes)).unwrap();
    let start = saved.data_start();
    let mut rng = Rng::new(2, rng::Stream::Test, 0);
    for at in 0..saved.bytes.len() {
        let mut bytes = saved.bytes.clone();
        bytes[at] ^= 1 << rng.below(8);
        let error = saved.load(&bytes).expect_err("a changed file loaded").to_string();
        let inside = |e: &&Entry| {
            at >= start && (e.start..e.start + e.bytes).contains(&((at - start) as u64))
        };
        match reader.entries().iter().find(inside) {
            Some(e) => assert!(error.contains(&format!("tensor {}: checksum", e.name)), "{error}"),
            None => assert!(
                ["header: ", "metadata: ", "tensor ", "end of file: "]
                    .iter()
                    .any(|s| error.contains(s)),
                "byte {at}: {error}"
            ),
        }
    }
    let text = String::from_utf8_lossy(&saved.bytes[..start]).into_owned();
    let mut bytes = saved.bytes.clone();
    bytes[text.find("arc-small").unwrap()] = b'x';
    let error = saved.load(&bytes).unwrap_err().to_string();
    assert!(error.contains("metadata: checksum differs"), "{error}");
}

#[test]
fn truncation_at_every_length_and_a_longer_file_are_refused() {
    let saved = Saved::new();
    for length in 0..saved.bytes.len() {
        assert!(saved.load(&saved.bytes[..length]).is_err(), "{length} bytes loaded");
    }
    let mut longer = saved.bytes.clone();
    longer.push(0);
    let error = saved.load(&longer).unwrap_err().to_string();
    assert!(error.contains("1 bytes too many"), "{error}");
}

#[test]
fn random_damage_never_panics_and_never_loads() {
    let saved = Saved::new();
    let mut rng = Rng::new(3, rng::Stream::Test, 0);
    for _ in 0..600 {
        let mut bytes = saved.bytes.clone();
        for _ in 0..1 + rng.below(4) {
            let at = rng.below(bytes.len() as u32) as usize;
            match rng.below(4) {
                0 => bytes[at] = rng.u32() as u8,
                1 => bytes.truncate(at.max(1)),
                2 => {
                    let from = rng.below(bytes.len() as u32) as usize;
                    let n = (1 + rng.below(40) as usize).min(bytes.len() - at.max(from));
                    bytes.copy_within(from..from + n, at);
                }
                _ => {
                    let digits = b"0123456789,:\"[]{}";
                    bytes[at] = digits[rng.below(digits.len() as u32) as usize];
                }
            }
        }
        if bytes != saved.bytes {
            assert!(saved.load(&bytes).is_err());
        }
    }
}

/// Damage that keeps the header's checksum right, as a hostile writer would.
#[test]
fn well_signed_nonsense_is_refused() {
    let saved = Saved::new();
    let hash = blake3::hash(b"");
    let entry = |name: &str, dims: &[usize], start, bytes| Entry {
        name: name.into(),
        dtype: DType::F32,
        shape: Shape::new(dims),
        start,
        bytes,
        hash,
    };
    let meta = serde_json::to_string(&meta()).unwrap();
    let huge = 1 << 62;
    for (what, entries) in [
        ("bytes of another shape", vec![entry("a", &[2], 0, 4)]),
        ("product overflows", vec![entry("a", &[huge, huge], 0, 0)]),
        ("a gap", vec![entry("a", &[1], 0, 4), entry("b", &[1], 8, 4)]),
        ("an overlap", vec![entry("a", &[2], 0, 8), entry("b", &[1], 4, 4)]),
        ("beyond the file", vec![entry("a", &[huge >> 4], 0, huge as u64 >> 2)]),
    ] {
        let bytes = format::encode(&meta, &entries);
        assert!(Reader::open(&saved.put(&bytes)).is_err(), "{what} was accepted");
    }
    let mut bytes = u64::MAX.to_le_bytes().to_vec();
    bytes.extend([b' '; 64]);
    assert!(Reader::open(&saved.put(&bytes)).is_err(), "header length u64::MAX");
    let deep = "[".repeat(1 << 16);
    let mut bytes = (deep.len() as u64).to_le_bytes().to_vec();
    bytes.extend(deep.as_bytes());
    assert!(Reader::open(&saved.put(&bytes)).is_err(), "deeply nested JSON");
}

#[test]
fn foreign_safetensors_is_named_as_such() {
    let saved = Saved::new();
    let data = [0u8; 8];
    let view =
        safetensors::tensor::TensorView::new(safetensors::Dtype::F32, vec![2], &data).unwrap();
    let bytes = safetensors::serialize([("w", view)], None).unwrap();
    let error = saved.load(&bytes).unwrap_err().to_string();
    assert!(error.contains("no checkpoint of hrm"), "{error}");
}

#[test]
fn other_tensors_are_refused_with_the_list_and_nothing_changes() {
    let saved = Saved::new();
    let reader = Reader::open(&saved.put(&saved.bytes)).unwrap();
    let mut other = tensors(&saved.device, false);
    other[0].1 = Tensor::zeros(&saved.device, DType::F32, [3, 6], Purpose::Weights).unwrap();
    other[3].0 = "carry/other".into();
    let error = reader.load(&other).unwrap_err().to_string();
    for line in [
        "tensor model.weight: f32 (3, 5) -> f32 (3, 6)",
        "tensor carry/other: absent -> i32 (4)",
        "tensor carry/steps: i32 (4) -> absent",
    ] {
        assert!(error.contains(line), "{error}");
    }
    assert_eq!(other[1].1.download::<bf16>().unwrap(), vec![bf16::from_bits(0); 7]);
}

#[test]
fn digest_is_of_the_state_and_not_of_the_plan() {
    let saved = Saved::new();
    let digest = |meta: &Meta, tensors: &[Named]| {
        let path = saved.dir.path().join("d.safetensors");
        save(&path, meta, tensors).unwrap();
        Reader::open(&path).unwrap().digest().unwrap()
    };
    let all = tensors(&saved.device, true);
    let first = digest(&meta(), &all);
    let replanned = Meta { plan: "other".into(), program: "other".into(), ..meta() };
    assert_eq!(digest(&replanned, &all), first);
    let mut logged = meta();
    logged.state.pending.clear();
    assert_eq!(digest(&logged, &all), first, "how often is logged does not matter");
    let mut moved = meta();
    moved.state.position.index += 1;
    assert_ne!(digest(&moved, &all), first);
    all[4].1.write_bytes().unwrap()[0] ^= 1;
    assert_ne!(digest(&meta(), &all), first);
}
