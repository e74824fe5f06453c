//! `hrm serve`: a checkpoint behind HTTP.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use clap::Args;

use super::common::{Compute, device, start_workers};
use super::rollouts::RolloutArgs;
use crate::data::vocab::{COLOURS, FIRST_COLOUR};
use crate::data::{DataSet, Kind};
use crate::eval::run::check_data;
use crate::io::say::say;
use crate::io::units::duration;
use crate::run::trained::Trained;
use crate::serve::{Options, Served, serve};
use crate::solve::Solver;
use crate::{Error, Result};

/// Serve an ARC checkpoint over HTTP: a page to draw tasks on, tasks solved, iterative refinement
///
/// The address that is printed, opened in a browser, is a page to draw a task on, to solve it and
/// to watch the answer evolve. For programs: POST /v1/solve takes a task file and answers where to
/// ask for its progress and its answers, as hrm predict gives them; one is solved at a time, and
/// between two batches of answers or steps of fine-tuning the refinements that wait go first. POST
/// /v1/refine begins a refinement (init), POST /v1/refine/ID/step runs a segment, GET
/// /v1/refine/ID/energy is 1 - sigmoid(q_halt), DELETE /v1/refine/ID ends it (halt). /docs and
/// /openapi.json describe everything; /healthz, /readyz and /metrics are for operators. There is no
/// authentication, so it listens on this machine only unless --host says otherwise. SIGINT or
/// SIGTERM: requests under way finish within --grace (a task that is being waited for with the
/// votes that there are) and the exit code is 0; it is 1 if some were cut off, 130 after a second
/// signal.
#[derive(Debug, Args)]
#[command(after_long_help = concat!(
    "Examples:\n",
    "  hrm serve runs/arc-small-1\n",
    "  hrm serve best.safetensors --port 0 --max-sessions 4   any free port; it is printed\n",
    "  curl -s localhost:8080/v1/refine -H 'Content-Type: application/json' \\\n",
    "       -d '{\"input\": [[0,7],[7,0]]}'\n",
    "  curl -s -X POST localhost:8080/v1/refine/ID/step\n",
    "  curl -s -X DELETE localhost:8080/v1/refine/ID\n",
    "  jq '.wait_s = 20' task.json | curl -s localhost:8080/v1/solve -d @- \\\n",
    "       -H 'Content-Type: application/json'   200 with the answers, or 202 with where to ask on",
))]
pub struct Serve {
    /// Run folder (its best checkpoint is taken, else the final, else the newest) or checkpoint
    /// file
    #[arg(value_name = "RUN | CKPT")]
    pub path: PathBuf,
    /// Data set that knows the puzzles' names; default: the one of the run, if it is there
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// Address to listen on
    #[arg(long, value_name = "IP", default_value = "127.0.0.1")]
    pub host: IpAddr,
    /// Port to listen on; 0: any free one
    #[arg(long, value_name = "N", default_value_t = 8080)]
    pub port: u16,
    /// Largest body of a request in bytes
    #[arg(long, value_name = "BYTES", default_value_t = 1 << 20)]
    pub max_body: usize,
    /// Seconds for a request's headers, for its body, for its answer, and for the client to take
    /// some of that
    #[arg(long, value_name = "S", default_value = "30", value_parser = duration)]
    pub timeout: Duration,
    /// Connections at once; more wait to be accepted
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = positive)]
    pub max_connections: usize,
    /// Requests that wait for the model; more are refused with 503
    #[arg(long, value_name = "N", default_value_t = 32, value_parser = positive)]
    pub max_queue: usize,
    /// Refinements at once; more are refused with 429
    #[arg(long, value_name = "N", default_value_t = 16, value_parser = positive)]
    pub max_sessions: usize,
    /// Seconds after which a refinement or a solved task that nobody asks for is released
    #[arg(long, value_name = "S", default_value = "300", value_parser = duration)]
    pub session_idle: Duration,
    /// Tasks that wait or are being solved; more are refused with 429. 0: none are solved, which
    /// takes less memory
    #[arg(long, value_name = "N", default_value_t = 4)]
    pub max_solves: usize,
    /// Seconds that solving one task may take; a request may ask for less
    #[arg(long, value_name = "S", default_value = "60", value_parser = duration)]
    pub solve_budget: Duration,
    /// Seconds that requests under way get after a signal
    #[arg(long, value_name = "S", default_value = "10", value_parser = duration)]
    pub grace: Duration,
    #[command(flatten)]
    pub rollouts: RolloutArgs,
    #[command(flatten)]
    pub compute: Compute,
}

fn positive(text: &str) -> Result<usize, String> {
    let wrong = || "expected a number from 1 to 65536".to_owned();
    let n: usize = text.parse().map_err(|_| wrong())?;
    if (1..=1 << 16).contains(&n) { Ok(n) } else { Err(wrong()) }
}

pub fn run(args: Serve) -> Result<()> {
    start_workers(args.compute.threads)?;
    let options = Options {
        host: args.host,
        port: args.port,
        max_body: args.max_body,
        timeout: args.timeout,
        max_connections: args.max_connections,
        max_queue: args.max_queue,
        max_sessions: args.max_sessions,
        session_idle: args.session_idle,
        max_solves: args.max_solves,
        solve_budget: args.solve_budget,
        grace: args.grace,
    };
    if !args.host.is_loopback() {
        say!(
            "warning: {}: whoever reaches this address can use it; there is no authentication",
            args.host
        );
    }
    let (path, data, device_name) = (args.path, args.data, args.compute.device);
    let solves = options.max_solves > 0;
    let rollouts = args.rollouts;
    let load = move || load(&path, data.as_deref(), &device_name, solves.then_some(&rollouts));
    serve(load, options, |address| outln!("http://{address}"))
}

/// The model for batches of one, and its data set if that is there. Tasks are solved too if it is
/// said how.
fn load(
    path: &Path,
    data: Option<&Path>,
    device_name: &str,
    solves: Option<&RolloutArgs>,
) -> Result<Served> {
    let (device, _) = device(device_name)?;
    let trained = Trained::open(path)?;
    let mut shape = trained.shape()?;
    shape.sizes.batch_size = 1;
    let (dims, canvas) = (shape.dims(), trained.plan.config.data.canvas);
    if dims.vocab_size != FIRST_COLOUR as usize + COLOURS {
        return Err(Error::invalid(format!(
            "{}: hrm serve takes ARC models; this one was trained on boards with {} tokens",
            trained.reader.path().display(),
            dims.vocab_size
        )));
    }
    let data = match data {
        Some(dir) => Some(trained.data(Some(dir))?),
        None => {
            trained.data(None).inspect_err(|e| say!("warning: puzzles cannot be named: {e}")).ok()
        }
    };
    if let Some(data) = &data {
        check_data(&dims, Some(trained.trained_on()), data)?;
    }
    let model = trained.load_as(&shape, &device)?;
    say!("{}: step {}", trained.reader.path().display(), trained.step());
    let (preset, step) = (trained.plan.config.preset.clone(), trained.step());
    let layout = trained.plan.config.data.layout;
    let trained_on = trained.trained_on().to_owned();
    let again = |data: &DataSet| DataSet::open(data.dir());
    let solver = match solves {
        Some(rollouts) => {
            let data = data.as_ref().map(again).transpose()?;
            let solver = Solver::new(trained, data, &device)?;
            Some(solver.with_halt(rollouts.halt(dims, Kind::Arc))?)
        }
        None => None,
    };
    let data = data.map(Arc::new);
    Ok(Served { model, canvas, layout, data, preset, step, trained_on, solver })
}
