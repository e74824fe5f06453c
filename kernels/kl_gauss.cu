// kl_gauss: contract and formula in src/ops/kl_gauss/mod.rs. mu, log_var (n), y, dy (1) f32.
#include "common/mean.cuh"

extern "C" __global__ void __launch_bounds__(BLOCK)
    kl_gauss_part(float* parts, const float* mu, const float* log_var, u32 n) {
    mean_part(parts, n, [&](u32 i) {
        return 1.0f + log_var[i] - mu[i] * mu[i] - expf(log_var[i]);
    });
}

extern "C" __global__ void __launch_bounds__(BLOCK)
    kl_gauss_mean(float* y, const float* parts, u32 count, u32 n) {
    mean_of_parts(y, parts, count, n, -0.5f);
}

// Either gradient may be null. scale = 1 / n.
extern "C" __global__ void __launch_bounds__(BLOCK)
    kl_gauss_bwd(float* dmu, float* dlog_var, const float* mu, const float* log_var,
                 const float* dy, u32 n, float scale, u32 add_mu, u32 add_log_var) {
    const float factor = scale * dy[0];
    each_piece<1>(n, false, [&](auto, u32 i) {
        if (dmu) dmu[i] = (add_mu ? dmu[i] : 0.0f) + factor * mu[i];
        if (dlog_var) {
            const float d = factor * 0.5f * (expf(log_var[i]) - 1.0f);
            dlog_var[i] = (add_log_var ? dlog_var[i] : 0.0f) + d;
        }
    });
}
