// conv2d: contract and formula in src/ops/conv2d/mod.rs.
//
//   x (B, C, H, W)    w (M, C, KH, KW)    bias (M)    y (B, M, OH, OW)
//   fwd correlates x with w, bwd_dx spreads dy by w, bwd_dw takes products of dy with x, in parts of
//   the batch that `sum` adds; so does bwd_db with sums of dy. common/conv.cuh has all of it. _t64
//   and _t16: rows of a block's tile, for many and for few maps (or channels).
#include "common/conv.cuh"

CONV_KERNELS(conv2d, fwd, bwd_dx)
