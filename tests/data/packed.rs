//! Packed batches against padded ones, and how an epoch is dealt to slots.

use std::collections::HashMap;
use std::sync::Arc;

use hrm::data::{
    Batch, BatchOptions, DataSet, Dealer, Lengths, Loader, Order, Position, RowLayout, Sampler,
};
use proptest::prelude::*;

use crate::fixture;

fn counts(examples: impl IntoIterator<Item = u32>) -> HashMap<u32, i64> {
    let mut counts = HashMap::new();
    examples.into_iter().for_each(|e| *counts.entry(e).or_default() += 1);
    counts
}

#[test]
fn a_packed_batch_is_the_padded_one_within_its_windows() {
    let dir = tempfile::tempdir().unwrap();
    let data = fixture::asked(&dir.path().join("d"), 5, 4, 0);
    let seq_len = data.seq_len();
    for (split, ignore_pad) in [("train", true), ("test", false)] {
        let (shard, options) = (data.split(split).unwrap(), BatchOptions { ignore_pad });
        let examples: Vec<u32> = (0..shard.examples() as u32).rev().collect();
        let padded = Batch::assemble(shard, &examples, 0, options).unwrap();
        // Some room that rows leave, and two slots without an example.
        let lengths = data.row_lengths(split, RowLayout::Packed).unwrap();
        let room = examples.iter().enumerate().map(|(k, &e)| lengths[e as usize] as usize + k % 3);
        let slots: Vec<usize> = room.chain([7, 5]).collect();
        let packed = Batch::packed(&data, split, &examples, &slots, options).unwrap();
        assert_eq!((packed.rows(), packed.real_rows), (slots.len(), examples.len()));
        assert_eq!(packed.puzzle_ids[..examples.len()], padded.puzzle_ids);
        assert_eq!(packed.puzzle_ids[examples.len()..], [0, 0]);
        assert_eq!(packed.lengths[examples.len()..], [0, 0]);
        let mut cut = 0;
        for (k, &slot) in slots.iter().enumerate() {
            let from: usize = slots[..k].iter().sum();
            let filling = from + packed.lengths[k] as usize..from + slot;
            assert!(packed.inputs[filling.clone()].iter().all(|&t| t == 0));
            assert!(packed.labels[filling.clone()].iter().all(|&t| t == -100));
            assert!(packed.cells[filling].iter().all(|&c| c == 0));
            let Some(&example) = examples.get(k) else { continue };
            let window = data.window(split, example as usize).unwrap();
            assert_eq!(packed.lengths[k] as usize, window.len());
            let own = from..from + window.len();
            let row = k * seq_len..(k + 1) * seq_len;
            let (input, label) = (&padded.inputs[row.clone()], &padded.labels[row]);
            assert_eq!(window.spread(&packed.inputs[own.clone()], data.canvas()), *input);
            let cells = packed.cells[own.clone()].iter().map(|&c| c as usize);
            assert!(cells.clone().eq(window.cells(data.canvas())));
            assert!(cells.map(|c| label[c]).eq(packed.labels[own].iter().copied()));
            let asked = |labels: &[i32]| labels.iter().filter(|&&t| t > 0).count();
            cut += (asked(label) > asked(&packed.labels[from..from + slot])) as usize;
        }
        assert_eq!(cut > 0, split == "test", "{cut} labels of {split} exceed their window");
        let error = Batch::packed(&data, split, &examples[..1], &[3], options).unwrap_err();
        assert!(error.to_string().contains("slot 0 has room for 3"), "{error}");
        assert!(Batch::packed(&data, split, &examples, &slots[..2], options).is_err());
    }
}

/// Lays an epoch out, checks what holds of every one, and returns how many rows were left out.
fn check_dealt(data: &DataSet, sampler: Sampler, epoch: u32, slots: Vec<usize>) -> usize {
    let shard = data.split("train").unwrap();
    let lengths = data.row_lengths("train", RowLayout::Packed).unwrap();
    let epoch = sampler.epoch(shard, epoch).unwrap();
    let dealt = Dealer::new(data, "train", RowLayout::Packed, slots.clone())
        .unwrap()
        .deal(shard, &epoch)
        .unwrap();
    assert_eq!((dealt.batches(), dealt.slots()), (epoch.batches(), &slots[..]));
    let all = |batches: usize, of: &dyn Fn(usize) -> Vec<u32>| -> Vec<u32> {
        (0..batches).flat_map(of).collect()
    };
    let visits = all(epoch.batches(), &|i| epoch.examples(shard, i).unwrap());
    let offered = all(dealt.batches(), &|i| dealt.examples(i).to_vec());
    assert_eq!(offered.len(), visits.len());
    for (k, &example) in offered.iter().enumerate() {
        assert!(lengths[example as usize] as usize <= slots[k % slots.len()]);
    }
    let mut balance = counts(visits.iter().copied());
    offered.iter().for_each(|&e| *balance.entry(e).or_default() -= 1);
    let missing: i64 = balance.values().filter(|&&n| n > 0).sum();
    assert!(missing <= dealt.left_out() as i64, "{missing} are missing");
    if dealt.left_out() > 0 || sampler.passes > 1 {
        return dealt.left_out();
    }
    assert_eq!(missing, 0);
    let place: HashMap<u32, usize> = visits.iter().enumerate().map(|(i, &e)| (e, i)).collect();
    for slot in 0..slots.len() {
        let order = offered.iter().skip(slot).step_by(slots.len()).map(|e| place[e]);
        assert!(order.is_sorted(), "slot {slot} keeps the sampler's order");
    }
    0
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn an_epoch_is_dealt_so_that_every_row_fits(
        seed in any::<u64>(), groups in 1usize..8, rows in 1usize..9, passes in 1usize..4,
    ) {
        let dir = tempfile::tempdir().unwrap();
        let data = fixture::asked(&dir.path().join("d"), seed, groups, 0);
        for order in [Order::Groups, Order::Shuffle] {
            let sampler = Sampler { passes, ..Sampler::new(order, seed, rows) };
            if sampler.epoch(data.split("train").unwrap(), 2).is_err() {
                continue;
            }
            let lengths = Lengths::of(&data, "train", order, RowLayout::Packed).unwrap();
            let slots = lengths.slots(rows);
            let left_out = check_dealt(&data, sampler, 2, slots);
            let examples = data.split("train").unwrap().examples();
            if order == Order::Shuffle && (examples * passes).is_multiple_of(rows) {
                prop_assert_eq!(left_out, 0, "the epoch has the shares of the split");
            }
            // Slots that are far from the shares: the longest one holds what the others cannot.
            let mut slots = vec![lengths.quantile(0.0); rows];
            slots[0] = lengths.longest();
            check_dealt(&data, sampler, 2, slots);
        }
    }
}

