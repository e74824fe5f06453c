//! PTX text to a program: lexer, parser, decoder. What is not modelled is refused here, by line.

mod allocate;
mod decode;
mod lexer;
mod liveness;
mod module;
mod parser;
pub mod program;
mod reach;
mod syntax;
pub mod types;

pub use module::{Kernel, Module, Param, load};

/// Why a module was not loaded: the first thing in it that is not modelled, or not PTX.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("ptx line {line}: {reason}: {text}")]
pub struct Refusal {
    pub line: u32,
    pub reason: String,
    /// The instruction or directive.
    pub text: String,
}
