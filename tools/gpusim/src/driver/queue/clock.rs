//! Vector clocks: what is ordered before what.
//!
//! A lane is a chain of tasks that run one after the other: a stream, or one branch of a graph. A
//! clock says, per lane, up to which task of that lane everything is known to have finished.

/// A task's place: the lane it runs in and its number there, from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    pub lane: usize,
    pub number: u64,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Clock(Vec<u64>);

impl Clock {
    /// Has `moment` happened before whoever holds this clock?
    pub fn covers(&self, moment: Moment) -> bool {
        self.at(moment.lane) >= moment.number
    }

    pub fn at(&self, lane: usize) -> u64 {
        self.0.get(lane).copied().unwrap_or(0)
    }

    /// Learn everything that `other` knows.
    pub fn join(&mut self, other: &Clock) {
        if self.0.len() < other.0.len() {
            self.0.resize(other.0.len(), 0);
        }
        for (mine, theirs) in self.0.iter_mut().zip(&other.0) {
            *mine = (*mine).max(*theirs);
        }
    }

    /// Keep only what `other` knows too.
    pub fn meet(&mut self, other: &Clock) {
        self.0.truncate(other.0.len());
        for (mine, theirs) in self.0.iter_mut().zip(&other.0) {
            *mine = (*mine).min(*theirs);
        }
    }

    pub fn set(&mut self, moment: Moment) {
        if self.0.len() <= moment.lane {
            self.0.resize(moment.lane + 1, 0);
        }
        self.0[moment.lane] = moment.number;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn join_takes_the_later_moment_of_each_lane() {
        let mut a = Clock::default();
        a.set(Moment { lane: 0, number: 3 });
        let mut b = Clock::default();
        b.set(Moment { lane: 0, number: 1 });
        b.set(Moment { lane: 2, number: 5 });
        a.join(&b);
        assert_eq!((a.at(0), a.at(1), a.at(2), a.at(9)), (3, 0, 5, 0));
        assert!(a.covers(Moment { lane: 2, number: 5 }));
        assert!(!a.covers(Moment { lane: 2, number: 6 }));
    }
}
