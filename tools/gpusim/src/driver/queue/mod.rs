//! Deferred work: a graph of tasks, run in an order that a seed picks among those that streams and
//! events allow.
//!
//! Nothing runs because it was submitted; it runs when the host waits for it, or when chance says
//! so. Whatever two tasks touch without an order between them is a finding in every order
//! (`history`), not only in an unlucky one.

mod clock;
mod history;
mod random;
mod watch;
mod work;

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use clock::{Clock, Moment};
pub use history::Conflict;
use random::Random;
pub use work::{Accesses, Empty, NodeKind, Work};

use super::gpu::Gpu;
use history::{Access, History};
use watch::Watches;

/// More pending tasks than this make the submitter wait, as a full launch queue does.
const PENDING_MAX: usize = 4096;
/// So many tasks run between two sweeps of the access history.
const SWEEP_TASKS: usize = 64;

pub type TaskId = u64;

/// A submitted task as others refer to it, during its life and after.
#[derive(Clone, Debug)]
pub struct Mark {
    pub task: TaskId,
    pub clock: Arc<Clock>,
}

struct Task {
    work: Arc<dyn Work>,
    access: Access,
    clock: Arc<Clock>,
    /// Tasks that must run first and have not.
    after: Vec<TaskId>,
    before: Vec<TaskId>,
    blockers: usize,
}

pub struct Queue {
    tasks: HashMap<TaskId, Task>,
    ready: Vec<TaskId>,
    next: TaskId,
    /// How many tasks each lane has had.
    lanes: Vec<u64>,
    free_lanes: Vec<usize>,
    host: Clock,
    history: History,
    watches: Watches,
    since_sweep: usize,
    random: Random,
    /// Chance, in eighths, that a task runs right after a submission.
    eagerness: u64,
}

impl Queue {
    pub fn new(seed: u64) -> Self {
        let mut random = Random::new(seed);
        // A third of the seeds never run ahead of the host, the others do now and then or often.
        let eagerness = [0, 2, 7][random.below(3)];
        Self {
            tasks: HashMap::new(),
            ready: Vec::new(),
            next: 1,
            lanes: Vec::new(),
            free_lanes: Vec::new(),
            host: Clock::default(),
            history: History::default(),
            watches: Watches::default(),
            since_sweep: 0,
            random,
            eagerness,
        }
    }

    pub fn open_lane(&mut self) -> usize {
        let finished = |lane: &usize| self.host.at(*lane) >= self.lanes[*lane];
        if let Some(at) = self.free_lanes.iter().position(finished) {
            return self.free_lanes.swap_remove(at);
        }
        self.lanes.push(0);
        self.lanes.len() - 1
    }

    pub fn close_lane(&mut self, lane: usize) {
        self.free_lanes.push(lane);
    }

    /// Submit `work` to `lane`, to run when all of `after` have. The caller lists the lane's own
    /// last task there.
    pub fn push(&mut self, lane: usize, after: &[Mark], work: Arc<dyn Work>) -> Mark {
        let id = self.next;
        self.next += 1;
        self.lanes[lane] += 1;
        let moment = Moment { lane, number: self.lanes[lane] };
        let mut clock = self.host.clone();
        after.iter().for_each(|mark| clock.join(&mark.clock));
        clock.set(moment);
        let clock = Arc::new(clock);
        let access = Access { moment, label: work.label().into() };
        if let Some(source) = work.host_source() {
            self.watches.add(source, access.clone());
        }
        let mut pending: Vec<_> =
            after.iter().map(|m| m.task).filter(|t| self.tasks.contains_key(t)).collect();
        pending.sort_unstable();
        pending.dedup();
        for task in &pending {
            self.tasks.get_mut(task).expect("filtered above").before.push(id);
        }
        if pending.is_empty() {
            self.ready.push(id);
        }
        let blockers = pending.len();
        let task = Task {
            work,
            access,
            clock: clock.clone(),
            after: pending,
            before: Vec::new(),
            blockers,
        };
        self.tasks.insert(id, task);
        Mark { task: id, clock }
    }

    pub fn is_done(&self, mark: &Mark) -> bool {
        !self.tasks.contains_key(&mark.task)
    }

    /// Let time pass: run a few tasks or none, as the seed says.
    pub fn drift(&mut self, gpu: &mut Gpu) {
        while !self.ready.is_empty()
            && (self.tasks.len() > PENDING_MAX || self.random.chance(self.eagerness, 8))
        {
            self.run_any(gpu);
        }
    }

