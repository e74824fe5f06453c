//! What is written is what is read; what is damaged is refused.

use std::fs;
use std::path::Path;

use hrm::data::augment::Variant;
use hrm::data::canvas::Placement;
use hrm::data::output::Output;
use hrm::data::shard::format::{Header, PAGE_BYTES, Section};
use hrm::data::shard::{GroupBuf, Shard, Spec};
use hrm::data::vocab::{IGNORE, PAD};
use hrm::data::{DataSet, Grid, Kind, Pair, canvas};
use hrm::rng::{Rng, Stream};
use proptest::prelude::*;

use crate::fixture;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn written_examples_are_read_back(seed in any::<u64>(), groups in 1usize..6) {
        let dir = tempfile::tempdir().unwrap();
        let (data, written) = fixture::small(&dir.path().join("d"), seed, groups);
        data.verify().unwrap();
        let shard = data.split("train").unwrap();
        let mut i = 0;
        for (g, group) in written.iter().enumerate() {
            prop_assert_eq!(shard.group_range(g).unwrap().len(), group.len());
            for (id, variant, pairs) in group {
                for pair in pairs {
                    let example = shard.example(i).unwrap();
                    prop_assert_eq!(example.puzzle_id, *id);
                    prop_assert_eq!(&example.pair, &variant.apply_pair(pair));
                    let mut rows = vec![vec![7; 100]; 2];
                    let [input, label] = &mut rows[..] else { unreachable!() };
                    prop_assert_eq!(shard.decode(i, -100, input, label).unwrap(), *id);
                    let want = canvas::encode(&example.pair.input, example.input_at, 10).unwrap();
                    prop_assert_eq!(input, &want);
                    let want = canvas::encode(&example.pair.output, example.output_at, 10).unwrap();
                    let ignored = want.into_iter().map(|t| if t == 0 { -100 } else { t });
                    prop_assert_eq!(label, &ignored.collect::<Vec<_>>());
                    i += 1;
                }
            }
        }
        prop_assert_eq!(i, shard.examples());
    }
}

/// Reads all there is in every way there is. No panic, whatever the file holds.
fn read_everything(path: &Path) -> hrm::Result<()> {
    let shard = Shard::open(path)?;
    shard.provenance()?;
    (0..shard.groups()).try_for_each(|g| shard.group_range(g).map(|_| ()))?;
    for puzzle in 0..shard.puzzles() {
        shard.puzzle_range(puzzle)?;
        shard.puzzle_id(puzzle)?;
        shard.variant(puzzle)?;
        shard.outlines(puzzle)?.try_for_each(|outline| outline.map(|_| ()))?;
    }
    (0..shard.examples()).try_for_each(|i| shard.example(i).and(shard.outline(i)).map(|_| ()))?;
    shard.verify()
}

fn header_of(bytes: &[u8]) -> Header {
    Header::parse(bytes.first_chunk::<PAGE_BYTES>().unwrap(), bytes.len() as u64).unwrap()
}

#[test]
fn a_flipped_bit_in_any_section_is_named() {
    let dir = tempfile::tempdir().unwrap();
    fixture::small(&dir.path().join("d"), 1, 4);
    let good = fs::read(dir.path().join("d/train.shard")).unwrap();
    let header = header_of(&good);
    let bad_path = dir.path().join("bad.shard");
    for section in Section::ALL {
        let extent = header.sections[section as usize];
        for at in [0, extent.bytes / 2, extent.bytes - 1] {
            let mut bad = good.clone();
            bad[(extent.offset + at) as usize] ^= 4;
            fs::write(&bad_path, &bad).unwrap();
            let error = read_everything(&bad_path).unwrap_err().to_string();
            assert!(error.contains(section.name()) && error.contains("bad.shard"), "{error}");
        }
    }
    for at in [0, 9, 13, 30, 60, 200, 4000, 4090] {
        let mut bad = good.clone();
        bad[at] ^= 4;
        fs::write(&bad_path, &bad).unwrap();
        let error = read_everything(&bad_path).unwrap_err().to_string();
        let why = ["wrong magic", "format version", "header is damaged"];
        assert!(why.iter().any(|w| error.contains(w)), "byte {at}: {error}");
    }
}

#[test]
fn a_truncated_shard_is_refused_at_open() {
    let dir = tempfile::tempdir().unwrap();
    fixture::small(&dir.path().join("d"), 2, 4);
    let path = dir.path().join("d/train.shard");
    let good = fs::read(&path).unwrap();
    for length in (0..good.len()).step_by(997).chain([good.len() - 1, 1, 4095, 4096]) {
        fs::write(&path, &good[..length]).unwrap();
        let error = DataSet::open(&dir.path().join("d")).err().expect("refused").to_string();
        assert!(error.contains("train.shard") && error.contains("truncated"), "{length}: {error}");
    }
}

