//! The one thread that owns the models. Requests come through a bounded queue, one segment at a
//! time, so that many clients take turns; one task is solved at a time, when nothing else waits.

use std::sync::Arc;
use std::time::Instant;

use axum::http::StatusCode;
use tokio::sync::{mpsc, oneshot};

use super::Options;
use super::ask::{Answer, Ask};
use super::job::Part;
use super::metrics::{Ended, Metrics};
use super::problem::Problem;
use super::refinements::Refinements;
use super::served::{About, Served};
use super::solves::{Solves, Wish};
use super::tasks::Tasks;
use crate::data::Task;
use crate::solve::{self, Progress, Solver, Stop};
use crate::{Error, Result};

enum Order {
    Ask(Ask, oneshot::Sender<Answer>),
    /// Release what is idle; see whether there is a task to solve.
    Wake,
}

/// The way to the engine.
#[derive(Clone)]
pub struct Handle {
    orders: mpsc::Sender<Order>,
    pub about: Arc<About>,
    /// Where the data set is there.
    pub tasks: Option<Arc<Tasks>>,
    /// Where tasks are solved.
    pub solves: Option<Arc<Solves>>,
    canvas: usize,
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

    pub fn wake(&self) {
        // A full queue wakes it by its own requests.
        let _ = self.orders.try_send(Order::Wake);
    }

    /// What keeps the model from being asked about a task.
    pub fn check(&self, task: &Task) -> Result<(), String> {
        solve::check(task, self.canvas)
    }

    /// Nobody answers any more.
    pub fn has_ended(&self) -> bool {
        self.orders.is_closed()
    }

    /// Requests that wait for the model.
    pub fn queued(&self) -> usize {
        self.orders.max_capacity() - self.orders.capacity()
    }
}

pub fn gone() -> Problem {
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
            let mut served = load()?;
            let about = Arc::new(served.about(options.solve_budget));
            let solver = served.solver.take().map(|solver| {
                (solver, Arc::new(Solves::new(options.max_solves, options.session_idle)))
            });
            let ready = Ready {
                about,
                tasks: served.data.clone().map(Tasks::new).transpose()?.map(Arc::new),
                solves: solver.as_ref().map(|(_, solves)| solves.clone()),
                canvas: served.canvas,
            };
            Ok((Refinements::new(served, options.clone(), metrics.clone())?, solver, ready))
        };
        match begin() {
            Ok((refinements, solver, ready)) => {
                let _ = loaded.send(Ok(ready));
                run(refinements, solver, queue, &options, &metrics);
            }
            Err(e) => drop(loaded.send(Err(e))),
        }
    };
    let thread = std::thread::Builder::new().name("engine".into());
    thread.spawn(body).map_err(Error::io("engine", "start the thread"))?;
    let Ready { about, tasks, solves, canvas } =
        ready.recv().map_err(|_| Error::invalid("the engine did not start"))??;
    Ok(Handle { orders, about, tasks, solves, canvas })
}

/// What handlers need of what was loaded.
struct Ready {
    about: Arc<About>,
    tasks: Option<Arc<Tasks>>,
    solves: Option<Arc<Solves>>,
    canvas: usize,
}

/// Runs until every handle is gone. A task that is solved lets the requests that wait go first
/// whenever it tells how far it is: after each batch of answers and each step of fine-tuning.
fn run(
    mut refinements: Refinements,
    mut solver: Option<(Solver, Arc<Solves>)>,
    mut queue: mpsc::Receiver<Order>,
    options: &Options,
    metrics: &Metrics,
) {
    let usual = solve::Options::default();
    while let Some(order) = queue.blocking_recv() {
        take(&mut refinements, order);
        let Some((solver, solves)) = &mut solver else { continue };
        while let Some((id, task, budget)) = solves.begin() {
            let watch = |progress: Progress| {
                for _ in 0..options.max_queue {
                    let Ok(order) = queue.try_recv() else { break };
                    take(&mut refinements, order);
                }
                match solves.tell(&id, part(progress)) {
                    Wish::GoOn => None,
                    Wish::Finish => Some(Stop::Answer),
                    Wish::Abandon => Some(Stop::Abandon),
                }
            };
            let start = Instant::now();
            let mut how = usual.clone();
            how.budget = budget;
            let result = solver.solve(&task, &how, watch);
            let ended = match &result {
                Ok(_) => Ended::Done,
                Err(Error::Interrupted(_)) => Ended::Cancelled,
                Err(_) => Ended::Failed,
            };
            metrics.solve(ended, start.elapsed());
            solves.end(&id, result.map_err(|e| e.to_string()));
        }
    }
}

fn take(refinements: &mut Refinements, order: Order) {
    refinements.sweep();
    if let Order::Ask(ask, reply) = order
        && !reply.is_closed()
    {
        let answer = refinements.answer(ask);
        let _ = reply.send(answer);
    }
}

fn part(progress: Progress) -> Part {
    match progress {
        Progress::Starting { asked, of } => Part { phase: "comparing", done: asked, of },
        Progress::Fitting { step, of } => {
            Part { phase: "fine-tuning", done: step as usize, of: of as usize }
        }
        Progress::HoldingOut { step, of, .. } => {
            Part { phase: "holding out examples", done: step as usize, of: of as usize }
        }
        Progress::Answering { votes, of } => Part { phase: "answering", done: votes, of },
        Progress::Checking { votes, of } => Part { phase: "checking", done: votes, of },
    }
}
