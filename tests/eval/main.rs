//! Evaluation from the outside: crafted answers with known scores, the model runner, refusals.

mod answer;
mod cli;
mod fixture;
mod hidden;
mod images;
mod pass;
mod report;
mod rollouts;
mod run;
mod score;
mod vote;
mod windows;
