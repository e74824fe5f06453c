//! One segment's forward through the one level.

use super::{Trm, names};
use crate::Result;
use crate::models::act::{Reasoner, Rules, State, Store};
use crate::models::{Depth, Dims};
use crate::nn::block::Block;
use crate::nn::level::Level;
use crate::nn::params::Bound;
use crate::ops::layout::Layout;
use crate::tape::{Tape, Var};

impl Reasoner for Trm {
    type Levels = Level;

    fn dims(&self) -> Dims {
        self.dims
    }

    fn rules(&self) -> Rules {
        self.config.rules()
    }

    fn store(&self) -> &Store {
        &self.store
    }

    fn levels(&self, bound: &Bound, layout: &Layout) -> Result<Level> {
        let c = &self.config;
        Level::bind(names::L_LEVEL, c.layers, self.recompute, |prefix| match c.mlp_t {
            true => Block::bind_mlp_t(bound, prefix, layout),
            false => Block::bind(bound, prefix, c.num_heads, self.rope(), layout),
        })
    }

    /// A gradient flows through every pass of the last H cycle.
    fn cycles(
        &self,
        tape: &mut Tape,
        level: &Level,
        from: State,
        e: &Var,
        depth: Depth,
    ) -> Result<State> {
        let [h_cycles, l_cycles] = self.config.cycles(depth);
        let cycle = |tape: &mut Tape, State { z_h, mut z_l }: State| {
            for _ in 0..l_cycles {
                z_l = level.forward(tape, &[&z_h, e, &z_l])?;
            }
            let z_h = level.forward(tape, &[&z_h, &z_l])?;
            Ok(State { z_h, z_l })
        };
        let state =
            tape.paused(|tape| (1..h_cycles).try_fold(from, |state, _| cycle(tape, state)))?;
        cycle(tape, state)
    }

    fn cycles_first(
        &self,
        tape: &mut Tape,
        level: &Level,
        from: State,
        e: &Var,
        depth: Depth,
    ) -> Result<Var> {
        let state = self.cycles(tape, level, from, e, depth)?;
        level.take_first(tape, &state.z_h)
    }
}
