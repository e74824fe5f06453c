//! Scores a run on its test split: `cargo run --example 02-evaluate -- RUN`.

use std::path::Path;

use hrm::backend::Device;
use hrm::eval::job::Job;
use hrm::run::trained::Trained;

fn main() -> hrm::Result<()> {
    let run = std::env::args().nth(1).unwrap_or("example/run".into());
    let trained = Trained::open(Path::new(&run))?;
    let data = trained.data(None)?;
    let output = trained.run_dir.join("scores");
    let report = Job::new(&data, "test", &output).run(&trained, &Device::cpu())?;
    print!("{}", report.table());
    Ok(())
}
