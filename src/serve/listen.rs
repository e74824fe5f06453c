//! Connections, their limits, and the end: the first SIGINT or SIGTERM stops accepting and lets
//! requests finish within `--grace`, the second ends at once.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::time::{interval, sleep};
use tokio_io_timeout::TimeoutStream;

use super::Options;
use super::api::router;
use super::app::App;
use super::metrics::Metrics;
use super::served::Served;
use super::{engine, openapi};
use crate::io::say::say;
use crate::{Error, Result};

const SWEEP: Duration = Duration::from_secs(1);

/// Load the model and serve it until a signal. `ready` is told the address.
pub fn serve(
    load: impl FnOnce() -> Result<Served> + Send + 'static,
    options: Options,
    ready: impl FnOnce(SocketAddr),
) -> Result<()> {
    let metrics = Arc::new(Metrics::default());
    let engine = engine::start(load, &options, metrics.clone())?;
    let stopping = Arc::new(AtomicBool::new(false));
    let (options, document) = (Arc::new(options), Arc::new(openapi::document()));
    let app = App { engine, metrics, stopping, options, document };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(Error::io("server", "start"))?.block_on(run(app, ready))
}

async fn run(app: App, ready: impl FnOnce(SocketAddr)) -> Result<()> {
    let options = app.options.clone();
    let asked = SocketAddr::new(options.host, options.port);
    let io = |doing| Error::io(asked.to_string(), doing);
    let listener =
        TcpListener::bind(asked).await.map_err(io("listen (another --port may be free)"))?;
    ready(listener.local_addr().map_err(io("listen"))?);

    let mut signals = Signals::new()?;
    let slots = Arc::new(Semaphore::new(options.max_connections));
    let graceful = GracefulShutdown::new();
    let service = router(app.clone());
    let mut sweep = interval(SWEEP);
    let accept = async || {
        // The semaphore is never closed.
        let slot = slots.clone().acquire_owned().await.ok();
        (listener.accept().await, slot)
    };
    loop {
        let (accepted, slot) = tokio::select! {
            accepted = accept() => accepted,
            _ = sweep.tick() => {
                app.engine.wake();
                continue;
            }
            _ = signals.next() => break,
        };
        let Ok((stream, _)) = accepted else {
            // Out of file descriptors, mostly: some come back as connections end.
            sleep(Duration::from_millis(50)).await;
            continue;
        };
        // Reading has limits elsewhere: hyper's on headers, the guard's on bodies.
        let mut stream = TimeoutStream::new(stream);
        stream.set_write_timeout(Some(options.timeout));
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(options.timeout)
            .serve_connection(
                TokioIo::new(Box::pin(stream)),
                TowerToHyperService::new(service.clone()),
            );
        let connection = graceful.watch(connection);
        tokio::spawn(async move {
            // A client that breaks off is no news.
            let _ = connection.await;
            drop(slot);
        });
    }
    app.stopping.store(true, Ordering::Relaxed);
    if let Some(solves) = &app.engine.solves {
        solves.stop();
    }
    drop(listener);
    let open = options.max_connections - slots.available_permits();
    say!(
        "stopping: {open} open connections get {} s to finish; once more to stop at once",
        options.grace.as_secs_f64()
    );
    tokio::select! {
        () = graceful.shutdown() => Ok(()),
        _ = sleep(options.grace) => Err(Error::invalid(
            "requests were under way when --grace ran out; they were cut off",
        )),
        _ = signals.next() => Err(Error::Interrupted("stopped at once".into())),
    }
}

#[cfg(unix)]
struct Signals {
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
}

#[cfg(unix)]
impl Signals {
    fn new() -> Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        let take = |kind| signal(kind).map_err(Error::io("signals", "handle"));
        let (interrupt, terminate) =
            (take(SignalKind::interrupt())?, take(SignalKind::terminate())?);
        Ok(Self { interrupt, terminate })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => (),
            _ = self.terminate.recv() => (),
        }
    }
}

#[cfg(not(unix))]
struct Signals;

#[cfg(not(unix))]
impl Signals {
    fn new() -> Result<Self> {
        Ok(Self)
    }

    async fn next(&mut self) {
        let _ = tokio::signal::ctrl_c().await;
    }
}
