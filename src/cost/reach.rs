//! The share of its bound that a kernel may be expected to reach: what was published of kernels of
//! its kind, in `reach.json` with the sources. No card has told us of ours.

use std::sync::LazyLock;

use serde::Deserialize;

use super::limit::Limit;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Reach {
    /// What names begin with; the longest that fits a kernel counts.
    kernels: String,
    /// Name of a [`Limit`].
    limit: String,
    share: f64,
    /// Where the share is from.
    source: String,
}

/// Printed beside each expectation.
pub const REACH: &str = "expected: each kernel at the share of its bound that others of its kind \
    were published to reach, or that reading it suggests (src/cost/reach.json has each share and its \
    source)";

static ALL: LazyLock<Vec<Reach>> = LazyLock::new(|| {
    serde_json::from_str(include_str!("reach.json")).expect("reach.json is a list of shares")
});

/// Share of its bound that a kernel which waits for `limit` reaches, and the source of it.
pub fn expected_frac(kernel: &str, limit: Limit) -> (f64, &'static str) {
    let fits =
        |reach: &&Reach| reach.limit == limit.name() && kernel.starts_with(reach.kernels.as_str());
    let nearest = ALL.iter().filter(fits).max_by_key(|reach| reach.kernels.len());
    nearest.map_or((1.0, ""), |reach| (reach.share, &reach.source))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_name_counts_and_every_limit_has_a_share() {
        let share = |kernel, limit| expected_frac(kernel, limit).0;
        assert_eq!(share("matmul_swiglu_bwd_bf16", Limit::Dram), 0.64);
        assert_eq!(share("matmul_swiglu_bwd_bf16", Limit::Tensor), 0.86);
        assert_eq!(share("matmul_fwd_bf16_t128", Limit::Dram), 0.84);
        assert_eq!(share("attention_fwd_hd64", Limit::Tensor), 0.80);
        assert_eq!(share("rms_norm_fwd_bf16", Limit::Dram), 0.84);
        assert_eq!(share("x", Limit::Issue), 0.80);
        assert_eq!(share("x", Limit::Launch), 1.0);
        for reach in ALL.iter() {
            let known = [Limit::Tensor, Limit::Issue, Limit::Dram].map(Limit::name);
            assert!(known.contains(&reach.limit.as_str()), "{reach:?}");
            assert!(reach.share > 0.0 && reach.share <= 1.0 && !reach.source.is_empty());
        }
    }
}
