"""Layers: what a network is made of."""

import torch
from torch.nn import functional as F

from .cases import BF16, F32, both
from .philox import DROPOUT, drawn, unit, words


def mask(shape, site, prob):
    n = shape.numel()
    kept = unit(words(-(-n // 4), DROPOUT, site).flatten()[:n]) >= prob
    return kept.view(shape) / (1 - prob)


@both
def add(c, label, dtype):
    shape = c.size(3, 1, 5), c.size(13, 1, 40)
    inputs = {k: c.normal(*shape, dtype=dtype) for k in ("a", "b", "c")}
    c.gradient(f"add/{label}", lambda *x: sum(x), inputs, dtype=dtype)


def rotated(x, cos, sin):
    first, second = x.chunk(2, -1)
    return x * cos + torch.cat((-second, first), -1) * sin


def angles(places, hd):
    """cos and sin, halves alike."""
    freq = 10000.0 ** (-torch.arange(0, hd, 2).double() / hd)
    angle = torch.outer(torch.arange(places).double(), freq).repeat(1, 2)
    return [angle.cos().float(), angle.sin().float()]


def attention(c):
    """The products by F.scaled_dot_product_attention; the rotation by the formula (RoFormer)."""
    for label, dtype, rope in (("rope", F32, True), ("plain", F32, False), ("bf16", BF16, True)):
        b, t, nh = c.size(2, 1, 3), c.size(19, 1, 70), c.size(3, 1, 3)
        hd = 4 * c.size(5, 1, 9) if dtype is F32 else 16
        tables = angles(t, hd)

        def f(qkv):
            q, k, v = qkv.view(b, t, 3, nh, hd).permute(2, 0, 3, 1, 4)
            if rope:
                q, k = (rotated(x, *(table.double() for table in tables)) for x in (q, k))
            return F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(b, t, -1)

        c.gradient(
            f"attention/{label}", f, {"qkv": c.normal(b, t, 3 * nh * hd, dtype=dtype)},
            dtype=dtype, heads=nh,
            constants=dict(zip(("cos", "sin"), tables)) if rope else None,
        )


@both
def packed_attention(c, label, dtype):
    """Rows of several lengths in slots of others, each position at a place of a larger table; what
    a slot has beyond its row gives zeros and gets no gradient."""
    nh, hd = c.size(2, 1, 3), 4 * c.size(3, 1, 9) if dtype is F32 else 32
    lengths = [c.size(n, 1, 70) for n in (17, 1, 9)]
    rooms = [n + c.size(extra, 0, 20) for n, extra in zip(lengths, (3, 0, 8))]
    table = max(lengths) + c.size(13, 1, 90)
    tables = angles(table, hd)
    places = torch.zeros(sum(rooms), dtype=torch.int32)
    rows, start = [], 0
    for n, room in zip(lengths, rooms):
        rows.append(slice(start, start + n))
        leaps = torch.linspace(0, table - n, n).int()  # as the lines of a window are apart
        places[rows[-1]] = torch.arange(n, dtype=torch.int32) + leaps
        start += room

    def f(qkv):
        y = torch.zeros(len(qkv), nh * hd, dtype=qkv.dtype)
        for row in rows:
            q, k, v = qkv[row].view(-1, 3, nh, hd).permute(1, 2, 0, 3)
            own = [table.double()[places[row].long()] for table in tables]
            q, k = (rotated(x, *own) for x in (q, k))
            y[row] = F.scaled_dot_product_attention(q, k, v).transpose(0, 1).flatten(1)
        return y

    ints = {"lengths": lengths, "rooms": rooms}
    c.gradient(
        f"attention/packed_{label}", f, {"qkv": c.normal(len(places), 3 * nh * hd, dtype=dtype)},
        dtype=dtype, heads=nh,
        constants=dict(zip(("cos", "sin"), tables)) | {"places": places}
        | {k: torch.tensor(v, dtype=torch.int32) for k, v in ints.items()},
    )


@both
def causal_attention(c, label, dtype):
    """By F.scaled_dot_product_attention; what is dropped, by the mask of our random words."""
    b, t, nh = c.size(2, 1, 3), c.size(19, 1, 150), c.size(2, 1, 3)
    hd = 4 * c.size(3, 1, 9) if dtype is F32 else 16
    site, prob, of_query = 4, 0.25, -(-t // 4)
    kept = unit(words(b * t * nh * of_query, DROPOUT, site)) >= prob
    kept = kept.view(b, t, nh, 4 * of_query)[..., :t].transpose(1, 2) / (1 - prob)

    def f(causal, factors):
        def attend(qkv):
            q, k, v = qkv.view(b, t, 3, nh, hd).permute(2, 0, 3, 1, 4)
            if factors is None:
                y = F.scaled_dot_product_attention(q, k, v, is_causal=causal)
            else:
                s = q @ k.transpose(2, 3) / hd**0.5
                if causal:
                    s = s.masked_fill(torch.ones(t, t).triu(1).bool(), -torch.inf)
                y = (s.softmax(-1) * factors) @ v
            return y.transpose(1, 2).reshape(b, t, -1)
        return attend

    qkv = {"qkv": c.normal(b, t, 3 * nh * hd, dtype=dtype)}
    of_dropout = {"constants": {"draw": drawn()}, "site": site, "prob": prob}
    for what, causal, factors in (("causal", True, None), ("dropout", False, kept),
                                  ("causal_dropout", True, kept)):
        c.gradient(
            f"attention/{what}_{label}", f(causal, factors), qkv, dtype=dtype, heads=nh,
            causal=causal, **({} if factors is None else of_dropout),
        )


@both
def cached_attention(c, label, dtype):
    """One query of each sequence over its cache; an idle one gives zeros."""
    nh, hd = c.size(2, 1, 3), 4 * c.size(3, 1, 9) if dtype is F32 else 32
    lengths = [c.size(n, low, high) for n, low, high in ((16, 0, 70), (-1, -1, -1), (0, 0, 3))]
    r, cap = len(lengths), max(lengths) + c.size(1, 1, 9)
    tables, places = angles(cap + 5, hd), [max(0, n) + 3 for n in lengths]
    of = {k: c.normal(r, cap, nh * hd, dtype=dtype) for k in ("k", "v")}
    of["qkv"] = c.normal(r, 3 * nh * hd, dtype=dtype)
    k, v = of["k"].double(), of["v"].double()
    y = torch.zeros(r, nh * hd).double()
    for i, n in enumerate(lengths):
        if n < 0:
            continue
        own = [table.double()[places[i]] for table in tables]
        q_new, k_new, v_new = of["qkv"][i].double().view(3, nh, hd)
        k[i, n], v[i, n] = rotated(k_new, *own).flatten(), v_new.flatten()
        q = rotated(q_new, *own)[:, None]
        rows = (x[i, : n + 1].view(-1, nh, hd).transpose(0, 1) for x in (k, v))
        y[i] = F.scaled_dot_product_attention(q, *rows).flatten()
    ints = {"lengths": lengths, "places": places}
    name = f"attention_cached/{label}"
    c.begin(
        name, None, dtype=dtype, heads=nh, constants=of | dict(zip(("cos", "sin"), tables))
        | {k: torch.tensor(v, dtype=torch.int32) for k, v in ints.items()},
    )
    c.expect(name, y=y, k_after=k, v_after=v)


def activations(c):
    x = c.normal(c.size(3, 1, 9), c.size(37, 1, 99))
    c.gradient("relu/f32", F.relu, {"x": x})
    c.gradient("sigmoid/f32", torch.sigmoid, {"x": 3 * x})


@both
def bias_relu(c, label, dtype):
    bias = c.normal(c.size(11, 1, 70), dtype=dtype)
    x = c.normal(c.size(13, 1, 70), bias.numel(), dtype=dtype)
    inputs, site, prob = {"x": x, "bias": bias}, 5, 0.375
    c.gradient(f"bias_relu/{label}", lambda x, b: F.relu(x + b), inputs, dtype=dtype)
    kept = mask(x.shape, site, prob)
    c.gradient(
        f"bias_relu/dropout_{label}", lambda x, b: F.relu(x + b) * kept, inputs,
        call="bias_relu::with_dropout", dtype=dtype, constants={"draw": drawn()}, site=site,
        prob=prob,
    )


@both
def dropout(c, label, dtype):
    x = c.normal(c.size(7, 1, 30), c.size(19, 1, 50), dtype=dtype)
    site, prob = 3, 0.25
    c.gradient(
        f"dropout/{label}", lambda x: x * mask(x.shape, site, prob), {"x": x}, dtype=dtype,
        constants={"draw": drawn()}, site=site, prob=prob,
    )


@both
def embedding(c, label, dtype):
    b, s, width, v = c.size(2, 1, 3), c.size(9, 1, 30), c.size(7, 1, 24), c.size(6, 2, 20)
    p, scale = c.size(3, 1, 4), 3.5
    tokens = c.draw.ints(v, b, s)
    table = c.normal(v, width, dtype=dtype)
    puzzle = c.normal(b, c.size(17, 1, p * width), dtype=dtype)
    pos, short = c.normal(p + s, width, dtype=dtype), c.normal(s, width, dtype=dtype)

    def prefixed(table, puzzle):
        rows = F.pad(puzzle, (0, p * width - puzzle.shape[1])).view(b, p, width)
        return torch.cat((rows, F.embedding(tokens.long(), table)), 1)

    given = {"dtype": dtype, "constants": {"tokens": tokens}, "scale": scale, "prefix": p}
    c.gradient(f"embedding/plain_{label}", lambda e: scale * F.embedding(tokens.long(), e),
               {"table": table}, **given)
    c.gradient(f"embedding/prefix_{label}", lambda e, r: scale * prefixed(e, r),
               {"table": table, "puzzle": puzzle}, f32=["puzzle"], **given)
    c.gradient(f"embedding/learned_{label}",
               lambda e, r, pos: scale * 2**-0.5 * (prefixed(e, r) + pos),
               {"table": table, "puzzle": puzzle, "pos": pos}, f32=["puzzle"], **given)
    c.gradient(f"embedding/with_positions_{label}",
               lambda e, pos: F.embedding(tokens.long(), e) + pos,
               {"table": table, "pos": short}, call="embedding::with_positions", **given)


@both
def row_embedding(c, label, dtype):
    """Rows of one length; one number names a row of a table by its quotient or its remainder."""
    b, t, width = c.size(3, 1, 5), c.size(7, 1, 30), c.size(9, 1, 40)
    tasks, turns = c.size(3, 1, 9), 8
    ids = c.draw.ints(tasks * turns, b)
    x = c.normal(b, t, width, dtype=dtype)
    for what, rows, stride, pick in (("quotient", tasks, turns, ids // turns),
                                     ("remainder", turns, 1, ids % turns)):
        table = c.normal(rows, width, dtype=dtype)
        c.gradient(
            f"row_embedding/{what}_{label}",
            lambda x, table: x + F.embedding(pick.long(), table)[:, None], {"x": x, "table": table},
            dtype=dtype, constants={"ids": ids}, stride=stride,
        )


@both
def halt_head(c, label, dtype):
    b, t, width = c.size(3, 1, 5), c.size(7, 1, 30), c.size(9, 1, 40)
    inputs = {
        "h": c.normal(b, t, width, dtype=dtype), "l": c.normal(b, t, width, dtype=dtype),
        "w": c.normal(1, 2 * width, dtype=dtype), "bias": c.normal(1, dtype=dtype),
    }

    def f(h, l, w, bias):
        z = F.linear(torch.cat((h.mean(1), l.mean(1)), -1), w, bias)
        return torch.cat((z, torch.sigmoid(z)), -1)

    c.gradient(f"halt_head/{label}", f, inputs, dtype=dtype)


@both
def norms(c, label, dtype):
    # A row of two or three values has hardly any direction left once it is normalised.
    n, width = c.size(5, 1, 40), c.size(37, 7, 140)
    x, r = (c.normal(n, width, dtype=dtype) for _ in range(2))
    affine = {"gain": c.normal(width, dtype=dtype), "bias": c.normal(width, dtype=dtype)}
    eps = 1e-5
    c.gradient(f"rms_norm/{label}", lambda x, r: F.rms_norm(x + r, (width,), eps=eps),
               {"x": x, "r": r}, dtype=dtype, eps=eps)
    c.gradient(f"rms_norm/alone_{label}", lambda x: F.rms_norm(x, (width,), eps=eps), {"x": x},
               call="rms_norm::alone", dtype=dtype, eps=eps)
    c.gradient(f"layer_norm/{label}",
               lambda x, r, gain, bias: F.layer_norm(x + r, (width,), gain, bias, eps),
               {"x": x, "r": r} | affine, dtype=dtype, eps=eps)
    c.gradient(f"layer_norm/alone_{label}",
               lambda x, gain, bias: F.layer_norm(x, (width,), gain, bias, eps),
               {"x": x} | affine, call="layer_norm::alone", dtype=dtype, eps=eps)


@both
def matmul(c, label, dtype):
    n, k, o = c.size(17, 1, 90), c.size(13, 1, 90), c.size(11, 1, 90)
    x, w, b = (c.normal(*shape, dtype=dtype) for shape in ((n, k), (o, k), (o,)))
    c.gradient(f"matmul/{label}", F.linear, {"x": x, "w": w}, dtype=dtype)
    c.gradient(f"matmul/bias_{label}", F.linear, {"x": x, "w": w, "b": b}, dtype=dtype)


@both
def swiglu(c, label, dtype):
    x = c.normal(c.size(7, 1, 30), 2 * c.size(13, 1, 70), scale=2.0, dtype=dtype)
    c.gradient(f"swiglu/{label}", lambda x: F.silu(x.chunk(2, -1)[0]) * x.chunk(2, -1)[1],
               {"gate_up": x}, dtype=dtype)


@both
def moves(c, label, dtype):
    x = c.normal(c.size(3, 1, 4), c.size(5, 1, 70), c.size(11, 1, 70), dtype=dtype)
    c.gradient(f"take_first/{label}", lambda x: x[:, 0], {"x": x}, dtype=dtype)
    c.gradient(f"transpose/{label}", lambda x: x.mT, {"x": x}, dtype=dtype)
    c.gradient(f"reshape/{label}", torch.flatten, {"x": x}, dtype=dtype)


def cast(c):
    """Halves go to the even neighbour; signed zeros, numbers below the normal ones."""
    x = torch.cat((c.normal(c.size(23, 1, 99)), torch.tensor(
        [1 + 2**-8, 1 + 3 * 2**-8, -1 - 2**-8, 1 + 2**-8 + 2**-20, 3.3e38, -0.0, 1e-40, -2e-39]
    )))
    c.begin("cast/bf16", None, dtype=BF16, constants={"from": x})
    c.expect("cast/bf16", y=x.to(BF16))


CASES = (
    add, attention, packed_attention, causal_attention, cached_attention, activations, bias_relu,
    dropout, embedding, row_embedding, halt_head, norms, matmul, swiglu, moves, cast,
)
