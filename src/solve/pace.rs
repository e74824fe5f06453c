//! Time and the onlooker: whether to go on, asked between steps and between batches of answers.

use std::time::{Duration, Instant};

use super::options::{GoOn, Progress, Stop};
use crate::{Error, Result};

/// Stands for a budget that no clock can hold.
const FOREVER: Duration = Duration::from_secs(100 * 365 * 24 * 3600);

pub struct Pace<'a> {
    start: Instant,
    deadline: Instant,
    watch: &'a mut dyn FnMut(Progress) -> Option<Stop>,
    stopped: bool,
}

impl<'a> Pace<'a> {
    pub fn new(
        start: Instant,
        budget: Duration,
        watch: &'a mut dyn FnMut(Progress) -> Option<Stop>,
    ) -> Self {
        let deadline = start.checked_add(budget).unwrap_or(start + FOREVER);
        Self { start, deadline, watch, stopped: false }
    }

    pub fn elapsed_s(&self) -> f64 {
        self.start.elapsed().as_secs_f64()
    }

    pub fn is_stopped(&self) -> bool {
        self.stopped
    }

    /// The end of a `share` of the time that is left without `reserve`.
    pub fn share(&self, reserve: Duration, share: f64) -> Instant {
        let now = Instant::now();
        let left = self.deadline.saturating_duration_since(now).saturating_sub(reserve);
        now + left.mul_f64(share)
    }

    pub fn go_on(&mut self, at: Progress, end: Instant) -> Result<GoOn> {
        match (self.watch)(at) {
            Some(Stop::Abandon) => {
                return Err(Error::Interrupted("stopped: no answer was wanted".into()));
            }
            Some(Stop::Answer) => self.stopped = true,
            None => {}
        }
        Ok(match self.stopped {
            true => GoOn::Stop,
            false if Instant::now() < end => GoOn::Yes,
            false => GoOn::TimeIsUp,
        })
    }

    /// Whether to go on with what may take all of the time.
    pub fn answer_on(&mut self, at: Progress) -> Result<bool> {
        Ok(self.go_on(at, self.deadline)? == GoOn::Yes)
    }
}
