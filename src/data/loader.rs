//! Makes batches ahead of time on a thread of its own and hands them out in order. What is handed
//! out depends on the position only, never on timing; the time spent waiting is measured.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::Instant;

use super::batch::{Batch, BatchOptions};
use super::dataset::DataSet;
use super::deal::{Dealer, Dealt};
use super::sampler::{Epoch, Position, Sampler};
use super::window::RowLayout;
use crate::{Error, Result};

pub struct Loaded {
    pub batch: Batch,
    /// Where this batch stands.
    pub at: Position,
    /// Where to resume once it has been used: what a checkpoint stores.
    pub next: Position,
    /// How long `next` waited for it: 0 when the loader is ahead.
    pub wait_ms: f64,
}

pub struct Loader {
    batches: Option<Receiver<Result<Loaded>>>,
    thread: Option<JoinHandle<()>>,
}

impl Loader {
    /// Endless training batches from `from` on; `ahead` of them are kept ready. Rows lie in slots
    /// if there is a layout with such, one per row of the sampler's batches: the cells of each,
    /// longest first.
    pub fn train(
        data: Arc<DataSet>,
        split: &str,
        sampler: Sampler,
        slots: Option<(RowLayout, Vec<usize>)>,
        options: BatchOptions,
        from: Position,
        ahead: usize,
    ) -> Result<Self> {
        let dealer = slots.map(|(layout, slots)| Dealer::new(&data, split, layout, slots));
        let dealer = dealer.transpose()?;
        let feed = Feed { data, split: split.to_owned(), sampler, dealer, options };
        let mut at = from;
        let mut epoch = feed.epoch(at.epoch)?;
        if at.index as usize >= epoch.batches() {
            at = Position { epoch: from.epoch + 1, index: 0 };
            epoch = feed.epoch(at.epoch)?;
        }
        Self::spawn(ahead, move |send| while send_or_stop(send, feed.step(&mut epoch, &mut at)) {})
    }

    /// A split from beginning to end, once; the last batch is filled up with padding.
    pub fn eval(
        data: Arc<DataSet>,
        split: &str,
        batch_rows: usize,
        options: BatchOptions,
        ahead: usize,
    ) -> Result<Self> {
        let count = data.split(split)?.examples() as u32;
        let split = split.to_owned();
        let rows = batch_rows.max(1);
        Self::spawn(ahead, move |send| {
            for (index, first) in (0..count).step_by(rows).enumerate() {
                let examples: Vec<u32> = (first..count.min(first + rows as u32)).collect();
                let at = Position { epoch: 0, index: index as u32 };
                let next = Position { index: at.index + 1, ..at };
                let batch = data
                    .split(&split)
                    .and_then(|shard| Batch::assemble(shard, &examples, rows, options));
                let loaded = batch.map(|batch| Loaded { batch, at, next, wait_ms: 0.0 });
                if !send_or_stop(send, loaded) {
                    return;
                }
            }
        })
    }

    fn spawn(
        ahead: usize,
        work: impl FnOnce(&SyncSender<Result<Loaded>>) + Send + 'static,
    ) -> Result<Self> {
        let (send, batches) = sync_channel(ahead.max(1));
        let thread = std::thread::Builder::new()
            .name("hrm-loader".into())
            .spawn(move || work(&send))
            .map_err(|e| Error::invalid(format!("cannot start the data loader's thread: {e}")))?;
        Ok(Self { batches: Some(batches), thread: Some(thread) })
    }

    /// The next batch; `None` at the end of an evaluation. Training never ends by itself.
    pub fn next_batch(&mut self) -> Result<Option<Loaded>> {
        let Some(batches) = &self.batches else { return Ok(None) };
        let start = Instant::now();
        match batches.recv() {
            Ok(loaded) => {
                let wait_ms = start.elapsed().as_secs_f64() * 1e3;
                loaded.map(|loaded| Some(Loaded { wait_ms, ..loaded }))
            }
            Err(_) => {
                self.batches = None;
                let ended = self.thread.take().map(JoinHandle::join);
                if matches!(ended, Some(Err(_))) {
                    return Err(Error::invalid("the data loader's thread ended in a panic"));
                }
                Ok(None)
            }
        }
    }
}

impl Iterator for Loader {
    type Item = Result<Loaded>;

    fn next(&mut self) -> Option<Self::Item> {
        self.next_batch().transpose()
    }
}

impl Drop for Loader {
    /// Closing the channel makes a waiting thread stop.
    fn drop(&mut self) {
        self.batches = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// False when there is nothing more to do: the receiver is gone, or an error has been handed on.
fn send_or_stop(send: &SyncSender<Result<Loaded>>, loaded: Result<Loaded>) -> bool {
    let failed = loaded.is_err();
    send.send(loaded).is_ok() && !failed
}

/// What training batches are made of.
struct Feed {
    data: Arc<DataSet>,
    split: String,
    sampler: Sampler,
    dealer: Option<Dealer>, // batches of slots
    options: BatchOptions,
}

/// An epoch laid out.
enum Layout {
    Padded(Epoch),
    Packed(Dealt),
}

impl Layout {
    fn batches(&self) -> usize {
        match self {
            Self::Padded(epoch) => epoch.batches(),
            Self::Packed(dealt) => dealt.batches(),
        }
    }
}

impl Feed {
    fn epoch(&self, number: u32) -> Result<Layout> {
        let shard = self.data.split(&self.split)?;
        let epoch = self.sampler.epoch(shard, number)?;
        match &self.dealer {
            None => Ok(Layout::Padded(epoch)),
            Some(dealer) => dealer.deal(shard, &epoch).map(Layout::Packed),
        }
    }

    fn batch(&self, epoch: &Layout, index: usize) -> Result<Batch> {
        let Self { data, split, options, .. } = self;
        match epoch {
            Layout::Padded(epoch) => {
                let shard = data.split(split)?;
                let examples = epoch.examples(shard, index)?;
                Batch::assemble(shard, &examples, self.sampler.batch_rows, *options)
            }
            Layout::Packed(dealt) => {
                let (examples, slots) = (dealt.examples(index), dealt.slots());
                match dealt.layout() {
                    RowLayout::Sequence => Batch::sequences(data, split, examples, slots),
                    _ => Batch::packed(data, split, examples, slots, *options),
                }
            }
        }
    }

    /// The batch at `at`, which moves on.
    fn step(&self, epoch: &mut Layout, at: &mut Position) -> Result<Loaded> {
        let this = *at;
        let batch = self.batch(epoch, this.index as usize)?;
        *at = Position { index: this.index + 1, ..this };
        if at.index as usize == epoch.batches() {
            *at = Position { epoch: this.epoch + 1, index: 0 };
            *epoch = self.epoch(at.epoch)?;
        }
        Ok(Loaded { batch, at: this, next: *at, wait_ms: 0.0 })
    }
}
