//! Tasks that are to be solved, are being solved and were solved. Handlers put them in, look and
//! take them out; the engine takes the next one and tells how it goes. Whatever is taken out is
//! wanted no more: the engine hears so the next time it tells.

use std::collections::VecDeque;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use axum::http::StatusCode;
use tokio::sync::watch;

use super::job::{Job, Part, Phase};
use super::problem::Problem;
use super::solve_view::SolveView;
use crate::data::Task;
use crate::solve::Outcome;

/// Results that are kept until somebody fetches them; older ones go first.
const KEPT_RESULTS: usize = 64;

#[derive(Clone)]
pub struct Solves {
    jobs: Arc<Mutex<Jobs>>,
    changed: watch::Sender<()>,
    /// Waiting and running at once.
    most: usize,
    /// A result that nobody asked for during this time is dropped.
    idle: Duration,
}

#[derive(Default)]
struct Jobs {
    /// In the order in which they came.
    all: VecDeque<Job>,
    /// Makes identifiers that nobody guesses.
    secret: RandomState,
    made: u64,
    /// The server takes and begins nothing more.
    stopping: bool,
}

/// What the engine is to do with the one that runs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Wish {
    GoOn,
    /// The server stops, and somebody still waits for the answer.
    Finish,
    /// Nobody wants it any more.
    Abandon,
}

impl Solves {
    pub fn new(most: usize, idle: Duration) -> Self {
        Self { jobs: Arc::default(), changed: watch::Sender::new(()), most, idle }
    }

    /// Queue a task; what it is known by from here on.
    pub fn add(&self, task: Task, budget: Duration) -> Result<String, Problem> {
        let mut jobs = self.lock();
        self.drop_idle(&mut jobs);
        let open: Vec<&Job> = jobs.all.iter().filter(|job| !job.ended()).collect();
        if jobs.stopping || open.len() >= self.most {
            let wait_s = open.iter().map(|job| job.budget.as_secs()).max().unwrap_or(0).max(1);
            let what = format!(
                "{} tasks wait or are being solved, which is the limit of --max-solves; ask again after \
                 the time in Retry-After, or cancel one with DELETE /v1/solve/{{id}}",
                open.len()
            );
            return Err(Problem::new(StatusCode::TOO_MANY_REQUESTS, what).retry_after(wait_s));
        }
        jobs.made += 1;
        let id = format!("{:016x}", jobs.secret.hash_one(jobs.made));
        jobs.all.push_back(Job {
            id: id.clone(),
            task: Arc::new(task),
            budget,
            phase: Phase::Waiting,
            used: Instant::now(),
            waited: 0,
        });
        Ok(id)
    }

    /// How many wait or are being solved.
    pub fn open(&self) -> usize {
        self.lock().all.iter().filter(|job| !job.ended()).count()
    }

    /// `None`: there is none, or no more.
    pub fn state(&self, id: &str) -> Option<SolveView> {
        let mut jobs = self.lock();
        self.drop_idle(&mut jobs);
        let at = jobs.all.iter().position(|job| job.id == id)?;
        jobs.all[at].used = Instant::now();
        let ahead = jobs.all.iter().take(at).filter(|job| !job.ended()).count();
        Some(SolveView::of(&jobs.all[at], ahead))
    }

    /// Takes it out, and so cancels it unless it has ended; its last state.
    pub fn remove(&self, id: &str) -> Option<SolveView> {
        let state = self.state(id)?;
        self.lock().all.retain(|job| job.id != id);
        self.changed.send_replace(());
        Some(state)
    }

    /// Waits until it has ended, at most for `limit`, and not for its beginning once the server
    /// stops. A caller that goes away meanwhile takes it out.
    pub async fn wait(&self, id: &str, limit: Duration) -> Option<SolveView> {
        let waiting = Waiting { solves: self, id };
        self.lock().find(id)?.waited += 1;
        let mut changed = self.changed.subscribe();
        let until = tokio::time::Instant::now() + limit;
        loop {
            changed.mark_unchanged();
            let state = self.state(id);
            let hopeless = self.lock().stopping && state.as_ref().is_some_and(|s| !s.begun());
            let over = state.as_ref().is_none_or(SolveView::ended) || hopeless;
            if over || tokio::time::timeout_at(until, changed.changed()).await.is_err() {
                waiting.over();
                return self.state(id);
            }
        }
    }

    /// The server stops.
    pub fn stop(&self) {
        self.lock().stopping = true;
        self.changed.send_replace(());
    }

    // ---- the engine's side ----

    /// The next one, which now runs.
    pub fn begin(&self) -> Option<(String, Arc<Task>, Duration)> {
        let mut jobs = self.lock();
        self.drop_idle(&mut jobs);
        if jobs.stopping {
            return None;
        }
        let job = jobs.all.iter_mut().find(|job| matches!(job.phase, Phase::Waiting))?;
        let now = Instant::now();
        let part = Part { phase: "beginning", done: 0, of: 0 };
        job.phase = Phase::Running { since: now, part, part_since: now };
        Some((job.id.clone(), job.task.clone(), job.budget))
    }

    pub fn tell(&self, id: &str, now: Part) -> Wish {
        let mut jobs = self.lock();
        let stopping = jobs.stopping;
        let Some(job) = jobs.find(id) else { return Wish::Abandon };
        if let Phase::Running { part, part_since, .. } = &mut job.phase {
            if part.phase != now.phase {
                *part_since = Instant::now();
            }
            *part = now;
        }
        match (stopping, job.waited) {
            (false, _) => Wish::GoOn,
            (true, 0) => Wish::Abandon,
            (true, _) => Wish::Finish,
        }
    }

    pub fn end(&self, id: &str, result: Result<Outcome, String>) {
        let mut jobs = self.lock();
        if let Some(job) = jobs.find(id) {
            job.used = Instant::now();
            job.phase = match result {
                Ok(outcome) => Phase::Done(Box::new(outcome)),
                Err(problem) => Phase::Failed(problem),
            };
        }
        while jobs.all.iter().filter(|job| job.ended()).count() > KEPT_RESULTS {
            let oldest = jobs.all.iter().position(|job| job.ended() && job.waited == 0);
            let Some(oldest) = oldest else { break };
            jobs.all.remove(oldest);
        }
        drop(jobs);
        self.changed.send_replace(());
    }

    fn lock(&self) -> MutexGuard<'_, Jobs> {
        // Whoever panicked in between left every job whole.
        self.jobs.lock().unwrap_or_else(|e| e.into_inner())
    }

    fn drop_idle(&self, jobs: &mut Jobs) {
        jobs.all.retain(|job| !job.ended() || job.waited > 0 || job.used.elapsed() < self.idle);
    }
}

/// A handler that waits. Dropped before it is over, its client has gone away.
struct Waiting<'a> {
    solves: &'a Solves,
    id: &'a str,
}

impl Waiting<'_> {
    fn over(self) {
        if let Some(job) = self.solves.lock().find(self.id) {
            job.waited -= 1;
        }
        std::mem::forget(self);
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.solves.remove(self.id);
    }
}

impl Jobs {
    fn find(&mut self, id: &str) -> Option<&mut Job> {
        self.all.iter_mut().find(|job| job.id == id)
    }
}