#[test]
fn rows_of_one_length_keep_the_sampler_s_batches() {
    let dir = tempfile::tempdir().unwrap();
    // Nothing demonstrates its test split: every window is the canvas.
    let (data, _) = fixture::small(&dir.path().join("d"), 1, 9);
    let shard = data.split("test").unwrap();
    for order in [Order::Groups, Order::Shuffle] {
        let slots = Lengths::of(&data, "test", order, RowLayout::Packed).unwrap().slots(4);
        assert_eq!(slots, [100; 4]);
        let epoch = Sampler::new(order, 1, 4).epoch(shard, 0).unwrap();
        let dealt = Dealer::new(&data, "test", RowLayout::Packed, slots)
            .unwrap()
            .deal(shard, &epoch)
            .unwrap();
        assert!(epoch.batches() > 2);
        for i in 0..epoch.batches() {
            assert_eq!(epoch.examples(shard, i).unwrap(), dealt.examples(i), "batch {i}");
        }
    }
}

#[test]
fn slots_that_do_not_hold_the_split_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let data = fixture::asked(&dir.path().join("d"), 7, 3, 0);
    let slots = Lengths::of(&data, "train", Order::Groups, RowLayout::Packed).unwrap().slots(4);
    let shard = data.split("train").unwrap();
    let refusal = |slots: Vec<usize>| {
        Dealer::new(&data, "train", RowLayout::Packed, slots)
            .err()
            .map(|e| e.to_string())
            .expect("refused")
    };
    let mut short = slots.clone();
    short[0] -= 1;
    let mut unsorted = slots.clone();
    unsorted.reverse();
    for slots in [short, unsorted, vec![], vec![100, 1]] {
        assert!(refusal(slots).contains("make slots of the lengths of this split"));
    }
    let dealer = Dealer::new(&data, "train", RowLayout::Packed, slots).unwrap();
    let epoch = Sampler::new(Order::Groups, 0, 3).epoch(shard, 0).unwrap();
    let error = dealer.deal(shard, &epoch).err().expect("other batches").to_string();
    assert!(error.contains("is not one of 4 slots"), "{error}");
}

#[test]
fn a_packed_loader_resumed_anywhere_continues_with_the_same_batches() {
    let dir = tempfile::tempdir().unwrap();
    let data = Arc::new(fixture::asked(&dir.path().join("d"), 1, 12, 0));
    for order in [Order::Groups, Order::Shuffle] {
        let sampler = Sampler::new(order, 9, 7);
        let slots = Lengths::of(&data, "train", order, RowLayout::Packed).unwrap().slots(7);
        let options = BatchOptions::default();
        let start = |from, ahead| {
            let slots = Some((RowLayout::Packed, slots.clone()));
            Loader::train(data.clone(), "train", sampler, slots, options, from, ahead).unwrap()
        };
        let all: Vec<_> = start(Position::default(), 3).take(30).collect::<Result<_, _>>().unwrap();
        assert!(all.iter().any(|l| l.at.epoch >= 1) || order == Order::Shuffle);
        for loaded in &all {
            let batch = &loaded.batch;
            assert_eq!((batch.real_rows, batch.inputs.len()), (7, slots.iter().sum()));
            let again = start(loaded.at, 1).next_batch().unwrap().unwrap();
            assert_eq!((again.at, again.next), (loaded.at, loaded.next));
            assert_eq!(&again.batch, batch);
        }
        assert_ne!(all[0].batch, all[1].batch);
        let shard = data.split("train").unwrap();
        let epoch = sampler.epoch(shard, 0).unwrap();
        let dealt = Dealer::new(&data, "train", RowLayout::Packed, slots.clone())
            .unwrap()
            .deal(shard, &epoch)
            .unwrap();
        let first = Batch::packed(&data, "train", dealt.examples(0), &slots, options).unwrap();
        assert_eq!(first, all[0].batch);
    }
}
