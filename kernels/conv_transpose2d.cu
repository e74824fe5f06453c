// conv_transpose2d: contract and formula in src/ops/conv_transpose2d/mod.rs.
//
//   x (B, M, OH, OW)    w (M, C, KH, KW)    bias (C)    y (B, C, H, W)    letters of the convolution of y
//   fwd spreads x by w, bwd_dx correlates dy with w, bwd_dw takes products of x with dy, in parts of
//   the batch that `sum` adds; so does bwd_db with sums of dy. common/conv.cuh has all of it. _t64
//   and _t16: rows of a block's tile, for many and for few channels (or maps).
#include "common/conv.cuh"

CONV_KERNELS(conv_transpose2d, bwd_dx, fwd)
