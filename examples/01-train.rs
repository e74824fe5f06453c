//! Trains a small model on generated 4 x 4 Sudoku, in seconds:
//! `cargo run --example 01-train -- DIR`. The run lies in `DIR/run`, as one of `hrm train` would.

use std::path::Path;
use std::sync::Arc;

use hrm::backend::Device;
use hrm::config::Settings;
use hrm::data::DataSet;
use hrm::data::builders::sudoku::{self, SudokuOptions};
use hrm::io::progress::Progress;
use hrm::run::{folder::RunFolder, log::Log, plan::Plan};
use hrm::train::{run, setup, tokens::TokenLearner};

fn main() -> hrm::Result<()> {
    let dir = std::env::args().nth(1).unwrap_or("example".into());
    let dir = std::path::absolute(&dir).map_err(hrm::Error::io(Path::new(&dir), "resolve"))?;

    let boards = dir.join("boards");
    if !boards.exists() {
        let options = SudokuOptions { size: 4, train: 40, test: 10, ..SudokuOptions::default() };
        sudoku::generate(&boards, &options, Progress::Quiet)?;
    }
    let data = Arc::new(DataSet::open(&boards)?);

    let settings = ["model.hidden_size=32", "model.num_heads=2", "model.puzzle_emb_ndim=32"];
    let length = ["train.max_steps=20", "train.batch_size=8"];
    let settings: Vec<String> = settings.iter().chain(&length).map(|s| s.to_string()).collect();
    let config = Settings::load(Some("sudoku-mini"), None, &settings)?;

    let device = Device::cpu();
    let mut plan = Plan {
        config,
        data_dir: boards,
        device: device.name(),
        threads: 1,
        products: device.products(),
        init: None,
    };
    let folder = RunFolder::choose(&dir, Some(&dir.join("run")), false, &mut plan, &[])?;
    let mut log = Log::open(&folder.log())?;
    let shape = setup::shape(&plan.config, &data)?;
    let learner = TokenLearner::new(&plan, &folder, data, &shape, &device, &mut log)?;
    let outcome = run::run(&plan, &folder, learner, &mut log)?;
    println!("step {}: {}", outcome.step, outcome.checkpoint.display());
    Ok(())
}
