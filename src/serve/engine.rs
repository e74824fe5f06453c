//! The one thread that owns the model and all refinements. Requests come through a bounded queue, one
//! segment at a time, so that many clients take turns.

use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::sync::Arc;
use std::time::Instant;

use axum::http::StatusCode;
use serde_json::Value;
use tokio::sync::{mpsc, oneshot};

use super::Options;
use super::metrics::Metrics;
use super::problem::Problem;
use super::session::{Session, State};
use super::tasks::Tasks;
use crate::Result;
use crate::data::canvas::{Placement, encode};
use crate::data::vocab::BLANK_ID;
use crate::data::{DataSet, Grid};
use crate::models::{Model, Workspace};

/// What is served. Stays on the thread that made it.
pub struct Served {
    /// Made for batches of 1.
    pub model: Box<dyn Model>,
    pub canvas: usize,
    /// Names of puzzles, where the data set is there.
    pub data: Option<Arc<DataSet>>,
    /// Answer of `GET /v1/model`.
    pub about: Value,
}

/// A puzzle as a client names it.
pub enum Puzzle {
    None,
    Id(u32),
    Name(String),
}

pub enum Ask {
    Init { input: Grid, puzzle: Puzzle },
    Step(String),
    State(String),
    Halt(String),
}

type Answer = Result<State, Problem>;

enum Order {
    Ask(Ask, oneshot::Sender<Answer>),
    /// Release what is idle.
    Sweep,
}

/// The way to the engine.
#[derive(Clone)]
pub struct Handle {
    orders: mpsc::Sender<Order>,
    pub about: Arc<Value>,
    /// Where the data set is there.
    pub tasks: Option<Arc<Tasks>>,
}

impl Handle {
    /// The caller may go away meanwhile: what has not begun then is not done.
    pub async fn ask(&self, ask: Ask) -> Answer {
        let (reply, answer) = oneshot::channel();
        self.orders.try_send(Order::Ask(ask, reply)).map_err(|e| match e {
            mpsc::error::TrySendError::Full(_) => Problem::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "the queue is full; ask again after the time in Retry-After",
            )
            .retry_after(1),
            mpsc::error::TrySendError::Closed(_) => gone(),
        })?;
        answer.await.unwrap_or_else(|_| Err(gone()))
    }

    pub fn sweep(&self) {
        // A full queue is swept by its own requests.
        let _ = self.orders.try_send(Order::Sweep);
    }

    /// Requests that wait for the model.
    pub fn queued(&self) -> usize {
        self.orders.max_capacity() - self.orders.capacity()
    }
}

fn gone() -> Problem {
    Problem::new(
        StatusCode::INTERNAL_SERVER_ERROR,
        "the engine has stopped; see the server's output",
    )
}

/// Start the thread; returns when the model is loaded. It ends when every handle is gone.
pub fn start(
    load: impl FnOnce() -> Result<Served> + Send + 'static,
    options: &Options,
    metrics: Arc<Metrics>,
) -> Result<Handle> {
    let (orders, queue) = mpsc::channel(options.max_queue);
    let (loaded, ready) = std::sync::mpsc::channel();
    let options = options.clone();
    let body = move || {
        let begin = || {
            let served = load()?;
            let tasks = served.data.clone().map(Tasks::new).transpose()?;
            Ok((Engine::new(served, options, metrics)?, tasks))
        };
        match begin() {
            Ok((engine, tasks)) => {
                let _ = loaded.send(Ok((engine.served.about.clone(), tasks)));
                engine.run(queue);
            }
            Err(e) => drop(loaded.send(Err(e))),
        }
    };
    let thread = std::thread::Builder::new().name("engine".into());
    thread.spawn(body).map_err(crate::Error::io("engine", "start the thread"))?;
    let (about, tasks) =
        ready.recv().map_err(|_| crate::Error::invalid("the engine did not start"))??;
    Ok(Handle { orders, about: Arc::new(about), tasks: tasks.map(Arc::new) })
}

struct Engine {
    served: Served,
    space: Workspace,
    sessions: HashMap<String, Session>,
    /// Makes identifiers that nobody guesses.
    secret: RandomState,
    made: u64,
    options: Options,
    metrics: Arc<Metrics>,
}

impl Engine {
    fn new(served: Served, options: Options, metrics: Arc<Metrics>) -> Result<Self> {
        let space = Workspace::new(&*served.model, 1)?;
        let (sessions, secret) = (HashMap::new(), RandomState::new());
        Ok(Self { served, space, sessions, secret, made: 0, options, metrics })
    }

    fn run(mut self, mut queue: mpsc::Receiver<Order>) {
        while let Some(order) = queue.blocking_recv() {
            self.sessions.retain(|_, s| s.used.elapsed() < self.options.session_idle);
            if let Order::Ask(ask, reply) = order
                && !reply.is_closed()
            {
                let answer = self.answer(ask);
                let _ = reply.send(answer);
            }
            self.metrics.set_sessions(self.sessions.len());
        }
    }

    fn answer(&mut self, ask: Ask) -> Answer {
        match ask {
            Ask::Init { input, puzzle } => self.init(&input, puzzle),
            Ask::Step(id) => self.step(&id),
            Ask::State(id) => find(&mut self.sessions, &id).map(|s| s.state.clone()),
            Ask::Halt(id) => match self.sessions.remove(&id) {
                Some(session) => Ok(session.state),
                None => Err(unknown(&id)),
            },
        }
    }

    fn init(&mut self, input: &Grid, puzzle: Puzzle) -> Answer {
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
        let session = Session::new(&*self.served.model, id.clone(), &inputs, puzzle_id)?;
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
