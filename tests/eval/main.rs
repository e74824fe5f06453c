//! Evaluation from the outside: crafted answers with known scores, the model runner, refusals.

mod fixture;
mod report;
mod run;
mod score;
