//! What a kernel waits for.

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    Tensor,
    Issue,
    Dram,
    Launch,
}

impl Limit {
    pub fn name(self) -> &'static str {
        match self {
            Limit::Tensor => "tensor cores",
            Limit::Issue => "issue",
            Limit::Dram => "DRAM",
            Limit::Launch => "launch",
        }
    }
}
