//! All refinements that are under way, and the model that runs them.

use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::sync::Arc;
use std::time::Instant;

use axum::http::StatusCode;

use super::Options;
use super::ask::{Answer, Ask, Puzzle};
use super::metrics::Metrics;
use super::problem::Problem;
use super::served::Served;
use super::session::{Session, State};
use crate::Result;
use crate::data::Grid;
use crate::data::canvas::{Placement, encode};
use crate::data::vocab::{BLANK_ID, IGNORE};
use crate::eval::Row;
use crate::models::Workspace;

pub struct Refinements {
    served: Served,
    space: Workspace,
    sessions: HashMap<String, Session>,
    /// Makes identifiers that nobody guesses.
    secret: RandomState,
    made: u64,
    options: Options,
    metrics: Arc<Metrics>,
}

impl Refinements {
    pub fn new(served: Served, options: Options, metrics: Arc<Metrics>) -> Result<Self> {
        let space = Workspace::new(&*served.model, 1)?;
        let (sessions, secret) = (HashMap::new(), RandomState::new());
        Ok(Self { served, space, sessions, secret, made: 0, options, metrics })
    }

    /// Releases what nobody asked for.
    pub fn sweep(&mut self) {
        self.sessions.retain(|_, s| s.used.elapsed() < self.options.session_idle);
        self.metrics.set_sessions(self.sessions.len());
    }

    pub fn answer(&mut self, ask: Ask) -> Answer {
        let answer = match ask {
            Ask::Init { input, puzzle } => self.init(&input, puzzle),
            Ask::Step(id) => self.step(&id),
            Ask::State(id) => find(&mut self.sessions, &id).map(|s| s.state.clone()),
            Ask::Halt(id) => match self.sessions.remove(&id) {
                Some(session) => Ok(session.state),
                None => Err(unknown(&id)),
            },
        };
        self.metrics.set_sessions(self.sessions.len());
        answer
    }

    fn init(&mut self, input: &Grid, puzzle: Puzzle) -> Answer {
        if self.served.model.decoder().is_some() {
            return Err(Problem::new(
                StatusCode::UNPROCESSABLE_ENTITY,
                "this model writes its answers token by token and has no steps to refine them by; \
                 ask for tasks with POST /v1/solve",
            ));
        }
        let canvas = self.served.canvas;
        let inputs = encode(input, Placement::default(), canvas).ok_or_else(|| {
            Problem::new(
                StatusCode::UNPROCESSABLE_ENTITY,
                format!(
                    "input: the grid is {} x {}, but this model's canvas is {canvas} x {canvas}; send a \
                     smaller grid or serve a model with a larger canvas",
                    input.h(),
                    input.w()
                ),
            )
        })?;
        let puzzle_id = self.puzzle_id(puzzle)?;
        if self.sessions.len() >= self.options.max_sessions {
            let idle_s = self.options.session_idle.as_secs().max(1);
            return Err(Problem::new(
                StatusCode::TOO_MANY_REQUESTS,
                format!(
                    "{} refinements are under way, which is the limit; release one with DELETE \
                     /v1/refine/{{id}} or wait until one expires",
                    self.sessions.len()
                ),
            )
            .retry_after(idle_s));
        }
        self.made += 1;
        let id = format!("{:016x}", self.secret.hash_one(self.made));
        let window = self.served.window(puzzle_id, input)?;
        // Labels only enter sums that nobody reads here.
        let labels = vec![IGNORE; inputs.len()];
        let asked = Row { inputs, labels, puzzle_id, window };
        let session = Session::new(&*self.served.model, id.clone(), asked)?;
        let state = session.state.clone();
        self.sessions.insert(id, session);
        Ok(state)
    }

    fn puzzle_id(&self, puzzle: Puzzle) -> Result<i32, Problem> {
        let unprocessable = |text: String| Problem::new(StatusCode::UNPROCESSABLE_ENTITY, text);
        let ids = self.served.model.dims().num_puzzle_ids;
        match puzzle {
            Puzzle::None => Ok(BLANK_ID as i32),
            Puzzle::Id(id) if (id as usize) < ids => Ok(id as i32),
            Puzzle::Id(id) => Err(unprocessable(format!(
                "puzzle: {id} is not below {ids}, the number of puzzle ids of this model"
            ))),
            Puzzle::Name(name) => {
                let data = self.served.data.as_ref().ok_or_else(|| {
                    unprocessable(
                        "puzzle: names are not known, because the data set of this model is not there; \
                         send the puzzle's number, or start the server with --data"
                            .into(),
                    )
                })?;
                let at = data.identifiers()?.iter().position(|n| *n == name);
                at.map(|id| id as i32).ok_or_else(|| {
                    unprocessable(format!(
                        "puzzle: {name:?} is not in the data set {}; leave puzzle out for an unknown task",
                        data.dir().display()
                    ))
                })
            }
        }
    }

    fn step(&mut self, id: &str) -> Answer {
        let session = find(&mut self.sessions, id)?;
        let State { done, max_steps, .. } = session.state;
        if done {
            return Err(Problem::new(
                StatusCode::CONFLICT,
                format!(
                    "refinement {id} has run all {max_steps} steps; begin another with POST /v1/refine"
                ),
            ));
        }
        let start = Instant::now();
        let state = session.step(&*self.served.model, &self.space, self.served.canvas)?.clone();
        session.used = Instant::now();
        self.metrics.segment(start.elapsed());
        Ok(state)
    }
}

/// A refinement that is asked for, and so is not idle.
fn find<'a>(
    sessions: &'a mut HashMap<String, Session>,
    id: &str,
) -> Result<&'a mut Session, Problem> {
    let session = sessions.get_mut(id).ok_or_else(|| unknown(id))?;
    session.used = Instant::now();
    Ok(session)
}

fn unknown(id: &str) -> Problem {
    Problem::new(
        StatusCode::NOT_FOUND,
        format!(
            "there is no refinement {id:?}: it was released, it expired, or it never was; begin one \
             with POST /v1/refine"
        ),
    )
}
