//! What stands before the name of a tensor that only training needs, and a dot after it.

pub const EXP_AVG: &str = "exp_avg";
pub const EXP_AVG_SQ: &str = "exp_avg_sq";
/// The exponential moving average of a weight.
pub const EMA: &str = "ema";
/// What a micro-batch carries from step to step.
pub const CARRY: &str = "carry";

/// Whether a tensor is no part of the model.
pub fn is_of_training(name: &str) -> bool {
    let role = name.split_once('.').map(|(role, _)| role);
    role.is_some_and(|role| [EXP_AVG, EXP_AVG_SQ, EMA, CARRY].contains(&role))
}
