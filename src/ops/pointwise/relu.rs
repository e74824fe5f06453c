//! y = max(0, x): the activation of a convolution that no normalisation follows. NaN stays NaN.
//!
//! dx = dy where y > 0, else 0. Reference: `torch.nn.functional.relu`.

use super::pointwise;

pointwise!(
    "relu",
    forward | x | if x < 0.0 { 0.0 } else { x },
    backward | y,
    dy | if y > 0.0 { dy } else { 0.0 }
);
