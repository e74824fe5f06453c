//! Solves an ARC task with a run of `hrm train`:
//! `cargo run --release --example 03-solve-a-task -- RUN TASK.json`.

use std::path::Path;

use hrm::backend::Device;
use hrm::data::task::Task;
use hrm::run::trained::Trained;
use hrm::solve::{Options, Solver};

fn main() -> hrm::Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [run, file] = &args[..] else {
        return Err(hrm::Error::invalid("usage: 03-solve-a-task RUN TASK.json"));
    };
    let task = Task::read(Path::new(file))?;
    let trained = Trained::open(Path::new(run))?;
    let data = trained.data(None)?;
    let mut solver = Solver::new(trained, Some(data), &Device::cpu())?;
    let outcome = solver.solve(&task, &Options::default(), |_| None)?;
    for (i, test) in outcome.tests.iter().enumerate() {
        for attempt in &test.attempts {
            println!(
                "test {i}: {} of {} votes: {:?}",
                attempt.votes, test.votes_cast, attempt.grid
            );
        }
    }
    Ok(())
}
