//! Round trips, and damage: a reader gives the equal content or an error, whatever it is fed.

use super::*;
use crate::rng::{Rng, Stream};

fn weights() -> StateDict {
    let values: Vec<f32> = (0..6).map(|i| i as f32 * 0.37 - 1.0).collect();
    let counters = Counters { epoch: 3, best_val_loss: 0.25, global_step: 1 << 40 };
    StateDict {
        tensors: vec![
            ("model.weight".into(), HostTensor::from_f32s([2, 3], &values)),
            ("half \"odd\"".into(), HostTensor::from_f32s([6], &values).rounded()),
            ("scalar".into(), HostTensor::from_f32s([0; 0], &values[..1])),
        ],
        counters: Some(counters),
        meta: Some(r#"{"plan":"x"}"#.into()),
    }
}

fn sorted(mut weights: StateDict) -> StateDict {
    weights.tensors.sort_by(|a, b| a.0.cmp(&b.0));
    weights
}

fn files() -> Vec<(Vec<u8>, StateDict)> {
    let whole = sorted(weights());
    let plain = StateDict { counters: None, ..whole.clone() };
    vec![
        (Format::Pt.encode(&weights()).unwrap(), whole),
        (Format::Safetensors.encode(&weights()).unwrap(), plain),
    ]
}

#[test]
fn every_bit_comes_back() {
    for (file, want) in files() {
        assert_eq!(sorted(StateDict::decode(&file).unwrap()), want);
    }
}

/// What says that it is of ours has a checksum of the weights. Without the metadata safetensors has
/// none: a changed value there is a value.
#[test]
fn flips_cuts_and_splices_never_panic() {
    let mut rng = Rng::new(5, Stream::Test, 0);
    for (file, want) in files() {
        let check = |changed: &[u8]| {
            if let Ok(read) = StateDict::decode(changed) {
                let is_sealed = want.counters.is_some() || read.meta.is_some();
                assert!(!is_sealed || sorted(read) == want, "changed content was read");
            }
        };
        for at in 0..file.len() {
            assert!(StateDict::decode(&file[..at]).is_err(), "{at} bytes were read");
            for bit in 0..8 {
                let mut changed = file.clone();
                changed[at] ^= 1 << bit;
                check(&changed);
            }
        }
        for _ in 0..3000 {
            let mut changed = file.clone();
            for _ in 0..1 + rng.below(3) {
                let place = |rng: &mut Rng| rng.below(file.len() as u32) as usize;
                let (from, to) = (place(&mut rng), place(&mut rng));
                let n = (1 + rng.below(80) as usize).min(file.len() - from.max(to));
                changed.copy_within(from..from + n, to);
            }
            check(&changed);
        }
    }
}

/// The pickle of a `.pt`, exchanged under a right checksum as a hostile writer would.
fn with_pickle(pickle: &[u8], entries: &[(&str, &[u8])]) -> Vec<u8> {
    use std::io::Write;
    let mut zip = zip::ZipWriter::new(std::io::Cursor::new(vec![]));
    for (name, bytes) in [("archive/data.pkl", pickle)].iter().chain(entries) {
        let options = zip::write::SimpleFileOptions::default();
        let stored = options.compression_method(zip::CompressionMethod::Stored);
        zip.start_file(*name, stored).unwrap();
        zip.write_all(bytes).unwrap();
    }
    zip.finish().unwrap().into_inner()
}

fn refused(file: &[u8], word: &str) {
    let error = StateDict::decode(file).unwrap_err();
    assert!(error.contains(word), "{word}: {error}");
}

#[test]
fn hostile_pickles_are_refused() {
    refused(&with_pickle(b"\x80\x02cos\nsystem\nX\x02\0\0\0id\x85R.", &[]), "os.system");
    refused(&with_pickle(b"\x80\x02cnumpy\nndarray\n.", &[]), "numpy.ndarray");
    refused(&with_pickle(b"\x80\x02}.", &[("../x", b"")]), "leads out");
    refused(&with_pickle(b"\x80\x02}.", &[("archive/data/0", b"")]), "no tensor");
    let tensor = |elems: i32, offset: i32, size: i32, stride: i32| {
        let mut p = b"\x80\x02}X\x01\0\0\0wctorch._utils\n_rebuild_tensor_v2\n((".to_vec();
        p.extend(b"X\x07\0\0\0storagectorch\nFloatStorage\nX\x01\0\0\0" as &[u8]);
        p.extend(b"0X\x03\0\0\0cpuJ");
        p.extend(elems.to_le_bytes());
        p.extend(b"tQJ");
        p.extend(offset.to_le_bytes());
        for n in [size, stride] {
            p.push(b'J');
            p.extend(n.to_le_bytes());
            p.push(0x85);
        }
        p.extend(b"\x89ccollections\nOrderedDict\n)RtRs.");
        with_pickle(&p, &[("archive/data/0", &[1, 0, 0, 0, 2, 0, 0, 0])])
    };
    let whole = StateDict::decode(&tensor(2, 0, 2, 1)).unwrap();
    assert_eq!(whole.tensors[0].1.bytes, [1, 0, 0, 0, 2, 0, 0, 0]);
    refused(&tensor(2, 1, 2, 1), "do not fit");
    refused(&tensor(2, 0, i32::MAX, 0), "do not fit");
    refused(&tensor(2, 0, 2, i32::MAX), "do not fit");
    refused(&tensor(2, -1, 2, 1), "negative");
    refused(&tensor(2, 0, 2, -1), "negative");
    refused(&tensor(3, 0, 2, 1), "declared 3");
}

#[test]
fn compressed_entries_are_refused_before_they_are_unpacked() {
    use std::io::Write;
    let mut zip = zip::ZipWriter::new(std::io::Cursor::new(vec![]));
    zip.start_file("archive/data.pkl", zip::write::SimpleFileOptions::default()).unwrap();
    zip.write_all(&vec![0; 10 << 20]).unwrap();
    refused(&zip.finish().unwrap().into_inner(), "compressed");
}
