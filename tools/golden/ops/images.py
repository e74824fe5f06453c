"""Pictures, and the latents that they are coded by."""

import torch
from torch.nn import functional as F

from .philox import NOISE, drawn, unit, words

# What is normalised may come no nearer to the kink of a ReLU.
CLOSE = 1e-3


def batch_norm(c):
    for label, training, relu in (
        ("training", True, False), ("training_relu", True, True), ("evaluation", False, True),
    ):
        ch = c.size(3, 1, 6)
        shape = c.size(5, 2, 7), ch, c.size(3, 2, 9), c.size(7, 2, 9)
        mean, var = c.normal(ch, scale=0.3), 0.5 + c.draw.uniform(ch)
        seen = {}

        def normalised(x, gain, bias):
            # With a momentum of 1 the running statistics are what the batch says.
            told = [mean.double(), var.double()]
            y = F.batch_norm(x, *told, gain, bias, training, 1.0, 1e-5)
            if training:
                seen.update(zip(("seen_mean", "seen_var"), told))
            return y

        def f(*x):
            return F.relu(normalised(*x)) if relu else normalised(*x)

        while True:
            inputs = {"x": c.normal(*shape) + 0.7, "gain": c.normal(ch), "bias": c.normal(ch)}
            if normalised(*(x.double() for x in inputs.values())).abs().min() > CLOSE:
                break
        c.gradient(f"batch_norm/{label}", f, inputs, seen=seen, training=training, relu=relu,
                   constants={} if training else {"mean": mean, "var": var})


def convolutions(c):
    for label, stride, padding, biased in (("bias", 1, 1, True), ("strided", 2, 2, False)):
        b, ch, maps = c.size(2, 1, 4), c.size(3, 1, 9), c.size(5, 1, 9)
        kh, kw = c.size(3, 1, 4), c.size(2, 1, 4)
        h, w = c.size(7, kh, 11), c.size(6, kw, 11)
        how = {"stride": stride, "padding": padding}
        x, k = c.normal(b, ch, h, w), c.normal(maps, ch, kh, kw, scale=0.3)
        bias = {"bias": c.normal(maps)} if biased else {}
        c.gradient(f"conv2d/{label}", lambda x, w, b=None: F.conv2d(x, w, b, **how),
                   {"x": x, "w": k} | bias, **how)
        # Cells of the padding may not be all that is left.
        kh, kw = max(kh, 2 * padding - stride + 2), max(kw, 2 * padding - stride + 2)
        k, more = c.normal(ch, maps, kh, kw, scale=0.3), stride - 1
        c.gradient(
            f"conv_transpose2d/{label}",
            lambda x, w, b=None: F.conv_transpose2d(x, w, b, output_padding=more, **how),
            {"x": x, "w": k} | bias, output_padding=more, **how,
        )
        side = c.size(3, 1, min(h, w) + 2 * padding)
        k, bias = c.normal(ch, 1, side, side, scale=0.3), c.normal(ch)
        c.gradient(f"depthwise_conv2d/{label}", lambda x, w, b: F.conv2d(x, w, b, groups=ch, **how),
                   {"x": x, "w": k, "bias": bias}, **how)


def max_pool2d(c):
    x = c.normal(c.size(2, 1, 4), c.size(3, 1, 9), c.size(7, 2, 19), c.size(5, 2, 19))
    c.gradient("max_pool2d/f32", lambda x: F.max_pool2d(x, 2), {"x": x})


def gauss(c):
    """The reparametrised draw by its formula (Kingma and Welling), from noise of Box and Muller."""
    shape = c.size(3, 1, 9), c.size(7, 1, 40)
    mu, log_var, eps = c.normal(*shape), c.normal(*shape), c.normal(*shape)
    standard = torch.distributions.Normal(torch.zeros(()).double(), torch.ones(()).double())
    c.gradient("gauss_sample/f32", lambda mu, v: mu + eps.double() * (v / 2).exp(),
               {"mu": mu, "log_var": log_var}, constants={"eps": eps})
    c.gradient(
        "kl_gauss/f32",
        lambda mu, v: torch.distributions.kl_divergence(
            torch.distributions.Normal(mu, (v / 2).exp()), standard).mean().view(1),
        {"mu": mu, "log_var": log_var},
    )
    n, site = c.size(39, 1, 200), 2
    c.begin("gauss_sample/draw", "gauss_sample::draw", constants={"draw": drawn()}, site=site)
    c.expect("gauss_sample/draw", y=normals(n, site))


def normals(n, site=0):
    """The first standard normal numbers of a stream, by Box and Muller."""
    radius, angle = words(-(-n // 4), NOISE, site).view(-1, 2).T
    # Angles count from the middle of the first quadrant.
    turn = 2 * torch.pi * (unit(angle) - 1 / 8)
    length = (-2 * (unit(radius) + 2**-24).log()).sqrt()
    return torch.stack((length * turn.cos(), length * turn.sin()), -1).flatten()[:n]


def state_noise(c):
    """Slots with the same draw and deviations of their own, one of them 0."""
    b, t, width = c.size(3, 2, 5), c.size(5, 1, 20), c.size(7, 1, 30)
    z, sigma = c.normal(b, t, width), c.draw.uniform(b)
    sigma[1] = 0
    draws = drawn().repeat(b, 1)
    c.begin("state_noise/f32", "state_noise::add", constants={"z": z, "draws": draws, "sigma": sigma})
    c.expect("state_noise/f32", y=z.double() + sigma.double().view(-1, 1, 1) * normals(t * width).view(t, width))


CASES = (batch_norm, convolutions, max_pool2d, gauss, state_noise)
