//! Building blocks between ops and models: parameters, initialisation, transformer blocks.

pub mod block;
pub mod encoder;
pub mod init;
pub mod level;
pub mod params;
pub mod rope;
pub mod running;
pub mod sinusoids;
