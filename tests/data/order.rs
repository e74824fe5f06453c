//! Samplers and loader: every group once, batches a pure function of their position.

use std::sync::Arc;

use hrm::data::{BatchOptions, Loader, Order, Position, Sampler};
use proptest::prelude::*;

use crate::fixture;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    #[test]
    fn an_epoch_visits_every_group_once_per_pass(
        seed in any::<u64>(), groups in 1usize..30, rows in 1usize..6, passes in 1usize..4,
    ) {
        let dir = tempfile::tempdir().unwrap();
        let (data, _) = fixture::small(&dir.path().join("d"), seed, groups);
        let shard = data.split("train").unwrap();
        let sampler = Sampler { passes, ..Sampler::new(Order::Groups, seed, rows) };
        let Ok(epoch) = sampler.epoch(shard, 3) else {
            // Every group has at least one example.
            prop_assert!(groups * passes < rows, "refused, though a batch can be filled");
            return Ok(());
        };
        let group_of = |puzzle: u32| {
            (0..groups).find(|&g| shard.group_range(g).unwrap().contains(&(puzzle as usize))).unwrap()
        };
        for pass in epoch.visits().chunks(groups) {
            let mut visited: Vec<usize> = pass.iter().map(|&p| group_of(p)).collect();
            visited.sort_unstable();
            prop_assert_eq!(visited, (0..groups).collect::<Vec<_>>());
        }
        for index in 0..epoch.batches() {
            let examples = epoch.examples(shard, index).unwrap();
            prop_assert_eq!(examples.len(), rows);
            if passes == 1 {
                let mut distinct = examples.clone();
                distinct.sort_unstable();
                distinct.dedup();
                prop_assert_eq!(distinct.len(), rows);
            }
        }
    }

    #[test]
    fn shuffle_visits_every_example_once(seed in any::<u64>(), rows in 1usize..4) {
        let dir = tempfile::tempdir().unwrap();
        let (data, _) = fixture::small(&dir.path().join("d"), seed, 6);
        let shard = data.split("train").unwrap();
        let epoch = Sampler::new(Order::Shuffle, seed, rows).epoch(shard, 0).unwrap();
        let mut seen = vec![];
        for index in 0..epoch.batches() {
            seen.extend(epoch.examples(shard, index).unwrap());
        }
        prop_assert_eq!(seen.len(), shard.examples() / rows * rows);
        seen.sort_unstable();
        seen.dedup();
        prop_assert_eq!(seen.len(), shard.examples() / rows * rows);
    }
}

#[test]
fn a_loader_resumed_anywhere_continues_with_the_same_batches() {
    let dir = tempfile::tempdir().unwrap();
    let (data, _) = fixture::small(&dir.path().join("d"), 1, 12);
    let data = Arc::new(data);
    for order in [Order::Groups, Order::Shuffle] {
        let sampler = Sampler::new(order, 9, 7);
        let start = |from, ahead| {
            Loader::train(
                data.clone(),
                "train",
                sampler,
                None,
                BatchOptions::default(),
                from,
                ahead,
            )
            .unwrap()
        };
        let all: Vec<_> = start(Position::default(), 3).take(40).collect::<Result<_, _>>().unwrap();
        assert!(all.iter().any(|l| l.at.epoch >= 2), "several epochs are covered");
        assert!(all.iter().all(|l| l.wait_ms >= 0.0 && l.batch.real_rows == 7));
        for k in 0..40 {
            let mut again = start(all[k].at, 1);
            let one = again.next_batch().unwrap().unwrap();
            assert_eq!((one.at, one.next), (all[k].at, all[k].next));
            assert_eq!(one.batch, all[k].batch);
            assert_eq!(all.get(k + 1).map_or(one.next, |l| l.at), one.next);
        }
        assert_ne!(all[0].batch, all[1].batch);
    }
}

#[test]
fn evaluation_reads_the_split_in_order_and_pads_the_last_batch() {
    let dir = tempfile::tempdir().unwrap();
    let (data, _) = fixture::small(&dir.path().join("d"), 4, 9);
    let data = Arc::new(data);
    let shard = data.split("test").unwrap();
    let rows = shard.examples() - 1; // two batches, the second with one real row
    let loader = Loader::eval(data.clone(), "test", rows, BatchOptions { ignore_pad: false }, 2);
    let batches: Vec<_> = loader.unwrap().map(|l| l.unwrap().batch).collect();
    assert_eq!(batches.iter().map(|b| b.real_rows).collect::<Vec<_>>(), [rows, 1]);
    let last = &batches[1];
    assert_eq!(last.rows(), rows);
    let seq_len = data.seq_len();
    assert!(last.puzzle_ids[0] > 0 && last.puzzle_ids[1..].iter().all(|&id| id == 0));
    assert!(last.inputs[seq_len..].iter().all(|&t| t == 0));
    assert!(last.labels[seq_len..].iter().all(|&t| t == -100));
    assert!(last.labels[..seq_len].contains(&0), "PAD labels of real rows stay PAD here");
}

#[test]
fn a_batch_larger_than_an_epoch_is_refused_with_advice() {
    let dir = tempfile::tempdir().unwrap();
    let (data, _) = fixture::small(&dir.path().join("d"), 4, 2);
    let sampler = Sampler::new(Order::Groups, 0, 1000);
    let error = sampler.epoch(data.split("train").unwrap(), 0).err().expect("refused");
    assert!(error.to_string().contains("smaller batch or more passes"), "{error}");
}