/// Mutations with the header's digest and the checksums made right again, so that they reach the
/// checks behind them.
#[test]
fn mutated_shards_are_an_error_or_readable_but_never_a_panic() {
    let dir = tempfile::tempdir().unwrap();
    fixture::small(&dir.path().join("d"), 3, 3);
    let good = fs::read(dir.path().join("d/train.shard")).unwrap();
    let path = dir.path().join("fuzzed.shard");
    let mut rng = Rng::new(5, Stream::Test, 0);
    let mut refused = 0;
    for round in 0..3000 {
        let mut bad = good.clone();
        let mut header = header_of(&good);
        for _ in 0..1 + rng.below(3) {
            let extent = header.sections[rng.below(7) as usize];
            let at = extent.offset + rng.below(extent.bytes as u32) as u64;
            bad[at as usize] = rng.u32() as u8;
        }
        if round % 3 == 0 {
            match rng.below(5) {
                0 => header.examples = rng.below(1000) as u64,
                1 => header.puzzles = rng.below(100) as u64,
                2 => header.spec.canvas = rng.below(70) as usize,
                3 => header.largest_puzzle_id = rng.below(10) as u64,
                _ => {
                    let section = &mut header.sections[rng.below(7) as usize];
                    section.offset = (rng.below(8) as u64) << [12, 60][rng.below(2) as usize];
                    section.bytes = rng.u64() >> rng.below(64);
                }
            }
        }
        for extent in &mut header.sections {
            let (start, end) = (extent.offset, extent.offset.saturating_add(extent.bytes));
            if let Some(bytes) = bad.get(start as usize..end as usize) {
                extent.checksum = hrm::data::shard::format::checksum(bytes);
            }
        }
        bad[..PAGE_BYTES].copy_from_slice(&header.to_page());
        fs::write(&path, &bad).unwrap();
        refused += read_everything(&path).is_err() as u32;
    }
    assert!(refused > 1000, "only {refused} of 3000 mutations were noticed");
}

#[test]
fn an_unfinished_folder_is_refused_with_the_reason() {
    let dir = tempfile::tempdir().unwrap();
    let target = dir.path().join("d");
    fixture::small(&target, 1, 2);
    fs::remove_file(target.join("dataset.json")).unwrap();
    let error = DataSet::open(&target).err().expect("refused").to_string();
    assert!(error.contains("unfinished build"), "{error}");
    let error = DataSet::open(&dir.path().join("none")).err().expect("refused").to_string();
    assert!(error.contains("hrm data build --output-dir"), "{error}");
}

#[test]
fn a_shard_of_another_build_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let (a, _) = fixture::small(&dir.path().join("a"), 1, 2);
    let (b, _) = fixture::small(&dir.path().join("b"), 2, 2);
    assert_ne!(a.digest(), b.digest());
    fs::copy(dir.path().join("a/test.shard"), dir.path().join("b/test.shard")).unwrap();
    let error = DataSet::open(&dir.path().join("b")).err().expect("refused").to_string();
    assert!(error.contains("not the shard that dataset.json lists"), "{error}");
}

#[test]
fn a_hidden_output_has_no_label_and_no_place_in_training() {
    let dir = tempfile::tempdir().unwrap();
    let spec = Spec::arc(4);
    let known =
        Pair { input: Grid::from_fn(1, 2, |_, c| c as u8), output: Grid::from_fn(2, 2, |_, _| 3) };
    let hidden = Pair::hidden(known.input.clone());
    for (split, is_intact) in [("test", true), ("train", false)] {
        let out = dir.path().join(split);
        let mut output = Output::create(&out, spec, serde_json::json!({})).unwrap();
        let mut writer = output.writer(split).unwrap();
        let mut group = GroupBuf::new(spec);
        for (transform, pair) in [(0, &known), (1, &hidden), (6, &hidden)] {
            let variant = Variant { transform, ..Variant::IDENTITY };
            group.begin_puzzle(variant);
            let stored = group.store(pair).unwrap();
            group.push(stored, Placement::default(), Placement::default()).unwrap();
        }
        writer.push(&group, &[1, 2, 3]).unwrap();
        output.finish_split(split, writer).unwrap();
        output.finish(&["a", "b", "c"].map(String::from)).unwrap();
        let data = DataSet::open(&out).unwrap();
        let shard = data.split(split).unwrap();
        assert_eq!(shard.hidden_examples().unwrap(), 2);
        for i in 1..3 {
            let shown = shard.example(i).unwrap().pair;
            assert_eq!((shown.input.h(), shown.is_hidden()), (2, true));
            let (mut input, mut label) = (vec![0; 16], vec![0; 16]);
            // Where padding is learnt, too, nothing is.
            shard.decode(i, PAD, &mut input, &mut label).unwrap();
            assert!(label.iter().all(|&token| token == IGNORE));
            assert!(input.iter().any(|&token| token != PAD));
        }
        let verified = data.verify().map_err(|e| e.to_string());
        let refused =
            verified.as_ref().is_err_and(|e| e.contains("2 training examples have no output"));
        assert_eq!((verified.is_ok(), refused), (is_intact, !is_intact), "{verified:?}");
    }
    let mut board = GroupBuf::new(Spec::of(Kind::Sudoku, 4));
    assert!(board.store(&Pair::hidden(Grid::from_fn(4, 4, |_, _| 1))).is_err());
}
