//! Flags for several trajectories of each question.

use clap::Args;

use crate::data::Kind;
use crate::eval::{Halt, Rollouts};
use crate::models::Dims;

#[derive(Debug, Args)]
pub struct RolloutArgs {
    /// Trajectories of each question at most (hrm, trm): each but the first adds noise to the
    /// latent state before every segment, and the one of the highest q_halt answers. They are only
    /// run where the first does not believe its answer (training's rule of halting)
    #[arg(long, value_name = "K", default_value_t = 1)]
    pub rollouts: u32,
    /// Standard deviation of that noise
    #[arg(long, value_name = "S", default_value_t = 0.3)]
    pub noise: f32,
    /// Segments of each trajectory; default: halt_max_steps of training. More may answer more, also
    /// without rollouts
    #[arg(long, value_name = "D")]
    pub segments: Option<u32>,
    /// Run all trajectories, also where the first believes its answer
    #[arg(long)]
    pub all_rollouts: bool,
}

impl RolloutArgs {
    /// How the questions of a model are answered.
    pub fn halt(&self, dims: Dims, kind: Kind) -> Halt {
        let &Self { rollouts, noise, segments, all_rollouts } = self;
        if rollouts == 1 && segments.is_none() {
            return Halt::Last;
        }
        Halt::Rollouts(Rollouts {
            count: rollouts,
            noise,
            segments: segments.unwrap_or(dims.segments as u32),
            all: all_rollouts,
            sudoku: kind == Kind::Sudoku,
        })
    }
}