    /// Run one task that can run.
    pub fn run_any(&mut self, gpu: &mut Gpu) {
        if !self.ready.is_empty() {
            let task = self.ready.swap_remove(self.random.below(self.ready.len()));
            self.run(task, gpu);
        }
    }

    /// Run until `mark` is done; others may run too.
    pub fn run_until(&mut self, mark: &Mark, gpu: &mut Gpu) {
        if self.is_done(mark) {
            return;
        }
        let mut needed = std::collections::HashSet::new();
        let mut stack = vec![mark.task];
        while let Some(task) = stack.pop() {
            if let Some(entry) = self.tasks.get(&task)
                && needed.insert(task)
            {
                stack.extend(&entry.after);
            }
        }
        while !self.is_done(mark) {
            let candidates: Vec<usize> = match self.random.chance(1, 4) {
                true => (0..self.ready.len()).collect(),
                false => {
                    (0..self.ready.len()).filter(|&i| needed.contains(&self.ready[i])).collect()
                }
            };
            let at = candidates[self.random.below(candidates.len())];
            let task = self.ready.swap_remove(at);
            self.run(task, gpu);
        }
    }

    /// The host has seen `mark` finish.
    pub fn host_saw(&mut self, mark: &Mark, gpu: &mut Gpu) {
        self.run_until(mark, gpu);
        self.host.join(&mark.clock);
        self.watches.settle(&self.host, gpu);
        self.sweep();
    }

    /// Forget accesses that every task to come is ordered after: the host has seen them, and so has
    /// each pending task. It is enough to ask the ready ones, since those behind them know more.
    fn sweep(&mut self) {
        let mut known = self.host.clone();
        self.ready.iter().for_each(|task| known.meet(&self.tasks[task].clock));
        self.history.forget(&known);
        self.since_sweep = 0;
    }

    /// Run everything. The host does not learn of it.
    pub fn run_all(&mut self, gpu: &mut Gpu) {
        while !self.ready.is_empty() {
            self.run_any(gpu);
        }
    }

    /// Run what is left when the process ends, but for work that writes host memory.
    pub fn run_out(&mut self, gpu: &mut Gpu) {
        for task in self.tasks.values_mut().filter(|task| task.work.host_target().is_some()) {
            task.work = Arc::new(Empty("copy to the host at process end"));
        }
        self.run_all(gpu);
    }

    /// An operation on `bytes` that the host has not waited for. Runs all work, since only then is
    /// it known.
    pub fn user_of(&mut self, bytes: Range<u64>, gpu: &mut Gpu) -> Option<String> {
        self.run_all(gpu);
        self.history.unordered(bytes, &self.host).map(|access| access.label.to_string())
    }

    /// A new buffer: earlier ones at its address are past.
    pub fn begin_memory(&mut self, bytes: Range<u64>) {
        self.history.erase(bytes);
    }

    /// The host is about to release pinned memory.
    pub fn forget_host_memory(&mut self, bytes: Range<u64>) {
        self.watches.drop_range(&bytes);
    }

    fn run(&mut self, id: TaskId, gpu: &mut Gpu) {
        let task = self.tasks.remove(&id).expect("a ready task is pending");
        for next in task.before {
            let waiting = self.tasks.get_mut(&next).expect("a task outlives those it waits for");
            waiting.blockers -= 1;
            if waiting.blockers == 0 {
                self.ready.push(next);
            }
        }
        if task.work.kind() == NodeKind::Host {
            self.watches.drop_all();
        }
        if let Some(target) = task.work.host_target() {
            self.watches.settle_before_write(&target, &task.clock, gpu);
        }
        let accesses = task.work.run(gpu);
        let reads = accesses.reads.into_iter().map(|r| (r, false));
        let mut conflict = None;
        for (bytes, writes) in reads.chain(accesses.writes.into_iter().map(|w| (w, true))) {
            let found = self.history.touch(bytes, writes, &task.access, &task.clock);
            conflict = conflict.or(found);
        }
        if let Some(conflict) = conflict {
            gpu.report_unordered(&conflict, &task.access.label);
        }
        self.since_sweep += 1;
        if self.since_sweep >= SWEEP_TASKS {
            self.sweep();
        }
    }
}
