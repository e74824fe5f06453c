"""The cases of a set as they are made: inputs, what PyTorch answers, the gradients."""

import functools

from vectors import Vectors

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

F32, BF16 = torch.float32, torch.bfloat16


class Cases:
    """The cases of one set; sizes are drawn, or fixed and small."""

    def __init__(self, seed, small):
        self.seed, self.small, self.draw = seed, small, None
        self.v = Vectors(
            "ops", what="each op alone: forward and gradient", seed=seed, cases={},
        )

    def size(self, fixed, low, high):
        return fixed if self.small else self.draw.between(low, high)

    def normal(self, *shape, scale=1.0, dtype=F32):
        return self.draw.normal(*shape, scale=scale).to(dtype).float()

    def begin(self, name, call, dtype=F32, constants=None, **about):
        call = call or name.split("/")[0]
        about |= {"call": call, "dtype": "bf16" if dtype is BF16 else "f32"}
        self.v.about["cases"][name] = about
        self.v.put_all(f"{name}/", constants or {})

    def expect(self, name, **values):
        """Answers; floats are kept as f32."""
        self.v.put_all(f"{name}/", {
            k: x.float() if x.is_floating_point() else x for k, x in values.items()
        })

    def gradient(self, name, f, inputs, call=None, seen=None, **about):
        """y = f(inputs) and, for a drawn dy, the gradient of every input; all in f64. `seen` has
        what else the op tells."""
        dtype = about.get("dtype", F32)
        self.begin(name, call, inputs=list(inputs), **about)
        x = {k: value.double().requires_grad_() for k, value in inputs.items()}
        with sdpa_kernel(SDPBackend.MATH):
            y = f(*x.values())
        dy = self.normal(*y.shape, dtype=dtype)
        y.backward(dy.double())
        self.v.put_all(f"{name}/x/", inputs)
        self.v.put_all(f"{name}/d/", {k: value.grad.float() for k, value in x.items()})
        self.expect(name, y=y, dy=dy, **(seen or {}))


def both(make):
    """A case in f32 and one in bf16."""

    @functools.wraps(make)
    def cases(c):
        for dtype in (F32, BF16):
            make(c, "f32" if dtype is F32 else "bf16", dtype)
    return cases
