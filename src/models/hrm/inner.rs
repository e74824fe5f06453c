//! One segment's forward through the two levels.

use super::{Hrm, names};
use crate::Result;
use crate::models::act::{Reasoner, Rules, State, Store};
use crate::models::{Depth, Dims};
use crate::nn::block::Block;
use crate::nn::level::Level;
use crate::nn::params::Bound;
use crate::ops::layout::Layout;
use crate::tape::{Tape, Var};

pub struct Levels {
    h: Level,
    l: Level,
}

impl Reasoner for Hrm {
    type Levels = Levels;

    fn dims(&self) -> Dims {
        self.dims
    }

    fn rules(&self) -> Rules {
        self.config.rules()
    }

    fn store(&self) -> &Store {
        &self.store
    }

    fn levels(&self, bound: &Bound, layout: &Layout) -> Result<Levels> {
        let c = &self.config;
        let level = |name, layers| {
            Level::bind(name, layers, self.recompute, |prefix| {
                Block::bind(bound, prefix, c.num_heads, self.rope(), layout)
            })
        };
        Ok(Levels { h: level(names::H_LEVEL, c.h_layers)?, l: level(names::L_LEVEL, c.l_layers)? })
    }

    /// A gradient flows through the last L pass and the last H pass only.
    fn cycles(
        &self,
        tape: &mut Tape,
        w: &Levels,
        from: State,
        e: &Var,
        depth: Depth,
    ) -> Result<State> {
        let State { z_h, z_l } = self.until_last_h(tape, w, from, e, depth)?;
        let z_h = w.h.forward(tape, &[&z_h, &z_l])?;
        Ok(State { z_h, z_l })
    }

    fn cycles_first(
        &self,
        tape: &mut Tape,
        w: &Levels,
        from: State,
        e: &Var,
        depth: Depth,
    ) -> Result<Var> {
        let State { z_h, z_l } = self.until_last_h(tape, w, from, e, depth)?;
        w.h.forward_first(tape, &[&z_h, &z_l])
    }
}

impl Hrm {
    /// All cycles but the last H pass.
    fn until_last_h(
        &self,
        tape: &mut Tape,
        w: &Levels,
        from: State,
        e: &Var,
        depth: Depth,
    ) -> Result<State> {
        let State { mut z_h, mut z_l } = from;
        let [h_cycles, l_cycles] = self.config.cycles(depth);
        tape.paused(|tape| {
            for h in 0..h_cycles {
                for l in 0..l_cycles {
                    if (h, l) != (h_cycles - 1, l_cycles - 1) {
                        z_l = w.l.forward(tape, &[&z_h, e, &z_l])?;
                    }
                }
                if h != h_cycles - 1 {
                    z_h = w.h.forward(tape, &[&z_h, &z_l])?;
                }
            }
            Ok(())
        })?;
        let z_l = w.l.forward(tape, &[&z_h, e, &z_l])?;
        Ok(State { z_h, z_l })
    }
}
