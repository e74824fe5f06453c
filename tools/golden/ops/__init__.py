"""Goldens of the ops, one by one: PyTorch's own functions and its autograd, in f64.

Inputs are stored as the op gets them (f32, or rounded to bf16), answers and gradients as f32. Where
PyTorch has no such function, a formula of the paper or of the official program stands here and says
so. A case is `<op>/<what of it>`; `call` names the function of ours that it is an answer to, and a y
of several `columns` is a table of unlike quantities.
"""

from vectors import Draw

from . import images, layers, losses, updates
from .cases import Cases


def make(folder, seed, small):
    c = Cases(seed, small)
    for module in (layers, images, losses, updates):
        for case in module.CASES:
            c.draw = Draw(seed, "ops", case.__name__)
            case(c)
    c.v.save(folder)
