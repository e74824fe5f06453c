"""The HRM training step in plain PyTorch; `hrm.py` times it, `check.py` holds it to the goldens.

One step = ACT forward, Q target (a second inner forward without gradient), loss, backward, AdamW
(or AdamATan2) and sparse sign-SGD on the puzzle embeddings. Schedules, EMA and evaluation are
left out. Weights are a flat dict under the official checkpoint names without `model.inner.`, so
that the goldens load as they are. Shapes: B batch, T = prefix + sequence, C hidden, V vocabulary.
"""

import functools
import math
from typing import NamedTuple

import torch
import torch.nn.functional as F

IGNORE = -100


class Config(NamedTuple):
    batch_size: int
    seq_len: int
    hidden_size: int
    num_heads: int
    H_layers: int
    L_layers: int
    vocab_size: int = 12
    H_cycles: int = 2
    L_cycles: int = 2
    expansion: float = 4.0
    puzzle_emb_ndim: int = 0
    num_puzzle_identifiers: int = 1000
    halt_max_steps: int = 16
    halt_exploration_prob: float = 0.0
    pos_encodings: str = "rope"
    forward_dtype: str = "float32"
    loss_type: str = "stablemax_cross_entropy"

    @property
    def prefix_len(self):
        return -(-self.puzzle_emb_ndim // self.hidden_size)

    @property
    def dtype(self):
        return getattr(torch, self.forward_dtype)

    @property
    def inner_size(self):
        wanted = round(self.expansion * self.hidden_size * 2 / 3)
        return -(-wanted // 256) * 256


class Carry(NamedTuple):
    """State between the segments of a slot. `data` is what the slot works on now."""

    z_h: torch.Tensor  # (B, T, C)
    z_l: torch.Tensor  # (B, T, C)
    steps: torch.Tensor  # (B)
    halted: torch.Tensor  # (B) bool
    data: dict  # inputs, labels (B, seq), puzzle_identifiers (B)


def initial_carry(cfg, batch):
    """Every slot starts halted, so the zeros here are replaced before anything reads them."""
    b = cfg.batch_size
    z = torch.zeros(b, cfg.prefix_len + cfg.seq_len, cfg.hidden_size, dtype=cfg.dtype)
    return Carry(
        z_h=z,
        z_l=z.clone(),
        steps=torch.zeros(b, dtype=torch.int32),
        halted=torch.ones(b, dtype=torch.bool),
        data={name: torch.zeros_like(rows) for name, rows in batch.items()},
    )


# ---- the network -------------------------------------------------------------------------------


def weight_shapes(cfg):
    c, v, inner = cfg.hidden_size, cfg.vocab_size, cfg.inner_size
    yield "embed_tokens.embedding_weight", (v, c)
    yield "lm_head.weight", (v, c)
    yield "q_head.weight", (2, c)
    yield "q_head.bias", (2,)
    if cfg.pos_encodings == "learned":
        yield "embed_pos.embedding_weight", (cfg.prefix_len + cfg.seq_len, c)
    for level, layers in (("H_level", cfg.H_layers), ("L_level", cfg.L_layers)):
        for i in range(layers):
            layer = f"{level}.layers.{i}"
            yield f"{layer}.self_attn.qkv_proj.weight", (3 * c, c)
            yield f"{layer}.self_attn.o_proj.weight", (c, c)
            yield f"{layer}.mlp.gate_up_proj.weight", (2 * inner, c)
            yield f"{layer}.mlp.down_proj.weight", (c, inner)


def random_weights(cfg):
    """Scales as in training; the exact truncated-normal law does not matter for timing."""
    weights = {}
    for name, shape in weight_shapes(cfg):
        fan_in = cfg.hidden_size if name.startswith("embed_") else shape[-1]
        weights[name] = torch.randn(shape) / math.sqrt(fan_in)
    weights["q_head.weight"].zero_()
    weights["q_head.bias"].fill_(-5)
    return {name: w.requires_grad_() for name, w in weights.items()}


def rope_tables(cfg):
    """cos and sin (T, HD); both halves of a head hold the same frequencies."""
    width = cfg.hidden_size // cfg.num_heads
    freq = 10000.0 ** (-torch.arange(0, width, 2, dtype=torch.float32) / width)
    angle = torch.outer(torch.arange(cfg.prefix_len + cfg.seq_len, dtype=torch.float32), freq)
    angle = torch.cat((angle, angle), dim=-1)
    return angle.cos(), angle.sin()


def linear(w, name, x):
    """Master weights stay f32; each use casts them to the dtype of the activations."""
    bias = w.get(f"{name}.bias")
    return F.linear(x, w[f"{name}.weight"].to(x.dtype), None if bias is None else bias.to(x.dtype))


def rms_norm(x):
    wide = x.float()
    return (wide * torch.rsqrt(wide.square().mean(-1, keepdim=True) + 1e-5)).to(x.dtype)


def rotate(x, cos, sin):
    """x (B, NH, T, HD), rotated in f32 as (first half, second half) pairs."""
    wide = x.float()
    first, second = wide.chunk(2, dim=-1)
    return (wide * cos + torch.cat((-second, first), dim=-1) * sin).to(x.dtype)


def attention(cfg, w, name, x, rope):
    b, t, c = x.shape
    qkv = linear(w, f"{name}.qkv_proj", x).view(b, t, 3, cfg.num_heads, c // cfg.num_heads)
    q, k, v = qkv.permute(2, 0, 3, 1, 4)
    if cfg.pos_encodings == "rope":
        q, k = rotate(q, *rope), rotate(k, *rope)
    mixed = F.scaled_dot_product_attention(q, k, v)
    return linear(w, f"{name}.o_proj", mixed.transpose(1, 2).reshape(b, t, c))


def swiglu(w, name, x):
    gate, up = linear(w, f"{name}.gate_up_proj", x).chunk(2, dim=-1)
    return linear(w, f"{name}.down_proj", F.silu(gate) * up)


def run_level(cfg, w, level, z, injected, rope):
    layers = cfg.H_layers if level == "H_level" else cfg.L_layers
    x = z + injected
    for i in range(layers):
        layer = f"{level}.layers.{i}"
        x = rms_norm(x + attention(cfg, w, f"{layer}.self_attn", x, rope))
        x = rms_norm(x + swiglu(w, f"{layer}.mlp", x))
    return x


def embed(cfg, w, inputs, puzzle_rows):
    x = w["embed_tokens.embedding_weight"].to(cfg.dtype)[inputs]
    if cfg.prefix_len:
        missing = cfg.prefix_len * cfg.hidden_size - cfg.puzzle_emb_ndim
        rows = F.pad(puzzle_rows.to(cfg.dtype), (0, missing))
        x = torch.cat((rows.view(-1, cfg.prefix_len, cfg.hidden_size), x), dim=1)
    if cfg.pos_encodings == "learned":
        x = math.sqrt(0.5) * (x + w["embed_pos.embedding_weight"].to(cfg.dtype))
    return math.sqrt(cfg.hidden_size) * x


def inner_forward(cfg, w, z_h, z_l, inputs, puzzle_rows, rope, run_level=run_level):
    """All cycles run without gradient but the last L and H pass. Returns z_h, z_l, logits, q."""
    x = embed(cfg, w, inputs, puzzle_rows)
    with torch.no_grad():
        for h in range(cfg.H_cycles):
            last = h == cfg.H_cycles - 1
            for _ in range(cfg.L_cycles - last):
                z_l = run_level(cfg, w, "L_level", z_l, z_h + x, rope)
            if not last:
                z_h = run_level(cfg, w, "H_level", z_h, z_l, rope)
    z_l = run_level(cfg, w, "L_level", z_l, z_h + x, rope)
    z_h = run_level(cfg, w, "H_level", z_h, z_l, rope)
    logits = linear(w, "lm_head", z_h[:, cfg.prefix_len :])
    return z_h, z_l, logits, linear(w, "q_head", z_h[:, 0]).float()


# ---- ACT step and loss -------------------------------------------------------------------------


def admit(carry, batch, h_init, l_init):
    """Halted slots take the offered row and a fresh state; running slots keep theirs."""
    halted = carry.halted
    fresh = halted.view(-1, 1, 1)

    def choose(offered, current):
        return torch.where(halted.view(-1, *[1] * (current.ndim - 1)), offered, current)

    return Carry(
        z_h=torch.where(fresh, h_init.to(carry.z_h.dtype), carry.z_h),
        z_l=torch.where(fresh, l_init.to(carry.z_l.dtype), carry.z_l),
        steps=torch.where(halted, 0, carry.steps),
        halted=halted,
        data={name: choose(batch[name], rows) for name, rows in carry.data.items()},
    )


def token_loss(cfg, logits, labels, valid):
    """-log p of each valid label, 0 elsewhere. Stablemax runs in f64, as the reference does."""
    if cfg.loss_type == "stablemax_cross_entropy":
        wide = logits.double()
        # The clamp keeps 1 / 0 out of the branch not taken, whose gradient would be 0 * inf at 1.
        s = torch.where(wide < 0, 1 / (1 - wide.clamp_max(0)), wide + 1)
        log_p = torch.log(s / s.sum(-1, keepdim=True))
    else:
        log_p = F.log_softmax(logits.float(), dim=-1)
    label = torch.where(valid, labels, 0).long()
    return torch.where(valid, -log_p.gather(-1, label.unsqueeze(-1)).squeeze(-1), 0)


def act_step(cfg, w, carry, puzzle_rows, rope, inner=inner_forward, q_continue=True, training=True):
    """One segment of every slot: losses (raw sums), outputs, the next carry and the metrics.
    `q_continue`: whether halting compares with it and it is trained. Evaluation halts at the end."""
    inputs, labels = carry.data["inputs"], carry.data["labels"]
    z_h, z_l, logits, q = inner(cfg, w, carry.z_h, carry.z_l, inputs, puzzle_rows, rope)
    z_h, z_l = z_h.detach(), z_l.detach()
    q_halt, q_go_on = q[:, 0], q[:, 1]

    with torch.no_grad():
        steps = carry.steps + 1
        is_last = steps >= cfg.halt_max_steps
        halted = is_last
        if training:
            halted = is_last | (q_halt > (q_go_on if q_continue else 0))
        if training and cfg.halt_exploration_prob > 0:
            explore = torch.rand(q_halt.shape) < cfg.halt_exploration_prob
            least = torch.randint_like(steps, 2, cfg.halt_max_steps + 1)
            halted = halted & (steps >= torch.where(explore, least, 0))
        if training and q_continue:
            next_q = inner(cfg, w, z_h, z_l, inputs, puzzle_rows, rope)[3]
            target = torch.where(is_last, next_q[:, 0], next_q.amax(-1)).sigmoid()

        valid = labels != IGNORE
        labelled = valid.sum(-1)
        divisor = labelled.clamp_min(1)
        hits = (valid & (logits.argmax(-1) == labels)).sum(-1)
        exact = hits == labelled
        counted = halted & (labelled > 0)
        metrics = {
            "count": counted.sum(),
            "accuracy": torch.where(counted, hits.double() / divisor, 0).sum(),
            "exact_accuracy": (counted & exact).sum(),
            "q_halt_accuracy": (counted & ((q_halt >= 0) == exact)).sum(),
            "steps": torch.where(counted, steps, 0).sum(),
        }

    def bce(logit, wanted):
        return F.binary_cross_entropy_with_logits(logit, wanted.to(logit.dtype), reduction="sum")

    lm = (token_loss(cfg, logits, labels, valid) / divisor.unsqueeze(-1)).sum()
    loss = {"lm": lm, "q_halt": bce(q_halt, exact)}
    out = {
        "logits": logits.detach(),
        "q_halt_logits": q_halt.detach(),
        "q_continue_logits": q_go_on.detach(),
    }
    if training and q_continue:
        loss["q_continue"] = bce(q_go_on, target)
        out["target_q_continue"] = target
    loss["total"] = lm + 0.5 * (loss["q_halt"] + loss.get("q_continue", 0))
    return loss, out, Carry(z_h, z_l, steps, halted, carry.data), metrics


# ---- optimizers --------------------------------------------------------------------------------


class AdamAtan2(torch.optim.Optimizer):
    """p -= lr / (1 - b1^t) * atan2(m, sqrt(v) / sqrt(1 - b2^t)) after p *= 1 - lr * wd."""

    def __init__(self, params, lr, betas=(0.9, 0.95), weight_decay=0.1):
        super().__init__(params, {"lr": lr, "betas": betas, "weight_decay": weight_decay, "t": 0})

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            group["t"] += 1
            lr, (b1, b2), t = group["lr"], group["betas"], group["t"]
            for p in group["params"]:
                state = self.state[p]
                if not state:
                    state["m"], state["v"] = torch.zeros_like(p), torch.zeros_like(p)
                m, v = state["m"], state["v"]
                m.lerp_(p.grad, 1 - b1)
                v.mul_(b2).addcmul_(p.grad, p.grad, value=1 - b2)
                angle = torch.atan2(m, v.sqrt().div_(math.sqrt(1 - b2**t)))
                p.mul_(1 - lr * group["weight_decay"]).add_(angle, alpha=-lr / (1 - b1**t))


def sign_sgd_rows(table, ids, grad, lr, weight_decay):
    """Gradients of equal ids are summed, then each touched row decays and moves by lr * sign."""
    touched, slot = ids.unique(return_inverse=True)
    summed = torch.zeros(len(touched), table.shape[1]).index_add_(0, slot, grad)
    table[touched] = table[touched] * (1 - lr * weight_decay) - lr * summed.sign()


class Trainer:
    """Owns weights, carry and optimizers; `gradients` is the model part, `step` the whole step.
    `compiled`: "step" compiles all of a segment, whose levels it unrolls; "level" compiles a level once
    for all its passes, and leaves what is around it to eager PyTorch."""

    def __init__(self, cfg, weights, puzzle_table, h_init, l_init, optimizer, compiled=None):
        self.cfg, self.weights, self.puzzle_table = cfg, weights, puzzle_table
        self.h_init, self.l_init = h_init, l_init
        self.rope = rope_tables(cfg)
        self.carry = None
        self.act_step, self.inner = act_step, inner_forward
        if compiled == "step":
            self.act_step = torch.compile(act_step, dynamic=False)
        elif compiled == "level":
            torch.compiler.reset()  # graphs of another model count towards the limit of this one
            level = torch.compile(run_level, dynamic=False)
            self.inner = functools.partial(inner_forward, run_level=level)
        if optimizer == "adamw":
            # The fused kernel is PyTorch's fastest on a CPU: the baseline is not handicapped.
            self.optimizer = torch.optim.AdamW(
                weights.values(), lr=1e-4, betas=(0.9, 0.95), weight_decay=0.1, fused=True
            )
        else:
            self.optimizer = AdamAtan2(weights.values(), lr=1e-4)

    def gradients(self, batch):
        """Leaves gradients of total / B in the weights; returns those of the puzzle rows too."""
        if self.carry is None:
            self.carry = initial_carry(self.cfg, batch)
        carry = admit(self.carry, batch, self.h_init, self.l_init)
        rows = self.puzzle_table[carry.data["puzzle_identifiers"]].requires_grad_()
        loss, out, self.carry, metrics = self.act_step(
            self.cfg, self.weights, carry, rows, self.rope, self.inner
        )
        (loss["total"] / self.cfg.batch_size).backward()
        return loss, out, metrics, rows.grad

    def step(self, batch):
        loss, _, _, row_grad = self.gradients(batch)
        self.optimizer.step()
        self.optimizer.zero_grad()
        ids = self.carry.data["puzzle_identifiers"]
        sign_sgd_rows(self.puzzle_table, ids, row_grad, lr=1e-2, weight_decay=0.1)
        return loss["total"].item()
